"""The command `kintsugi`: finds the subcommand, parses its flags, and reports errors as one line and an exit code.

A subcommand is a function `(config, console)`. Its `config` is a frozen dataclass, which tyro reads from the flags. The
subcommands are listed in `COMMANDS` and imported only when they run, so that help is fast.

Exit codes: 0 success, 2 bad input (`UsageError` or wrong flags), 3 infrastructure failure (`InfraError`),
130 interrupted, 141 broken pipe, 143 terminated (SIGTERM).
"""

from __future__ import annotations

import contextlib
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
from ..benchmarks.scripts import interruption, terminated_like_interrupted
from ..errors import InfraError, UsageError, missing_extra, unknown


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    target: str
    """`module:function` within the package. The function takes a configuration and a console."""
    about: str
    """One-line description in the help text."""
    argument: str | None = None
    """If given, `target(argument)` returns the function. It has the attributes `config`, the type of its configuration,
    and `default(arguments)`, which returns the default configuration."""


@dataclass(frozen=True)
class Group:
    """A group of subcommands under one word."""

    commands: Callable[[], Mapping[str, Command | Group]]
    noun: str
    """What the names of the subcommands denote, e.g. `loop`."""
    about: str
    """One-line description in the help text."""


def loop_commands() -> dict[str, Command]:
    """Return one subcommand for each loop of the registry."""
    from ..loops.registry import loops

    return {plugin.name: Command("cli.improve:command", plugin.about, plugin.name) for plugin in loops()}


SANDBOX = {
    "build": Command("cli.sandbox:build", "build the container image that code runs in"),
    "clean": Command("cli.sandbox:clean", "remove the leftovers of killed runs, such as containers"),
}
PAPERS = {
    name: Command("cli.reproduce:command", about, name)
    for name, about in {
        "re-rest": "base model, self-training, Re-ReST and controls, over several seeds",
        "agent-r": "base model, baselines and Agent-R's rounds, over several seeds",
        "rest-mcts": "base model, ReST-EM and ReST-MCTS* at an equal number of model calls, over several seeds",
        "trading-group": "trading rules, a desk, its ablations, and a trained desk, over several seeds",
    }.items()
}
COMMANDS: dict[str, Command | Group] = {
    "demo": Command("cli.demo:run", "train a seed policy, improve it with two loops, and compare the three models"),
    "seed": Command("cli.seed:run", "train the seed policy of an environment, or find it in the cache"),
    "improve": Group(loop_commands, "loop", "run or resume an improvement loop"),
    "eval": Command("cli.evaluate:run", "measure an agent on held-out tasks"),
    "compare": Command("cli.compare:run", "compare two evaluations, paired by task"),
    "report": Command("cli.report:run", "write a report on a run as static HTML pages"),
    "export": Command("cli.export:run", "write a run's attempts as JSONL for other trainers"),
    "play": Command("cli.play:run", "play an environment in the terminal"),
    "envs": Command("cli.envs:run", "list the environments"),
    "sandbox": Group(lambda: SANDBOX, "command", "manage the sandbox that code environments run programs in"),
    "reproduce": Group(lambda: PAPERS, "paper", "reproduce the comparison of a paper, with controls"),
}
ROOT = Group(lambda: COMMANDS, "command", "language-model agents that turn their own failures into training data")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments without the program's name; by default those of the process.

    Returns:
        The exit code.

    Raises:
        SystemExit: With code 2 for wrong flags and 0 for `--help` of a subcommand.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # Texts of worlds may hold characters that the terminal's encoding lacks, such as lone surrogates.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    errors = Console(stderr=True)
    # OpenMP threads that spin while they wait make training ten times slower if other processes use the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Even for a folder, huggingface_hub asks its server which programs to name in requests.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        with terminated_like_interrupted(), warnings.catch_warnings():
            warnings.showwarning = functools.partial(_print_warning, errors, set())
            return dispatch(arguments, Console())
    except UsageError as error:
        return _print_error(errors, str(error), 2)
    except InfraError as error:
        return _print_error(errors, f"infrastructure failure: {error}", 3)
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        return _print_error(errors, str(missing), 2)
    except KeyboardInterrupt as interrupt:
        return _print_error(errors, *interruption(interrupt))
    except BrokenPipeError:
        # The reader of the output closed it. Without this, flushing at exit would raise the error again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def dispatch(arguments: Sequence[str], console: Console) -> int:
    """Run the subcommand that `arguments` name, and return the exit code."""
    if arguments and arguments[0] == "--version":
        console.print(f"kintsugi {__version__}", highlight=False)
        return 0
    found, words, rest = _resolve_command(arguments)
    if isinstance(found, Group):
        console.print(_help(found, words), highlight=False)
        return 0 if rest else 2
    function, config = _parse_flags(found, words, rest)
    function(config, console)
    return 0


