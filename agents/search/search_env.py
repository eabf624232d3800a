"""The world's side of a search: instants of one task's episode, come back to at will, and the turns tried from them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from ...envs.core import AgentEnv, Snapshot
from ...errors import InfraError, UsageError
from ..core import Agent, Episode
from ..models.core import Critic, Message, Usage, derived_seed
from ..rollout import Job, Timing, all_or_none
from ..trajectory import Outcome, Step
from .tree import Node, SearchUsage

T = TypeVar("T")


class ValueModel(Protocol):
    """Judges how well an episode stands."""

    @property
    def version(self) -> str:
        """Names the weights."""
        ...

    async def value(self, episode: Episode) -> float:
        """What the episode is likely to be worth in the end, in [0, 1]; the same whatever else is judged beside it."""
        ...

    def usage(self) -> Usage:
        """What it has done so far."""
        ...


class Prompting(Agent, Protocol):
    """An agent that can say what it would be shown next: what a value model reads."""

    def prompt(self, episode: Episode) -> list[Message]:
        """The chat that the agent would answer next."""
        ...


@dataclass(frozen=True)
class PromptValue:
    """A `ValueModel`: a critic that reads what the acting agent would be shown."""

    critic: Critic
    agent: Prompting

    @property
    def version(self) -> str:
        """The critic's."""
        return self.critic.version

    async def value(self, episode: Episode) -> float:
        """See `ValueModel.value`."""
        return await self.critic.value(self.agent.prompt(episode))

    def usage(self) -> Usage:
        """The critic's."""
        return self.critic.usage()


@dataclass
class SearchStats(Timing):
    """What many searches cost in this process. Unlike `SearchUsage` it also has what resuming and coming back cost."""

    trees: int = 0
    nodes: int = 0
    """Made now, not taken from a store."""
    restores: int = 0
    """How often an environment was brought back to an instant."""
    replayed_steps: int = 0
    """Actions that were played again for that: the price of environments without exact snapshots, and of resuming."""

    def __str__(self) -> str:
        share = 100 * (1 - self.model / self.wall) if self.wall else 0.0
        return (
            f"{self.trees} trees, {self.nodes} nodes in {self.wall:.1f} s (model {self.model:.1f} s, environment "
            f"{self.env:.1f} s, not model {share:.1f} %); {self.restores} times back to an instant, for which "
            f"{self.replayed_steps} actions were played again"
        )


@dataclass(frozen=True)
class NodeState:
    """A point of the episode from which turns can be tried."""

    snapshot: Snapshot | None
    """None where the episode has ended."""
    episode: Episode
    """As the agent left it; turns are tried in forks of it."""

    @property
    def remembers(self) -> bool:
        """Whether the agent keeps what the steps do not say, so that the instant cannot be made again from them."""
        return bool(self.episode.notes) or self.episode.reflection is not None


