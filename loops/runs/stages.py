"""`Stage`: what a part of a run is called. This is the one place that writes these names and reads them.

As text: `kind/scope/model@round/tasks`, the scope only where there is one, the round only where there are rounds, and
`-` for no tasks: `eval/base/valid_unseen`, `collect/seed0/policy@1/train`. What a field holds of `/`, `@`, `:` and `%`
is percent-encoded, so different stages have different texts.

A key names one attempt in a run, or one node of a search tree: `<stage>:<task>#<sample>`, and `.<node>` behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import unquote

from ...errors import UsageError

HELD_OUT = ("eval", "gate", "beginnings")
"""Kinds of stages whose attempts measure: nobody learns from them."""
_ROUND = re.compile(r"(.+)@([1-9][0-9]*)", re.DOTALL)


@dataclass(frozen=True)
class Stage:
    """A part of a run: attempts, search trees, or a result in JSON."""

    kind: str
    """What was done or stored: `collect`, `search`, `eval`, `gate`, `score`, ..., or a loop's own word."""
    model: str
    """Who acted, or what the result is about: `policy`, `base`, `re_rest`."""
    tasks: str = ""
    """On which tasks: a split, or a set that has a name of its own."""
    round: int = 0
    """Of the loop, from 1; 0 where there are no rounds."""
    scope: str = ""
    """Which of several runs in one folder, such as `seed0`."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z_]*", self.kind) or not self.model or self.round < 0:
            raise UsageError(
                f"a stage of kind {self.kind!r}, model {self.model!r} and round {self.round} has no name; expected a "
                "lower-case word, a text and 0 or more"
            )

    def __str__(self) -> str:
        model = _quoted(self.model) + (f"@{self.round}" if self.round else "")
        return "/".join([self.kind, *([_quoted(self.scope)] if self.scope else []), model, _quoted(self.tasks) or "-"])

    @classmethod
    def parse(cls, text: str) -> Self:
        """The stage of this text; raises `UsageError` when it is none."""
        parts = text.split("/")
        if len(parts) not in (3, 4):
            raise UsageError(f"{text!r} is no stage; expected KIND/MODEL/TASKS or KIND/SCOPE/MODEL/TASKS")
        *scope, model, tasks = parts[1:]
        numbered = _ROUND.fullmatch(model)
        name, number = (numbered[1], int(numbered[2])) if numbered else (model, 0)
        found = cls(parts[0], unquote(name), "" if tasks == "-" else unquote(tasks), number, unquote("".join(scope)))
        if str(found) != text:
            raise UsageError(f"{text!r} is no stage; expected {str(found)!r}, if that is meant")
        return found

    @classmethod
    def named(cls, kind: str, who: str, tasks: str) -> Self:
        """The stage of `<model>@<round>`, or of a model without rounds: what `who` gives back."""
        numbered = _ROUND.fullmatch(who)
        return cls(kind, numbered[1], tasks, int(numbered[2])) if numbered else cls(kind, who, tasks)

    @property
    def held_out(self) -> bool:
        """Whether its attempts measure: nobody learns from them."""
        return self.kind in HELD_OUT

    @property
    def who(self) -> str:
        """Model and round, for people."""
        return f"{self.model}@{self.round}" if self.round else self.model

    def of(self, kind: str) -> Stage:
        """What is stored of this stage beside its attempts, such as its `score`."""
        return replace(self, kind=kind)

    def key(self, attempt: str) -> str:
        """The full key of one of its attempts or nodes."""
        return f"{self}:{attempt}"


def split_key(key: str) -> tuple[Stage, str]:
    """The stage of a full key, and the attempt's name in it; raises `UsageError` when it is no full key."""
    stage, colon, attempt = key.partition(":")
    if not colon:
        raise UsageError(f"{key!r} is no full key; expected STAGE:TASK#SAMPLE")
    return Stage.parse(stage), attempt


def node_key(tree: str, node: int) -> str:
    """The name of a node of a search tree in its stage."""
    return f"{tree}.{node}"


def _quoted(text: str) -> str:
    """The text with what has a meaning in names encoded; `-` by itself too, which stands for nothing."""
    if text == "-":
        return "%2D"
    return re.sub(r"[%/@:]", lambda match: f"%{ord(match[0]):02X}", text)
