"""Helpers that run the command `kintsugi` in this process or in a subprocess."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from kintsugi.cli import main

HEAVY = ("peft", "scipy", "torch", "transformers")
_SCRIPT = """
import json, sys

BLOCKED, WATCHED = map(set, json.loads(sys.argv.pop(1)))


class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing)
from kintsugi.cli import main

try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
sys.stderr.write("".join(f"imported: {name}\\n" for name in sorted(WATCHED & sys.modules.keys())))
sys.exit(code)
"""


def run_command(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code, output and errors."""
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must fail with exit code 2; return its single line on stderr."""
    code, out, err = run_command(capsys, *argv)
    assert (code, err.count("\n")) == (2, 1), err
    assert out == ""
    return err


def run_in_subprocess(
    *argv: object,
    stdin: str | bytes = "",
    cwd: Path | None = None,
    without: Sequence[str] = (),
    watched: Sequence[str] = (),
    sites: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run a command in a subprocess that reads `stdin`; return its exit code, output and errors.

    Libraries in `without` cannot be imported there. For each library in `watched` that was imported, the errors end
    with a line `imported: NAME`. `sites` are additional folders of installed packages.
    """
    path = os.pathsep.join(map(str, [*sites, Path(__file__).parent]))
    process = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps([without, watched]), *map(str, argv)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        check=False,
    )
    return process.returncode, process.stdout.decode(), process.stderr.decode()


def offer(folder: Path, group: str, offers: Mapping[str, str], package: str = "foreign") -> None:
    """Write an installed package with these entry points into a folder for `sys.path`."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {target}\n" for name, target in offers.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Limit the size of files to `size` bytes, to simulate a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def attempt_rows(run: str = "run") -> list[tuple[object, ...]]:
    """Return stage, key and JSON of the attempts of a run, in order."""
    with contextlib.closing(sqlite3.connect(f"{run}/run.db")) as db:
        return db.execute("SELECT stage, key, data FROM trajectories ORDER BY number").fetchall()
