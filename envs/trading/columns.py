"""Block-wise reading of price files into columns, in memory or in files."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingExtraError, UsageError

BLOCK_BYTES = 1 << 24
"""Bytes of a CSV file read at once."""
BLOCK_ROWS = 1 << 18
"""Rows of a Parquet file read at once."""
COLUMN_NAMES = {
    "date": "times", "time": "times", "timestamp": "times", "datetime": "times",
    "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume", "adj close": "adjusted",
    "adjclose": "adjusted", "symbol": "symbol", "ticker": "symbol", "split": "splits", "splits": "splits",
    "stock splits": "splits", "dividend": "dividends", "dividends": "dividends",
}  # fmt: skip
"""Accepted column names, mapped to the names used here."""
MAX_LINE_BYTES = 1 << 20
"""Maximum length of a line of a CSV file, so that a damaged or malicious one does not fill the memory."""
REQUIRED = ("times", "open", "high", "low", "close")


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file."""

    columns: dict[str, NDArray[Any]]
    """Columns by name: `times` in nanoseconds UTC, all others float64."""
    symbols: NDArray[Any] | None
    """Symbol of each row; None if the file has one asset."""

    def by_symbol(self, name: str) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        """Yield symbol and rows of each asset, in order of appearance. `name` is the symbol of rows without one."""
        if self.symbols is None:
            yield name, self.columns
            return
        found, first, inverse = np.unique(self.symbols, return_index=True, return_inverse=True)
        for number in np.argsort(first):
            rows = inverse == number
            yield str(found[number]), {column: values[rows] for column, values in self.columns.items()}


class ColumnBuilder:
    """The columns of one asset, built block by block."""

    def __init__(self, symbol: str, store: Path | None) -> None:
        self.symbol = symbol
        self._store = store
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._dtypes: dict[str, Any] = {}
        self._rows = 0

    def append(self, columns: dict[str, NDArray[Any]]) -> None:
        """Add rows. Every call must have the same columns."""
        if self._rows and columns.keys() != self._dtypes.keys():
            raise UsageError(
                f"{self.symbol}: a file has the columns {', '.join(columns)}, another one {', '.join(self._dtypes)}; "
                "expected the same columns in all files of an asset"
            )
        for name, values in columns.items():
            self._dtypes[name] = values.dtype
            if self._store is None:
                self._parts.setdefault(name, []).append(values)
            else:
                with self._file(name).open("ab") as file:
                    file.write(np.ascontiguousarray(values).tobytes())
        self._rows += len(columns["times"])

    def finish(self) -> dict[str, NDArray[Any]]:
        """Return the complete columns; with a store, as memory maps."""
        if self._store is None:
            return {name: np.concatenate(self._parts.pop(name)) for name in list(self._parts)}
        return {name: np.memmap(self._file(name), dtype=kind, mode="r") for name, kind in self._dtypes.items()}

    def _file(self, name: str) -> Path:
        assert self._store is not None
        # Symbols can contain characters that file names cannot.
        return self._store / f"{self.symbol.encode().hex()}.{name}"


def read_blocks(path: Path, timezone: str, *, adjust: bool) -> Iterator[Block]:
    """Yield the rows of a price file in blocks.

    Args:
        path: A CSV or Parquet file.
        timezone: Time zone of times without an offset.
        adjust: Whether to multiply prices by adjusted close / close.

    Raises:
        UsageError: If the file cannot be read, a column is missing, or a value is invalid.
        MissingExtraError: If `pyarrow` is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("pyarrow", "trading") from None
    zone_named(timezone)
    parquet = path.suffix in (".parquet", ".pq")
    row, file_is_aware = 1 if parquet else 2, None
    try:
        for batch in _parquet(path) if parquet else _csv(path):
            if batch.num_rows:
                block, aware = _block(path, batch, timezone, adjust, row)
                if file_is_aware not in (None, aware):
                    raise UsageError(f"{path} mixes times with and without an offset; expected one form per file")
                file_is_aware = aware
                yield block
            row += batch.num_rows
    except (pyarrow.ArrowException, OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise UsageError(
            f"cannot read prices from {path}: {_described(error, row)}; expected CSV or Parquet with a header"
        ) from None


def zone_named(timezone: str) -> ZoneInfo:
    """Return a time zone; raise `UsageError` if it is unknown."""
    try:
        return ZoneInfo(timezone)
    except (ValueError, OSError, KeyError):
        raise UsageError(f"timezone is {timezone!r}; expected a known time zone such as America/New_York") from None


def _described(error: Exception, first: int) -> str:
    """Return the text of an error in one line, with the row of the file. `first` is the row where its block begins."""
    text = " ".join(str(error).split())[:300]
    if "Row #" not in text:
        return f"row {first} or later: {text}"
    return re.sub(r"Row #(\d+)", lambda match: f"row {first + int(match[1]) - 1}", text)


def _csv(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv

    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        header = _line(path, file)
        head = csv.read_csv(io.BytesIO(header), parse_options=csv.ParseOptions(newlines_in_values=False))
        names = head.schema.names
        wanted = _wanted(path, names)
        kinds = {name: pa.string() if _canonical_name(name) in ("times", "symbol") else pa.float64() for name in wanted}
        convert = csv.ConvertOptions(column_types=kinds, include_columns=wanted, strings_can_be_null=True)
        read = csv.ReadOptions(column_names=names, use_threads=False)
        # The streaming reader of Arrow reads ahead without limit, so blocks are cut here.
        while block := file.read(BLOCK_BYTES):
            whole = block + _line(path, file)
            if whole.strip():
                yield from csv.read_csv(io.BytesIO(whole), read_options=read, convert_options=convert).to_batches()


def _line(path: Path, file: Any) -> bytes:
    line: bytes = file.readline(MAX_LINE_BYTES + 1)
    if len(line) > MAX_LINE_BYTES:
        raise UsageError(f"{path} has a line of more than {MAX_LINE_BYTES:,} bytes; expected one bar per line")
    return line


def _parquet(path: Path) -> Iterator[Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path, pre_buffer=False) as file:
        names = _wanted(path, file.schema_arrow.names)
        yield from file.iter_batches(BLOCK_ROWS, columns=names, use_threads=False)


def _wanted(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of the columns to read; raise `UsageError` if two have the same meaning."""
    wanted: dict[str, str] = {}
    for name in names:
        known = _canonical_name(name)
        if known in wanted:
            raise UsageError(
                f"{path} has two columns for {known}, one of them {name!r}; expected one; remove the other"
            )
        if known:
            wanted[known] = name
    return list(wanted.values())


