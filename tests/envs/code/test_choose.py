"""Which sandboxes there are: ours, those that packages bring, and those that are named by their class."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import offer
from kintsugi.envs import EnvSpec
from kintsugi.envs.code.sandbox import Sandbox, choose, open_sandbox, shared_sandbox
from kintsugi.envs.code.sandbox.conformance import CHECKS, Bench, Subject, run_check
from kintsugi.errors import MissingExtraError, UsageError
from sandboxes import Scripted, bubblewrap

CHOSEN = (
    "returns_the_exit_code", "passes_files", "returns_wanted_files", "stops_endless_loops", "has_no_network",
    "cannot_read_host_files", "leaves_no_files", "closes_for_good", "reports_an_engine_that_dies",
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
    "needy": "sandboxes:Counting",
    "gone": "thin_sandbox:Nothing",
    "number": "thin_sandbox:__name__",
    "list": "builtins:list",
    "docker": "thin_sandbox:Thin",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path in which a package is installed that brings sandboxes, some of them broken."""
    offer(tmp_path, choose.GROUP, OFFERS, package="thinning")
    (tmp_path / "thin_sandbox.py").write_text(THIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_ours_come_first_and_the_third_is_listed(site):
    with pytest.warns(UserWarning, match="the name 'docker' from thinning is left out: it is taken"):
        found = choose.backends()
    assert [part.name for part in found] == ["auto", "docker", "bubblewrap", "gone", "list", "needy", "number", "thin"]
    assert found[1].target.endswith(":DockerSandbox")
    assert found[-1].about == "from thinning"


@pytest.mark.requires("bwrap")
@pytest.mark.filterwarnings("ignore:.*the name 'docker':UserWarning")
def test_a_third_sandbox_is_opened_by_its_name_and_keeps_the_checks(site, monkeypatch):
    ours = bubblewrap()
    opener = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from kintsugi.envs.code.sandbox import open_sandbox; sandbox = open_sandbox('thin')"
    )
    subject = Subject(lambda: open_sandbox("thin"), opener, ours.sabotage, ours.left_behind)
    assert set(CHOSEN) <= set(CHECKS)
    with Bench(subject) as bench:
        assert bench.sandbox.name == "thin"
        assert {name: run_check(bench, name) for name in CHOSEN} == dict.fromkeys(CHOSEN, "")
    monkeypatch.setenv(choose.VARIABLE, "thin")
    with open_sandbox() as by_variable:
        assert by_variable.name == "thin"


@pytest.mark.requires("bwrap")
@pytest.mark.parametrize("given", ["thin", "thin_sandbox:Thin"])
@pytest.mark.filterwarnings("ignore:.*the name 'docker':UserWarning")
def test_code_is_played_in_the_sandbox_that_is_named(site, given):
    env = EnvSpec("code", {"sandbox": given}).make()
    env.reset(seed=0)
    assert env.step("run print(6 * 7)")[0] == "42"
    with shared_sandbox(given) as shared:
        assert shared.name == "thin"
        assert shared.holdings()


def test_a_class_of_sandboxes_is_named_by_its_module():
    opened = open_sandbox("sandboxes:Scripted")
    assert isinstance(opened, Scripted)
    assert isinstance(opened, Sandbox)
    assert open_sandbox("sandboxes:Scripted") is not opened
    assert EnvSpec("code", {"sandbox": "sandboxes:Scripted"}).to_json()["kwargs"]["sandbox"] == "sandboxes:Scripted"


@pytest.mark.filterwarnings("ignore:.*the name 'docker':UserWarning")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("thinn", "unknown sandbox 'thinn'; did you mean 'thin'"),
        ("auot", "unknown sandbox 'auot'; did you mean 'auto'"),
        (
            "gone",
            r"sandbox 'gone' \(from thinning\): cannot import 'thin_sandbox:Nothing' .*no attribute 'Nothing'",
        ),
        ("needy", r"sandbox 'needy' \(from thinning\): 'sandboxes:Counting' cannot be opened without arguments"),
        ("number", r"sandbox 'number' \(from thinning\): .*cannot be opened without arguments"),
        (
            "list",
            r"sandbox 'list' \(from thinning\): 'builtins:list' opens list; expected what .*Sandbox says",
        ),
        ("nowhere.at_all:Box", r"sandbox 'nowhere.at_all:Box' .*No module named 'nowhere'"),
        ("collections:Counter", "'collections:Counter' opens Counter; expected what"),
    ],
)
def test_what_is_unknown_or_broken_is_named(site, name, said):
    with pytest.raises(UsageError, match=said):
        open_sandbox(name)


def test_a_sandbox_whose_library_is_missing_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "wants_a_library.py").write_text("raise ModuleNotFoundError(name='docker')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"pip install 'kintsugi\[code\]'"):
        open_sandbox("wants_a_library:Box")
