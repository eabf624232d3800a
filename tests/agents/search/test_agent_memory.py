"""Tree search with agents that keep notes or reflections: forks copy them, and a resumed search restores them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_agents import MemoryAgent, MemoryConfig
from fake_desks import ANSWERS, ROLE_OF, market_of, trading_env
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.core import Agent, Episode
from kintsugi.agents.models import Completion, Message, Sampling, Script, ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job
from kintsugi.agents.search import MctsStar, SearchStats, SearchTree, Uct, finished_trees, search
from kintsugi.agents.search.strategy import SearchConfig
from kintsugi.agents.search.tree import ROOT
from kintsugi.agents.trading_group import DeskConfig, TradingGroup
from kintsugi.agents.trajectory import Step
from kintsugi.envs import Task
from kintsugi.envs.trading import TradingEnv
from kintsugi.errors import UsageError
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from recorders import turns_in
from search_fakes import ACTIONS, ENVS, FakeValueModel, MemoryTreeLog, jobs

HIDDEN_MEMORIES = ("notes", "reflection")
CONFIGS = [
    Uct(candidates=3, iterations=4, max_depth=4),
    Uct(candidates=2, iterations=5, parallel=3, max_depth=None),
    MctsStar(candidates=3, iterations=5, rollout_steps=2, rollout_branch=2),
    MctsStar(candidates=2, iterations=6, parallel=2, model_calls=30),
]


class ProcessKilled(BaseException):
    """The process is killed."""


def kill_process() -> None:
    raise ProcessKilled


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


class InterruptingModel(ScriptedModel):
    """A scripted model that calls `interrupt` at its call number `interrupt_at`."""

    def __init__(
        self, script: Script, interrupt_at: int | None = None, interrupt: Callable[[], None] = kill_process
    ) -> None:
        super().__init__(script)
        self._interrupt_at, self._interrupt = interrupt_at, interrupt

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        if self.calls == self._interrupt_at:
            self._interrupt()
        return await super().complete(messages, sampling)


def answers(env_name: str, shift: int = 0) -> Script:
    """Return a script that plays one of the environment's actions, selected by seed and by the mood in the prompt."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        mood = int(messages[-1].content.partition("|")[0])
        return ACTIONS[env_name][(sampling.seed + mood + shift) % len(ACTIONS[env_name])]

    return script


def grow(
    env_name: str, agent: Agent, config: SearchConfig, n: int = 3, seed: int = 0, **options: Any
) -> list[SearchTree]:
    value = FakeValueModel() if config.needs_value_model else None
    return search(lambda: ENVS[env_name](max_steps=5), jobs(env_name, n, seed, agent), config, value=value, **options)


def without_agent(trees: Sequence[SearchTree]) -> list[Any]:
    """Return the fields of the trees that do not depend on the agent's configuration."""
    return [(tree.nodes, tree.visits, tree.values, tree.ended, tree.usage) for tree in trees]


# -- Forks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", HIDDEN_MEMORIES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
@given(env_name=st.sampled_from(sorted(ENVS)), seed=st.integers(0, 100), at_once=st.integers(1, 4))
def test_hidden_memory_gives_the_same_tree_as_memory_in_the_steps(memory, config, env_name, seed, at_once):
    """An agent that keeps its mood in notes grows the same trees as one that writes it into each step."""
    in_steps = grow(env_name, MemoryAgent(ScriptedModel(answers(env_name))), config, seed=seed)
    hidden = grow(
        env_name,
        MemoryAgent(ScriptedModel(answers(env_name)), MemoryConfig(memory)),
        config,
        seed=seed,
        at_once=at_once,
    )
    assert without_agent(hidden) == without_agent(in_steps)
    for tree in hidden:
        for number in range(1, len(tree)):
            first, *rest = tree.steps(number)
            assert {step.thought for step in rest} <= {first.thought}


def test_each_child_of_the_root_has_its_own_mood():
    [tree] = grow(
        "echo", MemoryAgent(ScriptedModel(answers("echo")), MemoryConfig("notes")), Uct(candidates=8, iterations=6), 1
    )
    moods = {step.thought for child in tree.children[ROOT] for step in tree.steps(child)}
    assert len(moods) == len(tree.children[ROOT]) > 2


