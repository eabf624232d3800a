"""`kintsugi/Web-v0`: the agent acts in a browser and reads pages as text."""

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
from .episode import EpisodeState, WebEpisode
from .hosts import LOOPBACK, AllowedHosts
from .observe import screenshot, screenshot_jpeg
from .session_config import SessionConfig
from .view import Element, View
from .worlds import Scenario, World, world_named, world_of
from .worlds.core import Judge

T = TypeVar("T")


@dataclass(frozen=True)
class WebConfig:
    """Settings of the web environment."""

    view: View = field(default_factory=View)
    """Size of the viewport, and how much of a page is shown."""
    hosts: tuple[str, ...] = LOOPBACK
    """Hosts allowed for tasks of the live web; the other worlds allow only their own pages."""
    settle_timeout: float = 5.0
    """Time limit in real seconds for a page to become idle after an action."""
    step_timeout: float = 60.0
    """Time limit in real seconds for a step; a longer step is an infrastructure failure."""
    step_time: int = 1000
    """Page time that passes with each step, in milliseconds."""
    screenshots: bool = False
    """Return the viewport as a PNG in `info["screenshot"]` with each observation."""
    download_seconds: float = 1.0
    """Seconds to wait for a download after a navigation that ended without a page; part of the settle timeout."""

    def __post_init__(self) -> None:
        """Validate the hosts; raise `UsageError` for an invalid one."""
        AllowedHosts(self.hosts)


