"""An expert for the embedded sites, who sees what any agent sees: it reads the page, thinks in short sentences, acts.

It knows how sites of each kind work and what their links and buttons may be called, but not which site this is.
Thoughts quote what is acted on, as the page has it, with its number.
"""

from __future__ import annotations

from ...envs.web.sites.tasks import read_goal
from ..core import Episode, RuleAgent
from ..trajectory import Step
from .web_page import Lost, Page
from .web_scripts import SCRIPTS, Script
from .web_steps import done


class WebExpert:
    """Solves one task by a script for its type, which is told each page and says the next thought and action."""

    name = "web-expert"

    def __init__(self, goal: str) -> None:
        type_, args = read_goal(goal)
        self._make = SCRIPTS[type_], args
        self._script: Script | None = None

    def think_and_act(self, observation: str) -> tuple[str, str]:
        """The next thought and action; where the page is not what it should be, it gives up and stops."""
        page = Page(observation)
        try:
            if self._script is None:
                make, args = self._make
                self._script = make(page, args)
                return next(self._script)
            return self._script.send(page)
        except (Lost, StopIteration):
            return done()


class WebExpertAgent(RuleAgent):
    """The expert as an agent, of one attempt at a time."""

    name = WebExpert.name

    def __init__(self) -> None:
        self._expert: WebExpert | None = None

    async def act(self, episode: Episode) -> Step:
        """The next step."""
        if self._expert is None or not episode.steps:
            self._expert = WebExpert(episode.goal)
        thought, action = self._expert.think_and_act(episode.observation)
        return Step(episode.observation, thought, action)
