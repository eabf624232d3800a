"""Invariants of the rules in all reachable states."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.household.engine import Engine
from kintsugi.envs.household.game import display_names
from kintsugi.envs.household.generator import SPLITS, make_task
from kintsugi.envs.household.state import NO_OBJECT
from kintsugi.envs.household.worlds import make_game, world_of


@given(st.integers(0, 500), st.sampled_from(["small", "medium", "kitchen"]), st.integers(0, 2**32))
def test_invariants_along_a_random_walk(index, size, seed):
    game = make_game(world_of(make_task("train", index, 0, size)))
    engine, fresh, rng = Engine(game), Engine(game), random.Random(seed)
    state = engine.initial_state()
    for _ in range(60):
        admissible = engine.admissible(state)
        assert list(admissible) == sorted(set(admissible))
        assert admissible == fresh.admissible(state), "cached commands differ from those of a new engine"
        # Each object is in exactly one receptacle or in hand.
        inside = sorted(o for contents in state.inside for o in contents)
        assert inside == sorted(set(range(len(game.objects))) - {state.held})
        assert all(list(contents) == sorted(contents) for contents in state.inside)
        assert not state.hot & state.cool
        command = rng.choice(admissible)
        before = state
        result = engine.step(state, command)
        assert result is not None
        state, text = result
        assert text
        assert text != "Nothing happens."
        assert engine.step(before, f"  {command}\n") == (state, text)
        if before.held != NO_OBJECT and state.held != NO_OBJECT:
            assert before.held == state.held
        fresh = Engine(game)


@given(st.integers(0, 300), st.text(max_size=40))
def test_inadmissible_commands_are_refused(index, command):
    engine = Engine(make_game(world_of(make_task("train", index, 0, "small"))))
    state = engine.initial_state()
    assert (engine.step(state, command) is None) == (command.strip() not in engine.admissible(state))


@pytest.mark.parametrize("split", SPLITS)
def test_goals_are_not_reached_initially(split):
    for index in range(60):
        engine = Engine(make_game(world_of(make_task(split, index, 0, "small"))))
        assert not engine.won(engine.initial_state())


def test_names_are_numbered_from_the_highest_down():
    names = display_names(["mug_bar_a", "mug_bar_b", "sink_bar_a_bar_sinkbasin", "sink_bar_b", "agent1"])
    assert names == {
        "mug_bar_a": "mug 2",
        "mug_bar_b": "mug 1",
        "sink_bar_a_bar_sinkbasin": "sinkbasin 1",
        "sink_bar_b": "sink 1",
        "agent1": "agent1 ",
    }
