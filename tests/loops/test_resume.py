"""`kill -9` at any moment of `kintsugi improve`, and the same command again, ends as an undisturbed run."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doors import ENTRY
from kintsugi.loops.seeds.pretrain import Architecture, PretrainConfig
from kintsugi.loops.seeds.recipe import FAMILIES, SeedRecipe, seed_model

MOMENTS = 4
"""Kills, spread over the run."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = SeedRecipe(
        family="doors",
        demonstrations=96,
        reflections=48,
        architecture=Architecture(hidden_size=32, layers=2, heads=2, intermediate_size=64),
        pretrain=PretrainConfig(tokens=200_000),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "doors", "doors")
        return seed_model(recipe, cache=tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a process that has a package installed which brings the doors."""
    site = tmp_path_factory.mktemp("site")
    about = site / "doors-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: doors\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY)
    path = os.pathsep.join([str(site), str(Path(__file__).parents[1] / "support")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def improve(model: Path, run: Path, *more: str) -> list[str]:
    flags = {
        "--model": model,
        "--run": run,
        "--loop.practice.env": "doors",
        "--loop.practice.tasks": 24,
        "--loop.practice.at-once": 8,
        "--loop.practice.fit.epochs": 1,
        "--held-out.env": "doors",
        "--held-out.tasks": 16,
        "--held-out.at-once": 8,
    }
    given = [str(part) for pair in flags.items() for part in pair]
    return [sys.executable, "-m", "kintsugi", "improve", "re-rest", *given, *more]


def outcome_of(run: Path) -> tuple[list[tuple[str, str, str]], dict[str, str], dict[str, object]]:
    """Everything that has to be the same: attempts, adapters, and scores without the seconds that they took."""
    db = sqlite3.connect(run / "run.db")
    rows: list[tuple[str, str, str]] = db.execute("SELECT stage, key, sha FROM trajectories ORDER BY number").fetchall()
    stages = {name: json.loads(result) for name, result in db.execute("SELECT name, result FROM stages")}
    db.close()
    measured = {name: score for name, score in stages.items() if name.startswith("score/")}
    scores: dict[str, object] = {name: {**score, "seconds": None} for name, score in measured.items()}
    files = sorted((run / "adapters").rglob("adapter_model.safetensors"))
    adapters = {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return rows, adapters, scores


def test_a_killed_run_ends_as_an_undisturbed_one(model: Path, environment: dict[str, str], tmp_path: Path) -> None:
    def finish(run: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            improve(model, tmp_path / run, *more), env=environment, capture_output=True, text=True, check=False
        )

    start = time.monotonic()
    done = finish("whole")
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - start
    whole = outcome_of(tmp_path / "whole")
    assert {stage for stage, _, _ in whole[0]} >= {"collect/policy", "collect/reflection", "eval/base/valid_unseen"}
    assert whole[1]
    assert len(whole[2]) == 2
    killed, rng = 0, random.Random(0)
    for moment in range(MOMENTS):
        process = subprocess.Popen(
            improve(model, tmp_path / "killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(seconds * (0.4 + 0.5 * rng.random() + 0.1 * moment))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
    assert killed >= 1
    done = finish("killed")
    assert done.returncode == 0, done.stderr
    assert outcome_of(tmp_path / "killed") == whole
    changed = finish("killed", "--loop.practice.temperature", "0.9")
    assert changed.returncode == 2
    assert "temperature: 0.7 -> 0.9" in changed.stderr
    assert outcome_of(tmp_path / "killed") == whole
