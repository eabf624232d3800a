"""Episodes in several processes: the same attempts as in one process, errors, and lost processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from kintsugi.agents.models.local import LocalBackend
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.rollout import Job, Timing
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs.core import Task
from kintsugi.envs.registry import EnvSpec
from kintsugi.errors import InfraError
from kintsugi.loops.processes import ProcessPlayer
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