# -- Interrupted searches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["steps", *HIDDEN_MEMORIES])
@pytest.mark.parametrize(("interrupt", "error"), [(kill_process, ProcessKilled), (press_ctrl_c, KeyboardInterrupt)])
@pytest.mark.parametrize("calls", [0, 1, 2, 7, 16, 30, 43])
@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[2]], ids=lambda config: type(config).__name__)
def test_an_interrupted_search_ends_like_an_uninterrupted_one(memory, interrupt, error, calls, config):
    whole = MemoryTreeLog()
    wanted = grow("exact", MemoryAgent(ScriptedModel(answers("exact")), MemoryConfig(memory)), config, log=whole)
    assert list(finished_trees(whole)) == wanted
    log = MemoryTreeLog()
    with pytest.raises(error):
        grow(
            "exact",
            MemoryAgent(InterruptingModel(answers("exact"), calls, interrupt), MemoryConfig(memory)),
            config,
            log=log,
        )
    # Everything before the interruption is stored.
    begun = {key: len(parts) for key, parts in log.held.items()}
    assert all(parts == whole.held[key][: len(parts)] for key, parts in log.held.items())
    assert 0 < sum(begun.values()) < sum(map(len, whole.held.values()))
    model = ScriptedModel(answers("exact"))
    assert grow("exact", MemoryAgent(model, MemoryConfig(memory)), config, log=log) == wanted
    assert log.held == whole.held
    usage = sum(tree.usage.model_calls for tree in wanted)
    if memory == "steps" and not config.needs_value_model:
        assert model.calls == usage - sum(part["usage"]["model_calls"] for p in first_parts(whole, begun) for part in p)
    if memory != "steps" and not config.needs_value_model:
        # The memory is restored by repeating all model calls.
        assert model.calls == usage


def first_parts(log: MemoryTreeLog, lengths: dict[str, int]) -> list[list[Any]]:
    """Return the first parts of each tree, up to the given lengths and without part 0."""
    return [log.held[key][1:length] for key, length in lengths.items()]


@pytest.mark.parametrize("memory", HIDDEN_MEMORIES)
@given(
    config=st.sampled_from(CONFIGS), env_name=st.sampled_from(sorted(ENVS)), seed=st.integers(0, 100), data=st.data()
)
def test_a_search_resumed_from_any_number_of_stored_parts_gives_the_same_tree(memory, config, env_name, seed, data):
    whole = MemoryTreeLog()
    agent = MemoryAgent(ScriptedModel(answers(env_name)), MemoryConfig(memory))
    [tree] = grow(env_name, agent, config, 1, seed, log=whole)
    parts = whole.parts(tree.key)
    assert any(part.get("remembers") for part in parts)
    log, stats = MemoryTreeLog({tree.key: parts[: data.draw(st.integers(0, len(parts)))]}), SearchStats()
    known = len(log.parts(tree.key))
    assert grow(env_name, agent, config, 1, seed, log=log, stats=stats) == [tree]
    assert log.parts(tree.key) == parts
    stored = 1 + sum(len(part.get("children", ())) for part in parts[1:known])
    assert stats.nodes == (0 if known == len(parts) else len(tree) - stored)


