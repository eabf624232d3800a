"""Reading price files block by block into columns, in memory or in files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError, UsageError

BLOCK_BYTES = 1 << 24
"""Of a CSV file that are read at once."""
BLOCK_ROWS = 1 << 18
"""Of a Parquet file that are read at once."""
NAMES = {
    "date": "times", "time": "times", "timestamp": "times", "datetime": "times",
    "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume", "adj close": "adjusted",
    "adjclose": "adjusted", "symbol": "symbol", "ticker": "symbol", "split": "splits", "splits": "splits",
    "stock splits": "splits", "dividend": "dividends", "dividends": "dividends",
}  # fmt: skip
"""What the columns of a file may be called."""
REQUIRED = ("times", "open", "high", "low", "close")


@dataclass(frozen=True)
class Block:
    """Some rows of a file, in their order."""

    columns: dict[str, NDArray[Any]]
    """`times` in nanoseconds UTC, prices and the like in float64."""
    symbols: NDArray[Any] | None
    """Of each row; None when the file has one asset."""

    def by_symbol(self, name: str) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        """The rows of each asset, the assets in order of appearance; `name` is the asset's when rows name none."""
        if self.symbols is None:
            yield name, self.columns
            return
        found, first, inverse = np.unique(self.symbols, return_index=True, return_inverse=True)
        for number in np.argsort(first):
            rows = inverse == number
            yield str(found[number]), {column: values[rows] for column, values in self.columns.items()}


class Builder:
    """The columns of one asset, growing block by block."""

    def __init__(self, symbol: str, store: Path | None) -> None:
        self.symbol = symbol
        self._store = store
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._kinds: dict[str, Any] = {}
        self._rows = 0

    def append(self, columns: dict[str, NDArray[Any]]) -> None:
        """Add rows; each call brings the same columns."""
        if self._rows and columns.keys() != self._kinds.keys():
            raise UsageError(
                f"{self.symbol}: a file has the columns {', '.join(columns)}, another one {', '.join(self._kinds)}; "
                "an asset's rows must all have the same"
            )
        for name, values in columns.items():
            self._kinds[name] = values.dtype
            if self._store is None:
                self._parts.setdefault(name, []).append(values)
            else:
                with self._file(name).open("ab") as file:
                    file.write(np.ascontiguousarray(values).tobytes())
        self._rows += len(columns["times"])

    def finish(self) -> dict[str, NDArray[Any]]:
        """Each column whole; of a store, as a map of its file."""
        if self._store is None:
            return {name: np.concatenate(self._parts.pop(name)) for name in list(self._parts)}
        return {name: np.memmap(self._file(name), dtype=kind, mode="r") for name, kind in self._kinds.items()}

    def _file(self, name: str) -> Path:
        assert self._store is not None
        # Symbols may hold what file names may not.
        return self._store / f"{self.symbol.encode().hex()}.{name}"


