"""Environment and agent of one search: return to any node of the tree and try turns from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from ...envs.core import AgentEnv, Snapshot
from ...errors import InfraError, TooLongError, UsageError
from .. import env_calls
from ..core import Agent, Episode
from ..models.core import Critic, Message, Usage, derived_seed
from ..rollout import Job, Timing, gather_or_cancel
from ..trajectory import Outcome, Step
from .tree import Node, SearchUsage

T = TypeVar("T")


class ValueModel(Protocol):
    """Predicts the final score of an unfinished episode."""

    @property
    def version(self) -> str:
        """Identifier of the weights; stored with each tree."""
        ...

    async def value(self, episode: Episode) -> float:
        """Return the predicted final score, in [0, 1].

        The result must depend on the episode only, not on other episodes in the same batch.

        Args:
            episode: The episode so far.
        """
        ...

    def usage(self) -> Usage:
        """Return the usage so far."""
        ...


class PromptingAgent(Agent, Protocol):
    """An agent that can return its next prompt, for a value model to read."""

    def prompt(self, episode: Episode) -> list[Message]:
        """Return the chat that the agent's model completes next."""
        ...


@dataclass(frozen=True)
class PromptValue:
    """A `ValueModel` that passes the agent's next prompt to a critic."""

    critic: Critic
    agent: PromptingAgent

    @property
    def version(self) -> str:
        """Version of the critic."""
        return self.critic.version

    async def value(self, episode: Episode) -> float:
        """See `ValueModel.value`."""
        return await self.critic.value(self.agent.prompt(episode))

    def usage(self) -> Usage:
        """Return the usage of the critic."""
        return self.critic.usage()


@dataclass
class SearchStats(Timing):
    """Cost of all searches in this process. Unlike `SearchUsage`, it includes resuming and restoring environments."""

    trees: int = 0
    nodes: int = 0
    """Nodes created by this process, not read from a log."""
    restores: int = 0
    """How often an environment was restored to a node."""
    replayed_steps: int = 0
    """Actions played again to restore replay snapshots and to resume."""

    def __str__(self) -> str:
        share = 100 * (1 - self.model / self.wall) if self.wall else 0.0
        return (
            f"{self.trees} trees, {self.nodes} nodes in {self.wall:.1f} s (model {self.model:.1f} s, environment "
            f"{self.env:.1f} s, outside models {share:.1f} %); {self.restores} restores, which replayed "
            f"{self.replayed_steps} actions"
        )


@dataclass(frozen=True)
class NodeState:
    """State of environment and agent at a node, from which the search can continue."""

    snapshot: Snapshot | None
    """None if the episode has ended."""
    episode: Episode
    """The agent's episode. Candidates are sampled in forks of it."""

    @property
    def has_memory(self) -> bool:
        """Whether the agent keeps notes or a reflection, so that the steps alone do not restore the episode."""
        return bool(self.episode.notes) or self.episode.reflection is not None


