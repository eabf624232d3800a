"""Opening sandboxes: the built-in backends, those of other packages, and those named by module and class."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import offer
from kintsugi.envs import EnvSpec
from kintsugi.envs.code.conformance import CHECKS, CheckContext, Subject, run_check
from kintsugi.envs.code.sandbox import Sandbox, choose, open_sandbox, shared_sandbox
from kintsugi.errors import MissingExtraError, UsageError
from sandboxes import ScriptedSandbox, bubblewrap

CHOSEN = (
    "returns_the_exit_code", "passes_files", "returns_requested_files", "stops_endless_loops", "has_no_network",
    "cannot_read_host_files", "leaves_no_files", "closes_for_good", "reports_a_killed_worker",
    "leaves_nothing_when_killed",
)  # fmt: skip
THIN = '''
from kintsugi.envs.code.sandbox.bubblewrap import BubblewrapSandbox


class Thin(BubblewrapSandbox):
    """Bubblewrap under another name."""

    name = "thin"

    def __init__(self):
        super().__init__(size=4)
'''
OFFERS = {
    "thin": "thin_sandbox:Thin",
    "needy": "sandboxes:CountingSandbox",
    "gone": "thin_sandbox:Nothing",
    "number": "thin_sandbox:__name__",
    "list": "builtins:list",
    "docker": "thin_sandbox:Thin",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package that registers sandboxes, some of them broken, and return its folder."""
    offer(tmp_path, choose.GROUP, OFFERS, package="thinning")
    (tmp_path / "thin_sandbox.py").write_text(THIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_built_in_backends_are_listed_before_those_of_packages(site):
    with pytest.warns(UserWarning, match="the entry point 'docker' from thinning is skipped because the name is taken"):
        found = choose.backends()
    assert [plugin.name for plugin in found] == [
        "auto",
        "docker",
        "bubblewrap",
        "gone",
        "list",
        "needy",
        "number",
        "thin",
    ]
    assert found[1].target.endswith(":DockerSandbox")
    assert found[-1].about == "from thinning"


@pytest.mark.requires("bwrap")
@pytest.mark.filterwarnings("ignore:.*the entry point 'docker':UserWarning")
def test_a_sandbox_of_a_package_is_opened_by_name_and_passes_the_checks(site, monkeypatch):
    ours = bubblewrap()
    open_source = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from kintsugi.envs.code.sandbox import open_sandbox; sandbox = open_sandbox('thin')"
    )
    subject = Subject(lambda: open_sandbox("thin"), open_source, ours.kill_worker, ours.list_leftovers)
    assert set(CHOSEN) <= set(CHECKS)
    with CheckContext(subject) as context:
        assert context.sandbox.name == "thin"
        assert {name: run_check(context, name) for name in CHOSEN} == dict.fromkeys(CHOSEN, "")
    monkeypatch.setenv(choose.ENV_VARIABLE, "thin")
    with open_sandbox() as by_variable:
        assert by_variable.name == "thin"


@pytest.mark.requires("bwrap")
@pytest.mark.parametrize("given", ["thin", "thin_sandbox:Thin"])
@pytest.mark.filterwarnings("ignore:.*the entry point 'docker':UserWarning")
def test_code_env_uses_the_named_sandbox(site, given):
    env = EnvSpec("code", {"sandbox": given}).make()
    env.reset(seed=0)
    assert env.step("run print(6 * 7)")[0] == "42"
    with shared_sandbox(given) as shared:
        assert shared.name == "thin"
        assert shared.open_workers()


def test_a_sandbox_is_opened_by_module_and_class():
    opened = open_sandbox("sandboxes:ScriptedSandbox")
    assert isinstance(opened, ScriptedSandbox)
    assert isinstance(opened, Sandbox)
    assert open_sandbox("sandboxes:ScriptedSandbox") is not opened
    assert (
        EnvSpec("code", {"sandbox": "sandboxes:ScriptedSandbox"}).to_json()["kwargs"]["sandbox"]
        == "sandboxes:ScriptedSandbox"
    )


@pytest.mark.filterwarnings("ignore:.*the entry point 'docker':UserWarning")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("thinn", "unknown sandbox 'thinn'; did you mean 'thin'"),
        ("auot", "unknown sandbox 'auot'; did you mean 'auto'"),
        (
            "gone",
            r"sandbox 'gone' \(from thinning\): cannot import 'thin_sandbox:Nothing' .*no attribute 'Nothing'",
        ),
        ("needy", r"sandbox 'needy' \(from thinning\): 'sandboxes:CountingSandbox' cannot be called without arguments"),
        ("number", r"sandbox 'number' \(from thinning\): .*cannot be called without arguments"),
        (
            "list",
            r"sandbox 'list' \(from thinning\): 'builtins:list' returns list; expected an implementation of .*Sandbox",
        ),
        ("nowhere.at_all:Box", r"sandbox 'nowhere.at_all:Box' .*No module named 'nowhere'"),
        ("collections:Counter", "'collections:Counter' returns Counter; expected an implementation"),
    ],
)
def test_unknown_and_broken_sandboxes_raise_usage_error(site, name, message):
    with pytest.raises(UsageError, match=message):
        open_sandbox(name)


def test_error_names_the_extra_if_the_library_of_a_sandbox_is_missing(tmp_path, monkeypatch):
    (tmp_path / "wants_a_library.py").write_text("raise ModuleNotFoundError(name='docker')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"pip install 'kintsugi\[code\]'"):
        open_sandbox("wants_a_library:Box")
