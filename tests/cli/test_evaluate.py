"""`kintsugi eval`: several models and agents in one run, and one-line errors for invalid models and runs."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from command_line import HEAVY, attempt_rows, files_limited_to, refused, run_command, run_in_subprocess
from kintsugi.loops.measuring.evaluation import Score
from kintsugi.loops.runs.database import SCHEMA_VERSION
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from tiny_models import save_tiny_model

MEASURE = ("--env", "door_env:Doors", "--tasks", "12", "--at-once", "4")
BUY_AND_HOLD = "kintsugi.agents.experts.trading_rules:BUY_AND_HOLD"

pytestmark = pytest.mark.usefixtures("working_folder")


def stored_score(name: str, split: str = "valid_unseen") -> Score:
    with RunStore.read(Path("run")) as store:
        return Score.from_json(store.results()[Stage.from_model_round("score", name, split)])


@pytest.fixture
def measured_command(random_model: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, ...]:
    """A command that has measured a model in the folder `run`."""
    command = ("eval", "--model", random_model, "--name", "base", "--run", "run", *MEASURE)
    assert run_command(capsys, *command)[0] == 0
    return command


# -- Evaluations ------------------------------------------------------------------------------------------------------


def test_several_models_are_measured_in_one_run(random_model, capsys):
    improve = ("improve", "re-rest", "--env", "door_env:Doors", "--loop.practice.tasks", "12", "--gate", "off")
    assert run_command(capsys, *improve, "--held-out.tasks", "4", "--model", random_model, "--run", "improved")[0] == 0
    adapter = ("--adapter", "improved/adapters/re_rest@1")
    command = ("eval", "--model", random_model, "--run", "run", *MEASURE)
    code, out, _ = run_command(capsys, *command)
    assert (code, "random.json" in out) == (0, True)
    code, out, _ = run_command(capsys, *command, *adapter)
    assert (code, "re_rest@1" in out) == (0, True)
    assert stored_score("re_rest@1").success.value > stored_score("random.json").success.value
    assert run_command(capsys, "compare", "run/random.json", "run/re_rest@1")[0] == 0
    wrong = refused(capsys, *command, *adapter, "--name", "random.json")
    assert "use a new run folder, or another name" in wrong


def test_a_finished_evaluation_of_the_seed_policy_is_not_repeated(doors_seed, doors_world, capsys):
    command = ("eval", "--model", doors_seed, "--run", "run", "--env", "doors", "--tasks", "6")
    code, out, _ = run_command(capsys, *command, "--splits", "valid_seen", "valid_unseen")
    assert code == 0
    assert [stored_score(doors_seed.name, split).n for split in ("valid_seen", "valid_unseen")] == [6, 6]
    before = attempt_rows()
    assert len(before) == 12
    assert run_command(capsys, *command, "--splits", "valid_seen", "valid_unseen") == (0, out, "")
    assert attempt_rows() == before


@pytest.mark.parametrize("split", [("--split", "valid_seen"), ("--splits", "valid_seen")])
def test_split_is_an_alias_of_splits(split, red_model, capsys):
    assert run_command(capsys, "eval", "--model", red_model, "--run", "run", *MEASURE, *split)[0] == 0
    assert stored_score("red.json", "valid_seen").n == 12


def test_a_score_has_all_settings_of_the_evaluation(red_model, capsys):
    flags = ("--env-args", "max_steps=1", "--temperature", "0.5", "--seed", "7", "--decoding", "constrained")
    assert run_command(capsys, "eval", "--model", red_model, "--run", "run", *MEASURE, *flags)[0] == 0
    found = stored_score("red.json")
    assert (found.step_limit, found.mean_steps, found.decoding, found.seeds) == (1, 1.0, "constrained", (7,))
    assert found.repeatable is True
    assert (found.settings["temperature"], found.settings["max_tokens"]) == (0.5, 32)
    assert found.settings["env"]["id"] == "door_env:Doors"
    assert found.settings["env"]["kwargs"]["max_steps"] == 1
    [agent] = found.agents
    assert agent.startswith("react-")
    with RunStore.read(Path("run")) as store:
        assert (store.config["env_args"]["max_steps"], store.config["held_out"]["at_once"]) == (1, 4)


@pytest.mark.parametrize(
    ("agent", "world"),
    [("faulty_envs:Reading", ("tiny_envs:Echo",)), (BUY_AND_HOLD, ("trading", "--params", "bars=20"))],
    ids=["class", "instance"],
)
def test_a_rule_is_measured_without_a_model(agent, world):
    """No model and no model library is needed."""
    command = ("eval", "--agent", agent, "--env", *world, "--tasks", "3", "--split", "valid", "--run", "run")
    code, out, err = run_in_subprocess(*command, without=[name for name in HEAVY if name != "scipy"])
    assert (code, err) == (0, "")
    name = agent.rpartition(":")[2]
    found = stored_score(name, "valid")
    assert (found.n, found.sampled_tokens, found.infra_errors) == (3, 0, 0)
    assert name in out
    with RunStore.read(Path("run")) as store:
        attempts = store.trajectories(Stage("eval", name, "valid"))
    assert {attempt.agent for attempt in attempts} == {"reading" if "Reading" in agent else "buy-and-hold"}
    if "Reading" in agent:
        assert found.success.value == 1.0
    else:
        # The environment scores an agent relative to buy-and-hold; equal returns give 0.5.
        assert [attempt.score for attempt in attempts] == pytest.approx([0.5] * 3)


# -- Invalid models and adapters --------------------------------------------------------------------------------------


def test_unknown_models_are_reported_with_the_nearest_names(tiny_model, capsys):
    shutil.copytree(tiny_model, "models/household-a40")
    for command in (("improve", "re-rest", "--gate", "off", "--env", "door_env:Doors"), ("eval", *MEASURE)):
        wrong = refused(capsys, *command, "--model", "sed", "--run", "run")
        assert "unknown model 'sed'; did you mean 'seed'" in wrong
        wrong = refused(capsys, *command, "--model", "models/houshold-a40", "--run", "run")
        assert "did you mean 'models/household-a40'" in wrong
        wrong = refused(capsys, *command, "--model", "seed:houshold", "--run", "run")
        assert "did you mean 'household'" in wrong
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("model", "content", "expected"),
    [
        ("", None, "the model's name is empty; expected KIND:REST or a Hugging Face model folder"),
        ("lokal:models/tiny", None, "unknown model 'lokal:models/tiny'; did you mean 'local:models/tiny'"),
        ("local:", None, "is not a model that can be loaded"),
        ("scripted:script.json", None, "cannot read the script 'script.json' ([Errno 2]"),
        ("scripted:script.json", "{", "cannot read the script 'script.json' (Expecting"),
        (
            "scripted:script.json",
            '{"a": 3}',
            "the script 'script.json' has the wrong form; expected a list of texts, or an object",
        ),
        (
            "scripted:script.json",
            "[]",
            "the script 'script.json' has the wrong form; expected a list of texts, or an object",
        ),
        ("seed", None, "environment 'door_env:Doors' has no seed policy; choose a model with --model"),
    ],
)
def test_invalid_models_are_refused(model, content, expected, capsys):
    if content is not None:
        Path("script.json").write_text(content)
    assert expected in refused(capsys, "eval", "--model", model, "--run", "run", *MEASURE)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (["chat_template.jinja"], "has no chat template; pass one with --chat-template FILE"),
        (["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"], "has no"),
        (["config.json"], "is not a model that can be loaded"),
    ],
)
def test_incomplete_models_are_refused(missing, expected, tiny_model, capsys):
    shutil.copytree(tiny_model, "broken")
    for name in missing:
        Path("broken", name).unlink()
    for command in (("improve", "re-rest", "--env", "door_env:Doors"), ("eval", *MEASURE)):
        assert expected in refused(capsys, *command, "--model", "broken", "--run", "run")
    assert not Path("run").exists()


def test_an_adapter_of_another_base_model_is_refused(tiny_model, tmp_path, capsys):
    from kintsugi.agents.models import Message
    from kintsugi.loops.learning.core import Example, FitConfig
    from kintsugi.loops.learning.learner import LocalLearner

    other = save_tiny_model(tmp_path / "other", seed=1)
    chat = [Message("user", "a"), Message("assistant", "b")]
    Path("agent@1").mkdir()
    LocalLearner(other).fit([Example(chat)], Path("agent@1"), name="agent@1", config=FitConfig(epochs=1))
    wrong = refused(capsys, "eval", "--model", tiny_model, "--adapter", "agent@1", "--run", "run", *MEASURE)
    assert "agent@1 was trained on base" in wrong
    assert "use the base model of the adapter" in wrong
    wrong = refused(capsys, "eval", "--model", tiny_model, "--adapter", "agent@2", "--run", "run", *MEASURE)
    assert "agent@2 has no adapter_" in wrong
    assert not Path("run").exists()


@pytest.mark.parametrize("command", [("eval", "--tasks", "2"), ("improve", "self-training", "--gate", "off")])
def test_a_command_that_fails_before_its_first_attempt_leaves_no_run(command, red_model, capsys):
    wrong = refused(capsys, *command, "--model", red_model, "--run", "runs/x", "--env", "faulty_envs:Refusing")
    assert "no engine; install one" in wrong
    assert not Path("runs").exists()


# -- Invalid runs -----------------------------------------------------------------------------------------------------


def tamper(statement: str) -> None:
    with contextlib.closing(sqlite3.connect("run/run.db")) as db:
        db.execute("DROP TRIGGER IF EXISTS append_only_update")
        db.execute(statement)
        db.commit()


def test_a_run_with_other_settings_or_format_is_refused(measured_command, capsys):
    before = attempt_rows()
    wrong = refused(capsys, *measured_command, "--temperature", "0.5")
    assert "held_out.temperature: 0.0 -> 0.5" in wrong
    assert "use the old values to resume it, or name a new folder" in wrong
    tamper("UPDATE meta SET value = '99' WHERE key = 'schema'")
    assert "was written with run format 99" in refused(capsys, *measured_command)
    tamper(f"UPDATE meta SET value = '{SCHEMA_VERSION}' WHERE key = 'schema'")
    assert run_command(capsys, *measured_command)[0] == 0
    assert attempt_rows() == before


def test_another_agent_under_the_same_name_is_refused(measured_command, capsys):
    before = attempt_rows()
    wrong = refused(capsys, *measured_command, "--agent-args", "system=Be brief.")
    assert "stage 'eval/base/valid_unseen' holds attempts that do not match the requested ones" in wrong
    assert "agent: react-" in wrong
    assert attempt_rows() == before
    assert run_command(capsys, *measured_command, "--agent-args", "system=Be brief.", "--name", "brief")[0] == 0
    assert len(attempt_rows()) == 2 * len(before)


def test_a_damaged_row_is_refused(measured_command, capsys):
    tamper("UPDATE trajectories SET data = replace(data, 'doors', 'boors') WHERE number = 3")
    damaged = attempt_rows()
    for command in (measured_command, ("report", "run"), ("compare", "run", "run")):
        wrong = refused(capsys, *command)
        assert f"stage 'eval/base/valid_unseen': trajectory '{damaged[2][1]}' is damaged" in wrong
        assert "restore the file from a copy" in wrong
    assert attempt_rows() == damaged


def test_a_full_disk_loses_nothing(random_model, capsys):
    command = ("eval", "--model", random_model, "--name", "base", "--run", "run", *MEASURE, "--samples", "9")
    with files_limited_to(150_000):
        wrong = refused(capsys, *command)
    assert "earlier records are intact." in wrong
    assert "run the same command again to resume" in wrong
    before = attempt_rows()
    assert 0 < len(before) < 108
    assert len(before) % 4 == 0
    assert run_command(capsys, *command)[0] == 0
    assert attempt_rows()[: len(before)] == before
    assert len(attempt_rows()) == 108


@pytest.mark.parametrize("flag", [("--pictures",), ()])
def test_pictures_are_stored_if_requested(flag, red_model, capsys):
    world = ("--env", "faulty_envs:Painted", "--tasks", "2")
    assert run_command(capsys, "eval", "--model", red_model, "--run", "run", *world, *flag)[0] == 0
    with RunStore.read(Path("run")) as store:
        [stage] = store.trajectory_stages()
        named = {step.picture for attempt in store.trajectories(stage) for step in attempt.steps}
    stored = {path.name for path in Path("run/pictures").glob("*")}
    assert (named, len(stored)) == ((stored, 2) if flag else ({""}, 0))