@pytest.mark.parametrize("memory", HIDDEN_MEMORIES)
@pytest.mark.parametrize("config", CONFIGS[:3:2], ids=lambda config: type(config).__name__)
def test_a_repeated_request_with_another_result_is_refused(memory, config):
    whole = MemoryTreeLog()
    [tree] = grow("exact", MemoryAgent(ScriptedModel(answers("exact")), MemoryConfig(memory)), config, 1, log=whole)
    parts = whole.parts(tree.key)
    log = MemoryTreeLog({tree.key: parts[: len(parts) // 2]})
    with pytest.raises(
        UsageError, match=r"tree 'train/0#0': repeating part 1 gave .*; expected the stored .*, so use a new"
    ):
        grow("exact", MemoryAgent(ScriptedModel(answers("exact", shift=1)), MemoryConfig(memory)), config, 1, log=log)
    assert log.held == {tree.key: parts[: len(parts) // 2]}
    # A finished tree is returned without model calls.
    model = InterruptingModel(answers("exact"), interrupt_at=0)
    assert grow("exact", MemoryAgent(model, MemoryConfig(memory)), config, 1, log=whole) == [tree]


class LateNotes(ReActAgent):
    """Adds a note at its third turn; before that, the chat is its only memory."""

    async def act(self, episode: Episode) -> Step:
        step = await super().act(episode)
        if len(episode.steps) == 2:
            episode.notes.append(f"I said {step.action}")
        return replace(step, thought=" ".join(episode.notes))


@pytest.mark.parametrize("stored", range(9))
def test_memory_that_starts_in_a_later_turn_is_restored(stored):
    model = ScriptedModel(lambda messages, sampling: f"Action: {sampling.seed % 5}")
    agent = LateNotes(model, ReActConfig(temperature=1.0, max_tokens=64))
    whole, config = MemoryTreeLog(), Uct(candidates=3, iterations=3, max_depth=5)
    [tree] = grow("echo", agent, config, 1, log=whole)
    parts = whole.parts(tree.key)
    assert [bool(part.get("remembers")) for part in parts[1:4]] == [False, False, True]
    log = MemoryTreeLog({tree.key: parts[:stored]})
    assert grow("echo", agent, config, 1, log=log) == [tree]
    assert log.held == whole.held
    assert all(
        step.thought == (f"I said {steps[2].action}" if number >= 2 else "")
        for end in tree.ends()
        for steps in [tree.steps(end)]
        for number, step in enumerate(steps)
    )


# -- Several model calls per turn -------------------------------------------------------------------------------------


def check_calls(trees: Sequence[SearchTree], agent: Agent, again: Sequence[SearchTree]) -> None:
    """Each node, also after storage, has its model calls as sampled, and all sampled tokens are counted."""
    assert list(again) == list(trees)
    for tree in again:
        assert SearchTree.from_json(tree.to_json()) == tree
        for node in tree.nodes[1:]:
            assert node.step is not None
            assert len(node.step.calls) > 1
            for call in node.step.calls:
                assert bytes(call.token_ids).decode() == call.text
                assert call.logprobs == ()
        for end in tree.ends():
            attempt = tree.trajectory(end)
            calls = [call for step in attempt.steps for call in step.calls]
            assert [(turn.text, turn.token_ids) for turn in turns_in(agent.chats(attempt))] == [
                (call.text, call.token_ids) for call in calls
            ]
        kept = sum(node.step.sampled_tokens for node in tree.nodes if node.step)
        assert tree.usage.sampled_tokens >= kept > 0


@pytest.mark.parametrize("memory", ["steps", *HIDDEN_MEMORIES])
@pytest.mark.parametrize("env_name", sorted(ENVS))
def test_model_calls_are_stored_with_each_node(memory, env_name, tmp_path):
    agent = MemoryAgent(ScriptedModel(answers(env_name)), MemoryConfig(memory, questions=3))
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(Stage("search", "policy", "train"))
        trees = grow(env_name, agent, CONFIGS[0], 2, log=log)
        check_calls(trees, agent, list(finished_trees(log)))
        cut = MemoryTreeLog({tree.key: log.parts(tree.key)[:3] for tree in trees})
    assert grow(env_name, agent, CONFIGS[0], 2, log=cut) == trees
    assert agent.model.usage().sampled_tokens >= sum(tree.usage.sampled_tokens for tree in trees)


def test_usage_of_trees_equals_usage_of_the_model():
    for config in (MemoryConfig(), MemoryConfig("notes", questions=3)):
        model = ScriptedModel(answers("echo"))
        trees = grow("echo", MemoryAgent(model, config), CONFIGS[0])
        used = model.usage()
        assert sum(tree.usage.sampled_tokens for tree in trees) == used.sampled_tokens
        assert sum(tree.usage.read_tokens for tree in trees) == used.read_tokens


MARKET = market_of([0.0, 0.02, -0.03, 0.05, 0.01], {0: [("news", "Orders went up.")], 2: [("report", "It is raised.")]})


def desk(interrupt_at: int | None = None) -> TradingGroup:
    """Return a desk with random decisions. Its model call number `interrupt_at` kills the process."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        role = ROLE_OF[messages[0].content]
        return f"Decision: {('buy', 'hold', 'sell')[sampling.seed % 3]}" if role == "decision" else ANSWERS[role]

    return TradingGroup(InterruptingModel(script, interrupt_at), DeskConfig(max_tokens=200, temperature=1.0, days=3))


@pytest.mark.parametrize("interrupt_at", [3, 11, 29])
def test_a_search_with_a_trading_desk_resumes(interrupt_at, tmp_path):
    config = Uct(candidates=3, iterations=3)
    task = Task("test/0", TradingEnv.env_id, "train", 0, {})

    def trees(agent: TradingGroup, **options: Any) -> list[SearchTree]:
        return search(lambda: trading_env(MARKET), [Job(task, agent, 4)], config, **options)

    wanted = trees(desk())
    assert any(len(below) > 1 for below in wanted[0].children)
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(Stage("search", "policy", "train"))
        with pytest.raises(ProcessKilled):
            trees(desk(interrupt_at), log=log)
        assert trees(desk(), log=log) == wanted
        check_calls(wanted, desk(), list(finished_trees(log)))
