"""ALFWorld's six task types and their goal texts."""

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
"""ALFWorld's task types, in the order in which generated tasks cycle through them."""

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
"""ALFWorld's two goal texts for each task type."""

TREATMENT: Mapping[str, str] = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}
"""Treatment of the object before it is put down, for the task types with one."""


@dataclass(frozen=True)
class Goal:
    """The goal of a household task."""

    type: str
    """Task type, one of `TASK_TYPES`."""
    object: str
    """Kind of the object in lower case, such as `mug`."""
    target: str
    """Kind of the receptacle to put the object in, or kind of the lamp for `look_at_obj_in_light`."""

    @property
    def treatment(self) -> str | None:
        """`clean`, `heat` or `cool`, or None if the task type has no treatment."""
        return TREATMENT.get(self.type)

    @property
    def count(self) -> int:
        """Number of objects to put down; 0 for `look_at_obj_in_light`."""
        return {"look_at_obj_in_light": 0, "pick_two_obj_and_place": 2}.get(self.type, 1)

    def text(self, variant: int) -> str:
        """Return the goal text, without a full stop.

        Args:
            variant: Index of the template of this task type in `TEMPLATES`: 0 or 1.
        """
        return TEMPLATES[self.type][variant].format(object=self.object, target=self.target)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(template.format(object=r"(?P<object>\w+)", target=r"(?P<target>\w+)") + r"\.?")


# Objects are single words, so "put a hot mug in shelf" cannot match "put a {object} in {target}".
# The order of the patterns therefore does not matter.
_PATTERNS = tuple((type_, _pattern(template)) for type_, pair in TEMPLATES.items() for template in pair)


def read_goal(text: str) -> Goal:
    """Parse a goal text such as `put a hot mug in shelf.`.

    Args:
        text: A text of `TEMPLATES`. Outer blanks and the full stop are optional.

    Returns:
        The goal.

    Raises:
        UsageError: If the text matches no template.
    """
    wanted = text.strip()
    for type_, pattern in _PATTERNS:
        match = pattern.fullmatch(wanted)
        if match:
            return Goal(type_, match["object"], match["target"])
    raise UsageError(
        f"cannot parse the household goal {wanted[:120]!r}; expected one of ALFWorld's goal texts, such as "
        f"{TEMPLATES['pick_heat_then_place_in_recep'][0].format(object='mug', target='shelf')!r}"
    )
