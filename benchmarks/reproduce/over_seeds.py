"""A comparison over many seeds: one run and one small JSON file per seed, and tables from these files.

`python -m kintsugi.benchmarks.reproduce.over_seeds STUDY --seeds 0-19`. Each seed trains its own seed policy and all
models of the comparison from it. All models are measured on the same held-out tasks. A finished seed is not played
again, and an unfinished one is resumed. The tables are built from the files alone.

The same seed gives other networks on another machine, because its kernels round differently. `--setting` stands for
other machines: it changes the number of threads or the instruction set of torch's kernels. Its results are kept beside
those of the study, and a table compares them seed by seed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ...agents.trajectory import Trajectory
from ...arguments import to_plain
from ...envs.core import TaskSet
from ...loops.agent_r import AgentR
from ...loops.measuring.measure import Measure
from ...loops.re_rest import ReReST
from ...loops.run import resolved
from ...loops.runs.store import RunStore
from ...loops.seeds.recipe import default_cache
from ...loops.seeds.registry import recipe_of
from ..progress import bar, elapsed_time_printer
from ..scripts import run
from .agent_r import ReproduceAgentR
from .core import UNGATED, Attempts, Lab, Reproduction, Say, SeedRun, seed_run
from .demo import Demo
from .re_rest import AGAIN, ReproduceReReST
from .rest_mcts import ReproduceReSTMCTS
from .seed_results import SeedResult, read_results, result_file, write_result
from .seed_tables import render_tables
from .spread_tables import render_settings, render_variance

STUDIES: dict[str, Callable[[], Reproduction]] = {
    "demo": lambda: Demo(models=("base", "demonstrations", "self-training", "re-rest")),
    "demo-again": lambda: Demo(models=("base", "re-rest", *AGAIN)),
    "code-re-rest": lambda: ReproduceReReST(
        recipe=recipe_of("code"),
        env="code",
        loop=ReReST(gate=UNGATED),
        held_out=Measure(splits=("valid", "valid_unseen"), tasks=400),
        models=("base", "demonstrations", "re-rest"),
    ),
    "re-rest": ReproduceReReST,
    "agent-r": ReproduceAgentR,
    "agent-r-kept": lambda: ReproduceAgentR(loop=AgentR(verifier_role="kept"), baselines=False),
    "agent-r-paper": lambda: ReproduceAgentR(loop=AgentR(verifier_role="paper"), baselines=False),
    "rest-mcts": ReproduceReSTMCTS,
}
"""The comparison of each study, by its name."""


SETTINGS: dict[str, dict[str, str]] = {
    "threads-1": {"OMP_NUM_THREADS": "1"},
    "threads-2": {"OMP_NUM_THREADS": "2"},
    "default-kernels": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
}
"""Environment variables of each setting; the first is that of the study. `default` kernels have no vector instructions
of newer processors."""


def play_seed(store: RunStore, config: Reproduction, seed: int, make: SeedRun, say: Say) -> SeedResult:
    """Train and measure all models of one seed, or resume this.

    Args:
        store: Store of this seed alone.
        config: The comparison, with resolved settings.
        seed: Number of the seed.
        make: Trains the seed policy and makes its run.
        say: Is passed one line per step.
    """
    is_new, started, cpu = not store.results(), time.monotonic(), _cpu_seconds()
    say(f"seed {seed}: the seed policy")
    lab = Lab(make(config.recipe.with_seed_offset(seed), store), seed, config.held_out, say)
    try:
        config.one_seed(lab)
    finally:
        # Its processes are ended, so that their CPU time is counted.
        lab.run.player.close()
    first = next(iter(lab.attempts.values()))
    results = {name: lab.training(name) for name in lab.attempts}
    return SeedResult(
        seed=seed,
        task_sets={name: TaskSet({t.task for t in found}).hash for name, found in first.items()},
        outcomes=outcomes_of(lab.attempts),
        tasks={name: _task_ids(found) for name, found in first.items() if name not in config.held_out.splits},
        missing=lab.missing,
        examples={name: found["examples"] for name, found in results.items() if "examples" in found},
        updates={name: found["steps"] for name, found in results.items() if "steps" in found},
        counts={str(stage): value for stage, value in store.results().items() if stage.kind == "counts"},
        seconds=round(time.monotonic() - started, 1) if is_new else None,
        cpu_seconds=round(_cpu_seconds() - cpu, 1) if is_new else None,
        machine=_machine(),
    )


def outcomes_of(attempts: Attempts) -> dict[str, dict[str, str]]:
    """Return one character per task, by model and task set, in the order of the task ids; see `SeedResult.outcomes`."""
    marks = {"success": "1", "infra_error": "-"}
    return {
        model: {name: "".join(marks.get(t.outcome, "0") for t in _in_order(found)) for name, found in sets.items()}
        for model, sets in attempts.items()
    }


def _in_order(attempts: Sequence[Trajectory]) -> list[Trajectory]:
    return sorted(attempts, key=lambda t: t.key)


def _task_ids(attempts: Sequence[Trajectory]) -> list[str]:
    return [t.task.id for t in _in_order(attempts)]


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _machine() -> dict[str, Any]:
    import torch

    return {"threads": torch.get_num_threads(), "kernels": torch.backends.cpu.get_cpu_capability()}


# -- command line -----------------------------------------------------------------------------------------------------


def play(
    name: str,
    config: Reproduction,
    seeds: Sequence[int],
    runs: Path,
    folder: Path,
    console: Console,
    make: SeedRun | None = None,
) -> None:
    """Play or resume the seeds that have no result yet, and write their results.

    Args:
        name: Name of the study.
        config: The comparison.
        seeds: Numbers of the seeds.
        runs: Folder of the runs, one per seed.
        folder: Folder of the results.
        console: Where progress is printed.
        make: Trains seed policies and makes their runs; in this process when None.
    """
    config.check()
    env, say = config.env_spec, elapsed_time_printer(console)
    config = replace(config, held_out=resolved(config.held_out, env))
    read_results(folder)  # A damaged file is reported before hours of work.
    for seed in seeds:
        if result_file(folder, seed).exists():
            say(f"seed {seed} is finished")
            continue
        record: Mapping[str, Any] = {"command": f"over-seeds {name}", "seed": seed, **to_plain(config)}
        with RunStore.open(runs / f"seed-{seed}", record) as store, bar(console) as store.on_status:
            result = play_seed(store, config, seed, make or seed_run(env, store.on_status, config.parts), say)
        write_result(folder, result)
        say(f"seed {seed}: written to {result_file(folder, seed)}")


def seed_numbers(text: str) -> list[int]:
    """Return the seeds that a text such as `0-4,7` names. Raises `ValueError` for other texts."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def environment_of(setting: str) -> dict[str, str]:
    """Return the environment variables of a process in a setting.

    Seed policies of one setting are not those of another one, so each has its own cache.
    """
    return {
        **os.environ,
        **SETTINGS[setting],
        "KINTSUGI_CACHE": str(default_cache() / setting),
        "KINTSUGI_SETTING": setting,
    }


