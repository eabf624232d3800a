"""Rollouts: order, waves, retries after infrastructure failures, and timing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from kintsugi.agents.core import Episode, RuleAgent
from kintsugi.agents.models import Completion, ScriptedModel, Usage
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job, Timing, collect, gather_or_cancel, play, run_in_waves, run_sync, waves
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.errors import InfraError, TooLongError, UsageError
from tiny_envs import Echo, Lamps

TASKS = Echo.tasks("train").tasks


class Guesser(RuleAgent):
    """Gives `wrong_guesses` wrong answers, then the number in the first observation."""

    name = "guesser"

    def __init__(self, wrong_guesses: int = 0) -> None:
        self.wrong_guesses = wrong_guesses
        self.at_once = self.most_at_once = 0
        self.acted: list[str] = []

    async def act(self, episode: Episode) -> Step:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        self.acted.append(episode.task.id)
        guess = episode.task.params["number"] if len(episode.steps) >= self.wrong_guesses else "hm"
        return Step(episode.observation, "", str(guess))


def jobs(agent: Any, n: int = 7, samples: int = 1) -> list[Job]:
    return [Job(task, agent, seed=100 + i, sample=i) for task in TASKS[:n] for i in range(samples)]


def test_play_records_the_episode():
    env, job = (
        Echo(max_steps=5),
        Job(TASKS[3], Guesser(wrong_guesses=2), seed=7, sample=1, source="reflection", parents=("x",)),
    )
    found = asyncio.run(play(env, job))
    assert [step.action for step in found.steps] == ["hm", "hm", "3"]
    assert [step.reward for step in found.steps] == [0.0, 0.0, 1.0]
    assert found.steps[0].observation == "Which number am I thinking of? A hint: 3."
    assert found.steps[1].observation.startswith("Answer 1 was 'hm'")
    assert found.final_observation.startswith("Answer 3 was '3'")
    assert (found.outcome, found.score, found.goal, found.key) == ("success", 1.0, "say the number", "train/3#1")
    assert (found.source, found.parents, found.model, found.seed) == ("reflection", ("x",), "guesser", 7)


def test_play_distinguishes_outcomes():
    truncated = asyncio.run(play(Echo(max_steps=2), Job(TASKS[1], Guesser(wrong_guesses=9), seed=0)))
    assert (truncated.outcome, truncated.score, len(truncated.steps)) == ("truncated", 0.0, 2)

    class Fails(Echo):
        def act(self, action):
            return "You lost.", 0.0, True, {"success": False, "score": 0.25}

    failed = asyncio.run(play(Fails(), Job(TASKS[1], Guesser(), seed=0)))
    assert (failed.outcome, failed.score) == ("failure", 0.25)


def test_refused_actions_are_marked_and_the_goal_persists():
    agent = ReActAgent(ScriptedModel(["Thought: hm\nAction: xyzzy", "Thought: well\nAction: light red"]))
    found = asyncio.run(play(Lamps(max_steps=4), Job(Lamps.tasks("train")["train/1"], agent, seed=0)))
    assert [step.invalid is not None for step in found.steps] == [True, False, True, False]
    assert found.goal == "light every lamp"
    assert found.steps[0].token_ids == tuple(b"Thought: hm\nAction: xyzzy")


def test_collect_keeps_order_and_plays_waves_in_parallel():
    agent = Guesser(wrong_guesses=1)
    played = [wave.attempts for wave in waves(lambda: Echo(max_steps=5), jobs(agent, 7, samples=3), at_once=5)]
    assert [t.key for wave in played for t in wave] == [f"train/{i}#{s}" for i in range(7) for s in range(3)]
    assert [len(wave) for wave in played] == [5, 5, 5, 5, 1]
    assert agent.most_at_once == 5
    found = collect(lambda: Echo(max_steps=5), jobs(Guesser(wrong_guesses=1), 7, samples=3), at_once=5)
    assert [t for wave in played for t in wave] == found
    assert all(t.success for t in found)


def test_attempts_do_not_depend_on_the_wave():
    alone = [asyncio.run(play(Echo(max_steps=5), job)) for job in jobs(Guesser(wrong_guesses=3))]
    for at_once in (1, 2, 100):
        assert collect(lambda: Echo(max_steps=5), jobs(Guesser(wrong_guesses=3)), at_once=at_once) == alone
    assert collect(Echo, []) == []


def test_interrupted_wave_gives_the_same_result_when_repeated():
    class Interrupted(Guesser):
        async def act(self, episode: Episode) -> Step:
            if episode.task.id == "train/3" and len(episode.steps) == 1:
                raise KeyboardInterrupt
            return await super().act(episode)

    kept: list[Trajectory] = []

    def cut_off() -> None:
        for wave in waves(Echo, jobs(Interrupted(wrong_guesses=2), 9), at_once=2):
            kept.extend(wave.attempts)

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    all_jobs = jobs(Guesser(wrong_guesses=2), 9)
    assert len(kept) == 2
    assert kept + collect(Echo, all_jobs[len(kept) :], at_once=2) == collect(Echo, all_jobs, at_once=2)


def test_models_are_reset_before_each_wave():
    model, share = ScriptedModel(["Thought: hm\nAction: hm"]), list[float]()
    collect(lambda: Echo(max_steps=2), jobs(ReActAgent(model), 7), at_once=3, progress=share.append)
    assert model.waves == 3
    assert share == pytest.approx([i / 7 for i in range(1, 8)])

    async def square(number: int) -> int:
        await asyncio.sleep(0)
        return number**2

    found = run_sync(run_in_waves([partial(square, i) for i in range(7)], 3, [model]))
    assert found == [i**2 for i in range(7)]
    assert model.waves == 6


class Fragile(Echo):
    """Fails at the first `times` steps of each task, counted over retries."""

    broken: dict[str, int]
    times = 1

    def act(self, action):
        assert self.task is not None
        self.broken[self.task.id] = self.broken.get(self.task.id, 0) + 1
        if self.broken[self.task.id] <= self.times:
            raise InfraError("the browser is gone")
        return super().act(action)


@pytest.mark.parametrize(("times", "outcome"), [(1, "success"), (2, "success"), (3, "infra_error")])
def test_infrastructure_failures_are_retried(times, outcome):
    env = type("FragileOnce", (Fragile,), {"times": times, "broken": {}})
    found = collect(env, jobs(Guesser()), at_once=3, retries=2)
    assert {t.outcome for t in found} == {outcome}
    assert {t.error for t in found} == {"the browser is gone" if outcome == "infra_error" else None}
    assert not any(t.steps for t in found if t.outcome == "infra_error")


def test_infrastructure_failure_keeps_played_steps_and_affects_one_episode():
    class Tired(Guesser):
        async def act(self, episode: Episode) -> Step:
            if len(episode.steps) == 2 and episode.task.id == "train/2":
                raise InfraError("the model server is gone")
            return await super().act(episode)

    found = collect(Echo, jobs(Tired(wrong_guesses=4)), retries=0)
    assert [t.outcome for t in found] == ["success"] * 2 + ["infra_error"] + ["success"] * 4
    assert len(found[2].steps) == 2
    assert found[2].score == 0.0


def test_other_exceptions_propagate_and_cancel_all_episodes():
    closed = []

    class Closes(Echo):
        def close(self):
            closed.append(self)

    class Buggy(Guesser):
        async def act(self, episode: Episode) -> Step:
            if episode.task.id == "train/1":
                raise ZeroDivisionError("a bug")
            for _ in range(3):
                await asyncio.sleep(0)
            return await super().act(episode)

    agent = Buggy()
    with pytest.raises(ZeroDivisionError):
        collect(Closes, jobs(agent), at_once=4)
    assert len(closed) == 4

    async def within_a_running_loop() -> None:
        with pytest.raises(ZeroDivisionError):
            await gather_or_cancel([play(Echo(), job) for job in jobs(agent)[:4]])
        await asyncio.sleep(0.01)

    asyncio.run(within_a_running_loop())
    assert agent.acted == []


def test_environments_are_closed_if_creating_another_fails():
    closed = []

    class Closes(Echo):
        made = 0

        def __init__(self):
            type(self).made += 1
            if self.made == 3:
                raise InfraError("no more browsers")
            super().__init__()

        def close(self):
            closed.append(self)

    with pytest.raises(InfraError):
        collect(Closes, jobs(Guesser()))
    assert len(closed) == 2


def test_at_once_must_be_positive():
    with pytest.raises(UsageError, match="at_once is 0"):
        collect(Echo, jobs(Guesser()), at_once=0)


def test_run_sync_works_inside_a_running_loop():
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    async def bad() -> int:
        raise UsageError("no")

    async def notebook() -> tuple[int, list[Trajectory]]:
        with pytest.raises(UsageError, match="no"):
            run_sync(bad())
        return run_sync(seven()), collect(Echo, jobs(Guesser()))

    number, found = asyncio.run(notebook())
    assert (run_sync(seven()), number) == (7, 7)
    assert found == collect(Echo, jobs(Guesser()))


class SlowModel(ScriptedModel):
    """Takes 20 ms for all pending calls together, as a batching model does."""

    busy = 0.0
    _turn: asyncio.Future[None] | None = None

    async def complete(self, messages: Any, sampling: Any) -> Completion:
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._work)
        await self._turn
        return await super().complete(messages, sampling)

    def _work(self) -> None:
        start = time.perf_counter()
        time.sleep(0.02)
        self.busy += time.perf_counter() - start
        assert self._turn is not None
        turn, self._turn = self._turn, None
        turn.set_result(None)

    def usage(self) -> Usage:
        return replace(super().usage(), seconds=self.busy)


def test_timing_separates_model_environment_and_overhead():
    class SlowEnv(Echo):
        def act(self, action):
            time.sleep(0.001)
            return super().act(action)

    model, timing = SlowModel(["Thought: hm\nAction: hm"]), Timing()
    agent = ReActAgent(model, ReActConfig(max_tokens=100))
    found = collect(lambda: SlowEnv(max_steps=5), jobs(agent, 8), at_once=8, timing=timing)
    assert len(found) == 8
    assert timing.model == pytest.approx(model.busy)
    assert timing.model >= 5 * 0.02
    assert timing.env >= 40 * 0.001
    assert timing.model + timing.env <= timing.wall
    assert timing.overhead == pytest.approx(1 - (timing.model + timing.env) / timing.wall)
    assert Timing().overhead == 0.0
    assert Timing(wall=10, model=7, env=2).overhead == pytest.approx(0.1)


class Narrow(Guesser):
    """Has no room for the first turn of some tasks."""

    def __init__(self, too_long: set[str]) -> None:
        super().__init__()
        self.too_long = too_long

    async def act(self, episode: Episode) -> Step:
        if episode.task.id in self.too_long:
            raise TooLongError("no room")
        return await super().act(episode)


@pytest.mark.parametrize("too_long", [{0, 1}, {2, 6}, {6}, set(range(6))])
def test_a_first_turn_without_room_ends_its_own_attempt(too_long):
    agent = Narrow({TASKS[i].id for i in too_long})
    found = collect(lambda: Echo(max_steps=2), jobs(agent), at_once=1)
    assert [attempt.task.id for attempt in found] == [task.id for task in TASKS[:7]]
    assert {i for i, attempt in enumerate(found) if attempt.outcome == "truncated"} == too_long
    assert all(attempt.success for i, attempt in enumerate(found) if i not in too_long)


def test_if_no_first_turn_has_room_the_window_is_too_small():
    narrow = jobs(Narrow({task.id for task in TASKS}))
    with pytest.raises(TooLongError, match="no room"):
        next(waves(lambda: Echo(max_steps=2), narrow, at_once=2))
