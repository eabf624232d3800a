"""From flags to an environment, an agent and a back end: what is meant, and what is refused with the nearest names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import refused
from kintsugi.agents.judge import NamedJudge
from kintsugi.agents.models.registry import ignored
from kintsugi.cli.main import parse
from kintsugi.cli.opening import Playing
from kintsugi.envs import Task
from kintsugi.errors import UsageError


def playing(*flags: str) -> Playing:
    config = parse(["eval", *flags])[1]
    assert isinstance(config, Playing)
    return config


def test_arguments_are_what_the_constructors_take():
    found = playing("--env-args", "max_steps=7", "--agent-args", "restate_goal=false", "system=Be brief.")
    assert found.env_spec.make().max_steps == 7
    assert found.record()["env_args"]["max_steps"] == 7
    spec = found.reader().spec
    assert spec
    assert (spec.args["restate_goal"], spec.args["system"], spec.args["condense"]) == (False, "Be brief.", True)
    assert found.record()["agent_args"] == {"restate_goal": False, "system": "Be brief.", "condense": True}


def test_the_record_is_the_same_whether_or_not_what_is_usual_was_said():
    usual = playing().record()
    assert playing("--env", "kintsugi/Household-v0", "--env-args", "max_steps=50").record() == usual
    assert playing("--agent-args", "restate_goal=true").record() == usual
    assert playing("--env-args", "max_steps=7").record() != usual


def test_the_record_makes_the_same_again():
    for flags in (
        ("--env", "tiny_envs:Lamps"),
        ("--env", "web", "--env-args", "config.view.most=500", "config.hosts=a.example,b.example"),
        ("--env", "trading", "--agent", "trading-group", "--agent-args", "labels.horizon=3"),
    ):
        found = playing(*flags)
        record = json.loads(json.dumps(found.record()))
        assert replace(found, **record).record() == record


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--env-args", "max_step=3"), "environment 'household' argument 'max_step'; did you mean 'max_steps'"),
        (("--env-args", "max_steps=many"), "argument 'max_steps' is 'many'; expected a whole number"),
        (("--agent-args", "sistem=x"), "agent 'react' argument 'sistem'; did you mean 'system'"),
        (("--agent-args", "condense=perhaps"), "argument 'condense' is 'perhaps'; expected true or false"),
        (("--env-args", "=3"), "environment 'household' argument ''"),
        (("--agent-args", "temperature=1"), "'temperature' is set by the flag of that name"),
        (("--agent", "reakt"), "unknown agent 'reakt'; did you mean 'react'"),
        (("--agent", "faulty_envs:Nobody"), "agent named by its module): cannot import 'faulty_envs:Nobody'"),
        (("--agent", "math:pi"), "agent 'math:pi' is 3.14"),
        (("--env", "math:pi"), "'math:pi' is 3.14"),
        (("--env", "web", "--env-args", "config.screenshot=true"), "argument 'screenshot'; did you mean 'screenshots'"),
        (("--env", "web", "--env-args", "judge=strict"), "argument 'judge' is 'strict'; expected none or a reference"),
    ],
)
def test_what_does_not_exist_is_said_with_the_nearest_names(flags, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.json").write_text('["look"]')
    assert expected in refused(
        capsys, "eval", "--model", "scripted:script.json", "--run", "run", "--tasks", "2", *flags
    )
    assert not Path("run").exists()


def test_a_name_without_a_value_is_refused(capsys):
    assert "'max_steps' has no value; expected NAME=VALUE" in refused(capsys, "eval", "--env-args", "max_steps")


@pytest.mark.parametrize("words", [("max_steps=7", "wording=plain"), ("max_steps", "7", "wording", "plain")])
def test_pairs_are_written_either_way(words):
    assert playing("--env-args", *words).env_args == {"max_steps": "7", "wording": "plain"}


# -- The web ----------------------------------------------------------------------------------------------------------


def test_the_whole_configuration_of_the_web_can_be_reached():
    flags = ("config.screenshots=true", "config.view.most=500", "config.hosts=a.example,b.example", "headless=no")
    env = playing("--env", "web", "--env-args", *flags).env_spec.make()
    config = vars(env)["config"]
    assert (config.screenshots, config.view.most, config.hosts) == (True, 500, ("a.example", "b.example"))
    assert vars(env)["headless"] is False
    # What was not said is usual, within what was said too.
    assert (config.view.width, config.patience) == (1280, 5.0)


@pytest.mark.parametrize(("verdict", "expected"), [("It is right.\nSUCCESS", 1.0), ("No.\nNOT SUCCESS", 0.0)])
def test_a_judge_is_named_by_its_model_and_opened_when_it_is_asked(verdict, expected, tmp_path):
    script = tmp_path / "judge.json"
    found = playing(
        "--env", "web", "--env-args", f"judge=kintsugi.agents.judge:NamedJudge(scripted:{script})", "max_steps=4"
    )
    judge = vars(found.env_spec.make())["judge"]
    assert judge == NamedJudge(f"scripted:{script}")
    # Another judge is another run.
    assert found.record()["env_args"]["judge"] == f"kintsugi.agents.judge:NamedJudge(scripted:{script})"
    task = Task("live/1", "kintsugi/Web-v0", "test", 0, {"goal": "find the price"})
    with pytest.raises(UsageError, match="cannot read the script"):
        judge(task, [("a page", "stop 3")], "3")
    script.write_text(json.dumps([verdict]))
    assert judge(task, [("a page", "stop 3")], "3") == expected


# -- Models -----------------------------------------------------------------------------------------------------------


def test_an_agent_without_a_model_needs_none_and_asks_for_none():
    found = playing("--agent", "faulty_envs:Reading", "--model", "no such model")
    backend = found.backend(ignored)
    assert (backend.base, backend.weights) == ("none", None)
    with pytest.raises(UsageError, match="unknown model 'no such model'"):
        playing("--model", "no such model").backend(ignored)


def test_the_seed_policy_is_that_of_the_environment(doors_world):
    with pytest.raises(UsageError, match="'tiny_envs:Lamps' has no seed policy; name a model with --model"):
        playing("--env", "tiny_envs:Lamps").backend(ignored)