def results_folder(root: Path, study: str, setting: str) -> Path:
    """Return the folder of the results of a study; those of the first setting have the name of the study alone."""
    return root / (study if setting == next(iter(SETTINGS)) else f"{study}-{setting}")


def all_tables(root: Path, study: str, config: Reproduction) -> str:
    """Return the tables of a study: one per task set, and what makes its results vary as far as it was measured."""
    settings = {name: read_results(results_folder(root, study, name)) for name in SETTINGS}
    settings = {name: found for name, found in settings.items() if found}
    tables = [f"{name}:\n\n{render_tables(found, config.pairs)}" for name, found in settings.items()]
    pair = ("base", "re-rest")
    for name in dict.fromkeys(name for found in settings.values() for name in found[0].task_sets):
        if len(settings) > 1:
            tables.append(render_settings(settings, pair, name))
        again = [found for found in settings.values() if len(found) > 1 and {*AGAIN} <= {*found[0].outcomes}]
        tables += [render_variance(found, pair, name) for found in again]
    return "\n\n".join(tables)


def main() -> None:
    """Play the seeds named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--seeds", type=seed_numbers, default=[0, 1, 2], help="such as 0-4,7; empty: print the tables")
    parser.add_argument("--setting", choices=list(SETTINGS), default=next(iter(SETTINGS)), help="%(default)s")
    parser.add_argument("--run", type=Path, help="folder of the runs (runs/STUDY)")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder of all results")
    given = parser.parse_args()
    if given.seeds and os.environ.get("KINTSUGI_SETTING") != given.setting:
        # Libraries read these variables when they are loaded, which has happened.
        command = [sys.executable, "-m", f"{__package__}.over_seeds", *sys.argv[1:]]
        os.execve(sys.executable, command, environment_of(given.setting))
    results = results_folder(given.results, given.study, given.setting)
    config = STUDIES[given.study]()
    play(given.study, config, given.seeds, given.run or Path("runs") / results.name, results, Console())
    Console().print(all_tables(given.results, given.study, config), soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    run(main)
