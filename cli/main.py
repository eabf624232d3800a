"""Finds what is asked for, reads its flags, and turns errors into one line and an exit code.

A command is a function `(config, console)` whose `config` is annotated with a frozen dataclass: the same one that the
Python API takes, read by tyro. It is named in `COMMANDS` and imported when it is called, so that help is quick.

Exit codes: 0 done, 2 bad input (`UsageError`, wrong flags), 3 something outside broke (`InfraError`), 130 interrupted.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from rich.console import Console, RenderableType
from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..errors import InfraError, UsageError, missing_extra, unknown


@dataclass(frozen=True)
class Command:
    """One thing that can be asked for."""

    target: str
    """`module:function` within the package. The function takes a configuration and a console."""
    about: str
    """One line of help."""
    argument: str | None = None
    """When given, `target` is called with it and returns the command: a function with the attributes `config`, the
    type of its configuration, and `default(arguments)`, its usual values."""


@dataclass(frozen=True)
class Group:
    """Several commands behind one word."""

    commands: Callable[[], Mapping[str, Command | Group]]
    what: str
    """What the words stand for, e.g. `loop`."""
    about: str
    """One line of help."""


def loop_commands() -> dict[str, Command]:
    """One command for each loop of the registry."""
    from ..loops.registry import loops

    return {part.name: Command("cli.improve:command", part.about, part.name) for part in loops()}


SANDBOX = {
    "build": Command("cli.sandbox:build", "make the image that code runs in, with or without a registry"),
    "clean": Command("cli.sandbox:clean", "remove what killed runs left behind"),
}
PAPERS = {
    name: Command("cli.reproduce:command", about, name)
    for name, about in {
        "re-rest": "base, self-training, Re-ReST and controls, several seeds",
        "agent-r": "base, baselines and Agent-R's rounds, several seeds",
        "trading-group": "rules, desks with parts switched off, and a trained desk",
    }.items()
}
COMMANDS: dict[str, Command | Group] = {
    "demo": Command("cli.demo:run", "from nothing to a measurably better agent, in minutes"),
    "seed": Command("cli.seed:run", "make the seed policy, or find it in the cache"),
    "improve": Group(loop_commands, "loop", "run an improvement loop, or continue it where it was"),
    "eval": Command("cli.evaluate:run", "measure an agent on held-out tasks"),
    "compare": Command("cli.compare:run", "compare two evaluations, paired by task"),
    "report": Command("cli.report:run", "write a run as static pages to look at in a browser"),
    "export": Command("cli.export:run", "write a run's attempts as JSONL for other trainers"),
    "play": Command("cli.play:run", "play an environment yourself"),
    "envs": Command("cli.envs:run", "list the environments"),
    "sandbox": Group(lambda: SANDBOX, "sandbox command", "what code environments run programs in"),
    "reproduce": Group(lambda: PAPERS, "paper", "run a paper's comparison with its controls"),
}
ROOT = Group(lambda: COMMANDS, "command", "language-model agents that mend their own failures into training data")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (tyro exits by itself with 2 for wrong flags and 0 for `--help`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    errors = Console(stderr=True)
    # Threads that spin while they wait make training ten times slower when something else wants the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = functools.partial(_warned, errors, set())
            return dispatch(arguments, Console())
    except UsageError as error:
        return _say(errors, str(error), 2)
    except InfraError as error:
        return _say(errors, f"something outside broke: {error}", 3)
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        return _say(errors, str(missing), 2)
    except KeyboardInterrupt:
        return _say(errors, "interrupted; what was stored is kept", 130)
    except BrokenPipeError:
        # Whoever read the output has gone; without this, Python complains again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def dispatch(arguments: Sequence[str], console: Console) -> int:
    """Carry out what `arguments` ask for; returns the exit code."""
    if arguments and arguments[0] == "--version":
        console.print(f"kintsugi {__version__}", highlight=False)
        return 0
    found, words, rest = _found(arguments)
    if isinstance(found, Group):
        console.print(_help(found, words), highlight=False)
        return 0 if rest else 2
    function, config = _read(found, words, rest)
    function(config, console)
    return 0


def parse(arguments: Sequence[str]) -> tuple[Callable[[Any, Console], None], Any]:
    """The function and the configuration that `arguments` mean; nothing is run.

    Raises `UsageError` for what is no command, and exits as `main` does for wrong flags and for `--help`.
    """
    found, words, rest = _found(arguments)
    if isinstance(found, Group):
        raise UsageError(f"{' '.join(words)} names no {found.what}; known: {', '.join(found.commands())}")
    return _read(found, words, rest)


def _found(arguments: Sequence[str]) -> tuple[Command | Group, list[str], list[str]]:
    """What the first of `arguments` name, these words, and the arguments after them.

    It is a group where its help is asked for or nothing follows.
    """
    found: Command | Group = ROOT
    words, rest = ["kintsugi"], list(arguments)
    while isinstance(found, Group) and rest and rest[0] not in ("-h", "--help"):
        commands = found.commands()
        if rest[0] not in commands:
            raise unknown(found.what, rest[0], commands)
        found = commands[rest[0]]
        words.append(rest.pop(0))
    return found, words, rest


def _read(command: Command, words: Sequence[str], arguments: list[str]) -> tuple[Callable[[Any, Console], None], Any]:
    """The command's function, and its configuration as its flags say."""
    import tyro

    module, _, name = command.target.partition(":")
    function = getattr(importlib.import_module(f"{__name__.partition('.')[0]}.{module}"), name)
    about: dict[str, Any] = {"prog": " ".join(words), "description": command.about, "args": arguments}
    if command.argument is not None:
        function = function(command.argument)
        wanted, about["default"] = function.config, function.default(arguments)
        # A package's own loop says what it does once it is imported.
        about["description"] = getattr(function, "about", command.about)
    else:
        wanted = get_type_hints(function, include_extras=True)["config"]
    return function, tyro.cli(wanted, **about)


def _warned(errors: Console, said: set[str], message: Warning | str, *_: object) -> None:
    """A warning in one line, once, without the place in the source that gave it."""
    if str(message) not in said:
        said.add(str(message))
        errors.print(Text(f"kintsugi: warning: {message}"), soft_wrap=True, highlight=False)


def _help(group: Group, words: list[str]) -> RenderableType:
    usage = f"{' '.join(words)} {group.what.upper()}"
    table = Table.grid(padding=(0, 2))
    for name, command in group.commands().items():
        table.add_row(Text(f"  {name}", style="yellow"), Text(command.about))
    more = Text(f"{usage} --help says more.", style="dim")
    return Lines(Text(f"{usage}: {group.about}\n"), table, Text(), more)


def _say(console: Console, text: str, code: int) -> int:
    console.print(Text.assemble(("kintsugi: ", "bold red"), " ".join(text.split())), soft_wrap=True)
    return code