class SearchEnv:
    """One environment that plays one task, and the agent that acts in it.

    Args:
        env: The environment. It must not be used elsewhere meanwhile.
        job: Task, agent and seed.
        max_depth: Turns after which an episode counts as truncated; None means no limit.
        value: Value model that estimates new nodes, or None.
        retries: Maximum number of repetitions of an operation after an `InfraError`.
        stats: Cost counters to add to.
    """

    def __init__(
        self, env: AgentEnv, job: Job, max_depth: int | None, value: ValueModel | None, retries: int, stats: SearchStats
    ) -> None:
        self.env, self.job, self.max_depth, self.value, self.retries = env, job, max_depth, value, retries
        self.stats = stats
        self.replays = env.metadata.get("snapshot") != "exact"
        self._current: NodeState | None = None

    def begin(self) -> tuple[Node, NodeState]:
        """Reset the environment and return the root. Raises `InfraError` if all retries fail."""

        def reset() -> tuple[str, dict[str, Any]]:
            return env_calls.reset(self.env, self.job.task)

        observation, info = self._retry(reset)
        node = Node(-1, None, observation, score=_score(info, False))
        return node, self._node_state(node, Episode(self.job.task, observation, info, self.job.seed))

    def rebuild(self, parent_state: NodeState, node: Node) -> NodeState:
        """Return the state of a node that an earlier process found, by replaying its step from the parent's state.

        Raises:
            UsageError: If observation or outcome differ from those of the node.
        """
        assert node.step is not None
        self.stats.replayed_steps += 1
        step, parent = node.step, node.parent
        # The chat is emptied because the agent rebuilds it from the steps.
        found, state = self._retry(
            lambda: self._play(parent_state, step, replace(parent_state.episode.fork(self.job.seed), chat=[]), parent)
        )
        if (found.observation, found.outcome) != (node.observation, node.outcome):
            raise UsageError(
                f"task {self.job.task.id!r}: replaying the action {node.step.action!r} gave the observation "
                f"{found.observation[:80]!r}; expected {node.observation[:80]!r} as in the stored tree: the "
                "environment has changed or is not deterministic, so use a new run folder"
            )
        return state

    async def try_candidates(
        self, at: NodeState, parent: int, n: int, *stream: object
    ) -> tuple[list[tuple[Node, NodeState]], SearchUsage]:
        """Sample candidates at a node and play each distinct action once.

        Args:
            at: State of the node.
            parent: Number of the node.
            n: Number of candidates to sample.
            *stream: Names the random stream of the candidates.

        Returns:
            The new nodes with their states, in the order of sampling, and the cost.

        Raises:
            InfraError: If all retries fail, or the chat at a node below the root exceeds the model's window.
        """
        for attempt in range(self.retries + 1):
            try:
                return await self._try_once(at, parent, n, stream)
            except TooLongError as error:
                if not at.episode.steps:
                    raise
                # One long text of the world ends its own search only; at the root, the window is too small.
                raise InfraError(str(error)) from error
            except InfraError as error:
                self._current = None
                if attempt == self.retries or isinstance(error, env_calls.RefusedError):
                    raise
        raise AssertionError("unreachable")

    async def _try_once(
        self, at: NodeState, parent: int, n: int, stream: tuple[object, ...]
    ) -> tuple[list[tuple[Node, NodeState]], SearchUsage]:
        forks = [at.episode.fork(derived_seed(self.job.seed, *stream, i)) for i in range(n)]
        steps = await gather_or_cancel([self.job.agent.act(fork) for fork in forks])
        indices_of: dict[str, list[int]] = {}
        for i, step in enumerate(steps):
            indices_of.setdefault(step.action.strip(), []).append(i)
        read = sum(fork.prompt_tokens for fork in forks)
        reflected = [] if at.episode.reflection else [fork.reflection for fork in forks if fork.reflection]
        found = [
            self._play(at, steps[indices[0]], forks[indices[0]], parent, len(indices))
            for indices in indices_of.values()
        ]
        usage = SearchUsage(
            model_calls=n,
            env_steps=len(found),
            sampled_tokens=sum(step.sampled_tokens for step in [*steps, *reflected]),
            read_tokens=read,
        )
        if self.value is None:
            return found, usage
        return await self._with_estimates(found), usage + SearchUsage(
            model_calls=sum(not node.ends for node, _ in found)
        )

    async def _with_estimates(self, found: list[tuple[Node, NodeState]]) -> list[tuple[Node, NodeState]]:
        """Add the value model's estimates to the nodes that are not terminal."""
        assert self.value is not None
        asked = [self.value.value(state.episode) for node, state in found if not node.ends]
        values = iter(await gather_or_cancel(asked))
        return [(node if node.ends else replace(node, estimate=next(values)), state) for node, state in found]

    def _play(
        self, at: NodeState, step: Step, fork: Episode, parent: int, sampled_count: int = 1
    ) -> tuple[Node, NodeState]:
        """Play one step from a node state. `fork` is the agent's episode in which the step was sampled."""
        self._restore(at)
        start = time.perf_counter()
        self._current = None
        observation, reward, done, truncated, info = env_calls.step(self.env, step.action)
        step = replace(
            step,
            observation=at.episode.observation,
            reward=reward,
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
        node = Node(parent, step, observation, outcome, _score(info, done), sampled_count=sampled_count)
        return node, self._node_state(node, fork)

    def _node_state(self, node: Node, episode: Episode) -> NodeState:
        """Take a snapshot of the environment, which has just reached `node`."""
        start = time.perf_counter()
        with env_calls.named_errors(self.env, "snapshot"):
            state = NodeState(None if node.ends else self.env.snapshot(), episode)
        self.stats.env += time.perf_counter() - start
        self._current = None if node.ends else state
        return state

    def _restore(self, at: NodeState) -> None:
        """Restore the environment to a node state, unless it is already there."""
        if self._current is at:
            return
        assert at.snapshot is not None
        self._current = None
        start = time.perf_counter()
        with env_calls.named_errors(self.env, "restore"):
            self.env.restore(at.snapshot)
        self.stats.env += time.perf_counter() - start
        self.stats.restores += 1
        self.stats.replayed_steps += at.snapshot.steps if self.replays else 0
        self._current = at

    def _retry(self, act: Callable[[], T]) -> T:
        """Call `act`, and repeat it up to `retries` times after an `InfraError`."""
        for _ in range(self.retries):
            try:
                return act()
            except env_calls.RefusedError:
                raise
            except InfraError:
                continue
        return act()


def _score(info: dict[str, Any], done: bool) -> float:
    """Return the score in `info`, clipped to [0, 1]. Without one, a success counts as 1 and everything else as 0."""
    return min(1.0, max(0.0, float(info.get("score", done and bool(info.get("success"))))))
