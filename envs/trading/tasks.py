"""Trading tasks: simulated markets, or windows of price files, divided into splits."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from ...errors import UsageError, unknown
from ..core import Task, TaskSet
from .data import load_market
from .features import HISTORY
from .market import Market
from .market_window import MarketWindow
from .rules import Rules
from .simulator import SimulatorConfig, simulate
from .splits import WalkForward, walk_forward, windows

ENV_ID = "kintsugi/Trading-v0"
SPLITS: Mapping[str, int] = {"train": 2000, "valid": 200, "valid_unseen": 200}
"""Splits, with their default numbers of simulated tasks."""
SOURCES = ("simulated", "file")
HELD_OUT_EVERY = 5
"""One of this many symbols is reserved for `valid_unseen`."""
_RULES = {each.name: each for each in fields(Rules)}
_FOLDS = {each.name: each for each in fields(WalkForward)}


def task_set(split: str, n: int | None, seed: int, *, source: str = "simulated", **params: Any) -> TaskSet:
    """Return tasks of one split.

    **simulated**: each task is a separate simulated market. Splits share no market and no company; `valid_unseen` also
    differs in phrasing and parameters.

    **file**: tasks are windows of price files. A walk-forward fold defines training bars and test bars. `train` uses
    the training bars, and `valid` the test bars of the same symbols. `valid_unseen` uses the test bars of reserved
    symbols, one in five. No two tasks of a split share a bar of a symbol.

    Args:
        split: `train`, `valid` or `valid_unseen`.
        n: Number of tasks. Default: `SPLITS[split]` for simulated markets, all for files.
        seed: Selects other simulated markets; for files, selects the `n` tasks.
        source: `simulated` or `file`.
        **params: `assets` per task (default 1), `bars` per task (default 60), and any field of `Rules`. For files also
            `path` and `items` (see `data.load_market`), the index `fold` (default -1, the last one), and any field of
            `WalkForward`. Numbers may be strings.

    Returns:
        The tasks. Simulated sets are prefixes of each other for increasing `n`.

    Raises:
        UsageError: If the split, the source or a parameter is unknown or invalid, or the data is too short.
    """
    if split not in SPLITS:
        raise unknown("trading split", split, SPLITS)
    if source not in SOURCES:
        raise unknown("source of trading tasks", source, SOURCES)
    if n is not None and n < 0:
        raise UsageError(f"n is {n}; expected a number of trading tasks, 0 or more")
    rules = asdict(
        Rules(**{name: _parse_rule(_RULES[name], params.pop(name)) for name in list(params) if name in _RULES})
    )
    assets, bars = _parse_count("assets", params.pop("assets", 1), 1), _parse_count("bars", params.pop("bars", 60), 2)
    shape = {"assets": assets, "bars": bars, "rules": rules}
    if source == "file":
        return _file_tasks(split, n, seed, shape, params)
    if params:
        raise unknown("parameter of simulated trading tasks", min(params), ["assets", "bars", *_RULES])
    return TaskSet(_simulated_task(split, index, seed, shape) for index in range(SPLITS[split] if n is None else n))


def train_task(index: int) -> Task:
    """Return the simulated task of `train` with this index and the default parameters."""
    return _simulated_task("train", index, 0, {"assets": 1, "bars": 60, "rules": asdict(Rules())})


@functools.lru_cache(maxsize=64)
def window_of(task: Task) -> MarketWindow:
    """Return the market window of a task. Raises `UsageError` for invalid parameters and for changed files."""
    params = task.params
    try:
        rules, bars = Rules(**params["rules"]), params["bars"]
        if params["source"] == "simulated":
            market = simulate(SimulatorConfig(params["assets"], bars + HISTORY, task.split), params["market"])
            return MarketWindow(market, HISTORY, HISTORY + bars, rules)
        market = _cached_market(params["path"], params["items"])
        if market.hash != params["market"]:
            raise UsageError(
                f"task {task.id!r} was made from data with the hash {params['market']}, but {params['path']} now has "
                f"{market.hash}; restore the old file, or create the tasks again"
            )
        part = market.window(max(params["first"] - HISTORY, 0), params["first"] + bars, tuple(params["symbols"]))
        return MarketWindow(part, len(part) - bars, len(part), rules)
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"task {task.id!r} is not a trading task ({error!r}); expected a task of TradingEnv.tasks"
        ) from None


def _simulated_task(split: str, index: int, seed: int, shape: dict[str, Any]) -> Task:
    stream_name = f"trading/{shape['assets']}/{shape['bars']}/{split}/{seed}/{index}"
    market = int.from_bytes(hashlib.sha256(stream_name.encode()).digest()[:6], "big")
    name = f"{index:05d}" if seed == 0 else f"{seed}-{index:05d}"
    kind = f"simulated-{shape['assets']}"
    params = {"type": kind, "source": "simulated", "market": market, **shape}
    return Task(f"{kind}/{split}/{name}", ENV_ID, split, market, params)


def _file_tasks(split: str, n: int | None, seed: int, shape: dict[str, Any], params: dict[str, Any]) -> TaskSet:
    path, items, fold = (
        params.pop("path", ""),
        params.pop("items", ""),
        _parse_count("fold", params.pop("fold", -1), None),
    )
    config = WalkForward(**{name: _parse_count(name, params.pop(name), 0) for name in list(params) if name in _FOLDS})
    if params:
        known = ["path", "items", "fold", "assets", "bars", *_FOLDS, *_RULES]
        raise unknown("parameter of trading tasks from a file", min(params), known)
    if not path:
        raise UsageError("source is 'file', but path is empty; pass path=FILE with dates, prices and volumes")
    market = _cached_market(str(path), str(items))
    folds = walk_forward(len(market), config)
    if not -len(folds) <= fold < len(folds):
        raise UsageError(f"fold is {fold}; expected 0 to {len(folds) - 1}, or -{len(folds)} to -1 from the end")
    pieces = folds[fold].train if split == "train" else (folds[fold].test,)
    seen, unseen = split_symbols(market.symbols)
    names = unseen if split == "valid_unseen" else seen
    groups = [names[i : i + shape["assets"]] for i in range(0, len(names) - shape["assets"] + 1, shape["assets"])]
    found = windows(pieces, shape["bars"])
    if not groups or not found:
        raise UsageError(
            f"{path} has {len(names)} symbols and {sum(map(len, pieces))} bars for {split!r}; expected enough for a "
            f"task of {shape['assets']} assets and {shape['bars']} bars; reduce assets or bars, or provide more data"
        )
    tasks = TaskSet(
        _file_task(split, {"path": str(path), "items": str(items), "market": market.hash, **shape}, group, bars)
        for group in groups
        for bars in found
    )
    return tasks if n is None or n >= len(tasks) else tasks.sample(n, seed)


def _file_task(split: str, params: dict[str, Any], symbols: tuple[str, ...], bars: range) -> Task:
    name = f"{'+'.join(symbols)}/{bars.start:08d}"
    more = {"type": "+".join(symbols), "source": "file", "symbols": list(symbols), "first": bars.start}
    return Task(f"file/{split}/{name}", ENV_ID, split, bars.start, {**params, **more})


def split_symbols(symbols: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split symbols into those for training and those for `valid_unseen`: every fifth by name, none of a single one."""
    unseen = set(sorted(symbols)[1::HELD_OUT_EVERY]) if len(symbols) > 1 else set()
    return tuple(s for s in symbols if s not in unseen), tuple(s for s in symbols if s in unseen)


@functools.lru_cache(maxsize=4)
def _cached_market(path: str, items: str) -> Market:
    return load_market(Path(path), Path(items) if items else None)


def _parse_count(name: str, value: Any, minimum: int | None) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, float) or (minimum is not None and number < minimum):
        bound = "" if minimum is None else f", {minimum} or more"
        raise UsageError(f"{name} is {value!r}; expected a whole number{bound}")
    return number


def _parse_rule(field: Any, value: Any) -> Any:
    """Convert a string to the type of a field of `Rules`."""
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
