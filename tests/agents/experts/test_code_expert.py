"""The code expert parses every generated task correctly and uses only what the agent can see."""

from __future__ import annotations

import itertools

import pytest
from kintsugi.agents.experts.code import (
    CodeExpert,
    correction_thought,
    first_deviation,
    plan_thought,
    read_goal,
    solution_lines,
)
from kintsugi.agents.rollout import Job, play, run_sync
from kintsugi.envs.code import CodeEnv
from kintsugi.envs.code.family import STEPS, make_tasks
from kintsugi.envs.code.family.generator import SPLITS, write_solution
from kintsugi.errors import UsageError

CHAIN = (("even", None), ("add", 3), ("sum", None))
PHRASES = ["keep the even numbers", "raise each by 3", "add them all up"]


@pytest.mark.parametrize("split", SPLITS)
def test_goals_are_parsed_into_their_steps(split):
    for task in make_tasks(split, 300, seed=5):
        phrases, chain = read_goal(str(task.params["goal"]))
        assert [list(step) for step in chain] == task.params["steps"]
        assert len(phrases) == len(chain)
        assert write_solution(chain) == task.params["solution"]


def test_phrases_are_unambiguous():
    for kind in {step.input_kind for step in STEPS.values()}:
        phrases = [phrase for step in STEPS.values() if step.input_kind == kind for phrase in step.phrases]
        assert len(phrases) == len(set(phrases))


@pytest.mark.parametrize(
    "goal",
    [
        "put a hot mug in shelf",
        "write f(x), where x is a tree: climb it",
        "write f(x), where x is an integer: climb it",
        "write f(x), where x is an integer: keep the even numbers",
    ],
)
def test_other_goals_are_refused(goal):
    with pytest.raises(UsageError, match=r"is not a generated code task|is not a step of generated code tasks"):
        read_goal(goal)


def test_first_deviation_is_the_first_wrong_step():
    right = f"write {write_solution(CHAIN)}"
    assert first_deviation(right, CHAIN) == 2
    assert first_deviation(right.replace("v + 3", "v + 4"), CHAIN) == 1
    assert first_deviation(f"write {write_solution(CHAIN[1:])}", CHAIN) == 0
    assert first_deviation(f"write {write_solution(CHAIN[:1])}", CHAIN) == 1
    assert first_deviation("write f = sum", CHAIN) == 0
    assert correction_thought(right.replace("v + 3", "v + 4"), PHRASES, CHAIN) == "Step 2 should raise each by 3."
    assert [plan_thought(CHAIN[:1]), plan_thought(CHAIN)] == ["I write 1 step.", "I write 3 steps."]
    assert solution_lines(CHAIN)[2] == "x = sum(x)"


@pytest.mark.requires("sandbox")
def test_expert_solves_tasks_and_corrects_drafts():
    for task, wrong in itertools.product(CodeEnv.tasks("train", 12, seed=5), (0, 1, 2)):
        drafts = ["def f(x): return None", "def f(x: return x"][:wrong]
        attempt = run_sync(play(CodeEnv(), Job(task, CodeExpert(drafts), 0, source="expert")))
        actions = [step.action.split()[0] for step in attempt.steps]
        assert attempt.success
        assert actions == ["write", "test"] * (wrong + 1) + ["submit"]
        assert [step.trainable for step in attempt.steps] == [False, True] * wrong + [True] * 3
        phrases = read_goal(attempt.goal)[0]
        if wrong:
            assert attempt.steps[2 * wrong].thought == f"Step 1 should {phrases[0]}."
        assert (attempt.model, attempt.source) == ("code-expert", "expert")
