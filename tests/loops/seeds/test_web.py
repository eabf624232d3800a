"""The web corpus: mistakes are executable actions, and reflections use only information that the page showed."""

from __future__ import annotations

import functools
import random
import re

import pytest
from kintsugi.agents.core import Episode
from kintsugi.agents.react import ReActConfig, parse
from kintsugi.agents.reflector import REFLECTION_PREFIX, failure_digest
from kintsugi.envs.core import Task
from kintsugi.envs.web import WebEnv
from kintsugi.loops.seeds.family import Corpus, SeedRecipe, write_corpus
from kintsugi.loops.seeds.web import FAMILY, PAST_PARTICIPLES, failed_and_mended, faulty_action, reflection_on

PAGE = """URL: http://shop.test/
  [1] link 'Shop'
  [2] link 'Cart'
  [3] textbox 'Name'
  [4] combobox 'Sort by' value 'Name' options 'Name', 'Price'
  text 'Open'"""
GOAL = "Change the number of the 'Oak Lamp' in the cart to '3'."


@functools.cache
def corpus() -> Corpus:
    return write_corpus(FAMILY, SeedRecipe(family="web", demonstrations=3, reflections=3), lambda share: None)


@pytest.mark.parametrize("action", ["click [2]", "type [3] [Oak Lamp]", "type [3] [3] [submit]", "select [4] [Price]",
                                    "stop [Open]", "stop"])  # fmt: skip
def test_mistakes_are_different_executable_actions(action):
    episode = Episode(Task("t", WebEnv.env_id, "train", 0), PAGE, {"goal": GOAL}, 0)
    found = {faulty_action(action, episode, random.Random(seed)) for seed in range(60)}
    assert all(wrong != action or wrong == "stop" for wrong in found)
    assert any(wrong.startswith(action.split()[0]) for wrong in found)
    for wrong in found:
        number = re.match(r"\w+ \[(\d)\]", wrong)
        assert wrong.startswith("stop") or (number and int(number[1]) <= 4)
    assert found == {faulty_action(action, episode, random.Random(seed)) for seed in range(60)}


@pytest.mark.parametrize(
    ("thought", "expected"),
    [
        ("I open 'Cart (0)' [4].", "opened 'Cart (0)'."),
        ("I search 'Find' [2] for 'Oak Lamp'.", "searched 'Find' for 'Oak Lamp'."),
        ("I fill 'Name' [12] with 'A. B.'.", "filled 'Name' with 'A. B.'."),
        ("'Status' is 'Open'.", "answered 'Open'."),
        ("The most is '5 likes', by 'ada'.", "answered 'ada'."),
        ("It is done.", "stopped."),
    ],
)
def test_reflections(thought, expected):
    assert reflection_on(thought) == f"{REFLECTION_PREFIX} {expected}"


@pytest.mark.requires("chromium", "werkzeug")
def test_failures_fail_mends_pass_and_reflections_use_seen_names():
    found = [failed_and_mended(task, number) for number, task in enumerate(WebEnv.tasks("train", 5, seed=77))]
    pairs = [pair for pair in found if pair is not None]
    assert len(pairs) >= 2
    for failure, text, passed in pairs:
        assert not failure.success
        assert passed.outcome == "success"
        assert text.startswith(REFLECTION_PREFIX)
        shown = failure.steps[0].observation + failure_digest(failure, 40, ReActConfig()) + failure.goal
        for name in re.findall(r"'([^']+)'", text):
            assert name in shown
        assert not any(step.trainable for step in failure.steps)


@pytest.mark.requires("chromium", "werkzeug")
def test_a_corpus_is_deterministic_and_its_thoughts_precede_actions():
    again = write_corpus(FAMILY, SeedRecipe(family="web", demonstrations=3, reflections=3), lambda share: None)
    assert [[m.content for m in chat] for chat in again.chats] == [[m.content for m in chat] for chat in corpus().chats]
    assert len(corpus().demonstrations) == 3
    turns = [m.content for chat in corpus().chats for m in chat if m.role == "assistant" and m.trainable]
    for turn in turns:
        thought, action = parse(turn)
        assert thought or turn.startswith(REFLECTION_PREFIX)
        if thought.startswith("I "):
            assert thought.split()[1] in PAST_PARTICIPLES
            assert action.split()[0] in ("click", "type", "select")
