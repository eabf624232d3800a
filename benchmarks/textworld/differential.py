"""Both engines play the same games with the same actions: `python -m kintsugi.benchmarks.textworld.differential`.

Half of the actions are admissible, half are not: commands of other moments, misspelt ones, blanks, nothing at all.
After every step observation, admissible commands, reward, done and won must be equal.
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
from ...envs.household.language.domain import own
from ...envs.household.state import State
from ...envs.household.wording import NOTHING_HAPPENS
from ..scripts import natural, positive, run
from .peer import Peer, Seen, memoised, packaged_texts
from .random_games import WORDINGS, random_game

SIZES = (4, 6, 8, 12, 20)
"""Numbers of receptacles, in turn."""
ODD = ("", " ", "\t", "Look", "go to", "go  to desk 1", "dance", "help.", "inventory\u200b", "take mug 1", "look\x00")
"""Actions that are odd in every state."""


@dataclass(frozen=True)
class Job:
    """One game to be played in both engines."""

    seed: int
    actions: int
    memoised: bool
    """Whether TextWorld's parser remembers what it parsed."""


@dataclass(frozen=True)
class Outcome:
    """How a game went."""

    seed: int
    steps: int
    """Steps that were compared, the beginning among them."""
    refused: int
    """How many of them were not admissible."""
    difference: str
    """The first difference, for people; empty when there is none."""
    seconds: tuple[float, float]
    """What TextWorld and ours took."""


class Ours:
    """One game in our engine, seen as TextWorld shows it."""

    def __init__(self, game: Mapping[str, Any]) -> None:
        where = "the random game"
        self.engine: Engine = load_engine(parse_file(json.dumps(game).encode(), where), where)
        self.state: State = self.engine.initial()

    def reset(self) -> Seen:
        """Begin."""
        self.state = self.engine.initial()
        return Seen(self.engine.intro(self.state), self._admissible(), 0.0, False, self.engine.won(self.state))

    def step(self, command: str) -> Seen:
        """Play one command."""
        done = self.engine.step(self.state, command)
        self.state, text = done or (self.state, NOTHING_HAPPENS)
        won = self.engine.won(self.state)
        return Seen(text, self._admissible(), float(won), won, won)

    def _admissible(self) -> tuple[str, ...]:
        return self.engine.admissible(self.state)


