"""Process rewards: numbers from the published code, and invariants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.search.tree import Node, SearchTree
from kintsugi.agents.trajectory import Step
from kintsugi.envs.core import Task
from kintsugi.loops.learning.process_rewards import distances, process_rewards

TASK = Task("t/0", "tiny/Lamps-v0", "t", 0)


def tree(*nodes: tuple[int, str | None]) -> SearchTree:
    """A tree with these parents and outcomes of all nodes except the root."""
    all_nodes = [Node(-1, None, "")]
    all_nodes += [Node(p, Step("", "", str(n)), "", outcome) for n, (p, outcome) in enumerate(nodes)]
    zeros = (0,) * len(all_nodes)
    return SearchTree(TASK, "m", 0, tuple(all_nodes), zeros, zeros, "iterations")


def test_an_example_equals_the_output_of_the_published_code():
    #      1 A       2 A1    3 x             4 y             5 A2            6 B       7 b
    found = tree((0, None), (1, None), (2, "success"), (2, "failure"), (1, "failure"), (0, None), (6, "truncated"))
    v = process_rewards(found)
    expected = {0: 0.0, 1: 0.3333, 2: 0.6667, 3: 1.0, 4: 0.5, 5: 0.1111, 6: 0.0, 7: 0.0}
    assert {number: round(value, 4) for number, value in v.items()} == expected
    assert distances(found) == {0: 4, 1: 3, 2: 2, 3: 1}


def test_nodes_without_an_end_below_are_left_out():
    assert process_rewards(tree((0, None), (1, "success"), (0, None), (3, None))) == {0: 0.0, 1: 0.5, 2: 1.0}
    assert process_rewards(tree()) == {}


def test_all_values_are_0_in_a_tree_without_a_success():
    assert process_rewards(tree((0, None), (1, "failure"), (0, "truncated"))) == {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}


@st.composite
def trees(draw):
    parents = [draw(st.integers(0, n)) for n in range(draw(st.integers(1, 14)))]
    leaves = set(range(1, len(parents) + 1)) - set(parents)
    outcomes = st.sampled_from([None, "success", "failure", "truncated"])
    return tree(*((p, draw(outcomes) if n in leaves else None) for n, p in enumerate(parents, start=1)))


@given(trees())
def test_values_are_bounded_and_rise_only_towards_a_success(found):
    v, m = process_rewards(found), distances(found)
    assert all(0.0 <= value <= 1.0 for value in v.values())
    assert set(v) == {n for end in found.ends() for n in found.path(end)}
    for number, value in v.items():
        if found.nodes[number].outcome == "success":
            assert value == pytest.approx(1.0)
        if number and number in m:
            assert value > v[found.nodes[number].parent] or value == 1.0
        elif number:
            assert value < v[found.nodes[number].parent] or value == 0.0
