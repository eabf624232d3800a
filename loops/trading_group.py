"""TradingGroup's data synthesis (arXiv 2508.17565): days of a desk, labelled by what the market then did.

1. the desk trades windows of the past; every call of every agent is logged           collect/desk
2. label     forecasts by w_hit, decisions by r_eq - beta * r_bm - gamma * c_a         (labels of what was realised)
3. keep      the best labelled calls                                                  rows/desk.jsonl
4. train     one LoRA for all roles                                                   adapters/trading_group@1
5. the backtest is run again with it, on windows that no label has seen

A label is made from the bars of its own window alone; what the window's end cuts off stays unlabelled and is not
learnt. The windows share no bar of an asset, which `TradingEnv.tasks` promises, and those of a walk-forward split end
at least a horizon before the first test.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..agents.models.core import LanguageModel, derived_seed
from ..agents.models.local import LocalModel
from ..agents.rollout import Job
from ..agents.trading_group.desk import DeskConfig, TradingGroup, chat_of_call
from ..agents.trading_group.labels import LabelConfig, Realised
from ..agents.trading_group.roles import answer_of, read_forecast
from ..agents.trajectory import Call, Trajectory
from ..envs.core import Task, TaskSet
from ..envs.registry import find
from ..envs.trading.features import FEATURES
from ..errors import UsageError
from .learner import Example, FitConfig, fit
from .store import RunStore

ROWS = "desk.jsonl"
"""In the run's folder `rows`: every labelled call, whether kept or not."""
_JUDGED_BY: Mapping[str, str] = {
    "news": "w_hit",
    "report": "w_hit",
    "forecast": "w_hit",
    "style": "reward",
    "decision": "reward",
}
"""News and reports are judged by the forecast that was made of them on the same day, the style by the decision."""


@dataclass(frozen=True)
class SynthesisConfig:
    """How days are lived through and which are learnt from. What the paper leaves open is ours."""

    env_params: dict[str, str] = field(default_factory=lambda: {"bars": "60"})
    """What the task sets of `trading` take; one asset each."""
    split: str = "train"
    tasks: int = 100
    """Windows that are traded."""
    k: int = 1
    """How often each is traded."""
    desk: DeskConfig = field(default_factory=lambda: DeskConfig(temperature=1.0))
    """Drawn at this temperature, so that agents say different things of like days."""
    keep: float = 0.25
    """Share of the labelled calls that is learnt from, the best ones. Unpublished."""
    within_answers: bool = True
    """Take that share of each answer (up, down, side; buy, hold, sell; ...) by itself. Otherwise the sizes of labels
    decide how often each is said: staying out of the market never earns as much as being in."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=1.0))
    """One epoch, as in the paper; the rest of it is unpublished."""
    at_once: int = 128
    """Windows that are traded together. Part of the result: batches differ in rounding."""
    seed: int = 0

    def task_set(self) -> TaskSet:
        """The windows; raises `UsageError` when labels could reach into the tests that follow them."""
        params, horizon = dict(self.env_params), self.desk.labels.horizon
        if params.get("source") == "file" and int(params.get("purge", 20)) < horizon:
            raise UsageError(
                f"purge is {params['purge']} and the horizon of labels {horizon} days, so labels would know bars of "
                "the test; expected a purge of at least the horizon"
            )
        return find("trading").load().tasks(self.split, self.tasks, self.seed, **{**params, "assets": "1"})


@dataclass(frozen=True)
class Row:
    """One call of one agent on one day, and its label."""

    task: str
    sample: int
    day: int
    """Number of the bar in the window."""
    call: Call
    answer: str
    """What was said in a word; `unread` when it could not be read."""
    label: str
    """`w_hit` or `reward`."""
    value: float
    realised: float
    """The asset's return over the horizon (`w_hit`) or the next day (`reward`)."""
    equity: float
    """The account's worth when it was said."""
    action: str
    """What the desk sent to the market that day."""


def trading_group(store: RunStore, base: Path, config: SynthesisConfig) -> Path:
    """Run the pipeline in `store`; returns the adapter. Raises `UsageError` when nothing was worth learning."""
    # 1: TRADE
    model = LocalModel.load(base, slots=config.at_once)
    windows = trade(store, "collect/desk", model, config.desk, config.task_set(), config.k, config.at_once, config.seed)

    # 2, 3: LABEL, KEEP, EXPORT
    rows = [row for window in windows for row in annotate(window, config.desk.labels)]
    kept = select(rows, config)
    export(store.place("rows", ROWS), rows, kept)
    store.stage("trading_group/counts", counts, windows, rows, kept)

    # 4: TRAIN
    fitting = replace(config.fit, seed=derived_seed(config.seed, "trading_group") % (1 << 31))
    examples = [Example(chat_of_call(row.call)) for row in kept]

    def train(out: Path) -> None:
        fit(base, examples, fitting, out, name="trading_group@1")

    return store.adapter("trading_group@1", train)


