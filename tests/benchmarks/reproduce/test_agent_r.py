"""Agent-R's comparison at a very small size: evaluations, training data and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import refused
from comparisons import JUDGE, Seeds
from fakes import attempts_at
from kintsugi.agents.search import Uct
from kintsugi.agents.verifier import VerifierConfig
from kintsugi.benchmarks.reproduce.agent_r import BASELINES, ReproduceAgentR
from kintsugi.benchmarks.reproduce.core import run_in
from kintsugi.errors import UsageError
from kintsugi.loops.agent_r import AgentR
from kintsugi.loops.learning.core import FitConfig
from kintsugi.loops.learning.training_data import TrainingData
from kintsugi.loops.measuring.gate import Gate
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.measuring.recovery import Recovery
from kintsugi.loops.run import Attempts, Practice
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe
from rich.console import Console

CONFIG = ReproduceAgentR(
    recipe=SeedRecipe(family="doors"),
    env="door_env:Doors",
    loop=AgentR(
        Practice(tasks=30),
        Attempts(temperature=1.0, at_once=16),
        FitConfig(epochs=1.0, lr=1e-4),
        Gate("off"),
        data=TrainingData(replay=0.25),
        search=Uct(candidates=2, iterations=4, max_depth=2),
        continue_search=Uct(candidates=2, iterations=1, max_depth=2),
        verifier=VerifierConfig(prompt=JUDGE),
        revisions=("I try",),
        later_epochs=0.5,
        recovery=Recovery(steps=1, max_beginnings=5, temperature=1.0),
    ),
    held_out=Measure(tasks=8, temperature=0.5),
    seeds=2,
)
MODELS = ["base", *BASELINES, "agent-r 1", "agent-r 2", "agent-r 3"]


def printed(folder: Path, config: ReproduceAgentR, seeds: Seeds) -> str:
    console = Console(record=True, width=140, force_terminal=False)
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


def test_another_configuration_or_bad_tasks_are_refused(made, tmp_path, capsys):
    wrong = refused(capsys, "reproduce", "agent-r", "--env", "hosehold", "--run", tmp_path / "run")
    assert "unknown environment 'hosehold'; did you mean 'household'?" in wrong
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match=r"loop\.beta: 0\.2 -> 0\.3"):
        printed(made[0], replace(CONFIG, loop=replace(CONFIG.loop, beta=0.3)), Seeds())
