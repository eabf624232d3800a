"""`kintsugi/Web-v0`: a browser to act in, with pages as text."""

from __future__ import annotations

import io
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from ...errors import UsageError
from ..core import AgentEnv, Snapshot, Task, TaskSet
from .browser import Browser, shared_browser
from .chromium import BrowserConfig
from .condense import condense
from .episode import Moment, WebEpisode
from .hosts import LOOPBACK, Hosts
from .observe import photograph, screenshot
from .session import SessionConfig
from .view import Element, View
from .worlds import Place, World, world_named, world_of
from .worlds.core import Judge

T = TypeVar("T")


@dataclass(frozen=True)
class WebConfig:
    """How the web is browsed."""

    view: View = field(default_factory=View)
    hosts: tuple[str, ...] = LOOPBACK
    """What pages of the live web may ask for; embedded worlds ask for their own hosts alone."""
    patience: float = 5.0
    """Seconds of real time in which a page has to come to rest after an action."""
    deadline: float = 60.0
    """Seconds of real time after which a step is lost to the browser, an `InfraError`."""
    step_time: int = 1000
    """Milliseconds that pass on a page with each step."""
    screenshots: bool = False
    """Whether each observation has a picture of the same moment: `info["screenshot"]`, the viewport as a PNG."""
    download_seconds: float = 1.0
    """How much of the patience a download may take to appear when an action led to no page."""

    def __post_init__(self) -> None:
        """Raise `UsageError` for hosts that cannot be meant."""
        Hosts(self.hosts)


