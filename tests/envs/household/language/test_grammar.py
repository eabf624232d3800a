"""Grammar texts are parsed as by TextWorld, and nothing in them is evaluated."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.household.language.domain import bundled_text
from kintsugi.envs.household.language.grammar import (
    Atom,
    ForEach,
    RuleCall,
    Value,
    Word,
    read_expression,
    read_grammar,
    read_query,
    read_text,
)
from kintsugi.errors import UsageError

NAME = ForEach(Value(((Word("x", "name"),),)), None, False)


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("a #b c# d", ("a ", RuleCall("b c"), " d")),
        ("\n\n  a", ("a",)),
        ("#a#\t\tb\n\n c", (RuleCall("a"), "b\n\n c")),
        ("//dropped\nkept", ("kept",)),
        ("a; never said", ("a",)),
        ("a}b", ("a",)),
        ("{x.name", ()),
        ('"quoted" too', ("quoted", " too")),
        ('"\tquoted"', ("\tquoted",)),
        ("{x.name} {x.name}", (NAME, " ", NAME)),
        ("[{#a(x)# | p(x:object)}].", (ForEach(RuleCall("a(x)"), (Atom("p", (("x", "object"),)),), True), ".")),
        ("[x]", ()),
    ],
)
def test_right_hand_sides(text, symbols):
    assert read_text(text, "here") == symbols


@pytest.mark.requires("textworld")
@given(st.text(st.sampled_from('ab#{}[]|" \t\n/;<>.()'), max_size=24))
def test_symbols_equal_those_of_textworld(text):
    """The symbols are the same for any text whose expressions both parsers support."""
    from textworld.envs.pddl import textgen

    try:
        ours = read_text(text, "here")
    except UsageError:
        return
    # Empty literals have no effect.
    ours = tuple(symbol for symbol in ours if symbol != "")
    read = textgen._parse_and_convert(text, rule_name="symbols")
    theirs = [symbol for symbol in read if type(symbol).__name__ != "TerminalSymbol" or str(symbol)]
    kinds = {"TerminalSymbol": str, "NonterminalSymbol": RuleCall, "ConditionalSymbol": ForEach, "ListSymbol": ForEach}
    assert [kinds[type(symbol).__name__] for symbol in theirs] == [type(symbol) for symbol in ours]
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(mine, str):
            assert mine == str(other)
        elif isinstance(mine, RuleCall):
            assert mine.rule == str(other)


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("x.name", (("x", "name"),)),
        (" x . name or x.id ", (("x", "name"), ("x", "id"))),
        ("'a ' + x.name", None),
        ("x", (("x", ""),)),
    ],
)
def test_expressions(text, choices):
    value = read_expression(text, "here")
    if choices is not None:
        assert value == Value(tuple((Word(*choice),) for choice in choices))
    else:
        assert value == Value(((Word("", "a "), Word("x", "name")),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x.name.upper()",
        "__import__('os')",
        "x[0]",
        "x.name + ",
        "lambda: 0",
        "x.name if x else y",
        "f'{x}'",
        "x.name or",
        "1 +",
        "'a\\n'",
        "(x)",
    ],
)
def test_other_expressions_are_refused(text):
    with pytest.raises(UsageError, match="here: cannot read the expression"):
        read_expression(text, "here")


@given(st.text(max_size=60))
def test_no_text_crashes(text):
    for read in (read_text, read_expression, read_query, read_grammar):
        with contextlib.suppress(UsageError):
            assert read(text, "here") is not None


def test_queries():
    assert read_query("p(x:object) & !q(y, z':location)", "here") == (
        Atom("p", (("x", "object"),)),
        Atom("not_q", (("y", "y"), ("z'", "location"))),
    )
    for text in ("p(x) |", "p", "p(x) & ", "p(x:)", "p(x) q(y)"):
        with pytest.raises(UsageError, match="here: cannot read"):
            read_query(text, "here")


def test_bundled_grammar():
    grammar = read_grammar(bundled_text("grammar.twl2"), "own")
    assert len(grammar.actions) == 15
    assert grammar.actions["gotolocation"].template == "go to {r}"
    assert grammar.rules["list_empty"][0].text == "nothing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules {}", r"own, line 1: found 'rules \{\}'; expected 'grammar' or 'action'"),
        ('grammar :: """[1]""";', "not a JSON object"),
        ('# a comment\ngrammar :: """{""";', "that end in line 2 are not valid JSON"),
        ('grammar :: """{"a": []}""";', "rule 'a' is not a list of alternatives"),
        ('grammar :: """{"a": [{}]}""";', "rule 'a' has an alternative without a text 'rhs'"),
        ('action look { template :: "look"; }', "action look has no feedback"),
        ("action look { template :: look; }", "expected a text in quotes"),
        ("action look { ", "expected 'template', 'feedback', 'grammar' or '}'"),
    ],
)
def test_bad_grammar_files(text, message):
    with pytest.raises(UsageError, match=message):
        read_grammar(text, "own")
