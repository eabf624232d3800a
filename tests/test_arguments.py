"""Conversion of plain data to typed arguments and back: nested fields, references and errors."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import configs
import pytest
from configs import Child, Grandchild, Inner, Middle, Needy, Outer, Parent, anything
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.agents.models import ScriptedModel
from kintsugi.agents.registry import make_agent
from kintsugi.agents.trajectory import AgentSpec
from kintsugi.arguments import build, convert, defaults, parse_arguments, parse_pairs, replace_fields, to_plain
from kintsugi.errors import UsageError


def build_outer(**values: Any) -> Outer:
    return build(Outer, values, "thing")


# -- Pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        ([], {}),
        (["a=1", "b=2"], {"a": "1", "b": "2"}),
        (["a", "1", "b", "2"], {"a": "1", "b": "2"}),
        (["a=1", "b", "2", "c=3"], {"a": "1", "b": "2", "c": "3"}),
        (["a=", "b=x=y", "c", "x y"], {"a": "", "b": "x=y", "c": "x y"}),
        (["a=1", "a=2"], {"a": "2"}),
    ],
)
def test_parse_pairs(words, pairs):
    assert parse_pairs(words) == pairs


@pytest.mark.parametrize("words", [["a"], ["a=1", "b"], ["a", "1", "b"], ["a", ""]])
def test_name_without_value_is_rejected(words):
    with pytest.raises(UsageError, match="'[ab]' has no value; expected NAME=VALUE"):
        parse_pairs(words)


# -- Conversions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "-3", -3),
        ("share", "1e-3", 0.001),
        ("share", "2", 2.0),
        *((("loud"), text, True) for text in ("true", "True", "YES", "1")),
        *((("loud"), text, False) for text in ("false", "FALSE", "no", "0")),
        ("level", "top", "top"),
        ("level", "2", 2),
        ("folder", "a/b c", Path("a/b c")),
        ("alpha", "0.1, 2,3e0", (0.1, 2.0, 3.0)),
        ("alpha", "", ()),
        ("pair", "3,c", (3, "c")),
        ("words", "a, b", ["a", "b"]),
        ("many", "1,2", (1, 2)),
        ("limit", "7", 7),
        ("limit", "None", None),
        ("either", "7", 7),
        ("either", "seven", "seven"),
        ("stops", "none", None),
        ("stops", "a,b", ("a", "b")),
        ("noted", "5", 5),
    ],
)
def test_text_is_converted_to_the_annotated_type(name, text, value):
    found = getattr(build_outer(**{name: text}), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("count", 3, 3),
        ("share", 1, 1),
        ("limit", None, None),
        ("alpha", [1, "2.5"], (1, 2.5)),
        ("pair", [1, "c"], (1, "c")),
        ("words", ["a"], ["a"]),
        ("stops", ["a", "b"], ("a", "b")),
        ("stops", (), ()),
        ("params", {"a": [1]}, {"a": [1]}),
        ("make", configs.doubled, configs.doubled),
    ],
)
def test_values_of_the_right_type_are_kept(name, value, found):
    assert getattr(build_outer(**{name: value}), name) == found


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("count", "3.5", "a whole number"),
        ("count", "", "a whole number"),
        ("share", "much", "a number"),
        ("loud", "perhaps", "true or false"),
        ("level", "3", "1 or 2 or 'top'"),
        ("alpha", "1,x", "values separated by commas"),
        ("pair", "1", "values separated by commas"),
        ("pair", [1, "b", "c"], "values separated by commas"),
        ("many", "1;2", "values separated by commas"),
        ("limit", "x", "none or a whole number"),
        ("noted", "x", "a whole number"),
        ("middle", "x", r"its fields, such as inner=..., needy=..., perhaps=..."),
        ("count", 2.5, "a whole number"),
        ("count", True, "a whole number"),
        ("count", [1], "a whole number"),
        ("share", True, "a number"),
        ("share", [0.5], "a number"),
        ("loud", 1, "true or false"),
        ("level", 3, "1 or 2 or 'top'"),
        ("level", True, "1 or 2 or 'top'"),
        ("alpha", 3, "values separated by commas"),
        ("words", {"a": 1}, "values separated by commas"),
        ("limit", 2.5, "none or a whole number"),
        ("middle", 3, r"its fields, such as inner=..., needy=..., perhaps=..."),
        ("make", 3, r"none or a reference, 'module:attribute' or 'module:function\(text\)'"),
        ("make", "not a reference", r"none or a reference, 'module:attribute' or 'module:function\(text\)'"),
    ],
)
def test_errors_state_the_expected_type(name, text, expected):
    with pytest.raises(UsageError, match=rf"^thing argument '{name}' is .*; expected {expected}$"):
        build_outer(**{name: text})


@given(st.integers(), st.floats(allow_nan=False), st.booleans(), st.lists(st.floats(allow_nan=False), max_size=3))
def test_text_round_trip(count, share, loud, alpha):
    config = Outer(count=count, share=share, loud=loud, alpha=tuple(alpha))
    text = {"count": str(count), "share": repr(share), "loud": str(loud), "alpha": ",".join(map(repr, alpha))}
    assert build_outer(**text) == config


# -- References -------------------------------------------------------------------------------------------------------


def test_reference_to_an_object():
    assert build_outer(make="configs:doubled").make is configs.doubled
    assert build_outer(make="configs:Parent.__init__").make is Parent.__init__
    assert build_outer(middle="configs:INNER").middle is configs.INNER


@pytest.mark.parametrize("text", ["x", "a:b", "local:models/small (old)", "", "(", ")", "two\nlines"])
def test_reference_with_a_function_call(text):
    assert convert(f"configs:doubled({text})", Inner, "it") == 2 * text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nowhere:x", r"'nowhere:x': cannot import 'nowhere:x' \(ModuleNotFoundError"),
        ("configs:Nobody", r"cannot import 'configs:Nobody' \(AttributeError"),
        ("configs:doubled(x", "expected none or a reference"),
        ("configs", "expected none or a reference"),
        (":doubled", "expected none or a reference"),
        (
            "configs:unlucky(it)",
            r"the call 'configs:unlucky\(it\)' failed \(UnicodeError: it cannot be read\); expected a",
        ),
        ("configs:INNER(x)", r"the call 'configs:INNER\(x\)' failed \(TypeError: 'Inner' object is not callable\)"),
    ],
)
def test_invalid_references_are_rejected(text, why):
    with pytest.raises(UsageError, match=why):
        build_outer(make=text)


# -- Names ------------------------------------------------------------------------------------------------------------


def test_unknown_names_suggest_similar_names():
    with pytest.raises(UsageError, match="^unknown argument 'cuont' of thing; did you mean 'count'"):
        build_outer(cuont=1)
    with pytest.raises(UsageError, match="'nner' of thing argument 'middle'; did you mean 'inner'"):
        build_outer(**{"middle.nner.rate": 1})
    with pytest.raises(UsageError, match="'raet' of thing argument 'middle': perhaps; did you mean 'rate'"):
        build_outer(middle={"perhaps": {"raet": 1}})
    with pytest.raises(UsageError, match="unknown argument '' of thing"):
        build_outer(**{"": 1})
    with pytest.raises(UsageError, match="unknown argument 'count.more' of thing"):
        build_outer(**{"count": "1", "count.more": "2"})


def test_missing_arguments_are_reported():
    assert build(Needy, {"size": "3", "colour": "red", "tags": "b,a"}, "it") == Needy(3, "red", frozenset("ab"))
    with pytest.raises(UsageError, match="^it needs the argument 'colour'; expected text$"):
        build(Needy, {"size": 3}, "it")
    with pytest.raises(UsageError, match="^it needs the argument 'first'; expected a whole number$"):
        parse_arguments(anything, {"second": "x"}, "it")
    assert parse_arguments(anything, {}, "it", provided=["first"]) == {}


def test_other_keywords_are_passed_unconverted():
    assert parse_arguments(anything, {"first": "1", "third": "3"}, "it") == {"first": 1, "third": "3"}
    assert anything(**parse_arguments(anything, {"first": "1", "other.a": "3"}, "it"))["other"] == {"a": "3"}


@pytest.mark.parametrize("cls", [Child, Grandchild])
def test_class_with_options_has_the_arguments_of_its_parents(cls):
    made = cls(**parse_arguments(cls, {"pace": "2", "steps": "7", "mode": "none"}, "it"))
    assert (made.pace, made.steps, made.mode) == (2.0, 7, None)
    with pytest.raises(UsageError, match="unknown argument 'stesp' of it; did you mean 'steps'"):
        parse_arguments(cls, {"stesp": "7"}, "it")
    with pytest.raises(UsageError, match="it argument 'steps' is 'x'; expected a whole number"):
        parse_arguments(cls, {"steps": "x"}, "it")


def test_defaults():
    assert defaults(Grandchild) == {"pace": 1.0, "steps": 50, "mode": None}
    assert defaults(anything) == {"second": "b"}
    assert defaults(Needy) == {"tags": frozenset()}
    assert defaults(Outer) == {name: getattr(Outer(), name) for name in defaults(Outer)}
    assert list(defaults(Outer)) == [each.name for each in fields(Outer)]


def test_class_without_arguments():
    class Plain:
        pass

    assert parse_arguments(Plain, {}, "it") == {}
    with pytest.raises(UsageError, match="unknown argument 'a' of it; known: none"):
        parse_arguments(Plain, {"a": "1"}, "it")


# -- Nested fields ----------------------------------------------------------------------------------------------------

NESTED: list[dict[str, Any]] = [
    {"middle.inner.kind": "hard", "middle.needy.size": "5"},
    {"middle": {"inner.kind": "hard", "needy": {"size": 5}}},
    {"middle": {"inner": {"kind": "hard"}}, "middle.needy.size": 5},
    {"middle.needy.size": "5", "middle": {"inner": {"kind": "hard"}}},
    {"middle.needy": {"size": "5"}, "middle.inner": {"kind": "hard"}},
]


@pytest.mark.parametrize("values", NESTED, ids=str)
def test_nested_fields_are_set_by_dotted_keys_and_mappings(values):
    """Omitted nested fields keep the values of the default object."""
    before = json.dumps(values)
    wanted = Outer(middle=Middle(inner=Inner(0.75, "hard"), needy=Needy(5, "red")))
    assert build(Outer, values, "it") == wanted
    assert replace_fields(Outer(), values, "it") == wanted
    assert json.dumps(values) == before


def test_optional_nested_field_is_created():
    assert build_outer(**{"middle.perhaps.rate": "2"}).middle.perhaps == Inner(2.0)
    assert build_outer(middle={"perhaps": None}).middle == Outer().middle
    assert build_outer(**{"params.a.b": "2"}).params == {"a.b": "2"}


def test_objects_are_kept():
    middle = Middle(needy=Needy(1, "blue"))
    assert build_outer(middle=middle).middle is middle


# -- Replacing fields -------------------------------------------------------------------------------------------------


def test_replace_fields_keeps_other_fields():
    config = Outer(count=7, middle=Middle(inner=Inner(rate=0.25, name="mine"), perhaps=Inner(kind="hard")))
    found = replace_fields(
        config, {"share": "0.5", "middle.inner.kind": "hard", "middle": {"perhaps": {"rate": 3}}}, "it"
    )
    inner = Inner(rate=0.25, kind="hard", name="mine")
    assert found == replace(config, share=0.5, middle=Middle(inner=inner, perhaps=Inner(rate=3, kind="hard")))
    assert config.middle.inner == Inner(rate=0.25, name="mine")
    assert replace_fields(config, {}, "it") == config
    assert replace_fields(config, {"middle.perhaps": None}, "it").middle.perhaps is None
    assert replace_fields(config, {"alpha": [1, 2]}, "it").alpha == (1, 2)


def test_replace_fields_rejects_invalid_values():
    with pytest.raises(UsageError, match="^unknown key 'cuont' of it; did you mean 'count'"):
        replace_fields(Outer(), {"cuont": 1}, "it")
    with pytest.raises(UsageError, match=r"^unknown key 'raet' of it, table \[middle.inner\]; did you mean 'rate'"):
        replace_fields(Outer(), {"middle.inner.raet": 1}, "it")
    with pytest.raises(UsageError, match="^it: middle.inner.rate is 'x'; expected a number"):
        replace_fields(Outer(), {"middle.inner.rate": "x"}, "it")


# -- Plain data -------------------------------------------------------------------------------------------------------


def test_to_plain():
    params: dict[Any, Any] = {"b": Path("x"), 3: None}
    config = Outer(stops=("a",), make=configs.doubled, params=params, words=["w"])
    found = to_plain(config)
    assert json.loads(json.dumps(found)) == found
    assert (found["folder"], found["alpha"], found["stops"], found["limit"]) == ("here", [0.5], ["a"], None)
    assert found["params"] == {"b": "x", "3": None}
    assert found["middle"]["inner"] == {"rate": 0.75, "kind": "soft", "name": "inner"}
    assert found["make"] == "configs:doubled"
    assert [to_plain(each) for each in (Child(), Child, configs.INNER, Inner)] == [
        "configs:Child",
        "configs:Child",
        {"rate": 9.0, "kind": "soft", "name": "inner"},
        "configs:Inner",
    ]


@pytest.mark.parametrize(
    "config",
    [
        Outer(),
        Outer(2, 0.1, True, "top", Path("a"), (), (1, "b"), ["c"], (1, 2), 3, "four", ("d",), {"e": 1}, 5, Middle()),
        Outer(middle=Middle(Inner(1.0, "hard", ""), Needy(9, "", frozenset("ab")), Inner(2.0)), make=configs.doubled),
    ],
)
def test_configuration_round_trip_through_json(config):
    assert build(Outer, json.loads(json.dumps(to_plain(config))), "it") == config
    assert replace_fields(Outer(), json.loads(json.dumps(to_plain(config))), "it") == config


def test_sets_are_sorted_in_every_process():
    code = "from kintsugi.arguments import to_plain; print(to_plain(frozenset('abcdefgh')), to_plain({3, 1, 2}))"
    found = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True).stdout
        for seed in "123"
    }
    assert found == {f"{list('abcdefgh')} [1, 2, 3]\n".encode()}


def test_undefined_annotations_are_reported():
    with pytest.raises(UsageError, match=r"arguments of 'configs:Vague' cannot be read \(name 'Missing'"):
        parse_arguments(configs.Vague, {"config": "x"}, "it")
    with pytest.raises(UsageError, match="'configs:Vague' cannot be read"):
        make_agent(AgentSpec("configs:Vague"), ScriptedModel([""]))
