"""Both backends pass every check, and each fault that is put into the worker fails the matching check."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from kintsugi.envs.code.conformance import (
    CHECKS,
    CheckContext,
    SandboxCheckError,
    Subject,
    check_sandbox,
    run_check,
)
from kintsugi.envs.code.sandbox import Result
from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox
from kintsugi.errors import UsageError
from sandboxes import SUBJECTS, ScriptedSandbox, bubblewrap


@pytest.fixture(scope="module")
def contexts() -> Iterator[Callable[[str], CheckContext]]:
    opened: dict[str, CheckContext] = {}

    def context(backend: str) -> CheckContext:
        if backend not in opened:
            opened[backend] = CheckContext(SUBJECTS[backend]())
        return opened[backend]

    yield context
    for each in opened.values():
        each.sandbox.close()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.requires(name)) for name in SUBJECTS])
def test_built_in_backends_pass_the_check(backend, check, contexts):
    assert run_check(contexts(backend), check) == ""


def test_each_check_has_a_docstring():
    assert len(CHECKS) >= 40
    assert all(check.__doc__ for check in CHECKS.values())


def test_a_sandbox_that_does_nothing_fails_and_the_error_lists_all_failures():
    idle = Subject(lambda: ScriptedSandbox(Result(b"", b"", 0)), "sandbox = None", lambda name: None, list)
    with pytest.raises(SandboxCheckError) as caught:
        check_sandbox(idle, known=["leaves_nothing_when_killed", *(n for n in CHECKS if "killed" in n or "died" in n)])
    assert len(caught.value.failures) > 50
    assert "returns_the_exit_code: exit code 1 was returned as 0." in str(caught.value)
    with pytest.raises(UsageError, match="unknown sandbox check 'flies'"):
        check_sandbox(idle, known=["flies"])


BREAKS = {
    "it does not kill processes": ("does_not_wait_for_daemons", "worker", "os.kill(-1, signal.SIGKILL)", "pass"),
    "it does not delete files": (
        "leaves_no_files", "cleanup", "        run_in_fork(delete_everything)", "        pass", "cleanup",
        "return measure_state() == before", "return True"
    ),
    "it does not check sockets": ("leaves_no_ports", "cleanup", "return measure_state() == before", "return True"),
    "it installs no filter": ("cannot_touch_the_worker", "worker", "    install_filter(filters[0])", "    pass"),
    "it installs no filter, and sockets of all kinds exist": (
        "has_no_sockets_outside_namespaces", "worker", "    install_filter(filters[0])", "    pass"
    ),
    "it installs no filter, and all system calls exist": (
        "has_no_dangerous_system_calls", "worker", "    install_filter(filters[0])", "    pass"
    ),
    "it installs no filter and does not check the flags of folders": (
        "leaves_no_settings", "worker", "    install_filter(filters[0])", "    pass", "cleanup",
        "return measure_state() == before", "return True"
    ),
    "it installs no filter and does not check its own limits": (
        "cannot_change_the_worker_permanently", "worker", "    install_filter(filters[0])", "    pass", "cleanup",
        "return measure_state() == before", "return True"
    ),
    "it does not close files": (
        "writes_files_that_are_still_open", "ending", "    close_files()", "    pass"
    ),
    "it does not flush files": ("writes_files_that_are_still_open", "ending", "file.flush()", "pass"),
    "it does not finalize objects": ("runs_finalizers", "ending", "remove_modules(known)", "None"),
    "it finalizes objects of daemon threads": (
        "ends_with_daemon_threads", "ending", "    if threading.active_count() > 1:", "    if False:"
    ),
    "it keeps output in memory": ("leaves_no_data_in_memory", "worker", "wipe(buffer.store, buffer.size)", "pass"),
    "it keeps input in memory": ("leaves_no_data_in_memory", "worker", "wipe(SCRATCH, BLOCK)", "pass"),
    "it handles file names without a fork": (
        "leaves_no_data_in_memory", "worker", "run_in_fork(send_files, answers, standby.payload)",
        "send_files(answers, standby.payload)"
    ),
    "it is readable": ("cannot_reach_the_worker", "worker", "libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0", "False"),
    "it leaves file descriptors open": (
        "cannot_forge_results", "child", "os.closerange(CHANNEL + (channel is not None), 1 << 20)", "pass"
    ),
    "it follows links": ("returns_no_symbolic_links", "worker", " | os.O_NOFOLLOW", ""),
    "it returns pipes like files": ("returns_only_regular_files", "worker", "stat.S_ISREG(status.st_mode) and", ""),
    "it does not freeze the clock": ("freezes_the_clock", "worker", "    freeze()", "    pass"),
    "it does not seed the generator": ("seeds_the_shared_generator", "child", "random.seed(0)", "pass"),
    "it does not limit the CPU time": (
        "stops_endless_loops", "child", "resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))", "pass"
    ),
    "it keeps all output": (
        "cuts_endless_output", "worker", "self.size, self.limit, self.truncated = 0, limit, False",
        "self.size, self.limit = 0, len(self.store)"
    ),
}  # fmt: skip
"""For each fault: the check that must fail, then a module of the worker, its text to replace and the new text."""


@pytest.mark.requires("bwrap")
@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_worker_fails_its_check(name):
    check, *changes = BREAKS[name]

    class Broken(BubblewrapSandbox):
        def command(self, config):
            *head, sources, settings = super().command(config)
            modules = dict(json.loads(sources))
            for module, old, new in zip(changes[::3], changes[1::3], changes[2::3], strict=True):
                assert old in modules[module]
                modules[module] = modules[module].replace(old, new)
            return [*head, json.dumps(list(modules.items())), settings]

    with CheckContext(bubblewrap(Broken)) as context:
        assert run_check(context, check) != ""
