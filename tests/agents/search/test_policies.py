"""Search policies: scores, expansion and backup as in the papers' formulas."""

from __future__ import annotations

import math

import pytest
from kintsugi.agents.search import MctsStar, Uct
from kintsugi.agents.search.strategy import Expand, GreedyRollout, SearchConfig, TreeBuilder
from kintsugi.agents.search.tree import ROOT, Node
from kintsugi.agents.trajectory import Step


def leaf(parent: int, score: float | None = None, estimate: float | None = None) -> Node:
    ends = {} if score is None else {"outcome": "success" if score == 1.0 else "failure", "score": score}
    return Node(parent, Step("", "", "x"), "", estimate=estimate, **ends)


def tree_with_children(config: SearchConfig, *nodes: Node) -> TreeBuilder:
    tree = TreeBuilder(0, Node(-1, None, ""))
    config.on_expanded(tree, tree.add_children(ROOT, nodes))
    return tree


def test_uct_score_is_the_mean_score_plus_exploration():
    uct, tree = Uct(), tree_with_children(Uct(), leaf(0), leaf(0), leaf(0, 0.5))
    children = tree.add_children(1, [leaf(1, 1.0), leaf(1, 0.0), leaf(1)])
    uct.on_expanded(tree, children)
    assert (tree.visits, tree.values[:2]) == ([3, 2, 0, 1, 1, 1, 0], [0.5, 0.5])
    assert uct.uct_score(tree, 0, 1) == 1.0 / 2 + 0.25 * math.sqrt(math.log(3) / 2)
    assert uct.uct_score(tree, 0, 2) == math.inf
    tree.add_virtual_visits(6, 1)
    assert uct.uct_score(tree, 0, 1) == 1.0 / 3 + 0.25 * math.sqrt(math.log(4) / 3)


def test_a_uct_descent_expands_down_to_a_terminal_node_and_skips_closed_nodes():
    uct, tree = Uct(), TreeBuilder(0, Node(-1, None, ""))
    descent = uct.descend(tree, 0)
    assert next(descent) == Expand(0)
    uct.on_expanded(tree, tree.add_children(0, [leaf(0, 1.0), leaf(0)]))
    assert descent.send(0.0) == Expand(2)
    uct.on_expanded(tree, tree.add_children(2, [leaf(2, 0.0), leaf(2, 0.5)]))
    with pytest.raises(StopIteration):
        descent.send(0.0)
    assert tree.closed == [True] * 5
    assert tree.values[0] == 0.5
    assert list(uct.descend(tree, 1)) == []


def test_ties_are_broken_uniformly_by_seed():
    taken = [TreeBuilder(seed, Node(-1, None, "")).argmax([4, 7, 9], lambda n: 1.0, 0, 0) for seed in range(300)]
    assert all(80 < taken.count(number) < 120 for number in (4, 7, 9))


def test_mcts_star_rolls_out_from_the_best_child_and_averages_by_visits():
    star, tree = MctsStar(alpha=0.25), TreeBuilder(0, Node(-1, None, ""))
    descent = star.descend(tree, 0)
    assert next(descent) == Expand(0)
    star.on_expanded(tree, tree.add_children(0, [leaf(0, estimate=0.2), leaf(0, estimate=0.6), leaf(0, 0.0)]))
    assert descent.send(0.0) == GreedyRollout(2, 1, 1)
    with pytest.raises(StopIteration):
        descent.send(1.0)
    assert tree.values == [0.75 * 0.6 + 0.25, 0.2, 0.75 * 0.6 + 0.25, 0.0]
    assert tree.visits == [1, 0, 1, 0]
    assert star.selection_score(tree, 0, 1) == 0.2 + 0.9
    assert star.selection_score(tree, 0, 2) == 0.7
    descent = star.descend(tree, 1)
    assert next(descent) == Expand(1)
    star.on_expanded(tree, tree.add_children(1, [leaf(1, 1.0)]))
    with pytest.raises(StopIteration):
        descent.send(0.0)
    assert (tree.visits[0], tree.visits[1], tree.values[1]) == (2, 1, 1.0)
    assert tree.values[0] == (1.0 + 0.7) / 2
    assert star.selection_score(tree, 0, 2) == 0.7 + 0.5 * math.sqrt(2 * math.log(2))