def _canonical_name(name: str) -> str | None:
    return COLUMN_NAMES.get(name.strip().lower().replace("_", " "))


def _block(path: Path, batch: Any, timezone: str, adjust: bool, row: int) -> tuple[Block, bool]:
    named = ((_canonical_name(name), name) for name in batch.schema.names)
    found: dict[str, Any] = {known: batch.column(name) for known, name in named if known}
    absent = [name for name in (*REQUIRED, *(["adjusted"] if adjust else [])) if name not in found]
    if absent:
        wanted = {"times": "date", "adjusted": "adj close"}.get(absent[0], absent[0])
        raise UsageError(f"{path} has no column {wanted!r}; its columns are {', '.join(batch.schema.names) or 'none'}")
    times, aware = _utc_times(path, found.pop("times"), timezone, row)
    symbols = found.pop("symbol", None)
    if symbols is not None and symbols.null_count:
        raise UsageError(
            f"{path}: row {row + int(np.argmax(symbols.is_null()))} has no symbol; expected one in every row"
        )
    numbers = {name: _float64(values) for name, values in found.items()}
    factor = numbers.pop("adjusted", None)
    if adjust and factor is not None:
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


def _float64(values: Any) -> NDArray[np.float64]:
    return np.array(values.cast("float64").to_numpy(zero_copy_only=False), dtype=np.float64)


def _utc_times(path: Path, values: Any, timezone: str, row: int) -> tuple[NDArray[np.datetime64], bool]:
    """Convert to nanoseconds in UTC. Also return whether the file's times have an offset."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.null_count:
        raise UsageError(f"{path}: row {row + int(np.argmax(values.is_null()))} has no date; expected one in every row")
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = _parse_strings(path, values, row)
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ns"))
    if not pa.types.is_timestamp(values.type):
        raise UsageError(
            f"{path}: dates have the type {values.type}; expected ISO 8601 such as 2024-05-01 or 2024-05-01T14:30:00Z"
        )
    aware = values.type.tz is not None
    if not aware and timezone != "UTC":
        values = pc.assume_timezone(values.cast(pa.timestamp("ns")), timezone)
    values = values.cast(pa.timestamp("ns", "UTC" if values.type.tz else None))
    return np.array(values.cast("int64").to_numpy(zero_copy_only=False)).astype("datetime64[ns]"), aware


def _parse_strings(path: Path, values: Any, row: int) -> Any:
    import pyarrow as pa

    kinds = (pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
    for kind in kinds:
        try:
            return values.cast(kind)
        except pa.ArrowInvalid:
            continue
    first = _parsable_type(values[0], kinds)
    for number, value in enumerate(values):
        found = _parsable_type(value, kinds)
        if found is None:
            raise UsageError(
                f"{path}: row {row + number} has the date {value.as_py()!r}; expected ISO 8601 such as 2024-05-01 or "
                "2024-05-01T14:30:00Z"
            )
        if found != first:
            raise UsageError(
                f"{path}: row {row + number} has the date {value.as_py()!r} and row {row} {values[0].as_py()!r}; "
                "the file mixes times with and without an offset; expected one form per file"
            )
    raise UsageError(f"{path}: the dates from row {row} on cannot be parsed; expected ISO 8601 such as 2024-05-01")


def _parsable_type(value: Any, kinds: tuple[Any, ...]) -> int | None:
    import pyarrow as pa

    for number, kind in enumerate(kinds):
        try:
            value.cast(kind)
        except pa.ArrowInvalid:
            continue
        return number
    return None
