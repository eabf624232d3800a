"""Which stretch of which market an episode lives through, and how markets are divided into splits."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from ...errors import UsageError, unknown
from ..core import Task, TaskSet
from .data import load
from .episode import Episode
from .features import HISTORY
from .market import Market
from .rules import Rules
from .simulator import SimulatorConfig, simulate
from .splits import WalkForward, walk_forward, windows

ENV_ID = "kintsugi/Trading-v0"
SPLITS: Mapping[str, int] = {"train": 2000, "valid": 200, "valid_unseen": 200}
"""The splits, and how many simulated tasks they give when no number is asked for."""
SOURCES = ("simulated", "file")
HELD_OUT = 5
"""One symbol in so many is kept for `valid_unseen`."""
_RULES = {each.name: each for each in fields(Rules)}
_FOLDS = {each.name: each for each in fields(WalkForward)}


def task_set(split: str, n: int | None, seed: int, *, source: str = "simulated", **params: Any) -> TaskSet:
    """The first `n` tasks of `train`, `valid` or `valid_unseen`; all, or the usual number, when None.

    **simulated**: every task is a market of its own (`simulator`), of `assets` assets (1) and `bars` bars (60). The
    three splits share no market and no company; `valid_unseen` has other wordings and parameters too. `seed` gives
    other tasks.

    **file**: `path` (prices, see `data.load`) and `items` (JSONL). Fold number `fold` (the last) of a walk-forward
    split (`folds`, `test`, `train`, `purge`, `embargo`) says which bars are trained on and which come after. `train`
    are the former, `valid` the latter, both of the same symbols; `valid_unseen` are the latter, of symbols that `train`
    never has (one in five). A task is `assets` (1) of them over `bars` (60) bars; no two tasks of a split share a bar
    of a symbol. With `n`, so many are drawn by `seed`.

    Any field of `Rules` may be given too. Numbers may be strings, as a command line gives them. Raises `UsageError`
    for an unknown split, source or parameter, and for data that has not enough.
    """
    if split not in SPLITS:
        raise unknown("trading split", split, SPLITS)
    if source not in SOURCES:
        raise unknown("source of trading tasks", source, SOURCES)
    if n is not None and n < 0:
        raise UsageError(f"asked for {n} trading tasks; expected 0 or more")
    rules = asdict(Rules(**{name: _typed(_RULES[name], params.pop(name)) for name in list(params) if name in _RULES}))
    assets, bars = _count("assets", params.pop("assets", 1), 1), _count("bars", params.pop("bars", 60), 2)
    shape = {"assets": assets, "bars": bars, "rules": rules}
    if source == "file":
        return _from_file(split, n, seed, shape, params)
    if params:
        raise unknown("parameter of simulated trading tasks", min(params), ["assets", "bars", *_RULES])
    return TaskSet(_simulated(split, index, seed, shape) for index in range(SPLITS[split] if n is None else n))


def train_task(index: int) -> Task:
    """One of the usual simulated tasks of `train`."""
    return _simulated("train", index, 0, {"assets": 1, "bars": 60, "rules": asdict(Rules())})


@functools.lru_cache(maxsize=64)
def episode_of(task: Task) -> Episode:
    """The stretch that a task is about. Raises `UsageError` for parameters that are none, or when a file changed."""
    params = task.params
    try:
        rules, bars = Rules(**params["rules"]), params["bars"]
        if params["source"] == "simulated":
            market = simulate(SimulatorConfig(params["assets"], bars + HISTORY, task.split), params["market"])
            return Episode(market, HISTORY, HISTORY + bars, rules)
        market = _read(params["path"], params["items"])
        if market.hash != params["market"]:
            raise UsageError(
                f"task {task.id!r} was made from data with the hash {params['market']}, but {params['path']} now has "
                f"{market.hash}; put the old file back, or make the tasks anew"
            )
        part = market.window(max(params["first"] - HISTORY, 0), params["first"] + bars, tuple(params["symbols"]))
        return Episode(part, len(part) - bars, len(part), rules)
    except (KeyError, TypeError) as error:
        raise UsageError(f"task {task.id!r} is no trading task ({error!r}); take one from TradingEnv.tasks") from None


def _simulated(split: str, index: int, seed: int, shape: dict[str, Any]) -> Task:
    named = f"trading/{shape['assets']}/{shape['bars']}/{split}/{seed}/{index}"
    market = int.from_bytes(hashlib.sha256(named.encode()).digest()[:6], "big")
    name = f"{index:05d}" if seed == 0 else f"{seed}-{index:05d}"
    kind = f"simulated-{shape['assets']}"
    params = {"type": kind, "source": "simulated", "market": market, **shape}
    return Task(f"{kind}/{split}/{name}", ENV_ID, split, market, params)


def _from_file(split: str, n: int | None, seed: int, shape: dict[str, Any], params: dict[str, Any]) -> TaskSet:
    path, items, fold = params.pop("path", ""), params.pop("items", ""), _count("fold", params.pop("fold", -1), None)
    config = WalkForward(**{name: _count(name, params.pop(name), 0) for name in list(params) if name in _FOLDS})
    if params:
        known = ["path", "items", "fold", "assets", "bars", *_FOLDS, *_RULES]
        raise unknown("parameter of trading tasks from a file", min(params), known)
    if not path:
        raise UsageError("trading tasks from a file need one: path FILE, with dates, prices and volumes")
    market = _read(str(path), str(items))
    folds = walk_forward(len(market), config)
    if not -len(folds) <= fold < len(folds):
        raise UsageError(f"fold is {fold}; there are {len(folds)}, 0 to {len(folds) - 1}, or from the end -1")
    pieces = folds[fold].train if split == "train" else (folds[fold].test,)
    seen, unseen = divide(market.symbols)
    names = unseen if split == "valid_unseen" else seen
    groups = [names[i : i + shape["assets"]] for i in range(0, len(names) - shape["assets"] + 1, shape["assets"])]
    found = windows(pieces, shape["bars"])
    if not groups or not found:
        raise UsageError(
            f"{path} has {len(names)} symbols and {sum(map(len, pieces))} bars for {split!r}; that is no task of "
            f"{shape['assets']} assets and {shape['bars']} bars: ask for fewer, or give more data"
        )
    tasks = TaskSet(
        _of_file(split, {"path": str(path), "items": str(items), "market": market.hash, **shape}, group, bars)
        for group in groups
        for bars in found
    )
    return tasks if n is None or n >= len(tasks) else tasks.sample(n, seed)


def _of_file(split: str, params: dict[str, Any], symbols: tuple[str, ...], bars: range) -> Task:
    name = f"{'+'.join(symbols)}/{bars.start:08d}"
    more = {"type": "+".join(symbols), "source": "file", "symbols": list(symbols), "first": bars.start}
    return Task(f"file/{split}/{name}", ENV_ID, split, bars.start, {**params, **more})


def divide(symbols: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The symbols to train on, and those kept for `valid_unseen`: every fifth by name, none of fewer than 2."""
    kept = set(sorted(symbols)[1::HELD_OUT]) if len(symbols) > 1 else set()
    return tuple(s for s in symbols if s not in kept), tuple(s for s in symbols if s in kept)


@functools.lru_cache(maxsize=4)
def _read(path: str, items: str) -> Market:
    return load(Path(path), Path(items) if items else None)


def _count(name: str, value: Any, least: int | None) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, float) or (least is not None and number < least):
        least_said = "" if least is None else f" from {least} on"
        raise UsageError(f"{name} is {value!r}; expected a whole number{least_said}")
    return number


def _typed(field: Any, value: Any) -> Any:
    """A field of `Rules` from a string."""
    kind = type(field.default if field.default is not MISSING else 0.0)
    if kind is str or not isinstance(value, str):
        return value
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UsageError(f"{field.name} is {value!r}; expected true or false")
        return value.lower() == "true"
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{field.name} is {value!r}; expected a number") from None
