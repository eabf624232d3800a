"""The judged attempts of the household corpus: labels from observations, in the verifier's format."""

from __future__ import annotations

import functools
import random
from collections import Counter

import pytest
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.agents.verifier import VerifierConfig, opening_messages, parse_judgement
from kintsugi.envs.household import HouseholdEnv
from kintsugi.loops.seeds.family import SeedRecipe, write_corpus
from kintsugi.loops.seeds.household import FAMILY, play_clumsily, play_expert
from kintsugi.loops.seeds.household_verifier import label_steps, verifier_chat
from small_runs import make_task

ROOM = (
    "You are in the middle of a room. Looking quickly around you, you see a drawer 1, a fridge 1, a shelf 1, "
    "and a sinkbasin 1.\n\nYour task is to: put a clean mug in shelf."
)
TASKS = HouseholdEnv.tasks("train", 18, seed=99)


def make_attempt(goal: str, start: str, *turns: tuple[str, str]) -> Trajectory:
    steps, seen = [], start
    for action, answer in turns:
        steps.append(Step(seen, "", action))
        seen = answer
    return Trajectory(make_task(0), tuple(steps), seen, "truncated", 0.0, "policy", "m", 0, goal=goal)


def test_judgements_follow_from_observations():
    attempt = make_attempt(
        "put a clean mug in shelf.",
        ROOM,
        ("go to drawer 1", "You arrive at drawer 1. The drawer 1 is closed."),
        ("go to drawer 1", "Nothing happens."),
        ("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see nothing."),
        ("close drawer 1", "You close the drawer 1."),
        ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
        ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a mug 1, and a cup 1."),
        ("take cup 1 from fridge 1", "You pick up the cup 1 from the fridge 1."),
        ("move cup 1 to fridge 1", "You move the cup 1 to the fridge 1."),
        ("take mug 1 from fridge 1", "You pick up the mug 1 from the fridge 1."),
        ("cool mug 1 with fridge 1", "You cool the mug 1 using the fridge 1."),
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see nothing."),
        ("move mug 1 to shelf 1", "You move the mug 1 to the shelf 1."),
        ("take mug 1 from shelf 1", "You pick up the mug 1 from the shelf 1."),
        ("go to sinkbasin 1", "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing."),
        ("clean mug 1 with sinkbasin 1", "You clean the mug 1 using the sinkbasin 1."),
        ("inventory", "You are carrying: a mug 1."),
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see nothing."),
        ("move mug 1 to shelf 1", "You move the mug 1 to the shelf 1."),
    )
    assert label_steps(attempt) == [
        "uncertain",
        "bad",
        "uncertain",
        "bad",
        "uncertain",
        "good",
        "bad",
        "good",
        "good",
        "bad",
        "uncertain",
        "bad",
        "good",
        "good",
        "good",
        "bad",
        "good",
        "good",
    ]


def test_lamps_and_known_places():
    attempt = make_attempt(
        "look at book under the desklamp.",
        ROOM.partition("\n")[0] + "\n\nYour task is to: look at book under the desklamp.",
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a desklamp 1."),
        ("use desklamp 1", "You turn on the desklamp 1."),
        ("go to drawer 1", "You arrive at drawer 1. On the drawer 1, you see a book 1."),
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a desklamp 1."),
        ("go to drawer 1", "You arrive at drawer 1. On the drawer 1, you see a book 1."),
        ("take book 1 from drawer 1", "You pick up the book 1 from the drawer 1."),
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a desklamp 1."),
        ("use desklamp 1", "You turn on the desklamp 1."),
    )
    assert label_steps(attempt) == ["uncertain", "bad", "good", "bad", "good", "good", "good", "good"]


@functools.cache
def attempts() -> list[Trajectory]:
    clumsy = [play_clumsily(task, random.Random(number))[0] for number, task in enumerate(TASKS)]
    return [failure or play_expert(task, 1) for task, failure in zip(TASKS, clumsy, strict=True)]


def test_expert_has_few_bad_steps_and_clumsy_expert_many():
    expert = Counter(j for task in TASKS for j in label_steps(play_expert(task, 3)))
    clumsy = Counter(j for attempt in attempts() for j in label_steps(attempt))
    assert expert["bad"] <= 0.02 * expert.total()
    assert clumsy["bad"] > 0.2 * clumsy.total()
    assert expert["good"] > 0.3 * expert.total()


@pytest.mark.parametrize("number", range(6))
def test_chat_has_the_verifiers_format_and_ends_with_the_first_bad_step(number):
    attempt = attempts()[number]
    chat = verifier_chat(attempt, random.Random(number))
    answers = [parse_judgement(m.content) for m in chat if m.role == "assistant"]
    assert all(answer.parsed for answer in answers)
    assert all(answer.judgement != "bad" for answer in answers[:-1])
    start = random.Random(number).randrange(len(attempt.steps))
    after = [*(s.observation for s in attempt.steps[1:]), attempt.final_observation]
    steps = attempt.steps
    assert chat[:2] == opening_messages(
        attempt.task.env_id, attempt.goal, steps[:start], steps[start], after[start], VerifierConfig()
    )
    assert [a.judgement for a in answers] == label_steps(attempt)[start : start + len(answers)]


def test_judged_attempts_do_not_change_the_rest_of_the_corpus():
    acting = write_corpus(FAMILY, SeedRecipe(demonstrations=12, reflections=12, judged_attempts=0), lambda share: None)
    shares: list[float] = []
    both = write_corpus(FAMILY, SeedRecipe(demonstrations=12, reflections=12, judged_attempts=4), shares.append)
    assert both.chats[: len(acting.chats)] == acting.chats
    assert len(both.chats) == len(acting.chats) + 4
    assert (shares == sorted(shares), shares[-1]) == (True, 1.0)
