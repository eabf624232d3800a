"""Agent-R with scripted models in a world with reversible and irreversible errors: splices, checks and rounds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broken_envs import BreakingVault
from fakes import attempts_at, backend_of, learner_of, results_of, scripted_gate, scripted_run
from kintsugi.agents.models import Message, Sampling, Script, ScriptedBackend
from kintsugi.agents.react import SYSTEM as ACTING
from kintsugi.agents.registry import make_agent
from kintsugi.agents.search import SearchTree, Uct, finished_trees
from kintsugi.agents.trajectory import AgentSpec, Trajectory
from kintsugi.agents.verifier import REVISION_THOUGHT, VerifierConfig, parse_judgement
from kintsugi.envs import EnvSpec
from kintsugi.errors import UsageError
from kintsugi.loops.agent_r import AgentR, RoundStopped, agent_r, best_ending, findings, good_ends, train_round
from kintsugi.loops.learning.core import Example
from kintsugi.loops.learning.splice import check_splices, first_divergence
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.run import Attempts, Practice, Run
from kintsugi.loops.runs.stages import Stage, split_key
from kintsugi.loops.runs.store import RunStore
from rich.console import Console, RenderableType
from vault_env import RIGHT, Vault, act, actor, build_tree, place_of

CONFIG = AgentR(
    Practice(tasks=12),
    Attempts(max_tokens=200, temperature=1.0, at_once=8),
    gate=Gate("off"),
    data=TrainingData(replay=0.25),
    search=Uct(candidates=2, iterations=5, max_depth=8),
    continue_search=Uct(candidates=2, iterations=4, max_depth=12),
    alpha=(0.7, 0.8, 1.0),
    verifier=VerifierConfig(max_tokens=200),
    pairs=3,
)
"""In this environment, only a success scores more than 0.5."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.open(tmp_path / "run", {}) as store:
        yield store


@pytest.fixture
def run(store: RunStore) -> Run:
    return vault_run(store)


def vault_run(store: RunStore, script: Script = actor, env: str = "vault_env:Vault", **more: Any) -> Run:
    """A run whose base and adapters all answer with `script`."""
    names = ("agent_r", "without", "all", "good", "direct", "unchecked", "other")
    return scripted_run(store, env, script, dict.fromkeys(names, script), **more)


def run_round(run: Run, config: AgentR = CONFIG, name: str = "agent_r") -> dict[str, Any]:
    train_round(run, None, config, 1, name)
    return dict(results_of(run.store, "counts")[f"{name}@1"])


def trees_of(store: RunStore, name: str) -> Iterator[SearchTree]:
    return finished_trees(store.tree_log(Stage.parse(name)))


def trained_turns(example: Example) -> list[str]:
    return [m.content for m in example.messages if m.role == "assistant" and m.trainable]


def is_splice(example: Example) -> bool:
    return any(m.role == "assistant" and not m.trainable for m in example.messages)


# -- One round --------------------------------------------------------------------------------------------------------


def test_training_data_are_good_paths_and_verified_splices(run):
    counts = run_round(run)
    stored = attempts_at(run.store, "splice/agent_r@1/train")
    assert stored
    for splice in stored:
        assert splice.success
        assert first_divergence(Vault(), splice) is None
        assert splice.source == "splice"
    good = {f"{t.key}#{end}" for t in trees_of(run.store, "search/base@1/train") for end in good_ends(t, 0.7)}
    assert counts["good_paths"] == len(good)
    examples = learner_of(run).fitted["agent_r@1"]
    spliced = [e for e in examples if is_splice(e)]
    assert 0 < len(spliced) < len(examples) == counts["own_examples"]
    for example in spliced:
        assert trained_turns(example)[0].startswith(f"Thought: {REVISION_THOUGHT}\nThought: ")
        assert trained_turns(example)[-1].endswith("\nAction: open chest")
        assert not any(REVISION_THOUGHT in turn for turn in trained_turns(example)[1:])
    assert sum(e.weight for e in spliced) == pytest.approx(len({t.task.id for t in stored}))


def test_the_shares_of_splice_statuses_sum_to_1(run):
    counts = run_round(run)
    shares = [counts[status] for status in ("verified", "searched", "counterfactual", "unchecked", "infra_error")]
    assert sum(shares) == pytest.approx(1)
    assert counts["verified"] > 0
    assert counts["searched"] > 0
    assert counts["unparsed_share"] == 0
    result = results_of(run.store, "spliced")["agent_r@1"]
    assert len(result["cuts"]) == len(result["how"]) == counts["splices"]
    assert result["trees"] == "search/base@1/train"
    trained = sum(status in ("verified", "searched") for status in result["how"])
    assert len(attempts_at(run.store, "splice/agent_r@1/train")) == trained


