"""A run with search trees and splices, made through the public API."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job
from kintsugi.agents.search import Uct, search
from kintsugi.agents.verifier import REVISION_THOUGHT
from kintsugi.loops.learning.splice import build_splice, first_divergence, pair_ends, whole_bad_path
from kintsugi.loops.runs.stages import Stage, node_key
from kintsugi.loops.runs.store import RunStore
from vault_env import Vault, actor


def make_spliced_run(folder: Path, scope: str = "") -> Path:
    """Search six trees and splice whole bad paths: verified if the environment repeats them, else counterfactual."""
    agent = ReActAgent(ScriptedModel(actor), ReActConfig(max_tokens=200, temperature=1.0))
    jobs = [Job(task, agent, number) for number, task in enumerate(Vault.tasks("train"))]
    search_stage, splice_stage = Stage("search", "base", "train", 1), Stage("splice", "agent_r", "train", 1)
    with RunStore.open(folder, {"command": "improve agent-r"}) as whole:
        store = whole.with_scope(scope)
        trees = search(Vault, jobs, Uct(candidates=2, iterations=5, max_depth=8), log=store.tree_log(search_stage))
        cuts: list[dict[str, Any]] = []
        how, verified = [], []
        for tree in trees:
            for cut in filter(None, (whole_bad_path(tree, pair) for pair in pair_ends(tree, 1.0, 0.2, 2, 0))):
                parents = tuple(store.key(search_stage, node_key(tree.key, node)) for node in (cut.bad, cut.good))
                splice = replace(
                    build_splice(tree, cut, REVISION_THOUGHT, drop_refused=True), sample=len(cuts), parents=parents
                )
                how.append("verified" if first_divergence(Vault(), splice) is None else "counterfactual")
                verified += [splice] if how[-1] == "verified" else []
                cuts.append(asdict(cut))
        store.add(splice_stage, verified)
        about = {"trees": str(store.scoped_stage(search_stage)), "cuts": cuts, "how": how}
        store.result(splice_stage.with_kind("spliced"), dict, about)
    return folder
