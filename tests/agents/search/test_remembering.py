"""Searches with agents that keep more than their steps say: forks have it, and what was cut off gets it back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_agents import Mind, MindConfig
from fake_desks import ANSWERS, ROLE_OF, market_of, trading_in
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.core import Agent, Episode
from kintsugi.agents.models import Completion, Message, Sampling, Script, ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job
from kintsugi.agents.search import MctsStar, SearchStats, SearchTree, Uct, finished, search
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
from search_fakes import ACTIONS, WORLDS, Guess, Log, jobs

MEMORIES = ("notes", "reflection")
CONFIGS = [
    Uct(candidates=3, iterations=4, max_depth=4),
    Uct(candidates=2, iterations=5, parallel=3, max_depth=None),
    MctsStar(candidates=3, iterations=5, roll_steps=2, roll_branch=2),
    MctsStar(candidates=2, iterations=6, parallel=2, model_calls=30),
]


class Stopped(BaseException):
    """Somebody pulls the plug."""


def pull_the_plug() -> None:
    raise Stopped


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


class Cut(ScriptedModel):
    """At its call number `stops` it does what `how` does."""

    def __init__(self, script: Script, stops: int | None = None, how: Callable[[], None] = pull_the_plug) -> None:
        super().__init__(script)
        self._stops, self._how = stops, how

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        if self.calls == self._stops:
            self._how()
        return await super().complete(messages, sampling)


def answers(world: str, shift: int = 0) -> Script:
    """One of the world's actions, by seed and by the mood that it is told."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        mood = int(messages[-1].content.partition("|")[0])
        return ACTIONS[world][(sampling.seed + mood + shift) % len(ACTIONS[world])]

    return script


def grow(world: str, agent: Agent, config: SearchConfig, n: int = 3, seed: int = 0, **options: Any) -> list[SearchTree]:
    value = Guess() if config.judged else None
    return search(lambda: WORLDS[world](max_steps=5), jobs(world, n, seed, agent), config, value=value, **options)


def facts(trees: Sequence[SearchTree]) -> list[Any]:
    """All but who made them."""
    return [(tree.nodes, tree.visits, tree.values, tree.ended, tree.usage) for tree in trees]


# -- Forks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
@given(world=st.sampled_from(sorted(WORLDS)), seed=st.integers(0, 100), at_once=st.integers(1, 4))
def test_what_an_agent_remembers_is_what_its_path_says(memory, config, world, seed, at_once):
    """One that keeps its mood to itself grows the trees of one that says it in each of its steps."""
    open_ = grow(world, Mind(ScriptedModel(answers(world))), config, seed=seed)
    kept = grow(world, Mind(ScriptedModel(answers(world)), MindConfig(memory)), config, seed=seed, at_once=at_once)
    assert facts(kept) == facts(open_)
    for tree in kept:
        for number in range(1, len(tree)):
            first, *rest = tree.steps(number)
            assert {step.thought for step in rest} <= {first.thought}


def test_moods_are_drawn_anew_for_each_child_of_the_root():
    [tree] = grow("echo", Mind(ScriptedModel(answers("echo")), MindConfig("notes")), Uct(candidates=8, iterations=6), 1)
    moods = {step.thought for child in tree.children[ROOT] for step in tree.steps(child)}
    assert len(moods) == len(tree.children[ROOT]) > 2


# -- Cut off ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["steps", *MEMORIES])
@pytest.mark.parametrize(("how", "error"), [(pull_the_plug, Stopped), (press_ctrl_c, KeyboardInterrupt)])
@pytest.mark.parametrize("calls", [0, 1, 2, 7, 16, 30, 43])
@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[2]], ids=lambda config: type(config).__name__)
def test_a_search_that_was_cut_off_ends_as_one_that_was_not(memory, how, error, calls, config):
    whole = Log()
    wanted = grow("exact", Mind(ScriptedModel(answers("exact")), MindConfig(memory)), config, log=whole)
    assert list(finished(whole)) == wanted
    log = Log()
    with pytest.raises(error):
        grow("exact", Mind(Cut(answers("exact"), calls, how), MindConfig(memory)), config, log=log)
    # Everything that was answered before is kept.
    begun = {key: len(parts) for key, parts in log.held.items()}
    assert all(parts == whole.held[key][: len(parts)] for key, parts in log.held.items())
    assert 0 < sum(begun.values()) < sum(map(len, whole.held.values()))
    model = ScriptedModel(answers("exact"))
    assert grow("exact", Mind(model, MindConfig(memory)), config, log=log) == wanted
    assert log.held == whole.held
    usage = sum(tree.usage.model_calls for tree in wanted)
    if memory == "steps" and not config.judged:
        assert model.calls == usage - sum(part["usage"]["model_calls"] for p in log_parts(whole, begun) for part in p)
    if memory != "steps" and not config.judged:
        # What is not said in the steps is brought back by asking again.
        assert model.calls == usage


def log_parts(log: Log, lengths: dict[str, int]) -> list[list[Any]]:
    """The first parts of each tree, without its beginning."""
    return [log.held[key][1:length] for key, length in lengths.items()]


