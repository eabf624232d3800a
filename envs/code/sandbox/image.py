"""Builds the image of sandbox containers, from the official Python image or without an image registry."""

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
"""Prefix of the temporary folders in which images are built. The name of the owner process follows the prefix."""
PACKAGES = "python3,python3-minimal,libpython3-stdlib"
EXCLUDED = (
    "boot dev/* proc/* run/* sys/* tmp/* usr/share/doc/* usr/share/info/* usr/share/locale/* usr/share/man/* "
    "var/cache/apt/* var/lib/apt/lists/* var/log/*"
)
"""Paths of a Debian system that are left out of the image."""
Log = Callable[[str], object]


def build(method: Method = "auto", *, image: str = docker_engine.IMAGE, force: bool = False, log: Log = str) -> str:
    """Build the image unless the engine already has it.

    Args:
        method: `debootstrap` makes a minimal Debian with Python from this machine's package mirror and needs root.
            `dockerfile` extends the official Python image and needs an image registry. `auto` is `debootstrap` if
            possible, and `dockerfile` otherwise.
        image: Name and tag of the image.
        force: Build the image even if the engine already has it.
        log: Called with progress messages.

    Returns:
        A message that says how the image was made, or that it already exists.

    Raises:
        Unavailable: If no Docker engine answers.
        UsageError: If a program or a permission is missing.
        InfraError: If a download or a build fails.
    """
    docker_engine.require_image_name(image)
    client = docker_engine.connect(seconds=600)
    if not force and client.images(name=image):
        return "already exists"
    if method == "auto":
        method = "debootstrap" if shutil.which("debootstrap") and _is_root() else "dockerfile"
    log(f"making {image} with {method}")
    if method == "debootstrap":
        _build_with_debootstrap(client, image, log)
    else:
        _build_with_dockerfile(client, image, log)
    return f"made with {method}"


def _build_with_dockerfile(client: docker_engine.Client, image: str, log: Log) -> None:
    where, name = str(DOCKERFILE.parent), DOCKERFILE.name
    with docker_engine.engine_errors("the Dockerfile could not be built"):
        for line in client.build(path=where, dockerfile=name, tag=image, rm=True, decode=True):
            if "error" in line:
                raise InfraError(
                    f"the Dockerfile could not be built: {line['error'].strip()}; without access to an image registry, "
                    "use: kintsugi sandbox build --method debootstrap"
                )
            if text := str(line.get("stream", "")).strip():
                log(text)


def _build_with_debootstrap(client: docker_engine.Client, image: str, log: Log) -> None:
    program = find_debootstrap()
    suite, mirror = debian_source()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{owner.this_process().replace(':', '_')}-") as folder:
        root = Path(folder) / "root"
        log(f"installing a minimal {suite} with Python; this takes a few minutes")
        command = [program, "--variant=minbase", f"--include={PACKAGES}", suite, str(root), *filter(None, [mirror])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InfraError(f"debootstrap failed: {done.stdout.strip().splitlines()[-1:] or done.stderr.strip()}")
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000:
                path.chmod(path.stat().st_mode & 0o1777)
        log("importing the image")
        with docker_engine.engine_errors("the image could not be imported"):
            repository, _, tag = image.rpartition(":")
            changes = ["LABEL kintsugi.image=1", f"USER {docker_engine.USER}"]
            stream = _tar_stream(root)
            answer = client.import_image_from_stream(stream, repository=repository, tag=tag, changes=changes)
            if '"error"' in answer:
                raise InfraError(f"the image could not be imported: {answer.strip()}")


def find_debootstrap(root: bool | None = None) -> str:
    """Return the path of debootstrap.

    Args:
        root: Whether the user is root. None means to check.

    Raises:
        UsageError: If debootstrap is not installed or the user is not root.
    """
    program = shutil.which("debootstrap")
    if program is None:
        raise UsageError("debootstrap is not installed; install the package 'debootstrap', or use --method dockerfile")
    if not (_is_root() if root is None else root):
        raise UsageError("debootstrap must be run by root; use sudo or --method dockerfile")
    return program


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def clean(folder: Path | None = None) -> list[str]:
    """Remove the temporary folders that killed builds left behind. Return their names."""
    removed = []
    for path in sorted((folder or Path(tempfile.gettempdir())).resolve().glob(f"{PREFIX}*")):
        builder = path.name.removeprefix(PREFIX).partition("-")[0].replace("_", ":")
        status = path.lstat()
        # All users can write to the temporary directory, so links and folders of other users are left alone.
        is_own_folder = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if is_own_folder and owner.has_ended(builder) and _unmount(path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path.name)
    return removed


def _unmount(folder: Path) -> bool:
    """Unmount everything below a folder, where debootstrap mounts /proc and /sys. Return whether that succeeded."""

    def mounted() -> list[str]:
        mount_points = [
            line.split()[4].replace("\\040", " ") for line in _read_text(Path("/proc/self/mountinfo")).splitlines()
        ]
        return sorted((path for path in mount_points if path.startswith(f"{folder}/")), reverse=True)

    for path in mounted():
        subprocess.run(["umount", path], capture_output=True, check=False)
    return not mounted()


def _tar_stream(root: Path) -> Iterator[bytes]:
    """Yield a folder as a tar stream, without a temporary file."""
    excluded = [f"--exclude=./{pattern}" for pattern in EXCLUDED.split()]
    command = ["tar", "-C", str(root), "--sort=name", "-c", *excluded, "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while block := process.stdout.read(1 << 20):
            yield block
    if process.returncode:
        raise InfraError(f"tar ended with exit code {process.returncode} while it packed the image")


def debian_source(etc: Path = Path("/etc")) -> tuple[str, str]:
    """Return the Debian suite and mirror from this machine's package sources. The mirror is empty if none is found."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', _read_text(etc / "os-release"), re.MULTILINE))
    suite = release.get("VERSION_CODENAME", "stable")
    for file in (etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))):
        for uri, suites in _apt_sources(_read_text(file)):
            if suite in suites:
                return suite, uri
    return suite, ""


def _apt_sources(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the URI and the suites of each package source, in the one-line and in the deb822 format."""
    for match in re.finditer(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE):
        yield match[1], [match[2]]
    for block in re.split(r"\n\s*\n", text):
        fields = {name.lower(): value.split() for name, value in re.findall(r"^([\w-]+):(.*)$", block, re.MULTILINE)}
        if "deb" in fields.get("types", []):
            for uri in fields.get("uris", []):
                yield uri, fields.get("suites", [])


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
