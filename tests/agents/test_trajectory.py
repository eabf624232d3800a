"""Trajectories: lossless JSON, derived counts, and invalid data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.trajectory import AgentSpec, Call, Step, Trajectory
from kintsugi.envs import Task
from kintsugi.envs.core import canonical_json

number = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(max_size=20)
ids = st.lists(st.integers(0, 200_000), max_size=6).map(tuple)
logprobs = st.lists(number, max_size=6).map(tuple)
calls = st.builds(Call, role=text, prompt=text, text=text, token_ids=ids, logprobs=logprobs)
specs = st.builds(AgentSpec, text, st.dictionaries(text, number | text | st.none(), max_size=3))
steps = st.builds(
    Step,
    observation=text,
    thought=text,
    action=text,
    reward=number,
    invalid=st.none() | text,
    text=st.none() | text,
    token_ids=st.none() | ids,
    logprobs=st.none() | logprobs,
    trainable=st.booleans(),
    calls=st.lists(calls, max_size=2).map(tuple),
    picture=text,
)
tasks = st.builds(
    Task, id=text, env_id=text, split=text, seed=st.integers(0, 2**63), params=st.dictionaries(text, number, max_size=3)
)
trajectories = st.builds(
    Trajectory,
    task=tasks,
    steps=st.lists(steps, max_size=4).map(tuple),
    final_observation=text,
    outcome=st.sampled_from(["success", "failure", "truncated", "infra_error"]),
    score=st.floats(0, 1),
    source=st.sampled_from(["policy", "reflection", "splice", "imagined", "expert"]),
    model=text,
    seed=st.integers(0, 2**63),
    sample=st.integers(0, 100),
    goal=text,
    reflection=st.none() | steps,
    parents=st.lists(text, max_size=2).map(tuple),
    agent=text,
    made_by=st.none() | specs,
    prompt_tokens=st.integers(0, 10**6),
    error=st.none() | text,
)


@given(trajectories)
def test_json_round_trip_is_lossless(trajectory):
    serialised = canonical_json(trajectory.to_json())
    back = Trajectory.from_json(json.loads(serialised))
    assert back == trajectory
    # Equality ignores pictures.
    assert [step.picture for step in back.steps] == [step.picture for step in trajectory.steps]
    assert canonical_json(back.to_json()) == serialised
    assert hash(back.steps) == hash(trajectory.steps)


@given(trajectories)
def test_from_json_inverts_to_json_without_serialisation(trajectory):
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


def test_counts():
    task = Task("t", "tiny/Echo-v0", "train", 0)
    sampled = Step("o", "t", "a", token_ids=(1, 2, 3), logprobs=(-1.0, -1.0, -1.0))
    two_calls = (Call("news", "?", "!", (1, 2), (0.0, 0.0)), Call("style", "?", "", (), ()))
    trajectory = Trajectory(
        task=task,
        steps=(
            sampled,
            Step("o", "", "by hand"),
            replace(sampled, invalid="no such thing"),
            Step("o", "", "a", calls=two_calls),
        ),
        final_observation="",
        outcome="failure",
        score=0.5,
        source="reflection",
        model="m",
        seed=0,
        sample=4,
        reflection=replace(sampled, token_ids=(7,)),
    )
    assert (trajectory.sampled_tokens, trajectory.invalid_actions, trajectory.key) == (9, 1, "t#4")
    assert [step.sampled_tokens for step in trajectory.steps] == [3, 0, 3, 2]
    assert not trajectory.success
    assert replace(trajectory, outcome="success").success


@pytest.mark.parametrize(("limit", "cut"), [(1, 4), (3, 3), (4, 1), (5, 0), (None, 0)])
def test_answers_that_reach_the_token_limit_are_counted(limit, cut):
    calls = (Call("trader", "p", "c", (1,) * 4, (0.0,) * 4), Call("trader", "p", "c", (1,), (0.0,)))
    steps = (Step("o", "t", "a", token_ids=(1, 2, 3)), Step("o", "t", "a", token_ids=(1, 2, 3), calls=calls))
    spec = AgentSpec("react", {} if limit is None else {"max_tokens": limit})
    assert (
        Trajectory(
            Task("t", "e", "s", 0), (*steps, Step("o", "t", "a")), "", "failure", 0.0, "policy", "m", 0, made_by=spec
        ).cut_answers
        == cut
    )


def test_invalid_data_is_rejected():
    trajectory = Trajectory(Task("t", "tiny/Echo-v0", "train", 0), (), "", "failure", 0.0, "policy", "m", 0)
    for key in ("task", "steps", "outcome", "reflection"):
        data = trajectory.to_json()
        del data[key]
        with pytest.raises((KeyError, TypeError)):
            Trajectory.from_json(data)
    with pytest.raises(TypeError, match="mood"):
        Trajectory.from_json({**trajectory.to_json(), "mood": 1})


def test_name_of_specification_depends_on_id_and_arguments():
    spec = AgentSpec("react", {"a": 1, "b": [2]})
    assert spec.name == AgentSpec("react", {"b": [2], "a": 1}).name
    kind, _, digits = spec.name.rpartition("-")
    assert (kind, len(digits)) == ("react", 6)
    assert len({spec.name, AgentSpec("other", spec.args).name, AgentSpec("react", {"a": 1, "b": [3]}).name}) == 3