def test_splices_after_an_irreversible_error_are_dropped(run):
    run_round(run)
    result = results_of(run.store, "spliced")["agent_r@1"]
    trees = {tree.key: tree for tree in trees_of(run.store, "search/base@1/train")}
    burnt = {
        status
        for cut, status in zip(result["cuts"], result["how"], strict=True)
        if "burn key" in [s.action for s in trees[cut["tree"]].steps(cut["last"])]
    }
    assert burnt == {"counterfactual"}
    assert not any("burn key" in [s.action for s in t.steps] for t in attempts_at(run.store, "splice/agent_r@1/train"))


def test_a_new_ending_is_searched_if_observations_differ(run):
    run_round(run)
    result = results_of(run.store, "spliced")["agent_r@1"]
    stored = {t.sample: t for t in attempts_at(run.store, "splice/agent_r@1/train")}
    searched = [n for n, status in enumerate(result["how"]) if status == "searched"]
    trees = {tree.key: tree for tree in trees_of(run.store, "search/base@1/train")}
    for number in searched:
        cut, splice = result["cuts"][number], stored[number]
        bad = trees[cut["tree"]].steps(cut["last"])
        assert [s.action for s in splice.steps[: len(bad)]] == [s.action for s in bad]
        assert [s.trainable for s in splice.steps] == [False] * len(bad) + [True] * (len(splice.steps) - len(bad))
        assert splice.steps[len(bad)].thought.startswith(REVISION_THOUGHT)
    without = run_round(run, replace(CONFIG, continue_search=None), "without")
    assert without["searched"] == 0 < without["counterfactual"]


def test_counterfactual_splices_are_trained_on_only_if_enabled(run):
    run_round(run)
    run_round(run, replace(CONFIG, counterfactual=True), "all")
    assert len(attempts_at(run.store, "splice/all@1/train")) == results_of(run.store, "counts")["all@1"]["splices"]
    assert len(learner_of(run).fitted["all@1"]) > len(learner_of(run).fitted["agent_r@1"])
    assert any(first_divergence(Vault(), splice) is not None for splice in attempts_at(run.store, "splice/all@1/train"))


# -- Baselines --------------------------------------------------------------------------------------------------------


def test_baselines_share_the_trees_and_each_omits_one_part(run):
    run_round(run)
    good = run_round(run, replace(CONFIG, splice=False), "good")
    direct = run_round(run, replace(CONFIG, first_error=False), "direct")
    unchecked = run_round(run, replace(CONFIG, check=False), "unchecked")
    trees = ("train", "again", "again-direct")
    assert list(map(str, run.store.tree_stages())) == [f"search/base@1/{tasks}" for tasks in trees]
    assert (good["splices"], any(map(is_splice, learner_of(run).fitted["good@1"]))) == (0, False)
    assert (direct["judged"], direct["no_error_found"]) == (0, direct["splices"])
    assert direct["bad_steps"] > unchecked["bad_steps"]
    assert unchecked["unchecked"] == 1
    assert "unchecked@1" not in results_of(run.store, "replay")
    assert len(attempts_at(run.store, "splice/unchecked@1/train")) == unchecked["splices"]
    assert (
        results_of(run.store, "spliced")["unchecked@1"]["cuts"] == results_of(run.store, "spliced")["agent_r@1"]["cuts"]
    )


# -- Bad input --------------------------------------------------------------------------------------------------------


def test_without_the_limit_answers_that_do_not_parse_keep_whole_paths_and_are_counted(store):
    run = vault_run(store, without_the_role)
    counts = run_round(run, replace(CONFIG, max_unparsed=1.0))
    assert counts["unparsed_share"] == 1.0
    assert counts["no_error_found"] == counts["splices"] > 0
    assert "stopped" not in counts


def test_an_agent_without_errors_gives_no_splice(store):
    run = vault_run(store, lambda m, s: act(RIGHT[place_of(m)]))
    counts = run_round(run)
    assert (counts["splices"], counts["trees_without_a_pair"], counts["trees_with_equal_ends"]) == (0, 12, 12)
    assert (counts["bad_steps"], counts["unparsed_share"]) == (None, None)
    assert len(learner_of(run).fitted["agent_r@1"]) == counts["good_paths"] == 12


def test_an_agent_that_never_succeeds_is_refused(store):
    run = vault_run(store, lambda m, s: act("sing"))
    with pytest.raises(UsageError, match="nothing to train 'agent_r@1' on"):
        run_round(run)


