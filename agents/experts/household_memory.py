"""Knowledge about a household, parsed from ALFWorld's observations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_ROOM = re.compile(r"you are in the middle of a room\. looking quickly around you, you see (.+?)\.(?:\n|$)", re.I)
_TASK = re.compile(r"your task is to: (.+?)\.?\s*$", re.I)
_ARRIVED = re.compile(r"you arrive at (?:loc \d+|(.+?))\. ", re.I)
_ON = re.compile(r"on the (\w+ \d+), you see (.+?)\.$", re.I)
_IN = re.compile(r"the (\w+ \d+) is open\. in it, you see (.+?)\.$", re.I)
_CLOSED = re.compile(r"(?:^|\. )the (\w+ \d+) is closed\.$", re.I)
_CLOSE = re.compile(r"you close the (\w+ \d+)\.$", re.I)
_TAKE = re.compile(r"you pick up the (\w+ \d+) from the (\w+ \d+)\.$", re.I)
_MOVE = re.compile(r"you (?:move|put) the (\w+ \d+) (?:to|in/on) the (\w+ \d+)\.$", re.I)
_TREAT = re.compile(r"you (heat|cool|clean) the (\w+ \d+) using the (\w+ \d+)\.$", re.I)
_USE = re.compile(r"you turn on the (\w+ \d+)\.$", re.I)
_CARRY = re.compile(r"you are carrying: (?:a|an) (.+?)\.$", re.I)
_FACING = re.compile(r"you are facing the (.+?)\. next to it", re.I)

STATE_AFTER = {"heat": "hot", "cool": "cool", "clean": "clean"}
"""State of an object after each treatment."""


def read_list(text: str) -> tuple[str, ...]:
    """Return the names in a list such as `a mug 1, and a cup 2`, without articles; none for `nothing`."""
    parts = re.split(r", and |, | and ", text.strip())
    names = (re.sub(r"^(?:a|an|the) ", "", part.strip()) for part in parts)
    return tuple(name for name in names if name and name != "nothing")


def kind_of(name: str) -> str:
    """Return the kind of an object or receptacle: `mug` for `mug 2`."""
    return name.rpartition(" ")[0] or name


@dataclass
class HouseholdMemory:
    """Knowledge from the observations of one attempt; `update` adds one observation.

    No knowledge comes from hidden state. Effects of an action are only recorded if the observation confirms them.
    """

    task: str = ""
    """Task text, without `Your task is to:` and the full stop."""
    receptacles: tuple[str, ...] = ()
    """Known receptacles, in the order of the first observation, then in the order of discovery."""
    location: str | None = None
    """Receptacle that the agent last went to."""
    held: str | None = None
    """Object in hand."""
    seen: dict[str, str] = field(default_factory=dict)
    """For each object, the receptacle where it was last seen or put. The object in hand is left out."""
    first_seen: dict[str, str] = field(default_factory=dict)
    """For each object, the receptacle where it was first seen, which is its initial receptacle."""
    visited: dict[str, None] = field(default_factory=dict)
    """Receptacles that the agent went to, in order. The values are not used."""
    searched: dict[str, None] = field(default_factory=dict)
    """Receptacles whose contents were seen."""
    opened: dict[str, None] = field(default_factory=dict)
    """Receptacles known to be open now."""
    closed: dict[str, None] = field(default_factory=dict)
    """Receptacles known to be closed now."""
    states: dict[str, frozenset[str]] = field(default_factory=dict)
    """Known states of objects: `hot`, `cool`, `clean`, `on`."""
    refused: list[str] = field(default_factory=list)
    """Actions that were answered by `Nothing happens.`, in order."""
    refusal_counts: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    """Number of refusals by action and location, since the action's object was last picked up."""
    hand_checked: bool = False
    """Whether an answer to `inventory` was seen. An episode may start with an object in hand."""
    older_wording: bool = False
    """Whether the game uses the wording before November 2024, such as `put X in/on Y` and `loc 15`."""
    steps: int = 0
    """Number of actions so far."""

    def update(self, action: str | None, observation: str) -> None:
        """Add an observation to the memory.

        Args:
            action: The action that led to it; None for the first observation of an episode.
            observation: The observation.
        """
        text = observation.strip()
        if action is None:
            self._read_start(text)
            return
        self.steps += 1
        if text == "Nothing happens.":
            self.note_refusal(action.strip())
            return
        arrived = _ARRIVED.match(text)
        if arrived:
            self.older_wording = self.older_wording or not arrived[1]
            self.location = arrived[1] or re.sub(r"^go to ", "", action.strip())
            self.visited.setdefault(self.location)
        if not (self._read_view(text) or self._read_change(text)):
            self._read_status(text)

    def note_refusal(self, action: str) -> None:
        """Record that `action` is not admissible here. A refused `go to` shows that the agent is already there."""
        self.refused.append(action)
        self.refusal_counts[action, self.location] += 1
        place = action.removeprefix("go to ")
        if place != action and place in self.receptacles:
            self.location = place

    def note_admissible(self, actions: Sequence[str]) -> None:
        """Add knowledge from the admissible actions.

        If the agent starts at a receptacle, the first observation does not list the other receptacles. It never shows
        the object in hand. The `go to` commands name the receptacles. Besides receptacles, only the object in hand can
        be examined, so an `examine` command names it.
        """
        self.older_wording = self.older_wording or any(action.startswith("put ") for action in actions)
        named = [action.partition(" ")[2] for action in actions if action.startswith("examine ")]
        going = [action.removeprefix("go to ") for action in actions if action.startswith("go to ")]
        self.receptacles += tuple(name for name in going if name not in self.receptacles)
        held = [name for name in named if name not in self.receptacles]
        if held:
            self._hold(held[0])

    def objects_of_kind(self, kind: str) -> dict[str, str]:
        """Return the objects of this kind, with the receptacles where they were last seen."""
        return {name: place for name, place in self.seen.items() if kind_of(name) == kind}

    def unsearched(self) -> tuple[str, ...]:
        """Return the receptacles whose contents were never seen, in the order of `receptacles`."""
        return tuple(name for name in self.receptacles if name not in self.searched)

    def next_attempt(self) -> HouseholdMemory:
        """Return the memory for a new attempt at the same task: initial places of objects and searched receptacles."""
        return HouseholdMemory(
            task=self.task,
            receptacles=self.receptacles,
            seen=dict(self.first_seen),
            first_seen=dict(self.first_seen),
            searched=dict.fromkeys(self.searched),
        )

    def _read_start(self, text: str) -> None:
        room, task = _ROOM.search(text), _TASK.search(text)
        here = _FACING.search(text)
        if room:
            self.receptacles = read_list(room[1])
        elif here:
            self.receptacles = read_list(here[1])
            self.location = self.receptacles[0]
        if task:
            self.task = task[1]

    def _read_view(self, text: str) -> bool:
        match = _IN.search(text)
        if match:
            self.closed.pop(match[1], None)
            self.opened.setdefault(match[1])
        else:
            match = _ON.search(text)
        if match:
            self._look_into(match[1], read_list(match[2]))
            return True
        match = _CLOSED.search(text)
        if match:
            self.closed.setdefault(match[1])
            return True
        return False

    def _look_into(self, receptacle: str, objects: tuple[str, ...]) -> None:
        self.searched.setdefault(receptacle)
        for name in [name for name, place in self.seen.items() if place == receptacle and name not in objects]:
            del self.seen[name]
        for name in objects:
            self.seen[name] = receptacle
            self.first_seen.setdefault(name, receptacle)

    def _read_change(self, text: str) -> bool:
        if match := _TAKE.match(text):
            self._hold(match[1])
            self.first_seen.setdefault(match[1], match[2])
        elif match := _MOVE.match(text):
            self.held = None
            self.seen[match[1]] = match[2]
        elif match := _TREAT.match(text):
            others = (
                self.states.get(match[2], frozenset())
                - ({"heat": {"cool"}, "cool": {"hot"}, "clean": set()}[match[1].lower()])
            )
            self.states[match[2]] = others | {STATE_AFTER[match[1].lower()]}
        elif match := _USE.match(text):
            self.states[match[1]] = self.states.get(match[1], frozenset()) | {"on"}
        elif match := _CLOSE.match(text):
            self.opened.pop(match[1], None)
            self.closed.setdefault(match[1])
        else:
            return False
        return True

    def _hold(self, name: str) -> None:
        if name == self.held:
            return
        self.held = name
        self.seen.pop(name, None)
        forgotten = [
            pair for pair in self.refusal_counts if f" {name} " in f"{pair[0]} " or pair[0].startswith("take ")
        ]
        for pair in forgotten:
            del self.refusal_counts[pair]

    def _read_status(self, text: str) -> None:
        if match := _CARRY.match(text):
            self.hand_checked = True
            self._hold(match[1])
        elif text == "You are not carrying anything.":
            self.hand_checked = True
            self.held = None
        elif match := _FACING.match(text):
            self.location = read_list(match[1])[0]
