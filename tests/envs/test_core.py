"""Tasks, task sets, episodes and snapshots."""

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


def test_hashes_never_change():
    """Stored scores stay comparable only if hashes of tasks do not change."""
    task = Task("small/valid/1", "kintsugi/Household-v0", "valid", 7, {"type": "heat", "size": 2})
    assert (task.hash, TaskSet([task]).hash) == ("ad250b88224f", "67ad84a3d670")


@pytest.mark.parametrize(
    "bad", [{"a": (1, 2)}, {1: 2}, {"a": float("nan")}, {"a": float("inf")}, {"a": {3}}, {"a": b""}]
)
def test_params_that_json_cannot_store_are_refused(bad):
    with pytest.raises(UsageError, match="cannot be stored as JSON"):
        Task("t", "tiny/Lamps-v0", "train", 0, bad)


@pytest.mark.parametrize(
    "fields", [{"id": 3}, {"seed": -1}, {"seed": "0"}, {"seed": 1.0}, {"env_id": None}, {"split": 1}]
)
def test_fields_of_wrong_types_are_refused(fields):
    with pytest.raises(UsageError, match="task"):
        replace(numbered(1)[0], **fields)


@given(params)
def test_equal_tasks_have_equal_hashes_and_the_hash_depends_on_every_field(given_params):
    task = Task("t", "tiny/Lamps-v0", "train", 0, given_params)
    again = Task(**json.loads(canonical_json({**task.__dict__})))
    assert (task, hash(task), task.hash) == (again, hash(again), again.hash)
    others = [replace(task, id="u"), replace(task, env_id="e"), replace(task, split="s"), replace(task, seed=1)]
    others.append(replace(task, params={**given_params, "one more": 1, "and": 2}))
    assert len({task.hash, *(other.hash for other in others)}) == 6


def test_tasks_are_immutable():
    with pytest.raises(FrozenInstanceError):
        numbered(1)[0].seed = 3  # type: ignore[misc]


def test_a_task_set_does_not_depend_on_order():
    tasks = numbered(12)
    one, two = TaskSet(tasks), TaskSet(reversed(tasks))
    assert one == two
    assert one.hash == two.hash
    assert [task.id for task in one] == sorted(task.id for task in tasks)
    assert one.hash != TaskSet(tasks[:-1]).hash


def test_task_ids_must_be_unique():
    with pytest.raises(UsageError, match="two tasks have the id 't0'"):
        TaskSet([*numbered(2), replace(numbered(1)[0], seed=9)])


def test_an_unknown_task_id_suggests_similar_ids():
    tasks = TaskSet(numbered(3))
    assert tasks["t1"].seed == 1
    with pytest.raises(
        UsageError, match=rf"unknown task id 't11' of the task set {tasks.hash} with 3 tasks; did you mean 't1'"
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
def test_task_sets_are_saved_and_loaded(tmp_path_factory, every):
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    tasks = TaskSet(Task(f"t{i}\u2028\x85", "tiny/Lamps-v0", "train", i, each) for i, each in enumerate(every))
    tasks.save(path)
    loaded = TaskSet.load(path)
    assert loaded == tasks
    assert loaded.hash == tasks.hash


@pytest.mark.parametrize("line", ["{}", "[]", "3", "{", '{"id": "t", "env_id": "e", "split": "s", "seed": -3}', ""])
def test_the_error_names_a_bad_line(tmp_path: Path, line):
    path = tmp_path / "tasks.jsonl"
    TaskSet(numbered(1)).save(path)
    path.write_text(path.read_text() + line + "\n" + path.read_text())
    with pytest.raises(UsageError, match=r"tasks.jsonl:2: not a task"):
        TaskSet.load(path)


def test_the_error_names_a_missing_or_binary_file(tmp_path: Path):
    with pytest.raises(UsageError, match=r"cannot read tasks from .*absent"):
        TaskSet.load(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"cannot read tasks from .*binary"):
        TaskSet.load(tmp_path / "binary")


# -- Episodes ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[Lamps, Echo])
def env(request) -> AgentEnv:
    made = request.param(max_steps=6)
    assert isinstance(made, AgentEnv)
    return made


def play(env: AgentEnv, actions: list[str]) -> list[Any]:
    return [env.step(action) for action in actions]


def test_reset_names_the_task_and_step_before_reset_is_refused(env):
    with pytest.raises(UsageError, match="call reset first"):
        env.step("look")
    task = env.tasks("train")["train/4"]
    observation, info = env.reset(options={"task": task})
    assert observation in env.observation_space
    assert (info["task_id"], env.task, env.steps) == ("train/4", task, 0)


def test_without_a_task_the_seed_selects_one(env):
    drawn = [env.reset(seed=seed)[1]["task_id"] for seed in range(20)]
    assert drawn == [env.reset(seed=seed)[1]["task_id"] for seed in range(20)]
    assert len(set(drawn)) > 3


def test_a_task_has_a_seed_that_reset_can_override(env):
    task = env.tasks("train")["train/4"]
    actions = ["light red", "light green"] * 2
    runs = []
    for seed in (None, task.seed, 99, 99):
        env.reset(seed=seed, options={"task": task})
        runs.append((env.np_random.bit_generator.state["state"], play(env, actions)))
    assert runs[0] == runs[1]
    assert runs[2] == runs[3]
    assert runs[0][0] != runs[2][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": Task("t", "tiny/Other-v0", "train", 0)}, "task 't' has env_id 'tiny/Other-v0'"),
        ({"task": "train/4"}, "expected a Task: take one from"),
        ({"tusk": None}, "unknown reset option 'tusk'; did you mean 'task'"),
    ],
)
def test_bad_reset_options_are_refused(env, options, message):
    with pytest.raises(UsageError, match=message):
        env.reset(options=options)


