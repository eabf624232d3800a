"""Agent-R's comparison at a very small size: evaluations, training data and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import refused
from comparisons import AGENT_R, Seeds, without_the_role
from fakes import attempts_at
from kintsugi.agents.verifier import VerifierConfig
from kintsugi.benchmarks.reproduce.agent_r import BASELINES, ReproduceAgentR
from kintsugi.benchmarks.reproduce.core import run_in
from kintsugi.errors import UsageError
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.runs.store import RunStore
from rich.console import Console

CONFIG = AGENT_R
MODELS = ["base", *BASELINES, "agent-r 1", "agent-r 2", "agent-r 3"]


def printed(folder: Path, config: ReproduceAgentR, seeds: Seeds, width: int = 140) -> str:
    console = Console(record=True, width=width, force_terminal=False)
    run_in(folder, config, console, seeds)
    return console.export_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A finished comparison: its folder, the printed text and the stand-ins of the seed policies."""
    folder, seeds = tmp_path_factory.mktemp("reproduce") / "run", Seeds()
    return folder, printed(folder, CONFIG, seeds), seeds


def test_every_model_is_measured_from_the_start_and_from_the_same_bad_beginnings(made):
    folder, _, _ = made
    with RunStore.read(folder) as store:
        for seed in range(2):
            fresh = [attempts_at(store, f"eval/seed{seed}/{name}/valid_unseen") for name in MODELS]
            begun = [attempts_at(store, f"eval/seed{seed}/{name}/recovery") for name in MODELS]
            assert all([t.task for t in each] == [t.task for t in fresh[0]] for each in fresh)
            assert len(fresh[0]) == 8
            firsts = [[t.steps[0].text for t in each] for each in begun]
            assert firsts == [firsts[0]] * len(MODELS)
            assert [t.parents for t in begun[0]] == [t.parents for t in begun[-1]]
            assert all(t.parents[0].startswith(f"beginnings/seed{seed}/base/") for t in begun[0])


def test_trees_of_the_first_round_are_searched_once(made):
    folder, _, _ = made
    with RunStore.read(folder) as store:
        stages = [stage for stage in store.tree_stages() if stage.tasks == "train"]
        for seed in range(2):
            own = [stage for stage in stages if stage.scope == f"seed{seed}"]
            assert [str(stage) for stage in own] == [
                f"search/seed{seed}/{who}/train" for who in ("base@1", "agent_r@2", "agent_r@3")
            ]
            assert all(len(store.tree_log(stage).tree_keys()) == 30 for stage in own)


def test_baselines_have_different_training_data(made):
    _, _, seeds = made
    for seed in range(2):
        learnt = {name: seeds.trained[f"{seed}/{name}@1"] for name in (*BASELINES, "agent_r")}
        spliced = {
            name: sum(any(not m.trainable for m in e.messages if m.role == "assistant") for e in examples)
            for name, examples in learnt.items()
        }
        assert spliced["good-only"] == 0
        # Whole bad paths use up all turns, so no splice of them is verified.
        assert spliced["direct-revision"] == 0
        assert spliced["unchecked"] > spliced["agent_r"] > 0
        assert {f"{seed}/agent_r@{number}" for number in (1, 2, 3)} <= seeds.trained.keys()


def test_tables_name_the_comparisons(made):
    _, output, _ = made
    for expected in (
        "valid_unseen",
        "recovery",
        "Success, paired",
        "Recovery, paired",
        "From bad beginnings",
        "Trees and splices",
        "agent-r 3",
        "direct-revision",
        "seed1 agent_r@3",
        "report/index.html",
    ):
        assert expected in output
    assert "gate verdicts" not in output


def test_the_report_shows_the_trees(made):
    folder, _, _ = made
    assert (folder / "report/trees.html").exists()
    assert 'href="trees.html"' in (folder / "report/index.html").read_text()


def test_finished_work_is_not_repeated(made):
    folder, output, first = made
    assert len(first.trained) == 2 * (len(MODELS) - 1)
    assert {"base", "agent_r@1", "agent_r@2", "agent_r@3", *(f"{name}@1" for name in BASELINES)} == set(first.asked)
    again = Seeds()
    tables = [
        [line for line in text.splitlines() if "%" in line or "TaskSet" in line]
        for text in (output, printed(folder, CONFIG, again))
    ]
    assert tables[0] == tables[1]
    assert (len(again.runs), again.trained, again.asked) == (2, {}, [])


