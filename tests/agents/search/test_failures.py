"""Trees of environments that fail or refuse a task."""

from __future__ import annotations

from typing import Any

import pytest
from kintsugi.agents.search import SearchTree, Uct, finished_trees, search
from kintsugi.envs import Task
from kintsugi.errors import InfraError, UsageError
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from search_fakes import MemoryTreeLog, jobs
from tiny_envs import Lamps

STAGE = Stage("search", "policy", "train", 1)


def whole_trees(n: int) -> list[SearchTree]:
    return search(lambda: Lamps(max_steps=5), jobs("exact", n), Uct(iterations=2))


class FailingLamps(Lamps):
    """Lamps that fail at given steps, counted over all episodes."""

    def __init__(self, breaks: set[int], **options: Any) -> None:
        super().__init__(**options)
        self.breaks, self.steps_taken = breaks, 0

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        self.steps_taken += 1
        if self.steps_taken in self.breaks:
            raise InfraError("the lamp shop burnt down")
        return super().act(action)


@pytest.mark.parametrize(("breaks", "ended"), [({4, 9}, "iterations"), (set(range(9, 200)), "infra_error")])
def test_infrastructure_failures_are_retried_and_never_scored(breaks, ended, tmp_path):
    whole = whole_trees(1)[0]
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(STAGE)
        tree = search(lambda: FailingLamps(breaks, max_steps=5), jobs("exact", 1), Uct(iterations=2), log=log)[0]
        assert list(finished_trees(log)) == [tree]
    assert tree.ended == ended
    if ended == "iterations":
        assert tree == whole
    else:
        assert tree.error == "the lamp shop burnt down"
        assert tree.nodes == whole.nodes[: len(tree)]
        assert len(tree) > 1
        assert not any(node.outcome == "infra_error" for node in tree.nodes)


class ClosedLamps(Lamps):
    """Lamps that refuse some tasks: at the start, or at each step after the first."""

    def __init__(self, closed: set[str], where: str, **options: Any) -> None:
        super().__init__(**options)
        self.closed, self.where = closed, where

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        if task.id in self.closed and self.where == "start":
            raise UsageError(f"the file of {task.id} has changed")
        self.acted = 0
        return super().begin(task)

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        self.acted += 1
        if self.task is not None and self.task.id in self.closed and self.where == "step" and self.acted > 1:
            raise UsageError(f"a text of {self.task.id} is too long")
        return super().act(action)


@pytest.mark.parametrize("where", ["start", "step"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_a_refused_task_ends_its_own_tree(where, at_once, tmp_path):
    whole = whole_trees(3)
    closed, make = {"train/1"}, lambda: ClosedLamps({"train/1"}, where, max_steps=5)
    with RunStore.open(tmp_path / "run", {}) as store:
        log = store.tree_log(STAGE)
        found = search(make, jobs("exact"), Uct(iterations=2), log=log, at_once=at_once)
        assert sorted(finished_trees(log), key=lambda tree: tree.key) == found
        assert search(make, jobs("exact"), Uct(iterations=2), log=log, at_once=at_once) == found
    assert [tree.ended == "infra_error" for tree in found] == [tree.task.id in closed for tree in whole]
    assert [found[0], found[2]] == [whole[0], whole[2]]
    assert "ClosedLamps." in (found[1].error or "")
    assert not any(node.ends for node in found[1].nodes)


@pytest.mark.parametrize("error", [UsageError, InfraError])
def test_if_no_tree_can_be_started_nothing_is_stored(error):
    class Closed(Lamps):
        def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
            raise error(f"no lamps for {task.id}")

    log = MemoryTreeLog()
    with pytest.raises(error, match=r"^no lamps for train/0$"):
        search(Closed, jobs("exact"), Uct(), log=log)
    assert not log.tree_keys()
