"""Checks that programs run, and that their inputs and outputs are passed unchanged."""

from __future__ import annotations

import gzip
import threading

from .context import QUICK, CheckContext, require


def keeps_stdout_and_stderr_apart(context: CheckContext) -> None:
    """Stdout and stderr must be returned separately and unchanged."""
    result = context.expect_output("import sys; print('out'); print('err', file=sys.stderr)", "out")
    require(result.stderr == b"err\n", f"stderr is {result.stderr!r}")
    require(not (result.timed_out or result.oom or result.truncated), f"flags are set: {result}")


def returns_the_exit_code(context: CheckContext) -> None:
    """The exit code of the program must be returned."""
    for code in (0, 1, 7, 255):
        result = context.run(f"raise SystemExit({code})")
        require(result.exit == code, f"exit code {code} was returned as {result.exit}")
    require(context.run("raise SystemExit('why')").stderr == b"why\n", "the text of SystemExit is not on stderr")


def returns_the_signal(context: CheckContext) -> None:
    """If a signal ended the program, the exit code must be the negative signal number."""
    for number in (6, 11, 15):
        result = context.run(f"import os; os.kill(os.getpid(), {number})")
        require(result.exit == -number, f"signal {number} was returned as {result.exit}")


def passes_stdin(context: CheckContext) -> None:
    """The program must receive its complete input, followed by the end of file."""
    context.expect_output("print(input(), input(), __import__('sys').stdin.read())", "a b c", stdin="a\nb\nc")
    context.expect_output("print(repr(__import__('sys').stdin.read()))", "''")


def passes_files(context: CheckContext) -> None:
    """Files must be in the working directory, byte for byte, and modules among them must be importable."""
    files: dict[str, str | bytes] = {"data/a b.bin": bytes(range(256)), "helper.py": "answer = 42\n"}
    program = "import helper; print(helper.answer, open('data/a b.bin', 'rb').read() == bytes(range(256)))"
    context.expect_output(program, "42 True", files=files)


def returns_requested_files(context: CheckContext) -> None:
    """Requested files must be returned byte for byte, and missing files must be left out."""
    program = "import os; os.mkdir('d'); open('d/x', 'wb').write(bytes(range(256))); open('empty', 'w').close()"
    result = context.run(program, return_files=["d/x", "empty", "missing"])
    require(result.files == {"d/x": bytes(range(256)), "empty": b""}, f"the files are {dict(result.files)!r}"[:300])


def shows_tracebacks(context: CheckContext) -> None:
    """An exception must give exit code 1 and a traceback with the program's frames and source lines only."""
    result = context.run("def f():\n    return 1 / 0\nf()")
    require(result.exit == 1, f"the exit code is {result.exit}")
    expected = ["main.py", "line 3", "return 1 / 0", "ZeroDivisionError: division by zero"]
    require(all(text in result.errors for text in expected), f"stderr is {result.errors!r}")
    require(result.errors.count("File ") == 2, f"the traceback has frames outside the program: {result.errors}")


def shows_syntax_errors(context: CheckContext) -> None:
    """A syntax error must be reported with its line."""
    result = context.run("x = 1\ndef f(:\n    pass")
    require(
        result.exit == 1 and "line 2" in result.errors and "SyntaxError" in result.errors, f"the result is {result}"
    )


def is_the_main_module(context: CheckContext) -> None:
    """The program must be the module `__main__`, without command line arguments."""
    context.expect_output(
        "import sys; print(__name__, len(sys.argv), sys.modules['__main__'].__dict__ is globals())", "__main__ 1 True"
    )


def runs_exit_handlers_and_threads(context: CheckContext) -> None:
    """At the end of a program, threads must be waited for, exit handlers run, and output flushed."""
    program = """
        import atexit, sys, threading, time
        atexit.register(print, "handler")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
        sys.stdout.write("main ")
    """
    context.expect_output(program, "main thread\nhandler")


END_OF_GZIP = gzip.compress(b"x")[-8:]
"""Checksum and size of the text "x"."""


def writes_files_that_are_still_open(context: CheckContext) -> None:
    """Files that a program has not closed must hold all that it wrote, as at the end of an interpreter."""
    files = {"helper.py": "log = open('imported', 'w')\nlog.write('x')\n"}
    program = """
        import gzip, helper, io, json, sys
        text = open("text", "w"); text.write("x")
        data = open("data", "wb"); data.write(b"x")
        class Holder:
            kept = open("class", "w")
        Holder.kept.write("x")
        json.forgotten = open("library", "w"); json.forgotten.write("x")
        json.packed = gzip.open("forgotten.gz", "wt"); json.packed.write("x")
        loop = [open("cycle", "w")]; loop.append(loop); loop[0].write("x")
        def generate():
            with open("generator", "w") as file:
                file.write("x")
                yield
        suspended = generate(); next(suspended)
        packed = gzip.open("packed.gz", "wt"); packed.write("x")
        sys.stdout = open("stdout", "w"); print("x", end="")
        if len(sys.argv) == 1:
            raise ValueError
    """
    names = ["text", "data", "class", "library", "cycle", "generator", "imported", "stdout"]
    for source in (program, program.replace("raise ValueError", "sys.exit(3)")):
        result = context.run(source, files=files, return_files=[*names, "packed.gz", "forgotten.gz"])
        lost = [name for name in names if result.files.get(name) != b"x"]
        require(not lost, f"what was written to {lost} is lost: {result}"[:400])
        for name in ("packed.gz", "forgotten.gz"):
            require(result.files[name].endswith(END_OF_GZIP), f"the compressed file {name} is cut")
    result = context.run("import os; file = open('f', 'w'); file.write('x'); os._exit(0)", return_files=["f"])
    require(result.files == {"f": b""}, f"os._exit must not write what is buffered: {result.files}")


