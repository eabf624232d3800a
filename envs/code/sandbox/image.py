"""The image that sandbox containers are made of: from the official Python image, or without any image registry."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from ....errors import InfraError, UsageError
from . import docker_engine, owner

Method = Literal["auto", "debootstrap", "dockerfile"]
DOCKERFILE = Path(__file__).with_name("Dockerfile")
PREFIX = "kintsugi-image-"
"""What the folders begin with that images are made in; then comes whose they are."""
PACKAGES = "python3,python3-minimal,libpython3-stdlib"
LEFT_OUT = (
    "boot dev/* proc/* run/* sys/* tmp/* usr/share/doc/* usr/share/info/* usr/share/locale/* usr/share/man/* "
    "var/cache/apt/* var/lib/apt/lists/* var/log/*"
)
"""What no program needs of a Debian system."""
Say = Callable[[str], object]


def build(method: Method = "auto", *, image: str = docker_engine.IMAGE, force: bool = False, say: Say = str) -> str:
    """Make the image unless the engine has it (or always, with `force`); returns how it was made.

    `debootstrap` makes a minimal Debian with Python from the package mirror of this machine and needs root;
    `dockerfile` builds on the official Python image and needs an image registry; `auto` is the first where it can be
    had, else the second. `say` is told what is being done. Raises `Unavailable` without an engine, `UsageError` when
    something is missing here and `InfraError` when a download fails.
    """
    docker_engine.require_name(image)
    client = docker_engine.connect(seconds=600)
    if not force and client.images(name=image):
        return "it is there already"
    if method == "auto":
        method = "debootstrap" if shutil.which("debootstrap") and _is_root() else "dockerfile"
    say(f"making {image} with {method}")
    if method == "debootstrap":
        _bootstrap(client, image, say)
    else:
        _from_dockerfile(client, image, say)
    return f"made with {method}"


def _from_dockerfile(client: docker_engine.Client, image: str, say: Say) -> None:
    where, name = str(DOCKERFILE.parent), DOCKERFILE.name
    with docker_engine.engine_errors("the Dockerfile could not be built"):
        for line in client.build(path=where, dockerfile=name, tag=image, rm=True, decode=True):
            if "error" in line:
                raise InfraError(
                    f"the Dockerfile could not be built: {line['error'].strip()}; where no image registry can be "
                    "reached, use: kintsugi sandbox build --method debootstrap"
                )
            if text := str(line.get("stream", "")).strip():
                say(text)


def _bootstrap(client: docker_engine.Client, image: str, say: Say) -> None:
    program = find_debootstrap()
    suite, mirror = debian_source()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{owner.this_process().replace(':', '_')}-") as folder:
        root = Path(folder) / "root"
        say(f"a minimal {suite} with Python; this takes a few minutes")
        command = [program, "--variant=minbase", f"--include={PACKAGES}", suite, str(root), *filter(None, [mirror])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InfraError(f"debootstrap failed: {done.stdout.strip().splitlines()[-1:] or done.stderr.strip()}")
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000:
                path.chmod(path.stat().st_mode & 0o1777)
        say("importing it")
        with docker_engine.engine_errors("the image could not be imported"):
            repository, _, tag = image.rpartition(":")
            changes = ["LABEL kintsugi.image=1", f"USER {docker_engine.USER}"]
            stream = _archive(root)
            answer = client.import_image_from_stream(stream, repository=repository, tag=tag, changes=changes)
            if '"error"' in answer:
                raise InfraError(f"the image could not be imported: {answer.strip()}")


def find_debootstrap(root: bool | None = None) -> str:
    """Where debootstrap is; raises `UsageError` where it is missing, and to who is not `root` (None looks)."""
    program = shutil.which("debootstrap")
    if program is None:
        raise UsageError("debootstrap is not installed; install the package 'debootstrap', or use --method dockerfile")
    if not (_is_root() if root is None else root):
        raise UsageError("debootstrap must be run by root; use sudo, or --method dockerfile")
    return program


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def clean(folder: Path | None = None) -> list[str]:
    """Remove the systems that killed builds left in the folder of temporary files; returns their names."""
    removed = []
    for path in sorted((folder or Path(tempfile.gettempdir())).resolve().glob(f"{PREFIX}*")):
        builder = path.name.removeprefix(PREFIX).partition("-")[0].replace("_", ":")
        about = path.lstat()
        # Everybody can write there: what is a link, or somebody else's, is no leftover of ours.
        ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
        if ours and owner.is_gone(builder) and _unmount(path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
    return removed


def _unmount(folder: Path) -> bool:
    """Whether nothing is mounted below `folder` any more: debootstrap lends its system this one's /proc and /sys."""

    def mounted() -> list[str]:
        places = [line.split()[4].replace("\\040", " ") for line in _text(Path("/proc/self/mountinfo")).splitlines()]
        return sorted((place for place in places if place.startswith(f"{folder}/")), reverse=True)

    for place in mounted():
        subprocess.run(["umount", place], capture_output=True, check=False)
    return not mounted()


def _archive(root: Path) -> Iterator[bytes]:
    """The system as a tar stream, so that it is never twice on the disk."""
    excluded = [f"--exclude=./{pattern}" for pattern in LEFT_OUT.split()]
    command = ["tar", "-C", str(root), "--sort=name", "-c", *excluded, "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            yield block
    if process.returncode:
        raise InfraError(f"tar ended with exit code {process.returncode} while it packed the image")


def debian_source(etc: Path = Path("/etc")) -> tuple[str, str]:
    """(suite, mirror) that this machine takes its own packages from; no mirror when its sources name none."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', _text(etc / "os-release"), re.MULTILINE))
    suite = release.get("VERSION_CODENAME", "stable")
    for file in (etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))):
        for uri, suites in _entries(_text(file)):
            if suite in suites:
                return suite, uri
    return suite, ""


def _entries(text: str) -> Iterator[tuple[str, list[str]]]:
    """(URI, suites) of each source, in the one-line format and in that of fields."""
    for match in re.finditer(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE):
        yield match[1], [match[2]]
    for block in re.split(r"\n\s*\n", text):
        fields = {name.lower(): value.split() for name, value in re.findall(r"^([\w-]+):(.*)$", block, re.MULTILINE)}
        if "deb" in fields.get("types", []):
            for uri in fields.get("uris", []):
                yield uri, fields.get("suites", [])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
