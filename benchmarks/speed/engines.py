"""Time and memory of engines: `python -m kintsugi.benchmarks.speed.engines --model FOLDER`.

Three engines play the same greedy episodes, each in a separate process:

    kintsugi    `LocalModel`: all episodes at once; a growing chat is read only once
    generate    `model.generate`, one episode at a time; the whole chat is read again at every turn
    continuous  transformers' continuous batching, all episodes at once, with paged keys and values and shared prefixes
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...agents.models.batching import Batcher
from ...agents.models.core import Completion, Message, Sampling
from ...agents.models.local import LocalModel
from ...agents.react import ReActAgent, ReActConfig
from ...agents.rollout import Job, collect
from ...envs.registry import EnvSpec
from ...errors import InfraError
from ..scripts import positive, run
from .rollouts import PlainGenerate

ENGINES = ("kintsugi", "generate", "continuous")


class ContinuousBatching(PlainGenerate):
    """All pending chats together through `model.generate_batch`, whose pages are kept between calls."""

    def __init__(self, model: Path | str, tokens: int) -> None:
        """Load the model; `tokens` is the number of tokens that the pages can hold."""
        super().__init__(model)
        self._tokens = tokens
        self._batcher: Batcher[tuple[list[int], int], Completion] = Batcher(self._run_batch)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Complete the chat greedily, whatever `sampling.temperature` is."""
        prompt = self.chat.encode(messages, generate=True).ids
        return await self._batcher.submit((prompt, sampling.max_tokens))

    def _run_batch(self, batch: Sequence[tuple[list[int], int]]) -> list[Completion]:
        from transformers import GenerationConfig
        from transformers.generation.configuration_utils import ContinuousBatchingConfig

        page = 64
        network: Any = self.network
        found = network.generate_batch(
            [prompt for prompt, _ in batch],
            generation_config=GenerationConfig(
                max_new_tokens=batch[0][1],
                do_sample=False,
                eos_token_id=self.chat.eos_id,
                pad_token_id=self.chat.eos_id,
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=page, num_blocks=-(-self._tokens // page), max_batch_tokens=2048
            ),
            persistent_manager=True,
            warmup=False,
        )
        outputs = sorted(found.values(), key=lambda output: int(output.request_id.rpartition("_")[2]))
        completions = []
        for (prompt, _), output in zip(batch, outputs, strict=True):
            if output.error:
                raise InfraError(f"transformers' continuous batching failed: {output.error}")
            ids = list(output.generated_tokens)
            completions.append(
                Completion(self.chat.decode(ids), tuple(ids), (0.0,) * len(ids), "stop", prompt_tokens=len(prompt))
            )
        return completions


@dataclass(frozen=True)
class EngineResult:
    """What one engine did."""

    engine: str
    seconds: float
    """Wall time of the episodes, without loading the model."""
    cpu_seconds: float
    """CPU time of the episodes, of all threads."""
    episodes: int
    tokens: int
    """Sampled tokens."""
    cached_tokens: int
    """Tokens of all chats at their ends, whose keys and values a cache has to hold."""
    loaded_bytes: int
    """Peak memory of the process once the model was loaded."""
    peak_bytes: int
    """Peak memory of the process."""
    actions: list[list[str]]
    """Actions by episode."""


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(engine: str, model: Path | str, episodes: int, turns: int, tokens: int) -> EngineResult:
    """Play the episodes in this process.

    Args:
        engine: One of `ENGINES`.
        model: Model folder.
        episodes: Number of episodes; all engines but `generate` play them at once.
        turns: Turns after which an episode is cut.
        tokens: Maximum number of tokens of a turn.
    """
    env = EnvSpec("household", {"max_steps": turns})
    made: Any
    if engine == "kintsugi":
        made = LocalModel.load(model, slots=episodes)
    elif engine == "generate":
        made = PlainGenerate(model)
    else:
        made = ContinuousBatching(model, 2048 * episodes)
    loaded = peak_bytes()
    agent = ReActAgent(made, ReActConfig(max_tokens=tokens))
    jobs = [Job(task, agent, 0) for task in env.tasks("valid_seen", episodes, seed=5)]
    start, cpu_start = time.perf_counter(), time.process_time()
    attempts = collect(env.make, jobs, at_once=1 if engine == "generate" else episodes)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    chats = [chat for attempt in attempts for chat in agent.chats(attempt)]
    return EngineResult(
        engine,
        seconds,
        cpu_seconds,
        len(attempts),
        sum(step.sampled_tokens for attempt in attempts for step in attempt.steps),
        sum(len(made.chat.encode(chat, generate=False).ids) for chat in chats),
        loaded,
        peak_bytes(),
        [[step.action for step in attempt.steps] for attempt in attempts],
    )


def in_own_process(engine: str, options: argparse.Namespace) -> EngineResult:
    """Return the result of one engine, measured in a new process.

    Raises:
        InfraError: The process failed.
    """
    flags = {name: getattr(options, name) for name in ("model", "episodes", "turns", "tokens")}
    arguments = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", f"{__package__}.engines", "--engine", engine, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise InfraError(f"engine {engine!r} ended with exit code {done.returncode}; its error is above")
    return EngineResult(**json.loads(done.stdout.splitlines()[-1]))


def cache_bytes_per_token(model: str) -> int:
    """Return the bytes of the keys and values of one token."""
    from ...agents.models.weights import load_config

    config = load_config(model).get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * torch.float32.itemsize)


def main() -> None:
    """Measure the engines and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--episodes", type=positive, default=32, help="number of episodes (%(default)s)")
    parser.add_argument("--turns", type=positive, default=6, help="turns of each episode (%(default)s)")
    parser.add_argument("--tokens", type=positive, default=32, help="maximum tokens of a turn (%(default)s)")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(
            json.dumps(asdict(measure(options.engine, options.model, options.episodes, options.turns, options.tokens)))
        )
        return
    results = {engine: in_own_process(engine, options) for engine in options.engines}
    per_token, first = cache_bytes_per_token(options.model), next(iter(results.values()))
    columns = ("episodes/s", "CPU s each", "tokens/s", "peak GB", "of model + cache", "equal actions")
    print(f"{'engine':12}", *(f"{column:>{len(column) + 2}}" for column in columns))
    for engine, found in results.items():
        live = found.loaded_bytes + per_token * found.cached_tokens
        equal = sum(a == b for a, b in zip(found.actions, first.actions, strict=True)) / len(first.actions)
        cells = (
            f"{found.episodes / found.seconds:.3f}",
            f"{found.cpu_seconds / found.episodes:.2f}",
            f"{found.tokens / found.seconds:.1f}",
            f"{found.peak_bytes / 1e9:.2f}",
            f"{found.peak_bytes / live:.2f} x",
            f"{100 * equal:.0f} %",
        )
        print(f"{engine:12}", *(f"{cell:>{len(column) + 2}}" for cell, column in zip(cells, columns, strict=True)))


if __name__ == "__main__":
    run(main)