def runs_finalizers(context: CheckContext) -> None:
    """At the end, `__del__` methods of global objects must run, while the program's other names still exist."""
    program = """
        import sys
        name = "end"
        class Last:
            def __del__(self):
                print(name, sys is not None)
        last, cycle = Last(), Last()
        cycle.cycle = cycle
        print("main")
    """
    context.expect_output(program, "main\nend True\nend True")


def ends_with_daemon_threads(context: CheckContext) -> None:
    """Daemon threads must neither delay the end nor print errors, and open files must be written."""
    program = """
        import threading, time, __main__
        def work():
            while True:
                counter.append(1)
        counter = []
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.01)
        file = open("f", "w"); file.write("x")
        class Slow:
            def __del__(self, sleep=time.sleep):
                sleep(0.3)
        slow = Slow()
        print("main")
    """
    for _ in range(5):
        result = context.expect_output(program, "main", return_files=["f"])
        require(result.files == {"f": b"x"} and not result.stderr, f"the result is {result}")
        require(result.seconds < 5, f"the program took {result.seconds} s")


def has_the_standard_library(context: CheckContext) -> None:
    """The whole standard library must be available, from json to subprocess."""
    program = """
        import asyncio, csv, ctypes, datetime, decimal, hashlib, json, math, multiprocessing, re, sqlite3, subprocess
        done = subprocess.run(["python3", "-c", "print(2 + 2)"], capture_output=True, text=True)
        print(done.stdout.strip(), asyncio.run(asyncio.sleep(0.01, "slept")))
    """
    context.expect_output(program, "4 slept")


def passes_text_of_all_scripts(context: CheckContext) -> None:
    """Source, input and output must be UTF-8."""
    context.expect_output("print('金継ぎ', input(), '\\U0001f3fa')", "金継ぎ čaša 🏺", stdin="čaša")


def keeps_binary_output(context: CheckContext) -> None:
    """Bytes must be returned unchanged, even if they are not text."""
    result = context.run(
        "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4); sys.stderr.buffer.write(b'\\xff\\xfe\\0')"
    )
    require(result.stdout == bytes(range(256)) * 4 and result.stderr == b"\xff\xfe\0", "the bytes differ")
    require(bool(result.text) and bool(result.errors), "Result.text or Result.errors is empty for binary output")


def takes_huge_input(context: CheckContext) -> None:
    """8 MiB of input must arrive completely."""
    program = "import sys; data = sys.stdin.buffer.read(); print(len(data), data[-3:])"
    context.expect_output(program, f"{8 << 20} b'end'", stdin=b"x" * ((8 << 20) - 3) + b"end")


def takes_huge_programs(context: CheckContext) -> None:
    """A program of 4 MiB must run to its last line."""
    context.expect_output("# " + "x" * (4 << 20) + "\nprint('ran')", "ran")


def survives_huge_arguments(context: CheckContext) -> None:
    """A command line argument above the system's limit must be an error inside the program."""
    program = """
        import subprocess
        try:
            subprocess.run(["/bin/true", "x" * (1 << 22)])
        except OSError as error:
            print(type(error).__name__)
    """
    context.expect_output(program, "OSError")
    context.check_still_works()


def takes_the_empty_program(context: CheckContext) -> None:
    """An empty program must run and do nothing."""
    context.expect_output("", "")


def measures_time(context: CheckContext) -> None:
    """`Result.seconds` must be the wall time of the program."""
    seconds = context.run("import time; time.sleep(0.3)").seconds
    require(0.28 < seconds < QUICK.seconds, f"0.3 seconds of sleep were measured as {seconds}")


def runs_programs_in_parallel(context: CheckContext) -> None:
    """Four threads must get their own results at the same time, and no program may see another one's files."""
    wrong: list[object] = []

    def work(number: int) -> None:
        program = f"""
            import os, time
            open("mine-{number}", "w").close(); time.sleep(0.05)
            print({number}, sorted(name for name in os.listdir(".") if name.startswith("mine")))
        """
        for _ in range(3):
            result = context.run(program)
            if result.text != f"{number} ['mine-{number}']\n":
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(not wrong, f"results of parallel programs were mixed up: {wrong[:1]}")
