"""`kintsugi improve` after `kill -9` at any moment: the same command again ends like an uninterrupted run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from door_env import COLOURS
from kintsugi.cli import main

KILLS = 3
FLAGS = (
    *("--env", "doors", "--loop.practice.tasks", "10", "--loop.attempts.k", "2"),
    *("--loop.attempts.at-once", "3", "--loop.fit.epochs", "1", "--loop.gate.tasks", "6"),
    *("--held-out.tasks", "10", "--held-out.at-once", "4"),
)
LOOPS = {
    "re-rest": (("--loop.rounds", "2"), {"reflector@1", "re_rest@1", "reflector@2", "re_rest@2"}),
    "agent-r": (
        (
            *("--loop.alpha", "0.5", "1.0", "--loop.search.candidates", "2", "--loop.search.iterations", "4"),
            *("--loop.search.max-depth", "2", "--loop.verifier.prompt", "Judge."),
            *("--loop.max-unparsed", "1", "--loop.verifier-role", "kept"),
            *(
                "--loop.recovery.steps",
                "1",
                "--loop.recovery.max-beginnings",
                "5",
                "--loop.recovery.temperature",
                "1.0",
            ),
        ),
        {"agent_r@1", "agent_r@2"},
    ),
}
"""Flags of each loop, and the adapters that it trains."""


def command(model: Path | str, run: Path, loop: str = "re-rest") -> list[str]:
    return ["improve", loop, "--model", str(model), "--run", str(run), *FLAGS, *LOOPS[loop][0]]


def started(model: Path, run: Path, site: Path, loop: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(site), str(Path(__file__).parents[1] / "support")])
    return subprocess.Popen(
        [sys.executable, "-m", "kintsugi", *command(model, run, loop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


def progress(run: Path) -> int:
    """Number of stored attempts, tree parts, results and adapter folders."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{run}/run.db?mode=ro", uri=True)) as db:
            tables = ("trajectories", "growth", "results")
            stored = sum(int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables)
    except sqlite3.Error:
        return 0
    return stored + sum(1 for _ in (run / "adapters").glob("*"))


def outcome(run: Path) -> dict[str, Any]:
    """All records except wall times; they must not depend on interruptions."""
    with contextlib.closing(sqlite3.connect(run / "run.db")) as db:
        rows = db.execute("SELECT stage, key, data, sha FROM trajectories ORDER BY number").fetchall()
        trees = db.execute("SELECT stage, key, part, data FROM growth ORDER BY stage, key, part").fetchall()
        results = dict(db.execute("SELECT stage, data FROM results ORDER BY rowid").fetchall())
    stages = {name: json.loads(result) for name, result in results.items() if not name.startswith(("timing/", "cost/"))}
    for name, result in stages.items():
        if name.startswith("score/"):
            result.pop("seconds")
    adapters = {path.parent.name: path.read_bytes() for path in run.glob("adapters/*/adapter_model.safetensors")}
    config = (run / "config.toml").read_text()
    return {"rows": rows, "trees": trees, "stages": stages, "adapters": adapters, "config": config}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_killed_run_ends_like_an_uninterrupted_one(loop, doors_seed, doors_site, doors_world, tmp_path, capsys):
    whole, resumed, rng = tmp_path / "whole", tmp_path / "resumed", random.Random(2)
    first = started(doors_seed, whole, doors_site, loop)
    _, err = first.communicate(timeout=300)
    assert (first.returncode, err) == (0, "")
    expected, end = outcome(whole), progress(whole)
    assert set(expected["adapters"]) == LOOPS[loop][1]
    kinds = {stage.partition("/")[0] for stage, *_ in expected["rows"]}
    assert kinds == {"eval", "gate", "beginnings" if loop == "agent-r" else "collect"}

    # The kills are spread over the first 90 % of the run's records, each after a short random delay.
    share, stored = 0.9 * end / KILLS, 0
    for number in range(KILLS):
        running = started(doors_seed, resumed, doors_site, loop)
        moment = round(rng.uniform(number * share, (number + 1) * share))
        while progress(resumed) < moment:
            assert running.poll() is None, running.communicate()
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        assert progress(resumed) >= stored
        stored = progress(resumed)

    last = started(doors_seed, resumed, doors_site, loop)
    out, err = last.communicate(timeout=300)
    assert (last.returncode, err) == (0, "")
    assert "Rounds and gate verdicts" in out
    assert outcome(resumed) == expected

    # Other settings are refused.
    assert main([*command(doors_seed, resumed, loop), "--loop.attempts.temperature", "0.9"]) == 2
    refused = capsys.readouterr().err
    assert "loop.attempts.temperature: 1.0 -> 0.9" in refused
    assert refused.count("\n") == 1
    assert outcome(resumed) == expected


@pytest.mark.parametrize(
    ("flag", "values", "name"),
    [
        ("--loop.attempts.k", ("2", "5"), "loop.attempts.k"),
        ("--held-out.tasks", ("10", "5"), "held_out.tasks"),
        ("--loop.fit.lora.rank", ("16", "5"), "loop.fit.lora.rank"),
        ("--loop.attempts.at-once", ("3", "5"), "loop.attempts.at_once"),
        ("--env-args", ("max_steps=2", "max_steps=5"), "env_args.max_steps"),
        ("--agent-args", ("restate_goal=true", "restate_goal=false"), "agent_args.restate_goal"),
    ],
)
def test_a_run_is_not_resumed_with_another_value_of_any_part(flag, values, name, doors_world, tmp_path, capsys):
    """The test uses a scripted model because it is fast."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"": [f"Thought: hm\nAction: open {colour}" for colour in COLOURS]}))
    first, second = ([*command(f"scripted:{script}", tmp_path / "run"), flag, value] for value in values)
    assert main(first) == 0
    stored = outcome(tmp_path / "run")
    assert "adapter: " in capsys.readouterr().out
    assert main(second) == 2
    assert f"{name}: " in capsys.readouterr().err
    assert outcome(tmp_path / "run") == stored
