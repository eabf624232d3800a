"""Loops, standstill and turning round, on attempts that can be counted by hand."""

from __future__ import annotations

import pytest
from kintsugi.agents.trajectory import Step
from kintsugi.agents.verifier import MISTAKE
from kintsugi.loops.measuring.behaviour import Behaviour, beginning, behaviour
from small_runs import make_task, make_trajectory


def attempt(*turns: str, begun: int = 0, **fields: object):
    """Each turn is `action>answer`; `!` before it is a refusal, `~` a thought that takes back."""
    steps, seen = [], "start"
    for number, turn in enumerate(turns):
        action, _, answer = turn.strip("!~").partition(">")
        thought = f"{MISTAKE}\nThought: hm" if turn.startswith("~") else "hm"
        refused = "no" if turn.startswith("!") else None
        steps.append(Step(seen, thought, action, invalid=refused, trainable=number >= begun))
        seen = answer
    return make_trajectory(make_task(0), False, steps=tuple(steps), final_observation=seen, **fields)


def measured(*attempts) -> Behaviour:
    return behaviour(attempts, (MISTAKE,))


def test_a_repeated_step_has_the_same_action_and_answer():
    found = measured(attempt("look>a", "look>a", "look>b", "go>b", "look>b", "go>b"))
    assert (found.repeated, found.own_steps, found.attempts) == (3 / 6, 6, 1)


def test_repeating_the_bad_beginning_counts_but_the_beginning_does_not():
    found = measured(attempt("look>a", "look>a", "look>a", "go>b", begun=2))
    assert (found.repeated, found.own_steps) == (1 / 2, 2)


def test_turns_until_something_new_was_accepted():
    found = measured(attempt("look>a", "!fly>n", "look>a", "!hop>n", "go>b", begun=2), attempt("go>b"))
    assert (found.turns_until_new, found.stuck) == ((3 + 1) / 2, 0)
    found = measured(attempt("look>a", "!fly>n", "look>a", begun=1), attempt("go>b"))
    assert (found.turns_until_new, found.stuck) == (1, 1 / 2)


def test_turns_until_a_thought_takes_back():
    found = measured(attempt("look>a", "~go>b", "look>b", "~go>b", begun=1), attempt("look>a", "look>a"))
    assert (found.revising, found.turns_until_revision) == (1 / 2, 1)
    assert measured(attempt("~look>a", "go>b", begun=1)).turns_until_revision is None


def test_infra_errors_are_left_out_and_nothing_is_nothing():
    assert measured(attempt("look>a", outcome="infra_error"), attempt("go>b")).attempts == 1
    assert measured() == Behaviour(0, 0.0, 0.0, 0.0, None, 0.0, None)
    assert measured().to_json()["turns_until_new"] is None


@pytest.mark.parametrize("begun", [0, 1, 3])
def test_the_beginning_is_what_is_not_trained_at_the_start(begun):
    assert beginning(attempt("a>b", "c>d", "e>f", begun=begun)) == begun
