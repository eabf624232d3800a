"""Corpus of the web seed policy: expert episodes on the embedded sites, and failed attempts with a mend.

A failed attempt contains one mistake: a wrong link, the value of another field, another option, a wrong answer
or an early stop. Its reflection names the step that the expert would have taken, which the page showed at that moment.
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
from ...agents.reflector import REFLECTION_PREFIX
from ...agents.rollout import Job, play, run_sync
from ...agents.trajectory import Step, Trajectory
from ...envs.core import Task
from ...envs.web import WebEnv
from ...envs.web.actions import VERBS
from ...errors import InfraError
from .config import Architecture, PretrainConfig
from .family import Family, Mended, SeedRecipe
from .web_labels import chat_site, replace_labels
from .web_renaming import rename_entities

PAST_PARTICIPLES = {
    "open": "opened",
    "press": "pressed",
    "choose": "chosen",
    "switch": "switched",
    "fill": "filled",
    "set": "set",
    "search": "searched",
}
"""The first verb of an expert's thought, after `I`, and its past participle in reflections."""
ATTEMPTS = 3


def _tasks(n: int, seed: int) -> Iterable[Task]:
    return WebEnv.tasks("train", n, seed)


def demonstrate(task: Task, seed: int) -> Trajectory:
    """Return the attempt of the expert."""
    return _played(Job(task, WebExpertAgent(), seed, source="expert"))


def failed_and_mended(task: Task, seed: int) -> Mended | None:
    """Return a failed attempt, a reflection on it and the expert's attempt; None if the faulty expert succeeds."""
    expert = FaultyExpert(seed)
    failure = _played(Job(task, expert, seed, source="expert"))
    if failure.success or not expert.missed_thought:
        return None
    passed = _played(Job(task, WebExpertAgent(), seed, source="reflection"))
    return Mended(failure, reflection_on(expert.missed_thought), passed) if passed.success else None


def rename_site_entities(chat: Sequence[Message], rng: random.Random) -> list[Message]:
    """Replace the names and labels of a chat about an embedded site; return other chats unchanged."""
    return rename_entities(replace_labels(chat, rng), rng) if chat_site(chat) else list(chat)


class FaultyExpert(RuleAgent):
    """An expert that makes one mistake, continues for some steps and stops."""

    name = "web-bungler"

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._expert: WebExpert | None = None
        self.missed_thought = ""
        """The expert's thought at the mistake."""

    async def act(self, episode: Episode) -> Step:
        """Return the next step."""
        if self._expert is None or not episode.steps:
            # Also restart when an attempt is repeated after an infrastructure failure.
            self._rng, self._expert, self.missed_thought = random.Random(self._seed), WebExpert(episode.goal), ""
            self._mistake_step = self._rng.choice((0, 1, 1, 2, 2, 3, 4, 5, 6, 8))
            self._steps_after_mistake = self._rng.choice((0, 0, 1, 3, 20))
        thought, action = self._expert.think_and_act(episode.observation)
        number = len(episode.steps)
        if number == self._mistake_step or (action.startswith("stop [") and not self.missed_thought):
            self.missed_thought, action = thought, faulty_action(action, episode, self._rng)
        elif self.missed_thought and number > self._mistake_step + self._steps_after_mistake:
            action = "stop"
        return Step(episode.observation, thought, action, trainable=False)


def faulty_action(action: str, episode: Episode, rng: random.Random) -> str:
    """Return a wrong action of the same kind as `action`, or a stop."""
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


def reflection_on(missed_thought: str) -> str:
    """Return the reflection that names the step which the mistake replaced."""
    match = re.fullmatch(r"I (\w+) (.+)\.", re.sub(r" \[\d+\]", "", missed_thought))
    if match and match[1] in PAST_PARTICIPLES:
        return f"{REFLECTION_PREFIX} {PAST_PARTICIPLES[match[1]]} {match[2]}."
    value = re.findall(r"'([^']*)'", missed_thought)
    return f"{REFLECTION_PREFIX} answered '{value[-1]}'." if value else f"{REFLECTION_PREFIX} stopped."


def _played(job: Job) -> Trajectory:
    """Play a job; raise `InfraError` if the browser keeps failing, since a lost attempt would change the corpus."""
    with contextlib.closing(WebEnv()) as env:
        for _ in range(ATTEMPTS):
            attempt = run_sync(play(env, job))
            if attempt.outcome != "infra_error":
                return attempt
    raise InfraError(
        f"the expert's attempt at {job.task.id} failed {ATTEMPTS} times: {attempt.error}; repeat the command"
    )


FAMILY = Family(
    SeedRecipe(
        family="web",
        demonstrations=348,
        reflections=116,
        renamings=5,
        architecture=Architecture(window=3072, rope_theta=1e6, previous_token_heads=3),
        pretrain=PretrainConfig(
            tokens=8_500_000,
            batch_tokens=1024,
            threads=2,
            context_weight=0.03,
            context_share=0.25,
            copying_tokens=350_000,
        ),
    ),
    _tasks,
    demonstrate,
    failed_and_mended,
    single_tokens=(
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
    phrase_tokens=False,
    bpe_merges=600,
    rename=rename_site_entities,
    practice=1000,
    epochs=8.0,
)
