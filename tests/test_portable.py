"""The package imports and runs without modules and functions that exist only on Unix."""

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
"""Functions and constants that the modules lack on Windows."""
SCRIPT = """
import importlib, pkgutil, sys

# Other libraries check the operating system, so they are imported before anything is removed.
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
    """Return the output of code in a process without modules and functions that exist only on Unix."""
    script = SCRIPT.format(libraries=("asyncio", "tempfile", *libraries), unix=UNIX, functions=FUNCTIONS, code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.requires("playwright", "torch", "werkzeug")
def test_all_modules_import_without_unix_modules():
    assert int(on_windows(MODULES, LIBRARIES)) > 150


def test_in_process_environments_run_without_unix_modules():
    assert on_windows(PLAYED, LIBRARIES).strip() == "played"


def test_unix_modules_are_removed():
    """Checks that the tests above really run without them."""
    assert on_windows(MISSING.format(unix=UNIX, functions=FUNCTIONS)).strip() == ""
