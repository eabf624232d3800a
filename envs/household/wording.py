"""The texts of a game: its commands and answers, compiled from a domain and a grammar."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UsageError
from .language.domain import bundled_text, read_domain
from .language.grammar import read_grammar
from .language.relations import KINDS, Kind
from .language.texts import Compiler, Text
from .verbs import ACTION_NAMES, CLOSE, EXAMINE_RECEPTACLE, GO, OPEN, USE

BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\n"
"""First paragraph of TextWorld's first observation. It is usually removed before a model reads the text."""
NOTHING_HAPPENS = "Nothing happens."
"""Answer to a command that is not admissible."""
TASK_PREFIX = "Your task is to: "
"""Start of the last line of the first observation."""
UNKNOWN_GOAL = "UNKNOWN GOAL"
"""Placeholder for the goal text in a grammar that is shared by several games."""


@dataclass(frozen=True, eq=False)
class Wording:
    """The compiled texts of one game. Pickling stores only the sources; unpickling compiles them again."""

    sources: tuple[str, str]
    """Texts of the domain and the grammar."""
    intro: Text
    """The first observation."""
    task: Text
    """Last line of the first observation."""
    commands: Mapping[int, Text]
    """For each verb of the domain, the template of its command."""
    answers: Mapping[int, Text]
    """For each verb of the domain, the template of its answer."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return compile_wording, self.sources


@functools.cache
def current_wording() -> Wording:
    """Return ALFWorld's wording since November 2024 (`move mug 1 to desk 1`), which generated tasks use."""
    return compile_wording(bundled_text("domain.pddl"), bundled_text("grammar.twl2"))


def compile_wording(domain: str, grammar: str) -> Wording:
    """Compile the texts of a game.

    Args:
        domain: The PDDL domain.
        grammar: The grammar, in TextWorld's `.twl2` format.

    Returns:
        The compiled texts.

    Raises:
        UsageError: If one of the two is not supported. The message names the field and the rule or line.
    """
    rules = read_grammar(grammar, "grammar")
    compiler = Compiler(rules, "grammar")
    commands, answers = {}, {}
    for verb, parameters in read_domain(domain).parameters.items():
        name = ACTION_NAMES[verb]
        if name.lower() not in rules.actions:
            raise UsageError(f"grammar: action {name} of the domain is missing; add it")
        texts = rules.actions[name.lower()]
        names = tuple((name, kind) for name, type_ in parameters for kind in KINDS if kind == type_)
        hidden = _hidden(verb, names)
        commands[verb] = compiler.compile(texts.template, names, f"command of {name}", hidden=hidden)
        if commands[verb].depends_on != "nothing":
            raise UsageError(f"grammar, command of {name}: the text depends on the state; expected one that does not")
        slot = _receptacle(verb, names)
        answers[verb] = compiler.compile(texts.feedback, names, f"answer of {name}", slot)
    intro = compiler.compile("#intro#", (), "first observation")
    task = compiler.compile("#task#", (), "task")
    return Wording((domain, grammar), intro, task, commands, answers)


def _hidden(verb: int, names: tuple[tuple[str, Kind], ...]) -> frozenset[str]:
    """Return the placeholders that a command may not mention: the agent's place and the receptacle of a lamp.

    Commands are rendered independently of the state, so these are not known.
    """
    places = [name for name, kind in names if kind == "location"]
    hidden = set(places[:1] if verb == GO else places)
    return frozenset(hidden | {name for name, kind in names if verb == USE and kind == "receptacle"})


def _receptacle(verb: int, names: tuple[tuple[str, Kind], ...]) -> int | None:
    """Return the slot of the receptacle whose contents the answer of a verb may show."""
    if verb not in (GO, OPEN, CLOSE, EXAMINE_RECEPTACLE):
        return None
    return next(slot for slot, (_, kind) in enumerate(names) if kind == "receptacle")
