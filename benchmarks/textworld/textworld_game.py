"""Games in TextWorld's PDDL mode, with ALFWorld's wrappers and optionally a memoised parser."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError


@dataclass(frozen=True)
class StepResult:
    """The result of a reset or a step."""

    text: str
    """The observation."""
    admissible: tuple[str, ...]
    """Admissible commands."""
    reward: float
    """Reward of the step."""
    done: bool
    """Whether the episode has ended."""
    won: bool
    """Whether the goal is reached."""


class TextWorldGame:
    """A game in TextWorld. Must be closed, because it holds a shared library and a temporary folder.

    Args:
        game: Content of a `game.tw-pddl`.

    Raises:
        MissingExtraError: If `textworld` or `alfworld` is not installed.
    """

    def __init__(self, game: Mapping[str, Any]) -> None:
        try:
            import textworld
            from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
        except ImportError as error:
            raise MissingExtraError(error.name or "textworld", "alfworld") from error
        self._folder = tempfile.TemporaryDirectory(prefix="kintsugi-")
        path = Path(self._folder.name) / "game.tw-pddl"
        path.write_text(json.dumps(game), encoding="utf-8")
        infos = textworld.EnvInfos(won=True, admissible_commands=True, extras=["gamefile"])
        with _preserved_argv():
            self._env = textworld.start(str(path), infos, wrappers=[AlfredDemangler(), AlfredInfos])

    def reset(self) -> StepResult:
        """Start an episode."""
        with _preserved_argv():
            state = self._env.reset()
        return StepResult(state.feedback, tuple(state["admissible_commands"]), 0.0, False, bool(state["won"]))

    def step(self, command: str) -> StepResult:
        """Execute one command."""
        state, reward, done = self._env.step(command)
        return StepResult(
            state.feedback, tuple(state["admissible_commands"]), float(reward), bool(done), bool(state["won"])
        )

    def close(self) -> None:
        """Close the library and delete the folder."""
        self._env.close()
        self._folder.cleanup()

    def __enter__(self) -> TextWorldGame:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


@contextlib.contextmanager
def _preserved_argv() -> Iterator[None]:
    """Restore `sys.argv`, which Fast Downward's translator overwrites."""
    arguments = sys.argv
    try:
        yield
    finally:
        sys.argv = arguments


@contextlib.contextmanager
def memoised() -> Iterator[None]:
    """Memoise TextWorld's parser of texts and queries. The answers do not change."""
    from textworld.envs.pddl import textgen
    from textworld.logic import Rule

    parse, parse_query = textgen._parse_and_convert, Rule.parse_conjunctive_query
    remembered: Callable[..., Any] = functools.cache(parse)
    textgen._parse_and_convert = lambda *args, **kwargs: copy.deepcopy(remembered(*args, **kwargs))
    Rule.parse_conjunctive_query = staticmethod(functools.cache(parse_query))
    try:
        yield
    finally:
        textgen._parse_and_convert = parse
        Rule.parse_conjunctive_query = parse_query


@functools.cache
def packaged_texts() -> Mapping[str, str]:
    """Return the domain and the grammar of the `alfworld` package, by field of a game file."""
    try:
        from alfworld.info import ALFRED_PDDL_PATH, ALFRED_TWL2_PATH
    except ImportError as error:
        raise MissingExtraError(error.name or "alfworld", "alfworld") from error
    paths = {"pddl_domain": ALFRED_PDDL_PATH, "grammar": ALFRED_TWL2_PATH}
    return {name: Path(path).read_text(encoding="utf-8") for name, path in paths.items()}
