"""Speed of rollouts: `python -m kintsugi.benchmarks.speed.rollouts`.

The same episodes, greedy, in one run and interleaved: all at once through `collect`, and one at a time through plain
`model.generate`, which reads the whole chat anew at every turn as most harnesses do.
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
from ...agents.models.core import Completion, Message, Sampling
from ...agents.models.local import LocalModel
from ...agents.models.weights import load_base
from ...agents.react import ReActAgent, ReActConfig
from ...agents.rollout import Job, Timing, collect
from ...agents.trajectory import Trajectory
from ...envs.core import Task
from ...envs.household import HouseholdEnv
from ..scripts import positive, run


class PlainGenerate:
    """One chat at a time through `model.generate`: the way that ours is held against."""

    def __init__(self, model: Path | str) -> None:
        self.network, tokenizer = load_base(model)
        self.network.eval()
        self.chat = ChatEncoder(tokenizer)
        self.version = "plain generate"

    @torch.inference_mode()
    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Greedy, whatever `sampling.temperature` is."""
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
        """Not part of the comparison."""
        raise TypeError("plain generate only completes")


@dataclass(frozen=True)
class Compared:
    """What one run measured."""

    batched: float
    """Episodes a second, all at once."""
    plain: float
    """Episodes a second, one at a time."""
    overhead: float
    """Share of the batched wall time that was neither model nor environment."""
    agreement: float
    """Share of the episodes played both ways whose actions were the same throughout."""


def measure(model: Path | str, episodes: int, sample: int, rounds: int = 3) -> Compared:
    """`episodes` at once against `sample` of the same one at a time, in `rounds` alternating parts."""
    tasks = HouseholdEnv.tasks("valid_seen", episodes, seed=5).tasks
    ours, plain = LocalModel.load(model, slots=128), PlainGenerate(model)
    timing, plain_seconds = Timing(), 0.0
    fast: dict[str, Trajectory] = {}
    slow: dict[str, Trajectory] = {}
    for part in range(rounds):
        mine = tasks[part::rounds]
        fast |= _play(ours, mine, timing, at_once=128)
        start = time.perf_counter()
        slow |= _play(plain, mine[: sample // rounds], Timing(), at_once=1)
        plain_seconds += time.perf_counter() - start
    same = sum([s.action for s in t.steps] == [s.action for s in fast[key].steps] for key, t in slow.items())
    return Compared(len(fast) / timing.wall, len(slow) / plain_seconds, timing.overhead, same / len(slow))


def _play(model: Any, tasks: Sequence[Task], timing: Timing, at_once: int) -> dict[str, Trajectory]:
    agent = ReActAgent(model, ReActConfig(max_tokens=32))
    found = collect(HouseholdEnv, [Job(task, agent, 0) for task in tasks], at_once=at_once, timing=timing)
    return {trajectory.key: trajectory for trajectory in found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model folder; the household seed policy when not given")
    parser.add_argument("--episodes", type=positive, default=384, help="played at once, a third at a time")
    parser.add_argument("--sample", type=positive, default=12, help="of these, played one at a time as well")
    wanted = parser.parse_args()
    if wanted.model is None:
        from ...loops.seeds.recipe import seed_model
        from ...loops.seeds.registry import recipe_of

        wanted.model = seed_model(recipe_of("household"))
    found = measure(wanted.model, wanted.episodes, wanted.sample)
    print(f"episodes/s, batched           {found.batched:8.2f}")
    print(f"episodes/s, model.generate    {found.plain:8.2f}")
    print(f"ratio                         {found.batched / found.plain:8.1f}  (at least 8)")
    print(f"harness overhead              {100 * found.overhead:8.1f} % of the wall time (at most 5)")
    print(f"same actions throughout       {100 * found.agreement:8.0f} % of the episodes played both ways")


if __name__ == "__main__":
    run(main)
