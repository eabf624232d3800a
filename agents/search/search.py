"""Tree search over any `AgentEnv`. Many trees grow in parallel, and their model calls are batched.

A tree depends only on its task, agent, seed and search configuration (`Uct` or `MctsStar`), not on the number of
parallel trees or on interruptions. This requires that each turn of the agent is a function of the episode and its seed.
A `LocalModel` guarantees this bit for bit if it is loaded with `exact=True`.

A tree grows batch by batch. A batch holds one request of each active descent. Its requests are carried out
concurrently, and their results are added in the order of the descents.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...envs.core import AgentEnv
from ...errors import InfraError, UsageError
from ..core import version_of
from ..env_calls import RefusedError
from ..rollout import Job, gather_or_cancel, models_of, run_sync, total_usage
from .search_env import NodeState, SearchEnv, SearchStats, ValueModel
from .strategy import ROOT, Descent, Expand, GreedyRollout, Request, SearchConfig, TreeBuilder
from .tree import Node, SearchTree, SearchUsage, StopReason, node_to_json
from .tree_log import BufferedTreeLog, RecordedResults, RequestResult, TreeLog, check_same_settings, tree_from_parts


def search(
    make_env: Callable[[], AgentEnv], jobs: Sequence[Job], config: SearchConfig, **options: Any
) -> list[SearchTree]:
    """Search one tree per job. Blocks until all trees are finished.

    Args:
        make_env: Returns a new environment; called once per parallel tree.
        jobs: Task, agent, seed and sample of each tree.
        config: The search policy and its settings, `Uct` or `MctsStar`.
        **options: Further arguments of `search_async`.

    Returns:
        The finished trees, in the order of `jobs`.
    """
    return run_sync(search_async(make_env, jobs, config, **options))


async def search_async(
    make_env: Callable[[], AgentEnv],
    jobs: Sequence[Job],
    config: SearchConfig,
    *,
    value: ValueModel | None = None,
    log: TreeLog | None = None,
    at_once: int = 32,
    retries: int = 2,
    stats: SearchStats | None = None,
) -> list[SearchTree]:
    """Search one tree per job.

    Args:
        make_env: Returns a new environment; called once per parallel tree.
        jobs: Task, agent, seed and sample of each tree. Several trees of one task need different samples.
        config: The search policy and its settings, `Uct` or `MctsStar`.
        value: Value model that estimates the final score at each node. Required by `MctsStar`, not accepted by `Uct`.
        log: Log that trees are written to as they grow. Unfinished trees in it are continued, and finished ones are
            returned without a new search.
        at_once: Number of trees that grow in parallel, each in its own environment.
        retries: Maximum number of repetitions of an operation after an `InfraError`. If all fail, the tree ends with
            the stop reason `infra_error` and keeps the nodes found so far; a task that cannot even be started leaves
            an empty root. Any other exception ends all searches.
        stats: Cost counters to add to.

    Returns:
        The finished trees, in the order of `jobs`.

    Raises:
        UsageError: If arguments do not fit together, if a tree in the log was started with different settings, or if
            the environment refuses every task.
        InfraError: If no task can be started.
    """
    _check_arguments(jobs, config, value, at_once)
    buffer, stats = BufferedTreeLog(log), stats if stats is not None else SearchStats()
    trees: dict[int, SearchTree] = {}
    not_started: list[tuple[_TreeSearch, InfraError]] = []
    queue = iter(enumerate(jobs))

    async def work(env: AgentEnv) -> None:
        for number, job in queue:
            search_env = SearchEnv(env, job, config.max_depth, value, retries, stats)
            tree_search = _TreeSearch(search_env, config, buffer)
            trees[number] = await tree_search.run()
            stats.trees += 1
            if tree_search.failed_start:
                not_started.append((tree_search, tree_search.failed_start))

    models = [*models_of(jobs), *([value] if value else [])]
    start, busy = time.perf_counter(), total_usage(models).seconds
    with contextlib.ExitStack() as closing:
        envs = [closing.enter_context(contextlib.closing(make_env())) for _ in range(min(at_once, len(jobs)))]
        try:
            await gather_or_cancel(list(map(work, envs)))
            # One task that cannot be started ends its own tree. If none can be, nothing is stored: mend and run again.
            if not_started and len(not_started) == len(jobs):
                cause = _cause(not_started[0][1])
                raise cause
            for tree_search, failure in not_started:
                tree_search.store_failed_start(failure)
        finally:
            buffer.flush()
            stats.wall += time.perf_counter() - start
            stats.model += total_usage(models).seconds - busy
    if log:
        log.close(asdict(stats))
    return [trees[number] for number in range(len(jobs))]


def _cause(failure: InfraError) -> InfraError | UsageError:
    return failure.refusal if isinstance(failure, RefusedError) else failure


def _check_arguments(jobs: Sequence[Job], config: SearchConfig, value: ValueModel | None, at_once: int) -> None:
    """Raise `UsageError` if the arguments of a search do not fit together."""
    if at_once < 1:
        raise UsageError(f"at_once is {at_once}; expected at least 1")
    if config.needs_value_model != (value is not None):
        raise UsageError(
            f"{type(config).__name__} {'needs' if config.needs_value_model else 'does not use'} a value model; "
            f"{'pass' if config.needs_value_model else 'leave out'} `value`"
        )
    keys = Counter(map(tree_key, jobs))
    if twice := [key for key, count in keys.items() if count > 1]:
        raise UsageError(
            f"two jobs have the key {twice[0]!r}; expected different keys: give each job of a task another `sample`"
        )


@dataclass
class _PendingDescent:
    """A descent that waits for the result of a request."""

    descent: Descent
    request: Request


class _TreeSearch:
    """The search of one tree."""

    def __init__(self, search_env: SearchEnv, config: SearchConfig, buffer: BufferedTreeLog) -> None:
        self.search_env, self.config, self.buffer, self.job = search_env, config, buffer, search_env.job
        self.key = tree_key(search_env.job)
        self.usage = SearchUsage()
        self.node_states: dict[int, NodeState] = {}
        self.failed_start: InfraError | None = None
        """What prevented the first observation."""

    async def run(self) -> SearchTree:
        """Return the finished tree from the log, or search it."""
        parts = self.buffer.read(self.key)
        if (done := tree_from_parts(parts)) is not None:
            check_same_settings(self.key, parts[0], self._begin_part(parts[0]["begin"]["root"], done.goal))
            return done
        try:
            self._start(parts)
        except InfraError as broken:
            if parts:
                raise _cause(broken) from broken
            self.failed_start, self.builder = broken, TreeBuilder(self.job.seed, Node(-1, None, ""))
            return self._tree("infra_error", str(broken))
        try:
            ended, error = await self._descents(), None
        except InfraError as broken:
            ended, error = "infra_error", str(broken)
        self._write_end(ended, error)
        return self._tree(ended, error)

    def store_failed_start(self, failure: InfraError) -> None:
        """Store the tree of a task that could not be started."""
        self.parts = 0
        self._write(self._begin_part(node_to_json(self.builder.nodes[ROOT]), ""))
        self._write_end("infra_error", str(failure))

    def _write_end(self, ended: StopReason, error: str | None) -> None:
        visits, values = tuple(self.builder.visits), tuple(self.builder.values)
        self._write({"end": {"ended": ended, "error": error, "visits": visits, "values": values}})

    def _tree(self, ended: StopReason, error: str | None) -> SearchTree:
        return SearchTree(
            task=self.job.task,
            model=version_of(self.job.agent),
            agent=self.job.agent.name,
            made_by=self.job.agent.spec,
            seed=self.job.seed,
            nodes=tuple(self.builder.nodes),
            visits=tuple(self.builder.visits),
            values=tuple(self.builder.values),
            ended=ended,
            usage=self.usage,
            sample=self.job.sample,
            goal=self.node_states[ROOT].episode.goal if ROOT in self.node_states else "",
            error=error,
        )

    def _start(self, parts: Sequence[Any]) -> None:
        """Reset the environment, and create the root or load the stored parts of the tree."""
        root, self.node_states[ROOT] = self.search_env.begin()
        begin = self._begin_part(node_to_json(root), self.node_states[ROOT].episode.goal)
        self.recorded, self.parts = RecordedResults(self.key, parts, root), len(parts)
        self.builder = TreeBuilder(self.job.seed, root)
        if parts:
            check_same_settings(self.key, parts[0], begin)
        else:
            self._write(begin)

    def _begin_part(self, root: Any, goal: str) -> dict[str, Any]:
        """Return the first part of the stored tree: root and settings."""
        job, value = self.job, self.search_env.value
        made_by = asdict(job.agent.spec) if job.agent.spec else None
        about: dict[str, Any] = {"task": asdict(job.task), "seed": job.seed, "sample": job.sample}
        about |= {"agent": job.agent.name, "model": version_of(job.agent), "made_by": made_by}
        about |= {"value": value.version if value else None, "goal": goal, "root": root}
        return {"begin": {**about, "search": {"policy": type(self.config).__name__, **asdict(self.config)}}}

    def _write(self, part: Any) -> None:
        self.buffer.write(self.key, self.parts, part)
        self.parts += 1

    # -- Descents -------------------------------------------------------------------------------------------------

    async def _descents(self) -> StopReason:
        """Make all descents, `parallel` at a time, and return why the search stopped."""
        descents, closed = deque(range(self.config.iterations)), self.builder.closed
        in_flight: list[_PendingDescent] = []
        out_of_budget = False
        while in_flight or (descents and not out_of_budget and not closed[ROOT]):
            while descents and len(in_flight) < self.config.parallel and not out_of_budget and not closed[ROOT]:
                in_flight += self._advance(self.config.descend(self.builder, descents.popleft()), None)
            sizes = self._allot_budget([pending.request for pending in in_flight])
            out_of_budget = out_of_budget or 0 in sizes.values()
            in_flight = [pending for pending in in_flight if sizes[pending.request] or self._abandon(pending)]
            best = await self._answer_requests({request: size for request, size in sizes.items() if size})
            if self._solved():
                return "solved"
            answered, in_flight = in_flight, []
            for pending in answered:
                self.builder.add_virtual_visits(pending.request.node, -1)
                in_flight += self._advance(pending.descent, best[pending.request])
        if out_of_budget:
            return "budget"
        return "exhausted" if closed[ROOT] else "iterations"

    def _advance(self, descent: Descent, result: float | None) -> list[_PendingDescent]:
        """Run a descent up to its next request. Return an empty list if it has finished."""
        try:
            request = next(descent) if result is None else descent.send(result)
        except StopIteration:
            return []
        self.builder.add_virtual_visits(request.node, 1)
        return [_PendingDescent(descent, request)]

    def _abandon(self, pending: _PendingDescent) -> bool:
        """End a descent that the budget does not allow to continue. Returns False, for use as a filter."""
        self.builder.add_virtual_visits(pending.request.node, -1)
        pending.descent.close()
        return False

    def _allot_budget(self, requests: Sequence[Request]) -> dict[Request, int]:
        """Return how much of each request the budget allows: candidates of an expansion, turns of a rollout.

        0 means that the request cannot be carried out. Costs are reserved in order and assume that all candidates
        differ, so the budget is never exceeded.
        """
        calls = 1 + self.config.needs_value_model
        left = [
            math.inf if limit is None else limit - usage
            for limit, usage in (
                (self.config.model_calls, self.usage.model_calls),
                (self.config.env_steps, self.usage.env_steps),
            )
        ]
        sizes: dict[Request, int] = {}
        for request in dict.fromkeys(requests):
            wanted, each = (
                (self.config.candidates, 1) if isinstance(request, Expand) else (request.steps, request.branch)
            )
            size = sizes[request] = int(min(wanted, left[0] // (calls * each), left[1] // each))
            left = [left[0] - size * calls * each, left[1] - size * each]
        return sizes

    async def _answer_requests(self, sizes: Mapping[Request, int]) -> dict[Request, float]:
        """Answer requests from the log, carry out the others concurrently, and add all results in order."""
        best: dict[Request, float] = {}
        stored: dict[Request, RequestResult] = {}
        for request in sizes:
            if (known := self.recorded.next(request)) is None:
                break
            stored[request] = known
        if not self.recorded.has_memory:
            best = {request: self._apply_result(request, result, ()) for request, result in stored.items()}
        live = [request for request in sizes if request not in best]
        for request, (result, node_states) in zip(
            live, await gather_or_cancel([self._perform(request, sizes[request]) for request in live]), strict=True
        ):
            best[request] = self._apply_result(request, result, node_states)
            if request in stored:
                self.recorded.check_same(request, stored[request], result)
                continue
            if self.buffer.log:
                self._write(result.part(request))
            self.search_env.stats.nodes += len(result.nodes)
        return best

    def _apply_result(self, request: Request, result: RequestResult, node_states: Sequence[NodeState]) -> float:
        """Add the cost and the new nodes of a result. Return the best value of a rollout."""
        self.usage += result.usage
        if isinstance(request, Expand):
            children = self.builder.add_children(request.node, result.nodes)
            self.node_states.update(zip(children, node_states, strict=False))
            self.config.on_expanded(self.builder, children)
        return result.best

    def _solved(self) -> bool:
        stop_score = self.config.stop_score
        return stop_score is not None and any(node.ends and node.score >= stop_score for node in self.builder.nodes)

    # -- Environment and agent ------------------------------------------------------------------------------------

    async def _perform(self, request: Request, size: int) -> tuple[RequestResult, list[NodeState]]:
        """Expand a node or roll out from it. Return the result and the states of new children."""
        at = self._node_state(request.node)
        if isinstance(request, GreedyRollout):
            return await self._rollout(at, request, size), []
        found, usage = await self.search_env.try_candidates(at, request.node, size, "candidate", request.node)
        result = RequestResult(
            tuple(node for node, _ in found), 0.0, usage, any(state.has_memory for _, state in found)
        )
        return result, [state for _, state in found]

    async def _rollout(self, at: NodeState, request: GreedyRollout, steps: int) -> RequestResult:
        """Play on from a node state for at most `steps` turns, always with the candidate of the highest value."""
        best, usage = 0.0, SearchUsage()
        for number in range(steps):
            found, cost = await self.search_env.try_candidates(
                at, request.node, request.branch, "roll", request.node, number
            )
            usage += cost
            node, at = max(found, key=lambda pair: _node_value(pair[0]))
            best = max(best, _node_value(node))
            if node.ends:
                break
        return RequestResult((), best, usage)

    def _node_state(self, number: int) -> NodeState:
        """Return the state of a node. If an earlier process found the node, replay its step from the parent's state."""
        if number not in self.node_states:
            node = self.builder.nodes[number]
            self.node_states[number] = self.search_env.rebuild(self._node_state(node.parent), node)
        return self.node_states[number]


def _node_value(node: Node) -> float:
    """Return the final score of a terminal node, or the estimate of the value model."""
    return node.score if node.ends else node.estimate or 0.0


def tree_key(job: Job) -> str:
    """Return the key of a job's tree, as in `SearchTree.key`."""
    return f"{job.task.id}#{job.sample}"
