"""Rule-based expert for the embedded sites. It reads the same observations as any other agent.

It knows how each kind of site works and which labels occur on such sites, but not which site it is on. Its thoughts
quote the element that the action uses, as the page shows it, with its number.
"""

from __future__ import annotations

from ...envs.web.sites.tasks import read_goal
from ..core import Episode, RuleAgent
from ..trajectory import Step
from .web_page import Page, PageMismatch
from .web_scripts import SCRIPTS, Script
from .web_steps import done


class WebExpert:
    """Solves one task with the script of its task type.

    Args:
        goal: Goal text of the task.

    Raises:
        UsageError: If the text is not the goal of a task on an embedded site.
    """

    name = "web-expert"

    def __init__(self, goal: str) -> None:
        type_, args = read_goal(goal)
        self._factory_and_args = SCRIPTS[type_], args
        self._script: Script | None = None

    def think_and_act(self, observation: str) -> tuple[str, str]:
        """Return the next thought and action. Stop if the page lacks an expected element or the script has ended."""
        page = Page(observation)
        try:
            if self._script is None:
                factory, args = self._factory_and_args
                self._script = factory(page, args)
                return next(self._script)
            return self._script.send(page)
        except (PageMismatch, StopIteration):
            return done()


class WebExpertAgent(RuleAgent):
    """The expert as an agent. Plays one attempt at a time."""

    name = WebExpert.name

    def __init__(self) -> None:
        self._expert: WebExpert | None = None

    async def act(self, episode: Episode) -> Step:
        """Return the next step."""
        if self._expert is None or not episode.steps:
            self._expert = WebExpert(episode.goal)
        thought, action = self._expert.think_and_act(episode.observation)
        return Step(episode.observation, thought, action)