def parse(arguments: Sequence[str]) -> tuple[Callable[[Any, Console], None], Any]:
    """Return the function and the configuration that `arguments` name, without running it.

    Raises:
        UsageError: The arguments name no subcommand.
        SystemExit: With code 2 for wrong flags and 0 for `--help`.
    """
    found, words, rest = _resolve_command(arguments)
    if isinstance(found, Group):
        raise UsageError(
            f"{' '.join(words)}: the {found.noun} is missing; expected one of {', '.join(found.commands())}"
        )
    return _parse_flags(found, words, rest)


def _resolve_command(arguments: Sequence[str]) -> tuple[Command | Group, list[str], list[str]]:
    """Return the command or group that `arguments` start with, the words that name it, and the remaining arguments.

    The result is a group if the words end there or `--help` follows.
    """
    found: Command | Group = ROOT
    words, rest = ["kintsugi"], list(arguments)
    while isinstance(found, Group) and rest and rest[0] not in ("-h", "--help"):
        commands = found.commands()
        if rest[0] not in commands:
            raise unknown(found.noun, rest[0], commands)
        found = commands[rest[0]]
        words.append(rest.pop(0))
    return found, words, rest


def _parse_flags(
    command: Command, words: Sequence[str], arguments: list[str]
) -> tuple[Callable[[Any, Console], None], Any]:
    """Return the function of a command, and its configuration parsed from flags."""
    import tyro

    module, _, name = command.target.partition(":")
    function = getattr(importlib.import_module(f"{__name__.partition('.')[0]}.{module}"), name)
    options: dict[str, Any] = {"prog": " ".join(words), "description": command.about, "args": arguments}
    if command.argument is not None:
        function = function(command.argument)
        config_type, options["default"] = function.config, function.default(arguments)
        # The description of a loop from another package is known only after its import.
        options["description"] = getattr(function, "about", command.about)
    else:
        config_type = get_type_hints(function, include_extras=True)["config"]
    return function, tyro.cli(config_type, **options)


def _print_warning(errors: Console, printed: set[str], message: Warning | str, *_: object) -> None:
    """Print a warning in one line, without its source location; print equal warnings only once."""
    if str(message) not in printed:
        printed.add(str(message))
        errors.print(Text(f"kintsugi: warning: {message}"), soft_wrap=True, highlight=False)


def _help(group: Group, words: list[str]) -> RenderableType:
    usage = f"{' '.join(words)} {group.noun.upper()}"
    table = Table.grid(padding=(0, 2))
    for name, command in group.commands().items():
        table.add_row(Text(f"  {name}", style="yellow"), Text(command.about))
    more = Text(f"{usage} --help shows the flags.", style="dim")
    return Lines(Text(f"{usage}: {group.about}\n"), table, Text(), more)


def _print_error(console: Console, text: str, code: int) -> int:
    console.print(Text.assemble(("kintsugi: ", "bold red"), " ".join(text.split())), soft_wrap=True)
    return code
