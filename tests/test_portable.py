"""The package can be imported and run without the modules and functions that exist only on Unix."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNIX_MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
UNIX_ATTRIBUTES = {
    "os": (
        "O_NOFOLLOW", "SCHED_BATCH", "WNOHANG", "chown", "chroot", "fork", "forkpty", "getegid", "geteuid", "getgid",
        "getloadavg", "getpgid", "getpgrp", "getsid", "getuid", "killpg", "mkfifo", "nice", "register_at_fork",
        "sched_getaffinity", "setgid", "setgroups", "setpgid", "setsid", "setuid", "sysconf", "uname", "wait",
    ),
    "signal": ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1", "alarm", "setitimer", "sigwait"),
    "socket": ("AF_UNIX",),
}  # fmt: skip
"""Functions and constants that these modules have on Unix but not on Windows."""
SCRIPT = """
import importlib, pkgutil, sys

# Other libraries use Unix functions if the platform is Unix, so they are imported before these are removed.
for name in {libraries!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        pass

class UnixModuleBlocker:
    def find_spec(self, name, path=None, target=None):
        if name in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} on Windows", name=name)

for name in {modules!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, UnixModuleBlocker())
for module, names in {attributes!r}.items():
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
IMPORT_ALL = """
import kintsugi, kintsugi.agents, kintsugi.cli.main, kintsugi.envs, kintsugi.loops.registry, kintsugi.world_models
from kintsugi.envs.registry import BUILTIN
from kintsugi.loops.registry import loops

for entry in BUILTIN:
    assert entry.load().env_id == entry.id
for plugin in loops():
    plugin.load()
# The guest modules run only in the sandbox, on Linux.
guest = "kintsugi.envs.code.sandbox.guest."
found = []
for package in (kintsugi.agents, kintsugi.cli, kintsugi.envs, kintsugi.loops, kintsugi.world_models):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.startswith(guest):
            importlib.import_module(module.name)
            found.append(module.name)
try:
    importlib.import_module(f"{guest}worker")
except ModuleNotFoundError:
    print(len(found))
"""
PLAY = """
from kintsugi.envs import check_agent_env

for name in ("household", "trading"):
    check_agent_env(name, steps=10, copies=2, hash_seeds=())
print("played")
"""
PRINT_REMAINING = """
import os, signal, socket
for each in {modules!r}:
    try:
        importlib.import_module(each)
    except ModuleNotFoundError:
        continue
    print(each)
for module, names in {attributes!r}.items():
    print(*[name for name in names if hasattr(sys.modules[module], name)])
"""


def run_without_unix(code: str, libraries: tuple[str, ...] = ()) -> str:
    """Run code in a process without the modules and functions that exist only on Unix, and return its output."""
    script = SCRIPT.format(
        libraries=("asyncio", "tempfile", *libraries), modules=UNIX_MODULES, attributes=UNIX_ATTRIBUTES, code=code
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.requires("playwright", "torch", "werkzeug")
def test_modules_are_importable_without_unix_modules():
    assert int(run_without_unix(IMPORT_ALL, LIBRARIES)) > 150


def test_in_process_environments_run_without_unix_modules():
    assert run_without_unix(PLAY, LIBRARIES).strip() == "played"


def test_unix_modules_are_removed():
    """The tests above really run without them."""
    assert run_without_unix(PRINT_REMAINING.format(modules=UNIX_MODULES, attributes=UNIX_ATTRIBUTES)).strip() == ""
