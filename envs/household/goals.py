"""The six task types: their wording, read and written, and when they are won."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UsageError

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)

TEMPLATES: Mapping[str, tuple[str, str]] = {
    "pick_and_place_simple": ("put a {object} in {target}", "put some {object} on {target}"),
    "look_at_obj_in_light": ("look at {object} under the {target}", "examine the {object} with the {target}"),
    "pick_clean_then_place_in_recep": (
        "put a clean {object} in {target}",
        "clean some {object} and put it in {target}",
    ),
    "pick_heat_then_place_in_recep": ("put a hot {object} in {target}", "heat some {object} and put it in {target}"),
    "pick_cool_then_place_in_recep": ("put a cool {object} in {target}", "cool some {object} and put it in {target}"),
    "pick_two_obj_and_place": ("put two {object} in {target}", "find two {object} and put them in {target}"),
}
"""ALFWorld's two ways of saying each goal."""

TREATMENT: Mapping[str, str] = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}
"""What has to be done to the object before it is put down, for the types that ask for something."""


@dataclass(frozen=True)
class Goal:
    """What is to be brought about."""

    type: str
    """One of `TASK_TYPES`."""
    object: str
    """Kind of object, in the game's lower case: `mug`."""
    target: str
    """Kind of receptacle that it goes to or, for `look_at_obj_in_light`, the kind of lamp."""

    @property
    def treatment(self) -> str | None:
        """`clean`, `heat` or `cool` where the type asks for it."""
        return TREATMENT.get(self.type)

    @property
    def count(self) -> int:
        """How many objects have to be put down (0 for `look_at_obj_in_light`)."""
        return {"look_at_obj_in_light": 0, "pick_two_obj_and_place": 2}.get(self.type, 1)

    def text(self, variant: int) -> str:
        """The goal in ALFWorld's words; `variant` is 0 or 1."""
        return TEMPLATES[self.type][variant].format(object=self.object, target=self.target)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(template.format(object=r"(?P<object>\w+)", target=r"(?P<target>\w+)") + r"\.?")


# "put a hot mug in shelf" must not be read as "put a <hot mug>": \w+ takes one word, so the order does not matter.
_PATTERNS = tuple((type_, _pattern(template)) for type_, pair in TEMPLATES.items() for template in pair)


def read_goal(text: str) -> Goal:
    """The goal that a task text states, e.g. `put a hot mug in shelf.`; raises `UsageError` for any other text."""
    wanted = text.strip()
    for type_, pattern in _PATTERNS:
        match = pattern.fullmatch(wanted)
        if match:
            return Goal(type_, match["object"], match["target"])
    raise UsageError(
        f"cannot read the household goal {wanted[:120]!r}; expected one of ALFWorld's texts, e.g. "
        f"{TEMPLATES['pick_heat_then_place_in_recep'][0].format(object='mug', target='shelf')!r}"
    )