@pytest.mark.parametrize("memory", MEMORIES)
@given(config=st.sampled_from(CONFIGS), world=st.sampled_from(sorted(WORLDS)), seed=st.integers(0, 100), data=st.data())
def test_any_beginning_of_what_is_stored_leads_to_the_same_tree(memory, config, world, seed, data):
    whole = Log()
    agent = Mind(ScriptedModel(answers(world)), MindConfig(memory))
    [tree] = grow(world, agent, config, 1, seed, log=whole)
    parts = whole.parts(tree.key)
    assert any(part.get("remembers") for part in parts)
    log, stats = Log({tree.key: parts[: data.draw(st.integers(0, len(parts)))]}), SearchStats()
    known = len(log.parts(tree.key))
    assert grow(world, agent, config, 1, seed, log=log, stats=stats) == [tree]
    assert log.parts(tree.key) == parts
    told = 1 + sum(len(part.get("children", ())) for part in parts[1:known])
    assert stats.nodes == (0 if known == len(parts) else len(tree) - told)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("config", CONFIGS[:3:2], ids=lambda config: type(config).__name__)
def test_other_answers_than_then_are_refused(memory, config):
    whole = Log()
    [tree] = grow("exact", Mind(ScriptedModel(answers("exact")), MindConfig(memory)), config, 1, log=whole)
    parts = whole.parts(tree.key)
    log = Log({tree.key: parts[: len(parts) // 2]})
    with pytest.raises(UsageError, match=r"tree 'train/0#0': part 1 says .*, and asked again the agent says .*: use a"):
        grow("exact", Mind(ScriptedModel(answers("exact", shift=1)), MindConfig(memory)), config, 1, log=log)
    assert log.held == {tree.key: parts[: len(parts) // 2]}
    # A tree that is whole is taken as it is, and nobody is asked.
    model = Cut(answers("exact"), stops=0)
    assert grow("exact", Mind(model, MindConfig(memory)), config, 1, log=whole) == [tree]


class LateNotes(ReActAgent):
    """Takes a note of its third turn only; the chat is its memory before."""

    async def act(self, episode: Episode) -> Step:
        step = await super().act(episode)
        if len(episode.steps) == 2:
            episode.notes.append(f"I said {step.action}")
        return replace(step, thought=" ".join(episode.notes))


@pytest.mark.parametrize("kept", range(9))
def test_an_agent_that_begins_to_remember_later_is_brought_back_too(kept):
    model = ScriptedModel(lambda messages, sampling: f"Action: {sampling.seed % 5}")
    agent = LateNotes(model, ReActConfig(temperature=1.0, max_tokens=64))
    whole, config = Log(), Uct(candidates=3, iterations=3, max_depth=5)
    [tree] = grow("echo", agent, config, 1, log=whole)
    parts = whole.parts(tree.key)
    assert [bool(part.get("remembers")) for part in parts[1:4]] == [False, False, True]
    log = Log({tree.key: parts[:kept]})
    assert grow("echo", agent, config, 1, log=log) == [tree]
    assert log.held == whole.held
    assert all(
        step.thought == (f"I said {steps[2].action}" if number >= 2 else "")
        for end in tree.ends()
        for steps in [tree.steps(end)]
        for number, step in enumerate(steps)
    )


# -- Several calls a turn ---------------------------------------------------------------------------------------------


def check_calls(trees: Sequence[SearchTree], agent: Agent, again: Sequence[SearchTree]) -> None:
    """Each node has its calls, as they were sampled, also after a store; all that was written is counted."""
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


@pytest.mark.parametrize("memory", ["steps", *MEMORIES])
@pytest.mark.parametrize("world", sorted(WORLDS))
def test_calls_are_kept_with_each_node(memory, world, tmp_path):
    agent = Mind(ScriptedModel(answers(world)), MindConfig(memory, questions=3))
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(Stage("search", "policy", "train"))
        trees = grow(world, agent, CONFIGS[0], 2, log=log)
        check_calls(trees, agent, list(finished(log)))
        cut = Log({tree.key: log.parts(tree.key)[:3] for tree in trees})
    assert grow(world, agent, CONFIGS[0], 2, log=cut) == trees
    assert agent.model.usage().sampled_tokens >= sum(tree.usage.sampled_tokens for tree in trees)


def test_what_was_written_is_what_the_model_wrote():
    for config in (MindConfig(), MindConfig("notes", questions=3)):
        model = ScriptedModel(answers("echo"))
        trees = grow("echo", Mind(model, config), CONFIGS[0])
        used = model.usage()
        assert sum(tree.usage.sampled_tokens for tree in trees) == used.sampled_tokens
        assert sum(tree.usage.read_tokens for tree in trees) == used.read_tokens


MARKET = market_of([0.0, 0.02, -0.03, 0.05, 0.01], {0: [("news", "Orders went up.")], 2: [("report", "It is raised.")]})


def desk(stops: int | None = None) -> TradingGroup:
    """Its decisions are drawn; its model is cut off at a call."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        role = ROLE_OF[messages[0].content]
        return f"Decision: {('buy', 'hold', 'sell')[sampling.seed % 3]}" if role == "decision" else ANSWERS[role]

    return TradingGroup(Cut(script, stops), DeskConfig(max_tokens=200, temperature=1.0, days=3))


@pytest.mark.parametrize("stops", [3, 11, 29])
def test_a_desk_can_be_searched_with_and_goes_on_where_it_was_cut_off(stops, tmp_path):
    config = Uct(candidates=3, iterations=3)
    task = Task("test/0", TradingEnv.env_id, "train", 0, {})

    def trees(agent: TradingGroup, **options: Any) -> list[SearchTree]:
        return search(lambda: trading_in(MARKET), [Job(task, agent, 4)], config, **options)

    wanted = trees(desk())
    assert any(len(below) > 1 for below in wanted[0].children)
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(Stage("search", "policy", "train"))
        with pytest.raises(Stopped):
            trees(desk(stops), log=log)
        assert trees(desk(), log=log) == wanted
        check_calls(wanted, desk(), list(finished(log)))
