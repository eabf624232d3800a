"""Differential test of the two engines: `python -m kintsugi.benchmarks.textworld.differential`.

Kintsugi and TextWorld play the same games with the same actions. Half of the actions are admissible. The others are
commands of other states, misspelt or empty. After each step, observation, admissible commands, reward, done and won
must be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...envs.household.alfworld.export import write_content
from ...envs.household.alfworld.files import load_engine, parse_file
from ...envs.household.engine import Engine
from ...envs.household.goals import TASK_TYPES
from ...envs.household.language.domain import bundled_text
from ...envs.household.state import State
from ...envs.household.wording import NOTHING_HAPPENS
from ..scripts import natural, positive, run
from .random_games import WORDINGS, random_game
from .textworld_game import StepResult, TextWorldGame, memoised, packaged_texts

SIZES = (4, 6, 8, 12, 20)
"""Numbers of receptacles, which the games cycle through."""
UNUSUAL_ACTIONS = (
    "",
    " ",
    "\t",
    "Look",
    "go to",
    "go  to desk 1",
    "dance",
    "help.",
    "inventory\u200b",
    "take mug 1",
    "look\x00",
)
"""Actions that are refused in any state, for different reasons."""


@dataclass(frozen=True)
class GameJob:
    """A game to play in both engines."""

    seed: int
    """Number of the game."""
    actions: int
    """Number of actions."""
    memoised: bool
    """Whether TextWorld's parser is memoised."""


@dataclass(frozen=True)
class GameResult:
    """The result of one game."""

    seed: int
    """Number of the game."""
    steps: int
    """Number of compared steps, including the reset."""
    refused: int
    """Number of actions that were not admissible."""
    difference: str
    """Description of the first difference; empty if there is none."""
    seconds: tuple[float, float]
    """Wall time of TextWorld and of Kintsugi."""


class KintsugiGame:
    """A game in Kintsugi's engine, with the interface of `TextWorldGame`."""

    def __init__(self, game: Mapping[str, Any]) -> None:
        where = "the random game"
        self.engine: Engine = load_engine(parse_file(json.dumps(game).encode(), where), where)
        self.state: State = self.engine.initial_state()

    def reset(self) -> StepResult:
        """Start an episode."""
        self.state = self.engine.initial_state()
        return StepResult(self.engine.intro(self.state), self._admissible(), 0.0, False, self.engine.won(self.state))

    def step(self, command: str) -> StepResult:
        """Execute one command."""
        result = self.engine.step(self.state, command)
        self.state, text = result or (self.state, NOTHING_HAPPENS)
        won = self.engine.won(self.state)
        return StepResult(text, self._admissible(), float(won), won, won)

    def _admissible(self) -> tuple[str, ...]:
        return self.engine.admissible(self.state)


