"""Markets and price files: loading, validation, and error messages with file and row."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kintsugi.envs.trading import Item, Market, TradingEnv
from kintsugi.envs.trading.data import load_market, read_items
from kintsugi.envs.trading.simulator import SimulatorConfig, simulate
from kintsugi.errors import UsageError

HEAD = "Date,Open,High,Low,Close,Volume\n"
GOOD = ["2024-01-02,10,11,9,10.5,100", "2024-01-03,10.5,12,10,11,200", "2024-01-04,11,11.5,10.5,11,0"]


def market(**changes: object) -> Market:
    days = np.datetime64("2024-01-02T21") + np.arange(4) * np.timedelta64(1, "D")
    price = np.array([10.0, 11, 12, 11])
    fields = {"symbols": ("A",), "times": days, "open": price, "high": price + 1, "low": price - 1, "close": price}
    return Market(**{**fields, "volume": np.ones(4), **changes})


def csv(folder: Path, lines: list[str], head: str = HEAD, name: str = "ACME.csv") -> Path:
    path = folder / name
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def test_market_is_read_only_hashed_and_has_windows():
    whole = simulate(SimulatorConfig(assets=3, bars=50), 1)
    assert whole.hash == simulate(SimulatorConfig(assets=3, bars=50), 1).hash
    assert whole.hash != replace(whole, close=whole.close * (1 + 1e-12)).hash
    assert whole.hash != replace(whole, items=whole.items[:-1]).hash
    assert whole.hash != replace(whole, adjusted=True).hash
    with pytest.raises(ValueError, match="read-only"):
        whole.close[0] = 1
    part = whole.window(10, 30, whole.symbols[::2])
    assert part.symbols == whole.symbols[::2]
    assert np.array_equal(part.close, whole.close[10:30, ::2])
    assert {item.symbol for item in part.items} == set(part.symbols)
    assert all(item.published <= part.times[-1] for item in part.items)
    shown = [item for bar in range(50) for item in whole.items_at(bar)]
    assert shown == list(whole.items)
    for bar in range(1, 50):
        assert all(whole.times[bar - 1] < item.published <= whole.times[bar] for item in whole.items_at(bar))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": np.array(["2024-01-03", "2024-01-02", "2024-01-04", "2024-01-05"], "M8[ns]")}, "after 2024-01-03"),
        ({"times": np.array(["2024-01-02", "2024-01-02", "2024-01-04", "2024-01-05"], "M8[ns]")}, "twice; keep one"),
        ({"times": np.array(["2024-01-02", "NaT", "2024-01-04", "2024-01-05"], "M8[ns]")}, "bar 1 has no time"),
        ({"close": [10, np.nan, 12, 11]}, r"A: close is nan at 2024-01-03T21.*\(bar 1\); expected a finite price"),
        ({"low": [9, 10, -1, 10]}, "low is -1.0 at 2024-01-04"),
        ({"open": [10, 0, 12, 11]}, "open is 0.0"),
        ({"high": [11, 12, 13, np.inf]}, "high is inf"),
        ({"high": [8, 12, 13, 12]}, "high is 8.0 .* below the bar's low"),
        ({"close": [10, 11, 12, 14]}, "close is 14.0 .* not between the bar's low and high"),
        ({"volume": [1, 1, -1, 1]}, "volume is -1.0"),
        ({"splits": [1, 0, 1, 1]}, "splits is 0.0"),
        ({"dividends": [0, np.nan, 0, 0]}, "dividends is nan"),
        ({"volume": np.ones(3)}, r"volume has the shape \(3, 1\); expected \(4, 1\)"),
        ({"close": [10, 1e-320, 12, 11]}, "close is 1e-320 .*expected a finite price above 0, from 1e-50"),
        ({"high": [11, 12, 1e60, 12]}, r"high is 1e\+60"),
        ({"volume": [1, 1, 1e300, 1]}, r"volume is 1e\+300 .*expected 0 to 1e\+50"),
        ({"splits": [1, 1e-300, 1, 1]}, "splits is 1e-300 .*at most 1,000,000 to 1"),
        ({"dividends": [0, 0, 1e300, 0]}, r"dividends is 1e\+300"),
        ({"times": np.datetime64("2300-01-01") + np.arange(4)}, "a time is 2300-01-01; expected a year from 1678"),
        ({"times": [f"{year}-01-01" for year in (1600, 1700, 1800, 1900)]}, "a time is 1600-01-01"),
        ({"times": ["a", "b", "c", "d"]}, "a time cannot be read"),
        ({"symbols": ("A A",)}, "none empty or with spaces"),
        ({"items": (Item(np.datetime64("2024-01-02"), "news", "B", "x"),)}, "unknown symbol 'B' of the item"),
        (
            {"items": tuple(Item(np.datetime64(day), "news", "A", "x") for day in ("2024-01-03", "2024-01-02"))},
            "sort items by publication",
        ),
    ],
)
def test_invalid_market_is_refused_with_place_and_value(changes, message):
    with pytest.raises(UsageError, match=message):
        market(**changes)


def test_csv_and_parquet_load_the_same_market(tmp_path):
    pyarrow_csv, parquet = pytest.importorskip("pyarrow.csv"), pytest.importorskip("pyarrow.parquet")
    path = csv(tmp_path, GOOD)
    loaded = load_market(path)
    assert loaded.symbols == ("ACME",)
    assert loaded.close[:, 0].tolist() == [10.5, 11, 11]
    assert str(loaded.times[0]) == "2024-01-02T00:00:00.000000000"
    parquet.write_table(pyarrow_csv.read_csv(path), tmp_path / "ACME.parquet")
    assert load_market(tmp_path / "ACME.parquet").hash == loaded.hash
    assert load_market(path, store=tmp_path / "store").hash == loaded.hash
    with gzip.open(tmp_path / "ACME.csv.gz", "wb") as file:
        file.write(path.read_bytes())
    assert load_market(tmp_path / "ACME.csv.gz").hash == loaded.hash
    closing = load_market(path, closes="16:00", timezone="America/New_York")
    assert str(closing.times[0]) == "2024-01-02T21:00:00.000000000"
    zoned = [line.replace(",", "T05:00:00+05:00,", 1) for line in GOOD]
    assert load_market(csv(tmp_path, zoned, name="ACME.csv")).hash == loaded.hash


def test_several_assets_splits_dividends_and_adjusted_prices(tmp_path):
    head = "date,symbol,open,high,low,close,adj close,stock splits,dividends\n"
    rows = [
        f"2024-01-0{d},{s},10,11,9,10,{5 * d / 4},{2 if d == 3 else 0},{0.5 * (d == 4)}"
        for d in (2, 3, 4)
        for s in "AB"
    ]
    path = csv(tmp_path, rows, head)
    raw = load_market(path)
    assert raw.symbols == ("A", "B")
    assert raw.splits is not None
    assert raw.dividends is not None
    assert raw.splits[:, 1].tolist() == [1, 2, 1]
    assert raw.dividends[:, 0].tolist() == [0, 0, 0.5]
    assert np.isnan(raw.volume).all()
    adjusted = load_market(path, adjustment="adjust")
    assert adjusted.adjusted
    assert adjusted.high[:, 0].tolist() == [2.75, 4.125, 5.5]
    folder = tmp_path / "many"
    folder.mkdir()
    csv(folder, GOOD, name="B.csv")
    csv(folder, GOOD[1:], name="A.csv")
    with pytest.raises(UsageError, match=r"A has no bar at 2024-01-02.*\(1 such bars\); pass missing='carry'"):
        load_market(folder)
    with pytest.raises(UsageError, match="A begins after .* no close to carry"):
        load_market(folder, missing="carry")
    assert len(load_market(folder, missing="common")) == 2
    csv(folder, [GOOD[0], GOOD[2]], name="A.csv")
    carried = load_market(folder, missing="carry")
    assert carried.close[:, 0].tolist() == [10.5, 10.5, 11]
    assert carried.volume[:, 0].tolist() == [100, 0, 0]
    assert carried.open[1, 0] == 10.5


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (GOOD[::-1], r"ACME: the bar of 2024-01-03.* follows the bar of 2024-01-04.*; expected rows sorted by time"),
        ([GOOD[0], *GOOD], "occurs twice"),
        ([GOOD[0], ",10,11,9,10,1"], "row 3 has no date"),
        (["yesterday,10,11,9,10,1"], "row 2 has the date 'yesterday'; expected ISO 8601"),
        (
            [GOOD[0], "2024-01-03T00:00:00Z,10,11,9,10,1"],
            "row 3 has the date .* mixes times with and without an offset",
        ),
        (["2024-01-02,,11,9,10,1"], "open is nan at 2024-01-02"),
        (["2024-01-02,-10,11,9,10,1"], "open is -10.0"),
        (["2024-01-02,10,8,9,10,1"], "high is 8.0 .* below the bar's low"),
        (["2024-01-02,ten,11,9,10,1"], "cannot read prices from .*ACME.csv.*'ten'"),
        ([], "contains no bars"),
    ],
)
def test_invalid_price_file_is_refused_with_its_place(tmp_path, lines, message):
    with pytest.raises(UsageError, match=message):
        load_market(csv(tmp_path, lines))


DAMAGED = {
    "two_columns": (b"Date,Open,High,Low,Close,open\n" + GOOD[0].encode(), "csv", "two columns for open"),
    "truncated_gzip": (gzip.compress((HEAD + "\n".join(GOOD)).encode())[:-12], "csv.gz", "row 2 or later: Compressed"),
    "damaged_gzip": (gzip.compress(HEAD.encode() * 99)[:20] + b"\xff" * 60, "csv.gz", "Error -3|Compressed|CRC"),
    "header_bytes": (b"Date,Open,\xff\n1,2,3\n", "csv", "can't decode byte 0xff"),
    "wide": (b"Date," * 10**6, "csv", "has a line of more than 1,048,576 bytes"),
    "long": ((HEAD + GOOD[0] + "\n").encode() + b"1" * (1 << 25), "csv", "has a line of more than 1,048,576 bytes"),
    "columns": ((HEAD + "\n".join([*GOOD[:2], "2024-01-04,11"])).encode(), "csv", "row 4: Expected 6 columns, got 2"),
    "number": ((HEAD + "\n".join([*GOOD[:2], "2024-01-04,0x1,1,1,1,1"])).encode(), "csv", "row 4: .*'0x1'"),
    "quote": ((HEAD + "\n".join(['2024-01-01,"1,1,1,1,1', *GOOD])).encode(), "csv", "row 2: Expected 6 columns"),
    "year": ((HEAD + "\n".join([*GOOD, "9999-01-04,1,1,1,1,1"])).encode(), "csv", "row 5 has the date '9999-01-04'"),
    "parquet": (b"PAR1" + b"\0" * 100 + b"PAR1", "parquet", "cannot read prices from"),
    "tiny": ((HEAD + "2024-01-04,1e-320,1e-320,1e-320,1e-320,1").encode(), "csv", "ACME.csv: ACME: open is 1e-320"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_price_file_is_refused_in_one_line_that_names_it(tmp_path, name):
    content, suffix, message = DAMAGED[name]
    path = tmp_path / f"ACME.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_market(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prices_and_items_that_are_no_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    prices = csv(tmp_path, GOOD)
    for path in (tmp_path / "pipe.csv", tmp_path / ("x" * 300), Path("a\0b"), tmp_path / "none"):
        with pytest.raises(UsageError, match="cannot read prices from "):
            load_market(path)
        with pytest.raises(UsageError, match="cannot read items from "):
            load_market(prices, path)
    # A folder's other entries are left out.
    assert load_market(tmp_path).symbols == ("ACME",)
    with pytest.raises(UsageError, match="timezone is 'Mars/Base'"):
        read_items(tmp_path / "items.jsonl", "Mars/Base")


@pytest.mark.parametrize("field", ["published", "bar"])
@pytest.mark.parametrize(
    "time", ["2300-01-01", "1600-01-01", "2262-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00",
             "9999-12-31T23:59:59-14:00"],
)  # fmt: skip
def test_items_of_years_that_nanoseconds_cannot_hold_are_refused(tmp_path, field, time):
    path = tmp_path / "items.jsonl"
    path.write_text(json.dumps({"published": "1678-01-02", "text": "x"} | {field: time}))
    with pytest.raises(UsageError, match=rf"items.jsonl:1: the field '{field}' is '{time[:4]}.*from 1678 to 2261"):
        read_items(path)
    with pytest.raises(UsageError, match="expected a year from 1678 to 2261"):
        Item(np.datetime64("2300-01-01"), "news", "", "x")


def test_items_of_the_first_and_the_last_year_are_read(tmp_path):
    path = tmp_path / "items.jsonl"
    times = ["1678-01-01T00:00:00+14:00", "2261-12-31T23:59:59-14:00"]
    path.write_text("\n".join(json.dumps({"published": time, "text": "x"}) for time in times))
    assert [str(item.published)[:16] for item in read_items(path)] == ["1677-12-31T10:00", "2262-01-01T13:59"]
    path.write_text("[" * 200_000)
    with pytest.raises(UsageError, match="items.jsonl:1: it is nested too deeply"):
        read_items(path)


@pytest.mark.parametrize("price", [1e-49, 1e49])
def test_extreme_prices_are_traded(tmp_path, price):
    rows = [f"{np.datetime64('2024-01-01') + i},{price},{price},{price},{price},1e50" for i in range(400)]
    tasks = TradingEnv.tasks("valid", 1, source="file", path=str(csv(tmp_path, rows)))
    env = TradingEnv(max_steps=4)
    env.reset(options={"task": tasks.tasks[0]})
    for action in ("buy 0.5 ACME", "hold", "sell all", "sell 0.5 ACME"):
        _, reward, *_ = env.step(action)
        assert np.isfinite(reward)


def test_other_load_errors(tmp_path):
    path = csv(tmp_path, GOOD)
    with pytest.raises(UsageError, match="has no column 'close'; its columns are"):
        load_market(csv(tmp_path, ["2024-01-02,1,1,1"], "date,open,high,low\n", "B.csv"))
    with pytest.raises(UsageError, match="nowhere does not exist"):
        load_market(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="timezone is 'Mars/Base'"):
        load_market(path, timezone="Mars/Base")
    with pytest.raises(UsageError, match="did you mean 'adjusted'"):
        load_market(path, adjustment="adjustd")
    with pytest.raises(UsageError, match="closes is '25:00'"):
        load_market(path, closes="25:00")
    with pytest.raises(UsageError, match="is not empty"):
        load_market(path, store=tmp_path)


def test_items_are_sorted_and_invalid_lines_are_named(tmp_path):
    path = tmp_path / "items.jsonl"
    rows = [
        {"published": "2024-01-03T10:00:00-05:00", "symbol": "A", "text": "later"},
        {"published": "2024-01-02T10:00:00Z", "kind": "report", "text": "sooner", "bar": "2024-01-02T21:00:00Z"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [(item.text, item.kind, item.symbol) for item in read_items(path)] == [
        ("sooner", "report", ""),
        ("later", "news", "A"),
    ]
    assert str(read_items(path)[1].published) == "2024-01-03T15:00:00.000000000"
    for row, message in (
        ({"published": "2024-01-03T22:00Z", "text": "x", "bar": "2024-01-03T21:00Z"}, "after the bar of 2024-01-03T21"),
        ({"published": "2024-01-03", "text": "x"}, "mixes times with and without an offset"),
        ({"published": "soon", "text": "x"}, "'published' is 'soon'"),
        ({"text": "x"}, "'published' is None"),
        ({"published": "2024-01-03T10:00Z"}, "'text' is None"),
        ({"published": "2024-01-03T10:00Z", "text": "x", "kind": "rumour"}, "unknown kind of item 'rumour'"),
        ([], "the line is list"),
    ):
        path.write_text("\n".join(map(json.dumps, [*rows, row])))
        with pytest.raises(UsageError, match=rf"items.jsonl:3: .*{message}"):
            read_items(path)


def test_file_tasks_are_split_by_time_and_symbol_and_detect_a_changed_file(tmp_path):
    made = simulate(SimulatorConfig(assets=5, bars=600), 3)
    folder = tmp_path / "prices"
    folder.mkdir()
    for asset, symbol in enumerate(made.symbols):
        names = ("open", "high", "low", "close", "volume")
        rows = zip(made.times, *(getattr(made, name)[:, asset].tolist() for name in names), strict=True)
        csv(folder, [",".join(map(str, row)) for row in rows], name=f"{symbol}.csv")
    options = {"source": "file", "path": str(folder), "bars": "40", "folds": "2", "cash": "5000"}
    train, valid, unseen = (TradingEnv.tasks(split, **options) for split in ("train", "valid", "valid_unseen"))
    last = max(task.params["first"] + 40 for task in train)
    assert all(task.params["first"] >= last + 20 for task in (*valid, *unseen))
    symbols = [{s for task in tasks for s in task.params["symbols"]} for tasks in (train, valid, unseen)]
    assert symbols[0] == symbols[1]
    assert not symbols[0] & symbols[2]
    assert len(symbols[2]) == 1
    assert TradingEnv.tasks("train", 7, 1, **options).hash == TradingEnv.tasks("train", 7, 1, **options).hash
    env = TradingEnv()
    task = valid.tasks[0]
    observation, info = env.reset(options={"task": task})
    assert info["account"].cash == 5000
    assert f"{task.params['symbols'][0]}: open" in observation
    assert info["time"] == str(made.times[task.params["first"]])
    changed = replace(task, id="x", params={**task.params, "market": "0" * 12})
    with pytest.raises(UsageError, match="restore the old file"):
        env.reset(options={"task": changed})
    with pytest.raises(UsageError, match="reduce assets or bars, or provide more data"):
        TradingEnv.tasks("valid_unseen", **{**options, "assets": 2})
    with pytest.raises(UsageError, match="unknown parameter of trading tasks from a file 'purg'; did you mean 'purge'"):
        TradingEnv.tasks("train", **options, purg=3)


@pytest.mark.requires("pyarrow")
@pytest.mark.parametrize(("kind", "parts", "limit"), [("parquet", 20, 150), ("csv", 8, 100)])
def test_ten_million_bars_are_loaded_in_bounded_memory(tmp_path, kind, parts, limit):
    """Runs in a separate process and counts allocations of numpy and Arrow. The CSV file is shorter to save time."""
    code = """
