"""The memory's knowledge from observations, in the current and the older wording."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.experts import HouseholdMemory
from kintsugi.agents.experts.household_memory import kind_of, read_list
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.household.generator import make_task

START = (
    "You are in the middle of a room. Looking quickly around you, you see a cabinet 2, a cabinet 1, a desk 1, "
    "and a sinkbasin 1.\n\nYour task is to: put a clean mug in desk."
)


def memory_after(*turns):
    memory = HouseholdMemory()
    memory.update(None, START)
    for action, observation in turns:
        memory.update(action, observation)
    return memory


def test_first_observation():
    memory = memory_after()
    assert memory.receptacles == ("cabinet 2", "cabinet 1", "desk 1", "sinkbasin 1")
    assert memory.task == "put a clean mug in desk"
    assert memory.unsearched() == memory.receptacles


def test_whole_attempt():
    memory = memory_after(
        ("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed."),
        ("open cabinet 1", "You open the cabinet 1. The cabinet 1 is open. In it, you see a mug 2, and a mug 1."),
        ("take mug 2 from cabinet 1", "You pick up the mug 2 from the cabinet 1."),
        ("dance", "Nothing happens."),
        ("go to sinkbasin 1", "You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing."),
        ("clean mug 2 with sinkbasin 1", "You clean the mug 2 using the sinkbasin 1."),
    )
    assert (memory.location, memory.held, memory.steps) == ("sinkbasin 1", "mug 2", 6)
    assert memory.seen == {"mug 1": "cabinet 1"}
    assert memory.first_seen == {"mug 2": "cabinet 1", "mug 1": "cabinet 1"}
    assert list(memory.visited) == ["cabinet 1", "sinkbasin 1"]
    assert list(memory.opened) == ["cabinet 1"]
    assert not memory.closed
    assert memory.states == {"mug 2": {"clean"}}
    assert memory.refused == ["dance"]
    assert memory.unsearched() == ("cabinet 2", "desk 1")
    memory.update("move mug 2 to sinkbasin 1", "You move the mug 2 to the sinkbasin 1.")
    assert memory.held is None
    assert memory.objects_of_kind("mug") == {"mug 1": "cabinet 1", "mug 2": "sinkbasin 1"}
    memory.update("close cabinet 1", "You close the cabinet 1.")
    assert list(memory.closed) == ["cabinet 1"]
    assert not memory.opened


def test_next_attempt_starts_with_initial_places():
    memory = memory_after(
        ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a mug 1."),
        ("take mug 1 from desk 1", "You pick up the mug 1 from the desk 1."),
    ).next_attempt()
    assert memory.seen == {"mug 1": "desk 1"}
    assert (memory.held, memory.location, memory.steps) == (None, None, 0)
    assert memory.unsearched() == ("cabinet 2", "cabinet 1", "sinkbasin 1")


def test_missing_objects_are_removed():
    memory = memory_after(
        ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a mug 1, and a pen 1."),
        ("examine desk 1", "On the desk 1, you see a pen 1."),
    )
    assert memory.seen == {"pen 1": "desk 1"}


def test_heating_removes_the_state_cool():
    memory = memory_after(
        ("cool mug 1 with fridge 1", "You cool the mug 1 using the fridge 1."),
        ("heat mug 1 with microwave 1", "You heat the mug 1 using the microwave 1."),
        ("use desklamp 1", "You turn on the desklamp 1."),
    )
    assert memory.states == {"mug 1": {"hot"}, "desklamp 1": {"on"}}


@pytest.mark.parametrize(
    ("action", "observation", "held", "location"),
    [
        ("go to desk 1", "You arrive at loc 15. On the desk 1, you see a mug 1.", None, "desk 1"),
        ("inventory", "You are carrying: a mug 1.", "mug 1", None),
        ("inventory", "You are not carrying anything.", None, None),
        ("look", "You are facing the desk 1. Next to it, you see nothing.", None, "desk 1"),
        ("go to desk 1", "Nothing happens.", None, "desk 1"),
        ("go to desk 7", "Nothing happens.", None, None),
    ],
)
def test_single_observations(action, observation, held, location):
    memory = memory_after((action, observation))
    assert (memory.held, memory.location) == (held, location)


def test_older_wording():
    memory = memory_after(("put mug 1 in/on desk 1", "You put the mug 1 in/on the desk 1."))
    assert memory.seen == {"mug 1": "desk 1"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nothing", ()),
        ("a mug 1", ("mug 1",)),
        ("a mug 1, and a cup 2", ("mug 1", "cup 2")),
        ("a mug 2, a mug 1, and a pen 3", ("mug 2", "mug 1", "pen 3")),
    ],
)
def test_lists(text, names):
    assert read_list(text) == names
    assert all(kind_of(name) in ("mug", "cup", "pen") for name in names)


@given(st.text(max_size=200), st.text(max_size=400))
def test_no_text_crashes(action, observation):
    memory_after((action, observation))


@given(st.integers(0, 5000), st.sampled_from(["small", "kitchen"]), st.randoms(use_true_random=False))
def test_memory_agrees_with_the_world(index, size, rng):
    """After any actions, all knowledge in the memory is true."""
    env = HouseholdEnv()
    observation, info = env.reset(options={"task": make_task("train", index, 0, size)})
    memory, over = HouseholdMemory(), False
    memory.update(None, observation)
    while not over:
        action = rng.choice([*info["admissible"], "dance"])
        observation, _, terminated, truncated, info = env.step(action)
        memory.update(action, observation)
        over = terminated or truncated
    assert env._engine is not None
    state, game = env.get_state(), env._engine.game
    where = {
        game.objects[o].name: game.receptacles[r].name for r, contents in enumerate(state.inside) for o in contents
    }
    first = {thing.name: game.receptacles[thing.inside[0]].name for thing in game.objects}
    assert memory.seen.items() <= where.items()
    assert memory.first_seen.items() <= first.items()
    assert memory.held == (None if state.held < 0 else game.objects[state.held].name)
    for r, receptacle in enumerate(game.receptacles):
        if receptacle.name in memory.opened:
            assert state.opened >> r & 1
        if receptacle.name in memory.closed:
            assert not state.opened >> r & 1
    assert list(memory.receptacles) == [receptacle.name for receptacle in game.receptacles]
