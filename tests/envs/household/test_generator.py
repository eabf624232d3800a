"""Splits are disjoint as documented, and tasks depend only on their split, size, seed and index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs import Task, TaskSet
from kintsugi.envs.core import content_hash
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.household.catalog import APPLIANCE, CAN_CONTAIN, USUAL_RECEPTACLES
from kintsugi.envs.household.generator import make_task
from kintsugi.envs.household.goals import TASK_TYPES, TREATMENT, read_goal
from kintsugi.envs.household.rooms import N_SEEN_LAYOUTS, ROOM_OBJECTS, ROOM_RECEPTACLES, SIZE_RANGES, layouts
from kintsugi.envs.household.worlds import make_game, world_of
from kintsugi.errors import UsageError

SIZES = tuple(SIZE_RANGES)
HASHES = (
    ("small", "train", "0ea8cc545ee3", "6ed3cabca487"),
    ("small", "valid_seen", "3d7a66f80ff9", "a7944da96fff"),
    ("small", "valid_unseen", "716c70611749", "5f6af8478eb3"),
    ("medium", "train", "df2fd817b430", "af15f79ea145"),
    ("medium", "valid_seen", "89432a330db5", "c7d798721631"),
    ("medium", "valid_unseen", "1c528feac7b2", "4b1aa6008291"),
    ("kitchen", "train", "b9ed2680863b", "ff6d64d44260"),
    ("kitchen", "valid_seen", "9a15ecd72319", "1dc63aefddca"),
    ("kitchen", "valid_unseen", "60b88f22cc6c", "05fec328922b"),
)
any_task = st.builds(
    make_task,
    st.sampled_from(["train", "valid_seen", "valid_unseen"]),
    st.integers(0, 100_000),
    st.integers(0, 5),
    st.sampled_from(SIZES),
)


def combination(task):
    return task.params["object"], task.params["target"]


def layout(task):
    return layouts(task.params["size"], task.params["room"])[task.params["layout"]]


@pytest.mark.parametrize("size", SIZES)
def test_unseen_layouts_and_combinations_are_unseen(size):
    seen = [task for split in ("train", "valid_seen") for task in HouseholdEnv.tasks(split, 900, size=size)]
    unseen = HouseholdEnv.tasks("valid_unseen", 600, size=size)
    assert not {combination(task) for task in seen} & {combination(task) for task in unseen}
    # No layout, as a multiset of receptacles, is shared.
    assert not {layout(task) for task in seen} & {layout(task) for task in unseen}
    for type_ in TASK_TYPES:
        assert len({combination(task) for task in unseen if task.params["type"] == type_}) >= 5


@pytest.mark.parametrize("size", SIZES)
def test_valid_seen_has_layouts_and_combinations_of_train(size):
    train, seen = HouseholdEnv.tasks("train", 3600, size=size), HouseholdEnv.tasks("valid_seen", 60, size=size)
    assert {layout(task) for task in seen} <= {layout(task) for task in train}
    assert {combination(task) for task in seen} <= {combination(task) for task in train}


def test_worlds_are_unique_across_splits():
    worlds = [
        repr(make_game(world_of(task)))
        for split, n in (("train", 1000), ("valid_seen", 200), ("valid_unseen", 200))
        for task in HouseholdEnv.tasks(split, n, size="small")
    ]
    assert len(set(worlds)) == len(worlds)


def test_thousands_of_tasks_per_size():
    tasks = HouseholdEnv.tasks("train", 20_000)
    assert len({task.seed for task in tasks}) == 20_000
    assert tasks.tasks[19_999].id == "small/train/19999"


@pytest.mark.parametrize("size", SIZES)
def test_types_are_balanced(size):
    tasks = HouseholdEnv.tasks("valid_seen", 60, size=size)
    assert all(sum(task.params["type"] == type_ for task in tasks) == 10 for type_ in TASK_TYPES)


def test_tasks_depend_only_on_the_arguments():
    first, again = HouseholdEnv.tasks("train", 50, seed=3), HouseholdEnv.tasks("train", 50, seed=3)
    assert first.hash == again.hash
    assert set(first.tasks) <= set(HouseholdEnv.tasks("train", 80, seed=3).tasks)
    assert first.hash != HouseholdEnv.tasks("train", 50, seed=4).hash
    assert HouseholdEnv.tasks("valid_seen", 4).tasks[3] == make_task("valid_seen", 3, 0, "small")


@pytest.mark.parametrize(("size", "split", "tasks", "worlds"), HASHES)
def test_tasks_and_worlds_never_change(size, split, tasks, worlds):
    """Scores are compared by these hashes. A changed hash requires a new version of the environment."""
    made = HouseholdEnv.tasks(split, 30, size=size)
    games = [make_game(world_of(task)) for task in made]
    laid_out = [
        [game.task, [r.name for r in game.receptacles], [[o.name, *o.inside] for o in game.objects]] for game in games
    ]
    assert (made.hash, content_hash(laid_out)) == (tasks, worlds)


@given(any_task)
def test_worlds_have_the_documented_size(task):
    game, size = make_game(world_of(task)), SIZE_RANGES[task.params["size"]]
    assert size.receptacles[0] <= len(game.receptacles) <= size.receptacles[1]
    assert size.objects[0] <= len(game.objects) <= size.objects[1]
    assert [entity.id for entity in game.objects] == sorted(entity.id for entity in game.objects)
    assert [entity.id for entity in game.receptacles] == sorted(entity.id for entity in game.receptacles)
    names = [receptacle.name for receptacle in game.receptacles] + [thing.name for thing in game.objects]
    assert len(set(names)) == len(names)
    assert read_goal(game.task) == game.goal
    assert make_game(world_of(task)) == game


@given(any_task)
def test_worlds_are_solvable(task):
    """The object, target and appliance of the goal exist and can be combined."""
    game = make_game(world_of(task))
    goal, kinds = game.goal, [receptacle.kind for receptacle in game.receptacles]
    things = [thing for thing in game.objects if thing.kind == goal.object]
    assert len(things) >= max(1, goal.count)
    assert all("pickupable" in thing.abilities for thing in things)
    if goal.count == 0:
        assert any(thing.kind == goal.target and "toggleable" in thing.abilities for thing in game.objects)
        return
    assert goal.target in kinds
    assert goal.object in game.can_contain[goal.target]
    assert not any(kinds[r] == goal.target for thing in things for r in thing.inside)
    if goal.treatment:
        assert APPLIANCE[goal.treatment].lower() in kinds


def test_catalog_is_consistent():
    for thing, places in USUAL_RECEPTACLES.items():
        assert thing == "DeskLamp" or all(thing in CAN_CONTAIN[place] for place in places), thing
    assert all(thing in USUAL_RECEPTACLES for things in ROOM_OBJECTS.values() for thing in things)
    assert {kind for ranges in ROOM_RECEPTACLES.values() for kind in ranges} - {"Toaster"} <= CAN_CONTAIN.keys()
    assert set(TREATMENT.values()) == APPLIANCE.keys()
    for size in SIZES:
        for room in ROOM_RECEPTACLES:
            assert len(set(layouts(size, room))) == 30 > N_SEEN_LAYOUTS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid_sen"}, "unknown household split 'valid_sen'; did you mean 'valid_seen'"),
        ({"split": "train", "size": "smal"}, "unknown household size 'smal'; did you mean 'small'"),
        ({"split": "train", "n": -1}, "the number of household tasks is -1"),
        ({"split": "train", "rooms": 3}, "unknown parameter 'rooms'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        HouseholdEnv.tasks(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": "huge"}, "household size"),
        ({"room": None}, "household room"),
        ({"layout": 30}, "household layout"),
        ({"layout": True}, "household layout"),
        ({"type": "cook"}, "household type"),
        ({"object": "Car"}, "object 'Car'"),
        ({"target": ["Shelf"]}, "target \\['Shelf'\\]"),
    ],
)
def test_bad_params(change, message):
    good = make_task("train", 0, 0, "small")
    bad = Task(good.id, good.env_id, good.split, good.seed, {**good.params, **change})
    with pytest.raises(UsageError, match=message):
        HouseholdEnv().reset(options={"task": bad})


def test_task_set_survives_saving(tmp_path):
    tasks = HouseholdEnv.tasks("valid_unseen", 20)
    tasks.save(tmp_path / "tasks.jsonl")
    assert TaskSet.load(tmp_path / "tasks.jsonl").hash == tasks.hash
