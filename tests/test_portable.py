"""The package is imported where there are no modules and functions that Unix alone has."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNIX = ("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
FUNCTIONS = {
    "os": (
        "O_NOFOLLOW", "SCHED_BATCH", "WNOHANG", "chown", "chroot", "fork", "forkpty", "getegid", "geteuid", "getgid",
        "getloadavg", "getpgid", "getpgrp", "getsid", "getuid", "killpg", "mkfifo", "nice", "register_at_fork",
        "sched_getaffinity", "setgid", "setgroups", "setpgid", "setsid", "setuid", "sysconf", "uname", "wait",
    ),
    "signal": ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1", "alarm", "setitimer", "sigwait"),
    "socket": ("AF_UNIX",),
}  # fmt: skip
"""What the modules lack on Windows, as far as anybody would use it."""
SCRIPT = """
import importlib, pkgutil, sys

# Libraries of others ask which system it is, and this one is no Windows.
for name in {libraries!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        pass

class Windows:
    def find_spec(self, name, path=None, target=None):
        if name in {unix!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} on Windows", name=name)

for name in {unix!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Windows())
for module, names in {functions!r}.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
assert not [name for name in sys.modules if name.startswith("kintsugi")]

{code}
"""
LIBRARIES = (
    "docker", "getpass", "gymnasium.utils.env_checker", "huggingface_hub", "jinja2", "multiprocessing", "numpy", "peft",
    "platformdirs", "playwright.async_api", "plotly.graph_objects", "pyarrow.parquet", "rich.console",
    "safetensors.torch", "scipy.stats", "tokenizers", "tomli_w", "torch", "transformers", "tyro", "urllib.request",
    "werkzeug.serving",
)  # fmt: skip
MODULES = """
import kintsugi, kintsugi.agents, kintsugi.cli.main, kintsugi.envs, kintsugi.loops.registry, kintsugi.world_models
from kintsugi.envs.registry import BUILTIN
from kintsugi.loops.registry import loops

for entry in BUILTIN:
    assert entry.load().env_id == entry.id
for part in loops():
    part.load()
# What runs within the sandbox alone, which is a Linux.
guest = "kintsugi.envs.code.sandbox.guest."
found = []
for floor in (kintsugi.agents, kintsugi.cli, kintsugi.envs, kintsugi.loops, kintsugi.world_models):
    for module in pkgutil.walk_packages(floor.__path__, f"{floor.__name__}."):
        if not module.name.startswith(guest):
            importlib.import_module(module.name)
            found.append(module.name)
try:
    importlib.import_module(f"{guest}worker")
except ModuleNotFoundError:
    print(len(found))
"""
PLAYED = """
from kintsugi.envs import check_agent_env

for name in ("household", "trading"):
    check_agent_env(name, steps=10, copies=2, hash_seeds=())
print("played")
"""
MISSING = """
import os, signal, socket
for each in {unix!r}:
    try:
        importlib.import_module(each)
    except ModuleNotFoundError:
        continue
    print(each)
for module, names in {functions!r}.items():
    print(*[name for name in names if hasattr(sys.modules[module], name)])
"""


def on_windows(code: str, libraries: tuple[str, ...] = ()) -> str:
    """What code prints in a process that lacks what Windows lacks."""
    script = SCRIPT.format(libraries=("asyncio", "tempfile", *libraries), unix=UNIX, functions=FUNCTIONS, code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.requires("playwright", "torch", "werkzeug")
def test_every_module_is_imported_without_what_unix_alone_has():
    assert int(on_windows(MODULES, LIBRARIES)) > 150


def test_worlds_of_one_process_are_played_there():
    assert on_windows(PLAYED, LIBRARIES).strip() == "played"


def test_what_unix_alone_has_is_missing_there():
    """Otherwise the test above would say nothing."""
    assert on_windows(MISSING.format(unix=UNIX, functions=FUNCTIONS)).strip() == ""