def make_random_game(seed: int) -> dict[str, Any]:
    """Game number `seed`: sizes, task types and wordings in turn, with ALFWorld's texts and with ours."""
    texts = packaged_texts() if seed % 5 else {"pddl_domain": own("domain.pddl"), "grammar": own("grammar.twl2")}
    wording = WORDINGS[seed // len(SIZES) % 3 == 2]
    return random_game(seed, SIZES[seed // 6 % len(SIZES)], texts, wording)


def play(job: Job, begin: Callable[[Mapping[str, Any]], Ours] = Ours) -> Outcome:
    """Play one game in TextWorld and in ours, as `begin` makes it, until they differ."""
    with memoised() if job.memoised else contextlib.nullcontext():
        return _play(job, begin)


def _play(job: Job, begin: Callable[[Mapping[str, Any]], Ours]) -> Outcome:
    rng = random.Random(f"actions/{job.seed}")
    game = make_random_game(job.seed)
    ours = begin(game)
    seconds = [0.0, 0.0]
    with Peer(game) as peer:
        theirs, mine = _both(seconds, peer.reset, ours.reset)
        met = set(mine.admissible)
        steps, refused = 1, 0
        done: list[str] = []
        while theirs == mine and len(done) < job.actions:
            command = _command(rng, mine.admissible, sorted(met))
            refused += command.strip() not in mine.admissible
            done.append(command)
            theirs, mine = _both(seconds, lambda c=command: peer.step(c), lambda c=command: ours.step(c))
            met |= {*mine.admissible}
            steps += 1
    difference = "" if theirs == mine else describe(job.seed, done, theirs, mine)
    return Outcome(job.seed, steps, refused, difference, (seconds[0], seconds[1]))


def _both(seconds: list[float], *calls: Any) -> tuple[Seen, Seen]:
    found = []
    for number, call in enumerate(calls):
        start = time.perf_counter()
        found.append(call())
        seconds[number] += time.perf_counter() - start
    return found[0], found[1]


def _command(rng: random.Random, admissible: Sequence[str], met: Sequence[str]) -> str:
    """An admissible command, sometimes with blanks around it, or, as often, one that is not admissible."""
    if rng.random() < 0.5:
        # Going about is nearly all that is admissible; what changes the world should come as often.
        acts = [command for command in admissible if not command.startswith("go to")]
        command = rng.choice(acts if rng.random() < 0.6 else admissible)
        blanks = ("{}", " {}", "{} ", "\t{}\n", "\u2003{}", "\x1c{}\x1f")
        return rng.choice(blanks).format(command) if rng.random() < 0.1 else command
    elsewhere = [command for command in met if command not in admissible]
    kind = rng.randrange(4)
    if elsewhere and kind < 2:
        return rng.choice(elsewhere)
    if kind == 2:
        return rng.choice(ODD)
    command = rng.choice(met)
    at = rng.randrange(len(command) + 1)
    misspelt = command[:at] + rng.choice(("x", "  ", "1", "")) + command[at + rng.randrange(2) :]
    return misspelt if rng.random() < 0.7 else command.upper()


def describe(seed: int, done: Sequence[str], theirs: Seen, mine: Seen) -> str:
    """A difference for people."""
    lines = [f"game {seed}, after {len(done)} actions, the last of them {list(done[-6:])!r}:"]
    for name in ("text", "reward", "done", "won"):
        if getattr(theirs, name) != getattr(mine, name):
            lines.append(f"  {name}: TextWorld {getattr(theirs, name)!r}, ours {getattr(mine, name)!r}")
    only = sorted(set(theirs.admissible) - set(mine.admissible)), sorted(set(mine.admissible) - set(theirs.admissible))
    if theirs.admissible != mine.admissible:
        lines.append(f"  admissible: TextWorld alone {only[0]!r}, ours alone {only[1]!r}")
    return "\n".join(lines)


def compare(jobs: Sequence[Job], processes: int = 1) -> Iterator[Outcome]:
    """The outcomes of all jobs, as they come."""
    if processes == 1:
        yield from map(play, jobs)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(play, jobs, chunksize=4)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the differences and a line of sums; exit with 1 when there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", type=positive, default=100)
    parser.add_argument("--actions", type=positive, default=100)
    parser.add_argument("--first", type=natural, default=0, help="number of the first game")
    parser.add_argument("--processes", type=positive, default=1)
    parser.add_argument("--write", type=Path, help="play nothing; write the games into folders under this one")
    parser.add_argument("--memoised", action="store_true", help="TextWorld parses every text once, which is sooner")
    arguments = parser.parse_args(argv)
    if arguments.write:
        for seed in range(arguments.first, arguments.first + arguments.games):
            type_ = TASK_TYPES[seed % len(TASK_TYPES)]
            write_content(arguments.write / f"random-{seed:06}", make_random_game(seed), type_)
        print(f"{arguments.games} games are in {arguments.write}")
        return
    jobs = [Job(arguments.first + n, arguments.actions, arguments.memoised) for n in range(arguments.games)]
    start, steps, refused, different, seconds = time.perf_counter(), 0, 0, 0, [0.0, 0.0]
    for number, outcome in enumerate(compare(jobs, arguments.processes), start=1):
        steps, refused = steps + outcome.steps, refused + outcome.refused
        seconds = [a + b for a, b in zip(seconds, outcome.seconds, strict=True)]
        if outcome.difference:
            different += 1
            print(outcome.difference)
        if number % 50 == 0:
            print(f"{number} games, {different} different, {time.perf_counter() - start:.0f} s", flush=True)
    print(
        f"{len(jobs)} games, {steps} observations ({refused} refused actions): {different} games differ; "
        f"{time.perf_counter() - start:.0f} s, of which TextWorld {seconds[0]:.0f} s and ours {seconds[1]:.2f} s"
    )
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    run(main)
