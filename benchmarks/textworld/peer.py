"""TextWorld's PDDL mode with ALFWorld's demangler and infos, as it is or with its parser memoised."""

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
class Seen:
    """What one step shows."""

    text: str
    admissible: tuple[str, ...]
    reward: float
    done: bool
    won: bool


class Peer:
    """One game in TextWorld. Close it: it holds a library and a temporary folder."""

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
        with _arguments_kept():
            self._env = textworld.start(str(path), infos, wrappers=[AlfredDemangler(), AlfredInfos])

    def reset(self) -> Seen:
        """Begin."""
        with _arguments_kept():
            state = self._env.reset()
        return Seen(state.feedback, tuple(state["admissible_commands"]), 0.0, False, bool(state["won"]))

    def step(self, command: str) -> Seen:
        """Play one command."""
        state, reward, done = self._env.step(command)
        return Seen(state.feedback, tuple(state["admissible_commands"]), float(reward), bool(done), bool(state["won"]))

    def close(self) -> None:
        """Free the library and the folder."""
        self._env.close()
        self._folder.cleanup()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


@contextlib.contextmanager
def _arguments_kept() -> Iterator[None]:
    """Fast Downward's translator writes to `sys.argv`."""
    arguments = sys.argv
    try:
        yield
    finally:
        sys.argv = arguments


@contextlib.contextmanager
def memoised() -> Iterator[None]:
    """TextWorld parses every text and query once: the same answers, many times sooner."""
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
    """The domain and the grammar that come with the `alfworld` package."""
    try:
        from alfworld.info import ALFRED_PDDL_PATH, ALFRED_TWL2_PATH
    except ImportError as error:
        raise MissingExtraError(error.name or "alfworld", "alfworld") from error
    paths = {"pddl_domain": ALFRED_PDDL_PATH, "grammar": ALFRED_TWL2_PATH}
    return {name: Path(path).read_text(encoding="utf-8") for name, path in paths.items()}
