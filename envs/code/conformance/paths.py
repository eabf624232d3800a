"""Checks that file names cannot refer to places outside the working directory."""

from __future__ import annotations

from ....errors import UsageError
from .context import SMALL, CheckContext, CheckFailed, require

BAD = ("../x", "/etc/passwd", "a/../../x", "", ".", "..", "a//b", "a/./b", "x\0y", "main.py", "a/" * 600)
IMPOSSIBLE = ("\ud800", "a/b\udfff", "x" * 256, "é" * 128, "d" * 300 + "/f", "main.py/x", "/".join(["part"] * 300))
"""Names that no file in the working directory can have."""


def refuses_bad_file_names(context: CheckContext) -> None:
    """Names that leave the working directory must be refused, for files to write and files to return."""
    for name in (*BAD, *IMPOSSIBLE):
        for options in ({"files": {name: "x"}}, {"return_files": [name]}):
            try:
                context.run("print(1)", **options)
            except UsageError:
                continue
            raise CheckFailed(f"the name {name[:40]!a} was accepted ({min(options)})")


def refuses_files_that_are_folders(context: CheckContext) -> None:
    """A name must not be both a file and the folder of another file."""
    try:
        context.run("print(1)", files={"a": "1", "a/b": "2"})
    except UsageError:
        return
    raise CheckFailed("the files were accepted")


def takes_names_at_the_limit(context: CheckContext) -> None:
    """Names of 255 bytes, in any script, and names of many parts must be usable."""
    for name in ("x" * 255, "é" * 127, "/".join(["part"] * 150), "main.pyx", "sub/main.py", " ", "-", "a\nb"):
        context.expect_output(f"print(open({name!r}).read())", "1", files={name: "1"})


def refuses_files_that_do_not_fit(context: CheckContext) -> None:
    """Files above the limit of disk together, or too many of them, must be refused before anything runs."""
    many = {f"{number}": "" for number in range(5000)}
    for files in ({"a": b"x" * (9 << 20)}, {str(n): b"x" * (3 << 20) for n in range(3)}, many):
        try:
            result = context.run("print(1)", SMALL, files=files)
        except UsageError:
            continue
        raise CheckFailed(f"{len(files)} files were accepted, and the result is {str(result)[:200]}")
    context.expect_output("print(1)", "1", SMALL, files={"a": b"x" * (7 << 20)})


def returns_no_symbolic_links(context: CheckContext) -> None:
    """Links, and files behind links to folders, must not be returned."""
    program = """
        import os
        os.symlink("/etc/passwd", "link"); os.symlink("/etc", "folder"); os.symlink("real", "near")
        os.symlink("..", "up"); open("real", "w").write("real")
        os.symlink("/proc/self/environ", "environ")
    """
    return_files = ["link", "folder/passwd", "near", "environ", "up/etc/passwd", "folder/../etc"[:6], "real"]
    result = context.run(program, return_files=return_files)
    require(result.files == {"real": b"real"}, f"the returned files are {sorted(result.files)}")


def returns_only_regular_files(context: CheckContext) -> None:
    """Pipes, sockets and folders must not be returned and must not block."""
    program = """
        import os, socket
        os.mkfifo("pipe"); os.mkdir("folder"); socket.socket(socket.AF_UNIX).bind("socket")
        open("closed", "w").write("x"); os.chmod("closed", 0)
    """
    result = context.run(program, return_files=["pipe", "folder", "socket", "closed"])
    require(not result.files, f"the returned files are {sorted(result.files)}")
    require(result.exit == 0, f"the result is {result}")


def returns_no_huge_files(context: CheckContext) -> None:
    """Files above the size limit must not be returned, sparse files included."""
    result = context.run(
        "open('big', 'wb').write(b'x' * (1 << 20))\nopen('sparse', 'wb').truncate(1 << 22)",
        return_files=["big", "sparse"],
    )
    require(not result.files, f"the returned files are {[(name, len(data)) for name, data in result.files.items()]}")


def cannot_change_files_of_later_programs(context: CheckContext) -> None:
    """Changes of a program to its files must not affect later programs."""
    context.run("open('helper.py', 'w').write('value = 666')", files={"helper.py": "value = 1"})
    context.expect_output("import helper; print(helper.value)", "1", files={"helper.py": "value = 1"})
    result = context.run("import helper")
    require("ModuleNotFoundError" in result.errors, f"the file still exists: {result}")
