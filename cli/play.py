"""`kintsugi play`: a person plays an environment in the terminal."""

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
Type an action, or the number of one that :admissible listed.
  :admissible   list the actions that would not be refused (:a)
  :undo         take the last action back (:u)
  :look         show the observation again (:l)
  :restart      begin the task anew
  :quit         leave (:q, or the end of input)
Between ``` and ``` an action may have several lines."""
FENCE = "```"
SHORT = {":a": ":admissible", ":u": ":undo", ":l": ":look", ":q": ":quit", ":h": ":help", ":?": ":help"}


@dataclass(frozen=True)
class PlayConfig:
    """Which task of which environment is played."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")] = "household"
    """Short name or Gymnasium id; `kintsugi envs` lists them."""
    task: str | None = None
    """Id of the task; the first of the drawn ones when None."""
    split: str = "train"
    tasks: int | None = None
    """How many tasks are drawn to choose from; the environment's usual number when None."""
    seed: int = 0
    """Of the draw."""
    window: Literal["auto", "always", "never"] = "auto"
    """Whether the world's own window is opened beside the terminal, where it has one: the browser of the web. `auto`
    does so where there is a display."""
    params: Params = field(default_factory=dict)
    """What the environment's task sets take, e.g. `size=small`."""
    env_args: Params = field(default_factory=dict)
    """Arguments of the environment's constructor, e.g. `max_steps=30`."""


def run(config: PlayConfig, console: Console, read: Callable[[str], str] = input) -> None:
    """The command `kintsugi play`; `read` is as in `play`."""
    spec = EnvSpec(config.env, config.env_args)
    spec.check()
    wanted = 1 if config.task is None and config.tasks is None else config.tasks
    tasks = spec.tasks(config.split, wanted, config.seed, **config.params)
    task = tasks.tasks[0] if config.task is None else tasks[config.task]
    if isinstance(sys.stdin, io.TextIOWrapper):
        # What is no text is refused by the environment like any other strange action.
        sys.stdin.reconfigure(errors="replace")
    wants = has_window(spec.cls) and has_display() if config.window == "auto" else config.window == "always"
    env = (visible(spec) if wants else spec).make()
    try:
        play(env, task, console, read)
    finally:
        env.close()


def has_window(made: type[AgentEnv]) -> bool:
    """Whether the environment can open a window of its own."""
    return "headless" in inspect.signature(made).parameters


def has_display(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a window could be seen: on systems with X or Wayland, whether they are there."""
    return platform in ("darwin", "win32") or any(map(environment.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def visible(spec: EnvSpec) -> EnvSpec:
    """The environment with its window open; raises `UsageError` for one that has none."""
    if not has_window(spec.cls):
        raise UsageError(f"{spec.cls.env_id} has no window to show; play it without --window always")
    return spec.with_args(headless=False)


def play(env: AgentEnv, task: Task, console: Console, read: Callable[[str], str] = input) -> bool:
    """Play `task` until the person leaves; returns whether it was done. The end of input is a polite way to leave.

    `read` gets the prompt and returns a line or raises `EOFError`.
    """
    game = Game(env, task, console)
    game.restart()
    while True:
        try:
            line = read("> ").strip()
            while line.count(FENCE) == 1:
                line += "\n" + read("… ")
        except EOFError:
            console.print()
            line = ":quit"
        command = SHORT.get(line, line)
        if command == ":quit":
            console.print(f"Left after {env.steps} steps.", style="dim")
            return game.success
        if line:
            game.obey(command)


class Game:
    """One person's episode, with a way back from every step."""

    def __init__(self, env: AgentEnv, task: Task, console: Console) -> None:
        self.env = env
        self.task = task
        self.console = console
        self.success = False
        self._moment: tuple[str, dict[str, Any], bool] = ("", {}, False)
        self._past: list[tuple[Snapshot, tuple[str, dict[str, Any], bool]]] = []

    def restart(self) -> None:
        """Begin the task anew."""
        observation, info = self.env.reset(options={"task": self.task})
        self._past.clear()
        self.success = False
        self._moment = observation, info, False
        self.console.print(Rule(Text(f"{self.task.env_id} · {self.task.id}")))
        self.console.print(":help says what can be typed.", style="dim", highlight=False)
        self._show()

    def obey(self, line: str) -> None:
        """Carry out a command or an action; what cannot be done is said, not raised."""
        commands = {
            ":help": lambda: self.console.print(HELP, markup=False, highlight=False),
            ":admissible": self._list,
            ":undo": self._undo,
            ":look": self._show,
            ":restart": self.restart,
        }
        try:
            if line in commands:
                commands[line]()
            elif line.startswith(":"):
                raise UsageError(f"there is no command {line!r}; :help lists them")
            else:
                self._act(self._chosen(line))
        except UsageError as error:
            self.console.print(shown(str(error)), style="yellow")

    def _act(self, action: str) -> None:
        if self._moment[2]:
            raise UsageError("the episode is over; :undo takes the last action back, :restart begins it anew")
        before = self.env.snapshot(), self._moment
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._past.append(before)
        self._moment = observation, info, terminated or truncated
        self.success = bool(info.get("success"))
        if info.get("invalid"):
            self.console.print(Text("refused: ", style="red") + shown(str(info["invalid"])))
        self._show()
        if terminated or truncated:
            end = "done" if self.success else "out of steps" if truncated else "failed"
            style = "bold green" if self.success else "bold red"
            self.console.print(Text(f"— {end} after {self.env.steps} steps, reward {reward:g} —", style=style))

    def _undo(self) -> None:
        if not self._past:
            raise UsageError("nothing to take back: this is the beginning")
        snapshot, self._moment = self._past.pop()
        self.env.restore(snapshot)
        self.success = False
        self._show()

    def _list(self) -> None:
        for number, action in enumerate(self._admissible(), start=1):
            self.console.print(Text(f"{number:4} ", style="dim") + shown(action), soft_wrap=True)

    def _chosen(self, line: str) -> str:
        if not line.isdecimal() or len(line) > 9 or self._moment[1].get("admissible") is None:
            return line
        actions = self._admissible()
        if not 1 <= int(line) <= len(actions):
            raise UsageError(f"there is no action {line}; :admissible lists 1 to {len(actions)}")
        self.console.print(shown(actions[int(line) - 1]), style="cyan")
        return actions[int(line) - 1]

    def _admissible(self) -> tuple[str, ...]:
        actions = self._moment[1].get("admissible")
        if actions is None:
            raise UsageError("this environment does not list its actions; type one in words")
        return tuple(actions)

    def _show(self) -> None:
        self.console.print(shown(self._moment[0]))


def shown(text: str) -> Text:
    """Text of an environment for a terminal: no markup, and no control characters that the terminal would obey."""
    return Text("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text))
