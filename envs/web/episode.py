"""One episode on the web: a place of a world, a session of the browser, and what was seen of it last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from ...errors import InfraError
from .actions import SUBMIT, VERBS, Action, Refused, on_elements, parse
from .dialogs import DialogBox
from .hosts import address
from .observe import NOTHING, Look, look, screenshot
from .page_input import PageInput
from .session import Session
from .tree import clean, quoted
from .worlds.core import Deed, Place, Standing

MOST_DIALOGS = 50
"""A page that opens more of them at the end of an episode never stops."""


@dataclass(frozen=True)
class Moment:
    """What a step, or the beginning, came to."""

    observation: str
    admissible: tuple[str, ...]
    standing: Standing
    answer: str | None = None
    """What the agent ended the episode with; None while it goes on."""
    deeds: tuple[Deed, ...] = ()
    """All that was seen and done, at the end of the episode."""
    invalid: str | None = None
    """Why the action was refused."""
    picture: bytes | None = None
    """The viewport as a PNG, where that was asked for."""


class WebEpisode:
    """Plays one episode. Lives on the browser's thread."""

    def __init__(self, session: Session, place: Place, pictured: bool = False) -> None:
        """What is `pictured` has a screenshot taken with each observation."""
        self.session = session
        self.place = place
        self.pictured = pictured
        self.look: Look
        self._deeds: list[Deed] = []
        self._box: DialogBox | None = None
        self._seen = ""

    async def begin(self) -> Moment:
        """Go to where the episode begins."""
        await self.session.turn(self.place.enter(self.session))
        moment = await self._moment(None, None)
        verbs = ", ".join(VERBS[verb].usage for verb in self.place.verbs)
        self._seen = f"Task: {self.place.goal}\nActions: {verbs}\n{moment.observation}"
        return replace(moment, observation=self._seen)

    async def step(self, text: str) -> Moment:
        """Carry out one action; what is refused takes no time, and at most scrolls to what it is about."""
        answer, refused = None, None
        try:
            action = parse(text, self.place.verbs)
            if action.verb == "stop":
                answer = action.args[0].strip() if action.args else ""
                await self._close_dialogs()
            elif self._box:
                await self._box.act(self.session, action)
            else:
                await self._act(action)
        except Refused as why:
            refused = str(why)
        self._deeds.append((self._seen, text))
        moment = await self._moment(answer, refused)
        self._seen = moment.observation
        return moment

    # -- Doing ----------------------------------------------------------------------------------------------------

    async def _act(self, action: Action) -> None:
        session = self.session
        if action.verb == "goto":
            await session.turn(session.navigate(self._address(action.args[0])))
        elif action.verb in ("back", "forward"):
            if not (self.look.back if action.verb == "back" else self.look.forward):
                raise Refused(f"there is no page to go {action.verb} to in this tab")
            await session.turn(session.travel(-1 if action.verb == "back" else 1))
        elif action.verb == "new_tab":
            if len(session.tabs) >= session.config.most_tabs:
                raise Refused(f"{len(session.tabs)} tabs are open, and there can be no more; close_tab closes one")
            await session.turn(session.new_tab())
        elif action.verb == "switch_tab":
            await session.turn(session.switch(self._tab(action.args[0])))
        elif action.verb == "close_tab":
            if len(session.tabs) < 2:
                raise Refused("this is the only tab, which stays open")
            await session.turn(session.close_tab())
        elif action.verb == "wait":
            await session.turn(asyncio.sleep(0))
        else:
            page_input = PageInput(self.look.tab, self.look.page.elements, self.look.layout, session.config.view)
            await session.turn(self._handle(page_input, action))
            session.notes += page_input.notes

    async def _close_dialogs(self) -> None:
        for _ in range(MOST_DIALOGS):
            if self.session.dialog is None:
                return
            await self.session.answer(False)
        raise InfraError(f"the page opens one dialog after the other; {MOST_DIALOGS} were closed")

    async def _handle(self, page_input: PageInput, action: Action) -> None:
        number, args = action.id, action.args
        if action.verb == "scroll":
            await page_input.scroll(number, args[0])
        elif action.verb == "press":
            await page_input.press(args[0])
        elif number is None:
            raise AssertionError(action)
        elif action.verb == "click":
            await page_input.click(number)
        elif action.verb == "hover":
            await page_input.hover(number)
        elif action.verb == "drag":
            await page_input.drag(number, page_input.element(self._number(args[0])).id)
        elif action.verb == "select":
            await page_input.select(number, args)
        elif action.verb == "type":
            await page_input.type(number, args[0], SUBMIT[args[1]] if len(args) > 1 else False)

    def _number(self, text: str) -> int:
        if not text.strip().isdecimal():
            raise Refused(f"{text[:40]!r} is no number of an element: {VERBS['drag'].usage}")
        return int(text)

    def _tab(self, text: str) -> int:
        count = len(self.session.tabs)
        if not text.strip().isdecimal() or int(text) >= count:
            raise Refused(f"there is no tab {text[:40]!r}; tabs are numbered 0 to {count - 1}")
        return int(text)

    def _address(self, text: str) -> str:
        try:
            url = self.place.meant(address(text))
        except ValueError as why:
            raise Refused(f"{text[:80]!r} is no address to go to: {why}") from None
        if not self.session.config.hosts.allows(url):
            allowed = ", ".join(self.session.config.hosts.allowed) or "no others"
            raise Refused(f"{text[:80]!r} is not allowed here; allowed hosts: {allowed}")
        return url

    # -- Seeing ---------------------------------------------------------------------------------------------------

    async def _moment(self, answer: str | None, refused: str | None) -> Moment:
        picture = None
        if self.pictured:
            standing, picture = await asyncio.gather(self._see(answer), screenshot(self.session))
        else:
            standing = await self._see(answer)
        text = self._text(refused)
        deeds = tuple(self._deeds) if answer is not None else ()
        return Moment(text, self._admissible(), standing, answer, deeds, refused, picture)

    async def _see(self, answer: str | None) -> Standing:
        session = self.session
        if session.dialog is None:
            self._box = None
        elif self._box is None or not self._box.shows(session.dialog):
            self._box = DialogBox(session.dialog)
        if self._box is not None:
            self.look = Look(session.active, session.active.page.url, "", self._box.page(), NOTHING, ())
            return Standing()
        self.look, standing = await asyncio.gather(
            look(session), self.place.standing(session, answer, tuple(self._deeds))
        )
        return standing

    def _text(self, refused: str | None) -> str:
        seen, session = self.look, self.session
        notes, session.notes = session.notes, []
        lines = [f"Refused: {refused}"] if refused else []
        lines += [f"Note: {clean(self._plain(note))}" for note in notes[:20]]
        lines.append(f"URL: {clean(self.place.shown(seen.url))[:500]}")
        if seen.title:
            lines.append(f"Title: {seen.title[:200]}")
        if seen.tabs:
            names = (f"{i} {quoted(name, 40)}{' (this one)' * here}" for i, (name, here) in enumerate(seen.tabs))
            lines.append(f"Tabs: {', '.join(names)}")
        return "\n".join([*lines, *seen.page.lines])

    def _plain(self, note: str) -> str:
        return note.replace(*self.place.prefix) if self.place.prefix else note

    def _admissible(self) -> tuple[str, ...]:
        verbs, seen = self.place.verbs, self.look
        found = on_elements(seen.page.elements, verbs)
        if self._box is not None:
            return (*found, "stop")
        count = len(self.session.tabs)
        others = {
            "scroll": ["scroll [down]", "scroll [up]"],
            "back": ["back"] * seen.back,
            "forward": ["forward"] * seen.forward,
            "new_tab": ["new_tab"] * (count < self.session.config.most_tabs),
            "switch_tab": [f"switch_tab [{i}]" for i, (_, here) in enumerate(seen.tabs) if not here],
            "close_tab": ["close_tab"] * (count > 1),
            "wait": ["wait"],
            "stop": ["stop"],
        }
        return (*found, *(action for verb in verbs for action in others.get(verb, ())))
