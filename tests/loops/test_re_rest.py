"""Re-ReST with scripted models: the reflector mends exactly the tasks that it is meant to mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from doors import Doors
from kintsugi.agents.models import Message, Sampling, ScriptedModel
from kintsugi.agents.react import SYSTEM as ACTING
from kintsugi.agents.reflector import OPENING, ReflectorConfig
from kintsugi.agents.reflector import SYSTEM as REFLECTING
from kintsugi.agents.trajectory import Trajectory
from kintsugi.errors import InfraError
from kintsugi.loops import re_rest as module
from kintsugi.loops.learning import practice as practice_module
from kintsugi.loops.learning.learner import Example, FitConfig
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.re_rest import Mended, ReReST, collect_and_mend, re_rest, reflector_examples
from kintsugi.loops.runs.store import RunStore

SECRET = "sesame"
"""Said in every reflection and nowhere else."""


def is_reflecting(messages: Sequence[Message]) -> bool:
    return messages[0].content == REFLECTING


def whispered(messages: Sequence[Message]) -> str:
    """The door that the failed attempt was told of."""
    return messages[1].content.partition("A voice says: ")[2].partition(".")[0]


def act(door: str) -> str:
    return f"Thought: hm\nAction: open {door}"


def policy(messages: Sequence[Message], sampling: Sampling) -> str:
    """Always tries red; as a reflector, mends what is behind the blue door, and nothing else."""
    if not is_reflecting(messages):
        return act("red")
    if messages[-1].role == "assistant":
        return f" said {SECRET}."
    return act("blue" if whispered(messages) == "blue" else "red")


def trained_reflector(messages: Sequence[Message], sampling: Sampling) -> str:
    """Has learnt to mend green doors as well."""
    if messages[-1].role == "assistant":
        return f" said {SECRET} again."
    return act(whispered(messages) if whispered(messages) in ("blue", "green") else "red")


@dataclass
class World:
    """What stands in for models and training, and a record of what they were asked."""

    base: Path
    scripts: dict[str, Any] = field(default_factory=lambda: {"reflector": trained_reflector})
    loaded: list[str] = field(default_factory=list)
    fitted: dict[str, list[Example]] = field(default_factory=dict)
    configs: dict[str, FitConfig] = field(default_factory=dict)

    def load(self, base: Path, adapter: Path | None = None, **_: Any) -> ScriptedModel:
        assert base == self.base
        name = adapter.name if adapter else "base"
        self.loaded.append(name)
        return ScriptedModel(self.scripts.get(name.partition("@")[0], policy), version=name)

    def fit(
        self, base: Path, examples: Sequence[Example], config: FitConfig, out: Path, *, name: str, **_: Any
    ) -> None:
        assert base == self.base
        self.fitted[name], self.configs[name] = list(examples), config
        (out / "adapter_config.json").write_text("{}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, doors_world: str, tmp_path: Path) -> World:
    world = World(tmp_path / "base")
    monkeypatch.setattr(module, "LocalModel", world)
    monkeypatch.setattr(practice_module, "fit", world.fit)
    return world


@pytest.fixture
def store(tmp_path: Path):
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


PRACTICE = Practice(env="doors", tasks=24, k=1, max_tokens=60, at_once=7, replay=0.0)
CONFIG = ReReST(PRACTICE, reflection=ReflectorConfig(max_tokens=60))


def door(trajectory: Trajectory) -> str:
    return str(trajectory.task.params["open"])


def doors_of(config: ReReST = CONFIG) -> Counter[str]:
    return Counter(str(task.params["open"]) for task in config.practice.task_set())


def texts(examples: Sequence[Example]) -> str:
    return "\n".join(message.content for example in examples for message in example.messages)


def test_every_failure_is_reflected_on_once_and_what_passes_is_kept(world, store):
    mended = collect_and_mend(store, world.base, None, CONFIG)
    count = doors_of()
    assert {door(t) for t in mended.passed} == {"red"}
    assert len(mended.passed) == count["red"]
    assert sorted(t.task.id for t in mended.zero_shot) == sorted(
        t.id for t in PRACTICE.task_set() if t.params["open"] != "red"
    )
    assert {door(t): t.success for t in mended.zero_shot} == {"blue": True, "green": False, "white": False}
    assert {door(t): t.success for t in mended.trained} == {"green": True, "white": False}
    assert len(mended.trained) == count["green"] + count["white"]
    assert Counter(map(door, mended.corrected)) == {"blue": count["blue"], "green": count["green"]}
    assert world.loaded == ["base", "reflector@1"]
    assert store.trajectory_stages() == ["collect/policy", "collect/reflection", "collect/reflection_trained"]


def test_corrections_are_live_attempts_that_name_what_they_mend(world, store):
    mended = collect_and_mend(store, world.base, None, CONFIG)
    failed = {t.key: t for t in store.trajectories("collect/policy") if not t.success}
    for t in [*mended.zero_shot, *mended.trained]:
        assert t.source == "reflection"
        [parent] = t.parents
        assert failed[parent].task == t.task
        assert t.reflection is not None
        assert SECRET in (t.reflection.text or "")
        assert t.steps[0].observation == failed[parent].steps[0].observation
    seeds = [t.seed for t in [*failed.values(), *mended.zero_shot, *mended.trained]]
    assert len(set(seeds)) == len(seeds)


def test_episodes_that_ran_out_of_steps_are_reflected_on(world, store):
    """Here all failures are of that kind; nobody is told that an attempt is over before the last step."""
    mended = collect_and_mend(store, world.base, None, CONFIG)
    failed = [t for t in store.trajectories("collect/policy") if not t.success]
    assert {t.outcome for t in failed} == {"truncated"}
    assert {t.parents for t in mended.zero_shot} == {(t.key,) for t in failed}


def test_the_agent_learns_neither_the_reflection_nor_the_failed_attempt(world, store):
    assert re_rest(store, world.base, [], CONFIG)
    examples, count = world.fitted["re_rest@1"], doors_of()
    assert len(examples) == count["red"] + count["blue"] + count["green"]
    said = texts(examples)
    assert SECRET not in said
    assert "Reflection" not in said
    assert "failed attempt" not in said
    for example in examples:
        roles = [m.role for m in example.messages]
        assert roles == ["system", "user", "assistant"]
        assert example.messages[0].content == ACTING
        assert example.messages[1].content == "There are four doors: red, green, blue, white."
    opened = Counter(e.messages[2].content for e in examples)
    assert opened == {act(c): count[c] for c in ("red", "blue", "green")}


def test_failures_within_an_attempt_that_passed_are_the_agents_own(world, store):
    """What was refused on the way to success is left out; a wrong door that it tried stays."""

    def second_try(messages: Sequence[Message], sampling: Sampling) -> str:
        turns = sum(m.role == "assistant" for m in messages)
        return act("red") if turns == 0 else act(messages[-1].content.partition("says: ")[2].partition(".")[0])

    world.scripts["base"] = second_try
    assert re_rest(store, world.base, [], CONFIG)
    assert all(t.success for t in store.trajectories("collect/policy"))
    assert store.trajectories("collect/reflection") == []
    assert Counter(sum(m.role == "assistant" for m in e.messages) for e in world.fitted["re_rest@1"]) == {
        1: doors_of()["red"],
        2: 24 - doors_of()["red"],
    }


def test_the_reflector_learns_from_failed_to_passed(world, store):
    collect_and_mend(store, world.base, None, CONFIG)
    examples = world.fitted["reflector@1"]
    assert len(examples) == doors_of()["blue"]
    for example in examples:
        system, shown, reflection, seen, said = example.messages
        assert system.content == REFLECTING
        assert shown.content.count("> open red\nIt is locked. A voice says: blue.") == 1
        assert shown.content.endswith("It ran out of steps.")
        assert reflection.content == f"{OPENING} said {SECRET}."
        assert seen.content.startswith("There are four doors")
        assert said.content == act("blue")
        assert reflection.trainable
        assert said.trainable
        assert example.weight == 1.0


def test_the_zero_shot_reflector_alone(world, store):
    config = replace(CONFIG, reflector="zero_shot")
    mended = collect_and_mend(store, world.base, None, config)
    assert mended.trained == []
    assert world.loaded == ["base"]
    assert {door(t) for t in mended.corrected} == {"blue"}
    assert "collect/reflection_trained" not in store.trajectory_stages()


def test_a_reflector_without_any_example_is_not_trained(world, store):
    world.scripts["base"] = lambda messages, sampling: "Reflection: hm" if is_reflecting(messages) else act("red")
    mended = collect_and_mend(store, world.base, None, CONFIG)
    assert not any(t.success for t in mended.zero_shot)
    assert (mended.trained, world.fitted) == ([], {})


def test_several_samples_of_a_task(world, store):
    """With k > 1 each failed sample is mended for itself, and a task's own successes teach the reflector too."""

    def by_chance(messages: Sequence[Message], sampling: Sampling) -> str:
        return policy(messages, sampling) if is_reflecting(messages) else act(("red", "blue")[sampling.seed % 2])

    world.scripts["base"] = by_chance
    config = replace(CONFIG, practice=replace(PRACTICE, k=4))
    mended = collect_and_mend(store, world.base, None, config)
    attempts = store.trajectories("collect/policy")
    assert Counter(t.task.id for t in attempts) == {task.id: 4 for task in PRACTICE.task_set()}
    assert len({t.key for t in attempts}) == len({t.seed for t in attempts}) == 96
    failed = [t for t in attempts if not t.success]
    assert Counter(t.parents for t in mended.zero_shot) == {(t.key,): 1 for t in failed}
    assert {t.key for t in mended.zero_shot} == {t.key for t in failed}
    own = {t.task.id for t in mended.passed}
    mendable = [t for t in failed if door(t) in ("red", "blue")]
    both = [t for t in mendable if t.task.id in own]
    assert {t.parents for t in mended.zero_shot if t.success} == {(t.key,) for t in mendable}
    found = Counter((e.messages[2].trainable, e.weight) for e in world.fitted["reflector@1"])
    assert found[True, 0.5] == found[False, 0.5] == len(both) > 0
    assert found[True, 1.0] == len(mendable) - len(both)
    assert sum(found.values()) == len(mendable) + len(both)
    learnt = config.practice.examples([*mended.passed, *mended.corrected])
    solved = own | {t.task.id for t in failed if door(t) != "white"}
    assert sum(e.weight for e in learnt) == pytest.approx(len(solved))


