"""Speed of rollouts: `python -m kintsugi.benchmarks.speed.rollouts`.

Measures the same greedy episodes in two ways, in alternating parts: in parallel through `collect`, and one at a time
through `model.generate`, which reads the whole chat again at every turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...agents.models.chat import ChatEncoder
from ...agents.models.core import Completion, Message, ModelBase, Sampling
from ...agents.models.local import LocalModel
from ...agents.models.weights import load_base
from ...agents.react import ReActAgent, ReActConfig
from ...agents.rollout import Job, Timing, collect
from ...agents.trajectory import Trajectory
from ...envs.core import Task
from ...envs.household import HouseholdEnv
from ..scripts import positive, run


class PlainGenerate(ModelBase):
    """Baseline model: one chat at a time through `model.generate`, without a cache between turns."""

    def __init__(self, model: Path | str) -> None:
        self.network, tokenizer = load_base(model)
        self.network.eval()
        self.chat = ChatEncoder(tokenizer)
        self.version = "plain generate"

    @torch.inference_mode()
    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Complete the chat greedily, whatever `sampling.temperature` is."""
        prompt = self.chat.encode(messages, generate=True).ids
        ids: Any = torch.tensor([prompt])
        out = self.network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            eos_token_id=self.chat.eos_id,
            pad_token_id=self.chat.eos_id,
        )[0, len(prompt) :].tolist()
        return Completion(self.chat.decode(out), tuple(out), (0.0,) * len(out), "stop", prompt_tokens=len(prompt))

    async def score(self, messages: Sequence[Message], candidates: Sequence[str]) -> list[float]:
        """Raise `TypeError`: scores are not part of the comparison."""
        raise TypeError("PlainGenerate supports only complete, not score")


@dataclass(frozen=True)
class RolloutSpeed:
    """Results of one run."""

    batched: float
    """Episodes per second in parallel."""
    plain: float
    """Episodes per second one at a time."""
    overhead: float
    """Fraction of the batched wall time spent in neither model nor environment."""
    agreement: float
    """Fraction with the same actions among the episodes that are played in both ways."""


def measure(model: Path | str, episodes: int, sample: int, parts: int = 3) -> RolloutSpeed:
    """Play `episodes` in parallel and `sample` of them one at a time, in `parts` alternating parts."""
    tasks = HouseholdEnv.tasks("valid_seen", episodes, seed=5).tasks
    batched_model, plain = LocalModel.load(model, slots=128), PlainGenerate(model)
    timing, plain_seconds = Timing(), 0.0
    fast: dict[str, Trajectory] = {}
    slow: dict[str, Trajectory] = {}
    for part in range(parts):
        part_tasks = tasks[part::parts]
        fast |= _play(batched_model, part_tasks, timing, at_once=128)
        start = time.perf_counter()
        slow |= _play(plain, part_tasks[: sample // parts], Timing(), at_once=1)
        plain_seconds += time.perf_counter() - start
    agreeing = sum([s.action for s in t.steps] == [s.action for s in fast[key].steps] for key, t in slow.items())
    return RolloutSpeed(len(fast) / timing.wall, len(slow) / plain_seconds, timing.overhead, agreeing / len(slow))


def _play(model: Any, tasks: Sequence[Task], timing: Timing, at_once: int) -> dict[str, Trajectory]:
    agent = ReActAgent(model, ReActConfig(max_tokens=32))
    attempts = collect(HouseholdEnv, [Job(task, agent, 0) for task in tasks], at_once=at_once, timing=timing)
    return {trajectory.key: trajectory for trajectory in attempts}


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model folder (default: the household seed policy)")
    parser.add_argument("--episodes", type=positive, default=384, help="number of episodes in parallel, in three parts")
    parser.add_argument(
        "--sample", type=positive, default=12, help="number of these episodes that are also played one at a time"
    )
    options = parser.parse_args()
    if options.model is None:
        from ...loops.seeds.recipe import seed_model
        from ...loops.seeds.registry import recipe_of

        options.model = seed_model(recipe_of("household"))
    result = measure(options.model, options.episodes, options.sample)
    print(f"episodes/s, batched           {result.batched:8.2f}")
    print(f"episodes/s, model.generate    {result.plain:8.2f}")
    print(f"ratio                         {result.batched / result.plain:8.1f}  (at least 8)")
    print(f"overhead                      {100 * result.overhead:8.1f} % of the wall time (at most 5)")
    print(f"episodes with equal actions   {100 * result.agreement:8.0f} % of those played in both ways")


if __name__ == "__main__":
    run(main)
