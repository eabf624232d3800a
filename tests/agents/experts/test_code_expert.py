"""The code expert reads every task of the family right, and says only what can be seen."""

from __future__ import annotations

import itertools

import pytest
from kintsugi.agents.experts.code import CodeExpert, correction, deviation, plan, read_goal, statements
from kintsugi.agents.rollout import Job, play, run_sync
from kintsugi.envs.code import CodeEnv
from kintsugi.envs.code.family import STEPS, make_tasks
from kintsugi.envs.code.family.generator import SPLITS, write
from kintsugi.errors import UsageError

CHAIN = (("even", None), ("add", 3), ("sum", None))
SAID = ["keep the even numbers", "raise each by 3", "add them all up"]


@pytest.mark.parametrize("split", SPLITS)
def test_it_reads_what_tasks_say(split):
    for task in make_tasks(split, 300, seed=5):
        said, chain = read_goal(str(task.params["goal"]))
        assert [list(step) for step in chain] == task.params["steps"]
        assert len(said) == len(chain)
        assert write(chain) == task.params["solution"]


def test_no_phrase_means_two_things():
    for kind in {step.takes for step in STEPS.values()}:
        phrases = [phrase for step in STEPS.values() if step.takes == kind for phrase in step.phrases]
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
def test_what_is_no_task_of_the_family_is_refused(goal):
    with pytest.raises(UsageError, match=r"none of the embedded code tasks|none that the embedded code tasks know"):
        read_goal(goal)


def test_a_deviation_is_the_first_step_that_is_not_taken():
    right = f"write {write(CHAIN)}"
    assert deviation(right, CHAIN) == 2
    assert deviation(right.replace("v + 3", "v + 4"), CHAIN) == 1
    assert deviation(f"write {write(CHAIN[1:])}", CHAIN) == 0
    assert deviation(f"write {write(CHAIN[:1])}", CHAIN) == 1
    assert deviation("write f = sum", CHAIN) == 0
    assert correction(right.replace("v + 3", "v + 4"), SAID, CHAIN) == "Step 2 should raise each by 3."
    assert [plan(CHAIN[:1]), plan(CHAIN)] == ["I write 1 step.", "I write 3 steps."]
    assert statements(CHAIN)[2] == "x = sum(x)"


@pytest.mark.requires("sandbox")
def test_it_solves_tasks_and_mends_drafts_where_they_deviate():
    for task, wrong in itertools.product(CodeEnv.tasks("train", 12, seed=5), (0, 1, 2)):
        drafts = ["def f(x): return None", "def f(x: return x"][:wrong]
        attempt = run_sync(play(CodeEnv(), Job(task, CodeExpert(drafts), 0, source="expert")))
        actions = [step.action.split()[0] for step in attempt.steps]
        assert attempt.success
        assert actions == ["write", "test"] * (wrong + 1) + ["submit"]
        assert [step.trainable for step in attempt.steps] == [False, True] * wrong + [True] * 3
        said = read_goal(attempt.goal)[0]
        if wrong:
            assert attempt.steps[2 * wrong].thought == f"Step 1 should {said[0]}."
        assert (attempt.model, attempt.source) == ("code-expert", "expert")