class SearchEnv:
    """One environment, playing one task, and the agent that acts in it."""

    def __init__(
        self, env: AgentEnv, job: Job, max_depth: int | None, value: ValueModel | None, retries: int, stats: SearchStats
    ) -> None:
        self.env, self.job, self.max_depth, self.value, self.retries = env, job, max_depth, value, retries
        self.stats = stats
        self.replays = env.metadata.get("snapshot") != "exact"
        self._at: NodeState | None = None

    def begin(self) -> tuple[Node, NodeState]:
        """The root. Raises `InfraError` when the environment cannot begin, however often it is tried."""

        def reset() -> tuple[str, dict[str, Any]]:
            return self.env.reset(options={"task": self.job.task})

        observation, info = self._insisting(reset)
        node = Node(-1, None, observation, score=_score(info, False))
        return node, self._instant(node, Episode(self.job.task, observation, info, self.job.seed))

    def again(self, before: NodeState, node: Node) -> NodeState:
        """The instant of a node that was found in an earlier process, by playing its turn once more.

        Raises `UsageError` when that leads elsewhere than it did.
        """
        assert node.step is not None
        self.stats.replayed_steps += 1
        step, parent = node.step, node.parent
        # The chat as well: the agent makes it anew from the steps.
        found, instant = self._insisting(
            lambda: self._played(before, step, replace(before.episode.fork(self.job.seed), chat=[]), parent)
        )
        if (found.observation, found.outcome) != (node.observation, node.outcome):
            raise UsageError(
                f"task {self.job.task.id!r}: {node.step.action!r} was answered by {node.observation[:80]!r} when the "
                f"tree was begun and is by {found.observation[:80]!r} now; the environment has changed or is not "
                "deterministic: use a new run folder"
            )
        return instant

    async def tries(
        self, at: NodeState, parent: int, n: int, *stream: object
    ) -> tuple[list[tuple[Node, NodeState]], SearchUsage]:
        """Up to `n` candidates drawn, told apart by action, and played; `stream` names their random numbers.

        Repeated after an `InfraError`, which is raised when it happens each time.
        """
        for attempt in range(self.retries + 1):
            try:
                return await self._tries(at, parent, n, stream)
            except InfraError:
                self._at = None
                if attempt == self.retries:
                    raise
        raise AssertionError("unreachable")

    async def _tries(
        self, at: NodeState, parent: int, n: int, stream: tuple[object, ...]
    ) -> tuple[list[tuple[Node, NodeState]], SearchUsage]:
        forks = [at.episode.fork(derived_seed(self.job.seed, *stream, i)) for i in range(n)]
        said = await all_or_none([self.job.agent.act(fork) for fork in forks])
        drawn: dict[str, list[int]] = {}
        for i, step in enumerate(said):
            drawn.setdefault(step.action.strip(), []).append(i)
        read = sum(fork.prompt_tokens for fork in forks)
        reflected = [] if at.episode.reflection else [fork.reflection for fork in forks if fork.reflection]
        found = [self._played(at, said[same[0]], forks[same[0]], parent, len(same)) for same in drawn.values()]
        usage = SearchUsage(
            model_calls=n,
            env_steps=len(found),
            sampled_tokens=sum(step.sampled_tokens for step in [*said, *reflected]),
            read_tokens=read,
        )
        if self.value is None:
            return found, usage
        return await self._judged(found), usage + SearchUsage(model_calls=sum(not node.ends for node, _ in found))

    async def _judged(self, found: list[tuple[Node, NodeState]]) -> list[tuple[Node, NodeState]]:
        assert self.value is not None
        asked = [self.value.value(instant.episode) for node, instant in found if not node.ends]
        values = iter(await all_or_none(asked))
        return [(node if node.ends else replace(node, estimate=next(values)), instant) for node, instant in found]

    def _played(self, at: NodeState, step: Step, fork: Episode, parent: int, drawn: int = 1) -> tuple[Node, NodeState]:
        """Play one action from an instant; `fork` is the agent's episode with that turn taken."""
        self._restore(at)
        start = time.perf_counter()
        self._at = None
        observation, reward, done, truncated, info = self.env.step(step.action)
        step = replace(
            step,
            observation=at.episode.observation,
            reward=float(reward),
            invalid=info.get("invalid"),
            logprobs=None,
            calls=tuple(replace(call, logprobs=()) for call in step.calls),
        )
        fork.advance(step, observation, info)
        self.stats.env += time.perf_counter() - start
        outcome: Outcome | None = None
        if done:
            outcome = "success" if info.get("success") else "failure"
        elif truncated or (self.max_depth is not None and len(fork.steps) >= self.max_depth):
            outcome = "truncated"
        node = Node(parent, step, observation, outcome, _score(info, done), drawn=drawn)
        return node, self._instant(node, fork)

    def _instant(self, node: Node, episode: Episode) -> NodeState:
        start = time.perf_counter()
        instant = NodeState(None if node.ends else self.env.snapshot(), episode)
        self.stats.env += time.perf_counter() - start
        self._at = None if node.ends else instant
        return instant

    def _restore(self, at: NodeState) -> None:
        """Bring the environment to an instant, unless it is there."""
        if self._at is at:
            return
        assert at.snapshot is not None
        self._at = None
        start = time.perf_counter()
        self.env.restore(at.snapshot)
        self.stats.env += time.perf_counter() - start
        self.stats.restores += 1
        self.stats.replayed_steps += at.snapshot.steps if self.replays else 0
        self._at = at

    def _insisting(self, act: Callable[[], T]) -> T:
        for _ in range(self.retries):
            try:
                return act()
            except InfraError:
                continue
        return act()


def _score(info: dict[str, Any], done: bool) -> float:
    """What the environment says, in [0, 1]."""
    return min(1.0, max(0.0, float(info.get("score", done and bool(info.get("success"))))))
