"""A run with search trees and splices of every kind, made through the public API."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job
from kintsugi.agents.search import Uct, search
from kintsugi.agents.verifier import MISTAKE
from kintsugi.loops.learning.splice import pairs, replay, spliced, whole_path
from kintsugi.loops.runs.stages import Stage, node_key
from kintsugi.loops.runs.store import RunStore
from vault_env import Vault, actor


def make_spliced_run(folder: Path, scope: str = "") -> Path:
    """Six trees, and splices of whole bad paths: as written where the world plays along, else counterfactual."""
    agent = ReActAgent(ScriptedModel(actor), ReActConfig(max_tokens=200, temperature=1.0))
    jobs = [Job(task, agent, number) for number, task in enumerate(Vault.tasks("train"))]
    searched, learnt_as = Stage("search", "base", "train", 1), Stage("splice", "agent_r", "train", 1)
    with RunStore.open(folder, {"command": "improve agent-r"}) as whole:
        store = whole.scoped(scope)
        trees = search(Vault, jobs, Uct(candidates=2, iterations=5, max_depth=8), log=store.tree_log(searched))
        cuts: list[dict[str, Any]] = []
        how, learnt = [], []
        for tree in trees:
            for cut in filter(None, (whole_path(tree, pair) for pair in pairs(tree, 1.0, 0.2, 2, 0))):
                parents = tuple(store.key(searched, node_key(tree.key, node)) for node in (cut.bad, cut.good))
                splice = replace(spliced(tree, cut, MISTAKE, drop_refused=True), sample=len(cuts), parents=parents)
                how.append("verified" if replay(Vault(), splice) is None else "counterfactual")
                learnt += [splice] if how[-1] == "verified" else []
                cuts.append(asdict(cut))
        store.add(learnt_as, learnt)
        about = {"trees": str(store.scope(searched)), "cuts": cuts, "how": how}
        store.result(learnt_as.of("spliced"), dict, about)
    return folder
