"""`kintsugi improve`: whole small runs, what is recorded and printed, and every bad input as one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import HEAVY, files_limited_to, refused, rows, said, shell
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
FEW = (*SMALL, "--loop.gate.tasks", "20")
SEED = (
    *("--env", "doors", "--loop.practice.tasks", "8", "--loop.attempts.at-once", "8", "--held-out.tasks", "6"),
    *("--loop.attempts.k", "2", "--loop.fit.epochs", "1", "--gate", "off"),
)
"""With the seed policy, which is trained."""
SEARCH = ("--loop.search.iterations", "2", "--loop.search.candidates", "2", "--loop.alpha", "1.0")
BEGUN = ("--loop.recovery.steps", "1", "--loop.recovery.temperature", "1.0")

pytestmark = pytest.mark.usefixtures("here")


def results() -> dict[str, Any]:
    with RunStore.read(Path("run")) as store:
        return {str(stage): result for stage, result in store.results().items()}


def record(run: str = "run") -> dict[str, Any]:
    with RunStore.read(Path(run)) as store:
        return store.config


# -- A whole run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["self-training", "re-rest"])
def test_a_loop_is_run_measured_and_not_run_again(loop, doors_seed, doors_world, capsys):
    command = ("improve", loop, "--model", doors_seed, "--run", "run", *SEED)
    code, out, _ = said(capsys, *command)
    assert code == 0
    for expected in ("base", loop, "Paired on the same tasks", f"adapter: run/adapters/{loop.replace('-', '_')}@1"):
        assert expected in out
    with RunStore.read(Path("run")) as store:
        stages = list(map(str, store.trajectory_stages()))
    before, kept = results(), rows()
    assert (stages[0], stages[-1]) == ("eval/base/valid_unseen", f"eval/{loop}/valid_unseen")
    assert {"score/base/valid_unseen", f"score/{loop}/valid_unseen"} <= before.keys()
    assert said(capsys, *command) == (0, out, "")
    assert (results(), rows()) == (before, kept)


@pytest.mark.parametrize("loop", ["re-rest", "agent-r", "rest-mcts"])
def test_a_loop_that_helps_is_adopted(loop, drawing, capsys):
    command = ("improve", loop, "--model", drawing, "--run", "run", *FEW, *(BEGUN if loop == "agent-r" else ()))
    code, out, err = said(capsys, *command)
    assert (code, err) == (0, "")
    name = loop.replace("-", "_")
    assert out.index("Success") < out.index("Rounds, as the gate saw them") < out.index("Paired on the same tasks")
    assert f"adapter: run/adapters/{name}@" in out
    adopted = [verdict["adopted"] for stage, verdict in results().items() if stage.startswith(f"verdict/{name}@")]
    assert out.count(" adopted ") - out.count("not adopted ") == sum(adopted) > 0
    assert said(capsys, *command) == (0, out, "")


def test_agent_r_is_measured_from_bad_beginnings_too(doors_seed, doors_world, capsys):
    prompt = ("--loop.verifier.prompt", "Judge.", *BEGUN, "--loop.recovery.most", "4")
    command = ("improve", "agent-r", "--model", doors_seed, "--run", "run", *SEED, *SEARCH, *prompt)
    code, out, err = said(capsys, *command)
    assert (code, err) == (0, "")
    for expected in ("From bad beginnings", "Trees and splices", "adapter: run/adapters/agent_r@1"):
        assert expected in out
    assert record()["loop"]["alpha"] == [1.0]
    assert {"score/base/recovery", "score/agent-r/recovery"} <= results().keys()
    assert said(capsys, *command) == (0, out, "")
    assert "loop.recovery.most: 4 -> 5" in refused(capsys, *command[:-1], "5")


def test_no_first_error_is_a_flag(drawing, capsys):
    flags = (*SEARCH, *BEGUN, "--loop.no-first-error", "loop.again:none")
    assert said(capsys, "improve", "agent-r", "--model", drawing, "--run", "run", *FEW, *flags)[0] == 0
    assert (record()["loop"]["first_error"], record()["loop"]["again"]) == (False, None)
    assert results()["counts/agent_r@1/train"]["judged"] == 0


def test_trading_group_prints_what_both_desks_and_the_rules_earned(here, capsys):
    Path("analyst.json").write_text(
        '{"news": "Items: positive\\nOverall: positive", "report": "Summary: growth.\\nOutlook: positive",'
        '"orecast": "Thought: up.\\nForecast: up 60 down 20 side 20\\nTrend: up",'
        '"style": "Thought: well.\\nStyle: balanced", "": "Thought: I buy.\\nDecision: buy"}'
    )
    windows = ("--loop.practice.tasks", "4", "--loop.practice.params", "bars=30", "--loop.keep", "1")
    held_out = ("--held-out.tasks", "2", "--held-out.params", "bars=30")
    command = ("improve", "trading-group", "--model", "scripted:analyst.json", "--run", "run", "--gate", "off")
    code, out, err = said(capsys, *command, *windows, *held_out)
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


def test_a_loop_over_scripted_models_needs_no_library_of_models(drawing, here):
    libraries = (*(each for each in HEAVY if each != "scipy"), "accelerate", "safetensors", "tokenizers")
    code, out, err = shell("improve", "re-rest", "--model", drawing, "--run", "run", *FEW, without=libraries, cwd=here)
    assert (code, err) == (0, "")
    assert "adapter: run/adapters/re_rest@1" in out


# -- The gate ---------------------------------------------------------------------------------------------------------


def test_a_gate_that_admits_nothing_says_so_and_by_how_much(stubborn, capsys):
    code, out, _ = said(capsys, "improve", "self-training", "--model", stubborn, "--run", "run", *FEW)
    assert code == 0
    [verdict] = [result for stage, result in results().items() if stage.startswith("verdict/")]
    assert (verdict["gain"]["mean"], verdict["adopted"]) == (0.0, False)
    base = results()["score/base/valid_unseen"]["success"]["value"]
    for expected in (f"{100 * base:.1f} %", "self_training@1", "+0.0", "not adopted", verdict["gain"]["taskset"]):
        assert expected in out
    assert out.endswith("no round was adopted: the gate found none that helped\n")
    assert not any("eval/self" in str(stage) for stage, *_ in rows())


def test_without_a_gate_nothing_is_compared(stubborn, capsys):
    command = ("improve", "self-training", "--model", stubborn, "--run", "run", *SMALL, "--gate", "off")
    code, out, _ = said(capsys, *command)
    assert code == 0
    assert "gate" not in out
    assert "adapter: run/adapters/self_training@1" in out


def test_an_environment_without_tasks_for_the_gate_asks_to_go_without(stubborn, capsys):
    command = ("improve", "self-training", "--model", stubborn, "--run", "run", "--env", "tiny_envs:Lamps")
    small = ("--loop.practice.tasks", "2", "--held-out.tasks", "2")
    wrong = refused(capsys, *command, *small)
    assert "environment 'tiny_envs:Lamps' names no split for the gate; pass --gate off" in wrong
    assert not Path("run").exists()
    # Nothing passes there, but that is not what is said above.
    assert "nothing to train 'self_training@1' on" in said(capsys, *command, *small, "--gate", "off")[2]


def test_the_gate_takes_no_tasks_that_scores_are_taken_on(stubborn, capsys):
    command = ("improve", "self-training", "--model", stubborn, "--run", "run", *FEW)
    wrong = refused(capsys, *command, "--held-out.splits", "valid_unseen", "valid_seen")
    assert "the gate would choose models on split 'valid_seen', on which they are scored too" in wrong
    wrong = refused(capsys, *command, "--loop.gate.split", "valid_unseen")
    assert "the gate would choose models on split 'valid_unseen'" in wrong
    assert not Path("run").exists()


# -- What is recorded -------------------------------------------------------------------------------------------------


def test_the_record_holds_what_nobody_said(stubborn, capsys):
    few = ("--env", "door_env:Doors", "--held-out.tasks", "8", "--loop.attempts.k", "1", "--loop.gate.tasks", "4")
    args = ("--env-args", "max_steps=1", "--agent-args", "restate_goal=false")
    command = ("improve", "self-training", "--model", stubborn, "--run", "run", *few, *args)
    assert said(capsys, *command)[0] == 0
    found = record()
    assert (found["env"], found["env_args"]["max_steps"]) == ("door_env:Doors", 1)
    assert found["agent"] == "react"
    assert (found["agent_args"]["restate_goal"], found["agent_args"]["condense"]) == (False, True)
    loop, held_out = found["loop"], found["held_out"]
    # 300 tasks and 3 epochs are those of any environment without a seed family.
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
    # What is said and what is usual are one run.
    usual = ("--loop.attempts.at-once", "128", "--loop.fit.epochs", "3", "--loop.gate.split", "valid_seen")
    assert said(capsys, *command, *usual)[0] == 0


def test_an_environment_is_the_same_by_name_and_by_id(stubborn, doors_world, capsys):
    command = ("improve", "self-training", "--model", stubborn, "--run", "run", *FEW[2:])
    code, out, _ = said(capsys, *command, "--env", "doors")
    assert code == 0
    assert said(capsys, *command, "--env", "tiny/Doors-v0") == (0, out, "")
    assert "unknown environment 'dors'; did you mean 'doors'" in refused(capsys, *command, "--env", "dors")


# -- A file of flags --------------------------------------------------------------------------------------------------

FILE = """
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


