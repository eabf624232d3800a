"""`Stage`: the name of one part of a run. Only this module writes and parses these names.

The text form is `kind/scope/model@round/tasks`, for example `eval/base/valid_unseen` or `collect/seed0/policy@1/train`.
Scope and round are left out if they are not set, and `-` stands for no tasks. The characters `/`, `@`, `:` and `%` in a
field are percent-encoded, so different stages have different texts.

A full key names one attempt of a run, `<stage>:<task>#<sample>`, or one node of a search tree,
`<stage>:<task>#<sample>.<node>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import unquote

from ...errors import UsageError

HELD_OUT = ("eval", "gate", "beginnings")
"""Kinds of stages whose attempts are measured and never used as training data."""
_ROUND = re.compile(r"(.+)@([1-9][0-9]*)", re.DOTALL)


@dataclass(frozen=True)
class Stage:
    """One part of a run, which holds attempts, search trees or a JSON result."""

    kind: str
    """Kind of records: `collect`, `search`, `eval`, `gate`, `score`, ..., or a kind that a loop defines."""
    model: str
    """Model that acted or that the result is about, such as `policy`, `base` or `re_rest`."""
    tasks: str = ""
    """Split, or name of the task set; empty if there is none."""
    round: int = 0
    """Round of the loop, from 1; 0 if there are no rounds."""
    scope: str = ""
    """Prefix that separates the training seeds of one run, such as `seed0`; empty if there is only one."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z_]*", self.kind) or not self.model or self.round < 0:
            raise UsageError(
                f"a stage has kind {self.kind!r}, model {self.model!r} and round {self.round}; expected a lower-case "
                "word, a non-empty text and a number from 0"
            )

    def __str__(self) -> str:
        model = _encode(self.model) + (f"@{self.round}" if self.round else "")
        return "/".join([self.kind, *([_encode(self.scope)] if self.scope else []), model, _encode(self.tasks) or "-"])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text form of a stage.

        Args:
            text: Result of `str(stage)`.

        Returns:
            The stage.

        Raises:
            UsageError: The text is not exactly the text form of a stage.
        """
        parts = text.split("/")
        if len(parts) not in (3, 4):
            raise UsageError(f"{text!r} is not a stage; expected KIND/MODEL/TASKS or KIND/SCOPE/MODEL/TASKS")
        *scope, model, tasks = parts[1:]
        numbered = _ROUND.fullmatch(model)
        name, number = (numbered[1], int(numbered[2])) if numbered else (model, 0)
        stage = cls(parts[0], unquote(name), "" if tasks == "-" else unquote(tasks), number, unquote("".join(scope)))
        if str(stage) != text:
            raise UsageError(f"{text!r} is not a stage; expected a text such as {str(stage)!r}")
        return stage

    @classmethod
    def from_model_round(cls, kind: str, model_round: str, tasks: str) -> Self:
        """Return a stage without scope; the inverse of `model_round`.

        Args:
            kind: Kind of records.
            model_round: `<model>@<round>`, or `<model>` if there are no rounds.
            tasks: Split, or name of the task set.
        """
        numbered = _ROUND.fullmatch(model_round)
        return cls(kind, numbered[1], tasks, int(numbered[2])) if numbered else cls(kind, model_round, tasks)

    @property
    def held_out(self) -> bool:
        """Whether the attempts of this stage are measured and never used as training data."""
        return self.kind in HELD_OUT

    @property
    def model_round(self) -> str:
        """`<model>@<round>`, or the model alone if there are no rounds."""
        return f"{self.model}@{self.round}" if self.round else self.model

    def with_kind(self, kind: str) -> Stage:
        """Return the stage that differs only in its kind.

        Args:
            kind: Kind of the new stage, such as `score` for the score of these attempts.
        """
        return replace(self, kind=kind)

    def key(self, attempt: str) -> str:
        """Return the full key of an attempt or node of this stage.

        Args:
            attempt: Key within the stage: `Trajectory.key` of an attempt, or `node_key` of a node.
        """
        return f"{self}:{attempt}"


def split_key(key: str) -> tuple[Stage, str]:
    """Split a full key into its stage and the key of the attempt or node.

    Raises:
        UsageError: The text is not a full key.
    """
    stage, colon, attempt = key.partition(":")
    if not colon:
        raise UsageError(f"{key!r} is not a full key; expected STAGE:TASK#SAMPLE")
    return Stage.parse(stage), attempt


def node_key(tree: str, node: int) -> str:
    """Return the key of a tree's node within its stage."""
    return f"{tree}.{node}"


def _encode(text: str) -> str:
    """Percent-encode the characters that separate fields, and the text `-`, which stands for an empty field."""
    if text == "-":
        return "%2D"
    return re.sub(r"[%/@:]", lambda match: f"%{ord(match[0]):02X}", text)
