"""Process rewards inferred from a finished tree (ReST-MCTS*, Zhang et al., 2024, section 3.2 and appendix).

How far a node is from a success tells how much a turn was worth, so that no turn has to be labelled by hand:

    m   reasoning distance      1 at a success; at its ancestors 1 + min over their children; a node without any success
                                below takes that of its nearest ancestor with one
    r   +1 with a success at or below the node, -1 without
    v   <- max(0, v_parent + (1 - v_parent) r / m),  v_root = 0

The paper writes w = (1 - v_{k-1}) / (m_k + 1) (1 - 2 r_s) with its m one smaller than here.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...agents.search.tree import ROOT, SearchTree


def process_rewards(tree: SearchTree) -> dict[int, float]:
    """V of the nodes that are an end or have one below, by number, in [0, 1]; 0 at the root.

    Where an `InfraError` cut a tree off, its ends count; nodes that no end was reached from stay out.
    """
    m = distances(tree)
    reached = {node for end in tree.ends() for node in tree.path(end)}
    v: dict[int, float] = {}
    for number in sorted(reached):
        if number == ROOT:
            v[number] = 0.0
            continue
        parent = tree.nodes[number].parent
        r = 1 if number in m else -1
        nearest = number
        while nearest not in m and nearest != ROOT:
            nearest = tree.nodes[nearest].parent
        # Without any success, every v is max(0, 0 - 1 / m) = 0, whatever m is.
        v[number] = max(0.0, v[parent] + (1 - v[parent]) * r / m.get(nearest, 1))
    return v


def distances(tree: SearchTree) -> Mapping[int, int]:
    """M of the nodes that have a success at or below them."""
    m: dict[int, int] = {}
    for number in range(len(tree) - 1, -1, -1):
        below = [m[child] for child in tree.children[number] if child in m]
        if tree.nodes[number].outcome == "success":
            m[number] = 1
        elif below:
            m[number] = 1 + min(below)
    return m
