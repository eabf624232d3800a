"""`kintsugi improve`: run one loop on a model, and measure the model before and after on held-out tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..agents.models.local import base_hash
from ..agents.trajectory import Trajectory
from ..envs.registry import find
from ..loops.agent_r import AgentR
from ..loops.evaluation import Score, compare
from ..loops.re_rest import ReReST
from ..loops.rest_mcts import ReSTMCTS
from ..loops.search import Tally
from ..loops.seeds.recipe import demonstrations_of
from ..loops.self_training import SelfTraining
from ..loops.store import RunStore
from .measure import Measure, measure, where_time_went
from .progress import bar
from .recovery import (
    TASKS,
    Recovery,
    bad_beginnings,
    behaviour_table,
    behaviours,
    measure_recovery,
    rounds_table,
)
from .seed import model_folder
from .tables import comparison_table, score_table


@dataclass(frozen=True)
class _Improve:
    """What every loop's command has."""

    env: str | None = None
    """The world to practise in and to be measured in, in place of `loop.practice.env` and `held_out.env`."""
    model: str = "seed"
    """A Hugging Face model folder, or `seed` for the environment's seed policy."""
    run: Path = Path("runs/improve")
    """The run's folder; the same command again continues it."""
    pictures: bool = False
    """Whether what the environment shows is photographed at each step, for `kintsugi report`."""
    held_out: Measure = field(default_factory=Measure)
    """What the model is measured on before and after."""


@dataclass(frozen=True)
class ImproveSelfTraining(_Improve):
    """Self-training (ReST-EM)."""

    loop: SelfTraining = field(default_factory=SelfTraining)


@dataclass(frozen=True)
class ImproveReReST(_Improve):
    """Reflection-Reinforced Self-Training (Re-ReST)."""

    loop: ReReST = field(default_factory=ReReST)


@dataclass(frozen=True)
class ImproveAgentR(_Improve):
    """Agent-R: errors that are taken back as soon as they can be seen."""

    loop: AgentR = field(default_factory=AgentR)
    recovery: Recovery = field(default_factory=Recovery)
    """Bad beginnings, made by the base at the held-out tasks, that both models have to recover from."""


@dataclass(frozen=True)
class ImproveReSTMCTS(_Improve):
    """Self-training by value-guided tree search (ReST-MCTS*)."""

    loop: ReSTMCTS = field(default_factory=ReSTMCTS)


def self_training(config: ImproveSelfTraining, console: Console) -> None:
    """The command `kintsugi improve self-training`."""
    from ..loops.self_training import self_training as loop

    _improve("self-training", config, loop, console)


def re_rest(config: ImproveReReST, console: Console) -> None:
    """The command `kintsugi improve re-rest`."""
    from ..loops.re_rest import re_rest as loop

    _improve("re-rest", config, loop, console)


def agent_r(config: ImproveAgentR, console: Console) -> None:
    """The command `kintsugi improve agent-r`."""
    from ..loops.agent_r import agent_r as loop

    _improve("agent-r", config, loop, console, config.recovery)


def rest_mcts(config: ImproveReSTMCTS, console: Console) -> None:
    """The command `kintsugi improve rest-mcts`."""
    from ..loops.rest_mcts import rest_mcts as loop

    _improve("rest-mcts", config, loop, console)


def in_world(config: Any) -> Any:
    """The configuration of a loop's command with `env` put where it belongs, and the usual numbers, which the run is
    about, put in."""
    practice, held_out = config.loop.practice, config.held_out
    if config.env is not None:
        practice, held_out = replace(practice, env=config.env), replace(held_out, env=config.env)
    practice = replace(practice, tasks=practice.number, fit=replace(practice.fit, epochs=practice.epochs))
    return replace(config, env=None, loop=replace(config.loop, practice=practice), held_out=held_out)


def _improve(
    name: str, config: Any, loop: Callable[..., Path | None], console: Console, recovery: Recovery | None = None
) -> None:
    config = in_world(config)
    # What is wrong with the tasks is said before a run is begun that could only be begun anew.
    config.loop.practice.task_set()
    config.held_out.task_sets()
    model = config.model if config.model != "seed" else f"seed:{find(config.loop.practice.env).name}"
    base = Path(model_folder(model, console))
    settings = {
        "command": f"improve {name}",
        "model": f"{base.name}:{base_hash(base)}",
        "loop": asdict(config.loop),
        "held_out": asdict(config.held_out),
        **({"recovery": asdict(recovery)} if recovery else {}),
    }
    with RunStore.open(config.run, settings) as store:
        store.illustrated = config.pictures
        with bar(console) as store.watch:
            begun = bad_beginnings(store, base, config.held_out, recovery) if recovery else []

            def measured(who: str, adapter: Path | None) -> dict[str, list[Trajectory]]:
                found = measure(store, who, base, adapter, config.held_out)
                if recovery:
                    found[TASKS] = measure_recovery(store, who, base, adapter, config.held_out, recovery, begun)
                return found

            before = measured("base", None)
            adapter = loop(store, base, demonstrations_of(base), config.loop)
            after = measured(name, adapter) if adapter else {}
        for stage, cost in store.results().items():
            if stage.startswith("cost/"):
                console.print(f"{stage.removeprefix('cost/')}: {Tally(**cost)}", soft_wrap=True, highlight=False)
        if adapter is None:
            console.print("no round was adopted: the gate found none that helped")
            return
        results = store.results()
    scores = [Score.from_json(results[f"score/{who}/{tasks}"]) for tasks in before for who in ("base", name)]
    console.print(score_table(scores))
    console.print(comparison_table([compare(before[t], after[t], names=("base", name)) for t in before]))
    if recovery:
        both, said = {"base": before, name: after}, config.loop.revisions
        console.print(behaviour_table(behaviours(both, config.held_out.splits, said), "From the start"))
        console.print(behaviour_table(behaviours(both, (TASKS,), said), "From bad beginnings"))
        console.print(rounds_table(results))
    console.print(where_time_went(results), highlight=False)
    console.print(f"adapter: {adapter}", soft_wrap=True, highlight=False)
