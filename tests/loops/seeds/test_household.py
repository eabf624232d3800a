"""The household corpus: failed and mended attempts, without knowledge from hidden state."""

from __future__ import annotations

import functools
import random
import re

import pytest
from kintsugi.agents.react import ReActConfig, render_chat
from kintsugi.agents.reflector import REFLECTION_PREFIX, failure_digest
from kintsugi.agents.trajectory import Trajectory
from kintsugi.envs.household import HouseholdEnv
from kintsugi.loops.seeds.family import Mended, SeedRecipe, write_corpus
from kintsugi.loops.seeds.household import FAMILY, failed_and_mended, play_clumsily, play_expert

NAME = re.compile(r"\b[a-z]+ \d+\b")
TASKS = [t for size in ("small", "medium") for t in HouseholdEnv.tasks("train", 18, seed=4321, size=size)]


@functools.cache
def pairs() -> list[Mended]:
    found = [failed_and_mended(task, number) for number, task in enumerate(TASKS)]
    return [pair for pair in found if pair is not None]


def replayed(trajectory: Trajectory) -> list[str]:
    """Return the environment's observations for the actions of an attempt."""
    env = HouseholdEnv()
    observation, _ = env.reset(options={"task": trajectory.task})
    seen = [observation]
    for step in trajectory.steps:
        seen.append(env.step(step.action)[0])
    return seen


def observations(trajectory: Trajectory) -> list[str]:
    return [*(step.observation for step in trajectory.steps), trajectory.final_observation]


def test_mended_pairs_exist():
    assert len(pairs()) > len(TASKS) // 2
    reflections = [text for _, text, _ in pairs()]
    for beginning in ("looked for a", "taken "):
        assert any(text.startswith(f"{REFLECTION_PREFIX} {beginning}") for text in reflections)


def test_observations_equal_those_of_a_replay():
    for failure, _, mended in pairs():
        assert failure.task == mended.task
        assert (failure.outcome, mended.outcome) == ("truncated", "success")
        assert mended.source == "reflection"
        for attempt in (failure, mended):
            assert observations(attempt) == replayed(attempt)
        assert len(failure.steps) in (15, 25, 50)


def test_reflections_only_name_entities_of_the_failed_attempt():
    named = 0
    for failure, text, _ in pairs():
        assert text.startswith(f"{REFLECTION_PREFIX} ")
        assert text.endswith(".")
        shown = failure.steps[0].observation + failure_digest(failure, 40, ReActConfig())
        names = NAME.findall(text)
        assert [name for name in names if name not in shown] == []
        named += len(names)
    assert named > len(pairs())


def test_reflections_do_not_depend_on_hidden_state():
    """The place that a reflection names for an object was observed in the failed attempt."""
    for failure, text, _ in pairs():
        seen = " ".join(observations(failure))
        if found := re.match(rf"{re.escape(REFLECTION_PREFIX)} taken (\w+ \d+) from (\w+ \d+) and", text):
            assert found[1] in seen
            assert re.search(
                rf"{found[2]}(,| is open\. In it,) you see [^.]*\b{found[1]}\b|{found[1]} from the {found[2]}", seen
            )


def test_thoughts_only_name_entities_seen_before():
    """This also holds for mended attempts, whose expert knows the failed attempt."""
    for attempt in [*(mended for _, _, mended in pairs()), *(play_expert(task, 7) for task in TASKS)]:
        seen = ""
        for step in attempt.steps:
            seen += step.observation
            assert [name for name in NAME.findall(step.thought) if name not in seen] == []


def test_clumsy_expert_makes_refused_and_repeated_actions():
    failures = [play_clumsily(task, random.Random(number))[0] for number, task in enumerate(TASKS)]
    failed = [failure for failure in failures if failure is not None]
    assert 0 < len(failed) <= len(TASKS)
    assert any(failure.invalid_actions for failure in failed)
    assert any(len({s.action for s in f.steps}) < len(f.steps) for f in failed)


@pytest.mark.parametrize("seed", [0, 1])
def test_corpus_depends_only_on_its_recipe(seed):
    recipe, shares = SeedRecipe(demonstrations=6, reflections=6, seed=seed), list[float]()
    found = write_corpus(FAMILY, recipe, shares.append)
    again = write_corpus(FAMILY, recipe, lambda share: None)
    assert (found.chats, found.demonstrations) == (again.chats, again.demonstrations)
    other = write_corpus(FAMILY, SeedRecipe(demonstrations=6, reflections=6, seed=1 - seed), lambda share: None)
    assert found.chats != other.chats
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(d.success and d.source == "expert" for d in found.demonstrations)
    assert found.chats[: len(found.demonstrations)] == [render_chat(d, ReActConfig()) for d in found.demonstrations]
    assert len(found.demonstrations) == 6 < len(found.chats)


def test_demonstrations_and_practice_tasks_are_disjoint():
    found = write_corpus(FAMILY, SeedRecipe(demonstrations=40, reflections=0), lambda share: None)
    shown = {d.task.hash for d in found.demonstrations}
    for size in ("small", "medium"):
        practised = {task.hash for seed in range(3) for task in HouseholdEnv.tasks("train", 300, seed, size=size)}
        assert not shown & practised
