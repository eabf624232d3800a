"""`kintsugi improve`: small complete runs, their records and output, and one-line errors for bad input."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import HEAVY, attempt_rows, files_limited_to, refused, run_command, run_in_subprocess
from kintsugi.loops.runs.store import RunStore

SMALL = (
    "--env",
    "door_env:Doors",
    "--loop.practice.tasks",
    "12",
    "--loop.attempts.at-once",
    "8",
    "--held-out.tasks",
    "8",
)
GATED = (*SMALL, "--loop.gate.tasks", "20")
SEED = (
    *("--env", "doors", "--loop.practice.tasks", "8", "--loop.attempts.at-once", "8", "--held-out.tasks", "6"),
    *("--loop.attempts.k", "2", "--loop.fit.epochs", "1", "--gate", "off"),
)
"""Flags of runs that train a real network, the seed policy."""
SEARCH = ("--loop.search.iterations", "2", "--loop.search.candidates", "2", "--loop.alpha", "1.0")
RECOVERY = ("--loop.recovery.steps", "1", "--loop.recovery.temperature", "1.0")
NO_VERIFIER = ("--loop.max-unparsed", "1")
"""Flag of runs of Agent-R whose model does not answer as a verifier."""

pytestmark = pytest.mark.usefixtures("working_folder")


def results() -> dict[str, Any]:
    with RunStore.read(Path("run")) as store:
        return {str(stage): result for stage, result in store.results().items()}


def record(run: str = "run") -> dict[str, Any]:
    with RunStore.read(Path(run)) as store:
        return store.config


# -- Complete runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["self-training", "re-rest"])
def test_a_finished_loop_is_not_repeated(loop, doors_seed, doors_world, capsys):
    command = ("improve", loop, "--model", doors_seed, "--run", "run", *SEED)
    code, out, _ = run_command(capsys, *command)
    assert code == 0
    for expected in ("base", loop, "Paired on the same tasks", f"adapter: run/adapters/{loop.replace('-', '_')}@1"):
        assert expected in out
    with RunStore.read(Path("run")) as store:
        stages = list(map(str, store.trajectory_stages()))
    before, kept = results(), attempt_rows()
    assert (stages[0], stages[-1]) == ("eval/base/valid_unseen", f"eval/{loop}/valid_unseen")
    assert {"score/base/valid_unseen", f"score/{loop}/valid_unseen"} <= before.keys()
    assert run_command(capsys, *command) == (0, out, "")
    assert (results(), attempt_rows()) == (before, kept)


@pytest.mark.parametrize("loop", ["re-rest", "agent-r", "rest-mcts"])
def test_a_loop_that_helps_is_adopted(loop, random_model, capsys):
    command = (
        "improve",
        loop,
        "--model",
        random_model,
        "--run",
        "run",
        *GATED,
        *((*RECOVERY, *NO_VERIFIER) if loop == "agent-r" else ()),
    )
    code, out, err = run_command(capsys, *command)
    assert (code, err) == (0, "")
    name = loop.replace("-", "_")
    assert out.index("Success") < out.index("Rounds and gate verdicts") < out.index("Paired on the same tasks")
    assert f"adapter: run/adapters/{name}@" in out
    adopted = [verdict["adopted"] for stage, verdict in results().items() if stage.startswith(f"verdict/{name}@")]
    assert out.count(" adopted ") - out.count("not adopted ") == sum(adopted) > 0
    assert run_command(capsys, *command) == (0, out, "")


def test_agent_r_is_also_measured_from_bad_beginnings(doors_seed, doors_world, capsys):
    prompt = ("--loop.verifier.prompt", "Judge.", *NO_VERIFIER, *RECOVERY, "--loop.recovery.max_beginnings", "4")
    command = ("improve", "agent-r", "--model", doors_seed, "--run", "run", *SEED, *SEARCH, *prompt)
    code, out, err = run_command(capsys, *command)
    assert (code, err) == (0, "")
    for expected in ("From bad beginnings", "Trees and splices", "adapter: run/adapters/agent_r@1"):
        assert expected in out
    assert record()["loop"]["alpha"] == [1.0]
    assert {"score/base/recovery", "score/agent-r/recovery"} <= results().keys()
    assert run_command(capsys, *command) == (0, out, "")
    assert "loop.recovery.max_beginnings: 4 -> 5" in refused(capsys, *command[:-1], "5")


def test_first_error_and_continue_search_can_be_disabled(random_model, capsys):
    flags = (*SEARCH, *RECOVERY, "--loop.no-first-error", "loop.continue-search:none")
    assert run_command(capsys, "improve", "agent-r", "--model", random_model, "--run", "run", *GATED, *flags)[0] == 0
    assert (record()["loop"]["first_error"], record()["loop"]["continue_search"]) == (False, None)
    assert results()["counts/agent_r@1/train"]["judged"] == 0


def test_agent_r_refuses_a_model_that_is_no_verifier(random_model, capsys):
    command = ("improve", "agent-r", "--model", random_model, "--run", "run", *GATED, *SEARCH, *RECOVERY)
    said = refused(capsys, *command)
    assert "agent_r@1 stopped and is not trained" in said
    assert "verdicts of base (100.0 %) do not parse; expected at most 50.0 %" in said
    assert results()["counts/agent_r@1/train"]["unparsed_share"] == 1.0
    assert refused(capsys, *command) == said
    assert 'loop.verifier_role: "base" -> "paper"' in refused(capsys, *command, "--loop.verifier-role", "paper")


def test_trading_group_prints_returns_of_desks_and_rules(working_folder, capsys):
    Path("analyst.json").write_text(
        '{"news": "Items: positive\\nOverall: positive", "report": "Summary: growth.\\nOutlook: positive",'
        '"orecast": "Thought: up.\\nForecast: up 60 down 20 side 20\\nTrend: up",'
        '"style": "Thought: well.\\nStyle: balanced", "": "Thought: I buy.\\nDecision: buy"}'
    )
    windows = ("--loop.practice.tasks", "4", "--loop.practice.params", "bars=30", "--loop.keep", "1")
    held_out = ("--held-out.tasks", "2", "--held-out.params", "bars=30")
    command = ("improve", "trading-group", "--model", "scripted:analyst.json", "--run", "run", "--gate", "off")
    code, out, err = run_command(capsys, *command, *windows, *held_out)
    assert (code, err) == (0, "")
    for expected in (
        "trading-group",
        "buy-and-hold",
        "sma-cross",
        "Backtests",
        "adapter: run/adapters/trading_group@1",
    ):
        assert expected in out
    assert record()["agent"] == "trading-group"
    assert results()["performance/base/valid_unseen"]["means"]["sharpe"]["n"] == 2


def test_a_loop_over_scripted_models_needs_no_model_library(random_model, working_folder):
    libraries = (*(each for each in HEAVY if each != "scipy"), "accelerate", "safetensors", "tokenizers")
    code, out, err = run_in_subprocess(
        "improve", "re-rest", "--model", random_model, "--run", "run", *GATED, without=libraries, cwd=working_folder
    )
    assert (code, err) == (0, "")
    assert "adapter: run/adapters/re_rest@1" in out


# -- The gate ---------------------------------------------------------------------------------------------------------


def test_a_rejected_round_is_reported_with_its_gain(red_model, capsys):
    code, out, _ = run_command(capsys, "improve", "self-training", "--model", red_model, "--run", "run", *GATED)
    assert code == 0
    [verdict] = [result for stage, result in results().items() if stage.startswith("verdict/")]
    assert (verdict["gain"]["mean"], verdict["adopted"]) == (0.0, False)
    base = results()["score/base/valid_unseen"]["success"]["value"]
    for expected in (f"{100 * base:.1f} %", "self_training@1", "+0.0", "not adopted", verdict["gain"]["taskset"]):
        assert expected in out
    assert out.endswith("no round was adopted: the gate found no gain\n")
    assert not any("eval/self" in str(stage) for stage, *_ in attempt_rows())


def test_without_a_gate_the_round_is_adopted(red_model, capsys):
    command = ("improve", "self-training", "--model", red_model, "--run", "run", *SMALL, "--gate", "off")
    code, out, _ = run_command(capsys, *command)
    assert code == 0
    assert "gate" not in out
    assert "adapter: run/adapters/self_training@1" in out


def test_an_environment_without_a_gate_split_suggests_gate_off(red_model, capsys):
    command = ("improve", "self-training", "--model", red_model, "--run", "run", "--env", "tiny_envs:Lamps")
    small = ("--loop.practice.tasks", "2", "--held-out.tasks", "2")
    wrong = refused(capsys, *command, *small)
    assert "environment 'tiny_envs:Lamps' has no default split for the gate; pass --gate off" in wrong
    assert not Path("run").exists()
    # No attempt succeeds in this environment, so the error differs once the gate is off.
    assert "nothing to train 'self_training@1' on" in run_command(capsys, *command, *small, "--gate", "off")[2]


def test_scored_splits_are_refused_for_the_gate(red_model, capsys):
    command = ("improve", "self-training", "--model", red_model, "--run", "run", *GATED)
    wrong = refused(capsys, *command, "--held-out.splits", "valid_unseen", "valid_seen")
    assert "the gate's split 'valid_seen' is also scored" in wrong
    wrong = refused(capsys, *command, "--loop.gate.split", "valid_unseen")
    assert "the gate's split 'valid_unseen'" in wrong
    assert not Path("run").exists()


# -- Records ----------------------------------------------------------------------------------------------------------


def test_the_record_contains_defaults(red_model, capsys):
    few = ("--env", "door_env:Doors", "--held-out.tasks", "8", "--loop.attempts.k", "1", "--loop.gate.tasks", "4")
    args = ("--env-args", "max_steps=1", "--agent-args", "restate_goal=false")
    command = ("improve", "self-training", "--model", red_model, "--run", "run", *few, *args)
    assert run_command(capsys, *command)[0] == 0
    found = record()
    assert (found["env"], found["env_args"]["max_steps"]) == ("door_env:Doors", 1)
    assert found["agent"] == "react"
    assert (found["agent_args"]["restate_goal"], found["agent_args"]["condense"]) == (False, True)
    loop, held_out = found["loop"], found["held_out"]
    # 300 tasks and 3 epochs are the defaults of environments without a seed family.
    assert (loop["practice"]["tasks"], loop["fit"]["epochs"], loop["gate"]["split"]) == (300, 3.0, "valid_seen")
    for part in (loop["attempts"], held_out):
        assert (part["at_once"], part["max_tokens"]) == (128, 32)
    assert tomllib.loads(Path("run/config.toml").read_text())["loop"]["practice"]["tasks"] == 300
    for flags, change in (
        (("--loop.attempts.at-once", "64"), "loop.attempts.at_once: 128 -> 64"),
        (("--env-args", "max_steps=2"), "env_args.max_steps: 1 -> 2"),
        (("--agent-args", "restate_goal=true"), "agent_args.restate_goal: false -> true"),
    ):
        assert change in refused(capsys, *command, *flags)
    # Passing the defaults explicitly resumes the same run.
    usual = ("--loop.attempts.at-once", "128", "--loop.fit.epochs", "3", "--loop.gate.split", "valid_seen")
    assert run_command(capsys, *command, *usual)[0] == 0


def test_short_name_and_id_of_an_environment_give_the_same_run(red_model, doors_world, capsys):
    command = ("improve", "self-training", "--model", red_model, "--run", "run", *GATED[2:])
    code, out, _ = run_command(capsys, *command, "--env", "doors")
    assert code == 0
    assert run_command(capsys, *command, "--env", "tiny/Doors-v0") == (0, out, "")
    assert "unknown environment 'dors'; did you mean 'doors'" in refused(capsys, *command, "--env", "dors")


# -- Configuration files ----------------------------------------------------------------------------------------------

CONFIG_FILE = """
env = "door_env:Doors"
[env_args]
max_steps = 1
[loop]
rounds = 2
[loop.attempts]
k = 1
temperature = 0.5
[loop.practice]
tasks = 6
params = {}
[loop.gate]
mode = "off"
[held_out]
splits = ["valid_seen"]
tasks = 4
"""


def test_flags_override_the_configuration_file(random_model, capsys):
    Path("mine.toml").write_text(CONFIG_FILE)
    command = ("improve", "self-training", "--config", "mine.toml", "--model", random_model, "--run", "run")
    code, _, err = run_command(capsys, *command, "--loop.attempts.k", "3", "--loop.rounds", "1")
    assert (code, err) == (0, "")
    found = record()
    assert (found["env"], found["env_args"]["max_steps"]) == ("door_env:Doors", 1)
    assert (found["loop"]["rounds"], found["loop"]["attempts"]["k"]) == (1, 3)
    assert (found["loop"]["attempts"]["temperature"], found["loop"]["practice"]["tasks"]) == (0.5, 6)
    assert (found["held_out"]["splits"], found["held_out"]["tasks"]) == (["valid_seen"], 4)
    # Everything else has its default.
    assert (found["held_out"]["seed"], found["loop"]["fit"]["lr"]) == (2026, 0.003)


def test_the_record_of_a_run_is_a_configuration_file(random_model, capsys):
    flags = (*GATED, "--loop.data.mistakes", "trained", "--agent-args", "condense=false", "--loop.attempts.k", "2")
    assert run_command(capsys, "improve", "re-rest", "--model", random_model, "--run", "run", *flags)[0] == 0
    command = ("improve", "re-rest", "--model", random_model, "--config=run/config.toml", "--run", "again")
    assert run_command(capsys, *command)[0] == 0
    assert record("again") == record("run")


def test_scores_on_practice_tasks_are_marked(random_model, capsys):
    command = ("improve", "self-training", "--model", random_model, *GATED)
    assert "practised on" not in run_command(capsys, *command, "--run", "run")[1]
    code, out, _ = run_command(capsys, *command, "--run", "again", "--split", "train", "--held-out.seed", "0")
    assert code == 0
    assert "8 of the 8 tasks of train were practised on; the score on train is not a held-out score" in out


def test_a_record_of_another_loop_or_without_a_model_is_refused(random_model, capsys):
    assert run_command(capsys, "improve", "re-rest", "--model", random_model, "--run", "run", *GATED)[0] == 0
    given = ("--config", "run/config.toml", "--run", "again")
    error = refused(capsys, "improve", "self-training", "--model", random_model, *given)
    assert "run/config.toml is not the record of `kintsugi improve self-training`" in error
    assert "pass the model's location with --model" in refused(capsys, "improve", "re-rest", *given)
    assert not Path("again").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[loop.attempts]\nk = 2.5", "mine.toml: loop.attempts.k is 2.5; expected a whole number"),
        ("model = 3", "mine.toml: model is 3; expected text"),
        ("loop = 3", "mine.toml: loop is 3; expected its fields"),
        ("env_args = 3", "mine.toml: env_args is 3; expected"),
        ("[held_out]\ntasks = true", "mine.toml: held_out.tasks is True; expected a whole number"),
        ("[loop]\nronds = 2", "unknown key 'ronds' of mine.toml, table [loop]; did you mean 'rounds'?"),
        ("envs = 2", "unknown key 'envs' of mine.toml; did you mean 'env'"),
        ("[loop.attempts]\nk = 'many'", "mine.toml: loop.attempts.k is 'many'; expected a whole number"),
        ("[loop.attempts]\nk = 0", "k is 0; expected at least 1"),
        ("[loop", "cannot read the configuration mine.toml: Expected ']'"),
        (None, "cannot read the configuration mine.toml: [Errno 2] No such file"),
    ],
)
def test_an_invalid_configuration_file_is_refused(text, expected, red_model, capsys):
    if text is not None:
        Path("mine.toml").write_text(text)
    command = ("improve", "self-training", "--config", "mine.toml", "--model", red_model, "--run", "run", *GATED)
    assert expected in refused(capsys, *command)
    assert not Path("run").exists()


# -- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--env", "dors"), "unknown environment 'dors'"),
        (("--env", "door_env:Windows"), "environment 'door_env:Windows' (named by its module): cannot import"),
        (("--held-out.tasks", "0"), "tasks is 0"),
        (("--held-out.splits",), "splits is empty"),
        (("--agent", "reakt"), "unknown agent 'reakt'; did you mean 'react'"),
        (
            ("--agent", "faulty_envs:Reading"),
            "agent 'reading' is not a ReAct agent, which Re-ReST expects",
        ),
        (
            ("--env", "household", "--env-args", "max_step=3"),
            "argument 'max_step' of environment 'household'; did you mean 'max_steps'",
        ),
        (("--agent-args", "restate=false"), "argument 'restate' of agent 'react'; did you mean 'restate_goal'"),
    ],
)
def test_bad_input_is_reported_before_the_run_is_created(flags, expected, red_model, capsys):
    assert expected in refused(capsys, "improve", "re-rest", "--model", red_model, "--run", "run", *GATED, *flags)
    assert not Path("run").exists()


def test_training_is_resumed_after_a_full_disk(doors_seed, doors_world, capsys):
    rank = ("--loop.fit.lora.rank", "64")
    command = ("improve", "self-training", "--model", doors_seed, "--run", "run", *SEED, *rank)
    with files_limited_to(180_000):
        wrong = refused(capsys, *command)
    assert "Free some disk space and run the same command again" in wrong
    assert not Path("run/adapters/self_training@1").exists()
    kept = attempt_rows()
    assert {stage for stage, *_ in kept} == {"eval/base/valid_unseen", "collect/policy@1/train"}
    assert run_command(capsys, *command)[0] == 0
    assert attempt_rows()[: len(kept)] == kept
