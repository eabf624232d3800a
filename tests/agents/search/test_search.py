"""Tree search with scripted models: the papers' rules, laws that hold for any tree, resuming, and trouble."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_agents import READY
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import Completion, Message, Sampling, ScriptedModel, Usage
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job, collect
from kintsugi.agents.search import MctsStar, PromptValue, SearchStats, SearchTree, Uct, finished, search
from kintsugi.agents.search.strategy import Expand, Roll, SearchConfig, TreeBuilder
from kintsugi.agents.search.tree import ROOT, Node
from kintsugi.agents.trajectory import Step
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from search_fakes import ACTIONS, WORLDS, Guess, Log, agent, jobs
from tiny_envs import Echo, Lamps

STAGE = Stage("search", "policy", "train", 1)


def grow(world: str, config: SearchConfig, n: int = 3, seed: int = 0, steps: int = 5, **options: Any) -> list[Any]:
    value = Guess() if config.judged else None
    return search(lambda: WORLDS[world](max_steps=steps), jobs(world, n, seed), config, value=value, **options)


configs = st.builds(
    lambda kind, **fields: kind(**fields),
    st.sampled_from([Uct, MctsStar]),
    candidates=st.integers(1, 4),
    iterations=st.integers(1, 5),
    max_depth=st.sampled_from([2, 4, None]),
    parallel=st.integers(1, 3),
    model_calls=st.sampled_from([None, 3, 20]),
    env_steps=st.sampled_from([None, 2, 15]),
    end_gate=st.sampled_from([None, None, 1.0]),
)


# -- laws ----------------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(WORLDS)), configs, st.integers(0, 100))
def test_laws_of_any_tree(world, config, seed):
    for tree in grow(world, config, n=2, seed=seed):
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
            assert len(below) <= sum(tree.nodes[child].drawn for child in below) <= config.candidates
        assert (tree.ended == "solved") <= any(tree.nodes[end].score == 1.0 for end in tree.ends())


@given(st.sampled_from(sorted(WORLDS)), configs, st.integers(0, 100), st.integers(1, 7))
def test_a_tree_does_not_depend_on_how_many_are_in_flight(world, config, seed, at_once):
    assert grow(world, config, 5, seed, at_once=1) == grow(world, config, 5, seed, at_once=at_once)


@given(configs, st.integers(0, 100))
def test_snapshots_and_replays_lead_to_the_same_tree(config, seed):
    exact, replayed = SearchStats(), SearchStats()
    ours, theirs = grow("exact", config, seed=seed, stats=exact), grow("replay", config, seed=seed, stats=replayed)
    assert ours == theirs
    assert exact.restores == replayed.restores
    assert exact.replayed_steps == 0


def test_replays_are_counted():
    replayed = SearchStats()
    grow("replay", Uct(candidates=2, iterations=3, max_depth=4), stats=replayed)
    assert replayed.replayed_steps > replayed.restores > 0


@given(st.sampled_from(sorted(WORLDS)), configs, st.data())
def test_any_beginning_of_what_is_stored_leads_to_the_same_tree(world, config, data):
    with tempfile.TemporaryDirectory() as folder:
        with RunStore.open(Path(folder) / "whole", {}) as store:
            log = store.tree_log(STAGE)
            tree = grow(world, config, 1, log=log)[0]
            parts = log.parts(tree.key)
            assert list(finished(log)) == [tree]
        kept = data.draw(st.integers(0, len(parts)))
        with RunStore.open(Path(folder) / "cut", {}) as store:
            log = store.tree_log(STAGE)
            log.add([(tree.key, number, part) for number, part in enumerate(parts[:kept])])
            assert list(finished(log)) == ([tree] if kept == len(parts) else [])
            stats = SearchStats()
            assert grow(world, config, 1, log=log, stats=stats) == [tree]
            assert log.parts(tree.key) == parts
    # Nothing that was stored is drawn again.
    known = 1 + sum(len(part.get("children", ())) for part in parts[1:kept])
    assert stats.nodes == (len(tree) - known if kept < len(parts) else 0)


# -- the papers' rules ---------------------------------------------------------------------------------------------


def leaf(parent: int, score: float | None = None, estimate: float | None = None) -> Node:
    ends = {} if score is None else {"outcome": "success" if score == 1.0 else "failure", "score": score}
    return Node(parent, Step("", "", "x"), "", estimate=estimate, **ends)


def planted(config: SearchConfig, *nodes: Node) -> TreeBuilder:
    tree = TreeBuilder(0, Node(-1, None, ""))
    config.grown(tree, tree.add(ROOT, nodes))
    return tree


def test_uct_is_q_and_a_quarter_of_the_root_of_log_over_visits():
    uct, tree = Uct(), planted(Uct(), leaf(0), leaf(0), leaf(0, 0.5))
    config = tree.add(1, [leaf(1, 1.0), leaf(1, 0.0), leaf(1)])
    uct.grown(tree, config)
    assert (tree.visits, tree.values[:2]) == ([3, 2, 0, 1, 1, 1, 0], [0.5, 0.5])
    assert uct.uct(tree, 0, 1) == 1.0 / 2 + 0.25 * math.sqrt(math.log(3) / 2)
    assert uct.uct(tree, 0, 2) == math.inf
    tree.mark(6, 1)
    assert uct.uct(tree, 0, 1) == 1.0 / 3 + 0.25 * math.sqrt(math.log(4) / 3)


def test_a_descent_of_uct_expands_down_to_an_end_and_passes_ends_by():
    uct, tree = Uct(), TreeBuilder(0, Node(-1, None, ""))
    descent = uct.descend(tree, 0)
    assert next(descent) == Expand(0)
    uct.grown(tree, tree.add(0, [leaf(0, 1.0), leaf(0)]))
    assert descent.send(0.0) == Expand(2)
    uct.grown(tree, tree.add(2, [leaf(2, 0.0), leaf(2, 0.5)]))
    with pytest.raises(StopIteration):
        descent.send(0.0)
    assert tree.closed == [True] * 5
    assert tree.values[0] == 0.5
    assert list(uct.descend(tree, 1)) == []


def test_ties_are_broken_by_seed_and_evenly():
    taken = [TreeBuilder(seed, Node(-1, None, "")).best([4, 7, 9], lambda n: 1.0, 0, 0) for seed in range(300)]
    assert all(80 < taken.count(number) < 120 for number in (4, 7, 9))


def test_mcts_star_rolls_the_best_child_forward_and_averages_by_visits():
    star, tree = MctsStar(alpha=0.25), TreeBuilder(0, Node(-1, None, ""))
    descent = star.descend(tree, 0)
    assert next(descent) == Expand(0)
    star.grown(tree, tree.add(0, [leaf(0, estimate=0.2), leaf(0, estimate=0.6), leaf(0, 0.0)]))
    assert descent.send(0.0) == Roll(2, 1, 1)
    with pytest.raises(StopIteration):
        descent.send(1.0)
    assert tree.values == [0.75 * 0.6 + 0.25, 0.2, 0.75 * 0.6 + 0.25, 0.0]
    assert tree.visits == [1, 0, 1, 0]
    assert star.bound(tree, 0, 1) == 0.2 + 0.9
    assert star.bound(tree, 0, 2) == 0.7
    descent = star.descend(tree, 1)
    assert next(descent) == Expand(1)
    star.grown(tree, tree.add(1, [leaf(1, 1.0)]))
    with pytest.raises(StopIteration):
        descent.send(0.0)
    assert (tree.visits[0], tree.visits[1], tree.values[1]) == (2, 1, 1.0)
    assert tree.values[0] == (1.0 + 0.7) / 2
    assert star.bound(tree, 0, 2) == 0.7 + 0.5 * math.sqrt(2 * math.log(2))


def test_descents_in_one_tree_go_different_ways():
    config = Uct(candidates=3, iterations=3, parallel=3, max_depth=2)
    tree = grow("echo", config, 1)[0]
    assert sum(tree.nodes[c].ends or bool(tree.children[c]) for c in tree.children[ROOT]) == len(tree.children[ROOT])


# -- tokens and episodes -------------------------------------------------------------------------------------------


def test_an_end_is_an_attempt_that_the_environment_repeats():
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
    with pytest.raises(UsageError, match="the episode goes on at node 0"):
        tree.trajectory(ROOT)


def test_a_shared_prefix_is_written_once():
    tree = grow("exact", Uct(candidates=4, iterations=8), 1, steps=12)[0]
    end = max(tree.ends(), key=tree.depth)
    assert tree.depth(end) > 5
    assert str(tree.to_json()).count("It is dark.") == 1
    assert tree.common(end, end) == end
    assert tree.common(end, tree.path(end)[2]) == tree.path(end)[2]


def test_the_model_sees_what_a_lone_agent_would_see():
    seen: list[list[str]] = []

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        seen.append([m.content for m in messages])
        return "Thought: hm\nAction: light blue"

    acting = ReActAgent(ScriptedModel(script), ReActConfig(max_tokens=64))
    task = Lamps.tasks("train").tasks[0]
    search(lambda: Lamps(max_steps=4), [Job(task, acting, 0)], Uct(candidates=1, iterations=1))
    searched, seen = seen, []
    collect(lambda: Lamps(max_steps=4), [Job(task, acting, 0)])
    assert searched == seen
    assert len(seen) == 4


class Judging:
    """A critic that keeps what it read."""

    version = "judging"

    def __init__(self) -> None:
        self.read: list[list[Message]] = []

    def usage(self) -> Usage:
        return Usage(len(self.read))

    async def value(self, messages: Sequence[Message]) -> float:
        self.read.append(list(messages))
        return len(self.read) % 7 / 10


def test_a_critic_reads_what_the_agent_would_be_shown_next():
    asked: list[list[Message]] = []

    def script(messages: Sequence[Message], sampling: Sampling) -> str:
        asked.append(list(messages))
        return f"Thought: hm\nAction: {ACTIONS['exact'][sampling.seed % 4]}"

    acting, critic = ReActAgent(ScriptedModel(script), ReActConfig(temperature=1.0, max_tokens=64)), Judging()
    job = Job(Lamps.tasks("train").tasks[0], acting, 0)
    config = MctsStar(iterations=6, roll_steps=2)
    [tree] = search(lambda: Lamps(max_steps=5), [job], config, value=PromptValue(critic, acting))
    assert tree.usage.model_calls == len(asked) + len(critic.read)
    beyond = [chat for chat in asked if len(chat) > 2]
    assert len(beyond) > 6
    assert all(chat in critic.read for chat in beyond)


def test_a_rules_tree_is_stored_too():
    log = Log()
    trees = search(lambda: Echo(max_steps=3), jobs("echo", 2, acting=READY), Uct(iterations=2), log=log)
    assert list(finished(log)) == trees
    assert [(tree.agent, tree.model, tree.made_by) for tree in trees] == [("ready", "ready", None)] * 2
    assert search(lambda: Echo(max_steps=3), jobs("echo", 2, acting=READY), Uct(iterations=2), log=log) == trees
    assert len(log.costs) == 2


def test_the_same_tree_with_a_real_model_whatever_is_in_flight_and_after_a_cut(tiny_model, tmp_path):
    config, tasks = Uct(candidates=3, iterations=2, parallel=2), Echo.tasks("train").tasks[:4]

    def trees(at_once: int, slots: int, **options: Any) -> list[SearchTree]:
        model = LocalModel.load(tiny_model, slots=slots, exact=True)
        acting = ReActAgent(model, ReActConfig(temperature=1.0, max_tokens=6, system="Act."))
        return search(lambda: Echo(max_steps=3), [Job(t, acting, 1) for t in tasks], config, at_once=at_once, **options)

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


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [("light blue",), ("sing",), ("",)])
def test_candidates_that_are_all_equal_or_all_refused_end_in_a_chain(actions):
    stats, acting = SearchStats(), agent(actions)
    job = Job(Lamps.tasks("train").tasks[0], acting, 0)
    tree = search(lambda: Lamps(max_steps=6), [job], Uct(candidates=4, iterations=5), stats=stats)[0]
    assert [len(below) for below in tree.children] == [1] * 6 + [0]
    assert (tree.ended, tree.visits, stats.restores) == ("exhausted", (1,) * 7, 0)
    assert all(node.drawn == 4 for node in tree.nodes[1:])
    assert all((node.step and node.step.invalid is None) == (actions == ("light blue",)) for node in tree.nodes[1:])


def test_an_environment_that_lists_no_actions_is_searched_with_free_answers():
    acting = agent(ACTIONS["echo"], decoding="constrained")
    tree = search(Echo, [Job(Echo.tasks("train").tasks[0], acting, 0)], Uct(max_depth=3))[0]
    assert any(node.outcome == "success" for node in tree.nodes)


def test_leaves_that_are_all_equal_leave_values_equal():
    job = Job(Echo.tasks("train").tasks[8], agent(("1", "2")), 0)
    tree = search(Echo, [job], Uct(max_depth=3, iterations=8))[0]
    assert set(tree.values) == {0.0}
    assert tree.ended == "exhausted"


class Noted(LocalModel):
    """Keeps what it has read of each chat."""

    read: list[Sequence[Message]]

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        said = await super().complete(messages, sampling)
        self.read.append(self.chat.fitting(messages, self.window - sampling.max_tokens))
        assert said.prompt_tokens == len(self.chat.encode(self.read[-1], generate=True).ids)
        return said


def test_a_chat_longer_than_the_window_loses_its_oldest_turns_whole(tiny_model):
    model = Noted.load(tiny_model, exact=True)
    read = model.read = []
    acting = ReActAgent(model, ReActConfig(temperature=1.0, max_tokens=12, system="Act."))
    task = Echo.tasks("train").tasks[0]
    tree = search(lambda: Echo(max_steps=12), [Job(task, acting, 0)], Uct(candidates=2, iterations=1))[0]
    assert max(map(tree.depth, tree.ends())) == 12
    assert len({tuple(m.role for m in chat[:2]) for chat in read}) == 1
    said = {node.step.text for node in tree.nodes if node.step}
    first = {node.step.text for node in tree.nodes if node.step and node.parent == ROOT}
    shortened = [chat for chat in read if len(chat) > 2 and chat[2].content not in first]
    assert shortened
    whole = {node.observation for node in tree.nodes}
    assert all(chat[-1].content.partition("\nYour task")[0] in whole for chat in read)
    assert all(m.content in said for chat in read for m in chat if m.role == "assistant")


def test_bad_settings_are_said():
    for wrong in ({"candidates": 0}, {"iterations": 0}, {"parallel": 0}, {"model_calls": 0}, {"max_depth": -1}):
        with pytest.raises(UsageError, match=f"{next(iter(wrong))} is "):
            Uct(**wrong)
    with pytest.raises(UsageError, match="MctsStar judges instants: give it `value`"):
        search(Lamps, jobs("exact"), MctsStar())
    with pytest.raises(UsageError, match="Uct judges nothing: leave out `value`"):
        search(Lamps, jobs("exact"), Uct(), value=Guess())
    with pytest.raises(UsageError, match="two jobs are of 'train/0#0'"):
        search(Lamps, [*jobs("exact"), *jobs("exact")], Uct())
    with pytest.raises(UsageError, match="at_once is 0"):
        search(Lamps, jobs("exact"), Uct(), at_once=0)
    assert search(Lamps, [], Uct()) == []


def test_a_stored_tree_of_another_search_is_refused(tmp_path):
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(STAGE)
        grow("exact", Uct(), 1, log=log)
        with pytest.raises(UsageError, match=r"tree 'train/0#0' was begun otherwise \(search: "):
            grow("exact", Uct(c=0.5), 1, log=log)
        with pytest.raises(UsageError, match=r"begun otherwise \(seed: 0 -> 1\)"):
            grow("exact", Uct(), 1, seed=1, log=log)
        others = jobs("exact", 1, acting=agent(ACTIONS["exact"], restate_goal=False))
        with pytest.raises(UsageError, match=r"begun otherwise \(agent: react-\w+@scripted -> react-.*; use"):
            search(lambda: Lamps(max_steps=5), others, Uct(), log=log)


class Changed(Lamps):
    """Its observations are worded otherwise than when the tree was begun."""

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        said, reward, done, info = super().act(action)
        return said + " Really.", reward, done, info


def test_a_stored_tree_of_another_version_is_refused():
    log = Log()
    tree = grow("exact", Uct(), 1, log=log)[0]
    parts = log.parts(tree.key)
    with pytest.raises(UsageError, match="was answered by .* when the tree was begun and is by .* Really"):
        search(lambda: Changed(max_steps=5), jobs("exact", 1), Uct(), log=Log({tree.key: parts[:3]}))
    odd = [parts[0], {**parts[1], "expand": 7}]
    with pytest.raises(UsageError, match="this search would expand node 0, and part 1 of what is stored says"):
        grow("exact", Uct(), 1, log=Log({tree.key: odd}))


class Breaking(Lamps):
    """Breaks at some of its steps, however often it was begun anew."""

    def __init__(self, breaks: set[int], **options: Any) -> None:
        super().__init__(**options)
        self.breaks, self.steps_taken = breaks, 0

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        self.steps_taken += 1
        if self.steps_taken in self.breaks:
            raise InfraError("the lamp shop burnt down")
        return super().act(action)


@pytest.mark.parametrize(("breaks", "ended"), [({4, 9}, "iterations"), (set(range(9, 200)), "infra_error")])
def test_what_broke_is_tried_again_and_never_a_score(breaks, ended, tmp_path):
    whole = grow("exact", Uct(iterations=2), 1)[0]
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(STAGE)
        tree = search(lambda: Breaking(breaks, max_steps=5), jobs("exact", 1), Uct(iterations=2), log=log)[0]
        assert list(finished(log)) == [tree]
    assert tree.ended == ended
    if ended == "iterations":
        assert tree == whole
    else:
        assert tree.error == "the lamp shop burnt down"
        assert tree.nodes == whole.nodes[: len(tree)]
        assert len(tree) > 1
        assert not any(node.outcome == "infra_error" for node in tree.nodes)


def test_a_tree_refuses_what_is_none():
    tree = grow("exact", Uct(), 1)[0]
    with pytest.raises(UsageError, match="has parent 99"):
        replace(tree, nodes=(*tree.nodes[:-1], replace(tree.nodes[-1], parent=99)))
    with pytest.raises(UsageError, match="0 visits"):
        replace(tree, visits=())
