"""The registry of environments, entry points of other packages, and `EnvSpec`."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import gymnasium
import pytest
from command_line import offer
from kintsugi.envs import AgentEnv, EnvEntry, EnvSpec, entries, find, register_all
from kintsugi.envs.code import CodeEnv
from kintsugi.envs.code.sandbox import Limits
from kintsugi.envs.household import HouseholdEnv
from kintsugi.envs.registry import BUILTIN, GROUP
from kintsugi.envs.trading import TradingEnv
from kintsugi.errors import UsageError
from tiny_envs import Lamps, Sold

NEEDS = {"code": ["sandbox"], "web": ["chromium"]}
builtin_entries = pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, marks=[pytest.mark.requires(n) for n in NEEDS.get(entry.name, ())]) for entry in BUILTIN],
    ids=lambda entry: entry.name,
)


def in_new_process(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path[:0] = {[str(folder), *sys.path]!r}\n"
    command = [sys.executable, "-c", path + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@builtin_entries
def test_builtin_environments_are_registered_with_gymnasium(entry):
    assert entry.id in gymnasium.registry
    assert entry.load().env_id == entry.id
    env = gymnasium.make(entry.id)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert info["task_id"]
    env.close()


@pytest.mark.parametrize("entry", BUILTIN, ids=lambda entry: entry.name)
def test_builtin_environments_are_found_by_name_and_id(entry):
    assert find(entry.name) == find(entry.id) == entry
    spec = gymnasium.spec(entry.id)
    assert gymnasium.envs.registration.EnvSpec.from_json(spec.to_json()) == spec


def test_short_names():
    assert EnvEntry("kintsugi/Household-v0", "m:C", "").name == "household"
    assert EnvEntry("mine/BigGarden-v12", "m:C", "").name == "biggarden"
    assert EnvEntry("Plain", "m:C", "").name == "plain"


def test_unknown_names_suggest_similar_ones():
    with pytest.raises(UsageError, match="unknown environment 'househodl'; did you mean 'household'"):
        find("househodl")
    with pytest.raises(UsageError, match="did you mean 'kintsugi/Household-v0'"):
        find("kintsugi/Househodl-v0")
    with pytest.raises(UsageError, match=r"unknown environment 'qqq'; known: code, household"):
        find("qqq")


@pytest.mark.parametrize("point", ["nowhere.at_all:Env", "json:Missing", "json", ":", "json:dumps", "json:JSONDecoder"])
def test_the_error_names_a_bad_entry_point(point):
    with pytest.raises(UsageError, match=r"environment 'bad/Env-v0' \(from elsewhere\)"):
        EnvEntry("bad/Env-v0", point, "from elsewhere").load()


def test_registering_twice_changes_nothing():
    before = dict(gymnasium.registry)
    register_all()
    assert gymnasium.registry == before


def test_an_environment_of_another_package(tmp_path: Path):
    source = """
    from tiny_envs import Lamps

    class Garden(Lamps):
        env_id = "foreign/Garden-v3"
    """
    offer(tmp_path, GROUP, {"foreign/Garden-v3": "foreign_garden:Garden"})
    (tmp_path / "foreign_garden.py").write_text(textwrap.dedent(source))
    code = """
    import gymnasium, kintsugi
    from kintsugi.envs import find
    assert "foreign_garden" not in sys.modules
    assert find("garden").about == "from foreign"
    env = gymnasium.make("foreign/Garden-v3")
    env.reset(seed=0)
    assert type(env.unwrapped) is find("foreign/Garden-v3").load()
    """
    done = in_new_process(tmp_path, code)
    assert done.returncode == 0, done.stderr


def test_another_package_can_neither_replace_builtin_ids_nor_break_the_import(tmp_path: Path):
    offer(tmp_path, GROUP, {"kintsugi/Household-v0": "foreign_garden:Thief", "no id!": "foreign_garden:Broken"})
    code = """
    import warnings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import kintsugi
    assert any("'no id!' (from foreign) is not registered with Gymnasium" in str(w.message) for w in caught), caught
    from kintsugi.envs import find
    assert find("household").entry_point == "kintsugi.envs.household:HouseholdEnv"
    """
    done = in_new_process(tmp_path, code)
    assert done.returncode == 0, done.stderr


def test_an_ambiguous_short_name_is_refused(tmp_path, monkeypatch):
    offer(tmp_path, GROUP, {"a/Garden-v0": "tiny_envs:Lamps", "b/Garden-v0": "tiny_envs:Echo"})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        UsageError,
        match="environment name 'garden' is ambiguous: it fits a/Garden-v0, b/Garden-v0; use one of these ids",
    ):
        find("garden")
    assert find("b/Garden-v0").entry_point == "tiny_envs:Echo"


def test_an_environment_without_an_id_is_refused():
    with pytest.raises(UsageError, match="'tiny_envs:AgentEnv' has no env_id; set it to an id such as"):
        find("tiny_envs:AgentEnv").load()


def test_builtin_environments_come_first():
    assert tuple(entries()[: len(BUILTIN)]) == BUILTIN


def test_an_environment_is_found_by_module_and_class():
    assert find("tiny_envs:Lamps").load() is Lamps
    with pytest.raises(UsageError, match=r"environment 'tiny_envs:Lampz' \(named by its module\): cannot import"):
        find("tiny_envs:Lampz").load()
    with pytest.raises(UsageError, match="'json:dumps' is <function dumps .*expected a subclass of"):
        EnvSpec("json:dumps").check()


# -- EnvSpec ----------------------------------------------------------------------------------------------------------


def test_arguments_given_as_text_are_converted():
    env = EnvSpec("household", {"max_steps": "7", "banner": "yes"}).make()
    assert isinstance(env, HouseholdEnv)
    assert (env.max_steps, env.banner) == (7, True)
    code = EnvSpec("kintsugi/Code-v0", {"limits.seconds": "3", "limits.processes": 2, "feedback": 200}).make()
    assert isinstance(code, CodeEnv)
    assert (code.limits, code.feedback) == (Limits(seconds=3.0, processes=2), 200)
    given = Limits(seconds=4)
    later = EnvSpec("code").with_args(limits=given, max_steps=5).with_args(max_steps="6").make()
    assert isinstance(later, CodeEnv)
    assert (later.limits, later.max_steps) == (given, 6)


def test_inherited_constructor_arguments_are_accepted():
    spec = EnvSpec("tiny_envs:Lamps", {"max_steps": "7", "render_mode": "ansi"})
    env = spec.make()
    assert isinstance(env, Lamps)
    assert (env.max_steps, env.render_mode) == (7, "ansi")
    assert (spec.cls, spec.name, EnvSpec("tiny_envs:Sold").name) == (Lamps, "lamps", "sold")
    assert spec.make() is not env


@pytest.mark.parametrize("env", ["household", "tiny_envs:Lamps"])
@pytest.mark.parametrize("use", [EnvSpec.check, EnvSpec.make, EnvSpec.to_json])
def test_an_unknown_argument_suggests_a_similar_one(env, use):
    with pytest.raises(
        UsageError, match=f"unknown argument 'max_step' of environment '{env}'; did you mean 'max_steps'"
    ):
        use(EnvSpec(env, {"max_step": "3"}))
    with pytest.raises(UsageError, match=f"'{env}' argument 'max_steps' is 'many'; expected a whole number"):
        use(EnvSpec(env, {"max_steps": "many"}))


def test_errors_of_the_constructor_are_passed_on():
    EnvSpec("household", {"max_steps": "0"}).check()
    with pytest.raises(UsageError, match="max_steps is 0; expected at least 1"):
        EnvSpec("household", {"max_steps": "0"}).make()
    with pytest.raises(UsageError, match="unknown environment 'househld'; did you mean 'household'"):
        EnvSpec("househld").check()


@pytest.mark.parametrize(
    ("spec", "id", "kwargs"),
    [
        (EnvSpec(), "kintsugi/Household-v0", {"max_steps": 50, "render_mode": None, "banner": False}),
        (
            EnvSpec("trading", {"news": "3"}), "kintsugi/Trading-v0",
            {"max_steps": 1000, "render_mode": None, "news": 3},
        ),
        (EnvSpec("tiny_envs:Lamps", {"max_steps": 9}), "tiny_envs:Lamps", {"max_steps": 9, "render_mode": None}),
    ],
)  # fmt: skip
def test_a_stored_spec_has_all_defaults_and_makes_the_same_environment(spec, id, kwargs):
    recorded = spec.to_json()
    assert recorded == {"id": id, "kwargs": kwargs}
    again = EnvSpec(**json.loads(json.dumps(recorded)))
    assert again.to_json() == recorded
    assert type(again.make()) is spec.cls


def test_objects_are_stored_as_fields_or_as_text():
    recorded = EnvSpec("code", {"limits": Limits(seconds=3), "sandbox": "sandboxes:ScriptedSandbox"}).to_json()[
        "kwargs"
    ]
    assert recorded["limits"]["seconds"] == 3
    assert recorded["sandbox"] == "sandboxes:ScriptedSandbox"


def test_a_spec_is_picklable_and_immutable():
    spec = EnvSpec("tiny_envs:Lamps", {"max_steps": "7"})
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec != spec.with_args(max_steps="8")
    assert spec.kwargs == {"max_steps": "7"}
    assert again.make().max_steps == 7


def test_a_split_without_tasks_is_refused():
    sold = EnvSpec("tiny_envs:Sold")
    assert sold.tasks("train", 3, 1) == Sold.tasks("train", 3, 1)
    with pytest.raises(UsageError, match="split 'valid' of 'tiny_envs:Sold' has no tasks; choose another split"):
        sold.tasks("valid")
    for none in (0, -1):
        with pytest.raises(UsageError, match=f"tasks is {none}; expected at least 1"):
            sold.tasks("train", none)
    medium = EnvSpec("household").tasks("valid_seen", 2, 3, size="medium")
    assert medium == HouseholdEnv.tasks("valid_seen", 2, 3, size="medium")


# -- Metadata and metrics of classes ----------------------------------------------------------------------------------


@builtin_entries
def test_metadata_has_no_training_settings(entry):
    """Loops and seed families define numbers of tasks and epochs."""
    cls = entry.load()
    assert set(cls.metadata) == set(AgentEnv.metadata)
    assert not {"practice", "epochs"} & set(cls.metadata)
    spec = EnvSpec(entry.id)
    gate = spec.metadata_value("gate_split")
    assert gate in ("valid", "valid_seen")
    assert spec.metadata_value("turn_tokens") >= AgentEnv.metadata["turn_tokens"]


def test_missing_metadata_has_the_defaults_of_agent_env():
    sold = EnvSpec("tiny_envs:Sold")
    assert [sold.metadata_value(key) for key in ("turn_tokens", "at_once", "gate_split")] == [32, 2, None]


def test_the_metric_is_success_or_for_trading_the_compounded_return():
    assert (
        HouseholdEnv.metric,
        HouseholdEnv.metric_value(True, 0.3, [0.0]),
        HouseholdEnv.metric_value(False, 0.9, [0.5]),
    ) == (
        "success",
        1.0,
        0.0,
    )
    assert TradingEnv.metric == "return"
    assert TradingEnv.metric_value(False, 0.9, [0.5, -0.5]) == pytest.approx(-0.25)
    assert TradingEnv.metric_value(True, 0.0, []) == 0.0
    env = TradingEnv()
    _, info = env.reset(options={"task": EnvSpec("trading").tasks("train", 1).tasks[0]})
    begin, done, rewards = info["account"].equity, False, list[float]()
    while not done:
        _, reward, terminated, truncated, info = env.step("buy 0.5" if len(rewards) % 9 == 0 else "hold")
        rewards.append(reward)
        done = terminated or truncated
    whole = info["account"].equity / begin - 1
    assert TradingEnv.metric_value(info["success"], info["score"], rewards) == pytest.approx(whole)
    assert not math.isclose(sum(rewards), whole, rel_tol=1e-3)


def test_a_step_limit_only_shortens_episodes():
    assert EnvSpec("household").with_step_limit(20).make().max_steps == 20
    assert EnvSpec("household", {"max_steps": 9}).with_step_limit(20).make().max_steps == 9
    assert EnvSpec("household").with_step_limit(None) == EnvSpec("household")
