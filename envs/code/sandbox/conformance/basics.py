"""Checks: programs run, and what they are given and give comes through whole."""

from __future__ import annotations

import threading

from .bench import QUICK, Bench, require


def keeps_stdout_and_stderr_apart(bench: Bench) -> None:
    """What is printed comes back, each stream as it was written."""
    result = bench.says("import sys; print('out'); print('err', file=sys.stderr)", "out")
    require(result.stderr == b"err\n", f"stderr is {result.stderr!r}")
    require(not (result.timed_out or result.oom or result.truncated), f"flags are set: {result}")


def returns_the_exit_code(bench: Bench) -> None:
    """Exit codes come back as the program set them."""
    for code in (0, 1, 7, 255):
        result = bench.run(f"raise SystemExit({code})")
        require(result.exit == code, f"exit code {code} came back as {result.exit}")
    require(bench.run("raise SystemExit('why')").stderr == b"why\n", "the text of SystemExit is not on stderr")


def returns_the_signal(bench: Bench) -> None:
    """A program that a signal ended has minus that signal as exit code."""
    for number in (6, 11, 15):
        result = bench.run(f"import os; os.kill(os.getpid(), {number})")
        require(result.exit == -number, f"signal {number} came back as {result.exit}")


def passes_stdin(bench: Bench) -> None:
    """Input arrives whole and then ends."""
    bench.says("print(input(), input(), __import__('sys').stdin.read())", "a b c", stdin="a\nb\nc")
    bench.says("print(repr(__import__('sys').stdin.read()))", "''")


def passes_files(bench: Bench) -> None:
    """Files are there in the working directory, byte for byte, and modules among them can be imported."""
    files: dict[str, str | bytes] = {"data/a b.bin": bytes(range(256)), "helper.py": "answer = 42\n"}
    program = "import helper; print(helper.answer, open('data/a b.bin', 'rb').read() == bytes(range(256)))"
    bench.says(program, "42 True", files=files)


def returns_wanted_files(bench: Bench) -> None:
    """Files that are asked for come back byte for byte; those that are not there do not."""
    program = "import os; os.mkdir('d'); open('d/x', 'wb').write(bytes(range(256))); open('empty', 'w').close()"
    result = bench.run(program, want=["d/x", "empty", "missing"])
    require(result.files == {"d/x": bytes(range(256)), "empty": b""}, f"the files are {dict(result.files)!r}"[:300])


def shows_tracebacks(bench: Bench) -> None:
    """An exception ends with exit code 1 and a traceback of the program alone, with its source lines."""
    result = bench.run("def f():\n    return 1 / 0\nf()")
    require(result.exit == 1, f"the exit code is {result.exit}")
    expected = ["main.py", "line 3", "return 1 / 0", "ZeroDivisionError: division by zero"]
    require(all(text in result.errors for text in expected), f"stderr is {result.errors!r}")
    require(result.errors.count("File ") == 2, f"there are frames that are not the program's: {result.errors}")


def shows_syntax_errors(bench: Bench) -> None:
    """A syntax error is the program's, with its line."""
    result = bench.run("x = 1\ndef f(:\n    pass")
    require(result.exit == 1 and "line 2" in result.errors and "SyntaxError" in result.errors, f"it is {result}")


def is_the_main_module(bench: Bench) -> None:
    """The program is `__main__`, with its own name and nothing on the command line."""
    bench.says(
        "import sys; print(__name__, len(sys.argv), sys.modules['__main__'].__dict__ is globals())", "__main__ 1 True"
    )


def runs_exit_handlers_and_threads(bench: Bench) -> None:
    """What an interpreter does at its end is done: threads are waited for, exit handlers run, output is flushed."""
    program = """
        import atexit, sys, threading, time
        atexit.register(print, "handler")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
        sys.stdout.write("main ")
    """
    bench.says(program, "main thread\nhandler")


def has_the_standard_library(bench: Bench) -> None:
    """Programs find the whole standard library, from json to subprocess."""
    program = """
        import asyncio, csv, ctypes, datetime, decimal, hashlib, json, math, multiprocessing, re, sqlite3, subprocess
        done = subprocess.run(["python3", "-c", "print(2 + 2)"], capture_output=True, text=True)
        print(done.stdout.strip(), asyncio.run(asyncio.sleep(0.01, "slept")))
    """
    bench.says(program, "4 slept")


def passes_text_of_all_scripts(bench: Bench) -> None:
    """Source, input and output are UTF-8."""
    bench.says("print('金継ぎ', input(), '\\U0001f3fa')", "金継ぎ čaša 🏺", stdin="čaša")


def keeps_binary_output(bench: Bench) -> None:
    """Bytes come back as they were written, also those that are no text."""
    result = bench.run(
        "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4); sys.stderr.buffer.write(b'\\xff\\xfe\\0')"
    )
    require(result.stdout == bytes(range(256)) * 4 and result.stderr == b"\xff\xfe\0", "the bytes differ")
    require(bool(result.text) and bool(result.errors), "such output has no text")


def takes_huge_input(bench: Bench) -> None:
    """8 MiB of input arrive whole."""
    program = "import sys; data = sys.stdin.buffer.read(); print(len(data), data[-3:])"
    bench.says(program, f"{8 << 20} b'end'", stdin=b"x" * ((8 << 20) - 3) + b"end")


def takes_huge_programs(bench: Bench) -> None:
    """A program of 4 MiB runs, and its last line too."""
    bench.says("# " + "x" * (4 << 20) + "\nprint('ran')", "ran")


def survives_huge_arguments(bench: Bench) -> None:
    """An argument that no system takes is an error inside the program."""
    program = """
        import subprocess
        try:
            subprocess.run(["/bin/true", "x" * (1 << 22)])
        except OSError as error:
            print(type(error).__name__)
    """
    bench.says(program, "OSError")
    bench.still_works()


def takes_the_empty_program(bench: Bench) -> None:
    """Nothing at all is a program that does nothing."""
    bench.says("", "")


def measures_time(bench: Bench) -> None:
    """`seconds` is the wall time of the program."""
    seconds = bench.run("import time; time.sleep(0.3)").seconds
    require(0.28 < seconds < QUICK.seconds, f"0.3 seconds of sleep were measured as {seconds}")


def runs_programs_at_once(bench: Bench) -> None:
    """Four threads get their own answers at the same time, and no program sees another's files."""
    wrong: list[object] = []

    def work(number: int) -> None:
        program = f"""
            import os, time
            open("mine-{number}", "w").close(); time.sleep(0.05)
            print({number}, sorted(name for name in os.listdir(".") if name.startswith("mine")))
        """
        for _ in range(3):
            result = bench.run(program)
            if result.text != f"{number} ['mine-{number}']\n":
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(not wrong, f"programs got mixed up: {wrong[:1]}")
