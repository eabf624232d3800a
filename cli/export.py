"""`kintsugi export`: write attempts as JSONL for other trainers: OpenAI-style `messages`, or `chosen` and `rejected`.

`datasets.load_dataset("json", data_files=...)` loads both formats, and TRL trains on them without conversion. All lines
have the same columns and no nulls, so that Arrow infers one type per column. Turns are exported as text; only
Kintsugi's own learner trains on the sampled tokens. With `--turns all`, common trainers also compute a loss on the
observations.
"""

from __future__ import annotations

import contextlib
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
from ..agents.registry import make_reader
from ..agents.trajectory import Outcome, Trajectory
from ..envs.registry import EnvSpec
from ..errors import UsageError, unknown
from ..loops.measuring.evaluation import task_type
from ..loops.runs.stages import Stage, split_key
from ..loops.runs.store import RunStore

Row = dict[str, Any]


@dataclass(frozen=True)
class ExportConfig:
    """Settings of `kintsugi export`."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """JSONL file to write."""
    kind: Literal["messages", "preference"] = "messages"
    """Content of each line: `messages` for the chat of an attempt, `preference` for a failed attempt and its mend."""
    stages: tuple[str, ...] = ()
    """Stages to export, e.g. `collect/policy@1/train`, or kinds of stages, e.g. `eval`; by default all except `eval`,
    `gate` and `beginnings`, whose tasks are held out."""
    outcomes: tuple[Outcome, ...] = ("success",)
    """For `messages`: outcomes of the attempts to export."""
    turns: Literal["first", "all"] = "first"
    """For `preference`: export only the first turn that differs (`first`), or all messages from there on (`all`)."""
    overwrite: bool = False
    """Replace an existing file."""


def export(config: ExportConfig) -> int:
    """Write the file and return its number of lines. The file is written completely or not at all.

    Raises:
        UsageError: A stage is unknown, the file exists or cannot be written, or no attempt matches.
    """
    unfinished = config.out.with_name(f".{config.out.name}.unfinished")
    try:
        if config.out.exists() and not config.overwrite:
            raise UsageError(f"{config.out} already exists; choose another file, or pass --overwrite to replace it")
        config.out.parent.mkdir(parents=True, exist_ok=True)
        with RunStore.read(config.run) as store, unfinished.open("w", encoding="ascii") as file:
            stages = _stages(store, config)
            if "env" in store.config:
                # Import the environment, because its class defines how observations are condensed in chats.
                EnvSpec(store.config["env"]).check()
            make_rows = _messages if config.kind == "messages" else _pairs
            rows = make_rows(store, stages, config)
            lines = 0
            for row in rows:
                # ASCII only, because many readers split lines at characters such as U+2028, which models do write.
                file.write(json.dumps(row, allow_nan=False) + "\n")
                lines += 1
            file.flush()
            os.fsync(file.fileno())
        if not lines:
            searched = ", ".join(map(str, stages))
            raise UsageError(f"{config.run}: there is nothing to export from {searched}; {_remedy(config)}")
        unfinished.replace(config.out)
    except OSError as error:
        raise UsageError(f"{config.out}: {error}; nothing was written; fix the cause or choose another file") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return lines


def run(config: ExportConfig, console: Console) -> None:
    """Run `kintsugi export`."""
    with console.status(f"reading {escape(str(config.run))}"):
        lines = export(config)
    console.print(f"{lines} lines in {config.out}", soft_wrap=True, markup=False, highlight=False)


def message_row(stage: Stage, trajectory: Trajectory, chat: Sequence[Message]) -> Row:
    """Return the row of one chat of an attempt. `trainable` marks the messages that belong in the loss."""
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
    """Return the row of a pair: the common beginning of the chats as `prompt`, then `chosen` and `rejected`.

    Both chats are rendered by the agent of the mended attempt. Returns None if the first difference is not in an
    assistant turn, or if the agent has several chats per attempt.
    """
    agent = make_reader(mended.made_by)
    chats = [agent.chats(t) for t in (failed, mended)]
    if [len(each) for each in chats] != [1, 1]:
        # Agents that call the model several times per turn have no single chat to compare.
        return None
    worse, better = [[{"role": m.role, "content": m.content} for m in chat] for (chat,) in chats]
    first_difference = next((i for i, (a, b) in enumerate(zip(worse, better, strict=False)) if a != b), None)
    if (
        first_difference is None
        or worse[first_difference]["role"] != "assistant"
        or better[first_difference]["role"] != "assistant"
    ):
        return None
    end = first_difference + 1 if turns == "first" else None
    return {
        "prompt": better[:first_difference],
        "chosen": better[first_difference:end],
        "rejected": worse[first_difference:end],
        "task_id": mended.task.id,
        "type": task_type(mended.task),
        "outcome_rejected": failed.outcome,
        "model_chosen": mended.model,
        "model_rejected": failed.model,
    }


def _stages(store: RunStore, config: ExportConfig) -> list[Stage]:
    """Return the stages to export. Raises `UsageError` if there are none."""
    stages = store.trajectory_stages()
    if not stages:
        raise UsageError(f"{config.run} holds no attempts yet; there is nothing to export")
    known = {str(stage) for stage in stages} | {stage.kind for stage in stages}
    for name in config.stages:
        if name not in known:
            raise unknown("stage", name, known)
    if config.stages:
        found = (stage for name in config.stages for stage in stages if name in (str(stage), stage.kind))
        return list(dict.fromkeys(found))
    if chosen := [stage for stage in stages if not stage.held_out]:
        return chosen
    kinds = sorted({stage.kind for stage in stages})
    raise UsageError(
        f"{config.run} holds only attempts at held-out tasks ({', '.join(map(str, stages))}), which are left out so "
        f"that nothing is trained on them; pass --stages {' '.join(kinds)} to export them all the same"
    )


def _messages(store: RunStore, stages: Sequence[Stage], config: ExportConfig) -> Iterator[Row]:
    readers: dict[str, Agent] = {}
    for stage in stages:
        for trajectory in store.trajectories(stage):
            # Agents without a specification, such as rules, have no chats.
            rule = trajectory.agent and trajectory.made_by is None
            if trajectory.outcome in config.outcomes and trajectory.steps and not rule:
                if trajectory.agent not in readers:
                    readers[trajectory.agent] = make_reader(trajectory.made_by)
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
        return "a pair needs a successful mend whose parent is a failed attempt; choose other --stages"
    return f"no attempt has the outcome {' or '.join(config.outcomes)}; add --outcomes or choose other --stages"