import sys, tracemalloc
from pathlib import Path
import numpy as np, pyarrow as pa
from pyarrow import csv, parquet
from kintsugi.envs.trading.data import load_market
path, parts, part = Path(sys.argv[1]), int(sys.argv[2]), 500_000
names = ("open", "high", "low", "close", "volume")
schema = pa.schema([("date", pa.timestamp("s")), *((name, pa.float64()) for name in names)])
with (csv.CSVWriter if path.suffix == ".csv" else parquet.ParquetWriter)(path, schema) as writer:
    for number in range(parts):
        times = pa.array(np.arange(number * part, (number + 1) * part)).cast(pa.timestamp("s"))
        price = np.round(100 + np.sin(np.arange(part) / 1000), 6)
        writer.write_table(pa.table([times, price, price, price, price, price], schema))
tracemalloc.start()
market = load_market(path, store=path.parent / "store")
assert len(market) == part * parts and market.close[-1, 0] == price[-1]
print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory())
"""
    path = tmp_path / f"A.{kind}"
    arguments = [sys.executable, "-c", code, str(path), str(parts)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < limit * 2**20


def test_split_adjustment_of_yahoo_prices_is_undone():
    pandas = pytest.importorskip("pandas")
    from kintsugi.envs.trading.yahoo import market_from_frames

    days = pandas.date_range("2024-01-02", periods=3, tz="America/New_York")
    price = {name: [50.0, 51.0, 26.0] for name in ("Open", "High", "Low", "Close")}
    # Yahoo counts bars before a two-for-one split in shares after the split.
    price = {name: [values[0] / 2, values[1] / 2, values[2]] for name, values in price.items()}
    frame = pandas.DataFrame(
        {**price, "Volume": [200, 200, 100], "Dividends": [0, 0.5, 0], "Stock Splits": [0, 0, 2.0]}, index=days
    )
    found = market_from_frames({"A": frame, "B": frame.iloc[1:]}, adjusted=False, closes="21:00")
    assert found.close.tolist() == [[51, 51], [26, 26]]
    assert found.splits is not None
    assert found.dividends is not None
    assert found.splits.tolist() == [[1, 1], [2, 2]]
    assert found.dividends[0, 0] == 1.0
    assert found.volume[0, 0] == 100
    assert str(found.times[0]) == "2024-01-03T21:00:00.000000000"
    whole = market_from_frames({"A": frame}, adjusted=True, closes="21:00")
    assert whole.adjusted
    assert whole.close[0, 0] == 25
