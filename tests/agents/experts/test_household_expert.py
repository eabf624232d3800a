"""The expert solves all tasks from observations alone, with short thoughts."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.experts import HouseholdExpert, HouseholdMemory
from kintsugi.agents.experts.household import ORDERS
from kintsugi.benchmarks.textworld.random_games import WORDINGS, random_game
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.household.alfworld.files import load_engine, parse_file
from kintsugi.envs.household.catalog import CAN_CONTAIN, USUAL_RECEPTACLES
from kintsugi.envs.household.generator import make_task
from kintsugi.envs.household.goals import TASK_TYPES, TEMPLATES, read_goal
from kintsugi.envs.household.language.domain import bundled_text
from kintsugi.errors import UsageError

ENV = HouseholdEnv()
KINDS = "|".join(sorted({kind.lower() for kind in (*CAN_CONTAIN, *USUAL_RECEPTACLES)}, reverse=True))


def attempt(task, order="prior", seed=0, earlier_memory=None, pass_admissible=True):
    observation, info = ENV.reset(options={"task": task})
    expert = HouseholdExpert(observation, seed, order, earlier_memory)
    thoughts, actions, over = [], [], False
    while not over:
        thought, action = expert.think_and_act(observation, info["admissible"] if pass_admissible else None)
        thoughts.append(thought)
        actions.append(action)
        observation, _, terminated, truncated, info = ENV.step(action)
        over = terminated or truncated
    expert.observe(action, observation)
    return info["success"], thoughts, actions, expert


@pytest.mark.parametrize("size", ["small", "medium", "kitchen"])
@pytest.mark.parametrize("split", ["train", "valid_seen", "valid_unseen"])
def test_solves_all_tasks_in_prior_order(size, split):
    failed = [task.id for task in HouseholdEnv.tasks(split, 60, size=size) if not attempt(task)[0]]
    assert not failed


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", ["small", "medium"])
def test_solves_all_tasks_in_any_order(size, order):
    failed = [
        task.id
        for number, task in enumerate(HouseholdEnv.tasks("train", 60, size=size))
        if not attempt(task, order, number)[0]
    ]
    assert not failed


@given(st.integers(0, 10_000), st.sampled_from(["small", "medium"]), st.sampled_from(ORDERS))
def test_no_action_is_refused(index, size, order):
    """The expert does not need the list of admissible actions."""
    success, _, _, expert = attempt(make_task("train", index, 0, size), order, index, pass_admissible=False)
    assert success
    assert expert.memory.refused == []


@pytest.mark.parametrize("part", range(6))
def test_solves_random_alfworld_games(part):
    """They have shared places, an object in hand initially, unusable lamps and eggs that cannot be heated."""
    texts, lost = {"pddl_domain": bundled_text("domain.pddl"), "grammar": bundled_text("grammar.twl2")}, []
    for seed in range(part, 120, 6):
        content = random_game(seed, (4, 6, 8, 12, 20)[seed // 6 % 5], texts, WORDINGS[seed % 4 == 3])
        engine = load_engine(parse_file(json.dumps(content).encode(), "game"), "game")
        state, text = engine.initial_state(), engine.intro(engine.initial_state())
        expert = HouseholdExpert(text)
        for _ in range(50):
            _, action = expert.think_and_act(text, engine.admissible(state))
            state, text = engine.step(state, action) or (state, "Nothing happens.")
            if engine.won(state):
                break
        else:
            lost.append(seed)
    assert not lost


@given(st.integers(0, 10_000))
def test_attempts_are_deterministic(index):
    task = make_task("train", index, 0, "medium")
    assert attempt(task, "random", 3)[1:3] == attempt(task, "random", 3)[1:3]


@given(st.integers(0, 10_000))
def test_memory_of_an_earlier_attempt_does_not_hurt(index):
    """With the memory of a successful attempt, the expert goes directly to the objects it needs."""
    task = make_task("train", index, 0, "medium")
    _, _, first, expert = attempt(task, "random", index)
    success, _, second, _ = attempt(task, "random", index, earlier_memory=expert.memory)
    assert success
    assert len(second) <= len(first)
    assert second[0] != "look"


def test_thoughts_are_short_and_have_few_forms():
    forms = set()
    for task in HouseholdEnv.tasks("train", 120, size="medium"):
        for thought in attempt(task, "random", 1)[1]:
            assert len(thought.split()) <= 16
            assert thought[-1] == "."
            forms.add(re.sub(rf"({KINDS})( \d+)?", "X", thought))
    assert len(forms) < 40


@pytest.mark.parametrize("type_", TASK_TYPES)
@pytest.mark.parametrize("variant", [0, 1])
def test_parses_both_texts_of_each_goal(type_, variant):
    text = TEMPLATES[type_][variant].format(object="mug", target="desklamp")
    for start in (text, f"Your task is to: {text}.", f"You see nothing.\n\nYour task is to: {text}."):
        goal = HouseholdExpert(start).goal
        assert (goal.type, goal.object, goal.target) == (type_, "mug", "desklamp")
    assert read_goal(f" {text}. ") == goal


def test_refuses_unknown_goals_and_orders():
    with pytest.raises(UsageError, match="cannot parse the household goal 'win the lottery'"):
        HouseholdExpert("win the lottery")
    with pytest.raises(UsageError, match="unknown search order 'list'; did you mean 'listed'"):
        HouseholdExpert("put a mug in desk", order="list")


@pytest.mark.parametrize("index", range(12))
def test_recovers_from_actions_of_others(index):
    """The expert takes over after useless actions, which may leave a wrong object in hand."""
    task = HouseholdEnv.tasks("train", 12).tasks[index]
    observation, info = ENV.reset(options={"task": task})
    expert = HouseholdExpert(observation)
    for number in range(14):
        choices = [action for action in info["admissible"] if action.split()[0] in ("go", "take", "open", "close")]
        action = choices[(7 * number + index) % len(choices)] if number % 3 else "take mug 9 from desk 9"
        observation, _, over, _, info = ENV.step(action)
        expert.observe(action, observation)
        assert not over
    while "success" not in info:
        _, action = expert.advise()
        observation, _, _, _, info = ENV.step(action)
        expert.observe(action, observation)
    assert info["success"]
    assert isinstance(expert.memory, HouseholdMemory)