class WebEnv(AgentEnv):
    """An agent reads pages as their accessibility tree and acts on elements by number.

    Actions (`kintsugi.envs.web.actions`): click [id], type [id] [text] [submit], select [id] [option], hover [id],
    drag [id] [id], press [key], scroll [direction], goto [url], back, forward, new_tab, switch_tab [n], close_tab,
    wait, stop [answer]. What cannot be done is refused: `info["invalid"]` says why. `info["admissible"]` lists what can
    be done with the elements of this page; keys, addresses, hovering, dragging and texts have no end and are left out,
    but for one text that stands for all. With `WebConfig(screenshots=True)`, `info["screenshot"]` is the viewport.

    An element keeps its number as long as its document lives. A page's clock moves with the steps alone, its chance is
    seeded, and a step ends when network, scripts and DOM are at rest, so an episode is a function of task and actions.
    Snapshots are replayed, with the state of the sites' server restored exactly. What happens to the browser itself is
    an `InfraError`: the episode counts for nothing and can be played again on the same instance.

    Tasks are of the embedded sites (`world="sites"`), of MiniWoB++ (`world="miniwob"`), or read from the published
    files of WebVoyager and Mind2Web-Live (`world="live"`, `path=...`).
    """

    metadata: dict[str, Any] = {
        **AgentEnv.metadata,
        "render_modes": ["ansi", "rgb_array"],
        "turn_tokens": 96,
        "at_once": 8,
        "gate_split": "valid",
    }
    env_id: ClassVar[str] = "kintsugi/Web-v0"
    verifier_instructions: ClassVar[str] = (
        "You judge the steps of an attempt at a task in a web browser. Good brings the task forward; "
        "Bad was refused, changes nothing or leads away from what is asked for; Uncertain is all else."
    )

    def __init__(
        self,
        *,
        max_steps: int = 30,
        render_mode: str | None = None,
        headless: bool = True,
        config: WebConfig | None = None,
        browser: Browser | None = None,
        judge: Judge | None = None,
    ) -> None:
        """`browser` is one's own; None is one that this process shares. `headless=False` opens a window.

        Tasks of the live web need a `judge`, e.g. `kintsugi.agents.judge.WebJudge`.
        """
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        if judge is not None and not callable(judge):
            raise UsageError(f"judge is {judge!r}; expected a function of task, deeds and answer, e.g. a WebJudge")
        self.config = config or WebConfig()
        self.headless = headless
        self.judge = judge
        self._own = browser
        self._browser: Browser | None = None
        self._episode: WebEpisode | None = None
        self._world: type[World] | None = None
        self._versions: Mapping[str, str] = {}

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, world: str = "sites", **params: Any) -> TaskSet:
        """Tasks of a world: `sites`, `miniwob` or `live`; what else can be said is the world's."""
        return world_named(world).tasks(split, n, seed, **params)

    @staticmethod
    def condense(observation: str, before: str | None) -> str:
        """What is new on the page; see `kintsugi.envs.web.condense`."""
        return condense(observation, before)

    def world(self, task: Task) -> type[World]:
        """Where a task is played; for environments with a world of their own to replace."""
        return world_of(task)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Open the task's first page; raises `InfraError` when the browser breaks."""
        world = self.world(task)
        place = world.place(task, self.config.hosts, self.judge)
        try:
            self._open(world, place)
            moment = self._run(self._playing().begin())
        except BaseException:
            place.leave()
            self._end()
            raise
        return moment.observation, {**_info(moment), "goal": place.goal}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Carry out one action; raises `InfraError` when the browser breaks or takes longer than the deadline."""
        if self._episode is None:
            self._revive()
        moment = self._run(self._playing().step(action))
        standing = moment.standing
        if moment.answer is not None and (judged := self._playing().place.judged(moment.answer, moment.deeds)):
            standing = judged
        over = moment.answer is not None or standing.over
        info = {**_info(moment), "score": standing.score}
        if over:
            info.update(success=standing.success, admissible=())
        reward = standing.reward if standing.reward is not None else standing.score if over else 0.0
        return moment.observation, reward, over, info

    def elements(self) -> Mapping[int, Element]:
        """What the agent sees numbered now; raises `UsageError` when no episode is running."""
        return self._playing().look.page.elements

    def screenshot(self) -> bytes:
        """The viewport as it is now, a PNG; raises `UsageError` when no episode is running."""
        return self._run(screenshot(self._playing().session))

    def versions(self) -> Mapping[str, str]:
        """Of the Chromium that the last episode was opened in."""
        return self._versions

    def picture(self) -> bytes | None:
        """The viewport as it is now, a JPEG; None when no episode is running."""
        return self._run(photograph(self._playing().session)) if self._episode else None

    def marked_screenshot(self) -> bytes:
        """The same with the number of each element drawn on it: on the picture, the page is left alone."""
        from .marks import marked

        return marked(self.screenshot(), self.elements().values())

    def render(self) -> Any:
        """The last observation, or for `rgb_array` the viewport as an array of uint8, (height, width, 3)."""
        if self.render_mode != "rgb_array":
            return super().render()
        import numpy as np
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.screenshot())).convert("RGB"))

    def close(self) -> None:
        """Leave the browser; the one that is shared lives on for others."""
        self._end()

    @property
    def browser(self) -> Browser:
        """The browser of the running episode, or the one that the next would get."""
        return self._browser or self._own or shared_browser(self._launched())

    # -- Snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """This instant: the actions so far, and the exact state of what the pages are served from."""
        taken = super().snapshot()
        outside = self._episode.place.dump() if self._episode else None
        return replace(taken, state=(*taken.state, outside))

    def restore(self, snapshot: Snapshot) -> None:
        """Replay the actions, then put the state outside the browser back to the bit."""
        observation, state, outside = snapshot.state
        super().restore(replace(snapshot, state=(observation, state)))
        if outside is not None and self._episode is not None:
            self._episode.place.load(outside)

    def __getstate__(self) -> dict[str, Any]:
        """Without the browser; the episode is replayed in another one at its next step."""
        return {**self.__dict__, "_own": None, "_browser": None, "_episode": None, "_world": None}

    def _revive(self) -> None:
        if self.task is None:
            raise UsageError("there is no running web episode; call reset first")
        self.begin(self.task)
        for action in self._actions or ():
            self.act(action)

    # -- The browser ------------------------------------------------------------------------------------------------

    def _open(self, world: type[World], place: Place) -> None:
        """A session for the place: the last episode's where the world can go on in it."""
        before = self._episode
        if before is not None:
            before.place.leave()
            same = self._world is world and before.place.hosts == place.hosts
            if same and place.continues(before.session) and self.browser.goes_on(before.session):
                self._episode = WebEpisode(before.session, place, self.config.screenshots)
                return
        self._end()
        if self._own and world.resolver_rules() and not self._own.config.resolver_rules:
            raise UsageError(
                f"this browser does not know the hosts of the world {world.name!r}; make it with "
                f"Browser(BrowserConfig(resolver_rules={world.resolver_rules()!r}))"
            )
        self._world = world
        self._browser = self._own or shared_browser(self._launched(world.resolver_rules()))
        config = self.config
        session = self._browser.open(
            SessionConfig(
                hosts=place.hosts,
                view=config.view,
                patience=config.patience,
                download_seconds=config.download_seconds,
                step_time=config.step_time,
            )
        )
        self._episode = WebEpisode(session, place, config.screenshots)
        self._versions = {"Chromium": self._browser.version}

    def _launched(self, rules: tuple[str, ...] = ()) -> BrowserConfig:
        # Unlimited, frames cost those a tenth more who look at none.
        return BrowserConfig(self.headless, resolver_rules=rules, frame_limit=not self.config.screenshots)

    def _end(self) -> None:
        episode, self._episode = self._episode, None
        if episode is not None:
            episode.place.leave()
            self.browser.close_session(episode.session)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.browser.run(self._playing().session, work, self.config.deadline)
        except BaseException:
            # Whatever ended the call, the page is in no state to go on from.
            self._end()
            raise

    def _playing(self) -> WebEpisode:
        if self._episode is None:
            raise UsageError("there is no running web episode; call reset first")
        return self._episode


def _info(moment: Moment) -> dict[str, Any]:
    info: dict[str, Any] = {"score": moment.standing.score, "admissible": moment.admissible}
    if moment.invalid is not None:
        info["invalid"] = moment.invalid
    if moment.picture is not None:
        info["screenshot"] = moment.picture
    return info
