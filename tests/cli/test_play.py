"""A person at the terminal: actions by word and by number, the way back, and a polite end."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from kintsugi.benchmarks.textworld.random_games import random_game
from kintsugi.cli.main.play import PlayConfig, play, run, shown
from kintsugi.envs import AgentEnv
from kintsugi.envs.household.alfworld.domain import own
from kintsugi.envs.household.alfworld.export import write_content
from kintsugi.envs.registry import EnvEntry
from kintsugi.errors import UsageError
from rich.console import Console
from tiny_worlds import Echo, Lamps

OWN = {"pddl_domain": own("domain.pddl"), "grammar": own("grammar.twl2")}


def played(env: AgentEnv, lines: Sequence[str]) -> tuple[bool, str]:
    """Whether the task was done, and all that was shown, when a person types `lines` and then closes the input."""
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    typed = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    done = play(env, env.tasks("train").tasks[0], console, read)
    return done, shown.getvalue()


def test_alfworlds_games_are_played_too(tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    write_content(tmp_path / "train/first", random_game(1, 6, OWN), "look_at_obj_in_light")
    monkeypatch.setattr("sys.stdin", io.StringIO("help\n"))
    shown = io.StringIO()
    run(PlayConfig(alfworld=str(tmp_path)), Console(file=shown, width=100))
    assert "Your task is to: " in shown.getvalue()
    assert "Left after 1 steps." in shown.getvalue()
    with pytest.raises(UsageError, match="ALFWorld's games are played in kintsugi/Household-v0"):
        run(PlayConfig(env="code", alfworld=str(tmp_path)), Console(file=shown))


@pytest.mark.parametrize(
    ("wanted", "display", "opened"),
    [("auto", True, True), ("auto", False, False), ("always", False, True), ("never", True, False)],
)
def test_a_window_opens_where_it_is_wanted_or_can_be_seen(monkeypatch, wanted, display, opened):
    made = []

    class Windowed(Echo):
        def __init__(self, *, headless: bool = True) -> None:
            made.append(not headless)
            super().__init__()

    monkeypatch.setattr(EnvEntry, "load", lambda self: Windowed)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    run(PlayConfig("web", window=wanted), Console(file=io.StringIO()))
    assert made == [opened]


def test_a_world_without_a_window_shows_none(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    run(PlayConfig("household"), Console(file=io.StringIO()))
    with pytest.raises(UsageError, match="has no window to show"):
        run(PlayConfig("household", window="always"), Console(file=io.StringIO()))


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
