"""Plugins of other packages: listing without imports, name conflicts, and import errors."""

from __future__ import annotations

import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from kintsugi.errors import EXTRAS, MissingExtraError, UsageError
from kintsugi.plugins import Plugin, find_plugin, load, plugins

GROUP = "kintsugi.tests"
BUILTIN = (Plugin("zebra", "json:dumps", "ours, and first"), Plugin("ant", "json:loads", "ours too"))
Offer = Callable[..., None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Return a function that installs a package with these plugins and a module named after it."""

    def install(package: str, source: str = "", **parts: str) -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {target}\n" for name, target in parts.items())
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        (tmp_path / f"{package}_module.py").write_text(source)

    monkeypatch.syspath_prepend(str(tmp_path))
    return install


def test_builtin_plugins_come_first_then_others_by_name(offer: Offer):
    offer("walnut", nut="walnut_module:A", bird="walnut_module:B")
    offer("almond", fish="almond_module:A")
    found = plugins(GROUP, BUILTIN)
    assert tuple(found[:2]) == BUILTIN
    assert [(plugin.name, plugin.target, plugin.about) for plugin in found[2:]] == [
        ("bird", "walnut_module:B", "from walnut"),
        ("fish", "almond_module:A", "from almond"),
        ("nut", "walnut_module:A", "from walnut"),
    ]
    assert plugins(GROUP, BUILTIN) == found
    assert plugins("kintsugi.nothing") == []


def test_listing_does_not_import(offer: Offer):
    offer("cashew", "BAR = [1, 2]", cashew="cashew_module:BAR", broken="cashew_module:missing.part")
    plugin = find_plugin("nut", GROUP, "cashew")
    assert [each.name for each in plugins(GROUP)] == ["broken", "cashew"]
    assert "cashew_module" not in sys.modules
    assert plugin.load() == [1, 2]
    assert "cashew_module" in sys.modules
    assert load("cashew_module:BAR.index", "here")(2) == 1


def test_duplicate_names_are_skipped_with_a_warning(offer: Offer):
    offer("pecan", "A = 'pecan'", zebra="pecan_module:A", pea="pecan_module:A")
    offer("peanut", "A = 'peanut'", pea="peanut_module:A", pod="peanut_module:A")
    with pytest.warns(UserWarning, match="is taken") as caught:
        found = {plugin.name: plugin.load() for plugin in plugins(GROUP, BUILTIN) if plugin not in BUILTIN}
    assert found == {"pea": "peanut", "pod": "peanut"}
    assert sorted(str(each.message) for each in caught) == [
        f"{GROUP}: the entry point {name} from pecan is skipped because the name is taken ({owner}); "
        "rename the entry point"
        for name, owner in (("'pea'", "from peanut"), ("'zebra'", "ours, and first"))
    ]


def test_duplicate_metadata_is_one_plugin(offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The metadata of an editable install may be on the path twice."""
    offer("hazel", hazel="hazel_module:A")
    again = tmp_path / "again"
    again.mkdir()
    (tmp_path / "hazel-1.0.dist-info").rename(again / "hazel-1.0.dist-info")
    monkeypatch.syspath_prepend(str(again))
    offer("hazel", hazel="hazel_module:A")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [plugin.name for plugin in plugins(GROUP)] == ["hazel"]


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("raise RuntimeError('no display')", "{}:A", "RuntimeError: no display"),
        ("import nothing_at_all", "{}:A", "ModuleNotFoundError: No module named 'nothing_at_all'"),
        ("def", "{}:A", "SyntaxError: "),
        ("", "{}:Missing", "AttributeError: .*Missing"),
        ("A = 1", "{}:A.deeper", "AttributeError: .*deeper"),
        ("A = 1", "{}", "AttributeError"),
        ("", "nowhere_at_all:A", "ModuleNotFoundError"),
        ("", ":", "ValueError: Empty module name"),
    ],
)
def test_import_errors_name_the_plugin(offer: Offer, source, target, why):
    package = f"brazil{zlib.crc32(f'{source}/{target}'.encode())}"
    offer(package, source, nut=target.format(f"{package}_module"), fine="json:dumps")
    plugin = find_plugin("nut", GROUP, "nut")
    with pytest.raises(UsageError, match=rf"^'nut' \(from {package}\): cannot import '.*' \({why}") as caught:
        plugin.load()
    assert "expected 'module:attribute': correct the name or the entry point, or reinstall" in str(caught.value)
    assert not isinstance(caught.value, MissingExtraError)
    assert find_plugin("nut", GROUP, "fine").load()


@pytest.mark.parametrize(("library", "extra"), [("yfinance", "yahoo"), ("playwright.async_api", "web"), ("PIL", "web")])
def test_missing_library_names_the_extra(offer: Offer, library, extra):
    package = f"filbert{library.partition('.')[0].lower()}"
    source = f"raise ModuleNotFoundError('No module named {library}', name={library!r})"
    offer(package, source, nut=f"{package}_module:A")
    with pytest.raises(MissingExtraError, match=rf"extra: pip install 'kintsugi\[{extra}\]'$") as caught:
        find_plugin("nut", GROUP, "nut").load()
    assert repr(library.partition(".")[0]) in str(caught.value)
    assert EXTRAS[library.partition(".")[0]] == extra


def test_usage_errors_of_a_plugin_are_raised_unchanged(offer: Offer):
    offer("acorn", "from kintsugi.errors import UsageError\nraise UsageError('plant it first')", nut="acorn_module:A")
    with pytest.raises(UsageError, match="^plant it first$"):
        find_plugin("nut", GROUP, "nut").load()


def test_find_plugin_by_name_or_module(offer: Offer):
    offer("chestnut", chestnut="chestnut_module:A")
    with pytest.raises(UsageError, match="^unknown nut 'chesnut'; did you mean 'chestnut'"):
        find_plugin("nut", GROUP, "chesnut", BUILTIN)
    with pytest.raises(UsageError, match="unknown nut 'q'; known: ant, chestnut, zebra"):
        find_plugin("nut", GROUP, "q", BUILTIN)
    plugin = find_plugin("nut", GROUP, "json:dumps", BUILTIN)
    assert plugin.load()([1]) == "[1]"
    assert "nut named by its module" in plugin.about
    assert find_plugin("nut", GROUP, "ant", BUILTIN) is BUILTIN[1]
