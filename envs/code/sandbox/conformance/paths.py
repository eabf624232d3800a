"""Checks: names of files lead nowhere but into the working directory."""

from __future__ import annotations

from .....errors import UsageError
from .bench import Bench, Failed, require

BAD = ("../x", "/etc/passwd", "a/../../x", "", ".", "..", "a//b", "a/./b", "x\0y", "main.py", "a/" * 600)


def refuses_bad_names_of_files(bench: Bench) -> None:
    """Names that leave the working directory are refused, for files given and files wanted."""
    for name in BAD:
        for options in ({"files": {name: "x"}}, {"want": [name]}):
            try:
                bench.run("print(1)", **options)
            except UsageError:
                continue
            raise Failed(f"the name {name[:40]!r} was accepted ({min(options)})")


def refuses_files_that_are_folders(bench: Bench) -> None:
    """A name cannot be a file and the folder of another."""
    try:
        bench.run("print(1)", files={"a": "1", "a/b": "2"})
    except UsageError:
        return
    raise Failed("it was accepted")


def returns_no_symbolic_links(bench: Bench) -> None:
    """A wanted file that has become a link is not returned, nor one behind a folder that is a link."""
    program = """
        import os
        os.symlink("/etc/passwd", "link"); os.symlink("/etc", "folder"); os.symlink("real", "near")
        os.symlink("..", "up"); open("real", "w").write("real")
        os.symlink("/proc/self/environ", "environ")
    """
    wanted = ["link", "folder/passwd", "near", "environ", "up/etc/passwd", "folder/../etc"[:6], "real"]
    result = bench.run(program, want=wanted)
    require(result.files == {"real": b"real"}, f"returned were {sorted(result.files)}")


def returns_only_regular_files(bench: Bench) -> None:
    """Pipes, sockets and folders are not returned, and do not make anything wait."""
    program = """
        import os, socket
        os.mkfifo("pipe"); os.mkdir("folder"); socket.socket(socket.AF_UNIX).bind("socket")
        open("closed", "w").write("x"); os.chmod("closed", 0)
    """
    result = bench.run(program, want=["pipe", "folder", "socket", "closed"])
    require(not result.files, f"returned were {sorted(result.files)}")
    require(result.exit == 0, f"it is {result}")


def returns_no_huge_files(bench: Bench) -> None:
    """Files above the limit are not returned, also when they only claim to be huge."""
    result = bench.run(
        "open('big', 'wb').write(b'x' * (1 << 20))\nopen('sparse', 'wb').truncate(1 << 22)", want=["big", "sparse"]
    )
    require(not result.files, f"returned were {[(name, len(data)) for name, data in result.files.items()]}")


def cannot_replace_given_files_for_others(bench: Bench) -> None:
    """A program that changes the files it was given changes them for itself alone."""
    bench.run("open('helper.py', 'w').write('value = 666')", files={"helper.py": "value = 1"})
    bench.says("import helper; print(helper.value)", "1", files={"helper.py": "value = 1"})
    result = bench.run("import helper")
    require("ModuleNotFoundError" in result.errors, f"the file is still there: {result}")
