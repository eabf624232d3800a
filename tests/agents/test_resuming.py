"""Going on from the middle: the first turns are those that were made, the rest is the agent's, and it sees them all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig, render_chat
from kintsugi.agents.resuming import ResumingAgent
from kintsugi.agents.rollout import Job, collect
from kintsugi.errors import UsageError
from vault_env import Vault

TASK, OTHER = Vault.tasks("train", 2)
CONFIG = ReActConfig(max_tokens=200)


def acting(*actions: str) -> ScriptedModel:
    return ScriptedModel([f"Thought: now {action}\nAction: {action}" for action in actions])


def attempt(agent):
    return collect(Vault, [Job(TASK, agent, 0)])[0]


BEGUN = attempt(ReActAgent(acting("go cellar", "sing", "fly"), CONFIG))


def test_the_prefix_is_played_again_untrained_and_costs_no_call():
    seen = []
    script = ["go cellar", "sing", "fly", "take key", "go hall", "open chest"]

    def say(messages, sampling):
        seen.append(list(messages))
        return f"Thought: mine\nAction: {script[sum(m.role == 'assistant' for m in messages)]}"

    model = ScriptedModel(say)
    found = attempt(ResumingAgent(ReActAgent(model, CONFIG), BEGUN.steps[:3]))
    assert [step.action for step in found.steps] == script
    assert [step.trainable for step in found.steps] == [False] * 3 + [True] * 3
    assert found.steps[:3] == tuple(replace(step, trainable=False) for step in BEGUN.steps[:3])
    assert (found.success, model.calls, found.model) == (True, 3, "scripted")
    shown = [(m.role, m.content, m.token_ids) for m in seen[-1]]
    assert shown == [(m.role, m.content, m.token_ids) for m in render_chat(found, CONFIG)][: len(shown)]


def test_steps_that_the_environment_answers_otherwise_are_refused():
    steps = (replace(BEGUN.steps[0], action="sing"), *BEGUN.steps[1:3])
    with pytest.raises(UsageError, match="before turn 2 where .* was recorded: the turns were made in another task"):
        attempt(ResumingAgent(ReActAgent(acting("sing"), CONFIG), steps))
    with pytest.raises(UsageError, match="house 1.* before turn 1 where .*house 0"):
        collect(Vault, [Job(OTHER, ResumingAgent(ReActAgent(acting("sing"), CONFIG), BEGUN.steps[:1]), 0)])