def blocks(path: Path, timezone: str, *, adjusts: bool) -> Iterator[Block]:
    """The rows of a file, in order; with `adjusts`, prices are multiplied by adjusted close / close.

    Raises `UsageError` for a file that cannot be read, a column that is missing, and a value that is none.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("pyarrow", "trading") from None
    try:
        ZoneInfo(timezone)
    except (ValueError, OSError, KeyError):
        raise UsageError(f"there is no time zone {timezone!r}; expected one like America/New_York") from None
    parquet = path.suffix in (".parquet", ".pq")
    row, zoned = 1 if parquet else 2, None
    try:
        for batch in _parquet(path) if parquet else _csv(path):
            if batch.num_rows:
                block, aware = _block(path, batch, timezone, adjusts, row)
                if zoned not in (None, aware):
                    raise UsageError(f"{path}: times with and without an offset are mixed; write all in one way")
                zoned = aware
                yield block
            row += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"cannot read prices from {path}: {error}; expected CSV or Parquet with a header") from None


def _csv(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv

    with csv.open_csv(path, read_options=csv.ReadOptions(block_size=1 << 20)) as head:
        names = [name for name in head.schema.names if _known(name)]
    texts = ("times", "symbol")
    kinds = {name: pa.string() if _known(name) in texts else pa.float64() for name in names}
    options = csv.ConvertOptions(column_types=kinds, include_columns=names, strings_can_be_null=True)
    read = csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
    with csv.open_csv(path, read_options=read, convert_options=options) as reader:
        yield from reader


def _parquet(path: Path) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if _known(name)]
        yield from file.iter_batches(BLOCK_ROWS, columns=names, use_threads=False)


def _known(name: str) -> str | None:
    return NAMES.get(name.strip().lower().replace("_", " "))


def _block(path: Path, batch: Any, timezone: str, adjusts: bool, row: int) -> tuple[Block, bool]:
    found: dict[str, Any] = {}
    for name in batch.schema.names:
        known = _known(name)
        if known in found:
            raise UsageError(f"{path} has two columns for {known}: one is {name!r}; leave one out")
        if known:
            found[known] = batch.column(name)
    lacking = [name for name in (*REQUIRED, *(["adjusted"] if adjusts else [])) if name not in found]
    if lacking:
        wanted = {"times": "date", "adjusted": "adj close"}.get(lacking[0], lacking[0])
        raise UsageError(f"{path} has no column {wanted!r}; there are {', '.join(batch.schema.names) or 'none'}")
    times, aware = _times(path, found.pop("times"), timezone, row)
    symbols = found.pop("symbol", None)
    if symbols is not None and symbols.null_count:
        raise UsageError(f"{path}: row {row + int(np.argmax(symbols.is_null()))} has no symbol; every row needs one")
    numbers = {name: _numbers(values) for name, values in found.items()}
    factor = numbers.pop("adjusted", None)
    if adjusts and factor is not None:
        factor = factor / numbers["close"]
        for name in ("open", "high", "low", "close"):
            numbers[name] = numbers[name] * factor
    if "splits" in numbers:
        numbers["splits"] = np.where(np.nan_to_num(numbers["splits"]) == 0, 1.0, numbers["splits"])
    if "dividends" in numbers:
        numbers["dividends"] = np.nan_to_num(numbers["dividends"])
    numbers.setdefault("volume", np.full(len(times), np.nan))
    names = None if symbols is None else symbols.to_numpy(zero_copy_only=False).astype(str)
    return Block({"times": times, **numbers}, names), aware


def _numbers(values: Any) -> NDArray[np.float64]:
    return np.array(values.cast("float64").to_numpy(zero_copy_only=False), dtype=np.float64)


def _times(path: Path, values: Any, timezone: str, row: int) -> tuple[NDArray[np.datetime64], bool]:
    """Nanoseconds in UTC, and whether the file said an offset."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.null_count:
        raise UsageError(f"{path}: row {row + int(np.argmax(values.is_null()))} has no date; every row needs one")
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = _parsed(path, values, row)
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ns"))
    if not pa.types.is_timestamp(values.type):
        raise UsageError(f"{path}: dates are {values.type}; expected ISO 8601 like 2024-05-01 or 2024-05-01T14:30:00Z")
    aware = values.type.tz is not None
    if not aware and timezone != "UTC":
        values = pc.assume_timezone(values.cast(pa.timestamp("ns")), timezone)
    values = values.cast(pa.timestamp("ns", "UTC" if values.type.tz else None))
    return np.array(values.cast("int64").to_numpy(zero_copy_only=False)).astype("datetime64[ns]"), aware


def _parsed(path: Path, values: Any, row: int) -> Any:
    import pyarrow as pa

    kinds = (pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
    for kind in kinds:
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:
            continue
    first = _readable(values[0], kinds)
    for number, value in enumerate(values):
        found = _readable(value, kinds)
        if found is None:
            raise UsageError(
                f"{path}: row {row + number} is dated {value.as_py()!r}; expected ISO 8601 like 2024-05-01 or "
                "2024-05-01T14:30:00Z"
            )
        if found != first:
            raise UsageError(
                f"{path}: row {row + number} is dated {value.as_py()!r} and row {row} {values[0].as_py()!r}: times "
                "with and without an offset are mixed; write all in one way"
            )
    raise UsageError(f"{path}: dates from row {row} on cannot be read; expected ISO 8601 like 2024-05-01")


def _readable(value: Any, kinds: tuple[Any, ...]) -> int | None:
    import pyarrow as pa

    for number, kind in enumerate(kinds):
        try:
            value.cast(kind)
        except pa.ArrowInvalid:
            continue
        return number
    return None
