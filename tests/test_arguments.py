"""From plain data to typed arguments and back: conversions, nested fields, references, and what is refused."""

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
from kintsugi.arguments import arguments, build, changed, convert, defaults, parse_pairs, plain
from kintsugi.errors import UsageError


def built(**values: Any) -> Outer:
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
def test_pairs(words, pairs):
    assert parse_pairs(words) == pairs


@pytest.mark.parametrize("words", [["a"], ["a=1", "b"], ["a", "1", "b"], ["a", ""]])
def test_a_name_without_a_value_is_refused(words):
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
def test_text_becomes_what_is_declared(name, text, value):
    found = getattr(built(**{name: text}), name)
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
def test_what_is_no_text_is_taken_as_it_is(name, value, found):
    assert getattr(built(**{name: value}), name) == found


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("count", "3.5", "a whole number"),
        ("count", "", "a whole number"),
        ("share", "much", "a number"),
        ("loud", "perhaps", "true or false"),
        ("level", "3", "1 or 2 or 'top'"),
        ("alpha", "1,x", "values with commas between"),
        ("pair", "1", "values with commas between"),
        ("pair", [1, "b", "c"], "values with commas between"),
        ("many", "1;2", "values with commas between"),
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
        ("alpha", 3, "values with commas between"),
        ("words", {"a": 1}, "values with commas between"),
        ("limit", 2.5, "none or a whole number"),
        ("middle", 3, r"its fields, such as inner=..., needy=..., perhaps=..."),
        ("make", 3, r"none or a reference, 'module:attribute' or 'module:function\(text\)'"),
        ("make", "not a reference", r"none or a reference, 'module:attribute' or 'module:function\(text\)'"),
    ],
)
def test_bad_values_say_what_was_expected(name, text, expected):
    with pytest.raises(UsageError, match=rf"^thing argument '{name}' is .*; expected {expected}$"):
        built(**{name: text})


@given(st.integers(), st.floats(allow_nan=False), st.booleans(), st.lists(st.floats(allow_nan=False), max_size=3))
def test_what_is_written_is_read_back(count, share, loud, alpha):
    config = Outer(count=count, share=share, loud=loud, alpha=tuple(alpha))
    text = {"count": str(count), "share": repr(share), "loud": str(loud), "alpha": ",".join(map(repr, alpha))}
    assert built(**text) == config


# -- References -------------------------------------------------------------------------------------------------------


def test_an_object_is_named_by_where_it_is_defined():
    assert built(make="configs:doubled").make is configs.doubled
    assert built(make="configs:Parent.__init__").make is Parent.__init__
    assert built(middle="configs:INNER").middle is configs.INNER


@pytest.mark.parametrize("text", ["x", "a:b", "local:models/small (old)", "", "(", ")", "two\nlines"])
def test_what_a_function_makes_of_a_text(text):
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
            r"'configs:unlucky\(it\)' cannot be made \(UnicodeError: it cannot be read\); expected a",
        ),
        ("configs:INNER(x)", r"'configs:INNER\(x\)' cannot be made \(TypeError: 'Inner' object is not callable\)"),
    ],
)
def test_what_names_no_object_is_refused(text, why):
    with pytest.raises(UsageError, match=why):
        built(make=text)


# -- Names ------------------------------------------------------------------------------------------------------------


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UsageError, match="^unknown thing argument 'cuont'; did you mean 'count'"):
        built(cuont=1)
    with pytest.raises(UsageError, match="'nner'; did you mean 'inner'"):
        built(**{"middle.nner.rate": 1})
    with pytest.raises(UsageError, match="'raet'; did you mean 'rate'"):
        built(middle={"perhaps": {"raet": 1}})
    with pytest.raises(UsageError, match="unknown thing argument ''"):
        built(**{"": 1})
    with pytest.raises(UsageError, match="unknown thing argument 'count.more'"):
        built(**{"count": "1", "count.more": "2"})


def test_what_is_missing_is_said():
    assert build(Needy, {"size": "3", "colour": "red", "tags": "b,a"}, "it") == Needy(3, "red", frozenset("ab"))
    with pytest.raises(UsageError, match="^it needs the argument 'colour'; expected text$"):
        build(Needy, {"size": 3}, "it")
    with pytest.raises(UsageError, match="^it needs the argument 'first'; expected a whole number$"):
        arguments(anything, {"second": "x"}, "it")
    assert arguments(anything, {}, "it", given=["first"]) == {}


def test_a_function_that_takes_anything_gets_it_as_it_is():
    assert arguments(anything, {"first": "1", "third": "3"}, "it") == {"first": 1, "third": "3"}
    assert anything(**arguments(anything, {"first": "1", "other.a": "3"}, "it"))["other"] == {"a": "3"}


@pytest.mark.parametrize("cls", [Child, Grandchild])
def test_a_class_that_passes_arguments_on_has_those_of_its_parents(cls):
    made = cls(**arguments(cls, {"pace": "2", "steps": "7", "mode": "none"}, "it"))
    assert (made.pace, made.steps, made.mode) == (2.0, 7, None)
    with pytest.raises(UsageError, match="unknown it argument 'stesp'; did you mean 'steps'"):
        arguments(cls, {"stesp": "7"}, "it")
    with pytest.raises(UsageError, match="it argument 'steps' is 'x'; expected a whole number"):
        arguments(cls, {"steps": "x"}, "it")