def test_without_a_pair_above_beta_only_good_paths_are_trained_on(run):
    counts = run_round(run, replace(CONFIG, beta=1.0))
    assert (counts["splices"], counts["trees_without_a_pair"]) == (0, 12)
    assert counts["own_examples"] > 0


def test_trees_of_another_agent_are_refused(run):
    """An agent with another model or another prompt is another agent."""
    run_round(run)
    newer = scripted_run(run.store, "vault_env:Vault", actor)
    backend_of(newer).base = "newer"
    with pytest.raises(UsageError, match=r"different settings .*agent: react-\w+@base -> react-\w+@newer"):
        train_round(newer, None, CONFIG, 1, "other")
    prompted = replace(run, agent=AgentSpec("react", {"system": "Be brief."}))
    with pytest.raises(UsageError, match=r"different settings .*agent: react-\w+@base -> react-\w+@base"):
        train_round(prompted, None, CONFIG, 1, "other")


def test_trees_of_a_changed_environment_are_refused(run):
    run_round(run)
    painted = replace(run, env=EnvSpec("broken_envs:PaintedVault"))
    with pytest.raises(UsageError, match="comes from another task or another version of the environment"):
        train_round(painted, None, replace(CONFIG, continue_search=None), 1, "other")


def test_infrastructure_failures_are_retried_and_then_recorded(run):
    run_round(run)
    splices, env = attempts_at(run.store, "splice/agent_r@1/train")[:3], EnvSpec("broken_envs:BreakingVault")
    BreakingVault.left = 2
    assert check_splices(splices, env) == ["verified"] * 3
    BreakingVault.left = 10**6
    assert check_splices(splices, env) == ["infra_error"] * 3


def test_parents_of_splices_are_nodes_of_their_trees(run):
    run_round(run)
    trees = {tree.key: tree for tree in trees_of(run.store, "search/base@1/train")}
    for splice in attempts_at(run.store, "splice/agent_r@1/train"):
        for key in splice.parents:
            stage, node = split_key(key)
            tree, _, number = node.rpartition(".")
            assert str(stage) == "search/base@1/train"
            assert trees[tree].task == splice.task
            assert trees[tree].nodes[int(number)].ends


# -- Rounds -----------------------------------------------------------------------------------------------------------


def test_three_rounds_with_rising_alpha_continue_from_the_previous_adapter(run):
    store, learner = run.store, learner_of(run)
    assert agent_r(run, CONFIG) == store.folder / "adapters" / "agent_r@3"
    assert list(dict.fromkeys(backend_of(run).opened)) == ["base", "agent_r@1", "agent_r@2"]
    assert learner.starts == {"agent_r@1": None, "agent_r@2": "agent_r@1", "agent_r@3": "agent_r@2"}
    assert [learner.configs[f"agent_r@{i}"].epochs for i in (1, 2, 3)] == [3.0, 1.0, 1.0]
    first = {stage.model_round: next(finished_trees(store.tree_log(stage))) for stage in own_trees(store)}
    models = {stage: tree.model.partition(":")[0] for stage, tree in first.items()}
    assert models == {"base@1": "base", "agent_r@2": "base+agent_r@1", "agent_r@3": "base+agent_r@2"}
    # An alpha of 1.0 accepts a success, which scores 1.0.
    assert CONFIG.alpha[-1] == 1.0
    assert results_of(store, "counts")["agent_r@3"]["good_paths"] > 0
    assert results_of(store, "counts")["agent_r@3"]["splices"] > 0


def test_partial_scores_count_as_good_up_to_alpha():
    tree = build_tree(Vault.tasks("train", 1).tasks[0], [("go cellar", "take key", "sing"), ("sing",)])
    assert [tree.nodes[end].score for end in tree.ends()] == [0.5, 0.0]
    assert len(good_ends(tree, 0.5)) == 1
    assert (good_ends(tree, 0.7), best_ending(tree, 0.7)) == ([], None)


def own_trees(store: RunStore) -> list[Stage]:
    """The stages of the trees that rounds start with."""
    return [stage for stage in store.tree_stages() if stage.tasks == "train"]


def test_later_rounds_do_not_continue_from_a_rejected_adapter(run):
    found = agent_r(run, replace(CONFIG, gate=scripted_gate(False, True, True)))
    assert found == run.store.folder / "adapters" / "agent_r@3"
    assert learner_of(run).starts == {"agent_r@1": None, "agent_r@2": None, "agent_r@3": "agent_r@2"}
    assert learner_of(run).configs["agent_r@2"].epochs == 3.0
    stages = own_trees(run.store)
    assert [stage.model_round for stage in stages] == ["base@1", "base@2", "agent_r@3"]
    first, second = ({t.seed for t in finished_trees(run.store.tree_log(stage))} for stage in stages[:2])
    assert not first & second


