"""`kintsugi/Code-v0`: programming tasks, solved in a sandbox."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from ...errors import UsageError, unknown
from ..core import AgentEnv, Task, TaskSet
from .family import SPLITS, generator
from .judge import Judge, Verdict, ended, plain
from .problem import Problem
from .sandbox import Limits, Sandbox, shared_sandbox
from .tasks import SOURCES, proven_task, task_set

ACTIONS = "write CODE, test, run CODE, submit"
_FENCE = re.compile(r"```[^\n]*\n(.*?)(?:\n)?```", re.DOTALL)


class CodeEnv(AgentEnv):
    """An agent writes a solution, tries it, reads what came back, and submits it.

    Actions: `write CODE` replaces the solution, `test` runs it on the visible tests, `run CODE` runs code of one's own
    after it and shows what that prints and the value of its last expression, `submit` ends the episode. Code may be
    several lines long and may stand in a Markdown fence. What is none of these is refused: `info["invalid"]` says why.
    There are too many actions to list, so `info["admissible"]` is absent.

    On `submit`, the score and the reward are the share of hidden tests passed, and success is all of them; before, both
    are 0. Everything runs in a sandbox (`kintsugi.envs.code.sandbox`), each time in a new process that nothing
    survives, so an instant is the text of the solution alone and snapshots are exact. That an episode is a function of
    its actions holds for programs that are one: clocks, hashes and `random` are frozen, system entropy is not.

    Tasks are generated (`source="steps"`: chains of 1 to 4 steps over numbers, lists and strings; splits `train`,
    `valid`, `valid_unseen`, the last with neighbouring steps that the others never have) or read from the published
    files of HumanEval and MBPP (`source="humaneval"`, `path=...`). `Task.params["type"]` is domain and number of steps,
    or the source.
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
        """Of what a program says, `feedback` characters are shown.

        `sandbox` is an open one, or the name or class of a back end that this process shares; None is
        `$KINTSUGI_SANDBOX` or `auto`.
        """
        super().__init__(max_steps=max_steps, render_mode=render_mode)
        if feedback < 100:
            raise UsageError(f"feedback is {feedback} characters; an agent needs at least 100 to learn anything")
        self.feedback = feedback
        self.limits = limits or Limits()
        self._sandbox = f"{sandbox.__module__}:{sandbox.__qualname__}" if isinstance(sandbox, type) else sandbox
        self._problem: Problem | None = None
        self._solution = ""

    @classmethod
    def tasks(
        cls, split: str, n: int | None = None, seed: int = 0, source: str = "steps", path: str = "", **params: Any
    ) -> TaskSet:
        """The first `n` tasks of a split; of a published set, `n` drawn by `seed`. All, or the usual number, when None.

        Every task's own solution is run three times first; tasks where it fails are left out, and a warning counts and
        names them, as it does lines of a file that are no tasks. Raises `UsageError` for an unknown split or source, a
        file that cannot be read, and where there is no sandbox.
        """
        if params:
            raise UsageError(
                f"unknown parameter {min(params)!r} of code tasks; there are source ({', '.join(SOURCES)}) and path"
            )
        return task_set(split, n, seed, source, path, None)

    @staticmethod
    def overwritten(actions: Sequence[str]) -> set[int]:
        """Solutions that another one replaced."""
        return set([number for number, action in enumerate(actions) if parse(action)[0] == "write"][:-1])

    def default_task(self) -> Task:
        """One of the generated tasks of `train`."""
        backend = self._sandbox if isinstance(self._sandbox, str) else None
        return proven_task("train", int(self.np_random.integers(SPLITS["train"])), backend)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        """State the problem; nothing runs yet."""
        self._problem, self._solution = Problem.of(task), ""
        problem = self._problem
        examples = [f"{call.text(problem.entry)} == {call.expected!r}" for call in problem.visible]
        text = "\n".join([problem.prompt, *examples, f"Actions: {ACTIONS}"])
        return text, {"score": 0.0, "goal": problem.goal}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        """Carry out one action; raises `InfraError` when the sandbox breaks."""
        verb, code = parse(action)
        if verb == "submit":
            return self._submit()
        try:
            said = self._carry_out(verb, code)
        except Refused as refused:
            return f"Refused: {refused}", 0.0, False, {"score": 0.0, "invalid": str(refused)}
        return self._shown(said), 0.0, False, {"score": 0.0}

    def get_state(self) -> str:
        """The solution as it stands."""
        return self._solution

    def set_state(self, state: str) -> None:
        """Go on with this solution, of the task that is set."""
        if self.task is None:
            raise UsageError("there is no task to restore a state of; call reset first")
        self._problem, self._solution = Problem.of(self.task), state

    def _carry_out(self, verb: str, code: str) -> str:
        problem = self._playing()
        if verb == "write":
            if not code:
                raise Refused("there is no code after 'write'")
            self._solution = code
            wrong = self._judge().load(problem, code)
            count = code.count("\n") + 1
            return f"Written, {count} line{'s' * (count > 1)}." + (f" But: {wrong}." if wrong else "")
        if verb == "test":
            if not self._solution:
                raise Refused("nothing is written yet")
            if not (problem.visible or problem.visible_code):
                return "There are no visible tests."
            return report(self._judge().visible(problem, self._solution))
        if verb == "run":
            if not code:
                raise Refused("there is no code after 'run'")
            result = self._judge().snippet(problem, self._solution, code)
            parts = [result.text.strip("\n"), result.errors.strip("\n")]
            if result.exit < 0 or result.timed_out or result.oom or result.truncated:
                parts.append(f"It {ended(result, self.limits)}.")
            return plain("\n".join(filter(None, parts))) or "It printed nothing."
        raise Refused(str(unknown("action", verb[:40], ("write", "test", "run", "submit"))))

    def _submit(self) -> tuple[str, float, bool, dict[str, Any]]:
        problem = self._playing()
        if not self._solution:
            return "Submitted nothing.", 0.0, True, {"score": 0.0, "success": False}
        verdict = self._judge().hidden(problem, self._solution)
        text = f"Submitted: {verdict.passed} of {verdict.total} hidden tests pass."
        success = verdict.passed == verdict.total > 0
        return text, verdict.score, True, {"score": verdict.score, "success": success}

    def _judge(self) -> Judge:
        if self._sandbox is None or isinstance(self._sandbox, str):
            self._sandbox = shared_sandbox(self._sandbox)
        return Judge(self._sandbox, self.limits)

    def _playing(self) -> Problem:
        if self._problem is None:
            raise UsageError("there is no running code episode; call reset first")
        return self._problem

    def _shown(self, text: str) -> str:
        """Cut in the middle, since both the beginning and the end of what a program says tell most."""
        if len(text) <= self.feedback:
            return text
        half = self.feedback // 2
        return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


class Refused(Exception):
    """The action cannot be carried out."""


def parse(action: str) -> tuple[str, str]:
    """Verb and code of an action."""
    verb, rest = re.match(r"\s*(\S*)[ \t]*(.*)", action, re.DOTALL).groups()  # type: ignore[union-attr]
    fenced = _FENCE.search(rest)
    code = fenced[1] if fenced else inspect.cleandoc(rest) if rest.startswith("\n") else rest
    return verb.rstrip(":").lower(), code.strip("\n").rstrip()


def report(verdict: Verdict) -> str:
    """A verdict in words."""
    lines = [f"{verdict.passed} of {verdict.total} visible tests pass.", *verdict.failures]
    if verdict.printed.strip():
        lines.append(f"It printed:\n{verdict.printed.strip()}")
    return "\n".join(lines)