def trade(
    store: RunStore,
    stage: str,
    model: LanguageModel,
    desk: DeskConfig,
    tasks: Iterable[Task],
    k: int = 1,
    at_once: int = 128,
    seed: int = 0,
) -> list[Trajectory]:
    """The desk's backtests of `tasks`, `k` of each, run or taken from the store."""
    agent = TradingGroup(model, desk)
    jobs = [Job(task, agent, derived_seed(seed, stage, task.id, i), i) for task in tasks for i in range(k)]
    return store.collect(stage, find("trading").load(), jobs, at_once=at_once)


# -- Labels -----------------------------------------------------------------------------------------------------------


def replayed(window: Trajectory) -> list[dict[str, Any]]:
    """What the world said at each close of a window, by replaying its actions: the world is deterministic."""
    env = find("trading").load()()
    _, info = env.reset(options={"task": window.task})
    return [info, *(env.step(step.action)[4] for step in window.steps)]


def realised_in(window: Trajectory) -> Realised:
    """What happened in a window."""
    infos = replayed(window)
    move = list(FEATURES).index("return")
    return Realised(
        [float(info["arrays"]["features"][0, move]) for info in infos],
        [info["account"].equity for info in infos],
        [sum(fill.cost for fill in info["fills"]) for info in infos],
    )


def annotate(window: Trajectory, labels: LabelConfig, past: Realised | None = None) -> Iterator[Row]:
    """The labelled calls of a window; those whose outcome lies beyond its end are left out.

    `past` is what was realised (`realised_in` when None); cut shorter, it gives the labels known by then.
    """
    past = past or realised_in(window)
    for day, step in enumerate(window.steps):
        said = next((read_forecast(call.text) for call in step.calls if call.role == "forecast"), None)
        hit = None if said is None else past.w_hit(day, said.trend, said.probabilities, labels)
        values = {"w_hit": hit, "reward": past.reward(day, labels)}
        outcomes = {"w_hit": past.ahead(day, labels.horizon), "reward": past.ahead(day, 1)}
        for call in step.calls:
            label = _JUDGED_BY[call.role]
            value, outcome = values[label], outcomes[label]
            if value is not None and outcome is not None:
                answer, equity = answer_of(call.role, call.text) or "unread", past.equity[day]
                name = (window.task.id, window.sample, day)
                yield Row(*name, call, answer, label, value, outcome, equity, step.action)


def select(rows: Sequence[Row], config: SynthesisConfig) -> list[Row]:
    """The best `keep` of the rows, in their order; never one whose answer could not be read or whose label is not
    above 0.

    Rows are ranked among those of the same role and, with `within_answers`, of the same answer.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        if row.answer != "unread":
            groups.setdefault((row.call.role, row.answer if config.within_answers else ""), []).append(number)
    chosen: set[int] = set()
    for numbers in groups.values():
        best = sorted(numbers, key=lambda number: (-rows[number].value, number))[: round(config.keep * len(numbers))]
        chosen |= {number for number in best if rows[number].value > 0.0}
    return [rows[number] for number in sorted(chosen)]


def export(path: Path, rows: Sequence[Row], kept: Sequence[Row]) -> None:
    """Every row as a line of JSON (OpenAI-style `messages`, label, realised outcome, `kept`); whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished, chosen = path.with_name(f".{path.name}.unfinished"), set(map(id, kept))
    with unfinished.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(json.dumps(to_json(row, id(row) in chosen), allow_nan=False) + "\n")
    unfinished.replace(path)


def to_json(row: Row, kept: bool) -> dict[str, Any]:
    """A row for other people's trainers; columns are the same in every one."""
    return {
        "messages": [{"role": m.role, "content": m.content} for m in chat_of_call(row.call)],
        "task_id": row.task,
        "sample": row.sample,
        "day": row.day,
        "agent": row.call.role,
        "answer": row.answer,
        "label": row.label,
        "value": row.value,
        "realised": row.realised,
        "equity": row.equity,
        "action": row.action,
        "kept": kept,
    }


def counts(windows: Sequence[Trajectory], rows: Sequence[Row], kept: Sequence[Row]) -> dict[str, Any]:
    """How much was traded, labelled and kept, by role; and how much could not be read."""
    roles = sorted({row.call.role for row in rows})
    return {
        "windows": len(windows),
        "days": sum(len(window.steps) for window in windows),
        "labelled": {role: sum(row.call.role == role for row in rows) for role in roles},
        "kept": {role: sum(row.call.role == role for row in kept) for role in roles},
        "unread": {
            role: sum(row.call.role == role and row.answer == "unread" for row in rows) / labelled
            for role in roles
            if (labelled := sum(row.call.role == role for row in rows))
        },
    }