class Broken(Doors):
    """Breaks down at every attempt at a white door."""

    def act(self, action: str) -> Any:
        assert self.task is not None
        if self.task.params["open"] == "white":
            raise InfraError("the browser is gone")
        return super().act(action)


def test_infra_errors_are_neither_learnt_nor_reflected_on(world, store, monkeypatch):
    monkeypatch.setattr("doors.Doors", Broken)
    mended = collect_and_mend(store, world.base, None, CONFIG)
    broken = [t for t in store.trajectories("collect/policy") if t.outcome == "infra_error"]
    assert {door(t) for t in broken} == {"white"}
    assert len(broken) == doors_of()["white"]
    assert {door(t) for t in mended.zero_shot} == {"blue", "green"}
    assert {door(t) for t in mended.trained} == {"green"}
    examples = PRACTICE.examples([*mended.passed, *mended.corrected])
    assert len(examples) == 24 - len(broken)


def test_a_reflection_that_breaks_down_is_no_correction(world, store, monkeypatch):
    class BreaksLater(Doors):
        begun: Counter[str] = Counter()

        def begin(self, task: Any) -> Any:
            self.begun[task.id] += 1
            if task.params["open"] == "blue" and self.begun[task.id] > 1:
                raise InfraError("the browser is gone")
            return super().begin(task)

    monkeypatch.setattr("doors.Doors", BreaksLater)
    mended = collect_and_mend(store, world.base, None, CONFIG)
    assert {t.outcome for t in mended.zero_shot if door(t) == "blue"} == {"infra_error"}
    assert mended.corrected == []
    assert reflector_examples(store.trajectories("collect/policy"), [], mended.zero_shot, CONFIG) == []


