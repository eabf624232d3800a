"""ALFWorld game files of generated tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kintsugi.envs.household.alfworld.export import game_file
from kintsugi.envs.household.env import engine_of_task
from kintsugi.envs.household.generator import make_task
from kintsugi.envs.household.planner import shortest_plan


@pytest.fixture
def game() -> Callable[..., dict[str, Any]]:
    """Return `game(index, size)`, which returns the content of a game file."""

    def made(index: int = 3, size: str = "small") -> dict[str, Any]:
        engine = engine_of_task(make_task("valid_unseen", index, 0, size))
        return game_file(engine.game, shortest_plan(engine) or ())

    return made


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Return `tree(name=content, ...)`, which writes games to the split valid_unseen of a folder and returns it."""

    def made(**games: Any) -> Path:
        for name, content in games.items():
            folder = tmp_path / "valid_unseen" / name / "trial_1"
            folder.mkdir(parents=True)
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / "game.tw-pddl").write_text(text)
        return tmp_path

    return made
