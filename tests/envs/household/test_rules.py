"""What the rules promise in every state that play can reach."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.household.engine import Engine
from kintsugi.envs.household.game import number_names
from kintsugi.envs.household.generator import SPLITS, make_task
from kintsugi.envs.household.state import NOTHING
from kintsugi.envs.household.worlds import make_game, world_of


@given(st.integers(0, 500), st.sampled_from(["small", "medium", "kitchen"]), st.integers(0, 2**32))
def test_laws_along_a_random_walk(index, size, seed):
    game = make_game(world_of(make_task("train", index, 0, size)))
    engine, fresh, rng = Engine(game), Engine(game), random.Random(seed)
    state = engine.initial()
    for _ in range(60):
        admissible = engine.admissible(state)
        assert list(admissible) == sorted(set(admissible))
        assert admissible == fresh.admissible(state), "what is remembered differs from what is worked out anew"
        # Every object is in one receptacle or in hand.
        inside = sorted(o for lies in state.inside for o in lies)
        assert inside == sorted(set(range(len(game.objects))) - {state.held})
        assert all(list(lies) == sorted(lies) for lies in state.inside)
        assert not state.hot & state.cool
        command = rng.choice(admissible)
        before = state
        done = engine.step(state, command)
        assert done is not None
        state, text = done
        assert text
        assert text != "Nothing happens."
        assert engine.step(before, f"  {command}\n") == (state, text)
        if before.held != NOTHING and state.held != NOTHING:
            assert before.held == state.held
        fresh = Engine(game)


@given(st.integers(0, 300), st.text(max_size=40))
def test_whatever_is_not_listed_is_refused(index, command):
    engine = Engine(make_game(world_of(make_task("train", index, 0, "small"))))
    state = engine.initial()
    assert (engine.step(state, command) is None) == (command.strip() not in engine.admissible(state))


@pytest.mark.parametrize("split", SPLITS)
def test_a_goal_is_never_reached_at_the_start(split):
    for index in range(60):
        engine = Engine(make_game(world_of(make_task(split, index, 0, "small"))))
        assert not engine.won(engine.initial())


def test_names_are_numbered_from_the_highest_down():
    names = number_names(["mug_bar_a", "mug_bar_b", "sink_bar_a_bar_sinkbasin", "sink_bar_b", "agent1"])
    assert names == {
        "mug_bar_a": "mug 2",
        "mug_bar_b": "mug 1",
        "sink_bar_a_bar_sinkbasin": "sinkbasin 1",
        "sink_bar_b": "sink 1",
        "agent1": "agent1 ",
    }