def make_random_game(seed: int) -> dict[str, Any]:
    """Return game number `seed`.

    Games cycle through sizes, task types and wordings. One in five uses Kintsugi's domain and grammar, the others use
    ALFWorld's.
    """
    texts = (
        packaged_texts()
        if seed % 5
        else {"pddl_domain": bundled_text("domain.pddl"), "grammar": bundled_text("grammar.twl2")}
    )
    wording = WORDINGS[seed // len(SIZES) % 3 == 2]
    return random_game(seed, SIZES[seed // 6 % len(SIZES)], texts, wording)


def play(job: GameJob, open_game: Callable[[Mapping[str, Any]], KintsugiGame] = KintsugiGame) -> GameResult:
    """Play one game in both engines until they differ. `open_game` creates the game of Kintsugi's engine."""
    with memoised() if job.memoised else contextlib.nullcontext():
        return _play(job, open_game)


def _play(job: GameJob, open_game: Callable[[Mapping[str, Any]], KintsugiGame]) -> GameResult:
    rng = random.Random(f"actions/{job.seed}")
    game = make_random_game(job.seed)
    kintsugi_game = open_game(game)
    seconds = [0.0, 0.0]
    with TextWorldGame(game) as textworld_game:
        expected, actual = _both(seconds, textworld_game.reset, kintsugi_game.reset)
        listed = set(actual.admissible)
        steps, refused = 1, 0
        played: list[str] = []
        while expected == actual and len(played) < job.actions:
            command = _command(rng, actual.admissible, sorted(listed))
            refused += command.strip() not in actual.admissible
            played.append(command)
            expected, actual = _both(
                seconds, lambda c=command: textworld_game.step(c), lambda c=command: kintsugi_game.step(c)
            )
            listed |= {*actual.admissible}
            steps += 1
    difference = "" if expected == actual else describe(job.seed, played, expected, actual)
    return GameResult(job.seed, steps, refused, difference, (seconds[0], seconds[1]))


def _both(seconds: list[float], *calls: Any) -> tuple[StepResult, StepResult]:
    found = []
    for number, call in enumerate(calls):
        start = time.perf_counter()
        found.append(call())
        seconds[number] += time.perf_counter() - start
    return found[0], found[1]


def _command(rng: random.Random, admissible: Sequence[str], listed: Sequence[str]) -> str:
    """Draw an admissible command, sometimes with blanks around it, or, with equal probability, an inadmissible one."""
    if rng.random() < 0.5:
        # Most admissible commands are `go to`. Prefer the others, which change the world.
        others = [command for command in admissible if not command.startswith("go to")]
        command = rng.choice(others if rng.random() < 0.6 else admissible)
        blanks = ("{}", " {}", "{} ", "\t{}\n", "\u2003{}", "\x1c{}\x1f")
        return rng.choice(blanks).format(command) if rng.random() < 0.1 else command
    elsewhere = [command for command in listed if command not in admissible]
    kind = rng.randrange(4)
    if elsewhere and kind < 2:
        return rng.choice(elsewhere)
    if kind == 2:
        return rng.choice(UNUSUAL_ACTIONS)
    command = rng.choice(listed)
    at = rng.randrange(len(command) + 1)
    misspelt = command[:at] + rng.choice(("x", "  ", "1", "")) + command[at + rng.randrange(2) :]
    return misspelt if rng.random() < 0.7 else command.upper()


def describe(seed: int, played: Sequence[str], expected: StepResult, actual: StepResult) -> str:
    """Return a readable description of a difference."""
    lines = [f"game {seed} differs after {len(played)} actions, ending with {list(played[-6:])!r}:"]
    for name in ("text", "reward", "done", "won"):
        if getattr(expected, name) != getattr(actual, name):
            lines.append(f"  {name}: TextWorld {getattr(expected, name)!r}, Kintsugi {getattr(actual, name)!r}")
    only = (
        sorted(set(expected.admissible) - set(actual.admissible)),
        sorted(set(actual.admissible) - set(expected.admissible)),
    )
    if expected.admissible != actual.admissible:
        lines.append(f"  admissible: only TextWorld {only[0]!r}, only Kintsugi {only[1]!r}")
    return "\n".join(lines)


def compare(jobs: Sequence[GameJob], processes: int = 1) -> Iterator[GameResult]:
    """Yield the results of all jobs, in order."""
    if processes == 1:
        yield from map(play, jobs)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(play, jobs, chunksize=4)


def main(argv: Sequence[str] | None = None) -> None:
    """Print all differences and a summary. Exit with 1 if there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", type=positive, default=100, help="number of games")
    parser.add_argument("--actions", type=positive, default=100, help="number of actions per game")
    parser.add_argument("--first", type=natural, default=0, help="number of the first game")
    parser.add_argument("--processes", type=positive, default=1, help="number of processes")
    parser.add_argument("--write", type=Path, help="write the games to folders under this one instead of playing them")
    parser.add_argument("--memoised", action="store_true", help="memoise TextWorld's parser, which is faster")
    arguments = parser.parse_args(argv)
    if arguments.write:
        for seed in range(arguments.first, arguments.first + arguments.games):
            type_ = TASK_TYPES[seed % len(TASK_TYPES)]
            write_content(arguments.write / f"random-{seed:06}", make_random_game(seed), type_)
        print(f"{arguments.games} games written to {arguments.write}")
        return
    jobs = [GameJob(arguments.first + n, arguments.actions, arguments.memoised) for n in range(arguments.games)]
    start, steps, refused, different, seconds = time.perf_counter(), 0, 0, 0, [0.0, 0.0]
    for number, outcome in enumerate(compare(jobs, arguments.processes), start=1):
        steps, refused = steps + outcome.steps, refused + outcome.refused
        seconds = [a + b for a, b in zip(seconds, outcome.seconds, strict=True)]
        if outcome.difference:
            different += 1
            print(outcome.difference)
        if number % 50 == 0:
            print(f"{number} games, {different} differ, {time.perf_counter() - start:.0f} s", flush=True)
    print(
        f"{len(jobs)} games, {steps} observations ({refused} refused actions): {different} games differ; "
        f"{time.perf_counter() - start:.0f} s, of which TextWorld {seconds[0]:.0f} s and Kintsugi {seconds[1]:.2f} s"
    )
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    run(main)
