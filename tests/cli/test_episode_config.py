"""`EpisodeConfig`: from flags to an environment, an agent and a backend, and errors with the nearest names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import refused
from kintsugi.agents.judge import NamedJudge
from kintsugi.agents.models.registry import no_status
from kintsugi.cli.episode_config import EpisodeConfig
from kintsugi.cli.main import parse
from kintsugi.envs import Task
from kintsugi.errors import UsageError


def parse_config(*flags: str) -> EpisodeConfig:
    config = parse(["eval", *flags])[1]
    assert isinstance(config, EpisodeConfig)
    return config


def test_arguments_reach_the_constructors():
    found = parse_config("--env-args", "max_steps=7", "--agent-args", "restate_goal=false", "system=Be brief.")
    assert found.env_spec.make().max_steps == 7
    assert found.record()["env_args"]["max_steps"] == 7
    spec = found.reader().spec
    assert spec
    assert (spec.args["restate_goal"], spec.args["system"], spec.args["condense"]) == (False, "Be brief.", True)
    assert found.record()["agent_args"] == {"restate_goal": False, "system": "Be brief.", "condense": True}


def test_explicit_defaults_give_the_same_record():
    usual = parse_config().record()
    assert parse_config("--env", "kintsugi/Household-v0", "--env-args", "max_steps=50").record() == usual
    assert parse_config("--agent-args", "restate_goal=true").record() == usual
    assert parse_config("--env-args", "max_steps=7").record() != usual


def test_the_record_is_reproducible():
    for flags in (
        ("--env", "tiny_envs:Lamps"),
        ("--env", "web", "--env-args", "config.view.max_characters=500", "config.hosts=a.example,b.example"),
        ("--env", "trading", "--agent", "trading-group", "--agent-args", "labels.horizon=3"),
    ):
        found = parse_config(*flags)
        record = json.loads(json.dumps(found.record()))
        assert replace(found, **record).record() == record


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--env-args", "max_step=3"), "argument 'max_step' of environment 'household'; did you mean 'max_steps'"),
        (("--env-args", "max_steps=many"), "argument 'max_steps' is 'many'; expected a whole number"),
        (("--agent-args", "sistem=x"), "argument 'sistem' of agent 'react'; did you mean 'system'"),
        (("--agent-args", "condense=perhaps"), "argument 'condense' is 'perhaps'; expected true or false"),
        (("--env-args", "=3"), "argument '' of environment 'household'"),
        (("--agent-args", "temperature=1"), "'temperature' is set by the flag of that name"),
        (("--agent", "reakt"), "unknown agent 'reakt'; did you mean 'react'"),
        (("--agent", "faulty_envs:Nobody"), "agent named by its module): cannot import 'faulty_envs:Nobody'"),
        (("--agent", "math:pi"), "agent 'math:pi' is 3.14"),
        (("--env", "math:pi"), "'math:pi' is 3.14"),
        (
            ("--env", "web", "--env-args", "config.screenshot=true"),
            "argument 'screenshot' of environment 'web' argument 'config'; did you mean 'screenshots'",
        ),
        (("--env", "web", "--env-args", "judge=strict"), "argument 'judge' is 'strict'; expected none or a reference"),
    ],
)
def test_unknown_names_are_reported_with_the_nearest_names(flags, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.json").write_text('["look"]')
    assert expected in refused(
        capsys, "eval", "--model", "scripted:script.json", "--run", "run", "--tasks", "2", *flags
    )
    assert not Path("run").exists()


def test_a_name_without_a_value_is_refused(capsys):
    assert "'max_steps' has no value; expected NAME=VALUE" in refused(capsys, "eval", "--env-args", "max_steps")


@pytest.mark.parametrize("words", [("max_steps=7", "wording=plain"), ("max_steps", "7", "wording", "plain")])
def test_pairs_may_be_separated_by_space_or_equals_sign(words):
    assert parse_config("--env-args", *words).env_args == {"max_steps": "7", "wording": "plain"}


# -- The web ----------------------------------------------------------------------------------------------------------


def test_the_whole_web_configuration_is_accessible():
    flags = (
        "config.screenshots=true",
        "config.view.max_characters=500",
        "config.hosts=a.example,b.example",
        "headless=no",
    )
    env = parse_config("--env", "web", "--env-args", *flags).env_spec.make()
    config = vars(env)["config"]
    assert (config.screenshots, config.view.max_characters, config.hosts) == (True, 500, ("a.example", "b.example"))
    assert vars(env)["headless"] is False
    # Other fields have their defaults, also within a partly given object.
    assert (config.view.width, config.settle_timeout) == (1280, 5.0)


@pytest.mark.parametrize(("verdict", "expected"), [("It is right.\nSUCCESS", 1.0), ("No.\nNOT SUCCESS", 0.0)])
def test_a_judge_is_named_by_its_model_and_opened_at_its_first_call(verdict, expected, tmp_path):
    script = tmp_path / "judge.json"
    found = parse_config(
        "--env", "web", "--env-args", f"judge=kintsugi.agents.judge:NamedJudge(scripted:{script})", "max_steps=4"
    )
    judge = vars(found.env_spec.make())["judge"]
    assert judge == NamedJudge(f"scripted:{script}")
    # The judge is part of the record, so another judge needs another run.
    assert found.record()["env_args"]["judge"] == f"kintsugi.agents.judge:NamedJudge(scripted:{script})"
    task = Task("live/1", "kintsugi/Web-v0", "test", 0, {"goal": "find the price"})
    with pytest.raises(UsageError, match="cannot read the script"):
        judge(task, [("a page", "stop 3")], "3")
    script.write_text(json.dumps([verdict]))
    assert judge(task, [("a page", "stop 3")], "3") == expected


# -- Models -----------------------------------------------------------------------------------------------------------


def test_an_agent_without_a_model_opens_none():
    found = parse_config("--agent", "faulty_envs:Reading", "--model", "no such model")
    backend = found.backend(no_status)
    assert (backend.base, backend.weights) == ("none", None)
    with pytest.raises(UsageError, match="unknown model 'no such model'"):
        parse_config("--model", "no such model").backend(no_status)


def test_an_environment_without_a_seed_policy_needs_a_model(doors_world):
    with pytest.raises(UsageError, match="'tiny_envs:Lamps' has no seed policy; choose a model with --model"):
        parse_config("--env", "tiny_envs:Lamps").backend(no_status)