def test_a_second_round_samples_with_the_adopted_model(world, store):
    world.scripts["re_rest"] = lambda m, s: policy(m, s) if is_reflecting(m) else act("blue")
    config = replace(CONFIG, rounds=2)
    assert re_rest(store, world.base, [], config) == store.folder / "adapters" / "re_rest@2"
    assert world.loaded == ["base", "reflector@1", "re_rest@1", "reflector@2"]
    assert {door(t) for t in store.trajectories("collect/policy@2") if t.success} == {"blue"}
    for t in store.trajectories("collect/reflection@2"):
        assert t.parents[0] in {a.key for a in store.trajectories("collect/policy@2") if not a.success}
    assert world.configs["re_rest@1"].seed != world.configs["re_rest@2"].seed


def test_a_round_that_is_not_admitted_is_kept_on_record(world, store, monkeypatch):
    verdicts = iter([True, False])
    asked = []

    def admits(self: Any, store: RunStore, practice: Practice, base: Path, old: Path | None, new: Path) -> bool:
        asked.append((old, new.name))
        return next(verdicts)

    monkeypatch.setattr("kintsugi.loops.measuring.gate.Gate.admits", admits)
    found = re_rest(store, world.base, [], replace(CONFIG, rounds=2))
    assert found == store.folder / "adapters" / "re_rest@1"
    assert asked == [(None, "re_rest@1"), (found, "re_rest@2")]
    assert (store.folder / "adapters" / "re_rest@2").exists()
    assert list(store.results()) == ["re_rest/round1", "re_rest/round2"]
    count = doors_of()
    assert store.results()["re_rest/round1"] == {
        "passed": count["red"],
        "reflections_zero_shot": 24 - count["red"],
        "mended_zero_shot": count["blue"],
        "reflections_trained": count["green"] + count["white"],
        "mended_trained": count["green"],
        "examples": 24 - count["white"],
    }


def test_what_was_done_is_not_done_again(world, store):
    first = collect_and_mend(store, world.base, None, CONFIG)
    world.fitted.clear()
    world.scripts.update(base=lambda *_: "never asked", reflector=lambda *_: "never asked")
    assert collect_and_mend(store, world.base, None, CONFIG) == first
    assert world.fitted == {}
    assert isinstance(first, Mended)