def test_a_share_of_demonstrations_is_mixed_in(store):
    shown = [
        replace(trajectory_of(build_tree(task, [tuple(RIGHT.values())])), source="expert", model="expert")
        for task in Vault.tasks("shown", 40)
    ]
    run = vault_run(store, demonstrations=shown)
    counts = run_round(run)
    # eta = 0.2 of all examples.
    assert counts["examples"] - counts["own_examples"] == round(0.25 * counts["own_examples"])
    assert counts["examples"] == len(learner_of(run).fitted["agent_r@1"])


def trajectory_of(tree: SearchTree) -> Trajectory:
    return tree.trajectory(next(tree.ends()))


# -- The role of the verifier -----------------------------------------------------------------------------------------


def without_the_role(messages: Sequence[Message], sampling: Sampling) -> str:
    """Script of a model that acts like `actor` and does not answer as a verifier."""
    return actor(messages, sampling) if messages[0].content == ACTING else "I would rather not say."


def unsure(messages: Sequence[Message], sampling: Sampling) -> str:
    """Script of a model whose verdicts on `take key` do not parse."""
    step = messages[-1].content.rpartition("> ")[2]
    return "Hm." if messages[0].content != ACTING and step.startswith("take key") else actor(messages, sampling)


def forgetful_run(store: RunStore) -> Run:
    """A run whose adapters do not answer as a verifier."""
    return scripted_run(store, "vault_env:Vault", actor, {"agent_r": without_the_role})


def printed(found: Iterable[RenderableType]) -> str:
    console = Console(record=True, width=400, force_terminal=False)
    for each in found:
        console.print(each, highlight=False)
    return console.export_text()


def verdict_examples_of(run: Run, name: str) -> list[Example]:
    return [e for e in learner_of(run).fitted[name] if e.messages[0].content != ACTING]


@pytest.mark.parametrize("role", ["paper", "kept"])
def test_a_round_whose_verdicts_do_not_parse_stops_the_loop_and_says_so(role, store):
    """`forgetful_run` replaces adapters by a script, so training on verdicts does not help here."""
    run, config = forgetful_run(store), replace(CONFIG, verifier_role=role)
    assert agent_r(run, config) == store.folder / "adapters" / "agent_r@1"
    assert set(learner_of(run).fitted) == {"agent_r@1"}
    counts = results_of(store, "counts")
    assert set(counts) == {"agent_r@1", "agent_r@2"}
    judged = counts["agent_r@2"]["judged"]
    assert counts["agent_r@2"]["stopped"] == (
        f"agent_r@2 stopped and is not trained: {judged} of {judged} verdicts of agent_r@1 (100.0 %) do not parse; "
        "expected at most 50.0 %, and lines such as 'Judgement: Bad'; start a new run with --loop.verifier-role base, "
        "with which the model without an adapter judges"
    )
    assert counts["agent_r@2"]["trees"] == 12
    assert counts["agent_r@2"]["unparsed_share"] == 1.0
    assert (counts["agent_r@2"]["splices"], counts["agent_r@2"]["examples"]) == (0, 0)
    text = printed(findings(run, config, Measure(), {}))
    assert counts["agent_r@2"]["stopped"] in text
    [row] = [line for line in text.splitlines() if "agent_r@2" in line and "verdicts" not in line]
    assert "100.0 %" in row

    again, before = forgetful_run(store), store.results()
    assert agent_r(again, config) == store.folder / "adapters" / "agent_r@1"
    assert (store.results(), learner_of(again).fitted, backend_of(again).opened) == (before, {}, [])
    assert printed(findings(again, config, Measure(), {})) == text


def test_a_base_model_that_is_no_verifier_is_refused_and_its_counts_are_kept(store):
    for _ in range(2):
        run = vault_run(store, without_the_role)
        with pytest.raises(RoundStopped, match=r"agent_r@1 stopped .* verdicts of base .*--loop\.verifier\.prompt"):
            agent_r(run, CONFIG)
        assert learner_of(run).fitted == {}
        assert results_of(store, "counts")["agent_r@1"]["unparsed_share"] == 1.0


