"""Markets from files: prices in CSV or Parquet, news and reports in JSONL. Nothing is dropped: it is loaded or refused.

**Prices** have the columns `date` (or `time`, `timestamp`, `datetime`), `open`, `high`, `low`, `close`, and may have
`volume` (not known when absent or empty), `symbol` (or `ticker`), `splits` (or `split`, `stock splits`; 0 and 1 are
none), `dividends` (or `dividend`) and `adj close`; case and underscores do not matter, and other columns are not read.
One file holds one asset, or several with a `symbol`; a folder holds a file an asset, named after it. Rows of an asset
are in order of time.

**Times** are ISO 8601. Those with an offset or `Z` are taken as they are, those without as of `timezone`; a file that
mixes both is refused. All are kept in UTC. A date alone is midnight: give `closes` ("16:00") to say when its bar is
over, otherwise news of that day is shown with the next bar.

**Items** are one JSON object a line: `published` and `text`, and may be `symbol` (empty: the whole market), `kind`
(`news` or `report`) and `bar`, the time of the bar that it is to be shown with, which must not be before `published`.
They may be in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, unknown
from .columns import Builder, blocks
from .market import PRICES, Floats, Item, Market

MISSING = ("error", "carry", "common")
ADJUSTMENTS = ("raw", "adjusted", "adjust")
ENDINGS = (".csv", ".parquet", ".pq", ".csv.gz")


def load(
    prices: Path,
    items: Path | Sequence[Path] | None = None,
    *,
    timezone: str = "UTC",
    closes: str = "",
    missing: str = "error",
    adjustment: str = "raw",
    store: Path | None = None,
) -> Market:
    """The market of these files; needs the extra `trading`.

    `missing` says what becomes of a bar that some asset lacks and another has: an `error`; `carry`, the close before
    with volume 0, so that it is not traded; or `common`, only the bars that all have.
    `adjustment`: prices are as they were (`raw`; accounts get splits and dividends), were `adjusted` already, or are to
    be: `adjust` multiplies them by `adj close` / `close`.
    With `store`, an empty or new folder, arrays live in files there and memory stays at some tens of megabytes however
    many bars there are; the market is usable while the folder is.
    Raises `UsageError` for what cannot be read, with file and place, and for what `Market` refuses.
    """
    _require(missing, "way with missing bars", MISSING)
    _require(adjustment, "adjustment", ADJUSTMENTS)
    if store is not None:
        store.mkdir(parents=True, exist_ok=True)
        if any(store.iterdir()):
            raise UsageError(f"the store {store} is not empty; name a new folder")
    builders: dict[str, Builder] = {}
    for path in _price_files(prices):
        for block in blocks(path, timezone, adjusts=adjustment == "adjust"):
            for symbol, part in block.by_symbol(_stem(path)):
                builders.setdefault(symbol, Builder(symbol, store)).append(part)
    if not builders:
        raise UsageError(f"{prices} holds no bars; expected a line for each")
    columns = [builder.finish() for builder in builders.values()]
    times, arrays = _aligned(tuple(builders), columns, missing, store)
    if closes:
        times = _closed(times, closes, timezone)
    texts = read_items(items, timezone) if items is not None else ()
    return Market(tuple(builders), times, items=texts, adjusted=adjustment != "raw", **arrays)


def _price_files(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"there is no {path}; name a CSV or Parquet file of prices, or a folder of them")
    files = sorted(p for p in path.iterdir() if p.name.lower().endswith(ENDINGS)) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} holds none of {', '.join(ENDINGS)}; expected a file of prices an asset")
    return files


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _require(value: str, what: str, known: Sequence[str]) -> None:
    if value not in known:
        raise unknown(what, value, known)


def _closed(times: NDArray[np.datetime64], closes: str, timezone: str) -> NDArray[np.datetime64]:
    """Dates as the moments when their trading day ends in `timezone`."""
    try:
        at = datetime.strptime(closes, "%H:%M").time()
    except ValueError:
        raise UsageError(f"closes is {closes!r}; expected a time of day like 16:00") from None
    zone = ZoneInfo(timezone)
    # Midnight of the zone was turned into UTC; the calendar day is that of the zone.
    local = [datetime.fromtimestamp(int(t) / 1e9, UTC).astimezone(zone) for t in times.astype(np.int64).tolist()]
    for moment in local:
        if (moment.hour, moment.minute, moment.second) != (0, 0, 0):
            raise UsageError(f"closes is {closes!r}, but the bar of {moment} has a time of its own; leave one out")
    ends = [datetime.combine(moment.date(), at, zone).astimezone(UTC).replace(tzinfo=None) for moment in local]
    return np.array(ends, dtype="datetime64[ns]")


# -- Several assets ---------------------------------------------------------------------------------------------------


def _aligned(
    symbols: tuple[str, ...], columns: list[dict[str, NDArray[Any]]], missing: str, store: Path | None
) -> tuple[NDArray[np.datetime64], dict[str, Floats]]:
    """Times and (T, A) arrays of assets that may have different bars."""
    for symbol, held in zip(symbols, columns, strict=True):
        _require_order(symbol, held["times"])
    present = [name for name in (*PRICES, "volume", "splits", "dividends") if any(name in held for held in columns)]
    first = columns[0]["times"]
    if all(len(held["times"]) == len(first) and (held["times"] == first).all() for held in columns[1:]):
        rows = None
        times = first
    else:
        every = [held["times"] for held in columns]
        times = np.unique(np.concatenate(every))
        if missing == "common":
            for held_times in every:
                times = times[np.isin(times, held_times)]
            if not len(times):
                raise UsageError(f"{', '.join(symbols)} have no bar in common; look at their dates")
        rows = [_rows(symbol, times, held["times"], missing) for symbol, held in zip(symbols, columns, strict=True)]
    if len(columns) == 1:
        return times, {name: columns[0][name][:, None] for name in present}
    arrays = {}
    for name in present:
        arrays[name] = out = _allocate(store, name, (len(times), len(symbols)))
        for asset, held in enumerate(columns):
            out[:, asset] = _filled(name, held, None if rows is None else rows[asset], times)
    return times, arrays


def _require_order(symbol: str, times: NDArray[np.datetime64]) -> None:
    wrong = np.flatnonzero(times[1:] <= times[:-1])
    if len(wrong):
        before, after = times[wrong[0]], times[wrong[0] + 1]
        what = "is there twice" if before == after else f"comes after {before}"
        raise UsageError(
            f"{symbol}: the bar of {after} {what} (bar {int(wrong[0]) + 2} of the asset); "
            "sort the rows by time, one a bar"
        )


def _rows(symbol: str, times: NDArray[np.datetime64], held: NDArray[np.datetime64], missing: str) -> NDArray[np.int64]:
    """For each time the row of the newest bar that is not after it, and -1 - row where it is an older one."""
    rows = np.searchsorted(held, times, side="right") - 1
    lacking = (rows < 0) | (held[np.maximum(rows, 0)] != times)
    if lacking.any():
        when = times[int(lacking.argmax())]
        if missing == "error":
            raise UsageError(
                f"{symbol} has no bar at {when}, where other assets have one ({int(lacking.sum())} such bars); "
                "missing 'carry' keeps the close before and does not trade, 'common' takes the bars that all have"
            )
        if rows[0] < 0:
            raise UsageError(
                f"{symbol} begins after {times[0]}, so there is no close to carry; take missing 'common', "
                "or leave the asset out"
            )
    return np.where(lacking, -1 - rows, rows).astype(np.int64)


def _filled(name: str, held: dict[str, NDArray[Any]], rows: NDArray[np.int64] | None, times: Any) -> Floats:
    nothing = {"volume": np.nan, "splits": 1.0, "dividends": 0.0}.get(name, np.nan)
    if name not in held:
        return np.full(len(times), nothing)
    if rows is None:
        return held[name]
    carried = rows < 0
    source = held["close"] if name in PRICES else held[name]
    values = np.where(carried, source[np.where(carried, -1 - rows, rows)], held[name][np.where(carried, 0, rows)])
    if name not in PRICES:
        values[carried] = 0.0 if name == "volume" else nothing
    return values


def _allocate(store: Path | None, name: str, shape: tuple[int, int]) -> Floats:
    if store is None:
        return np.empty(shape)
    return np.memmap(store / f"{name}.f8", dtype=np.float64, mode="w+", shape=shape)


# -- Items ------------------------------------------------------------------------------------------------------------


def read_items(paths: Path | Sequence[Path], timezone: str = "UTC") -> tuple[Item, ...]:
    """News and reports, in order of publication; raises `UsageError` for a line that is none, with its number."""
    items: list[Item] = []
    for path in [paths] if isinstance(paths, Path) else paths:
        zoned: bool | None = None
        for number, line in _lines(path):
            try:
                item, aware = _item(line, timezone)
                if zoned not in (None, aware):
                    raise ValueError("times with and without an offset are mixed; write all of a file in one way")
            except (ValueError, UsageError) as error:
                raise UsageError(f"{path}:{number}: {error}") from None
            zoned = aware
            items.append(item)
    return tuple(sorted(items))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read items from {path} ({error}); name a JSONL file in UTF-8") from None


def _item(line: str, timezone: str) -> tuple[Item, bool]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"the line is {type(row).__name__}, expected a JSON object")
    fields: dict[str, str] = {}
    for name, default in (("text", None), ("symbol", ""), ("kind", "news")):
        value = row.get(name, default)
        if not isinstance(value, str):
            raise ValueError(f"the field {name!r} is {str(value)[:40]}; expected a string")
        fields[name] = value
    published, aware = _moment(row.get("published"), "published", timezone)
    if "bar" in row:
        bar, _ = _moment(row["bar"], "bar", timezone)
        if published > bar:
            raise ValueError(f"it was published {published}, after the bar of {bar} that it is to be shown with")
    return Item(published, fields["kind"], fields["symbol"], fields["text"]), aware


def _moment(value: Any, name: str, timezone: str) -> tuple[np.datetime64, bool]:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"the field {name!r} is {value!r}; expected a time like 2024-05-01T14:30:00Z") from None
    aware = moment.tzinfo is not None
    moment = (moment if aware else moment.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "ns"), aware
