"""Tasks, task sets, the episode and its snapshots."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs import AgentEnv, Task, TaskSet
from kintsugi.envs.core import canonical_json, content_hash
from kintsugi.errors import UsageError
from tiny_envs import Echo, Lamps

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
params = st.dictionaries(st.text(), json_values, max_size=3)


def numbered(n: int) -> list[Task]:
    return [Task(f"t{i}", "tiny/Lamps-v0", "train", i, {"broken": "red"}) for i in range(n)]


# -- Task and TaskSet -------------------------------------------------------------------------------------------------


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": 1, "a": [1.5, None, "ü"]}) == '{"a":[1.5,null,"ü"],"b":1}'
    assert content_hash({"b": 1, "a": 2}) == content_hash({"a": 2, "b": 1}) != content_hash({"a": 1, "b": 2})


@given(st.text(st.characters(codec=None)))
def test_canonical_json_is_always_encodable(text):
    encoded = canonical_json(text).encode()
    pairs = any(0xD800 <= ord(a) < 0xDC00 <= ord(b) < 0xE000 for a, b in itertools.pairwise(text))
    assert pairs or json.loads(encoded) == text


def test_hashes_stay_what_they_are():
    """Scores of last year can be compared only as long as this passes."""
    task = Task("small/valid/1", "kintsugi/Household-v0", "valid", 7, {"type": "heat", "size": 2})
    assert (task.hash, TaskSet([task]).hash) == ("ad250b88224f", "67ad84a3d670")


@pytest.mark.parametrize(
    "bad", [{"a": (1, 2)}, {1: 2}, {"a": float("nan")}, {"a": float("inf")}, {"a": {3}}, {"a": b""}]
)
def test_params_that_json_would_change_are_refused(bad):
    with pytest.raises(UsageError, match="do not survive JSON"):
        Task("t", "tiny/Lamps-v0", "train", 0, bad)


@pytest.mark.parametrize(
    "fields", [{"id": 3}, {"seed": -1}, {"seed": "0"}, {"seed": 1.0}, {"env_id": None}, {"split": 1}]
)
def test_fields_of_other_types_are_refused(fields):
    with pytest.raises(UsageError, match="task"):
        replace(numbered(1)[0], **fields)


@given(params)
def test_equal_tasks_have_equal_hashes_and_every_field_counts(given_params):
    task = Task("t", "tiny/Lamps-v0", "train", 0, given_params)
    again = Task(**json.loads(canonical_json({**task.__dict__})))
    assert (task, hash(task), task.hash) == (again, hash(again), again.hash)
    others = [replace(task, id="u"), replace(task, env_id="e"), replace(task, split="s"), replace(task, seed=1)]
    others.append(replace(task, params={**given_params, "one more": 1, "and": 2}))
    assert len({task.hash, *(other.hash for other in others)}) == 6


def test_tasks_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        numbered(1)[0].seed = 3  # type: ignore[misc]


def test_a_task_set_does_not_depend_on_order():
    tasks = numbered(12)
    one, two = TaskSet(tasks), TaskSet(reversed(tasks))
    assert one == two
    assert one.hash == two.hash
    assert [task.id for task in one] == sorted(task.id for task in tasks)
    assert one.hash != TaskSet(tasks[:-1]).hash


def test_a_task_set_has_one_task_for_each_id():
    with pytest.raises(UsageError, match="two tasks have the id 't0'"):
        TaskSet([*numbered(2), replace(numbered(1)[0], seed=9)])


def test_an_unknown_task_id_suggests_the_nearest():
    tasks = TaskSet(numbered(3))
    assert tasks["t1"].seed == 1
    with pytest.raises(
        UsageError, match=rf"unknown task id \(in the set {tasks.hash} of 3 tasks\) 't11'; did you mean 't1'"
    ):
        tasks["t11"]


def test_samples_are_seeded_and_without_replacement():
    tasks = TaskSet(numbered(50))
    assert tasks.sample(20, seed=1) == tasks.sample(20, seed=1) != tasks.sample(20, seed=2)
    assert len(tasks.sample(20, seed=1)) == 20
    assert tasks.sample(50, seed=3) == tasks
    for n in (-1, 51):
        with pytest.raises(UsageError, match=f"cannot draw {n} tasks from a set of 50"):
            tasks.sample(n, seed=0)


@given(st.lists(params, max_size=4))
def test_task_sets_survive_a_file(tmp_path_factory, every):
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    tasks = TaskSet(Task(f"t{i}\u2028\x85", "tiny/Lamps-v0", "train", i, each) for i, each in enumerate(every))
    tasks.save(path)
    loaded = TaskSet.load(path)
    assert loaded == tasks
    assert loaded.hash == tasks.hash


@pytest.mark.parametrize("line", ["{}", "[]", "3", "{", '{"id": "t", "env_id": "e", "split": "s", "seed": -3}', ""])
def test_a_bad_line_is_named(tmp_path: Path, line):
    path = tmp_path / "tasks.jsonl"
    TaskSet(numbered(1)).save(path)
    path.write_text(path.read_text() + line + "\n" + path.read_text())
    with pytest.raises(UsageError, match=r"tasks.jsonl:2: not a task"):
        TaskSet.load(path)


def test_a_missing_or_binary_task_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"cannot read tasks from .*absent"):
        TaskSet.load(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"cannot read tasks from .*binary"):
        TaskSet.load(tmp_path / "binary")


# -- The episode ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[Lamps, Echo])
def env(request) -> AgentEnv:
    made = request.param(max_steps=6)
    assert isinstance(made, AgentEnv)
    return made


def played(env: AgentEnv, actions: list[str]) -> list[Any]:
    return [env.step(action) for action in actions]


def test_reset_names_the_task_and_step_before_it_is_refused(env):
    with pytest.raises(UsageError, match="call reset first"):
        env.step("look")
    task = env.tasks("train")["train/4"]
    observation, info = env.reset(options={"task": task})
    assert observation in env.observation_space
    assert (info["task_id"], env.task, env.steps) == ("train/4", task, 0)


def test_a_task_is_drawn_from_the_seed_when_none_is_given(env):
    drawn = [env.reset(seed=seed)[1]["task_id"] for seed in range(20)]
    assert drawn == [env.reset(seed=seed)[1]["task_id"] for seed in range(20)]
    assert len(set(drawn)) > 3


def test_a_task_brings_its_own_seed_and_a_seed_overrides_it(env):
    task = env.tasks("train")["train/4"]
    actions = ["light red", "light green"] * 2
    runs = []
    for seed in (None, task.seed, 99, 99):
        env.reset(seed=seed, options={"task": task})
        runs.append((env.np_random.bit_generator.state["state"], played(env, actions)))
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert runs[0][0] != runs[2][0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": Task("t", "tiny/Other-v0", "train", 0)}, "task 't' is of 'tiny/Other-v0'"),
        ({"task": "train/4"}, "expected a Task: take one from"),
        ({"tusk": None}, "unknown reset option 'tusk'; did you mean 'task'"),
    ],
)
def test_bad_reset_options_are_refused(env, options, said):
    with pytest.raises(UsageError, match=said):
        env.reset(options=options)


@pytest.mark.parametrize("kind", [Lamps, Echo])
def test_a_world_that_could_not_be_built_cannot_be_stepped(kind):
    class Brittle(kind):  # type: ignore[misc, valid-type]
        broken = False

        def begin(self, task):
            return 1 / 0 if self.broken else super().begin(task)

    env = Brittle()
    env.reset(seed=0)
    env.broken = True
    with pytest.raises(ZeroDivisionError):
        env.reset(seed=1)
    with pytest.raises(UsageError, match="no running episode"):
        env.step("look")


def test_max_steps_truncates_and_the_end_is_the_end(env):
    env.reset(seed=0)
    *_, (_, _, terminated, truncated, info) = played(env, ["xyzzy"] * 6)
    assert (terminated, truncated, info["success"], env.steps) == (False, True, False, 6)
    with pytest.raises(UsageError, match="no running episode"):
        env.step("look")


def test_the_tasks_own_end_comes_before_the_step_limit():
    env = Echo(max_steps=1)
    env.reset(options={"task": env.tasks("train")["train/3"]})
    _, reward, terminated, truncated, info = env.step("3")
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


def test_constructor_arguments_are_checked():
    with pytest.raises(UsageError, match="max_steps is 0"):
        Lamps(max_steps=0)
    with pytest.raises(UsageError, match="unknown render mode 'ansy'; did you mean 'ansi'"):
        Lamps(render_mode="ansy")


def test_render_gives_the_last_observation():
    env = Lamps(render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "It is dark."
    observation, *_ = env.step("xyzzy")
    assert env.render() == observation
    assert Lamps().render() is None


# -- Snapshots --------------------------------------------------------------------------------------------------------

ACTIONS = ["light red", "xyzzy", "light green", "light blue", "light red", "light blue"]


def test_a_snapshot_is_an_instant(env):
    env.reset(seed=5)
    played(env, ACTIONS[:2])
    instant = env.snapshot()
    future = played(env, ACTIONS[2:4])
    for _ in range(2):
        env.restore(instant)
        assert env.steps == 2
        assert env.snapshot() == instant
        assert played(env, ACTIONS[2:4]) == future


def test_a_snapshot_goes_to_other_instances_and_through_pickle(env):
    env.reset(seed=5)
    played(env, ACTIONS[:2])
    instant, twin = pickle.loads(pickle.dumps((env.snapshot(), env)))
    fresh, running, copied = type(env)(max_steps=6), type(env)(max_steps=6), copy.deepcopy(env)
    running.reset(options={"task": env.task})
    fresh.restore(instant)
    running.restore(instant)
    future = played(env, ACTIONS[2:4])
    assert [played(other, ACTIONS[2:4]) for other in (fresh, running, twin, copied)] == [future] * 4


def test_an_ended_episode_is_restored_as_ended(env):
    env.reset(seed=0)
    played(env, ["xyzzy"] * 6)
    end = env.snapshot()
    env.reset(options={"task": env.task})
    env.restore(end)
    with pytest.raises(UsageError, match="no running episode"):
        env.step("look")


def test_foreign_snapshots_are_refused(env):
    with pytest.raises(UsageError, match="nothing to snapshot"):
        env.snapshot()
    env.reset(options={"task": env.tasks("train")["train/1"]})
    instant = env.snapshot()
    with pytest.raises(UsageError, match="the snapshot is of 'tiny/Other-v0'"):
        env.restore(replace(instant, env_id="tiny/Other-v0"))
    env.reset(options={"task": env.tasks("train")["train/2"]})
    with pytest.raises(UsageError, match="is of task 'train/1', the environment plays 'train/2'"):
        env.restore(instant)


def test_a_replay_that_ends_elsewhere_is_an_error():
    class Restless(Echo):
        births = 0

        def act(self, action):
            observation, *rest = super().act(action)
            type(self).births += 1
            return f"{observation} {self.births}", *rest

    env = Restless()
    env.reset(seed=0)
    env.step("look")
    instant = env.snapshot()
    with pytest.raises(UsageError, match=r"ended in another observation: .* the world is not deterministic"):
        env.restore(instant)


def test_exact_snapshots_want_both_methods():
    class Half(Echo):
        metadata = {**AgentEnv.metadata, "snapshot": "exact"}

    env = Half()
    env.reset(seed=0)
    with pytest.raises(TypeError, match="Half declares exact snapshots but does not define get_state"):
        env.snapshot()
    with pytest.raises(TypeError, match="set_state"):
        env.set_state(None)


# -- Gymnasium's own tools --------------------------------------------------------------------------------------------


def test_vector_environments_of_gymnasium_work():
    envs = gymnasium.vector.SyncVectorEnv([Lamps, Lamps, Lamps])
    observations, info = envs.reset(seed=[1, 2, 3])
    assert observations == ("It is dark.",) * 3
    assert [*info["task_id"]] == [Lamps().reset(seed=seed)[1]["task_id"] for seed in (1, 2, 3)]
    observations, rewards, terminated, truncated, _ = envs.step(("xyzzy", "light red", "light blue"))
    assert observations[0] == "Nothing happens."
    assert not np.any([rewards, terminated, truncated])
    assert envs.action_space.sample() in envs.action_space


def test_wrappers_of_gymnasium_work():
    env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.wrappers.TimeLimit(Lamps(), max_episode_steps=3))
    env.reset(seed=0)
    *_, truncated, info = [env.step("xyzzy") for _ in range(3)][-1]
    assert truncated
    assert info["episode"]["l"] == 3
