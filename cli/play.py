"""`kintsugi play`: play an environment in the terminal."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from ..envs.core import AgentEnv, Snapshot, Task
from ..envs.registry import EnvSpec
from ..errors import UsageError
from ..loops.run import Params

HELP = """\
Type an action, or the number of an action in the list of :admissible.
  :admissible   list the admissible actions (:a)
  :undo         undo the last action (:u)
  :look         show the observation again (:l)
  :restart      restart the task
  :quit         quit (:q, or end of input)
An action that contains ``` continues over several lines, up to the closing ```."""
FENCE = "```"
SHORTCUTS = {":a": ":admissible", ":u": ":undo", ":l": ":look", ":q": ":quit", ":h": ":help", ":?": ":help"}


@dataclass(frozen=True)
class PlayConfig:
    """Settings of `kintsugi play`."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")] = "household"
    """The environment: short name, Gymnasium id or `module:Class`; `kintsugi envs` lists them."""
    task: str | None = None
    """Id of the task; by default the first task of the drawn task set."""
    split: str = "train"
    """Split of the task."""
    tasks: int | None = None
    """Number of tasks to draw; `--task` must be one of them. By default, the environment's default number."""
    seed: int = 0
    """Seed that draws the tasks."""
    window: Literal["auto", "always", "never"] = "auto"
    """Whether to open the environment's own window, such as a browser; `auto` opens it if there is a display."""
    params: Params = field(default_factory=dict)
    """Parameters of the environment's task sets, e.g. `size=small`."""
    env_args: Params = field(default_factory=dict)
    """Arguments of the environment's constructor, e.g. `max_steps=30`."""


def run(config: PlayConfig, console: Console, read: Callable[[str], str] = input) -> None:
    """Run `kintsugi play`; `read` is passed to `play`."""
    spec = EnvSpec(config.env, config.env_args)
    spec.check()
    number = 1 if config.task is None and config.tasks is None else config.tasks
    tasks = spec.tasks(config.split, number, config.seed, **config.params)
    task = tasks.tasks[0] if config.task is None else tasks[config.task]
    if isinstance(sys.stdin, io.TextIOWrapper):
        # Undecodable bytes become replacement characters; the environment then refuses the action.
        sys.stdin.reconfigure(errors="replace")
    open_window = has_window(spec.cls) and has_display() if config.window == "auto" else config.window == "always"
    env = (with_window(spec) if open_window else spec).make()
    try:
        play(env, task, console, read)
    finally:
        env.close()


def has_window(env_class: type[AgentEnv]) -> bool:
    """Return whether the environment can open its own window."""
    return "headless" in inspect.signature(env_class).parameters


def has_display(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether there is a display: always on macOS and Windows, elsewhere if X or Wayland is available."""
    return platform in ("darwin", "win32") or any(map(environment.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def with_window(spec: EnvSpec) -> EnvSpec:
    """Return the environment with its window opened; raise `UsageError` if it has no window."""
    if not has_window(spec.cls):
        raise UsageError(f"{spec.cls.env_id} has no window; expected an environment with one; omit --window always")
    return spec.with_args(headless=False)


def play(env: AgentEnv, task: Task, console: Console, read: Callable[[str], str] = input) -> bool:
    """Play a task until the player quits or the input ends.

    Args:
        env: The environment.
        task: The task.
        console: Where observations are printed.
        read: Called with the prompt; returns a line, or raises `EOFError` at the end of input.

    Returns:
        Whether the task was solved.
    """
    episode = InteractiveEpisode(env, task, console)
    episode.restart()
    while True:
        try:
            line = read("> ").strip()
            while line.count(FENCE) == 1:
                line += "\n" + read("… ")
        except EOFError:
            console.print()
            line = ":quit"
        command = SHORTCUTS.get(line, line)
        if command == ":quit":
            console.print(f"Quit after {_count_steps(env.steps)}.", style="dim")
            return episode.success
        if line:
            episode.execute(command)


class InteractiveEpisode:
    """An interactive episode in which every step can be undone."""

    def __init__(self, env: AgentEnv, task: Task, console: Console) -> None:
        self.env = env
        self.task = task
        self.console = console
        self.success = False
        self._current: tuple[str, dict[str, Any], bool] = ("", {}, False)
        self._history: list[tuple[Snapshot, tuple[str, dict[str, Any], bool]]] = []

    def restart(self) -> None:
        """Restart the task."""
        observation, info = self.env.reset(options={"task": self.task})
        self._history.clear()
        self.success = False
        self._current = observation, info, False
        self.console.print(Rule(Text(f"{self.task.env_id} · {self.task.id}")))
        self.console.print(":help lists the commands.", style="dim", highlight=False)
        self._show()

    def execute(self, line: str) -> None:
        """Execute a command or an action, and print errors instead of raising them."""
        commands = {
            ":help": lambda: self.console.print(HELP, markup=False, highlight=False),
            ":admissible": self._list_actions,
            ":undo": self._undo,
            ":look": self._show,
            ":restart": self.restart,
        }
        try:
            if line in commands:
                commands[line]()
            elif line.startswith(":"):
                raise UsageError(f"unknown command {line!r}; :help lists the commands")
            else:
                self._act(self._resolve_action(line))
        except UsageError as error:
            self.console.print(printable(str(error)), style="yellow")

    def _act(self, action: str) -> None:
        if self._current[2]:
            raise UsageError("the episode is over; :undo undoes the last action, :restart restarts the task")
        previous = self.env.snapshot(), self._current
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._history.append(previous)
        self._current = observation, info, terminated or truncated
        self.success = bool(info.get("success"))
        if info.get("invalid"):
            self.console.print(Text("refused: ", style="red") + printable(str(info["invalid"])))
        self._show()
        if terminated or truncated:
            end = "success" if self.success else "truncated" if truncated else "failure"
            style = "bold green" if self.success else "bold red"
            self.console.print(Text(f"— {end} after {_count_steps(self.env.steps)}, reward {reward:g} —", style=style))

    def _undo(self) -> None:
        if not self._history:
            raise UsageError("there is no action to undo; this is the first step")
        snapshot, self._current = self._history.pop()
        self.env.restore(snapshot)
        self.success = False
        self._show()

    def _list_actions(self) -> None:
        for number, action in enumerate(self._admissible(), start=1):
            self.console.print(Text(f"{number:4} ", style="dim") + printable(action), soft_wrap=True)

    def _resolve_action(self, line: str) -> str:
        if not line.isdecimal() or len(line) > 9 or self._current[1].get("admissible") is None:
            return line
        actions = self._admissible()
        if not 1 <= int(line) <= len(actions):
            raise UsageError(f"there is no action {line}; expected 1 to {len(actions)}, as listed by :admissible")
        self.console.print(printable(actions[int(line) - 1]), style="cyan")
        return actions[int(line) - 1]

    def _admissible(self) -> tuple[str, ...]:
        actions = self._current[1].get("admissible")
        if actions is None and self._current[2]:
            raise UsageError("the episode is over, so no action is admissible; :undo undoes the last action")
        if actions is None:
            raise UsageError("this environment does not list its admissible actions; type an action as text")
        return tuple(actions)

    def _show(self) -> None:
        self.console.print(printable(self._current[0]))


def printable(text: str) -> Text:
    """Return text of an environment for the terminal, without markup and without control characters."""
    return Text("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text))


def _count_steps(steps: int) -> str:
    return f"{steps} step" if steps == 1 else f"{steps} steps"