def test_the_base_model_judges_in_all_rounds(store):
    run = forgetful_run(store)
    assert agent_r(run, CONFIG) == store.folder / "adapters" / "agent_r@3"
    counts = results_of(store, "counts")
    assert [counts[f"agent_r@{i}"]["unparsed_share"] for i in (1, 2, 3)] == [0, 0, 0]
    assert [counts[f"agent_r@{i}"]["verdict_examples"] for i in (1, 2, 3)] == [0, 0, 0]
    # The base judges after each adapter that acted.
    assert backend_of(run).opened == ["base", "agent_r@1", "base", "agent_r@2", "base"]
    assert not verdict_examples_of(run, "agent_r@3")


def test_verdicts_that_parsed_are_trained_on(store):
    run = vault_run(store, unsure)
    config = replace(CONFIG, verifier_role="kept")
    agent_r(run, config)
    for name in ("agent_r@1", "agent_r@2", "agent_r@3"):
        counts, verdicts = results_of(store, "counts")[name], verdict_examples_of(run, name)
        assert 0 < counts["unparsed_share"] < 0.5
        assert 0 < len(verdicts) == counts["verdict_examples"] <= round(0.25 * counts["own_examples"])
        assert counts["examples"] == counts["own_examples"] + len(verdicts) == len(learner_of(run).fitted[name])
        for example in verdicts:
            answers = [m for m in example.messages if m.role == "assistant"]
            assert [m.trainable for m in answers] == [m.content != "Hm." for m in answers]
            assert any(m.trainable for m in answers)
            assert all(m.token_ids == tuple(m.content.encode()) for m in answers)
        weights: dict[str, float] = {}
        for example in verdicts:
            house = example.messages[1].content.partition("of house ")[2].partition(".")[0]
            weights[house] = weights.get(house, 0) + example.weight
        assert all(total == pytest.approx(1) for total in weights.values())
    assert any(not m.trainable for e in verdict_examples_of(run, "agent_r@1") for m in e.messages)


def test_trained_verdicts_keep_the_role(store):
    """The adapter's table has the answers that it was trained on; without them, it does not answer as a verifier."""
    run = scripted_run(store, "vault_env:Vault", actor)
    found = train_round(run, None, replace(CONFIG, verifier_role="kept", verdict_share=99.0), 1)
    changed = ScriptedBackend(without_the_role, "base").model(found)
    [chats] = results_of(store, "cuts").values()
    every = [chat for own in chats["chats"].values() for chat in own]
    assert every
    for chat in every:
        asked = [Message(m["role"], m["content"]) for m in chat[:-1]]
        answer = asyncio.run(changed.complete(asked, Sampling(0.0, 200)))
        assert parse_judgement(answer.text).parsed


def test_the_limit_and_the_share_are_checked():
    agent = make_agent(AgentSpec(), ScriptedBackend(actor).model(), temperature=1.0, max_tokens=20)
    for changes in ({"max_unparsed": 1.5}, {"verdict_share": -1.0}, {"verdict_share": math.inf}):
        with pytest.raises(UsageError, match="verdict_share is .* and max_unparsed "):
            replace(CONFIG, **changes).validate(EnvSpec("vault_env:Vault"), agent)


# -- Resuming ---------------------------------------------------------------------------------------------------------


def test_finished_stages_are_not_repeated(run):
    agent_r(run, CONFIG)
    before = run.store.results()
    assert set(learner_of(run).fitted) == {"agent_r@1", "agent_r@2", "agent_r@3"}
    again = vault_run(run.store)
    agent_r(again, CONFIG)
    assert (run.store.results(), learner_of(again).fitted, backend_of(again).opened) == (before, {}, [])


class Killed(BaseException):
    """Simulates a kill of the process."""


@pytest.mark.parametrize(("calls", "role"), [(7, "base"), (60, "base"), (250, "kept"), (400, "base"), (600, "kept")])
def test_a_killed_run_ends_like_an_uninterrupted_one(run, tmp_path, calls, role):
    config = replace(CONFIG, verifier_role=role)
    agent_r(run, config)
    left = [calls]

    def dies(messages, sampling):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return actor(messages, sampling)

    with RunStore.open(tmp_path / "resumed", {}) as resumed:
        killed = vault_run(resumed, dies)
        with pytest.raises(Killed):
            agent_r(killed, config)
        agent_r(killed, config)
        assert learner_of(killed).fitted == learner_of(run).fitted
        for name in ("agent_r@1", "agent_r@2", "agent_r@3"):
            stage = f"splice/{name}/train"
            assert attempts_at(resumed, stage) == attempts_at(run.store, stage)
        assert without_costs(resumed.results()) == without_costs(run.store.results())


def without_costs(results: dict[Stage, Any]) -> dict[Stage, Any]:
    """All results except wall times."""
    return {stage: result for stage, result in results.items() if stage.kind != "cost"}