@pytest.mark.parametrize("kind", [Lamps, Echo])
def test_step_after_a_failed_reset_is_refused(kind):
    class Brittle(kind):  # type: ignore[misc, valid-type]
        broken = False

        def begin(self, task):
            return 1 / 0 if self.broken else super().begin(task)

    env = Brittle()
    env.reset(seed=0)
    env.broken = True
    with pytest.raises(ZeroDivisionError):
        env.reset(seed=1)
    with pytest.raises(UsageError, match="without a running episode"):
        env.step("look")


def test_max_steps_truncates_and_step_after_the_end_is_refused(env):
    env.reset(seed=0)
    *_, (_, _, terminated, truncated, info) = play(env, ["xyzzy"] * 6)
    assert (terminated, truncated, info["success"], env.steps) == (False, True, False, 6)
    with pytest.raises(UsageError, match="without a running episode"):
        env.step("look")


def test_termination_at_the_step_limit_is_not_truncation():
    env = Echo(max_steps=1)
    env.reset(options={"task": env.tasks("train")["train/3"]})
    _, reward, terminated, truncated, info = env.step("3")
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)


def test_constructor_arguments_are_checked():
    with pytest.raises(UsageError, match="max_steps is 0"):
        Lamps(max_steps=0)
    with pytest.raises(UsageError, match="unknown render mode 'ansy'; did you mean 'ansi'"):
        Lamps(render_mode="ansy")


def test_render_returns_the_last_observation():
    env = Lamps(render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "It is dark."
    observation, *_ = env.step("xyzzy")
    assert env.render() == observation
    assert Lamps().render() is None


# -- Snapshots --------------------------------------------------------------------------------------------------------

ACTIONS = ["light red", "xyzzy", "light green", "light blue", "light red", "light blue"]


def test_a_restored_episode_continues_as_before(env):
    env.reset(seed=5)
    play(env, ACTIONS[:2])
    snapshot = env.snapshot()
    future = play(env, ACTIONS[2:4])
    for _ in range(2):
        env.restore(snapshot)
        assert env.steps == 2
        assert env.snapshot() == snapshot
        assert play(env, ACTIONS[2:4]) == future


def test_snapshots_work_in_other_instances_and_after_pickling(env):
    env.reset(seed=5)
    play(env, ACTIONS[:2])
    snapshot, twin = pickle.loads(pickle.dumps((env.snapshot(), env)))
    fresh, running, copied = type(env)(max_steps=6), type(env)(max_steps=6), copy.deepcopy(env)
    running.reset(options={"task": env.task})
    fresh.restore(snapshot)
    running.restore(snapshot)
    future = play(env, ACTIONS[2:4])
    assert [play(other, ACTIONS[2:4]) for other in (fresh, running, twin, copied)] == [future] * 4


def test_an_ended_episode_is_restored_as_ended(env):
    env.reset(seed=0)
    play(env, ["xyzzy"] * 6)
    end = env.snapshot()
    env.reset(options={"task": env.task})
    env.restore(end)
    with pytest.raises(UsageError, match="without a running episode"):
        env.step("look")


def test_snapshots_of_other_environments_or_tasks_are_refused(env):
    with pytest.raises(UsageError, match="snapshot was called before the first reset"):
        env.snapshot()
    env.reset(options={"task": env.tasks("train")["train/1"]})
    snapshot = env.snapshot()
    with pytest.raises(UsageError, match="the snapshot is of 'tiny/Other-v0'"):
        env.restore(replace(snapshot, env_id="tiny/Other-v0"))
    env.reset(options={"task": env.tasks("train")["train/2"]})
    with pytest.raises(UsageError, match="is of task 'train/1'; expected the current task 'train/2'"):
        env.restore(snapshot)


def test_a_replay_with_another_observation_is_an_error():
    class Restless(Echo):
        calls = 0

        def act(self, action):
            observation, *rest = super().act(action)
            type(self).calls += 1
            return f"{observation} {self.calls}", *rest

    env = Restless()
    env.reset(seed=0)
    env.step("look")
    snapshot = env.snapshot()
    with pytest.raises(
        UsageError, match=r"ended in the observation .*; expected .*: make the environment deterministic"
    ):
        env.restore(snapshot)


def test_exact_snapshots_need_both_methods():
    class Half(Echo):
        metadata = {**AgentEnv.metadata, "snapshot": "exact"}

    env = Half()
    env.reset(seed=0)
    with pytest.raises(TypeError, match="Half has exact snapshots but no get_state; define it"):
        env.snapshot()
    with pytest.raises(TypeError, match="set_state"):
        env.set_state(None)


# -- Tools of Gymnasium -----------------------------------------------------------------------------------------------


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
