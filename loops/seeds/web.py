"""The corpus of the web seed: an expert's episodes on the embedded sites, and failed attempts with a second try.

Mistakes are those of somebody in a hurry: the wrong link, a value of another field, an option beside the right one, the
wrong answer, an end too soon. A reflection names the step that was missed, which the page showed at that moment.
"""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterable, Sequence

from ...agents import react, reflector
from ...agents.core import Episode, RuleAgent
from ...agents.experts.web import WebExpert, WebExpertAgent
from ...agents.experts.web_page import Page
from ...agents.models.core import Message
from ...agents.reflector import OPENING
from ...agents.rollout import Job, play, run_sync
from ...agents.trajectory import Step, Trajectory
from ...envs.core import Task
from ...envs.web import WebEnv
from ...envs.web.actions import VERBS
from ...errors import InfraError
from .config import Architecture, PretrainConfig
from .family import Family, Mended, SeedRecipe
from .web_labels import relabelled, site_of
from .web_renaming import renamed

PAST = {
    "open": "opened",
    "press": "pressed",
    "choose": "chosen",
    "switch": "switched",
    "fill": "filled",
    "set": "set",
    "search": "searched",
}
"""What an expert's thought begins with, after `I`, and how that is said afterwards."""
RETRIES = 3


def _tasks(n: int, seed: int) -> Iterable[Task]:
    return WebEnv.tasks("train", n, seed)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """The expert's attempt."""
    return _played(Job(task, WebExpertAgent(), seed, source="expert"))


def failed_and_mended(task: Task, seed: int) -> Mended | None:
    """A bungled attempt, the reflection on it and an attempt that heeds it; None when the bungler succeeded."""
    bungler = Bungler(seed)
    failure = _played(Job(task, bungler, seed, source="expert"))
    if failure.success or not bungler.missed:
        return None
    passed = _played(Job(task, WebExpertAgent(), seed, source="reflection"))
    return Mended(failure, reflection_on(bungler.missed), passed) if passed.success else None


def retold(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """The same chat with other names and labels; those that are not about embedded sites stay as they are."""
    return renamed(relabelled(chat, rng), rng) if site_of(chat) else list(chat)


class Bungler(RuleAgent):
    """An expert who does one thing wrong, goes on for a while and stops."""

    name = "web-bungler"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._expert: WebExpert | None = None
        self.missed = ""
        """The thought that was not followed."""

    async def act(self, episode: Episode) -> Step:
        """The next turn."""
        if self._expert is None or not episode.steps:
            # Begun anew, too, where the browser broke and the attempt is repeated.
            self._rng, self._expert, self.missed = random.Random(self._seed), WebExpert(episode.goal), ""
            self._at = self._rng.choice((0, 1, 1, 2, 2, 3, 4, 5, 6, 8))
            self._patience = self._rng.choice((0, 0, 1, 3, 20))
        thought, action = self._expert.think_and_act(episode.observation)
        number = len(episode.steps)
        if number == self._at or (action.startswith("stop [") and not self.missed):
            self.missed, action = thought, mistaken(action, episode, self._rng)
        elif self.missed and number > self._at + self._patience:
            action = "stop"
        return Step(episode.observation, thought, action, trainable=False)


def mistaken(action: str, episode: Episode, rng: random.Random) -> str:
    """Something else than `action`."""
    page = Page(episode.observation)
    verb, number = action.split()[0], re.search(r"\[(\d+)\]", action)
    values = re.findall(r"'([^']*)'", episode.goal)
    if verb == "stop" or number is None or rng.random() < 0.15:
        others = [line.name for line in page.lines if line.name and f"[{line.name}]" not in action]
        return f"stop [{rng.choice(others)[:60]}]" if action != "stop" and others else "stop"
    if verb == "click":
        return f"click [{rng.choice([line.id for line in page.lines if line.id not in (None, int(number[1]))])}]"
    if verb == "select":
        line = next(line for line in page.lines if line.id == int(number[1]))
        return f"select [{number[1]}] [{rng.choice([o for o in line.options if f'[{o}]' not in action] or ['?'])}]"
    wrong = rng.choice([value for value in values if f"[{value}]" not in action] or ["something"])
    return f"type [{number[1]}] [{wrong}]" + " [submit]" * action.endswith("[submit]")


def reflection_on(missed: str) -> str:
    """What should have been done instead of the mistake."""
    match = re.fullmatch(r"I (\w+) (.+)\.", re.sub(r" \[\d+\]", "", missed))
    if match and match[1] in PAST:
        return f"{OPENING} {PAST[match[1]]} {match[2]}."
    value = re.findall(r"'([^']*)'", missed)
    return f"{OPENING} answered '{value[-1]}'." if value else f"{OPENING} stopped."


def _played(job: Job) -> Trajectory:
    """An attempt; raises `InfraError` where the browser broke again and again, for the corpus would be another one."""
    with contextlib.closing(WebEnv()) as env:
        for _ in range(RETRIES):
            attempt = run_sync(play(env, job))
            if attempt.outcome != "infra_error":
                return attempt
    raise InfraError(f"the expert's attempt at {job.task.id} was lost: {attempt.error}")


FAMILY = Family(
    SeedRecipe(
        family="web",
        demonstrations=348,
        reflections=116,
        renamings=5,
        architecture=Architecture(window=3072, rope_theta=1e6, previous_token_heads=3),
        pretrain=PretrainConfig(
            tokens=8_500_000, batch_tokens=1024, threads=2, context_weight=0.03, context_share=0.25, copying=350_000
        ),
    ),
    _tasks,
    demonstrate,
    failed_and_mended,
    units=(
        react.SYSTEM,
        reflector.SYSTEM,
        "\nActions: " + ", ".join(verb.usage for verb in VERBS.values()),
        *("Task: ", "\nTitle: ", "\nYour task is to: ", "\nThe failed attempt:\n", "Note: "),
        *("link '", "button '", "textbox '", "searchbox '", "combobox '", "radio '", "checkbox '", "heading '"),
        *("article 'Post of ", "' [", "]\n", "] '", "' value '", "' options '", "', '", "' '", "'\n"),
        *("click [", "type [", "select [", "] [", "] [submit]", "stop [", "stop", "> "),
        *("Thought: I open '", "Thought: I press '", "Thought: I fill '", "Thought: I set '", "Thought: I search '"),
        *("Thought: I choose '", "Thought: I switch '", "] with '", "] to '", "] for '", "Thought: It is done"),
        *("Thought: '", "' is '", "Nothing new."),
    ),
    phrases=False,
    pieces=600,
    renamed=retold,
    practice=1000,
    epochs=8.0,
)
