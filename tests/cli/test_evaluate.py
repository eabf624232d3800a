"""`kintsugi eval`: several models and agents in one run, and what is wrong with a run or a model said in one line."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from command_line import HEAVY, files_limited_to, refused, rows, said, shell
from kintsugi.loops.measuring.evaluation import Score
from kintsugi.loops.runs.database import SCHEMA_VERSION
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore
from tiny_models import saved

MEASURE = ("--env", "door_env:Doors", "--tasks", "12", "--at-once", "4")
HOLD = "kintsugi.agents.experts.trading_rules:BUY_AND_HOLD"

pytestmark = pytest.mark.usefixtures("here")


def score_of(name: str, split: str = "valid_unseen") -> Score:
    with RunStore.read(Path("run")) as store:
        return Score.from_json(store.results()[Stage.named("score", name, split)])


@pytest.fixture
def measured(drawing: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, ...]:
    """A command that measured a model in the folder `run`."""
    command = ("eval", "--model", drawing, "--name", "base", "--run", "run", *MEASURE)
    assert said(capsys, *command)[0] == 0
    return command


# -- What is measured -------------------------------------------------------------------------------------------------


def test_several_models_are_measured_in_one_run(drawing, capsys):
    improve = ("improve", "re-rest", "--env", "door_env:Doors", "--loop.practice.tasks", "12", "--gate", "off")
    assert said(capsys, *improve, "--held-out.tasks", "4", "--model", drawing, "--run", "learnt")[0] == 0
    adapter = ("--adapter", "learnt/adapters/re_rest@1")
    command = ("eval", "--model", drawing, "--run", "run", *MEASURE)
    code, out, _ = said(capsys, *command)
    assert (code, "drawing.json" in out) == (0, True)
    code, out, _ = said(capsys, *command, *adapter)
    assert (code, "re_rest@1" in out) == (0, True)
    assert score_of("re_rest@1").success.value > score_of("drawing.json").success.value
    assert said(capsys, "compare", "run/drawing.json", "run/re_rest@1")[0] == 0
    wrong = refused(capsys, *command, *adapter, "--name", "drawing.json")
    assert "use a new run folder, or another name" in wrong


def test_the_seed_policy_is_measured_and_not_measured_again(doors_seed, doors_world, capsys):
    command = ("eval", "--model", doors_seed, "--run", "run", "--env", "doors", "--tasks", "6")
    code, out, _ = said(capsys, *command, "--splits", "valid_seen", "valid_unseen")
    assert code == 0
    assert [score_of(doors_seed.name, split).n for split in ("valid_seen", "valid_unseen")] == [6, 6]
    kept = rows()
    assert len(kept) == 12
    assert said(capsys, *command, "--splits", "valid_seen", "valid_unseen") == (0, out, "")
    assert rows() == kept


@pytest.mark.parametrize("split", [("--split", "valid_seen"), ("--splits", "valid_seen")])
def test_a_split_is_named_in_the_singular_too(split, stubborn, capsys):
    assert said(capsys, "eval", "--model", stubborn, "--run", "run", *MEASURE, *split)[0] == 0
    assert score_of("stubborn.json", "valid_seen").n == 12


def test_a_score_says_everything_that_is_needed_to_measure_again(stubborn, capsys):
    flags = ("--env-args", "max_steps=1", "--temperature", "0.5", "--seed", "7", "--decoding", "constrained")
    assert said(capsys, "eval", "--model", stubborn, "--run", "run", *MEASURE, *flags)[0] == 0
    found = score_of("stubborn.json")
    assert (found.step_cap, found.mean_steps, found.decoding, found.seeds) == (1, 1.0, "constrained", (7,))
    assert found.repeatable is True
    assert (found.settings["temperature"], found.settings["max_tokens"]) == (0.5, 32)
    assert found.settings["env"]["id"] == "door_env:Doors"
    assert found.settings["env"]["kwargs"]["max_steps"] == 1
    [agent] = found.agents
    assert agent.startswith("react-")
    with RunStore.read(Path("run")) as store:
        assert (store.config["env_args"]["max_steps"], store.config["on"]["at_once"]) == (1, 4)


@pytest.mark.parametrize(
    ("agent", "world"),
    [("faulty_envs:Reading", ("tiny_envs:Echo",)), (HOLD, ("trading", "--params", "bars=20"))],
    ids=["class", "instance"],
)
def test_a_rule_is_measured_without_any_model(agent, world):
    """Neither a model nor what runs models is needed."""
    command = ("eval", "--agent", agent, "--env", *world, "--tasks", "3", "--split", "valid", "--run", "run")
    code, out, err = shell(*command, without=[name for name in HEAVY if name != "scipy"])
    assert (code, err) == (0, "")
    name = agent.rpartition(":")[2]
    found = score_of(name, "valid")
    assert (found.n, found.sampled_tokens, found.infra_errors) == (3, 0, 0)
    assert name in out
    with RunStore.read(Path("run")) as store:
        attempts = store.trajectories(Stage("eval", name, "valid"))
    assert {attempt.agent for attempt in attempts} == {"reading" if "Reading" in agent else "buy-and-hold"}
    if "Reading" in agent:
        assert found.success.value == 1.0
    else:
        # Who buys and holds ends with what the world says that buying and holding earns.
        assert [attempt.score for attempt in attempts] == pytest.approx([0.5] * 3)


# -- Models and adapters that do not fit ------------------------------------------------------------------------------


def test_unknown_models_are_said_with_the_nearest_names(tiny_model, capsys):
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
        ("", None, "the model's name is empty; expected KIND:REST, or a Hugging Face model folder"),
        ("lokal:models/tiny", None, "unknown model 'lokal:models/tiny'; did you mean 'local:models/tiny'"),
        ("local:", None, "is no model that can be loaded"),
        ("scripted:script.json", None, "cannot read the script 'script.json' ([Errno 2]"),
        ("scripted:script.json", "{", "cannot read the script 'script.json' (Expecting"),
        ("scripted:script.json", '{"a": 3}', "the script 'script.json' is neither a list of texts nor an object"),
        ("scripted:script.json", "[]", "the script 'script.json' is neither a list of texts nor an object"),
        ("seed", None, "environment 'door_env:Doors' has no seed policy; name a model with --model"),
    ],
)
def test_a_model_that_cannot_be_meant_is_said(model, content, expected, capsys):
    if content is not None:
        Path("script.json").write_text(content)
    assert expected in refused(capsys, "eval", "--model", model, "--run", "run", *MEASURE)
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
    for command in (("improve", "re-rest", "--env", "door_env:Doors"), ("eval", *MEASURE)):
        assert expected in refused(capsys, *command, "--model", "broken", "--run", "run")
    assert not Path("run").exists()


def test_an_adapter_of_another_base_is_refused(tiny_model, tmp_path, capsys):
    from kintsugi.agents.models import Message
    from kintsugi.loops.learning.core import Example, FitConfig
    from kintsugi.loops.learning.learner import LocalLearner

    other = saved(tmp_path / "other", seed=1)
    chat = [Message("user", "a"), Message("assistant", "b")]
    Path("agent@1").mkdir()
    LocalLearner(other).fit([Example(chat)], Path("agent@1"), name="agent@1", config=FitConfig(epochs=1))
    wrong = refused(capsys, "eval", "--model", tiny_model, "--adapter", "agent@1", "--run", "run", *MEASURE)
    assert "agent@1 was trained on base" in wrong
    assert "use the model that it was trained on" in wrong
    wrong = refused(capsys, "eval", "--model", tiny_model, "--adapter", "agent@2", "--run", "run", *MEASURE)
    assert "agent@2 holds no adapter_" in wrong
    assert not Path("run").exists()


# -- Runs that do not fit ---------------------------------------------------------------------------------------------


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


def test_another_agent_is_refused_under_the_same_name(measured, capsys):
    kept = rows()
    wrong = refused(capsys, *measured, "--agent-args", "system=Be brief.")
    assert "stage 'eval/base/valid_unseen' holds attempts that are not the first of those asked for" in wrong
    assert "agent: react-" in wrong
    assert rows() == kept
    assert said(capsys, *measured, "--agent-args", "system=Be brief.", "--name", "brief")[0] == 0
    assert len(rows()) == 2 * len(kept)


def test_a_damaged_row_is_refused(measured, capsys):
    tamper("UPDATE trajectories SET data = replace(data, 'doors', 'boors') WHERE number = 3")
    damaged = rows()
    for command in (measured, ("report", "run"), ("compare", "run", "run")):
        wrong = refused(capsys, *command)
        assert f"the row of trajectory of 'eval/base/valid_unseen' '{damaged[2][1]}' is damaged" in wrong
        assert "restore the file from a copy" in wrong
    assert rows() == damaged


def test_a_full_disk_loses_nothing(drawing, capsys):
    command = ("eval", "--model", drawing, "--name", "base", "--run", "run", *MEASURE, "--samples", "9")
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


@pytest.mark.parametrize("flag", [("--pictures",), ()])
def test_pictures_are_kept_where_they_are_asked_for(flag, stubborn, capsys):
    world = ("--env", "faulty_envs:Painted", "--tasks", "2")
    assert said(capsys, "eval", "--model", stubborn, "--run", "run", *world, *flag)[0] == 0
    with RunStore.read(Path("run")) as store:
        [stage] = store.trajectory_stages()
        named = {step.picture for attempt in store.trajectories(stage) for step in attempt.steps}
    kept = {path.name for path in Path("run/pictures").glob("*")}
    assert (named, len(kept)) == ((kept, 2) if flag else ({""}, 0))
