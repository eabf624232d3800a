"""Episodes in several processes: the same attempts as in one process, errors, lost processes, and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kintsugi.agents.models.local import LocalBackend
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.rollout import Job, Timing
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs.core import Task
from kintsugi.envs.registry import EnvSpec
from kintsugi.errors import InfraError
from kintsugi.loops.processes import ProcessPlayer, available_cores
from kintsugi.loops.run import LocalPlayer, Player
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import SeedRecipe
from kintsugi.loops.seeds.recipe import seed_model
from tiny_envs import Lamps

ENV = EnvSpec("tiny_envs:Lamps")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    recipe = SeedRecipe(
        family="household",
        demonstrations=20,
        reflections=10,
        judged_attempts=10,
        architecture=Architecture(32, 1, 2, 1, 64, 512),
        pretrain=PretrainConfig(tokens=5_000, batch_tokens=512, warmup=2),
    )
    return seed_model(recipe, cache=tmp_path_factory.mktemp("cache"))


def jobs_of(weights: Path, count: int = 7) -> list[Job]:
    agent = ReActAgent(LocalBackend(weights).model(None, parallel=4))
    tasks = Lamps.tasks("train", count).tasks
    return [Job(task, agent, seed) for seed, task in enumerate(tasks)]


def played(
    player: Player, jobs: list[Job], at_once: int = 4, env: EnvSpec = ENV
) -> tuple[list[Trajectory], list[float]]:
    shares: list[float] = []
    found = player.play(env, jobs, at_once, progress=shares.append, timing=Timing(), save_picture=None)
    return [attempt for wave in found for attempt in wave.attempts], shares


def texts(attempts: list[Trajectory]) -> list[object]:
    return [(t.task.id, t.seed, [step.text for step in t.steps], t.outcome, t.model) for t in attempts]


def test_attempts_are_those_of_one_process_in_the_same_order(weights):
    player = ProcessPlayer(2)
    attempts, shares = played(player, jobs_of(weights))
    assert texts(attempts) == texts(played(LocalPlayer(), jobs_of(weights))[0])
    assert shares == pytest.approx([2 / 7, 4 / 7, 5.5 / 7, 1])
    again, _ = played(player, jobs_of(weights))
    assert [t.to_json() for t in again] == [t.to_json() for t in attempts]
    player.close()


def test_one_part_is_played_here(weights):
    player = ProcessPlayer(1)
    assert len(played(player, jobs_of(weights))[0]) == 7
    assert player._pool is None


def test_errors_of_a_part_are_raised_here(weights):
    player = ProcessPlayer(2)
    long = [Job(Task(id="x", env_id="E-v0", seed=0, split="train"), job.agent, 0) for job in jobs_of(weights, 2)]
    with pytest.raises(Exception, match="x") as raised:
        played(player, long)
    assert not isinstance(raised.value, InfraError)
    assert player._pool is None


def test_a_lost_process_is_named_and_replaced(weights):
    player = ProcessPlayer(2)
    with pytest.raises(InfraError, match="ended from outside; free some memory"):
        played(player, jobs_of(weights), env=EnvSpec("faulty_envs:Quitting"))
    assert len(played(player, jobs_of(weights))[0]) == 7
    player.close()


def test_results_do_not_depend_on_the_number_of_processes(weights):
    """With one core, one process plays both parts one after the other."""
    found = []
    for processes in (1, 2):
        player = ProcessPlayer(2, processes)
        found.append([t.to_json() for t in played(player, jobs_of(weights))[0]])
        assert player._pool is not None
        assert len(player._pool._processes) == processes
        player.close()
    assert found[0] == found[1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_there_are_no_more_processes_than_cores_that_may_be_used():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
        assert (ProcessPlayer(2).parts, ProcessPlayer(2).processes) == (2, 1)
    finally:
        os.sched_setaffinity(0, before)
    assert available_cores() == len(before)


def test_processes_can_be_started_ahead(weights):
    player, alone = ProcessPlayer(2), ProcessPlayer(1)
    player.start()
    alone.start()
    started = player._pool
    assert started is not None
    assert alone._pool is None
    player.start()
    assert len(played(player, jobs_of(weights))[0]) == 7
    assert player._pool is started
    player.close()


def test_closing_counts_the_time_of_the_processes(weights):
    player, before = ProcessPlayer(2), os.times()
    played(player, jobs_of(weights))
    assert os.times().children_user == before.children_user
    player.close()
    assert os.times().children_user > before.children_user


WAITING = """
import os, sys, time
from kintsugi.loops.processes import ProcessPlayer, _interrupts_held

if __name__ == "__main__":
    player = ProcessPlayer(2)
    pool = player._open_pool()
    with _interrupts_held():
        sleepers = [pool.submit(time.sleep, 600) for _ in range(2)]
    print(len(pool._processes), end=" ", flush=True)
    {end}
"""
"""A program whose processes are starting or busy. It prints their number."""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        # Ctrl-C reaches the whole group of processes; only the first one notices.
        (
            "try: os.killpg(0, 2); time.sleep(600)\n"
            "    except KeyboardInterrupt: player._terminate(); print(player._pool)",
            0,
        ),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
    ],
    ids=["ctrl-c", "killed"],
)
def test_processes_end_with_the_first_one_and_print_nothing(tmp_path, end, code):
    program = tmp_path / "program.py"
    program.write_text(WAITING.replace("{end}", end))
    # This returns when the last process that holds the output has ended.
    found = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=120, start_new_session=True, check=False
    )
    assert found.returncode == code
    # Python itself warns of the semaphores of a killed process.
    assert "Traceback" not in found.stderr
    assert code or not found.stderr
    assert found.stdout == ("2 None\n" if code == 0 else "2 ")
