"""What is practised on, and how attempts become examples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.models.core import Message, derived_seed
from kintsugi.agents.react import chat_of
from kintsugi.agents.trajectory import Step, Trajectory
from kintsugi.envs import AgentEnv, Task
from kintsugi.envs.registry import find
from kintsugi.envs.web.sites.catalogue import SITES
from kintsugi.errors import UsageError
from kintsugi.loops.learning import practice as module
from kintsugi.loops.learning.learner import Example, FitConfig
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.runs.store import RunStore


def attempt(task: str, *actions: str, refused: str = "", **fields: Any) -> Trajectory:
    """Actions that begin with a `refused` letter were refused."""
    steps = tuple(
        Step(f"before {a}", "", a, text=a, invalid="no" if refused and a.startswith(refused) else None) for a in actions
    )
    values = {"outcome": "success", "score": 1.0, "source": "policy", "model": "m", "seed": 0, **fields}
    return Trajectory(Task(task, "tiny/Doors-v0", "train", 0), steps, "end", **values)


def actions(example: Example) -> list[str]:
    return [m.content for m in example.messages if m.role == "assistant"]


def test_each_task_weighs_the_same_and_nothing_is_learnt_twice():
    found = Practice().examples(
        [
            attempt("a", "x", "y"),
            attempt("b", "z"),
            attempt("a", "y"),
            attempt("a", "x", "y", sample=3, model="other"),
            attempt("a", "x", "y", "y"),
        ]
    )
    assert [(actions(e), e.weight) for e in found] == [
        (["x", "y"], 1 / 3),
        (["y"], 1 / 3),
        (["x", "y", "y"], 1 / 3),
        (["z"], 1.0),
    ]


def test_refused_actions_are_not_learnt():
    tried = [attempt("a", "fly", "x"), attempt("a", "fly", "fly", "x"), attempt("b", "fly")]
    tried = [attempt(t.task.id, *(s.action for s in t.steps), refused="f") for t in tried]
    [found] = Practice(mistakes="dropped").examples(tried)
    assert found == Example(chat_of(replace(tried[0], steps=(replace(tried[0].steps[1], observation="before fly"),))))
    everything = Practice(mistakes="learnt").examples(tried)
    assert [actions(e) for e in everything] == [["fly", "x"], ["fly", "fly", "x"], ["fly"]]


def test_what_was_done_after_a_refused_action_is_learnt():
    one, two = Practice().examples(
        [attempt("a", "fly", "x", refused="f"), attempt("a", "fly", "fly", "x", refused="f")]
    )
    trained = [[m.trainable for m in each.messages if m.role == "assistant"] for each in (one, two)]
    assert trained == [[False, True], [False, False, True]]
    assert one.weight == two.weight == 0.5
    assert Practice().examples([attempt("b", "fly", refused="f")]) == []


def test_superseded_actions_are_seen_and_not_learnt(monkeypatch):
    monkeypatch.setattr(AgentEnv, "superseded", staticmethod(lambda actions: {actions.index("x")}))
    tried = attempt("a", "x", "fly", "y", refused="f")
    for mistakes, trained in (("masked", [False, False, True]), ("dropped", [False, True]), ("learnt", [True] * 3)):
        [found] = Practice(mistakes=mistakes).examples([tried])
        assert [m.trainable for m in found.messages if m.role == "assistant"] == trained


def test_what_has_nothing_to_train_on_is_left_out():
    watched = attempt("a", "x")
    shown = replace(watched, steps=tuple(replace(step, trainable=False) for step in watched.steps))
    assert Practice().examples([shown, attempt("b")]) == []
    part = replace(watched, steps=(shown.steps[0], watched.steps[0]))
    [found] = Practice().examples([part])
    assert [m.trainable for m in found.messages if m.role == "assistant"] == [False, True]


@given(st.integers(0, 6), st.integers(0, 9), st.floats(0, 3), st.integers(0, 3))
def test_demonstrations_are_mixed_in_as_asked(passed, shown, replay, seed):
    practice = Practice(replay=replay, seed=seed)
    own = [attempt(f"p{i}", f"p{i}") for i in range(passed)]
    demonstrations = [attempt(f"d{i}", f"d{i}", source="expert") for i in range(shown)]
    found = [actions(e)[0] for e in practice.mixture(own, demonstrations)]
    assert found[:passed] == [f"p{i}" for i in range(passed)]
    assert len(found) - passed == min(shown, round(replay * passed))
    assert found[passed:] == sorted(set(found[passed:]))
    assert found == [actions(e)[0] for e in practice.mixture(own, demonstrations)]


def test_other_seeds_mix_in_other_demonstrations():
    demonstrations = [attempt(f"d{i}", f"d{i}") for i in range(50)]
    found = {
        tuple(actions(e)[0] for e in Practice(seed=seed).mixture([attempt("p", "p")], demonstrations))
        for seed in range(9)
    }
    assert len(found) > 5


def test_an_environment_says_how_many_tasks_are_usual(doors_world, monkeypatch):
    world = find(doors_world).load()
    monkeypatch.setattr(world, "metadata", {**AgentEnv.metadata, "practice": 7})
    assert len(Practice(env=doors_world).task_set()) == 7
    assert len(Practice(env=doors_world, tasks=3).task_set()) == 3
    monkeypatch.setattr(world, "metadata", {"render_modes": ["ansi"]})
    assert find(doors_world).practice == AgentEnv.metadata["practice"] == 300
    assert find("code").practice > 300
    with pytest.raises(UsageError, match="tasks is 0; at least 1 is needed"):
        Practice(env=doors_world, tasks=0).task_set()


def test_attempts_share_no_random_numbers(doors_world):
    practice, agent = Practice(env=doors_world, tasks=5, k=2), object()
    jobs = [
        practice.job(task, agent, sample, stage)
        for stage in ("collect/policy", "collect/reflection")
        for task in practice.task_set()
        for sample in range(practice.k)
    ]
    others = [replace(practice, seed=1).job(job.task, agent, job.sample, "collect/policy") for job in jobs[:10]]
    assert len({job.seed for job in jobs + others}) == 30
    assert jobs[1].seed == derived_seed(0, "collect/policy", jobs[1].task.id, 1)
    assert practice.job(jobs[0].task, agent, 0, "s", source="reflection", parents=("p",)).parents == ("p",)


def test_attempts_are_played_once(doors_world, tmp_path: Path):
    practice = Practice(env=doors_world, tasks=5, k=2, at_once=3, temperature=0.5, max_tokens=40)
    model = ScriptedModel(["Thought: hm\nAction: open red"])
    agent = practice.agent(model)
    assert (agent.config.temperature, agent.config.max_tokens) == (0.5, 40)
    assert practice.agent(model, 0.0).config.temperature == 0.0
    with RunStore.open(tmp_path / "run", practice.to_json()) as store:
        found = practice.attempt(store, "collect/policy", model, practice.task_set(), range(2))
        assert [(t.task.id, t.sample) for t in found] == [(t.id, i) for t in practice.task_set() for i in range(2)]
        assert {t.success for t in found if t.task.params["open"] == "red"} == {True}
        calls = model.calls
        assert practice.attempt(store, "collect/policy", model, practice.task_set(), range(2)) == found
        assert model.calls == calls > 0


def test_training_is_done_once_under_its_own_seed(tmp_path: Path, monkeypatch):
    seen = []

    def noted(base: Path, examples: Any, config: FitConfig, out: Path, *, name: str, **_: Any) -> None:
        seen.append((base, examples, config, name))
        (out / "adapter_config.json").write_text("{}")

    monkeypatch.setattr(module, "fit", noted)
    practice = Practice(fit=FitConfig(epochs=7), seed=3)
    with RunStore.open(tmp_path / "run", {}) as store:
        first = practice.train(store, "agent@1", Path("base"), ["examples"])  # type: ignore[list-item]
        assert practice.train(store, "agent@1", Path("base"), []) == first == tmp_path / "run" / "adapters" / "agent@1"
        practice.train(store, "agent@2", Path("base"), [])
    configs = [config for _, _, config, _ in seen]
    assert [name for *_, name in seen] == ["agent@1", "agent@2"]
    assert configs[0] == FitConfig(epochs=7, seed=derived_seed(3, "agent@1") % (1 << 31))
    assert configs[0].seed != configs[1].seed


def test_a_practice_is_json_clean_and_names_what_it_cannot_find(doors_world):
    assert json.loads(json.dumps(Practice().to_json()))["fit"]["lora"]["rank"] == Practice().fit.lora.rank
    with pytest.raises(UsageError, match="unknown environment 'dors'; did you mean 'doors'"):
        Practice(env="dors").task_set()
    assert Practice(env=doors_world).make_env() is not Practice(env=doors_world).make_env()


def test_where_names_can_be_exchanged_each_epoch_has_other_words(tmp_path: Path, monkeypatch):
    seen = []

    def noted(base: Path, examples: Any, config: FitConfig, out: Path, *, name: str, **_: Any) -> None:
        seen.append((examples, config))
        (out / "adapter_config.json").write_text("{}")

    site = next(site for site in SITES.values() if site.kind == "shop" and site.split == "train")
    label = site.words["cart"]
    chat = [
        Message("system", "Be quick."),
        Message("user", f"Task: buy “Oak Lamp”\nTitle: Home · {site.name}\n[1] link '{label}'\n[2] link 'Oak Lamp'"),
        Message("assistant", "Action: click [2]", (5, 6), trainable=False),
        Message("user", f"Title: Oak Lamp · {site.name}"),
        Message("assistant", "Action: stop [Oak Lamp]", (7, 8)),
    ]
    elsewhere = [replace(m, content=m.content.replace(site.name, "Elsewhere")) for m in chat]
    monkeypatch.setattr(module, "fit", noted)
    with RunStore.open(tmp_path / "run", {}) as store:
        for number, practice in enumerate(
            (
                Practice(env="web"),
                Practice(env="kintsugi/Web-v0", fit=FitConfig(epochs=2.5)),
                Practice(env="web", other_words=False),
                Practice(env="household"),
            )
        ):
            practice.train(store, f"agent@{number}", Path("base"), [Example(chat, 0.5), Example(elsewhere, 0.25)])
    (eight, usual), (two, broken), (plain, own), (other, others) = seen
    assert (usual.times, broken.times, own.times, others.times) == (1.0, 1.25, 8.0, 3.0)
    assert (len(eight), len(two)) == (16, 4)
    assert [e.weight for e in eight] == [0.5, 0.25] * 8
    for told in eight[1::2]:
        assert told.messages == elsewhere
    tales = [example.messages for example in eight[::2]]
    assert len({tuple(m.content for m in tale) for tale in tales}) > 4
    for tale in tales:
        assert [(m.role, m.trainable) for m in tale] == [(m.role, m.trainable) for m in chat]
        assert tale[0] == chat[0]
        assert tale[2] == chat[2]
        said = tale[4].content.removeprefix("Action: stop [").removesuffix("]")
        assert f"“{said}”" in tale[1].content
        assert f"Title: {said} · " in tale[3].content
        assert (tale[4].token_ids is None) == (tale[4] != chat[4])
    assert any(f"'{label}'" not in tale[1].content for tale in tales)
    for same in (plain, other):
        assert [e.messages for e in same] == [chat, elsewhere]
