"""Agent-R with scripted models in a world with and without ways back: what is spliced, checked and learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.react import SYSTEM as ACTING
from kintsugi.agents.search.search import Uct, finished
from kintsugi.agents.search.tree import SearchTree
from kintsugi.agents.trajectory import Trajectory
from kintsugi.agents.verifier import MISTAKE, VerifierConfig
from kintsugi.envs.registry import EnvEntry
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops import agent_r as module
from kintsugi.loops.agent_r import AgentR, agent_r, ending, good_ends, replayed, round_of
from kintsugi.loops.learning import practice as practice_module
from kintsugi.loops.learning.learner import Example, FitConfig
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.learning.splice import replay
from kintsugi.loops.runs.store import RunStore
from vault import RIGHT, Vault, act, actor, grown, place_of

ENTRY = EnvEntry("tiny/Vault-v0", "vault:Vault", "a test")


@dataclass
class World:
    """What stands in for models and training, and a record of what they were asked."""

    base: Path
    scripts: dict[str, Any] = field(default_factory=dict)
    loaded: list[str] = field(default_factory=list)
    fitted: dict[str, list[Example]] = field(default_factory=dict)
    configs: dict[str, FitConfig] = field(default_factory=dict)
    starts: dict[str, str | None] = field(default_factory=dict)

    def load(self, base: Path, adapter: Path | None = None, *, slots: int, exact: bool) -> ScriptedModel:
        assert (base, exact) == (self.base, True)
        name = adapter.name if adapter else "base"
        self.loaded.append(name)
        return ScriptedModel(self.scripts.get(name, actor), version=name)

    def fit(
        self,
        base: Path,
        examples: Sequence[Example],
        config: FitConfig,
        out: Path,
        *,
        name: str,
        start: Path | None = None,
        **_: Any,
    ) -> None:
        if not examples:
            raise UsageError(f"nothing to train {name!r} on")
        self.fitted[name], self.configs[name] = list(examples), config
        self.starts[name] = start.name if start else None
        (out / "adapter_config.json").write_text("{}")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = World(tmp_path / "base")
    monkeypatch.setattr(module, "LocalModel", world)
    monkeypatch.setattr(practice_module, "fit", world.fit)
    monkeypatch.setattr(practice_module, "find", lambda name: ENTRY)
    return world


@pytest.fixture
def store(tmp_path: Path):
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


CONFIG = AgentR(
    Practice(env="vault", tasks=12, max_tokens=200, temperature=1.0, replay=0.25, at_once=8),
    search=Uct(candidates=2, iterations=5, max_depth=8),
    again=Uct(candidates=2, iterations=4, max_depth=12),
    alpha=(0.7, 0.8, 1.0),
    verifier=VerifierConfig(max_tokens=200),
    pairs=3,
)
"""Here only success is worth more than 0.5."""


def run_round(world: World, store: RunStore, config: AgentR = CONFIG, **more: Any) -> dict[str, Any]:
    round_of(store, world.base, None, [], config, 1, **more)
    return dict(store.results()[f"{more.get('name', 'agent_r')}/round1"])


def trained_turns(example: Example) -> list[str]:
    return [m.content for m in example.messages if m.role == "assistant" and m.trainable]


def is_splice(example: Example) -> bool:
    return any(m.role == "assistant" and not m.trainable for m in example.messages)


# -- One round --------------------------------------------------------------------------------------------------------


def test_what_is_learnt_are_good_paths_and_splices_that_the_world_played(world, store):
    said = run_round(world, store)
    stored = store.trajectories("splice/agent_r@1")
    assert stored
    for splice in stored:
        assert splice.success
        assert replay(Vault(), splice) is None
        assert splice.source == "splice"
    good = {f"{t.key}#{end}" for t in finished(store, "search/base@1") for end in good_ends(t, 0.7)}
    assert said["good_paths"] == len(good)
    examples = world.fitted["agent_r@1"]
    spliced = [e for e in examples if is_splice(e)]
    assert 0 < len(spliced) < len(examples) == said["own_examples"]
    for example in spliced:
        assert trained_turns(example)[0].startswith(f"Thought: {MISTAKE}\nThought: ")
        assert trained_turns(example)[-1].endswith("\nAction: open chest")
        assert not any(MISTAKE in turn for turn in trained_turns(example)[1:])
    assert sum(e.weight for e in spliced) == pytest.approx(len({t.task.id for t in stored}))


def test_what_became_of_splices_is_counted_and_adds_up(world, store):
    said = run_round(world, store)
    shares = [said[how] for how in ("verified", "searched", "counterfactual", "unchecked", "infra_error")]
    assert sum(shares) == pytest.approx(1)
    assert said["verified"] > 0
    assert said["searched"] > 0
    assert said["unparsed_share"] == 0
    result = store.results()["spliced/agent_r@1"]
    assert len(result["cuts"]) == len(result["how"]) == said["splices"]
    assert result["trees"] == "search/base@1"
    learnt = sum(how in ("verified", "searched") for how in result["how"])
    assert len(store.trajectories("splice/agent_r@1")) == learnt


def test_a_burnt_key_cannot_be_revised_and_is_dropped(world, store):
    run_round(world, store)
    result = store.results()["spliced/agent_r@1"]
    trees = {tree.key: tree for tree in finished(store, "search/base@1")}
    burnt = {
        how
        for cut, how in zip(result["cuts"], result["how"], strict=True)
        if "burn key" in [s.action for s in trees[cut["tree"]].steps(cut["last"])]
    }
    assert burnt == {"counterfactual"}
    assert not any("burn key" in [s.action for s in t.steps] for t in store.trajectories("splice/agent_r@1"))


def test_another_ending_is_searched_where_the_world_answers_otherwise(world, store):
    run_round(world, store)
    result = store.results()["spliced/agent_r@1"]
    written = {t.sample: t for t in store.trajectories("splice/agent_r@1")}
    searched = [n for n, how in enumerate(result["how"]) if how == "searched"]
    trees = {tree.key: tree for tree in finished(store, "search/base@1")}
    for number in searched:
        cut, splice = result["cuts"][number], written[number]
        bad = trees[cut["tree"]].steps(cut["last"])
        assert [s.action for s in splice.steps[: len(bad)]] == [s.action for s in bad]
        assert [s.trainable for s in splice.steps] == [False] * len(bad) + [True] * (len(splice.steps) - len(bad))
        assert splice.steps[len(bad)].thought.startswith(MISTAKE)
    without = run_round(world, store, replace(CONFIG, again=None), name="without")
    assert without["searched"] == 0 < without["counterfactual"]


def test_counterfactual_splices_are_learnt_from_only_if_asked(world, store):
    run_round(world, store)
    run_round(world, store, replace(CONFIG, counterfactual=True), name="all")
    assert len(store.trajectories("splice/all@1")) == store.results()["all/round1"]["splices"]
    assert len(world.fitted["all@1"]) > len(world.fitted["agent_r@1"])
    assert any(replay(Vault(), splice) is not None for splice in store.trajectories("splice/all@1"))


# -- Baselines --------------------------------------------------------------------------------------------------------


def test_baselines_share_the_trees_and_each_leave_one_part_out(world, store):
    run_round(world, store)
    good = run_round(world, store, replace(CONFIG, splice=False), name="good")
    direct = run_round(world, store, replace(CONFIG, first_error=False), name="direct")
    unchecked = run_round(world, store, replace(CONFIG, check=False), name="unchecked")
    assert store.tree_stages() == ["search/base@1", "search/base@1_again", "search/base@1_again/direct"]
    assert (good["splices"], any(map(is_splice, world.fitted["good@1"]))) == (0, False)
    assert (direct["judged"], direct["no_error_found"]) == (0, direct["splices"])
    assert direct["bad_steps"] > unchecked["bad_steps"]
    assert unchecked["unchecked"] == 1
    assert "replay/unchecked@1" not in store.results()
    assert len(store.trajectories("splice/unchecked@1")) == unchecked["splices"]
    assert store.results()["spliced/unchecked@1"]["cuts"] == store.results()["spliced/agent_r@1"]["cuts"]


# -- Bad input --------------------------------------------------------------------------------------------------------


def test_a_verifier_that_cannot_be_read_keeps_whole_paths_and_says_so(world, store):
    world.scripts["base"] = lambda m, s: actor(m, s) if m[0].content == ACTING else "I would rather not say."
    said = run_round(world, store)
    assert said["unparsed_share"] == 1.0
    assert said["no_error_found"] == said["splices"] > 0


def test_an_actor_that_is_always_right_leaves_nothing_to_splice(world, store):
    world.scripts["base"] = lambda m, s: act(RIGHT[place_of(m)])
    said = run_round(world, store)
    assert (said["splices"], said["trees_without_a_pair"], said["trees_with_equal_ends"]) == (0, 12, 12)
    assert (said["bad_steps"], said["unparsed_share"]) == (None, None)
    assert len(world.fitted["agent_r@1"]) == said["good_paths"] == 12


def test_an_actor_that_never_succeeds_teaches_nothing(world, store):
    world.scripts["base"] = lambda m, s: act("sing")
    with pytest.raises(UsageError, match="nothing to train 'agent_r@1' on"):
        run_round(world, store)


def test_no_pair_above_beta_trains_on_good_paths_alone(world, store):
    said = run_round(world, store, replace(CONFIG, beta=1.0))
    assert (said["splices"], said["trees_without_a_pair"]) == (0, 12)
    assert said["own_examples"] > 0


def test_trees_of_another_model_are_refused(world, store, monkeypatch):
    run_round(world, store)
    monkeypatch.setattr(world, "load", lambda *_, **__: ScriptedModel(actor, version="newer"))
    with pytest.raises(UsageError, match="begun otherwise .*model: base -> newer"):
        round_of(store, world.base, None, [], CONFIG, 1, "other")


def test_trees_of_a_changed_world_are_refused(world, store, monkeypatch):
    class Painted(Vault):
        def begin(self, task):
            return (f"Freshly painted! {super().begin(task)[0]}", super().begin(task)[1])

    run_round(world, store)
    monkeypatch.setattr("vault.Vault", Painted)
    with pytest.raises(UsageError, match="grown in another task or in another version of the environment"):
        round_of(store, world.base, None, [], replace(CONFIG, again=None), 1, "other")


def test_a_splice_whose_world_breaks_down_is_repeated_and_then_left_out(world, store, monkeypatch):
    run_round(world, store)
    splices = store.trajectories("splice/agent_r@1")[:3]

    class Breaks(Vault):
        left = 2

        def act(self, action):
            if self.left:
                type(self).left -= 1
                raise InfraError("the house is on fire")
            return super().act(action)

    monkeypatch.setattr("vault.Vault", Breaks)
    assert replayed(splices, CONFIG.practice) == ["verified"] * 3
    Breaks.left = 10**6
    assert replayed(splices, CONFIG.practice) == ["infra_error"] * 3


# -- Rounds -----------------------------------------------------------------------------------------------------------


def test_three_rounds_with_rising_alpha_each_from_the_model_before(world, store):
    assert agent_r(store, world.base, [], CONFIG) == store.folder / "adapters" / "agent_r@3"
    assert world.loaded == ["base", "agent_r@1", "agent_r@2"]
    assert world.starts == {"agent_r@1": None, "agent_r@2": "agent_r@1", "agent_r@3": "agent_r@2"}
    assert [world.configs[f"agent_r@{i}"].epochs for i in (1, 2, 3)] == [CONFIG.practice.fit.times, 1.0, 1.0]
    grown_by = {stage: next(finished(store, stage)).model for stage in store.tree_stages() if "again" not in stage}
    assert grown_by == {"search/base@1": "base", "search/agent_r@2": "agent_r@1", "search/agent_r@3": "agent_r@2"}
    # An alpha of 1.0 admits the reward of 1.0 that success is worth here.
    assert CONFIG.alpha[-1] == 1.0
    assert store.results()["agent_r/round3"]["good_paths"] > 0
    assert store.results()["agent_r/round3"]["splices"] > 0


def test_partly_good_ends_count_until_alpha_passes_them():
    tree = grown(Vault.tasks("train", 1).tasks[0], [("go cellar", "take key", "sing"), ("sing",)])
    assert [tree.nodes[end].score for end in tree.ends()] == [0.5, 0.0]
    assert len(good_ends(tree, 0.5)) == 1
    assert (good_ends(tree, 0.7), ending(tree, 0.7)) == ([], None)


def test_a_round_that_does_not_help_is_not_gone_on_from(world, store, monkeypatch):
    verdicts = iter([False, True, True])
    monkeypatch.setattr("kintsugi.loops.measuring.gate.Gate.admits", lambda *_: next(verdicts))
    assert agent_r(store, world.base, [], CONFIG) == store.folder / "adapters" / "agent_r@3"
    assert world.starts == {"agent_r@1": None, "agent_r@2": None, "agent_r@3": "agent_r@2"}
    assert world.configs["agent_r@2"].epochs == CONFIG.practice.fit.times
    stages = [stage for stage in store.tree_stages() if "again" not in stage]
    assert stages == ["search/base@1", "search/base@2", "search/agent_r@3"]
    first, second = ({t.seed for t in finished(store, stage)} for stage in stages[:2])
    assert not first & second


def test_a_share_of_demonstrations_is_mixed_in(world, store, tmp_path):
    shown = [
        replace(trajectory_of(grown(task, [tuple(RIGHT.values())])), source="expert", model="expert")
        for task in Vault.tasks("shown", 40)
    ]
    round_of(store, world.base, None, shown, CONFIG, 1)
    said = store.results()["agent_r/round1"]
    # eta = 0.2 of all examples.
    assert said["examples"] - said["own_examples"] == round(0.25 * said["own_examples"])
    assert said["examples"] == len(world.fitted["agent_r@1"])


def trajectory_of(tree: SearchTree) -> Trajectory:
    return tree.trajectory(next(tree.ends()))


# -- Going on ---------------------------------------------------------------------------------------------------------


def test_what_was_done_is_not_done_again(world, store):
    agent_r(store, world.base, [], CONFIG)
    before, fitted = store.results(), dict(world.fitted)
    world.fitted.clear()
    for name in ("base", "agent_r@1", "agent_r@2"):
        world.scripts[name] = lambda *_: pytest.fail("asked again")
    agent_r(store, world.base, [], CONFIG)
    assert (store.results(), world.fitted) == (before, {})
    assert set(fitted) == {"agent_r@1", "agent_r@2", "agent_r@3"}


class Killed(BaseException):
    """As if the process had been killed there."""


@pytest.mark.parametrize("calls", [7, 60, 250, 400, 600])
def test_a_killed_run_ends_the_same(world, store, tmp_path, calls):
    agent_r(store, world.base, [], CONFIG)
    whole = dict(world.fitted)
    left = [calls]

    def dies(messages, sampling):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return actor(messages, sampling)

    world.scripts = dict.fromkeys(("base", "agent_r@1", "agent_r@2"), dies)
    world.fitted.clear()
    with RunStore.open(tmp_path / "cut", {}) as cut:
        with pytest.raises(Killed):
            agent_r(cut, world.base, [], CONFIG)
        agent_r(cut, world.base, [], CONFIG)
        assert world.fitted == whole
        for name in ("agent_r@1", "agent_r@2", "agent_r@3"):
            assert cut.trajectories(f"splice/{name}") == store.trajectories(f"splice/{name}")
        assert without_costs(cut.results()) == without_costs(store.results())


def without_costs(results: dict[str, Any]) -> dict[str, Any]:
    """All but what was measured with a clock."""
    return {stage: result for stage, result in results.items() if not stage.startswith("cost/")}
