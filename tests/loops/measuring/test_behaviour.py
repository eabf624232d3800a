"""Behaviour: repeated steps, new actions and revisions, on attempts small enough to count by hand."""

from __future__ import annotations

import pytest
from kintsugi.agents.trajectory import Step
from kintsugi.agents.verifier import REVISION_THOUGHT
from kintsugi.loops.measuring.behaviour import Behaviour, measure_behaviour, prefilled_steps
from small_runs import make_task, make_trajectory


def attempt(*turns: str, prefilled: int = 0, **fields: object):
    """Each turn is `action>observation`; the prefix `!` marks a refused action, and `~` a revision."""
    steps, last_observation = [], "start"
    for number, turn in enumerate(turns):
        action, _, observation = turn.strip("!~").partition(">")
        thought = f"{REVISION_THOUGHT}\nThought: hm" if turn.startswith("~") else "hm"
        refused = "no" if turn.startswith("!") else None
        steps.append(Step(last_observation, thought, action, invalid=refused, trainable=number >= prefilled))
        last_observation = observation
    return make_trajectory(make_task(0), False, steps=tuple(steps), final_observation=last_observation, **fields)


def measured_behaviour(*attempts) -> Behaviour:
    return measure_behaviour(attempts, (REVISION_THOUGHT,))


def test_a_repeated_step_has_the_same_action_and_answer():
    found = measured_behaviour(attempt("look>a", "look>a", "look>b", "go>b", "look>b", "go>b"))
    assert (found.repeated_share, found.own_steps, found.attempts) == (3 / 6, 6, 1)


def test_repeating_prefilled_steps_counts_but_prefilled_steps_do_not():
    found = measured_behaviour(attempt("look>a", "look>a", "look>a", "go>b", prefilled=2))
    assert (found.repeated_share, found.own_steps) == (1 / 2, 2)


def test_turns_until_the_first_accepted_new_action():
    found = measured_behaviour(attempt("look>a", "!fly>n", "look>a", "!hop>n", "go>b", prefilled=2), attempt("go>b"))
    assert (found.turns_until_new, found.stuck_share) == ((3 + 1) / 2, 0)
    found = measured_behaviour(attempt("look>a", "!fly>n", "look>a", prefilled=1), attempt("go>b"))
    assert (found.turns_until_new, found.stuck_share) == (1, 1 / 2)


def test_turns_until_the_first_revision():
    found = measured_behaviour(attempt("look>a", "~go>b", "look>b", "~go>b", prefilled=1), attempt("look>a", "look>a"))
    assert (found.revising_share, found.turns_until_revision) == (1 / 2, 1)
    assert measured_behaviour(attempt("~look>a", "go>b", prefilled=1)).turns_until_revision is None


def test_infra_failures_are_excluded_and_no_attempts_give_zeros():
    assert measured_behaviour(attempt("look>a", outcome="infra_error"), attempt("go>b")).attempts == 1
    assert measured_behaviour() == Behaviour(0, 0.0, 0.0, 0.0, None, 0.0, None)
    assert measured_behaviour().to_json()["turns_until_new"] is None


@pytest.mark.parametrize("prefilled", [0, 1, 3])
def test_prefilled_steps_are_the_leading_steps_that_are_not_trainable(prefilled):
    assert prefilled_steps(attempt("a>b", "c>d", "e>f", prefilled=prefilled)) == prefilled
