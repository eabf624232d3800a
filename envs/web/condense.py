"""What an agent has to be told of a page when it has read the one before: what is new, a row or a list's entry a line.

A chat that only ever grows would else repeat every menu at every step. On the same address, lines that were there
before are left out; on another one, those above the first heading. Numbers stand behind the names they belong to.
"""

from __future__ import annotations

import re

QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
"""A name as pages quote it."""
LINE = re.compile(
    rf"(?P<indent> *)(?:\[(?P<id>\d+)\] )?(?P<role>[A-Za-z][A-Za-z ]*?)(?: (?P<name>{QUOTED}))?(?P<more> .*)?"
)
"""A line of a page."""
_STATES = re.compile(rf" (?:level \d+|focused|required|invalid|class (?:{QUOTED}))(?=$| )")
_KEPT = ("Task: ", "Actions: ", "Title: ", "Tabs: ", "Note: ", "Refused: ")
PLAIN = {"text", "cell", "rowheader", "columnheader", "row", "listitem", "gridcell", "caption", "image", "status"}
"""Roles that go without saying."""
TOGETHER = {"row", "listitem"}
"""What is said on one line."""
NOTHING = "Nothing new."


def condense(observation: str, before: str | None = None) -> str:
    """`observation` in short, without what `before` says too; whole where nothing was read before."""
    lines = _told(observation)
    if before is None:
        return "\n".join(lines)
    past = _told(before)
    if _url(observation) == _url(before):
        known = set(past)
        return "\n".join(line for line in lines if line not in known) or NOTHING
    titles, lines = _titles(lines)
    past = _titles(past)[1]
    # Below the first heading, a page is told whole: what lies between two lines would else be a riddle.
    menu = next((i for i, line in enumerate(lines) if line.startswith("heading ")), len(lines))
    alike = next((i for i, (new, old) in enumerate(zip(lines[:menu], past, strict=False)) if new != old), None)
    alike = min(menu, len(past)) if alike is None else alike
    return "\n".join([*titles, *lines[alike:]])


def _titles(lines: list[str]) -> tuple[list[str], list[str]]:
    """What stands above the page, without what there is to do, and the page."""
    above = [line for line in lines if line.startswith(_KEPT)]
    return [line for line in above if not line.startswith("Actions: ")], [line for line in lines if line not in above]


def _url(observation: str) -> str:
    match = re.search(r"^URL: (.*)$", observation, re.MULTILINE)
    return match[1] if match else ""


def _told(observation: str) -> list[str]:
    """The page line by line, containers left out."""
    told: list[tuple[str, str]] = []
    together: int | None = None
    for text in observation.split("\n"):
        if text.startswith("URL: "):
            continue
        match = None if text.startswith(_KEPT) else LINE.fullmatch(text)
        if match is None:
            told.append((text, ""))
            continue
        depth = len(match["indent"])
        if together is not None and depth <= together:
            together = None
        said, name = _said(match)
        if said and together is not None and told:
            before, last = told.pop()
            # The cell or heading that a link fills says the same as the link.
            repeated = match["id"] and last == name and before.endswith(last)
            before = before.removesuffix(last).removesuffix("heading ") if repeated else before + " "
            told.append((before + said, name))
        elif said:
            told.append((said, name))
        if match["role"] in TOGETHER and together is None:
            together = depth
            if not said:
                told.append(("", ""))
    lines = [(line.strip(), name) for line, name in told if line.strip()]
    return [line for i, (line, name) in enumerate(lines) if not _labels(line, name, lines[max(0, i - 1) : i + 2])]


def _labels(line: str, name: str, around: list[tuple[str, str]]) -> bool:
    """Whether a line only says what something beside it is called."""
    return line == name and any(other != line and called == name for other, called in around)


def _said(match: re.Match[str]) -> tuple[str, str]:
    """A line in short, and the name in it; nothing for a container that says nothing."""
    name, more = match["name"] or "", _STATES.sub("", match["more"] or "")
    number = f" [{match['id']}]" if match["id"] else ""
    if match["role"] in PLAIN and not number:
        return name, name
    if not number and match["role"] not in ("heading", "article", "alert", "dialog"):
        return "", ""
    if not name and not number:
        return "", ""
    return f"{match['role']} {name}{number}{more}".replace("  ", " "), name
