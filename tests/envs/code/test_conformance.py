"""Both back ends keep every check, and each way of breaking the worker is caught by the check that is meant for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from kintsugi.envs.code.sandbox import Result
from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox
from kintsugi.envs.code.sandbox.conformance import CHECKS, Bench, SandboxCheckError, Subject, check_sandbox, run_check
from kintsugi.errors import UsageError
from sandboxes import SUBJECTS, Scripted, bubblewrap


@pytest.fixture(scope="module")
def benches() -> Iterator[Callable[[str], Bench]]:
    opened: dict[str, Bench] = {}

    def bench(backend: str) -> Bench:
        if backend not in opened:
            opened[backend] = Bench(SUBJECTS[backend]())
        return opened[backend]

    yield bench
    for each in opened.values():
        each.sandbox.close()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.requires(name)) for name in SUBJECTS])
def test_our_back_ends_pass(backend, check, benches):
    assert run_check(benches(backend), check) == ""


def test_there_are_enough_checks_and_each_says_what_it_demands():
    assert len(CHECKS) >= 40
    assert all(check.__doc__ for check in CHECKS.values())


def test_a_sandbox_that_does_nothing_fails_and_every_failure_is_named():
    idle = Subject(lambda: Scripted(Result(b"", b"", 0)), "sandbox = None", lambda name: None, list)
    with pytest.raises(SandboxCheckError) as caught:
        check_sandbox(idle, known=["leaves_nothing_when_killed", *(n for n in CHECKS if "engine" in n or "died" in n)])
    assert len(caught.value.failures) > 50
    assert "returns_the_exit_code: exit code 1 came back as 0." in str(caught.value)
    with pytest.raises(UsageError, match="no sandbox check 'flies'"):
        check_sandbox(idle, known=["flies"])


BREAKS = {
    "it does not end what is left": ("does_not_wait_for_daemons", "worker", "os.kill(-1, signal.SIGKILL)", "pass"),
    "it does not sweep": (
        "leaves_no_files", "cleanup", "        in_fork(sweep)\n    return measure() == before",
        "        pass\n    return True"
    ),
    "it takes what is used up for clean": ("leaves_no_ports", "cleanup", "return measure() == before", "return True"),
    "it does not look after itself": (
        "cannot_harm_the_worker_for_good", "cleanup", "return measure() == before", "return True"
    ),
    "it keeps outputs": ("leaves_nothing_in_memory", "worker", "wipe(buffer.store, buffer.size)", "pass"),
    "it keeps inputs": ("leaves_nothing_in_memory", "worker", "wipe(SPILL, BLOCK)", "pass"),
    "it handles names itself": (
        "leaves_nothing_in_memory", "worker", "in_fork(deliver, answers, standby.payload)",
        "deliver(answers, standby.payload)"
    ),
    "it can be read": ("cannot_reach_the_worker", "worker", "libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0", "False"),
    "it leaves descriptors open": ("cannot_forge_results", "stage", "os.closerange(3, 1 << 20)", "pass"),
    "it follows links": ("returns_no_symbolic_links", "worker", " | os.O_NOFOLLOW", ""),
    "it opens pipes like files": ("returns_only_regular_files", "worker", "stat.S_ISREG(about.st_mode) and", ""),
    "it does not freeze the clock": ("freezes_the_clock", "worker", "    freeze()", "    pass"),
    "it does not seed": ("seeds_the_shared_generator", "stage", "random.seed(0)", "pass"),
    "it does not limit the CPU": (
        "stops_endless_loops", "stage", "resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))", "pass"
    ),
    "it keeps all output": (
        "cuts_endless_output", "worker", "self.size, self.limit, self.truncated = 0, limit, False",
        "self.size, self.limit = 0, len(self.store)"
    ),
}  # fmt: skip
"""What is wrong, the check that must fail, and how the worker is broken."""


@pytest.mark.requires("bwrap")
@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_worker_is_caught(name):
    check, module, old, new = BREAKS[name]

    class Broken(BubblewrapSandbox):
        def command(self, config):
            *head, sources, about = super().command(config)
            modules = dict(json.loads(sources))
            assert old in modules[module]
            modules[module] = modules[module].replace(old, new)
            return [*head, json.dumps(list(modules.items())), about]

    with Bench(bubblewrap(Broken)) as bench:
        assert run_check(bench, check) != ""