def test_verdicts_are_printed_where_rounds_are_gated(tmp_path):
    """A rejected round is evaluated as well, and the next round does not continue from it."""
    loop, seeds = replace(CONFIG.loop, gate=Gate(tasks=6, split="valid_seen")), Seeds()
    output = printed(tmp_path / "run", replace(CONFIG, loop=loop, seeds=1, baselines=False), seeds)
    assert "Rounds and gate verdicts" in output
    verdicts = [line.split() for line in output.splitlines() if line.strip().startswith("seed0 agent_r@")]
    lines = [" ".join(line) for line in verdicts if "adopted" in line]
    assert [line.split()[1] for line in lines] == ["agent_r@1", "agent_r@2", "agent_r@3"]
    for name in ("agent-r 1", "agent-r 2", "agent-r 3"):
        assert name in output
    with RunStore.read(tmp_path / "run") as store:
        results = {str(stage): found for stage, found in store.results().items()}
        adopted = [n for n in range(1, 4) if results[f"verdict/seed0/agent_r@{n}/valid_seen"]["adopted"]]
        last = max(adopted, default=None)
        assert results["counts/seed0/agent_r/-"] == {"adopted": f"agent_r@{last}" if last else "base"}
        for tasks in ("valid_unseen", "recovery"):
            # The adopted model is not measured again.
            raw = results[f"score/seed0/{f'agent-r {last}' if last else 'base'}/{tasks}"]
            assert results[f"score/seed0/agent-r gated/{tasks}"] == {**raw, "name": "agent-r gated"}
            assert attempts_at(store, f"eval/seed0/agent-r gated/{tasks}") == []
        assert results["comparison/agent-r gated - base/Success, paired"]["n"] == 8
        for n in (2, 3):
            tree = f"{'agent_r' if any(i < n for i in adopted) else 'base'}@{n}"
            assert f"search/seed0/{tree}/train" in map(str, store.tree_stages())


def test_a_round_without_verdicts_is_missing_and_the_other_models_are_compared(tmp_path):
    config = replace(CONFIG, loop=replace(CONFIG.loop, verifier_role="paper"), baselines=False)

    def forgetful() -> Seeds:
        return Seeds(adapters={"agent_r": without_the_role}, forgetful=[1])

    output = printed(tmp_path / "run", config, forgetful(), width=500)
    [said] = [line for line in output.splitlines() if line.startswith("seed1 agent_r@2 stopped and is not trained: ")]
    assert "verdicts of agent_r@1 (100.0 %) do not parse" in said
    assert "no agent-r 2, agent-r 3: agent_r@2 stopped" in output
    with RunStore.read(tmp_path / "run") as store:
        results = {str(stage): found for stage, found in store.results().items()}
        for seed, names in ((0, MODELS[-3:]), (1, ["agent-r 1"])):
            scored = [name for name in MODELS[-3:] if f"score/seed{seed}/{name}/recovery" in results]
            assert scored == names
        assert results["counts/seed1/agent_r@2/train"]["splices"] == 0
        found = {pair: results[f"comparison/{pair}/Success, paired"]["n"] for pair in ("agent-r 1 - base",)}
        assert found == {"agent-r 1 - base": 16}
        # The seed without round 3 is in neither side.
        both = [attempts_at(store, f"eval/seed0/{name}/valid_unseen") for name in ("base", "agent-r 3")]
        difference = sum(t.success for t in both[1]) - sum(t.success for t in both[0])
        compared = results["comparison/agent-r 3 - base/Success, paired"]
        assert (compared["n"], compared["difference"]) == (8, pytest.approx(difference / 8))
    again = forgetful()
    tables = [
        [line for line in text.splitlines() if "TaskSet" in line or ("%" in line and "no agent-r" not in line)]
        for text in (output, printed(tmp_path / "run", config, again, width=500))
    ]
    assert tables[0] == tables[1]
    assert (again.trained, again.asked) == ({}, [])


def test_a_base_model_that_is_no_verifier_leaves_the_models_that_need_none(tmp_path):
    loop = replace(CONFIG.loop, verifier=VerifierConfig(prompt="Say."), gate=Gate(tasks=6, split="valid_seen"))
    output = printed(tmp_path / "run", replace(CONFIG, loop=loop, seeds=1), Seeds(), width=500)
    assert "no unchecked: unchecked@1 stopped" in output
    assert "no agent-r 1, agent-r 2, agent-r 3: agent_r@1 stopped" in output
    with RunStore.read(tmp_path / "run") as store:
        scored = [stage.model for stage in store.results() if (stage.kind, stage.tasks) == ("score", "recovery")]
        assert scored == ["base", "good-only", "direct-revision", "agent-r gated"]
        assert {str(s): r for s, r in store.results().items()}["counts/seed0/agent_r/-"] == {"adopted": "base"}


def test_another_configuration_or_bad_tasks_are_refused(made, tmp_path, capsys):
    wrong = refused(capsys, "reproduce", "agent-r", "--env", "hosehold", "--run", tmp_path / "run")
    assert "unknown environment 'hosehold'; did you mean 'household'?" in wrong
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match=r"loop\.beta: 0\.2 -> 0\.3"):
        printed(made[0], replace(CONFIG, loop=replace(CONFIG.loop, beta=0.3)), Seeds())
