"""The environment `kintsugi/Code-v0`: programming tasks, solved in a sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ...errors import UsageError, unknown
from ..core import AgentEnv, Task, TaskSet
from ..fences import extract_code
from .family import SPLITS, generator
from .grader import Grader, Verdict, describe_end, hide_addresses
from .problem import Problem
from .sandbox import Limits, Sandbox, shared_sandbox
from .tasks import SOURCES, task_set, verified_task

ACTIONS = "write CODE, test, run CODE, submit"
PUBLISHED_TURN_TOKENS = 768
"""Tokens of one answer to a published task. The longest reference solution and docstring have 2,000 characters."""
MAX_CODE_BYTES = 1_000_000
"""Largest size of the code in an action, in UTF-8."""


class CodeEnv(AgentEnv):
    """Programming tasks: the agent writes a solution, runs it on visible tests, and submits it.

    Actions:
        * `write CODE` replaces the solution.
        * `test` runs the solution on the visible tests.
        * `run CODE` runs extra code after the solution. It shows the output and the value of the last expression.
        * `submit` ends the episode.

    Code may have several lines and may be enclosed in a Markdown fence, with text around it. Any other action is
    refused, and `info["invalid"]` says why. `info["admissible"]` is absent because the set of actions is infinite.

    On `submit`, the score and the reward are the share of hidden tests passed; success means that all of them passed.
    Before that, score and reward are 0. Each run uses a new process in a sandbox (`kintsugi.envs.code.sandbox`) and
    leaves nothing behind. A snapshot is therefore the text of the solution, and it is exact. Episodes are deterministic
    as long as the programs are: clocks, hashes and `random` are frozen, system entropy is not.

    Tasks are generated (`source="steps"`) or read from the published files of HumanEval and MBPP
    (`source="humaneval"`, `path=...`). Generated tasks are chains of 1 to 4 steps over numbers, lists and strings, with
    the splits `train`, `valid` and `valid_unseen`. Tasks of `valid_unseen` contain pairs of adjacent steps that occur
    in no other split. `Task.params["type"]` is the domain and the number of steps, or the source.
    """

    metadata: dict[str, Any] = {
        **AgentEnv.metadata,
        "snapshot": "exact",
        "turn_tokens": 160,
        "gate_split": "valid",
    }
    env_id: ClassVar[str] = generator.ENV_ID
    verifier_instructions: ClassVar[str] = (
        "You judge the steps of an attempt at a programming task. Good brings the program nearer to "
        "what is asked for; Bad breaks what worked, repeats what failed or was refused; Uncertain is all else."
    )

    def __init__(
        self,
        *,
        max_steps: int = 12,
        render_mode: str | None = None,
        sandbox: Sandbox | type[Sandbox] | str | None = None,
        limits: Limits | None = None,
        feedback: int = 1000,
    ) -> None:
        """Create the environment.

        Args:
            max_steps: Number of actions after which an episode is truncated.
            render_mode: None or `ansi`, as in Gymnasium.
            sandbox: An open sandbox, or the name or class of a backend. Sandboxes opened by name or class are shared
                within this process. None means `$KINTSUGI_SANDBOX`, or `auto` if that is not set.
            limits: Limits of each run of a program. None means the CPU time that the task states, and default limits.
            feedback: Maximum number of characters of program output that the agent is shown.

        Raises:
            UsageError: If `feedback` is below 100.
        """
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        if feedback < 100:
            raise UsageError(f"feedback is {feedback} characters; expected at least 100; pass a larger value")
        self.feedback = feedback
        self.limits = limits
        self._sandbox = f"{sandbox.__module__}:{sandbox.__qualname__}" if isinstance(sandbox, type) else sandbox
        self._problem: Problem | None = None
        self._solution = ""

    @classmethod
    def tasks(
        cls, split: str, n: int | None = None, seed: int = 0, source: str = "steps", path: str = "", **params: Any
    ) -> TaskSet:
        """Return the tasks of a split.

        The reference solution of every task is run three times first. Tasks whose reference solution fails are left
        out with a warning, and so are rows of a file that are not tasks, and examples in a docstring that the reference
        solution fails. The set depends on the arguments and the content of the file, not on the load of the machine.

        Args:
            split: Name of the split.
            n: Number of tasks: the first `n` generated tasks, or a random sample of a published set. None means the
                default number of generated tasks, or the whole published set.
            seed: Seed of the generated tasks, or of the sample of a published set.
            source: `steps` for generated tasks, `humaneval` or `mbpp`.
            path: The published file, JSONL or one JSON array, plain or gzipped. Required for `humaneval` and `mbpp`.
            **params: Not used. Any other parameter raises `UsageError`.

        Raises:
            UsageError: If the split, the source or a parameter is unknown, if the file cannot be read or holds no task
                of the split, or if no sandbox is available.
            InfraError: If the sandbox fails.
        """
        if params:
            raise UsageError(
                f"unknown parameter {min(params)!r} of code tasks; expected source ({', '.join(SOURCES)}) or path"
            )
        return task_set(split, n, seed, source, path, None)

    @classmethod
    def tokens_per_turn(cls, params: Mapping[str, Any]) -> int:
        """Return more tokens for published tasks, whose answers repeat long docstrings, than for generated ones."""
        published = str(params.get("source", SOURCES[0])) != SOURCES[0]
        return PUBLISHED_TURN_TOKENS if published else super().tokens_per_turn(params)

    @staticmethod
    def overwritten(actions: Sequence[str]) -> set[int]:
        """Return the indices of `write` actions that a later `write` replaced."""
        return set([number for number, action in enumerate(actions) if parse_action(action)[0] == "write"][:-1])

    def default_task(self) -> Task:
        """Return a random generated task of `train`."""
        backend = self._sandbox if isinstance(self._sandbox, str) else None
        return verified_task("train", int(self.np_random.integers(SPLITS["train"])), backend)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """Return the problem statement as the first observation. Nothing is run yet."""
        self._problem, self._solution = Problem.of(task), ""
        problem = self._problem
        examples = [f"{call.text(problem.entry)} == {call.expected!r}" for call in problem.visible]
        text = "\n".join([problem.prompt, *examples, f"Actions: {ACTIONS}"])
        return text, {"score": 0.0, "goal": problem.goal}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Carry out one action. Raises `InfraError` if the sandbox fails."""
        verb, code = parse_action(action)
        if verb == "submit":
            return self._submit()
        try:
            text = self._carry_out(verb, code)
        except RefusedAction as refused:
            return f"Refused: {refused}", 0.0, False, {"score": 0.0, "invalid": str(refused)}
        return self._shorten(text), 0.0, False, {"score": 0.0}

    def get_state(self) -> str:
        """Return the current solution."""
        return self._solution

    def set_state(self, state: str) -> None:
        """Restore a solution of the current task."""
        if self.task is None:
            raise UsageError("cannot restore a state without a task; call reset first")
        self._problem, self._solution = Problem.of(self.task), state

    def _carry_out(self, verb: str, code: str) -> str:
        problem, size = self._current_problem(), len(code.encode("utf-8", "surrogatepass"))
        if size > MAX_CODE_BYTES:
            raise RefusedAction(f"the code has {size} bytes; expected at most {MAX_CODE_BYTES}")
        if verb == "write":
            if not code.strip():
                raise RefusedAction("there is no code after 'write'")
            self._solution = code
            wrong = self._grader().load_error(problem, code)
            count = code.count("\n") + 1
            return f"Written, {count} line{'s' * (count > 1)}." + (f" But: {wrong}." if wrong else "")
        if verb == "test":
            if not self._solution:
                raise RefusedAction("nothing is written yet")
            if not (problem.visible or problem.visible_code):
                return "There are no visible tests."
            return render_verdict(self._grader().run_visible(problem, self._solution))
        if verb == "run":
            if not code.strip():
                raise RefusedAction("there is no code after 'run'")
            result = self._grader().run_snippet(problem, self._solution, code)
            parts = [result.text.strip("\n"), result.errors.strip("\n")]
            if result.exit < 0 or result.timed_out or result.oom or result.truncated:
                parts.append(f"It {describe_end(result, self._grader().limits_for(problem))}.")
            return hide_addresses("\n".join(filter(None, parts))) or "It printed nothing."
        raise RefusedAction(str(unknown("action", verb[:40], ("write", "test", "run", "submit"))))

    def _submit(self) -> tuple[str, float, bool, dict[str, Any]]:
        problem = self._current_problem()
        if not self._solution:
            return "Submitted nothing.", 0.0, True, {"score": 0.0, "success": False}
        verdict = self._grader().run_hidden(problem, self._solution)
        text = f"Submitted: {verdict.passed} of {verdict.total} hidden tests pass."
        return text, verdict.score, True, {"score": verdict.score, "success": verdict.success}

    def _grader(self) -> Grader:
        if self._sandbox is None or isinstance(self._sandbox, str):
            self._sandbox = shared_sandbox(self._sandbox)
        return Grader(self._sandbox, self.limits)

    def _current_problem(self) -> Problem:
        if self._problem is None:
            raise UsageError("no code episode is running; call reset first")
        return self._problem

    def _shorten(self, text: str) -> str:
        """Cut the middle of a long text, since the beginning and the end of program output matter most."""
        if len(text) <= self.feedback:
            return text
        half = self.feedback // 2
        return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


class RefusedAction(Exception):
    """Raised for an action that is not carried out. The message is shown to the agent."""


def parse_action(action: str) -> tuple[str, str]:
    """Return the verb and the code of an action."""
    verb, rest = re.match(r"\s*(\S*)[ \t]*(.*)", action, re.DOTALL).groups()  # type: ignore[union-attr]
    return verb.rstrip(":").lower(), extract_code(rest)


def render_verdict(verdict: Verdict) -> str:
    """Return a verdict as the text that the agent reads."""
    lines = [f"{verdict.passed} of {verdict.total} visible tests pass.", *verdict.failures]
    if verdict.printed.strip():
        lines.append(f"It printed:\n{verdict.printed.strip()}")
    return "\n".join(lines)
