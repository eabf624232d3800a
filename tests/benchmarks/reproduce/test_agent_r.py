"""Agent-R's whole comparison, very small: what is measured on what, and that it can be continued."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from kintsugi.agents.search.search import Uct
from kintsugi.agents.verifier import VerifierConfig
from kintsugi.benchmarks.reproduce import core as shared
from kintsugi.benchmarks.reproduce.core import run_in
from kintsugi.benchmarks.reproduce.core.agent_r import BASELINES, ReproduceAgentR
from kintsugi.cli import main as cli
from kintsugi.loops.agent_r import AgentR
from kintsugi.loops.learning.learner import FitConfig
from kintsugi.loops.learning.practice import Practice
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.measuring.recovery import Recovery
from kintsugi.loops.runs.store import RunStore
from kintsugi.loops.seeds.family import SeedRecipe
from rich.console import Console

CONFIG = ReproduceAgentR(
    recipe=SeedRecipe(family="doors"),
    loop=AgentR(
        Practice(env="doors", tasks=30, temperature=1.0, replay=0.25, fit=FitConfig(epochs=1, lr=1e-4), at_once=16),
        search=Uct(candidates=2, iterations=4, max_depth=2),
        again=Uct(candidates=2, iterations=1, max_depth=2),
        verifier=VerifierConfig(prompts={"tiny/Doors": "Judge."}),
        revisions=("I try",),
        later_epochs=0.5,
    ),
    held_out=Measure(env="doors", tasks=8, temperature=0.5),
    recovery=Recovery(steps=1, most=5, temperature=1.0),
    seeds=2,
)
MODELS = ["base", *BASELINES, "agent-r 1", "agent-r 2", "agent-r 3"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, doors_seed: Path, doors_site: Path):
    """A finished comparison: its folder and what was printed."""
    folder = tmp_path_factory.mktemp("reproduce") / "run"
    console = Console(record=True, width=140, force_terminal=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(doors_site))
        patch.setattr(shared, "seed_model", lambda recipe, progress: doors_seed)
        run_in(folder, CONFIG, console)
    return folder, console.export_text()


def test_every_model_is_measured_from_the_start_and_from_the_same_bad_beginnings(made):
    folder, _ = made
    with RunStore.read(folder) as store:
        for seed in range(2):
            fresh = [store.trajectories(f"eval/seed{seed}/{name}/valid_unseen") for name in MODELS]
            begun = [store.trajectories(f"eval/seed{seed}/{name}/recovery") for name in MODELS]
            assert all([t.task for t in each] == [t.task for t in fresh[0]] for each in fresh)
            assert len(fresh[0]) == 8
            firsts = [[t.steps[0].text for t in each] for each in begun]
            assert firsts == [firsts[0]] * len(MODELS)
            assert [t.parents for t in begun[0]] == [t.parents for t in begun[-1]]


def test_trees_of_the_first_round_are_grown_once(made):
    folder, _ = made
    with RunStore.read(folder) as store:
        stages = [stage for stage in store.tree_stages() if "again" not in stage]
        for seed in range(2):
            own = [stage for stage in stages if f"seed{seed}" in stage]
            assert own == [f"search/seed{seed}/{who}" for who in ("base@1", "agent_r@2", "agent_r@3")]
            assert all(len(store.trees(stage)) == 30 for stage in own)


def test_tables_say_what_was_compared(made):
    _, said = made
    for expected in (
        "valid_unseen",
        "recovery",
        "Success, paired",
        "Recovery, paired",
        "From bad beginnings",
        "Trees and splices",
        "agent-r 3",
        "direct-revision",
        "agent_r/seed1 @3",
        "report/index.html",
    ):
        assert expected in said


def test_the_report_shows_the_trees(made):
    folder, _ = made
    assert (folder / "report/trees.html").exists()
    assert 'href="trees.html"' in (folder / "report/index.html").read_text()


def test_what_was_done_is_not_done_again(made, doors_seed, doors_world, monkeypatch):
    folder, said = made
    monkeypatch.setattr(shared, "seed_model", lambda recipe, progress: doors_seed)
    monkeypatch.setattr("kintsugi.loops.learning.practice.fit", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr("kintsugi.agents.rollout.play", lambda *_: pytest.fail("played again"))
    console = Console(record=True, width=140, force_terminal=False)
    run_in(folder, CONFIG, console)
    again = console.export_text()
    tables = [[line for line in text.splitlines() if "%" in line or "TaskSet" in line] for text in (said, again)]
    assert tables[0] == tables[1]


def test_another_configuration_or_bad_tasks_are_refused(made, doors_world, tmp_path, capsys):
    flags = ("--loop.practice.env", "dors", "--run", str(tmp_path / "run"))
    assert cli.main(["reproduce", "agent-r", *flags]) == 2
    assert "unknown environment 'dors'; did you mean 'doors'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(Exception, match=r"loop\.beta: 0\.2 -> 0\.3"):
        run_in(made[0], replace(CONFIG, loop=replace(CONFIG.loop, beta=0.3)), Console(quiet=True))
