"""Loading of markets from files: prices in CSV or Parquet, news and reports in JSONL.

Every row is either loaded or refused with an error; no row is dropped silently.

**Prices** require the columns `date` (or `time`, `timestamp`, `datetime`), `open`, `high`, `low` and `close`. Optional
columns are `volume` (unknown if absent or empty), `symbol` (or `ticker`), `splits` (or `split`, `stock splits`; 0 and 1
mean no split), `dividends` (or `dividend`) and `adj close`. Case and underscores in column names are ignored. Other
columns are not read. Values must not contain line breaks. A file holds one asset, or several with a `symbol` column. A
folder holds one file per asset, named after the asset. Rows of an asset are sorted by time.

**Times** are ISO 8601, in the years 1678 to 2261. Times without an offset are in `timezone`; a file must not mix times
with and without an offset. All times are converted to UTC. A date without a time is midnight. Pass `closes` (such as
"16:00") to set the time of its close; otherwise news of that day is shown with the next bar.

**Items** are JSON objects, one per line, in any order. `published` and `text` are required. Optional are `symbol`
(empty: the whole market), `kind` (`news` or `report`) and `bar`, the time of the bar that shows the item. It must not
be before `published`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, unknown
from ..reading import parse_json
from .columns import ColumnBuilder, read_blocks, zone_named
from .market import PRICES, YEARS, Floats, Item, Market, nanoseconds

MISSING = ("error", "carry", "common")
ADJUSTMENTS = ("raw", "adjusted", "adjust")
SUFFIXES = (".csv", ".parquet", ".pq", ".csv.gz")


def load_market(
    prices: Path,
    items: Path | Sequence[Path] | None = None,
    *,
    timezone: str = "UTC",
    closes: str = "",
    missing: str = "error",
    adjustment: str = "raw",
    store: Path | None = None,
) -> Market:
    """Load a market from files. Requires the extra `trading`.

    Args:
        prices: A CSV or Parquet file, or a folder of such files, one per asset.
        items: JSONL files of news and reports. Default: none.
        timezone: Time zone of times without an offset.
        closes: Time of day at which bars close, such as "16:00", for files with dates only.
        missing: What to do with bars that only some assets have. `error`: refuse them. `carry`: repeat the previous
            close with volume 0, so that the bar is not traded. `common`: keep only the bars that all assets have.
        adjustment: `raw`: prices are unadjusted, and accounts book splits and dividends. `adjusted`: prices are
            adjusted already. `adjust`: multiply prices by `adj close` / `close`.
        store: A new or empty folder for memory-mapped arrays. Memory use is then bounded for any number of bars, and
            the folder must exist as long as the market is used. Default: arrays in memory.

    Returns:
        The market.

    Raises:
        UsageError: If a file cannot be read (with file and row), or `Market` refuses the data.
        MissingExtraError: If `pyarrow` is not installed.
    """
    _require(missing, "way to handle missing bars", MISSING)
    _require(adjustment, "adjustment", ADJUSTMENTS)
    if store is not None:
        store.mkdir(parents=True, exist_ok=True)
        if any(store.iterdir()):
            raise UsageError(f"the store {store} is not empty; expected a new or empty folder")
    builders: dict[str, ColumnBuilder] = {}
    for path in _price_files(prices):
        for block in read_blocks(path, timezone, adjust=adjustment == "adjust"):
            for symbol, part in block.by_symbol(_symbol_of_file(path)):
                builders.setdefault(symbol, ColumnBuilder(symbol, store)).append(part)
    if not builders:
        raise UsageError(f"{prices} contains no bars; expected one row per bar")
    columns = [builder.finish() for builder in builders.values()]
    times, arrays = _align(tuple(builders), columns, missing, store)
    if closes:
        times = _bar_ends(times, closes, timezone)
    texts = read_items(items, timezone) if items is not None else ()
    try:
        return Market(tuple(builders), times, items=texts, adjusted=adjustment != "raw", **arrays)
    except UsageError as error:
        raise UsageError(f"{prices}: {error}") from None


def _price_files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file())
        elif path.is_file():
            files = [path]
        else:
            raise OSError("it is not a regular file" if path.exists() else f"{path} does not exist")
    except OSError as error:
        raise UsageError(
            f"cannot read prices from {path} ({error}); expected a CSV or Parquet file, or a folder of them"
        ) from None
    if not files:
        raise UsageError(f"the folder {path} has no {', '.join(SUFFIXES)} files; expected one file of prices per asset")
    return files


def _symbol_of_file(path: Path) -> str:
    return path.name.split(".")[0]


def _require(value: str, what: str, known: Sequence[str]) -> None:
    if value not in known:
        raise unknown(what, value, known)


def _bar_ends(times: NDArray[np.datetime64], closes: str, timezone: str) -> NDArray[np.datetime64]:
    """Convert dates to the times at which their trading day closes in `timezone`."""
    try:
        close_time = datetime.strptime(closes, "%H:%M").time()
    except ValueError:
        raise UsageError(f"closes is {closes!r}; expected a time of day like 16:00") from None
    zone = ZoneInfo(timezone)
    # Dates are midnight of the zone in UTC, so the calendar day must be taken in the zone.
    local = [datetime.fromtimestamp(int(t) / 1e9, UTC).astimezone(zone) for t in times.astype(np.int64).tolist()]
    for moment in local:
        if (moment.hour, moment.minute, moment.second) != (0, 0, 0):
            raise UsageError(
                f"closes is {closes!r}, but the bar of {moment} has a time of day; expected dates only, or no closes"
            )
    ends = [datetime.combine(moment.date(), close_time, zone).astimezone(UTC).replace(tzinfo=None) for moment in local]
    return nanoseconds(np.array(ends, dtype="datetime64[us]"))


# -- Several assets ---------------------------------------------------------------------------------------------------


def _align(
    symbols: tuple[str, ...], columns: list[dict[str, NDArray[Any]]], missing: str, store: Path | None
) -> tuple[NDArray[np.datetime64], dict[str, Floats]]:
    """Return times and (T, A) arrays for assets that may have different bars."""
    for symbol, asset_columns in zip(symbols, columns, strict=True):
        _require_order(symbol, asset_columns["times"])
    present = [
        name
        for name in (*PRICES, "volume", "splits", "dividends")
        if any(name in asset_columns for asset_columns in columns)
    ]
    first = columns[0]["times"]
    if all(
        len(asset_columns["times"]) == len(first) and (asset_columns["times"] == first).all()
        for asset_columns in columns[1:]
    ):
        rows = None
        times = first
    else:
        all_times = [asset_columns["times"] for asset_columns in columns]
        times = np.unique(np.concatenate(all_times))
        if missing == "common":
            for asset_times in all_times:
                times = times[np.isin(times, asset_times)]
            if not len(times):
                raise UsageError(
                    f"{', '.join(symbols)} have no bar in common; expected overlapping dates; check their dates"
                )
        rows = [
            _source_rows(symbol, times, asset_columns["times"], missing)
            for symbol, asset_columns in zip(symbols, columns, strict=True)
        ]
    if len(columns) == 1:
        return times, {name: columns[0][name][:, None] for name in present}
    arrays = {}
    for name in present:
        arrays[name] = out = _allocate(store, name, (len(times), len(symbols)))
        for asset, asset_columns in enumerate(columns):
            out[:, asset] = _align_column(name, asset_columns, None if rows is None else rows[asset], times)
    return times, arrays


def _require_order(symbol: str, times: NDArray[np.datetime64]) -> None:
    wrong = np.flatnonzero(times[1:] <= times[:-1])
    if len(wrong):
        before, after = times[wrong[0]], times[wrong[0] + 1]
        what = "occurs twice" if before == after else f"follows the bar of {before}"
        raise UsageError(
            f"{symbol}: the bar of {after} {what} (bar {int(wrong[0]) + 2} of the asset); "
            "expected rows sorted by time, one per bar"
        )


def _source_rows(
    symbol: str, times: NDArray[np.datetime64], asset_times: NDArray[np.datetime64], missing: str
) -> NDArray[np.int64]:
    """Return, for each time, the row of its bar, or -1 - row of the last bar before it if the asset has none there."""
    rows = np.searchsorted(asset_times, times, side="right") - 1
    absent = (rows < 0) | (asset_times[np.maximum(rows, 0)] != times)
    if absent.any():
        when = times[int(absent.argmax())]
        if missing == "error":
            raise UsageError(
                f"{symbol} has no bar at {when}, where other assets have one ({int(absent.sum())} such bars); "
                "pass missing='carry' to repeat the previous close without trading, or 'common' to keep shared bars"
            )
        if rows[0] < 0:
            raise UsageError(
                f"{symbol} begins after {times[0]}, so there is no close to carry; pass missing='common', "
                "or remove the asset"
            )
    return np.where(absent, -1 - rows, rows).astype(np.int64)


def _align_column(
    name: str, asset_columns: dict[str, NDArray[Any]], rows: NDArray[np.int64] | None, times: Any
) -> Floats:
    default = {"volume": np.nan, "splits": 1.0, "dividends": 0.0}.get(name, np.nan)
    if name not in asset_columns:
        return np.full(len(times), default)
    if rows is None:
        return asset_columns[name]
    carried = rows < 0
    source = asset_columns["close"] if name in PRICES else asset_columns[name]
    values = np.where(
        carried, source[np.where(carried, -1 - rows, rows)], asset_columns[name][np.where(carried, 0, rows)]
    )
    if name not in PRICES:
        values[carried] = 0.0 if name == "volume" else default
    return values


def _allocate(store: Path | None, name: str, shape: tuple[int, int]) -> Floats:
    if store is None:
        return np.empty(shape)
    return np.memmap(store / f"{name}.f8", dtype=np.float64, mode="w+", shape=shape)


# -- Items ------------------------------------------------------------------------------------------------------------


def read_items(paths: Path | Sequence[Path], timezone: str = "UTC") -> tuple[Item, ...]:
    """Read news and reports from JSONL files.

    Args:
        paths: One file, or several.
        timezone: Time zone of times without an offset.

    Returns:
        The items, in order of publication.

    Raises:
        UsageError: If a file cannot be read or a line is invalid, with the line number.
    """
    zone_named(timezone)
    items: list[Item] = []
    for path in [paths] if isinstance(paths, Path) else paths:
        file_is_aware: bool | None = None
        for number, line in _lines(path):
            try:
                item, aware = _parse_item(line, timezone)
                if file_is_aware not in (None, aware):
                    raise ValueError("the file mixes times with and without an offset; expected one form per file")
            except (ValueError, UsageError) as error:
                raise UsageError(f"{path}:{number}: {error}") from None
            file_is_aware = aware
            items.append(item)
    return tuple(sorted(items))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is not a regular file")
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read items from {path} ({error}); expected a JSONL file in UTF-8") from None


def _parse_item(line: str, timezone: str) -> tuple[Item, bool]:
    row = parse_json(line)
    if not isinstance(row, dict):
        raise ValueError(f"the line is {type(row).__name__}; expected a JSON object")
    fields: dict[str, str] = {}
    for name, default in (("text", None), ("symbol", ""), ("kind", "news")):
        value = row.get(name, default)
        if not isinstance(value, str):
            raise ValueError(f"the field {name!r} is {str(value)[:40]}; expected a string")
        fields[name] = value
    published, aware = _parse_time(row.get("published"), "published", timezone)
    if "bar" in row:
        bar, _ = _parse_time(row["bar"], "bar", timezone)
        if published > bar:
            raise ValueError(
                f"published is {published}, after the bar of {bar} that shows the item; expected a time up to that bar"
            )
    return Item(published, fields["kind"], fields["symbol"], fields["text"]), aware


def _parse_time(value: Any, name: str, timezone: str) -> tuple[np.datetime64, bool]:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"the field {name!r} is {value!r}; expected a time like 2024-05-01T14:30:00Z") from None
    if moment.year not in YEARS:
        raise ValueError(f"the field {name!r} is {value!r}; expected a year from {YEARS[0]} to {YEARS[-1]}")
    aware = moment.tzinfo is not None
    moment = (moment if aware else moment.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "ns"), aware
