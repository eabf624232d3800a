"""Re-ReST with scripted models: corrections, training data of agent and reflector, rounds and resuming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from broken_envs import BlueDoorsBreakLater
from fakes import attempts_at, backend_of, learner_of, results_of, scripted_gate, scripted_run, stages_of
from kintsugi.agents.models import Message, Sampling, Script
from kintsugi.agents.react import SYSTEM as ACTING
from kintsugi.agents.react import ReActAgent
from kintsugi.agents.reflector import REFLECTION_PREFIX, ReflectorConfig
from kintsugi.agents.reflector import SYSTEM as REFLECTING
from kintsugi.agents.trajectory import AgentSpec, Trajectory
from kintsugi.envs import EnvSpec
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.re_rest import Mended, ReReST, collect_and_mend, re_rest, reflector_examples, require_react_agent
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.store import RunStore

SECRET = "sesame"
"""A word that occurs in every reflection and nowhere else."""


def is_reflecting(messages: Sequence[Message]) -> bool:
    return messages[0].content == REFLECTING


def hinted_door(messages: Sequence[Message]) -> str:
    """The door that an observation of the failed attempt names."""
    return messages[1].content.partition("A voice says: ")[2].partition(".")[0]


def act(door: str) -> str:
    return f"Thought: hm\nAction: open {door}"


def policy(messages: Sequence[Message], sampling: Sampling) -> str:
    """Opens the red door; as a reflector, mends tasks with a blue door only."""
    if not is_reflecting(messages):
        return act("red")
    if messages[-1].role == "assistant":
        return f" said {SECRET}."
    return act("blue" if hinted_door(messages) == "blue" else "red")


def trained_reflector(messages: Sequence[Message], sampling: Sampling) -> str:
    """A reflector that mends tasks with a blue or a green door."""
    if messages[-1].role == "assistant":
        return f" said {SECRET} again."
    return act(hinted_door(messages) if hinted_door(messages) in ("blue", "green") else "red")


ENV = "door_env:Doors"
CONFIG = ReReST(
    Practice(tasks=24),
    Attempts(k=1, max_tokens=60, at_once=7),
    gate=Gate("off"),
    data=TrainingData(replay=0.0),
    reflection=ReflectorConfig(max_tokens=60),
)
TASKS = CONFIG.practice.task_set(EnvSpec(ENV), 0)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with RunStore.open(tmp_path / "run", {}) as store:
        yield doors_run(store)


def doors_run(store: RunStore, base: Script = policy, env: str = ENV, **adapters: Script) -> Run:
    """A run whose trained reflector also mends green doors, and whose trained agent acts like the base."""
    return scripted_run(store, env, base, {"reflector": trained_reflector, "re_rest": base, **adapters})


def door(trajectory: Trajectory) -> str:
    return str(trajectory.task.params["open"])


def doors_of() -> Counter[str]:
    return Counter(str(task.params["open"]) for task in TASKS)


def failures(run: Run) -> dict[str, Trajectory]:
    """Failed attempts of the policy in round 1, by full key."""
    stage = "collect/policy@1/train"
    return {f"{stage}:{t.key}": t for t in attempts_at(run.store, stage) if not t.success}


def texts(examples: Sequence[Example]) -> str:
    return "\n".join(message.content for example in examples for message in example.messages)


def test_each_failure_is_reflected_on_once_and_passed_corrections_are_kept(run):
    mended = collect_and_mend(run, None, CONFIG)
    count = doors_of()
    assert {door(t) for t in mended.passed} == {"red"}
    assert len(mended.passed) == count["red"]
    assert sorted(t.task.id for t in mended.zero_shot) == sorted(t.id for t in TASKS if t.params["open"] != "red")
    assert {door(t): t.success for t in mended.zero_shot} == {"blue": True, "green": False, "white": False}
    assert {door(t): t.success for t in mended.trained} == {"green": True, "white": False}
    assert len(mended.trained) == count["green"] + count["white"]
    assert Counter(map(door, mended.corrected)) == {"blue": count["blue"], "green": count["green"]}
    assert backend_of(run).opened == ["base", "reflector@1"]
    kinds = ("policy", "reflection", "reflection_trained")
    assert stages_of(run.store) == [f"collect/{kind}@1/train" for kind in kinds]


def test_corrections_are_played_and_name_the_failed_attempt_as_parent(run):
    mended = collect_and_mend(run, None, CONFIG)
    failed = failures(run)
    for t in [*mended.zero_shot, *mended.trained]:
        assert t.source == "reflection"
        [parent] = t.parents
        assert failed[parent].task == t.task
        assert t.reflection is not None
        assert SECRET in (t.reflection.text or "")
        assert t.steps[0].observation == failed[parent].steps[0].observation
    seeds = [t.seed for t in [*failed.values(), *mended.zero_shot, *mended.trained]]
    assert len(set(seeds)) == len(seeds)


def test_truncated_episodes_are_reflected_on(run):
    """In this environment, all failures are truncated episodes."""
    mended = collect_and_mend(run, None, CONFIG)
    failed = failures(run)
    assert {t.outcome for t in failed.values()} == {"truncated"}
    assert {t.parents for t in mended.zero_shot} == {(key,) for key in failed}


def test_agent_examples_contain_neither_reflections_nor_failed_attempts(run):
    assert re_rest(run, CONFIG)
    examples, count = learner_of(run).fitted["re_rest@1"], doors_of()
    assert len(examples) == count["red"] + count["blue"] + count["green"]
    text = texts(examples)
    assert SECRET not in text
    assert "Reflection" not in text
    assert "failed attempt" not in text
    for example in examples:
        roles = [m.role for m in example.messages]
        assert roles == ["system", "user", "assistant"]
        assert example.messages[0].content == ACTING
        assert example.messages[1].content == "There are four doors: red, green, blue, white."
    opened = Counter(e.messages[2].content for e in examples)
    assert opened == {act(c): count[c] for c in ("red", "blue", "green")}


def test_refused_actions_in_a_passed_attempt_are_masked(tmp_path):
    """An accepted action that did not help is trained on."""

    def third_try(messages: Sequence[Message], sampling: Sampling) -> str:
        turns = sum(m.role == "assistant" for m in messages)
        if turns < 2:
            return act(("pink", "red")[turns])
        return act(messages[-1].content.partition("says: ")[2].partition(".")[0])

    with RunStore.open(tmp_path / "run", {}) as store:
        run = doors_run(store, third_try)
        run = replace(run, env=EnvSpec(ENV, {"max_steps": 3}))
        assert re_rest(run, CONFIG)
        assert all(t.success for t in attempts_at(store, "collect/policy@1/train"))
        assert attempts_at(store, "collect/reflection@1/train") == []
    red = doors_of()["red"]
    masks = [[m.trainable for m in e.messages if m.role == "assistant"] for e in learner_of(run).fitted["re_rest@1"]]
    assert Counter(map(tuple, masks)) == {(False, True): red, (False, True, True): 24 - red}


def test_reflector_examples_lead_from_a_failed_to_a_passed_attempt(run):
    collect_and_mend(run, None, CONFIG)
    examples = learner_of(run).fitted["reflector@1"]
    assert len(examples) == doors_of()["blue"]
    for example in examples:
        system, failure, reflection, observation, answer = example.messages
        assert system.content == REFLECTING
        assert failure.content.count("> open red\nIt is locked. A voice says: blue.") == 1
        assert failure.content.endswith("It ran out of steps.")
        assert reflection.content == f"{REFLECTION_PREFIX} said {SECRET}."
        assert observation.content.startswith("There are four doors")
        assert answer.content == act("blue")
        assert reflection.trainable
        assert answer.trainable
        assert example.weight == 1.0


def test_the_zero_shot_reflector_alone(run):
    config = replace(CONFIG, reflector="zero_shot")
    mended = collect_and_mend(run, None, config)
    assert mended.trained == []
    assert backend_of(run).opened == ["base"]
    assert {door(t) for t in mended.corrected} == {"blue"}
    assert "collect/reflection_trained@1/train" not in stages_of(run.store)


def test_a_reflector_without_an_example_is_not_trained(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = doors_run(store, lambda m, s: "Reflection: hm" if is_reflecting(m) else act("red"))
        mended = collect_and_mend(run, None, CONFIG)
    assert len(mended.zero_shot) == 24 - doors_of()["red"]
    assert not any(t.success for t in mended.zero_shot)
    assert (mended.trained, learner_of(run).fitted) == ([], {})


def test_several_samples_of_a_task(tmp_path):
    """With k > 1, each failed sample is mended, and passed samples of the task are reflector examples too."""

    def random_door(messages: Sequence[Message], sampling: Sampling) -> str:
        return policy(messages, sampling) if is_reflecting(messages) else act(("red", "blue")[sampling.seed % 2])

    config = replace(CONFIG, attempts=replace(CONFIG.attempts, k=4))
    with RunStore.open(tmp_path / "run", {}) as store:
        run = doors_run(store, random_door)
        mended = collect_and_mend(run, None, config)
        attempts, failed = attempts_at(store, "collect/policy@1/train"), failures(run)
    assert Counter(t.task.id for t in attempts) == {task.id: 4 for task in TASKS}
    assert len({t.key for t in attempts}) == len({t.seed for t in attempts}) == 96
    assert Counter(t.parents for t in mended.zero_shot) == {(key,): 1 for key in failed}
    assert {t.key for t in mended.zero_shot} == {t.key for t in failed.values()}
    own = {t.task.id for t in mended.passed}
    mendable = {key: t for key, t in failed.items() if door(t) in ("red", "blue")}
    both = [t for t in mendable.values() if t.task.id in own]
    assert {t.parents for t in mended.zero_shot if t.success} == {(key,) for key in mendable}
    found = Counter((e.messages[2].trainable, e.weight) for e in learner_of(run).fitted["reflector@1"])
    assert found[True, 0.5] == found[False, 0.5] == len(both) > 0
    assert found[True, 1.0] == len(mendable) - len(both)
    assert sum(found.values()) == len(mendable) + len(both)
    examples = config.data.examples(run.make_agent(None, config.attempts), [*mended.passed, *mended.corrected])
    solved = own | {t.task.id for t in failed.values() if door(t) != "white"}
    assert sum(e.weight for e in examples) == pytest.approx(len(solved))


def test_infrastructure_failures_are_neither_trained_on_nor_reflected_on(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = doors_run(store, env="broken_envs:WhiteDoorsBreak")
        mended = collect_and_mend(run, None, CONFIG)
        broken = [t for t in attempts_at(store, "collect/policy@1/train") if t.outcome == "infra_error"]
    assert {door(t) for t in broken} == {"white"}
    assert len(broken) == doors_of()["white"]
    assert {door(t) for t in mended.zero_shot} == {"blue", "green"}
    assert {door(t) for t in mended.trained} == {"green"}
    examples = CONFIG.data.examples(run.make_agent(None, CONFIG.attempts), [*mended.passed, *mended.corrected])
    assert len(examples) == 24 - len(broken)


def test_a_correction_with_an_infrastructure_failure_is_not_used(tmp_path):
    BlueDoorsBreakLater.begun.clear()
    with RunStore.open(tmp_path / "run", {}) as store:
        run = doors_run(store, env="broken_envs:BlueDoorsBreakLater")
        mended = collect_and_mend(run, None, CONFIG)
        assert {t.outcome for t in mended.zero_shot if door(t) == "blue"} == {"infra_error"}
        assert mended.corrected == []
        agent = require_react_agent(run.make_agent(None, CONFIG.attempts))
        assert reflector_examples(failures(run), [], mended.zero_shot, agent, CONFIG) == []


def test_reflector_examples_use_the_prompt_of_the_agent(tmp_path):
    """The agent has its own system prompt and does not restate the goal."""
    agent = AgentSpec("react", {"system": "Be brief.", "restate_goal": False})
    config = replace(CONFIG, attempts=replace(CONFIG.attempts, k=2))

    def second_try(messages: Sequence[Message], sampling: Sampling) -> str:
        turns = sum(m.role == "assistant" for m in messages)
        if is_reflecting(messages) or turns == 0:
            return policy(messages, sampling)
        return act(messages[-1].content.partition("says: ")[2].partition(".")[0])

    with RunStore.open(tmp_path / "run", {}) as store:
        run = replace(doors_run(store, second_try), agent=agent)
        re_rest(run, config)
    for name in ("re_rest@1", *learner_of(run).fitted):
        for example in learner_of(run).fitted[name]:
            assert example.messages[0].content == (REFLECTING if "reflector" in name else "Be brief.")
            assert not any("Your task is to" in m.content for m in example.messages[2:])


def test_an_agent_other_than_react_is_refused(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = replace(doors_run(store), agent=AgentSpec("trading-group"))
        assert not isinstance(run.make_agent(None, CONFIG.attempts), ReActAgent)
        with pytest.raises(UsageError, match="is not a ReAct agent, which Re-ReST expects"):
            collect_and_mend(run, None, CONFIG)


def test_a_second_round_samples_with_the_adopted_model(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        run = doors_run(store, re_rest=lambda m, s: policy(m, s) if is_reflecting(m) else act("blue"))
        assert re_rest(run, replace(CONFIG, rounds=2)) == store.folder / "adapters" / "re_rest@2"
        second = attempts_at(store, "collect/policy@2/train")
        again = attempts_at(store, "collect/reflection@2/train")
    assert backend_of(run).opened == ["base", "reflector@1", "re_rest@1", "reflector@2"]
    assert {door(t) for t in second if t.success} == {"blue"}
    failed = {f"collect/policy@2/train:{t.key}" for t in second if not t.success}
    assert {t.parents for t in again} == {(key,) for key in failed}
    configs = learner_of(run).configs
    assert configs["re_rest@1"].seed != configs["re_rest@2"].seed


def test_a_rejected_round_is_recorded(run):
    gate = scripted_gate(True, False)
    found = re_rest(run, replace(CONFIG, rounds=2, gate=gate))
    assert found == run.store.folder / "adapters" / "re_rest@1"
    assert gate.compared == [(None, "re_rest@1"), ("re_rest@1", "re_rest@2")]
    assert (run.store.folder / "adapters" / "re_rest@2").exists()
    counts, count = results_of(run.store, "counts"), doors_of()
    assert list(counts) == ["re_rest@1", "re_rest@2"]
    assert counts["re_rest@1"] == {
        "passed": count["red"],
        "reflections_zero_shot": 24 - count["red"],
        "mended_zero_shot": count["blue"],
        "reflections_trained": count["green"] + count["white"],
        "mended_trained": count["green"],
        "examples": 24 - count["white"],
    }


def test_finished_stages_are_not_repeated(run):
    first = collect_and_mend(run, None, CONFIG)
    assert isinstance(first, Mended)
    again = doors_run(run.store)
    assert collect_and_mend(again, None, CONFIG) == first
    assert (backend_of(again).opened, learner_of(again).fitted) == ([], {})
