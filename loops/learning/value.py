"""`fit_value`: the value model of ReST-MCTS* (section 3.4), regressed on process rewards.

L = E [ (V(q, s_1..s_k) - v_k)^2 ]        v_k: `process_rewards` of the trees that a search has finished
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..agents.models.chat import ChatEncoder
from ..agents.models.local import MANIFEST, base_hash, load_base
from ..agents.react import ReActConfig
from ..agents.rollout import Episode
from ..agents.tree import ROOT, SearchTree
from ..agents.value import HEAD, encoded_episode, last_hidden, seen, window_of
from ..errors import UsageError
from .learner import FitConfig, optimise, with_lora
from .process_rewards import process_rewards
from .seeds.pretrain import Text


@dataclass(frozen=True)
class Judgement:
    """An instant of an episode, and what it is worth."""

    episode: Episode
    label: float
    """In [0, 1]."""
    weight: float = 1.0


@dataclass(frozen=True)
class ValueFit:
    """What training did."""

    examples: int
    steps: int
    error: float
    """Mean squared error over the last tenth of the steps."""
    mean_error: float
    """What saying the mean label would have: the variance of the labels."""


@dataclass(frozen=True)
class _Judged(Text):
    label: float = 0.0
    share: float = 1.0


def judgements(trees: Iterable[SearchTree]) -> list[Judgement]:
    """Every instant of the trees that has a process reward, but the roots, whose is 0 by definition.

    Each tree weighs the same.
    """
    found = []
    for tree in trees:
        labels = {number: v for number, v in process_rewards(tree).items() if number != ROOT}
        for number, label in labels.items():
            info = {"goal": tree.goal}
            episode = Episode(tree.task, tree.nodes[number].observation, info, 0, list(tree.steps(number)))
            found.append(Judgement(episode, label, 1.0 / len(labels)))
    return found


def fit_value(
    base: str | Path,
    examples: Sequence[Judgement],
    config: FitConfig,
    out: Path,
    *,
    name: str,
    acting: ReActConfig | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> ValueFit:
    """Train a LoRA on `base` together with a linear head, and save both in `out`, which `LocalValue.load` reads.

    Deterministic for equal arguments, thread count and machine. Raises `UsageError` for no examples.
    """
    if not examples:
        raise UsageError(f"nothing to train {name!r} on: no tree reached an end; search longer or raise max_depth")
    torch.manual_seed(config.seed)
    network, tokenizer = load_base(base)
    chat, window, acting = ChatEncoder(tokenizer, str(base)), window_of(network), acting or ReActConfig()
    texts = [_Judged(encoded_episode(chat, seen(e.episode, acting), window), [], e.label, e.weight) for e in examples]
    weights = sum(t.share for t in texts)
    mean = sum(t.label * t.share for t in texts) / weights
    model = with_lora(network, config.lora, base)
    head = torch.nn.Linear(network.config.get_text_config().hidden_size, 1).to(model.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, mean)

    def loss(batch: Sequence[_Judged]) -> torch.Tensor:
        hidden = last_hidden(model.get_base_model(), [t.ids for t in batch], tokenizer.pad_token_id or 0)
        label, share = torch.tensor([[t.label, t.share] for t in batch], device=hidden.device).unbind(-1)
        error: torch.Tensor = (share * (head(hidden)[:, 0] - label) ** 2).sum() / share.sum()
        return error

    losses = optimise(model, [*model.parameters(), *head.parameters()], texts, loss, config, progress)
    model.save_pretrained(str(out), save_embedding_layers=False)
    save_file({key: value.detach().cpu().contiguous() for key, value in head.state_dict().items()}, out / HEAD)
    tail = losses[-max(1, len(losses) // 10) :]
    spread = sum(t.share * (t.label - mean) ** 2 for t in texts) / weights
    result = ValueFit(len(examples), len(losses), sum(tail) / len(tail), spread)
    manifest = {"name": name, "base_hash": base_hash(base), "fit": asdict(config), "result": asdict(result)}
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return result
