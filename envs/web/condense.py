"""Shortens observations for chats: only what is new since the previous one, with one line per table row or list item.

Without this, a chat repeats every menu at every step. If the URL is unchanged, repeated lines are omitted. If it has
changed, only the repeated lines at the top, above the first heading, are omitted. Element numbers follow the names.
"""

from __future__ import annotations

import re

QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
"""Regular expression of a quoted name in an observation."""
LINE = re.compile(
    rf"(?P<indent> *)(?:\[(?P<id>\d+)\] )?(?P<role>[A-Za-z][A-Za-z ]*?)(?: (?P<name>{QUOTED}))?(?P<more> .*)?"
)
"""Regular expression of one line of a page."""
_STATES = re.compile(rf" (?:level \d+|focused|required|invalid|class (?:{QUOTED}))(?=$| )")
_HEADER_PREFIXES = ("Task: ", "Actions: ", "Title: ", "Tabs: ", "Note: ", "Refused: ")
OMITTED_ROLES = {
    "text",
    "cell",
    "rowheader",
    "columnheader",
    "row",
    "listitem",
    "gridcell",
    "caption",
    "image",
    "status",
}
"""Roles whose elements are shown by name alone, without the role."""
ONE_LINE_ROLES = {"row", "listitem"}
"""Roles whose descendants are joined into one line."""
NOTHING_NEW = "Nothing new."


def condense(observation: str, previous: str | None = None) -> str:
    """Shorten an observation and omit what the previous observation already shows.

    Args:
        observation: The observation, as the environment returns it.
        previous: The observation that the agent read before; None for the first one, which is kept whole.
    """
    lines = _short_lines(observation)
    if previous is None:
        return "\n".join(lines)
    past = _short_lines(previous)
    if _url(observation) == _url(previous):
        known = set(past)
        return "\n".join(line for line in lines if line not in known) or NOTHING_NEW
    header, lines = _split_header(lines)
    past = _split_header(past)[1]
    # Below the first heading nothing is omitted, because single missing lines would make the page unreadable.
    menu = next((i for i, line in enumerate(lines) if line.startswith("heading ")), len(lines))
    repeated = next((i for i, (new, old) in enumerate(zip(lines[:menu], past, strict=False)) if new != old), None)
    repeated = min(menu, len(past)) if repeated is None else repeated
    return "\n".join([*header, *lines[repeated:]])


def _split_header(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines above the page, without the list of actions, and the lines of the page."""
    above = [line for line in lines if line.startswith(_HEADER_PREFIXES)]
    return [line for line in above if not line.startswith("Actions: ")], [line for line in lines if line not in above]


def _url(observation: str) -> str:
    match = re.search(r"^URL: (.*)$", observation, re.MULTILINE)
    return match[1] if match else ""


def _short_lines(observation: str) -> list[str]:
    """Return the shortened lines of an observation, without containers."""
    found: list[tuple[str, str]] = []
    row_depth: int | None = None
    for text in observation.split("\n"):
        if text.startswith("URL: "):
            continue
        match = None if text.startswith(_HEADER_PREFIXES) else LINE.fullmatch(text)
        if match is None:
            found.append((text, ""))
            continue
        depth = len(match["indent"])
        if row_depth is not None and depth <= row_depth:
            row_depth = None
        short, name = _short_line(match)
        if short and row_depth is not None and found:
            before, last = found.pop()
            # A cell or heading that contains only a link repeats the name of the link.
            repeated = match["id"] and last == name and before.endswith(last)
            before = before.removesuffix(last).removesuffix("heading ") if repeated else before + " "
            found.append((before + short, name))
        elif short:
            found.append((short, name))
        if match["role"] in ONE_LINE_ROLES and row_depth is None:
            row_depth = depth
            if not short:
                found.append(("", ""))
    lines = [(line.strip(), name) for line, name in found if line.strip()]
    return [line for i, (line, name) in enumerate(lines) if not _is_label(line, name, lines[max(0, i - 1) : i + 2])]


def _is_label(line: str, name: str, around: list[tuple[str, str]]) -> bool:
    """Return whether a line only repeats the name of a neighbouring line."""
    return line == name and any(other != line and other_name == name for other, other_name in around)


def _short_line(match: re.Match[str]) -> tuple[str, str]:
    """Return the shortened line and the name in it; two empty strings for a container."""
    name, more = match["name"] or "", _STATES.sub("", match["more"] or "")
    number = f" [{match['id']}]" if match["id"] else ""
    if match["role"] in OMITTED_ROLES and not number:
        return name, name
    if not number and match["role"] not in ("heading", "article", "alert", "dialog"):
        return "", ""
    if not name and not number:
        return "", ""
    return f"{match['role']} {name}{number}{more}".replace("  ", " "), name
