"""Process rewards inferred from finished search trees (ReST-MCTS*, arXiv 2406.03816, section 3.2 and appendix).

The value of a turn follows from the distance of its node to a success, so no turn needs a manual label:

    m   reasoning distance: 1 at a success; 1 + min over the children at an ancestor of a success; elsewhere the m of
        the nearest ancestor that has one
    r   +1 if the node or a descendant is a success, else -1
    v   max(0, v_parent + (1 - v_parent) r / m), with v_root = 0

The paper writes w = (1 - v_{k-1}) / (m_k + 1) (1 - 2 r_s), where its m is one smaller than here.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...agents.search.tree import ROOT, SearchTree


def process_rewards(tree: SearchTree) -> dict[int, float]:
    """Compute the value v of each node that is an end or has an end below it.

    Args:
        tree: Finished search tree; after an infrastructure failure, it counts with the ends that it has.

    Returns:
        Values in [0, 1] by node number, 0 at the root.
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
        # In a tree without a success, v is max(0, 0 - 1 / m) = 0 for any m.
        v[number] = max(0.0, v[parent] + (1 - v[parent]) * r / m.get(nearest, 1))
    return v


def distances(tree: SearchTree) -> Mapping[int, int]:
    """Return the reasoning distance m of each node that is a success or has one below it, by node number."""
    m: dict[int, int] = {}
    for number in range(len(tree) - 1, -1, -1):
        below = [m[child] for child in tree.children[number] if child in m]
        if tree.nodes[number].outcome == "success":
            m[number] = 1
        elif below:
            m[number] = 1 + min(below)
    return m