class WebEnv(AgentEnv):
    """Environment in which an agent reads accessibility trees of web pages and acts on numbered elements.

    Actions (`kintsugi.envs.web.actions`): click [id], type [id] [text] [submit], select [id] [option], hover [id],
    drag [id] [id], press [key], scroll [direction], goto [url], back, forward, new_tab, switch_tab [n], close_tab,
    wait, stop [answer]. For a refused action, `info["invalid"]` gives the reason. `info["admissible"]` lists the
    admissible actions on the elements of the page. It omits keys, URLs, hovering and dragging, and lists one
    placeholder text per text field.

    An element keeps its number as long as its document is loaded. The clock of a page moves only with the steps, its
    random numbers are seeded, and a step ends when network, scripts and DOM are idle. An episode is therefore a
    function of task and actions. Snapshots replay the actions and restore the state of the embedded server exactly. A
    browser failure raises `InfraError`; the episode does not count and can be repeated on the same instance.

    Tasks come from the embedded sites (`world="sites"`), from MiniWoB++ (`world="miniwob"`), or from the published
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
        """Create the environment. The browser starts with the first episode.

        Args:
            max_steps: Maximum number of steps in an episode.
            render_mode: `"ansi"` for text, `"rgb_array"` for images, or None.
            headless: Run the browser without a window.
            config: Settings; None for the defaults.
            browser: The browser to use; None for the browser that the process shares.
            judge: Scores attempts on the live web, e.g. a `kintsugi.agents.judge.WebJudge`. Other worlds ignore it.
        """
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        if judge is not None and not callable(judge):
            raise UsageError(
                f"judge is {judge!r}; expected a function of task, action log and answer, such as a WebJudge"
            )
        self.config = config or WebConfig()
        self.headless = headless
        self.judge = judge
        self._given_browser = browser
        self._browser: Browser | None = None
        self._episode: WebEpisode | None = None
        self._world: type[World] | None = None
        self._versions: Mapping[str, str] = {}

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, world: str = "sites", **params: Any) -> TaskSet:
        """Return tasks of a world: `sites`, `miniwob` or `live`. Further parameters depend on the world."""
        return world_named(world).tasks(split, n, seed, **params)

    @staticmethod
    def condense(observation: str, previous: str | None) -> str:
        """Return the new parts of the page; see `kintsugi.envs.web.condense`."""
        return condense(observation, previous)

    def world(self, task: Task) -> type[World]:
        """Return the world of a task. Override this to add a world.

        Args:
            task: The task to play. By default, its parameter `world` names the world.
        """
        return world_of(task)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Open the first page of the task; raise `InfraError` if the browser fails."""
        world = self.world(task)
        scenario = world.scenario(task, self.config.hosts, self.judge)
        try:
            self._open_episode(world, scenario)
            state = self._run(self._running_episode().begin())
        except BaseException:
            scenario.close()
            self._end_episode()
            raise
        return state.observation, {**_info(state), "goal": scenario.goal}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Carry out one action; raise `InfraError` if the browser fails or exceeds the step timeout."""
        if self._episode is None:
            self._reopen()
        state = self._run(self._running_episode().step(action))
        status = state.status
        if state.answer is not None and (
            judged := self._running_episode().scenario.judge(state.answer, state.action_log)
        ):
            status = judged
        over = state.answer is not None or status.over
        info = {**_info(state), "score": status.score}
        if over:
            info.update(success=status.success, admissible=())
        reward = status.reward if status.reward is not None else status.score if over else 0.0
        return state.observation, reward, over, info

    def elements(self) -> Mapping[int, Element]:
        """Return the numbered elements of the last observation; raise `UsageError` if no episode is running."""
        return self._running_episode().page_observation.page.elements

    def screenshot(self) -> bytes:
        """Return the current viewport as a PNG; raise `UsageError` if no episode is running."""
        return self._run(screenshot(self._running_episode().session))

    def versions(self) -> Mapping[str, str]:
        """Return the version of the Chromium that ran the last episode."""
        return self._versions

    def picture(self) -> bytes | None:
        """Return the current viewport as a JPEG; None if no episode is running."""
        return self._run(screenshot_jpeg(self._running_episode().session)) if self._episode else None

    def marked_screenshot(self) -> bytes:
        """Return a screenshot with element numbers drawn on it. The page itself is not changed."""
        from .marks import draw_marks

        return draw_marks(self.screenshot(), self.elements().values())

    def render(self) -> Any:
        """Return the last observation, or for `rgb_array` the viewport as a uint8 array (height, width, 3)."""
        if self.render_mode != "rgb_array":
            return super().render()
        import numpy as np
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.screenshot())).convert("RGB"))

    def close(self) -> None:
        """End the episode. The browser keeps running for other environments."""
        self._end_episode()

    @property
    def browser(self) -> Browser:
        """Browser of the running episode; without one, the browser that the next episode would use."""
        return self._browser or self._given_browser or shared_browser(self._browser_config())

    # -- Snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the actions so far and the exact state of the server."""
        taken = super().snapshot()
        server_state = self._episode.scenario.dump() if self._episode else None
        return replace(taken, state=(*taken.state, server_state))

    def restore(self, snapshot: Snapshot) -> None:
        """Replay the actions, then restore the exact state of the server."""
        observation, state, server_state = snapshot.state
        super().restore(replace(snapshot, state=(observation, state)))
        if server_state is not None and self._episode is not None:
            self._episode.scenario.load(server_state)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the browser. A copy replays the episode at its next step."""
        return {**self.__dict__, "_given_browser": None, "_browser": None, "_episode": None, "_world": None}

    def _reopen(self) -> None:
        if self.task is None:
            raise UsageError("no web episode is running; call reset first")
        self.begin(self.task)
        for action in self._actions or ():
            self.act(action)

    # -- The browser ------------------------------------------------------------------------------------------------

    def _open_episode(self, world: type[World], scenario: Scenario) -> None:
        """Open the scenario in the last episode's session if possible, otherwise in a new one."""
        last = self._episode
        if last is not None:
            last.scenario.close()
            same = self._world is world and last.scenario.hosts == scenario.hosts
            if same and scenario.can_reuse(last.session) and self.browser.reuse_session(last.session):
                self._episode = WebEpisode(last.session, scenario, self.config.screenshots)
                return
        self._end_episode()
        if self._given_browser and world.resolver_rules() and not self._given_browser.config.resolver_rules:
            raise UsageError(
                f"the given browser cannot resolve the hosts of the world {world.name!r}; create it with "
                f"Browser(BrowserConfig(resolver_rules={world.resolver_rules()!r}))"
            )
        self._world = world
        self._browser = self._given_browser or shared_browser(self._browser_config(world.resolver_rules()))
        config = self.config
        session = self._browser.open(
            SessionConfig(
                hosts=scenario.hosts,
                view=config.view,
                settle_timeout=config.settle_timeout,
                download_seconds=config.download_seconds,
                step_time=config.step_time,
            )
        )
        self._episode = WebEpisode(session, scenario, config.screenshots)
        self._versions = {"Chromium": self._browser.version}

    def _browser_config(self, rules: tuple[str, ...] = ()) -> BrowserConfig:
        # Without the frame limit, episodes without screenshots take 10 % longer.
        return BrowserConfig(self.headless, resolver_rules=rules, frame_limit=not self.config.screenshots)

    def _end_episode(self) -> None:
        episode, self._episode = self._episode, None
        if episode is not None:
            episode.scenario.close()
            self.browser.close_session(episode.session)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.browser.run(self._running_episode().session, work, self.config.step_timeout)
        except BaseException:
            # After any error, the state of the page is unknown.
            self._end_episode()
            raise

    def _running_episode(self) -> WebEpisode:
        if self._episode is None:
            raise UsageError("no web episode is running; call reset first")
        return self._episode


def _info(state: EpisodeState) -> dict[str, Any]:
    info: dict[str, Any] = {"score": state.status.score, "admissible": state.admissible}
    if state.invalid is not None:
        info["invalid"] = state.invalid
    if state.screenshot is not None:
        info["screenshot"] = state.screenshot
    return info