def test_what_can_be_left_out_has_a_default():
    assert defaults(Grandchild) == {"pace": 1.0, "steps": 50, "mode": None}
    assert defaults(anything) == {"second": "b"}
    assert defaults(Needy) == {"tags": frozenset()}
    assert defaults(Outer) == {name: getattr(Outer(), name) for name in defaults(Outer)}
    assert list(defaults(Outer)) == [each.name for each in fields(Outer)]


def test_a_class_without_arguments_takes_none():
    class Plain:
        pass

    assert arguments(Plain, {}, "it") == {}
    with pytest.raises(UsageError, match="unknown it argument 'a'; known: none"):
        arguments(Plain, {"a": "1"}, "it")


# -- Fields of fields -------------------------------------------------------------------------------------------------

NESTED: list[dict[str, Any]] = [
    {"middle.inner.kind": "hard", "middle.needy.size": "5"},
    {"middle": {"inner.kind": "hard", "needy": {"size": 5}}},
    {"middle": {"inner": {"kind": "hard"}}, "middle.needy.size": 5},
    {"middle.needy.size": "5", "middle": {"inner": {"kind": "hard"}}},
    {"middle.needy": {"size": "5"}, "middle.inner": {"kind": "hard"}},
]


@pytest.mark.parametrize("values", NESTED, ids=str)
def test_fields_of_fields_are_set_by_dots_and_by_mappings(values):
    """What is left out is as it is in the object that the field has by default."""
    before = json.dumps(values)
    wanted = Outer(middle=Middle(inner=Inner(0.75, "hard"), needy=Needy(5, "red")))
    assert build(Outer, values, "it") == wanted
    assert changed(Outer(), values, "it") == wanted
    assert json.dumps(values) == before


def test_a_field_that_may_be_none_is_made_anew():
    assert built(**{"middle.perhaps.rate": "2"}).middle.perhaps == Inner(2.0)
    assert built(middle={"perhaps": None}).middle == Outer().middle
    assert built(**{"params.a.b": "2"}).params == {"a.b": "2"}


def test_whole_objects_are_taken():
    middle = Middle(needy=Needy(1, "blue"))
    assert built(middle=middle).middle is middle


# -- Changing ---------------------------------------------------------------------------------------------------------


def test_a_change_keeps_what_it_does_not_name():
    config = Outer(count=7, middle=Middle(inner=Inner(rate=0.25, name="mine"), perhaps=Inner(kind="hard")))
    found = changed(config, {"share": "0.5", "middle.inner.kind": "hard", "middle": {"perhaps": {"rate": 3}}}, "it")
    inner = Inner(rate=0.25, kind="hard", name="mine")
    assert found == replace(config, share=0.5, middle=Middle(inner=inner, perhaps=Inner(rate=3, kind="hard")))
    assert config.middle.inner == Inner(rate=0.25, name="mine")
    assert changed(config, {}, "it") == config
    assert changed(config, {"middle.perhaps": None}, "it").middle.perhaps is None
    assert changed(config, {"alpha": [1, 2]}, "it").alpha == (1, 2)


def test_changes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="^unknown key in it 'cuont'; did you mean 'count'"):
        changed(Outer(), {"cuont": 1}, "it")
    with pytest.raises(UsageError, match=r"^unknown key in it, table \[middle.inner\]: 'raet'; did you mean 'rate'"):
        changed(Outer(), {"middle.inner.raet": 1}, "it")
    with pytest.raises(UsageError, match="^it: middle.inner.rate is 'x'; expected a number"):
        changed(Outer(), {"middle.inner.rate": "x"}, "it")


# -- Plain ------------------------------------------------------------------------------------------------------------


def test_plain_data_says_what_a_configuration_is():
    params: dict[Any, Any] = {"b": Path("x"), 3: None}
    config = Outer(stops=("a",), make=configs.doubled, params=params, words=["w"])
    found = plain(config)
    assert json.loads(json.dumps(found)) == found
    assert (found["folder"], found["alpha"], found["stops"], found["limit"]) == ("here", [0.5], ["a"], None)
    assert found["params"] == {"b": "x", "3": None}
    assert found["middle"]["inner"] == {"rate": 0.75, "kind": "soft", "name": "inner"}
    assert found["make"] == "configs:doubled"
    assert [plain(each) for each in (Child(), Child, configs.INNER, Inner)] == [
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
def test_a_configuration_survives_as_json(config):
    assert build(Outer, json.loads(json.dumps(plain(config))), "it") == config
    assert changed(Outer(), json.loads(json.dumps(plain(config))), "it") == config


def test_a_set_is_the_same_in_every_process():
    code = "from kintsugi.arguments import plain; print(plain(frozenset('abcdefgh')), plain({3, 1, 2}))"
    found = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True).stdout
        for seed in "123"
    }
    assert found == {f"{list('abcdefgh')} [1, 2, 3]\n".encode()}


def test_types_that_cannot_be_found_are_said():
    with pytest.raises(UsageError, match=r"arguments of 'configs:Vague' cannot be read \(name 'Missing'"):
        arguments(configs.Vague, {"config": "x"}, "it")
    with pytest.raises(UsageError, match="'configs:Vague' cannot be read"):
        make_agent(AgentSpec("configs:Vague"), ScriptedModel([""]))
