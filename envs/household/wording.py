"""What the game says, in ALFWorld's present wording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\n"
"""TextWorld's first paragraph, which common practice drops."""
NOTHING_HAPPENS = "Nothing happens."
"""The answer to whatever is not admissible."""

HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def listing(names: Sequence[str]) -> str:
    """`nothing`, `a`, `a, and b`, `a, b, and c`."""
    if len(names) < 2:
        return names[0] if names else "nothing"
    return ", ".join(names[:-1]) + ", and " + names[-1]


def with_articles(names: Sequence[str]) -> str:
    """The same with `a` before every name; the game knows no `an`."""
    return listing([f"a {name}" for name in names])


@dataclass(frozen=True)
class Wording:
    """Every command and answer; `{o}` is an object, `{r}` a receptacle, `{k}` a knife, `{seen}` what is in view."""

    go: str = "go to {r}"
    open: str = "open {r}"
    close: str = "close {r}"
    take: str = "take {o} from {r}"
    move: str = "move {o} to {r}"
    heat: str = "heat {o} with {r}"
    cool: str = "cool {o} with {r}"
    clean: str = "clean {o} with {r}"
    slice: str = "slice {o} with {k}"
    use: str = "use {o}"
    examine: str = "examine {x}"
    inventory: str = "inventory"
    look: str = "look"
    help: str = "help"
    went: str = "You arrive at {r}. {seen}"
    did_open: str = "You open the {r}. {seen}"
    did_close: str = "You close the {r}."
    took: str = "You pick up the {o} from the {r}."
    moved: str = "You move the {o} to the {r}."
    heated: str = "You heat the {o} using the {r}."
    cooled: str = "You cool the {o} using the {r}."
    cleaned: str = "You clean the {o} using the {r}."
    did_slice: str = "You sliced the {o} with the {k}."
    used: str = "You turn on the {o}."
    carrying: str = "You are carrying: a {o}."
    empty_handed: str = "You are not carrying anything."
    shut: str = "The {r} is closed."
    inside: str = "The {r} is open. In it, you see {seen}."
    upon: str = "On the {r}, you see {seen}."
    room: str = "You are in the middle of a room. Looking quickly around you, you see {seen}."
    facing: str = "You are facing the {r}. Next to it, you see {seen}."
    task: str = "Your task is to: {task}."


PRESENT = Wording()
"""The wording since November 2024 (`move mug 1 to desk 1`)."""


def describe_object(name: str, *, container: bool, hot: bool, cool: bool, clean: bool, sliced: bool, on: bool) -> str:
    """What `examine` says of an object: TextWorld's first rule that applies.

    There is a rule for lamps that are off, but nothing ever makes it apply.
    """
    if container:
        return f"This is a normal {name}. In it, you see nothing."
    warmth = "hot" if hot else "cool" if cool else ""
    if clean and warmth:
        words = f"{warmth} and clean" + (" sliced" if sliced else "")
    elif sliced and (clean or warmth):
        words = ("clean" if clean else warmth) + " sliced"
    elif warmth or clean:
        words = {"hot": "hot", "cool": "cold", "": "clean"}[warmth]
    elif on:
        return f"This {name} is on."
    elif sliced:
        words = "sliced"
    else:
        return f"There's nothing special about {name}."
    return f"This is a {words} {name}."
