"""A person at the terminal: actions by word and by number, the way back, and a polite end."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence

import pytest
from command_line import refused, shell
from kintsugi.benchmarks.textworld.random_games import random_game
from kintsugi.cli.play import PlayConfig, has_display, play, run, shown
from kintsugi.envs import AgentEnv
from kintsugi.envs.household.alfworld.export import write_content
from kintsugi.envs.household.language.domain import own
from kintsugi.errors import UsageError
from rich.console import Console
from tiny_envs import Echo, Lamps

OWN = {"pddl_domain": own("domain.pddl"), "grammar": own("grammar.twl2")}


def typing(lines: Sequence[str]) -> Callable[[str], str]:
    """A person who types `lines` and then closes the input."""
    typed = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    return read


def played(env: AgentEnv, lines: Sequence[str]) -> tuple[bool, str]:
    """Whether the task was done, and all that was shown, when a person types `lines`."""
    shown = io.StringIO()
    done = play(env, env.tasks("train").tasks[0], Console(file=shown, width=100), typing(lines))
    return done, shown.getvalue()


def seen(config: PlayConfig, *lines: str) -> str:
    """All that the command shows a person who types `lines`."""
    shown = io.StringIO()
    run(config, Console(file=shown, width=100), typing(lines))
    return shown.getvalue()


def test_alfworlds_games_are_played_too(tmp_path):
    (tmp_path / "train").mkdir()
    write_content(tmp_path / "train/first", random_game(1, 6, OWN), "look_at_obj_in_light")
    alfworld = {"source": "alfworld", "path": str(tmp_path)}
    said = seen(PlayConfig(params=alfworld), "help")
    assert "Your task is to: " in said
    assert "Left after 1 steps." in said
    code, out, _ = shell("play", "household", "--params", "source=alfworld", f"path={tmp_path}", stdin="help\n")
    assert (code, "Left after 1 steps." in out) == (0, True)


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="a window can always be seen there")
@pytest.mark.parametrize(
    ("wanted", "display", "opened"),
    [("auto", True, True), ("auto", False, False), ("always", False, True), ("never", True, False)],
)
def test_a_window_opens_where_it_is_wanted_or_can_be_seen(monkeypatch, wanted, display, opened):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", ":0")
    said = seen(PlayConfig("faulty_envs:Windowed", window=wanted))
    assert ("The window is open." in said, "The window is shut." in said) == (opened, not opened)


def test_where_a_window_could_be_seen():
    assert has_display("linux", {"WAYLAND_DISPLAY": "wayland-0"})
    assert has_display("linux", {"DISPLAY": ":0"})
    assert not has_display("linux", {"DISPLAY": ""})
    assert has_display("darwin", {})


def test_a_world_without_a_window_shows_none(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    assert "Left after 0 steps." in seen(PlayConfig("household"))
    with pytest.raises(UsageError, match="has no window to show"):
        seen(PlayConfig("household", window="always"))


def test_arguments_and_tasks_are_chosen(capsys):
    assert "— out of steps after 1 steps" in seen(PlayConfig("tiny_envs:Echo", env_args={"max_steps": "1"}), "5")
    assert "A hint: 4." in seen(PlayConfig("tiny_envs:Echo", tasks=9, task="train/4"))
    assert "argument 'max_step'; did you mean 'max_steps'" in refused(capsys, "play", "--env-args", "max_step=3")


def test_a_task_that_is_not_in_the_set_is_refused(capsys):
    wrong = refused(capsys, "play", "door_env:Doors", "--task", "train/0/0O1", "--tasks", "5")
    assert "unknown task id (in the set " in wrong
    assert "of 5 tasks) 'train/0/0O1'; did you mean 'train/0/001'" in wrong


@pytest.mark.parametrize("env", ["household", "door_env:Doors"])
def test_any_action_can_be_typed(env):
    actions = ["x" * 100_000, "\x1b[2J\x07\x00open red", "open\u2028red", "\ud7ff🙂"]
    code, out, err = shell("play", env, stdin="".join(f"{action}\n" for action in actions))
    assert (code, err) == (0, "")
    assert out.count("refused: ") >= 2
    assert len(out) < 20_000
    assert not set(out) & {"\x1b", "\x07", "\x00"}


def test_the_end_of_input_is_a_polite_end():
    done, said = played(Lamps(), [])
    assert not done
    assert "It is dark." in said
    assert "Left after 0 steps." in said


def test_actions_by_word_and_by_number():
    _, said = played(Lamps(), [":admissible", "1", "light blue", ":quit", "never read"])
    assert "1 light green" in said
    assert said.count("The lamps green are lit.") == 2
    assert "Left after 2 steps." in said


def test_what_cannot_be_done_is_said():
    _, said = played(Lamps(), ["fly", "99", "9" * 5000, ":fly", ":undo", ":undo", ":undo", ""])
    assert "refused: that is no lamp" in said
    assert "there is no action 99; :admissible lists 1 to 2" in said
    assert "there is no command ':fly'" in said
    assert "nothing to take back" in said
    assert "Left after 0 steps." in said


def test_an_action_may_have_several_lines():
    heard = []

    class Hearing(Lamps):
        def act(self, action):
            heard.append(action)
            return super().act(action)

    played(Hearing(), ["write ```", "a", "b", "```", "write ```c```", "``` never closed"])
    assert heard == ["write ```\na\nb\n```", "write ```c```"]


@pytest.mark.parametrize("world", [Lamps, Echo])
def test_undo_goes_back_to_the_same_moment(world):
    once, twice = [played(world(), lines)[1] for lines in (["a", "b"], ["a", "b", ":u", ":u", "a", "b"])]
    assert "Left after 2 steps." in twice
    assert once.splitlines()[-3:] == twice.splitlines()[-3:]


def test_the_end_of_an_episode_can_be_undone_or_restarted():
    done, said = played(Echo(max_steps=2), ["5", "0", "more", ":undo", ":restart", "0"])
    assert done
    assert said.count("— done after") == 2
    assert "the episode is over; :undo" in said
    assert "— out of steps after 1 steps, reward 0 —" in played(Echo(max_steps=1), ["5"])[1]


def test_worlds_that_do_not_list_their_actions():
    assert "type one in words" in played(Echo(), [":a"])[1]


def test_a_world_cannot_speak_to_the_terminal():
    assert shown("a\x1b[2J\x07b\n[bold]é🙂").plain == "a\ufffd[2J\ufffdb\n[bold]é🙂"
