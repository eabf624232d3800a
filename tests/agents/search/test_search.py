"""Tree search: properties of all trees, resuming, episodes of trees and bad input."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_agents import WAIT_AGENT
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import Completion, Message, Sampling, ScriptedModel, Usage
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job, collect
from kintsugi.agents.search import MctsStar, PromptValue, SearchStats, SearchTree, Uct, finished_trees, search
from kintsugi.agents.search.strategy import SearchConfig
from kintsugi.agents.search.tree import ROOT
from kintsugi.errors import UsageError
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from search_fakes import ACTIONS, ENVS, FakeValueModel, MemoryTreeLog, jobs, seeded_agent
from tiny_envs import Echo, Lamps

STAGE = Stage("search", "policy", "train", 1)


def grow(env_name: str, config: SearchConfig, n: int = 3, seed: int = 0, steps: int = 5, **options: Any) -> list[Any]:
    value = FakeValueModel() if config.needs_value_model else None
    return search(lambda: ENVS[env_name](max_steps=steps), jobs(env_name, n, seed), config, value=value, **options)


configs = st.builds(
    lambda kind, **fields: kind(**fields),
    st.sampled_from([Uct, MctsStar]),
    candidates=st.integers(1, 4),
    iterations=st.integers(1, 5),
    max_depth=st.sampled_from([2, 4, None]),
    parallel=st.integers(1, 3),
    model_calls=st.sampled_from([None, 3, 20]),
    env_steps=st.sampled_from([None, 2, 15]),
    stop_score=st.sampled_from([None, None, 1.0]),
)


# -- Properties of all trees ---------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(ENVS)), configs, st.integers(0, 100))
def test_properties_of_every_tree(env_name, config, seed):
    for tree in grow(env_name, config, n=2, seed=seed):
        assert SearchTree.from_json(tree.to_json()) == tree
        own = [n - sum(tree.visits[c] for c in below) for n, below in zip(tree.visits, tree.children, strict=True)]
        if isinstance(config, Uct):
            assert own == [int(node.ends) for node in tree.nodes]
            for number, value in enumerate(tree.values):
                below = [tree.nodes[end].score for end in tree.ends() if number in tree.path(end)]
                assert value == pytest.approx(sum(below) / len(below) if below else 0.0)
        else:
            assert own[ROOT] == 0
            assert all(0 <= n <= config.parallel for n in own)
        assert all(0.0 <= value <= 1.0 for value in tree.values)
        assert tree.usage.model_calls <= (config.model_calls or math.inf)
        assert tree.usage.env_steps <= (config.env_steps or math.inf)
        assert all(tree.depth(number) <= (config.max_depth or 5) for number in range(len(tree)))
        for below in tree.children:
            actions = [tree.nodes[child].step.action for child in below]
            assert len(set(actions)) == len(actions)
            assert len(below) <= sum(tree.nodes[child].sampled_count for child in below) <= config.candidates
        assert (tree.ended == "solved") <= any(tree.nodes[end].score == 1.0 for end in tree.ends())


@given(st.sampled_from(sorted(ENVS)), configs, st.integers(0, 100), st.integers(1, 7))
def test_a_tree_does_not_depend_on_the_number_of_parallel_trees(env_name, config, seed, at_once):
    assert grow(env_name, config, 5, seed, at_once=1) == grow(env_name, config, 5, seed, at_once=at_once)


@given(configs, st.integers(0, 100))
def test_exact_and_replay_snapshots_give_the_same_tree(config, seed):
    exact, replayed = SearchStats(), SearchStats()
    ours, theirs = grow("exact", config, seed=seed, stats=exact), grow("replay", config, seed=seed, stats=replayed)
    assert ours == theirs
    assert exact.restores == replayed.restores
    assert exact.replayed_steps == 0


def test_replayed_steps_are_counted():
    replayed = SearchStats()
    grow("replay", Uct(candidates=2, iterations=3, max_depth=4), stats=replayed)
    assert replayed.replayed_steps > replayed.restores > 0


@given(st.sampled_from(sorted(ENVS)), configs, st.data())
def test_a_search_resumed_from_any_number_of_stored_parts_gives_the_same_tree(env_name, config, data):
    with tempfile.TemporaryDirectory() as folder:
        with RunStore.open(Path(folder) / "whole", {}) as store:
            log = store.tree_log(STAGE)
            tree = grow(env_name, config, 1, log=log)[0]
            parts = log.parts(tree.key)
            assert list(finished_trees(log)) == [tree]
        kept = data.draw(st.integers(0, len(parts)))
        with RunStore.open(Path(folder) / "cut", {}) as store:
            log = store.tree_log(STAGE)
            log.add([(tree.key, number, part) for number, part in enumerate(parts[:kept])])
            assert list(finished_trees(log)) == ([tree] if kept == len(parts) else [])
            stats = SearchStats()
            assert grow(env_name, config, 1, log=log, stats=stats) == [tree]
            assert log.parts(tree.key) == parts
    # Stored nodes are not sampled again.
    known = 1 + sum(len(part.get("children", ())) for part in parts[1:kept])
    assert stats.nodes == (len(tree) - known if kept < len(parts) else 0)


def test_parallel_descents_take_different_paths():
    config = Uct(candidates=3, iterations=3, parallel=3, max_depth=2)
    tree = grow("echo", config, 1)[0]
    assert sum(tree.nodes[c].ends or bool(tree.children[c]) for c in tree.children[ROOT]) == len(tree.children[ROOT])


# -- Tokens and episodes -------------------------------------------------------------------------------------------


def test_the_environment_repeats_the_attempt_of_every_terminal_node():
    tree = grow("exact", Uct(candidates=3, iterations=6), 1, steps=8)[0]
    env = Lamps(max_steps=8)
    for end in tree.ends():
        attempt = tree.trajectory(end)
        observation, info = env.reset(options={"task": attempt.task})
        for step in attempt.steps:
            assert step.observation == observation
            observation, reward, *_, info = env.step(step.action)
            assert (step.reward, step.invalid) == (reward, info.get("invalid"))
            assert step.token_ids == tuple(step.text.encode())
        assert (attempt.final_observation, attempt.score) == (observation, info["score"])
        assert (attempt.key, attempt.goal) == (f"{tree.task.id}#{end}", "light every lamp")
    with pytest.raises(UsageError, match="the episode does not end at node 0"):
        tree.trajectory(ROOT)


def test_a_shared_prefix_is_stored_once():
    tree = grow("exact", Uct(candidates=4, iterations=8), 1, steps=12)[0]
    end = max(tree.ends(), key=tree.depth)
    assert tree.depth(end) > 5
    assert str(tree.to_json()).count("It is dark.") == 1
    assert tree.common_ancestor(end, end) == end
    assert tree.common_ancestor(end, tree.path(end)[2]) == tree.path(end)[2]


def test_the_model_reads_the_same_chats_as_in_a_single_episode():
    seen: list[list[str]] = []

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        seen.append([m.content for m in messages])
        return "Thought: hm\nAction: light blue"

    agent = ReActAgent(ScriptedModel(script), ReActConfig(max_tokens=64))
    task = Lamps.tasks("train").tasks[0]
    search(lambda: Lamps(max_steps=4), [Job(task, agent, 0)], Uct(candidates=1, iterations=1))
    searched, seen = seen, []
    collect(lambda: Lamps(max_steps=4), [Job(task, agent, 0)])
    assert searched == seen
    assert len(seen) == 4


class RecordingCritic:
    """A critic that records the chats it reads."""

    version = "judging"

    def __init__(self) -> None:
        self.read: list[list[Message]] = []

    def usage(self) -> Usage:
        return Usage(len(self.read))

    async def value(self, messages: Sequence[Message]) -> float:
        self.read.append(list(messages))
        return len(self.read) % 7 / 10


def test_a_critic_reads_the_next_prompt_of_the_agent():
    asked: list[list[Message]] = []

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        asked.append(list(messages))
        return f"Thought: hm\nAction: {ACTIONS['exact'][sampling.seed % 4]}"

    agent, critic = ReActAgent(ScriptedModel(script), ReActConfig(temperature=1.0, max_tokens=64)), RecordingCritic()
    job = Job(Lamps.tasks("train").tasks[0], agent, 0)
    config = MctsStar(iterations=6, rollout_steps=2)
    [tree] = search(lambda: Lamps(max_steps=5), [job], config, value=PromptValue(critic, agent))
    assert tree.usage.model_calls == len(asked) + len(critic.read)
    beyond = [chat for chat in asked if len(chat) > 2]
    assert len(beyond) > 6
    assert all(chat in critic.read for chat in beyond)


def test_a_tree_of_an_agent_without_a_model_is_stored_too():
    log = MemoryTreeLog()
    trees = search(lambda: Echo(max_steps=3), jobs("echo", 2, agent=WAIT_AGENT), Uct(iterations=2), log=log)
    assert list(finished_trees(log)) == trees
    assert [(tree.agent, tree.model, tree.made_by) for tree in trees] == [("ready", "ready", None)] * 2
    assert search(lambda: Echo(max_steps=3), jobs("echo", 2, agent=WAIT_AGENT), Uct(iterations=2), log=log) == trees
    assert len(log.costs) == 2


def test_a_local_model_gives_the_same_tree_with_any_batch_and_after_resuming(tiny_model, tmp_path):
    config, tasks = Uct(candidates=3, iterations=2, parallel=2), Echo.tasks("train").tasks[:4]

    def trees(at_once: int, slots: int, **options: Any) -> list[SearchTree]:
        model = LocalModel.load(tiny_model, slots=slots, exact=True)
        agent = ReActAgent(model, ReActConfig(temperature=1.0, max_tokens=6, system="Act."))
        return search(lambda: Echo(max_steps=3), [Job(t, agent, 1) for t in tasks], config, at_once=at_once, **options)

    with RunStore.open(tmp_path / "whole", {}) as store:
        log = store.tree_log(STAGE)
        wanted = trees(4, 32, log=log)
        parts = {key: log.parts(key) for key in log.tree_keys()}
    assert max(map(len, wanted)) > 10
    assert trees(1, 5) == wanted
    with RunStore.open(tmp_path / "cut", {}) as store:
        log = store.tree_log(STAGE)
        for key, known in parts.items():
            log.add([(key, number, part) for number, part in enumerate(known[: len(known) // 2])])
        assert trees(3, 8, log=log) == wanted
        assert {key: log.parts(key) for key in parts} == parts


# -- Bad input and failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [("light blue",), ("sing",), ("",)])
def test_equal_or_refused_candidates_give_a_chain(actions):
    stats, agent = SearchStats(), seeded_agent(actions)
    job = Job(Lamps.tasks("train").tasks[0], agent, 0)
    tree = search(lambda: Lamps(max_steps=6), [job], Uct(candidates=4, iterations=5), stats=stats)[0]
    assert [len(below) for below in tree.children] == [1] * 6 + [0]
    assert (tree.ended, tree.visits, stats.restores) == ("exhausted", (1,) * 7, 0)
    assert all(node.sampled_count == 4 for node in tree.nodes[1:])
    assert all((node.step and node.step.invalid is None) == (actions == ("light blue",)) for node in tree.nodes[1:])


def test_constrained_decoding_falls_back_to_free_text_without_admissible_actions():
    agent = seeded_agent(ACTIONS["echo"], decoding="constrained")
    tree = search(Echo, [Job(Echo.tasks("train").tasks[0], agent, 0)], Uct(max_depth=3))[0]
    assert any(node.outcome == "success" for node in tree.nodes)


def test_equal_scores_of_leaves_give_equal_values():
    job = Job(Echo.tasks("train").tasks[8], seeded_agent(("1", "2")), 0)
    tree = search(Echo, [job], Uct(max_depth=3, iterations=8))[0]
    assert set(tree.values) == {0.0}
    assert tree.ended == "exhausted"


class RecordingModel(LocalModel):
    """A local model that records the chats it reads, cut to its window."""

    read: list[Sequence[Message]]

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        completion = await super().complete(messages, sampling)
        self.read.append(self.chat.truncate(messages, self.window - sampling.max_tokens))
        assert completion.prompt_tokens == len(self.chat.encode(self.read[-1], generate=True).ids)
        return completion


def test_a_chat_longer_than_the_window_loses_whole_turns_from_its_start(tiny_model):
    model = RecordingModel.load(tiny_model, exact=True)
    read = model.read = []
    agent = ReActAgent(model, ReActConfig(temperature=1.0, max_tokens=12, system="Act."))
    task = Echo.tasks("train").tasks[0]
    tree = search(lambda: Echo(max_steps=12), [Job(task, agent, 0)], Uct(candidates=2, iterations=1))[0]
    assert max(map(tree.depth, tree.ends())) == 12
    assert len({tuple(m.role for m in chat[:2]) for chat in read}) == 1
    turns = {node.step.text for node in tree.nodes if node.step}
    first = {node.step.text for node in tree.nodes if node.step and node.parent == ROOT}
    shortened = [chat for chat in read if len(chat) > 2 and chat[2].content not in first]
    assert shortened
    whole = {node.observation for node in tree.nodes}
    assert all(chat[-1].content.partition("\nYour task")[0] in whole for chat in read)
    assert all(m.content in turns for chat in read for m in chat if m.role == "assistant")


def test_bad_settings_are_refused():
    for wrong in ({"candidates": 0}, {"iterations": 0}, {"parallel": 0}, {"model_calls": 0}, {"max_depth": -1}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is "):
            Uct(**wrong)
    with pytest.raises(UsageError, match="MctsStar needs a value model; pass `value`"):
        search(Lamps, jobs("exact"), MctsStar())
    with pytest.raises(UsageError, match="Uct does not use a value model; leave out `value`"):
        search(Lamps, jobs("exact"), Uct(), value=FakeValueModel())
    with pytest.raises(UsageError, match="two jobs have the key 'train/0#0'"):
        search(Lamps, [*jobs("exact"), *jobs("exact")], Uct())
    with pytest.raises(UsageError, match="at_once is 0"):
        search(Lamps, jobs("exact"), Uct(), at_once=0)
    assert search(Lamps, [], Uct()) == []


def test_a_stored_tree_with_different_settings_is_refused(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(STAGE)
        grow("exact", Uct(), 1, log=log)
        with pytest.raises(UsageError, match=r"tree 'train/0#0' was started with different settings \(search: "):
            grow("exact", Uct(c=0.5), 1, log=log)
        with pytest.raises(UsageError, match=r"different settings \(seed: 0 -> 1\)"):
            grow("exact", Uct(), 1, seed=1, log=log)
        others = jobs("exact", 1, agent=seeded_agent(ACTIONS["exact"], restate_goal=False))
        with pytest.raises(UsageError, match=r"different settings \(agent: react-\w+@scripted -> react-.*; use"):
            search(lambda: Lamps(max_steps=5), others, Uct(), log=log)


class ChangedLamps(Lamps):
    """Lamps with other observations than in the stored tree."""

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        observation, reward, done, info = super().act(action)
        return observation + " Really.", reward, done, info


def test_a_stored_tree_that_the_environment_does_not_repeat_is_refused():
    log = MemoryTreeLog()
    tree = grow("exact", Uct(), 1, log=log)[0]
    parts = log.parts(tree.key)
    with pytest.raises(UsageError, match="gave the observation .* Really.*; expected .* as in the stored tree"):
        search(lambda: ChangedLamps(max_steps=5), jobs("exact", 1), Uct(), log=MemoryTreeLog({tree.key: parts[:3]}))
    odd = [parts[0], {**parts[1], "expand": 7}]
    with pytest.raises(
        UsageError, match="stored part 1 is .*; expected 'expand' of node 0: another version of Kintsugi"
    ):
        grow("exact", Uct(), 1, log=MemoryTreeLog({tree.key: odd}))


def test_malformed_trees_are_refused():
    tree = grow("exact", Uct(), 1)[0]
    with pytest.raises(UsageError, match="has parent 99"):
        replace(tree, nodes=(*tree.nodes[:-1], replace(tree.nodes[-1], parent=99)))
    with pytest.raises(UsageError, match="0 visits"):
        replace(tree, visits=())
