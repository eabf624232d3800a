"""`ResumingAgent`: replays recorded steps, then lets the agent continue."""

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


def scripted_model(*actions: str) -> ScriptedModel:
    return ScriptedModel([f"Thought: now {action}\nAction: {action}" for action in actions])


def play_once(agent):
    return collect(Vault, [Job(TASK, agent, 0)])[0]


PREFIX = play_once(ReActAgent(scripted_model("go cellar", "sing", "fly"), CONFIG))


def test_prefix_is_replayed_without_model_calls_and_excluded_from_the_loss():
    prompts = []
    actions = ["go cellar", "sing", "fly", "take key", "go hall", "open chest"]

    def say(messages, sampling):
        prompts.append(list(messages))
        return f"Thought: mine\nAction: {actions[sum(m.role == 'assistant' for m in messages)]}"

    model = ScriptedModel(say)
    attempt = play_once(ResumingAgent(ReActAgent(model, CONFIG), PREFIX.steps[:3]))
    assert [step.action for step in attempt.steps] == actions
    assert [step.trainable for step in attempt.steps] == [False] * 3 + [True] * 3
    assert attempt.steps[:3] == tuple(replace(step, trainable=False) for step in PREFIX.steps[:3])
    assert (attempt.success, model.calls, attempt.model) == (True, 3, "scripted")
    last_prompt = [(m.role, m.content, m.token_ids) for m in prompts[-1]]
    assert last_prompt == [(m.role, m.content, m.token_ids) for m in render_chat(attempt, CONFIG)][: len(last_prompt)]


def test_deviating_observations_are_rejected():
    steps = (replace(PREFIX.steps[0], action="sing"), *PREFIX.steps[1:3])
    with pytest.raises(UsageError, match="before turn 2; expected the recorded observation .*: record the steps again"):
        play_once(ResumingAgent(ReActAgent(scripted_model("sing"), CONFIG), steps))
    with pytest.raises(UsageError, match="house 1.* before turn 1; expected .*house 0"):
        collect(Vault, [Job(OTHER, ResumingAgent(ReActAgent(scripted_model("sing"), CONFIG), PREFIX.steps[:1]), 0)])
