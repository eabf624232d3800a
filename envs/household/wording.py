"""What the game says: every command and every answer, from the grammar that a game brings, or from ours."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UsageError
from .language.domain import own, read_domain
from .language.grammar import read_grammar
from .language.relations import KINDS, Kind
from .language.texts import Compiler, Text
from .verbs import ACTIONS, CLOSE, EXAMINE_RECEPTACLE, GO, OPEN, USE

BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\n"
"""TextWorld's first paragraph, which common practice drops."""
NOTHING_HAPPENS = "Nothing happens."
"""The answer to whatever is not admissible."""
TASK = "Your task is to: "
"""How the last line of the first observation begins."""
UNKNOWN_GOAL = "UNKNOWN GOAL"
"""What a grammar says that was not made for one game; the goal takes its place."""


@dataclass(frozen=True, eq=False)
class Wording:
    """The compiled texts of one game file. Pickles as its sources."""

    sources: tuple[str, str]
    """Domain and grammar."""
    intro: Text
    """The first observation."""
    task: Text
    """Its last line."""
    commands: Mapping[int, Text]
    """For every verb that there is, its command."""
    answers: Mapping[int, Text]
    """For every verb that there is, what is said when it is carried out."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return compile_wording, self.sources


@functools.cache
def present() -> Wording:
    """The wording since November 2024 (`move mug 1 to desk 1`), which generated tasks have."""
    return compile_wording(own("domain.pddl"), own("grammar.twl2"))


def compile_wording(domain: str, grammar: str) -> Wording:
    """The texts of a domain and a grammar. Raises `UsageError` that names the field and the rule or the line."""
    rules = read_grammar(grammar, "grammar")
    compiler = Compiler(rules, "grammar")
    commands, answers = {}, {}
    for verb, parameters in read_domain(domain).parameters.items():
        name = ACTIONS[verb]
        if name.lower() not in rules.actions:
            raise UsageError(f"grammar: it has no action {name}, which the domain has")
        texts = rules.actions[name.lower()]
        names = tuple((name, kind) for name, type_ in parameters for kind in KINDS if kind == type_)
        hidden = _hidden(verb, names)
        commands[verb] = compiler.compile(texts.template, names, f"command of {name}", hidden=hidden)
        if commands[verb].reads != "nothing":
            raise UsageError(f"grammar, command of {name}: it depends on the state; this engine's do not")
        slot = _receptacle(verb, names)
        answers[verb] = compiler.compile(texts.feedback, names, f"answer of {name}", slot)
    intro = compiler.compile("#intro#", (), "first observation")
    task = compiler.compile("#task#", (), "task")
    return Wording((domain, grammar), intro, task, commands, answers)


def _hidden(verb: int, names: tuple[tuple[str, Kind], ...]) -> frozenset[str]:
    """What a command cannot mention, for commands are made for any state: where the agent is, what a lamp is in."""
    places = [name for name, kind in names if kind == "location"]
    hidden = set(places[:1] if verb == GO else places)
    return frozenset(hidden | {name for name, kind in names if verb == USE and kind == "receptacle"})


def _receptacle(verb: int, names: tuple[tuple[str, Kind], ...]) -> int | None:
    if verb not in (GO, OPEN, CLOSE, EXAMINE_RECEPTACLE):
        return None
    return next(slot for slot, (_, kind) in enumerate(names) if kind == "receptacle")
