"""`kintsugi play`: actions as text and by number, commands, undo and the end of input."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence

import pytest
from command_line import refused, run_in_subprocess
from kintsugi.benchmarks.textworld.random_games import random_game
from kintsugi.cli.play import PlayConfig, has_display, play, printable, run
from kintsugi.envs import AgentEnv
from kintsugi.envs.household.alfworld.export import write_content
from kintsugi.envs.household.language.domain import bundled_text
from kintsugi.errors import UsageError
from rich.console import Console
from tiny_envs import Echo, Lamps

HOUSEHOLD_SOURCES = {"pddl_domain": bundled_text("domain.pddl"), "grammar": bundled_text("grammar.twl2")}


def scripted_input(lines: Sequence[str]) -> Callable[[str], str]:
    """A `read` function that returns `lines` and then reports the end of input."""
    typed = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    return read


def played(env: AgentEnv, lines: Sequence[str]) -> tuple[bool, str]:
    """Play an environment with these input lines; return whether the task was solved, and the output."""
    stream = io.StringIO()
    done = play(env, env.tasks("train").tasks[0], Console(file=stream, width=100), scripted_input(lines))
    return done, stream.getvalue()


def output_of(config: PlayConfig, *lines: str) -> str:
    """The output of the command for these input lines."""
    stream = io.StringIO()
    run(config, Console(file=stream, width=100), scripted_input(lines))
    return stream.getvalue()


def test_alfworld_games_can_be_played(tmp_path):
    (tmp_path / "train").mkdir()
    write_content(tmp_path / "train/first", random_game(1, 6, HOUSEHOLD_SOURCES), "look_at_obj_in_light")
    alfworld = {"source": "alfworld", "path": str(tmp_path)}
    output = output_of(PlayConfig(params=alfworld), "help")
    assert "Your task is to: " in output
    assert "Quit after 1 step." in output
    code, out, _ = run_in_subprocess(
        "play", "household", "--params", "source=alfworld", f"path={tmp_path}", stdin="help\n"
    )
    assert (code, "Quit after 1 step." in out) == (0, True)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="a display is always available there")
@pytest.mark.parametrize(
    ("wanted", "display", "opened"),
    [("auto", True, True), ("auto", False, False), ("always", False, True), ("never", True, False)],
)
def test_a_window_opens_on_request_or_with_a_display(monkeypatch, wanted, display, opened):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", ":0")
    output = output_of(PlayConfig("faulty_envs:Windowed", window=wanted))
    assert ("The window is open." in output, "The window is shut." in output) == (opened, not opened)


def test_has_display():
    assert has_display("linux", {"WAYLAND_DISPLAY": "wayland-0"})
    assert has_display("linux", {"DISPLAY": ":0"})
    assert not has_display("linux", {"DISPLAY": ""})
    assert has_display("darwin", {})


def test_environments_without_a_window(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    assert "Quit after 0 steps." in output_of(PlayConfig("household"))
    with pytest.raises(UsageError, match="has no window; expected an environment with one"):
        output_of(PlayConfig("household", window="always"))


def test_arguments_and_task_are_passed_on(capsys):
    assert "— truncated after 1 step" in output_of(PlayConfig("tiny_envs:Echo", env_args={"max_steps": "1"}), "5")
    assert "A hint: 4." in output_of(PlayConfig("tiny_envs:Echo", tasks=9, task="train/4"))
    assert "argument 'max_step' of environment 'household'; did you mean 'max_steps'" in refused(
        capsys, "play", "--env-args", "max_step=3"
    )


def test_a_task_that_is_not_in_the_set_is_refused(capsys):
    wrong = refused(capsys, "play", "door_env:Doors", "--task", "train/0/0O1", "--tasks", "5")
    assert "unknown task id " in wrong
    assert "with 5 tasks; did you mean 'train/0/001'" in wrong


@pytest.mark.parametrize("env", ["household", "door_env:Doors"])
def test_any_action_can_be_typed(env):
    actions = ["x" * 100_000, "\x1b[2J\x07\x00open red", "open\u2028red", "\ud7ff🙂"]
    code, out, err = run_in_subprocess("play", env, stdin="".join(f"{action}\n" for action in actions))
    assert (code, err) == (0, "")
    assert out.count("refused: ") >= 2
    assert len(out) < 20_000
    assert not set(out) & {"\x1b", "\x07", "\x00"}


def test_the_end_of_input_quits():
    done, output = played(Lamps(), [])
    assert not done
    assert "It is dark." in output
    assert "Quit after 0 steps." in output


def test_actions_as_text_and_by_number():
    _, output = played(Lamps(), [":admissible", "1", "light blue", ":quit", "never read"])
    assert "1 light green" in output
    assert output.count("The lamps green are lit.") == 2
    assert "Quit after 2 steps." in output


def test_invalid_input_is_reported():
    _, output = played(Lamps(), ["fly", "99", "9" * 5000, ":fly", ":undo", ":undo", ":undo", ""])
    assert "refused: that is no lamp" in output
    assert "there is no action 99; expected 1 to 2, as listed by :admissible" in output
    assert "unknown command ':fly'" in output
    assert "there is no action to undo" in output
    assert "Quit after 0 steps." in output


def test_an_action_may_have_several_lines():
    actions_received = []

    class Hearing(Lamps):
        def act(self, action):
            actions_received.append(action)
            return super().act(action)

    played(Hearing(), ["write ```", "a", "b", "```", "write ```c```", "``` never closed"])
    assert actions_received == ["write ```\na\nb\n```", "write ```c```"]


@pytest.mark.parametrize("world", [Lamps, Echo])
def test_undo_restores_the_previous_step(world):
    once, twice = [played(world(), lines)[1] for lines in (["a", "b"], ["a", "b", ":u", ":u", "a", "b"])]
    assert "Quit after 2 steps." in twice
    assert once.splitlines()[-3:] == twice.splitlines()[-3:]


def test_the_end_of_an_episode_can_be_undone_or_restarted():
    done, output = played(Echo(max_steps=2), ["5", "0", "more", ":undo", ":restart", "0"])
    assert done
    assert output.count("— success after") == 2
    assert "the episode is over; :undo" in output
    assert "— truncated after 1 step, reward 0 —" in played(Echo(max_steps=1), ["5"])[1]
    assert "so no action is admissible; :undo" in played(Echo(max_steps=1), ["5", ":admissible"])[1]


def test_environments_without_admissible_actions():
    assert "type an action as text" in played(Echo(), [":a"])[1]


def test_control_characters_are_removed():
    assert printable("a\x1b[2J\x07b\n[bold]é🙂").plain == "a\ufffd[2J\ufffdb\n[bold]é🙂"