def test_a_file_gives_values_and_flags_come_before_it(drawing, capsys):
    Path("mine.toml").write_text(FILE)
    command = ("improve", "self-training", "--config", "mine.toml", "--model", drawing, "--run", "run")
    code, _, err = said(capsys, *command, "--loop.attempts.k", "3", "--loop.rounds", "1")
    assert (code, err) == (0, "")
    found = record()
    assert (found["env"], found["env_args"]["max_steps"]) == ("door_env:Doors", 1)
    assert (found["loop"]["rounds"], found["loop"]["attempts"]["k"]) == (1, 3)
    assert (found["loop"]["attempts"]["temperature"], found["loop"]["practice"]["tasks"]) == (0.5, 6)
    assert (found["held_out"]["splits"], found["held_out"]["tasks"]) == (["valid_seen"], 4)
    # What neither says is usual.
    assert (found["held_out"]["seed"], found["loop"]["fit"]["lr"]) == (2026, 0.003)


def test_the_record_of_a_run_is_such_a_file(drawing, capsys):
    flags = (*FEW, "--loop.data.mistakes", "learnt", "--agent-args", "condense=false", "--loop.attempts.k", "2")
    assert said(capsys, "improve", "re-rest", "--model", drawing, "--run", "run", *flags)[0] == 0
    command = ("improve", "re-rest", "--model", drawing, "--config=run/config.toml", "--run", "again")
    assert said(capsys, *command)[0] == 0
    assert record("again") == record("run")


