"""ALFWorld game files made of generated tasks."""

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
    """`game(index, size)` is the content of a game file."""

    def made(index: int = 3, size: str = "small") -> dict[str, Any]:
        engine = engine_of_task(make_task("valid_unseen", index, 0, size))
        return game_file(engine.game, shortest_plan(engine) or ())

    return made


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """`tree(name=content, ...)` is a folder with a game of each name in its split valid_unseen."""

    def made(**games: Any) -> Path:
        for name, content in games.items():
            folder = tmp_path / "valid_unseen" / name / "trial_1"
            folder.mkdir(parents=True)
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / "game.tw-pddl").write_text(text)
        return tmp_path

    return made
