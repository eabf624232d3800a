"""Attempts as JSONL for other people's trainers: OpenAI-style `messages`, and `prompt` / `chosen` / `rejected`.

Both load with `datasets.load_dataset("json", data_files=...)` and train with TRL as they are. Columns are the same in
every line and never null, so that Arrow infers one type for each. What was said goes out as text: only Kintsugi's own
learner trains on the tokens as they were sampled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from ..agents.core import Agent
from ..agents.models.core import Message
from ..agents.registry import reader
from ..agents.trajectory import Outcome, Trajectory
from ..envs.registry import EnvSpec
from ..errors import UsageError, unknown
from ..loops.measuring.evaluation import task_type
from ..loops.runs.stages import Stage, split_key
from ..loops.runs.store import RunStore

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportConfig:
    """What is exported from a run, and where to."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The JSONL file."""
    kind: Literal["messages", "preference"] = "messages"
    """`messages`: one chat of one attempt a line. `preference`: one failed attempt and its mend a line."""
    stages: tuple[str, ...] = ()
    """Stages of the run to take, e.g. `collect/policy@1/train`. Without any: all but those of kind `eval`, `gate` and
    `beginnings`, whose tasks are held out."""
    outcomes: tuple[Outcome, ...] = ("success",)
    """Of `messages`: attempts that ended so."""
    turns: Literal["first", "all"] = "first"
    """Of `preference`: the first turn in which the two differ, or everything from there on. The latter holds
    observations too, and common trainers count a loss on them."""
    overwrite: bool = False
    """Replace the file if there is one."""


def export(config: ExportConfig) -> int:
    """Write the file and return its number of lines; it appears whole or not at all.

    Raises `UsageError` for an unknown stage, an existing file, a disk that is full, and when nothing fits.
    """
    if config.out.exists() and not config.overwrite:
        raise UsageError(f"{config.out} exists already; name a new file, or pass --overwrite to replace it")
    unfinished = config.out.with_name(f".{config.out.name}.unfinished")
    try:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        with RunStore.read(config.run) as store, unfinished.open("w", encoding="ascii") as file:
            stages = _stages(store, config)
            if "env" in store.config:
                # What an environment says of its observations is part of chats, also of one that is not registered.
                EnvSpec(store.config["env"]).check()
            work = _messages if config.kind == "messages" else _pairs
            rows = work(store, stages, config)
            lines = 0
            for row in rows:
                # ASCII alone: many a reader splits lines at U+2028 and its like, which models do say.
                file.write(json.dumps(row, allow_nan=False) + "\n")
                lines += 1
            file.flush()
            os.fsync(file.fileno())
        if not lines:
            searched = ", ".join(map(str, stages)) or "a run without attempts"
            raise UsageError(f"{config.run}: nothing to export from {searched}; {_remedy(config)}")
        unfinished.replace(config.out)
    except OSError as error:
        raise UsageError(f"{config.out}: {error}; nothing was written. Mend the cause or name another file") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return lines


def run(config: ExportConfig, console: Console) -> None:
    """The command `kintsugi export`."""
    with console.status(f"reading {escape(str(config.run))}"):
        lines = export(config)
    console.print(f"{lines} lines in {config.out}", soft_wrap=True, markup=False, highlight=False)


def message_row(stage: Stage, trajectory: Trajectory, chat: Sequence[Message]) -> Row:
    """One chat of an attempt. `trainable` says of each message whether a loss belongs on it."""
    return {
        "messages": [{"role": m.role, "content": m.content} for m in chat],
        "trainable": [m.role == "assistant" and m.trainable for m in chat],
        "task_id": trajectory.task.id,
        "env_id": trajectory.task.env_id,
        "split": trajectory.task.split,
        "type": task_type(trajectory.task),
        "outcome": trajectory.outcome,
        "score": float(trajectory.score),
        "stage": str(stage),
        "source": trajectory.source,
        "model": trajectory.model,
        "agent": trajectory.agent,
        "sample": trajectory.sample,
        "mends": trajectory.parents[0] if trajectory.parents else "",
    }


def preference_row(failed: Trajectory, mended: Trajectory, turns: Literal["first", "all"]) -> Row | None:
    """The chat up to where the two part, and what each then said; None unless they part in an assistant's turn.

    Both are shown as the agent of the mended one sees them.
    """
    agent = reader(mended.made_by)
    chats = [agent.chats(t) for t in (failed, mended)]
    if [len(each) for each in chats] != [1, 1]:
        # Agents that ask the model several times a turn have no one chat in which two attempts part.
        return None
    worse, better = [[{"role": m.role, "content": m.content} for m in chat] for (chat,) in chats]
    parting = next((i for i, (a, b) in enumerate(zip(worse, better, strict=False)) if a != b), None)
    if parting is None or worse[parting]["role"] != "assistant" or better[parting]["role"] != "assistant":
        return None
    end = parting + 1 if turns == "first" else None
    return {
        "prompt": better[:parting],
        "chosen": better[parting:end],
        "rejected": worse[parting:end],
        "task_id": mended.task.id,
        "type": task_type(mended.task),
        "outcome_rejected": failed.outcome,
        "model_chosen": mended.model,
        "model_rejected": failed.model,
    }


def _stages(store: RunStore, config: ExportConfig) -> list[Stage]:
    known = {str(stage): stage for stage in store.trajectory_stages()}
    for stage in config.stages:
        if stage not in known:
            raise unknown("stage", stage, known)
    return [known[stage] for stage in config.stages] or [stage for stage in known.values() if not stage.held_out]


def _messages(store: RunStore, stages: Sequence[Stage], config: ExportConfig) -> Iterator[Row]:
    readers: dict[str, Agent] = {}
    for stage in stages:
        for trajectory in store.trajectories(stage):
            # Whoever cannot be made again, such as a rule, has no chats to show.
            rule = trajectory.agent and trajectory.made_by is None
            if trajectory.outcome in config.outcomes and trajectory.steps and not rule:
                if trajectory.agent not in readers:
                    readers[trajectory.agent] = reader(trajectory.made_by)
                for chat in readers[trajectory.agent].chats(trajectory):
                    yield message_row(stage, trajectory, chat)


def _pairs(store: RunStore, stages: Sequence[Stage], config: ExportConfig) -> Iterator[Row]:
    failed: dict[Stage, dict[str, Trajectory]] = {}
    for stage in stages:
        for mended in store.trajectories(stage):
            for key in mended.parents if mended.success else ():
                place, name = split_key(key)
                if place not in failed:
                    failed[place] = {t.key: t for t in store.trajectories(place) if not t.success}
                worse = failed[place].get(name)
                if worse is None or worse.outcome == "infra_error":
                    continue
                if row := preference_row(worse, mended, config.turns):
                    yield row


def _remedy(config: ExportConfig) -> str:
    if config.kind == "preference":
        return "a pair needs a mend that passed and the failed attempt that it names as its parent"
    return f"no attempt ended as {' or '.join(config.outcomes)}; widen --outcomes or name other --stages"
