"""`RunStore.collect`: attempts are played once, resumed, and refused if they do not match; scopes and parents."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path

import pytest
from attempts import CONFIG, OTHER, SCORE, STAGE, attempt, stored_attempts
from kintsugi.agents.core import Agent, Episode, RuleAgent
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job, waves
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.errors import UsageError
from kintsugi.loops.runs.stages import Stage, split_key
from kintsugi.loops.runs.store import RunStore
from tiny_envs import Echo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


class Guesser(RuleAgent):
    name = "guesser"

    def __init__(self) -> None:
        self.played: list[str] = []

    async def act(self, episode: Episode) -> Step:
        self.played.append(f"{episode.task.id}#{episode.seed}")
        return Step(episode.observation, "", str(episode.task.params["number"]))


played = functools.partial(waves, Echo, at_once=3)


def jobs(agent: Agent, n: int = 8, seed: int = 5) -> list[Job]:
    return [Job(task, agent, seed=seed) for task in Echo.tasks("train").tasks[:n]]


def test_collect_plays_only_missing_attempts(folder: Path):
    agent = Guesser()
    with RunStore.open(folder, CONFIG) as store:
        uninterrupted = store.collect(STAGE, jobs(agent), played)
        first = store.collect(OTHER, jobs(agent, 3), played)
    agent.played.clear()
    with RunStore.open(folder, CONFIG) as store:
        assert store.collect(OTHER, jobs(agent), played) == uninterrupted
        assert len(agent.played) == 5
        assert store.collect(OTHER, jobs(agent), played) == uninterrupted
        assert len(agent.played) == 5
        assert store.trajectories(OTHER)[:3] == first


def test_each_wave_is_stored_when_it_ends(folder: Path):
    agent = Guesser()

    def interrupted(remaining):
        for number, wave in enumerate(played(remaining)):
            if number == 2:
                raise KeyboardInterrupt
            yield wave

    with RunStore.open(folder, CONFIG) as store:
        with pytest.raises(KeyboardInterrupt):
            store.collect(STAGE, jobs(agent), interrupted)
        assert len(store.trajectories(STAGE)) == 6
        assert [t.task for t in store.collect(STAGE, jobs(agent), played)] == [job.task for job in jobs(agent)]


def test_collect_refuses_attempts_that_do_not_match(folder: Path):
    agent = Guesser()
    with RunStore.open(folder, CONFIG) as store:
        store.collect(STAGE, jobs(agent, 4), played)
        with pytest.raises(UsageError, match="holds 4 attempts; expected at most 2; use a new run folder"):
            store.collect(STAGE, jobs(agent, 2), played)
        for other in (jobs(agent, 8)[1:], jobs(agent, 8, seed=6)):
            with pytest.raises(UsageError, match="holds attempts that do not match the requested ones"):
                store.collect(STAGE, other, played)
        assert len(store.trajectories(STAGE)) == 4


USUAL = ReActConfig(temperature=0.5, max_tokens=40)


def react(config: ReActConfig = USUAL, version: str = "base:1") -> ReActAgent:
    return ReActAgent(ScriptedModel(["Action: 1"], version), config)


class Rude(ReActAgent):
    """Another kind of agent with the same configuration."""


@pytest.mark.parametrize(
    "other",
    [
        react(ReActConfig(system="Be rude.", temperature=0.5, max_tokens=40)),
        react(ReActConfig(temperature=0.0, max_tokens=40)),
        react(ReActConfig(temperature=0.5, max_tokens=41)),
        react(ReActConfig(temperature=0.5, max_tokens=40, restate_goal=not USUAL.restate_goal)),
        react(version="base:1+agent@1:5"),
        Rude(ScriptedModel(["Action: 1"], "base:1"), USUAL),
        Guesser(),
    ],
    ids=["prompt", "temperature", "length", "goal", "model", "kind", "rules"],
)
def test_attempts_of_another_agent_are_refused_in_one_line(folder: Path, other):
    """Also if all of them are stored and none would be played."""
    with RunStore.open(folder, CONFIG) as store:
        first = store.collect(STAGE, jobs(react(), 4), played)
        for n in (4, 8):
            with pytest.raises(UsageError) as refused:
                store.collect(STAGE, jobs(other, n), played)
            message = str(refused.value)
            assert f"stage '{STAGE}' holds attempts that do not match the requested ones" in message
            assert f"(attempt 'train/0#0'; agent: {react().name} -> {other.name})" in message
            assert "use a new run folder, or another name" in message
            assert "\n" not in message
        assert store.collect(STAGE, jobs(react(), 4), played) == store.trajectories(STAGE) == first


def test_the_message_names_changed_tasks_seeds_and_samples(folder: Path):
    agent = Guesser()
    with RunStore.open(folder, CONFIG) as store:
        store.collect(STAGE, jobs(agent, 2), played)
        with pytest.raises(UsageError, match=r"attempt 'train/0#0'; seed: 5 -> 6\)"):
            store.collect(STAGE, jobs(agent, 2, seed=6), played)
        tasks = Echo.tasks("train").tasks
        with pytest.raises(UsageError, match=rf"task: {tasks[0].hash} -> {tasks[1].hash}\)"):
            store.collect(STAGE, jobs(agent, 3)[1:], played)
        with pytest.raises(UsageError, match=r"sample: 0 -> 1\)"):
            store.collect(STAGE, [Job(job.task, agent, job.seed, 1) for job in jobs(agent, 2)], played)


def test_collect_works_inside_a_running_event_loop(folder: Path):
    async def notebook() -> list[Trajectory]:
        with RunStore.open(folder, CONFIG) as store:
            return store.collect(STAGE, jobs(Guesser()), played)

    assert asyncio.run(notebook()) == stored_attempts(folder)


def test_scopes_separate_the_records_of_several_seeds(folder: Path):
    with RunStore.open(folder, CONFIG) as store:
        for seed in range(2):
            view = store.with_scope(f"seed{seed}")
            view.add(STAGE, [attempt(seed)])
            assert view.result(SCORE, lambda seed=seed: seed) == seed
            assert view.trajectories(STAGE) == [attempt(seed)]
        one, two = (Stage("collect", "policy", "train", 1, f"seed{seed}") for seed in range(2))
        assert store.trajectory_stages() == [one, two]
        assert store.trajectories(two) == store.with_scope("seed0").trajectories(two) == [attempt(1)]
        assert store.trajectories(STAGE) == []
        assert {stage.scope: value for stage, value in store.results().items()} == {"seed0": 0, "seed1": 1}


def test_parents_are_full_keys_of_attempts_in_the_same_scope(folder: Path):
    corrections = Stage("collect", "reflection", "train", 1)
    with RunStore.open(folder, CONFIG) as store:
        for seed in range(2):
            view = store.with_scope(f"seed{seed}")
            view.add(STAGE, [attempt(0, seed=seed), attempt(0, seed=seed, sample=1)])
            failed = view.trajectories(STAGE)
            again = [Job(t.task, Guesser(), 5, t.sample, parents=(view.key(STAGE, t.key),)) for t in failed]
            view.collect(corrections, again, played)
        for seed in range(2):
            [_, mended] = store.with_scope(f"seed{seed}").trajectories(corrections)
            assert mended.parents == (f"collect/seed{seed}/policy@1/train:t0#1",)
            stage, name = split_key(*mended.parents)
            assert [t.seed for t in store.trajectories(stage) if t.key == name] == [seed]
