"""Tree search over any `AgentEnv`: many trees at once, whose model calls are batched together.

A tree is a function of its task, agent, seed and search configuration (`Uct` or `MctsStar`): not of how many trees are
in flight, nor of where it was interrupted. For that the agent's turn has to be a function of the episode and its seed
alone; a `LocalModel` is one to the bit when it is loaded with `exact=True`.

A tree takes rounds: every descent in flight asks for something, all of it is asked of the world together, and the
answers are added in the order of the descents, whichever came first.
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
from ..rollout import Job, all_or_none, models_of, run_sync, usage_of
from .journal import Answer, Journal, Recorded, TreeLog, refuse_other, tree_of
from .search_env import NodeState, SearchEnv, SearchStats, ValueModel
from .strategy import ROOT, Ask, Descent, Expand, Roll, SearchConfig, TreeBuilder
from .tree import Ended, Node, SearchTree, SearchUsage, node_to_json


def search(
    make_env: Callable[[], AgentEnv], jobs: Sequence[Job], config: SearchConfig, **options: Any
) -> list[SearchTree]:
    """`search_async` for code without an event loop; inside a running one it works in its own thread."""
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
    """One tree per job (its task, agent, seed and sample), in their order; `at_once` are in flight, each in its own
    environment.

    With a log, trees are written to it as they grow, and those that are there are continued or taken as they are;
    `UsageError` is raised when they were begun otherwise.

    What an `InfraError` breaks is repeated up to `retries` times; then the tree ends as `infra_error` and is kept. Any
    other exception ends all searches; what was stored is kept. `MctsStar` needs `value`, and `Uct` takes none.
    """
    if at_once < 1:
        raise UsageError(f"at_once is {at_once}; at least 1 tree is searched at a time")
    if config.judged != (value is not None):
        raise UsageError(
            f"{type(config).__name__} {'judges instants: give it' if config.judged else 'judges nothing: leave out'} "
            "`value`"
        )
    keys = Counter(map(key_of, jobs))
    if twice := [key for key, count in keys.items() if count > 1]:
        raise UsageError(f"two jobs are of {twice[0]!r}; give each of several trees of a task a `sample` of its own")
    journal, stats = Journal(log), stats if stats is not None else SearchStats()
    trees: dict[int, SearchTree] = {}
    queue = iter(enumerate(jobs))

    async def work(env: AgentEnv) -> None:
        for number, job in queue:
            world = SearchEnv(env, job, config.max_depth, value, retries, stats)
            trees[number] = await _Search(world, config, journal).tree()
            stats.trees += 1

    models = [*models_of(jobs), *([value] if value else [])]
    start, busy = time.perf_counter(), usage_of(models).seconds
    with contextlib.ExitStack() as closing:
        envs = [closing.enter_context(contextlib.closing(make_env())) for _ in range(min(at_once, len(jobs)))]
        try:
            await all_or_none(list(map(work, envs)))
        finally:
            journal.flush()
            stats.wall += time.perf_counter() - start
            stats.model += usage_of(models).seconds - busy
    if log:
        log.close(asdict(stats))
    return [trees[number] for number in range(len(jobs))]


@dataclass
class _Flight:
    """A descent that waits for an answer."""

    descent: Descent
    ask: Ask


class _Search:
    """One tree's search."""

    def __init__(self, world: SearchEnv, config: SearchConfig, journal: Journal) -> None:
        self.world, self.config, self.journal, self.job = world, config, journal, world.job
        self.key = key_of(world.job)
        self.usage = SearchUsage()
        self.instants: dict[int, NodeState] = {}

    async def tree(self) -> SearchTree:
        """The tree: stored before, or searched now."""
        parts = self.journal.read(self.key)
        if (done := tree_of(parts)) is not None:
            refuse_other(self.key, parts[0], self._begin(parts[0]["begin"]["root"], done.goal))
            return done
        self._plant(parts)
        try:
            ended, error = await self._descents(), None
        except InfraError as broken:
            ended, error = "infra_error", str(broken)
        visits, values = tuple(self.growing.visits), tuple(self.growing.values)
        self._write({"end": {"ended": ended, "error": error, "visits": visits, "values": values}})
        return SearchTree(
            task=self.job.task,
            model=version_of(self.job.agent),
            agent=self.job.agent.name,
            made_by=self.job.agent.spec,
            seed=self.job.seed,
            nodes=tuple(self.growing.nodes),
            visits=visits,
            values=values,
            ended=ended,
            usage=self.usage,
            sample=self.job.sample,
            goal=self.instants[ROOT].episode.goal,
            error=error,
        )

    def _plant(self, parts: Sequence[Any]) -> None:
        """Begin the episode, and the tree or what is stored of it."""
        root, self.instants[ROOT] = self.world.begin()
        begin = self._begin(node_to_json(root), self.instants[ROOT].episode.goal)
        self.recorded, self.parts = Recorded(self.key, parts, root), len(parts)
        self.growing = TreeBuilder(self.job.seed, root)
        if parts:
            refuse_other(self.key, parts[0], begin)
        else:
            self._write(begin)

    def _begin(self, root: Any, goal: str) -> dict[str, Any]:
        job, value = self.job, self.world.value
        made_by = asdict(job.agent.spec) if job.agent.spec else None
        about: dict[str, Any] = {"task": asdict(job.task), "seed": job.seed, "sample": job.sample}
        about |= {"agent": job.agent.name, "model": version_of(job.agent), "made_by": made_by}
        about |= {"value": value.version if value else None, "goal": goal, "root": root}
        return {"begin": {**about, "search": {"policy": type(self.config).__name__, **asdict(self.config)}}}

    def _write(self, part: Any) -> None:
        self.journal.write(self.key, self.parts, part)
        self.parts += 1

    # -- rounds ---------------------------------------------------------------------------------------------------

    async def _descents(self) -> Ended:
        """Make the descents, `parallel` at a time, in rounds."""
        numbers, closed = deque(range(self.config.iterations)), self.growing.closed
        flying: list[_Flight] = []
        short = False
        while flying or (numbers and not short and not closed[ROOT]):
            while numbers and len(flying) < self.config.parallel and not short and not closed[ROOT]:
                flying += self._onward(self.config.descend(self.growing, numbers.popleft()), None)
            sizes = self._sizes([flight.ask for flight in flying])
            short = short or 0 in sizes.values()
            flying = [flight for flight in flying if sizes[flight.ask] or self._given_up(flight)]
            best = await self._round({ask: size for ask, size in sizes.items() if size})
            if self._solved():
                return "solved"
            landed, flying = flying, []
            for flight in landed:
                self.growing.mark(flight.ask.node, -1)
                flying += self._onward(flight.descent, best[flight.ask])
        if short:
            return "budget"
        return "exhausted" if closed[ROOT] else "iterations"

    def _onward(self, descent: Descent, answer: float | None) -> list[_Flight]:
        """The descent as far as its next question; nothing when it has none."""
        try:
            ask = next(descent) if answer is None else descent.send(answer)
        except StopIteration:
            return []
        self.growing.mark(ask.node, 1)
        return [_Flight(descent, ask)]

    def _given_up(self, flight: _Flight) -> bool:
        """Ends a descent for want of budget; False."""
        self.growing.mark(flight.ask.node, -1)
        flight.descent.close()
        return False

    def _sizes(self, asks: Sequence[Ask]) -> dict[Ask, int]:
        """What the budget has for each: candidates of an expansion, turns of a roll-out; 0 for nothing.

        Set aside in order as if no two candidates were alike, so that the budget is never exceeded.
        """
        calls = 1 + self.config.judged
        left = [
            math.inf if limit is None else limit - usage
            for limit, usage in (
                (self.config.model_calls, self.usage.model_calls),
                (self.config.env_steps, self.usage.env_steps),
            )
        ]
        sizes: dict[Ask, int] = {}
        for ask in dict.fromkeys(asks):
            wanted, each = (self.config.candidates, 1) if isinstance(ask, Expand) else (ask.steps, ask.branch)
            size = sizes[ask] = int(min(wanted, left[0] // (calls * each), left[1] // each))
            left = [left[0] - size * calls * each, left[1] - size * each]
        return sizes

    async def _round(self, sizes: Mapping[Ask, int]) -> dict[Ask, float]:
        """Ask everything of the store, then the rest of the world at once; add the answers in order."""
        best: dict[Ask, float] = {}
        stored: dict[Ask, Answer] = {}
        for ask in sizes:
            if (known := self.recorded.next(ask)) is None:
                break
            stored[ask] = known
        if not self.recorded.remembers:
            best = {ask: self._add(ask, answer, ()) for ask, answer in stored.items()}
        live = [ask for ask in sizes if ask not in best]
        for ask, (answer, instants) in zip(
            live, await all_or_none([self._live(ask, sizes[ask]) for ask in live]), strict=True
        ):
            best[ask] = self._add(ask, answer, instants)
            if ask in stored:
                self.recorded.refuse_other(ask, stored[ask], answer)
                continue
            if self.journal.log:
                self._write(answer.part(ask))
            self.world.stats.nodes += len(answer.nodes)
        return best

    def _add(self, ask: Ask, answer: Answer, instants: Sequence[NodeState]) -> float:
        self.usage += answer.usage
        if isinstance(ask, Expand):
            children = self.growing.add(ask.node, answer.nodes)
            self.instants.update(zip(children, instants, strict=False))
            self.config.grown(self.growing, children)
        return answer.best

    def _solved(self) -> bool:
        gate = self.config.end_gate
        return gate is not None and any(node.ends and node.score >= gate for node in self.growing.nodes)

    # -- the world ------------------------------------------------------------------------------------------------

    async def _live(self, ask: Ask, size: int) -> tuple[Answer, list[NodeState]]:
        at = self._instant(ask.node)
        if isinstance(ask, Roll):
            return await self._roll(at, ask, size), []
        found, usage = await self.world.tries(at, ask.node, size, "candidate", ask.node)
        answer = Answer(tuple(node for node, _ in found), 0.0, usage, any(instant.remembers for _, instant in found))
        return answer, [instant for _, instant in found]

    async def _roll(self, at: NodeState, ask: Roll, steps: int) -> Answer:
        """Play on from an instant, always the candidate of the largest value."""
        best, usage = 0.0, SearchUsage()
        for number in range(steps):
            found, cost = await self.world.tries(at, ask.node, ask.branch, "roll", ask.node, number)
            usage += cost
            node, at = max(found, key=lambda pair: _worth(pair[0]))
            best = max(best, _worth(node))
            if node.ends:
                break
        return Answer((), best, usage)

    def _instant(self, number: int) -> NodeState:
        """Of a node; of one that another process found, made again from its nearest known ancestor."""
        if number not in self.instants:
            node = self.growing.nodes[number]
            self.instants[number] = self.world.again(self._instant(node.parent), node)
        return self.instants[number]


def _worth(node: Node) -> float:
    return node.score if node.ends else node.estimate or 0.0


def key_of(job: Job) -> str:
    """The key of a job's tree."""
    return f"{job.task.id}#{job.sample}"
