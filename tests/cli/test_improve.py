"""`kintsugi improve` and `eval`: a whole small run, and every bad input as one line and exit code 2."""

from __future__ import annotations

import contextlib
import io
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kintsugi.cli import main as cli
from kintsugi.cli.main.improve import ImproveReReST, in_world
from kintsugi.envs.registry import find
from kintsugi.loops.runs.store import SCHEMA_VERSION, RunStore
from tiny_models import saved

SMALL = (
    *("--loop.practice.env", "doors", "--loop.practice.tasks", "12", "--loop.practice.at-once", "8"),
    *("--loop.practice.fit.epochs", "1", "--held-out.env", "doors", "--held-out.tasks", "8"),
)
MEASURE = ("--env", "doors", "--tasks", "12", "--at-once", "4")


@pytest.fixture(autouse=True)
def world(doors_world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line on stderr of a command that must be refused."""
    code, out, err = said(capsys, *argv)
    assert (code, err.count("\n")) == (2, 1), err
    assert out.strip() == ""
    return err


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# -- A whole run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["self-training", "re-rest"])
def test_a_loop_is_run_measured_and_not_run_again(loop, doors_seed, capsys):
    command = ("improve", loop, "--model", doors_seed, "--run", "run", *SMALL)
    code, out, _ = said(capsys, *command)
    assert code == 0
    for expected in ("base", loop, "Paired on the same tasks", f"adapter: run/adapters/{loop.replace('-', '_')}@1"):
        assert expected in out
    with RunStore.read(Path("run")) as store:
        stages = store.trajectory_stages()
        assert stages[0] == "eval/base/valid_unseen"
        assert stages[-1] == f"eval/{loop}/valid_unseen"
        assert {"score/base/valid_unseen", f"score/{loop}/valid_unseen"} <= store.results().keys()
        before = store.results()
        assert store.config["loop"]["practice"]["tasks"] == 12
    assert said(capsys, *command) == (0, out, "")
    with RunStore.read(Path("run")) as store:
        assert store.results() == before


def test_the_usual_number_of_tasks_is_in_the_record():
    usual = in_world(ImproveReReST(env="code"))
    assert (usual.loop.practice.env, usual.loop.practice.tasks) == ("code", find("code").practice)
    assert in_world(ImproveReReST()).loop.practice.tasks == find("household").practice
    chosen = replace(usual.loop.practice, tasks=5)
    assert in_world(replace(usual, loop=replace(usual.loop, practice=chosen))).loop.practice.tasks == 5


def test_one_flag_names_the_world_for_practice_and_scores(doors_seed, capsys):
    long = dict(zip(SMALL[::2], SMALL[1::2], strict=True))
    rest = [word for flag, value in long.items() if not flag.endswith(".env") for word in (flag, value)]
    command = ("improve", "re-rest", "--model", doors_seed, "--run", "run")
    code, out, _ = said(capsys, *command, "--env", "doors", *rest)
    assert code == 0
    # The same run, whichever way it was asked for.
    assert said(capsys, *command, *SMALL) == (0, out, "")
    assert "'dors'; did you mean 'doors'" in refused(capsys, *command, "--env", "dors", *rest)
    words = ("eval", "--model", doors_seed, "--run", "scores", "--tasks", "6", "--splits", "valid_seen")
    assert said(capsys, *words, "--env", "doors")[0] == 0


def test_agent_r_is_measured_from_bad_beginnings_too(doors_seed, capsys):
    search = ("--loop.search.iterations", "2", "--loop.search.candidates", "2", "--loop.alpha", "1.0")
    prompt = ("--loop.verifier.prompts", "tiny/Doors", "Judge.")
    begun = ("--recovery.steps", "1", "--recovery.most", "4", "--recovery.temperature", "1.0")
    command = ("improve", "agent-r", "--model", doors_seed, "--run", "run", *SMALL, *search, *prompt, *begun)
    code, out, err = said(capsys, *command)
    assert (code, err) == (0, "")
    for expected in ("From bad beginnings", "Trees and splices", "adapter: run/adapters/agent_r@1"):
        assert expected in out
    with RunStore.read(Path("run")) as store:
        assert store.config["loop"]["alpha"] == [1.0]
        assert {"score/base/recovery", "score/agent-r/recovery"} <= store.results().keys()
    assert said(capsys, *command) == (0, out, "")
    assert "recovery.steps: 1 -> 2" in refused(capsys, *command[:-6], "--recovery.steps", "2", *command[-4:])


def test_no_first_error_is_a_flag(doors_seed, capsys):
    search = ("--loop.search.iterations", "2", "--loop.search.candidates", "2", "--loop.alpha", "1.0")
    begun = ("--recovery.steps", "1", "--recovery.temperature", "1.0", "--loop.no-first-error", "loop.again:none")
    code, _, _ = said(capsys, "improve", "agent-r", "--model", doors_seed, "--run", "run", *SMALL, *search, *begun)
    assert code == 0
    with RunStore.read(Path("run")) as store:
        assert (store.config["loop"]["first_error"], store.config["loop"]["again"]) == (False, None)
        assert store.results()["agent_r/round1"]["judged"] == 0


def test_a_gate_that_admits_nothing_says_so(doors_seed, capsys):
    gate = ("--loop.gate.tasks", "6", "--loop.gate.margin", "2")
    code, out, _ = said(capsys, "improve", "self-training", "--model", doors_seed, "--run", "run", *SMALL, *gate)
    assert (code, "no round was adopted" in out) == (0, True)


def test_several_models_are_measured_in_one_run(doors_seed, capsys):
    assert said(capsys, "improve", "self-training", "--model", doors_seed, "--run", "run", *SMALL)[0] == 0
    code, out, _ = said(capsys, "eval", "--model", doors_seed, "--name", "base", "--run", "scores", *MEASURE)
    assert (code, "base" in out) == (0, True)
    adapter = ("--adapter", "run/adapters/self_training@1")
    code, out, _ = said(capsys, "eval", "--model", doors_seed, *adapter, "--run", "scores", *MEASURE)
    assert (code, "self_training@1" in out) == (0, True)
    assert said(capsys, "compare", "scores/base", "scores/self_training@1")[0] == 0
    err = refused(capsys, "eval", "--model", doors_seed, *adapter, "--name", "base", "--run", "scores", *MEASURE)
    assert "give this one another name" in err


# -- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--loop.practice.env", "dors"), "unknown environment 'dors'; did you mean 'doors'?"),
        (("--held-out.env", "dors"), "unknown environment 'dors'; did you mean 'doors'?"),
        (("--held-out.tasks", "0"), "tasks is 0"),
    ],
)
def test_bad_tasks_are_said_before_a_run_is_begun(flags, expected, doors_seed, capsys):
    flags = dict([*zip(SMALL[::2], SMALL[1::2], strict=True), flags])
    words = [word for pair in flags.items() for word in pair]
    assert expected in refused(capsys, "improve", "re-rest", "--model", doors_seed, "--run", "run", *words)
    assert not Path("run").exists()


def test_unknown_models_are_said_with_the_nearest_names(tiny_model, capsys):
    shutil.copytree(tiny_model, "models/household-a40")
    for command in (("improve", "re-rest", *SMALL), ("eval", *MEASURE)):
        wrong = refused(capsys, *command, "--model", "sed", "--run", "run")
        assert "unknown model 'sed'; did you mean 'seed'" in wrong
        wrong = refused(capsys, *command, "--model", "models/houshold-a40", "--run", "run")
        assert "did you mean 'models/household-a40'" in wrong
        wrong = refused(capsys, *command, "--model", "seed:houshold", "--run", "run")
        assert "did you mean 'household'" in wrong
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (["chat_template.jinja"], "has no chat template; use an instruction-tuned model"),
        (["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"], "has no"),
        (["config.json"], "is no model that can be loaded"),
    ],
)
def test_a_model_that_lacks_something_is_refused(missing, expected, tiny_model, capsys):
    shutil.copytree(tiny_model, "broken")
    for name in missing:
        Path("broken", name).unlink()
    assert expected in refused(capsys, "improve", "re-rest", "--model", "broken", "--run", "run", *SMALL)
    assert not Path("run").exists()


def test_an_adapter_of_another_base_is_refused(doors_seed, tmp_path, capsys):
    from kintsugi.agents.models import Message
    from kintsugi.loops.learning.learner import Example, FitConfig, fit

    other = saved(tmp_path / "other")
    chat = [Message("user", "a"), Message("assistant", "b")]
    fit(other, [Example(chat)], FitConfig(epochs=1), tmp_path / "agent@1", name="agent@1")
    wrong = refused(capsys, "eval", "--model", doors_seed, "--adapter", "agent@1", "--run", "run", *MEASURE)
    assert "agent@1 was trained on base" in wrong
    assert "use the model that it was trained on" in wrong
    wrong = refused(capsys, "eval", "--model", doors_seed, "--adapter", "agent@2", "--run", "run", *MEASURE)
    assert "agent@2 holds no adapter_" in wrong
    assert not Path("run").exists()


@pytest.fixture
def measured(doors_seed: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, ...]:
    """A command that measured a model in the folder `run`."""
    command = ("eval", "--model", doors_seed, "--name", "base", "--run", "run", *MEASURE)
    assert said(capsys, *command)[0] == 0
    return command


def rows() -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect("run/run.db")) as db:
        return db.execute("SELECT stage, key, data FROM trajectories ORDER BY number").fetchall()


def tamper(statement: str) -> None:
    with contextlib.closing(sqlite3.connect("run/run.db")) as db:
        db.execute("DROP TRIGGER IF EXISTS append_only_update")
        db.execute(statement)
        db.commit()


def test_a_run_of_another_configuration_or_version_is_refused(measured, capsys):
    kept = rows()
    wrong = refused(capsys, *measured, "--temperature", "0.5")
    assert "on.temperature: 0.0 -> 0.5" in wrong
    assert "run with the old values to continue it, or name a new folder" in wrong
    tamper("UPDATE meta SET value = '99' WHERE key = 'schema'")
    assert "was written with run format 99" in refused(capsys, *measured)
    tamper(f"UPDATE meta SET value = '{SCHEMA_VERSION}' WHERE key = 'schema'")
    assert said(capsys, *measured)[0] == 0
    assert rows() == kept


def test_a_damaged_row_is_refused(measured, capsys):
    tamper("UPDATE trajectories SET data = replace(data, 'doors', 'boors') WHERE number = 3")
    damaged = rows()
    for command in (measured, ("report", "run"), ("compare", "run", "run")):
        wrong = refused(capsys, *command)
        assert f"the row of trajectory of 'eval/base/valid_unseen' '{damaged[2][1]}' is damaged" in wrong
        assert "restore the file from a copy" in wrong
    assert rows() == damaged


def test_a_full_disk_loses_nothing(doors_seed, capsys):
    command = ("eval", "--model", doors_seed, "--name", "base", "--run", "run", *MEASURE, "--samples", "9")
    with files_limited_to(150_000):
        wrong = refused(capsys, *command)
    assert "what was stored before is kept." in wrong
    assert "run the same command again: it goes on where it was" in wrong
    kept = rows()
    assert 0 < len(kept) < 108
    assert len(kept) % 4 == 0
    assert said(capsys, *command)[0] == 0
    assert rows()[: len(kept)] == kept
    assert len(rows()) == 108


def test_an_adapter_that_finds_no_room_is_trained_later(doors_seed, capsys):
    rank = ("--loop.practice.fit.lora.rank", "64")
    command = ("improve", "self-training", "--model", doors_seed, "--run", "run", *SMALL, *rank)
    with files_limited_to(180_000):
        wrong = refused(capsys, *command)
    assert "Free some disk space and run the same command again" in wrong
    assert not Path("run/adapters/self_training@1").exists()
    kept = rows()
    assert {stage for stage, *_ in kept} == {"eval/base/valid_unseen", "collect/policy"}
    assert said(capsys, *command)[0] == 0
    assert rows()[: len(kept)] == kept


# -- Playing ----------------------------------------------------------------------------------------------------------


def test_a_task_that_is_not_in_the_set_is_refused(capsys):
    wrong = refused(capsys, "play", "doors", "--task", "train/0/0O1", "--tasks", "5")
    assert "unknown task id (in the set " in wrong
    assert "of 5 tasks) 'train/0/0O1'; did you mean 'train/0/001'" in wrong


@pytest.mark.parametrize("env", ["household", "doors"])
def test_any_action_can_be_typed(env, capsys, monkeypatch):
    actions = ["x" * 100_000, "\x1b[2J\x07\x00open red", "open\u2028red", "\ud7ff🙂"]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{action}\n" for action in actions)))
    code, out, err = said(capsys, "play", env)
    assert (code, err) == (0, "")
    assert out.count("refused: ") >= 2
    assert len(out) < 20_000
    assert not set(out) & {"\x1b", "\x07", "\x00"}