def test_scores_of_tasks_that_were_practised_on_say_so(drawing, capsys):
    command = ("improve", "self-training", "--model", drawing, *FEW)
    assert "practised on" not in said(capsys, *command, "--run", "run")[1]
    code, out, _ = said(capsys, *command, "--run", "again", "--split", "train", "--held-out.seed", "0")
    assert code == 0
    assert "8 of the 8 tasks of train were practised on: no held-out score" in out


def test_a_record_of_another_loop_or_without_its_model_is_refused(drawing, capsys):
    assert said(capsys, "improve", "re-rest", "--model", drawing, "--run", "run", *FEW)[0] == 0
    given = ("--config", "run/config.toml", "--run", "again")
    told = refused(capsys, "improve", "self-training", "--model", drawing, *given)
    assert "run/config.toml is of another command than improve self-training" in told
    assert "say with --model how it is opened" in refused(capsys, "improve", "re-rest", *given)
    assert not Path("again").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[loop.attempts]\nk = 2.5", "mine.toml: loop.attempts.k is 2.5; expected a whole number"),
        ("model = 3", "mine.toml: model is 3; expected text"),
        ("loop = 3", "mine.toml: loop is 3; expected its fields"),
        ("env_args = 3", "mine.toml: env_args is 3; expected"),
        ("[held_out]\ntasks = true", "mine.toml: held_out.tasks is True; expected a whole number"),
        ("[loop]\nronds = 2", "unknown key in mine.toml, table [loop]: 'ronds'; did you mean 'rounds'?"),
        ("envs = 2", "unknown key in mine.toml 'envs'; did you mean 'env'"),
        ("[loop.attempts]\nk = 'many'", "mine.toml: loop.attempts.k is 'many'; expected a whole number"),
        ("[loop.attempts]\nk = 0", "k is 0; at least 1 is needed"),
        ("[loop", "cannot read the configuration mine.toml (Expected ']'"),
        (None, "cannot read the configuration mine.toml ([Errno 2] No such file"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(text, expected, stubborn, capsys):
    if text is not None:
        Path("mine.toml").write_text(text)
    command = ("improve", "self-training", "--config", "mine.toml", "--model", stubborn, "--run", "run", *FEW)
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
            "Re-ReST's reflector goes on in a ReAct agent's chat, and 'reading' is none",
        ),
        (("--env", "household", "--env-args", "max_step=3"), "argument 'max_step'; did you mean 'max_steps'"),
        (("--agent-args", "restate=false"), "argument 'restate'; did you mean 'restate_goal'"),
    ],
)
def test_what_cannot_work_is_said_before_a_run_is_begun(flags, expected, stubborn, capsys):
    assert expected in refused(capsys, "improve", "re-rest", "--model", stubborn, "--run", "run", *FEW, *flags)
    assert not Path("run").exists()


def test_an_adapter_that_finds_no_room_is_trained_later(doors_seed, doors_world, capsys):
    rank = ("--loop.fit.lora.rank", "64")
    command = ("improve", "self-training", "--model", doors_seed, "--run", "run", *SEED, *rank)
    with files_limited_to(180_000):
        wrong = refused(capsys, *command)
    assert "Free some disk space and run the same command again" in wrong
    assert not Path("run/adapters/self_training@1").exists()
    kept = rows()
    assert {stage for stage, *_ in kept} == {"eval/base/valid_unseen", "collect/policy@1/train"}
    assert said(capsys, *command)[0] == 0
    assert rows()[: len(kept)] == kept
