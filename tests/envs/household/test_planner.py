"""Plans win and are shortest, although the search skips commands."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kintsugi.envs.household.engine import Engine
from kintsugi.envs.household.env import engine_of_task
from kintsugi.envs.household.generator import SPLITS, make_task
from kintsugi.envs.household.goals import TASK_TYPES
from kintsugi.envs.household.planner import shortest_plan


def after(engine, state, plan):
    for command in plan:
        result = engine.step(state, command)
        assert result is not None, command
        state, _ = result
    return state


def breadth_first(engine, state, limit):
    """Return the length of a shortest plan by exhaustive search, or None if it is longer than `limit`."""
    layer, visited = [state], {state}
    for length in range(limit + 1):
        if any(map(engine.won, layer)):
            return length
        following = []
        for at in layer:
            for command in engine.admissible(at):
                reached = engine.next_state(at, engine.commands.by_text[command])
                if reached not in visited:
                    visited.add(reached)
                    following.append(reached)
        layer = following
    return None


@pytest.mark.parametrize("size", ["small", "medium", "kitchen"])
@pytest.mark.parametrize("split", SPLITS)
def test_plans_win(size, split):
    for index in range(36):
        engine = engine_of_task(make_task(split, index, 0, size))
        assert engine.won(after(engine, engine.initial_state(), shortest_plan(engine)))


@settings(max_examples=12)
@given(st.integers(0, 5000), st.integers(0, 2**32))
def test_no_plan_is_shorter(index, seed):
    """Plans start in the state after a short random walk."""
    engine, rng = engine_of_task(make_task("train", index, 0, "small")), random.Random(seed)
    state = engine.initial_state()
    for _ in range(rng.randrange(12)):
        state = after(engine, state, [rng.choice(engine.admissible(state))])
    plan = shortest_plan(engine, state)
    assert engine.won(after(engine, state, plan))
    shorter = breadth_first(engine, state, min(len(plan) - 1, 4))
    assert shorter is None


@pytest.mark.parametrize("type_", TASK_TYPES)
def test_shared_places_make_plans_short(house, type_):
    """In the hand-made house, both cabinets are reached from one place."""
    target = "desklamp" if type_ == "look_at_obj_in_light" else "cabinet"
    engine = Engine(house(type_, "mug", target))
    plan = shortest_plan(engine)
    assert engine.won(after(engine, engine.initial_state(), plan))
    expected = breadth_first(engine, engine.initial_state(), 6)
    assert expected == (len(plan) if len(plan) <= 6 else None)


def test_unsolvable_game_has_no_plan(house):
    assert shortest_plan(Engine(house("pick_two_obj_and_place", "book", "cabinet"))) is None
    assert shortest_plan(Engine(house("pick_and_place_simple", "book", "safe"))) is None
