"""One episode on the web: a scenario of a world, a browser session, and the last page observation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from playwright.async_api import Error as PlaywrightError

from ...errors import InfraError, KintsugiError
from .actions import SUBMIT_FLAGS, VERBS, Action, RefusedAction, element_actions, parse_action
from .dialogs import DialogBox
from .hosts import parse_address
from .observe import EMPTY_LAYOUT, PageObservation, observe, screenshot
from .page_input import PageInput
from .session import Session
from .tree import clean, quoted
from .worlds.core import LoggedAction, Scenario, Status

MAX_DIALOGS = 50
"""Limit on dialogs closed at the end of an episode, in case a page opens them endlessly."""


@dataclass(frozen=True)
class EpisodeState:
    """Result of a step or of the start of an episode."""

    observation: str
    """Text of the page, as the agent reads it."""
    admissible: tuple[str, ...]
    """Admissible actions."""
    status: Status
    """Score and success so far."""
    answer: str | None = None
    """Answer given with `stop`; None while the episode runs."""
    action_log: tuple[LoggedAction, ...] = ()
    """All observations and actions, at the end of the episode; empty before."""
    invalid: str | None = None
    """Why the action was refused."""
    screenshot: bytes | None = None
    """The viewport as a PNG, if screenshots are enabled."""


@contextlib.contextmanager
def _infra_errors() -> Iterator[None]:
    """Raise `InfraError` for what a page makes fail in a way that nobody expected, so that only its episode ends."""
    try:
        yield
    except (KintsugiError, RefusedAction, PlaywrightError):
        raise
    except Exception as error:
        raise InfraError(f"the page could not be read or used: {type(error).__name__}: {error}") from error


async def _observe_page(session: Session) -> PageObservation:
    with _infra_errors():
        return await observe(session)


class WebEpisode:
    """Plays one episode. All methods run on the browser thread."""

    def __init__(self, session: Session, scenario: Scenario, with_screenshots: bool = False) -> None:
        """Prepare to play `scenario` in `session`; `with_screenshots` takes a screenshot with each observation."""
        self.session = session
        self.scenario = scenario
        self.with_screenshots = with_screenshots
        self.page_observation: PageObservation
        self._action_log: list[LoggedAction] = []
        self._dialog_box: DialogBox | None = None
        self._observation = ""

    async def begin(self) -> EpisodeState:
        """Open the first page."""
        await self.session.perform(self.scenario.start(self.session))
        state = await self._state(None, None)
        verbs = ", ".join(VERBS[verb].usage for verb in self.scenario.verbs)
        self._observation = f"Task: {self.scenario.goal}\nActions: {verbs}\n{state.observation}"
        return replace(state, observation=self._observation)

    async def step(self, text: str) -> EpisodeState:
        """Carry out one action. A refused action takes no page time and at most scrolls to its element."""
        answer, refused = None, None
        try:
            action = parse_action(text, self.scenario.verbs)
            if action.verb == "stop":
                answer = action.args[0].strip() if action.args else ""
                await self._close_dialogs()
            elif self._dialog_box:
                await self._dialog_box.act(self.session, action)
            else:
                await self._act(action)
        except RefusedAction as why:
            refused = str(why)
        self._action_log.append((self._observation, text))
        state = await self._state(answer, refused)
        self._observation = state.observation
        return state

    # -- Actions --------------------------------------------------------------------------------------------------

    async def _act(self, action: Action) -> None:
        session = self.session
        if action.verb == "goto":
            await session.perform(session.navigate(self._address(action.args[0])))
        elif action.verb in ("back", "forward"):
            if not (self.page_observation.back if action.verb == "back" else self.page_observation.forward):
                raise RefusedAction(f"there is no page to go {action.verb} to in this tab")
            await session.perform(session.go_in_history(-1 if action.verb == "back" else 1))
        elif action.verb == "new_tab":
            if len(session.tabs) >= session.config.max_tabs:
                raise RefusedAction(
                    f"{len(session.tabs)} tabs are open, and there can be no more; close_tab closes one"
                )
            await session.perform(session.new_tab())
        elif action.verb == "switch_tab":
            await session.perform(session.switch_tab(self._tab(action.args[0])))
        elif action.verb == "close_tab":
            if len(session.tabs) < 2:
                raise RefusedAction("this is the only tab, which stays open")
            await session.perform(session.close_tab())
        elif action.verb == "wait":
            await session.perform(asyncio.sleep(0))
        else:
            page_input = PageInput(
                self.page_observation.tab,
                self.page_observation.page.elements,
                self.page_observation.layout,
                session.config.view,
            )
            await session.perform(self._send_input(page_input, action))
            session.notes += page_input.notes

    async def _close_dialogs(self) -> None:
        for _ in range(MAX_DIALOGS):
            if self.session.dialog is None:
                return
            await self.session.answer_dialog(False)
        raise InfraError(f"the page kept opening dialogs after {MAX_DIALOGS} were closed")

    async def _send_input(self, page_input: PageInput, action: Action) -> None:
        with _infra_errors():
            await self._send_input_to(page_input, action)

    async def _send_input_to(self, page_input: PageInput, action: Action) -> None:
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
            await page_input.type(number, args[0], SUBMIT_FLAGS[args[1]] if len(args) > 1 else False)

    def _number(self, text: str) -> int:
        if not text.strip().isdecimal():
            raise RefusedAction(f"{text[:40]!r} is no number of an element: {VERBS['drag'].usage}")
        return int(text)

    def _tab(self, text: str) -> int:
        count = len(self.session.tabs)
        if not text.strip().isdecimal() or int(text) >= count:
            raise RefusedAction(f"there is no tab {text[:40]!r}; tabs are numbered 0 to {count - 1}")
        return int(text)

    def _address(self, text: str) -> str:
        try:
            url = self.scenario.real_url(parse_address(text))
        except ValueError as why:
            raise RefusedAction(f"{text[:80]!r} is no address to go to: {why}") from None
        if not self.session.config.hosts.allows(url):
            allowed = ", ".join(self.session.config.hosts.allowed) or "no others"
            raise RefusedAction(f"{text[:80]!r} is not allowed here; allowed hosts: {allowed}")
        return url

    # -- Observations ---------------------------------------------------------------------------------------------

    async def _state(self, answer: str | None, refused: str | None) -> EpisodeState:
        image = None
        if self.with_screenshots:
            status, image = await asyncio.gather(self._observe(answer), screenshot(self.session))
        else:
            status = await self._observe(answer)
        text = self._render(refused)
        action_log = tuple(self._action_log) if answer is not None else ()
        return EpisodeState(text, self._admissible(), status, answer, action_log, refused, image)

    async def _observe(self, answer: str | None) -> Status:
        session = self.session
        if session.dialog is None:
            self._dialog_box = None
        elif self._dialog_box is None or not self._dialog_box.is_for(session.dialog):
            self._dialog_box = DialogBox(session.dialog)
        if self._dialog_box is not None:
            self.page_observation = PageObservation(
                session.active, session.active.page.url, "", self._dialog_box.page(), EMPTY_LAYOUT, ()
            )
            return Status()
        log = tuple(self._action_log)
        found = await session.read(
            lambda: asyncio.gather(_observe_page(session), self.scenario.status(session, answer, log))
        )
        if found is None:
            # A dialog opened meanwhile.
            return await self._observe(answer)
        self.page_observation, status = found
        return status

    def _render(self, refused: str | None) -> str:
        observed, session = self.page_observation, self.session
        notes, session.notes = session.notes, []
        lines = [f"Refused: {refused}"] if refused else []
        lines += [f"Note: {clean(self._shorten_urls(note))}" for note in notes[:20]]
        lines.append(f"URL: {clean(self.scenario.display_url(observed.url))[:500]}")
        if observed.title:
            lines.append(f"Title: {observed.title[:200]}")
        if observed.tabs:
            names = (
                f"{i} {quoted(name, 40)}{' (this one)' * active}" for i, (name, active) in enumerate(observed.tabs)
            )
            lines.append(f"Tabs: {', '.join(names)}")
        return "\n".join([*lines, *observed.page.lines])

    def _shorten_urls(self, note: str) -> str:
        return note.replace(*self.scenario.url_prefix) if self.scenario.url_prefix else note

    def _admissible(self) -> tuple[str, ...]:
        verbs, observed = self.scenario.verbs, self.page_observation
        found = element_actions(observed.page.elements, verbs)
        if self._dialog_box is not None:
            return (*found, "stop")
        count = len(self.session.tabs)
        others = {
            "scroll": ["scroll [down]", "scroll [up]"],
            "back": ["back"] * observed.back,
            "forward": ["forward"] * observed.forward,
            "new_tab": ["new_tab"] * (count < self.session.config.max_tabs),
            "switch_tab": [f"switch_tab [{i}]" for i, (_, active) in enumerate(observed.tabs) if not active],
            "close_tab": ["close_tab"] * (count > 1),
            "wait": ["wait"],
            "stop": ["stop"],
        }
        return (*found, *(action for verb in verbs for action in others.get(verb, ())))
