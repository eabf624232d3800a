"""Tests of the action language: parsing inverts formatting, and invalid actions are refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.web.actions import (
    PAGE_VERBS,
    SAMPLE_TEXTS,
    VERBS,
    Action,
    RefusedAction,
    element_actions,
    parse_action,
)
from kintsugi.envs.web.view import Element

NUMBERS = st.integers(0, 10**9 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def format_action(action: Action) -> str:
    """Return the action as an agent would write it."""
    first = [] if action.id is None else [str(action.id)]
    return " ".join([action.verb, *(f"[{argument}]" for argument in [*first, *action.args])])


@given(NUMBERS, TEXTS.filter(lambda text: "] [" not in text and not text.endswith(("]", "[")) and text[:1] != "["))
def test_parsing_a_typed_text_returns_the_text(number: int, text: str):
    for args in ((text,), (text, "submit")):
        parsed = parse_action(format_action(Action("type", number, args)))
        assert (parsed.verb, parsed.id, parsed.args[1:]) == ("type", number, args[1:])
        # Only the number of spaces between "]" and "[" may be lost.
        assert parsed.args[0] == text or "]" in text


@given(
    st.sampled_from(["click", "hover", "back", "forward", "new_tab", "close_tab", "wait", "stop", "goto", "press"]),
    NUMBERS,
    TEXTS.filter(lambda text: "]" not in text and "[" not in text),
)
def test_parsing_a_formatted_action_returns_the_action(verb: str, number: int, text: str):
    form = VERBS[verb]
    action = Action(
        verb, number if form.takes_element else None, (text,) if form.max_args and not form.takes_element else ()
    )
    assert parse_action(format_action(action)) == action


@given(TEXTS)
def test_any_text_is_an_action_or_is_refused_with_a_reason(text: str):
    for written in (text, f"type [3] [{text}", f"click {text}", f"stop {text}"):
        try:
            found = parse_action(written).verb
        except RefusedAction as refused:
            found = str(refused)
        assert found in VERBS or 20 < len(found) < 400


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("  CLICK  [12] ", Action("click", 12)),
        ("click: 12", Action("click", 12)),
        ("click[12]", Action("click", 12)),
        ("type [5] [blue mug] [submit]", Action("type", 5, ("blue mug", "submit"))),
        ("type [5] [a [b] c] [1]", Action("type", 5, ("a [b] c", "1"))),
        ("type [5] [a] [b]", Action("type", 5, ("a] [b",))),
        ("type [5] []", Action("type", 5, ("",))),
        ("select [8] [a] [b] [c]", Action("select", 8, ("a", "b", "c"))),
        ("scroll down", Action("scroll", None, ("down",))),
        ("scroll [3] [down]", Action("scroll", 3, ("down",))),
        ("stop", Action("stop")),
        ("stop 42 pounds", Action("stop", None, ("42 pounds",))),
        ("type [1] [two\nlines]", Action("type", 1, ("two\nlines",))),
    ],
)
def test_common_spellings_are_parsed(text: str, action: Action):
    assert parse_action(text) == action


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unknown action"),
        ("clik [1]", "click"),
        ("click", "click takes 1 argument, not 0: click [id]"),
        ("click [1] [2]", "is no number of an element"),
        ("click [x]", "'x' is no number of an element, like the 12 of [12]: click [id]"),
        ("click [-1]", "is no number of an element"),
        ("click [1", "a ']' is missing at the end"),
        ("type [1]", "type takes 2 or 3 arguments, not 1"),
        ("select [1]", "select takes 2 or more arguments, not 1"),
        ("wait [3]", "wait takes 0 arguments"),
    ],
)
def test_invalid_actions_are_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(RefusedAction) as refused:
        parse_action(text)
    assert reason in str(refused.value)


def test_verbs_outside_the_accepted_ones_are_refused():
    with pytest.raises(RefusedAction):
        parse_action("new_tab", PAGE_VERBS)
    assert parse_action("click [1]", PAGE_VERBS) == Action("click", 1)


def element(number: int, **fields: object) -> Element:
    values = {"role": "button", "name": "", "options": (), "disabled": False, "editable": False, "box": None}
    return Element(number, number, **{**values, **fields})


@given(
    st.lists(
        st.builds(
            dict,
            role=st.sampled_from([*SAMPLE_TEXTS, "textbox", "button"]),
            options=st.lists(st.sampled_from(["red", "blue"]), max_size=2).map(tuple),
            disabled=st.booleans(),
            editable=st.booleans(),
        ),
        max_size=8,
    )
)
def test_listed_actions_parse_and_cover_exactly_the_enabled_elements(fields: list[dict[str, object]]):
    elements = {number: element(number, **each) for number, each in enumerate(fields)}
    found = element_actions(elements, tuple(VERBS))
    enabled = {number for number, each in elements.items() if not each.disabled}
    assert {parse_action(action).id for action in found} == enabled
    assert not element_actions(elements, ("wait",))


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("type 5 hello world", ("hello world",)),
        ("type 5 two words submit", ("two words", "submit")),
        ("type 5 [two words] [submit]", ("two words", "submit")),
        ("type [5] [two words] submit", ("two words", "submit")),
        ("type [5] [a] [b] [submit]", ("a] [b", "submit")),
        ("type 5 submit", ("submit",)),
        ("type 5 [open", ("[open",)),
        ("type 5 room 1", ("room 1",)),
        ("select 5 Price, low to high", ("Price, low to high",)),
    ],
)
def test_texts_are_parsed_with_and_without_brackets(text: str, args: tuple[str, ...]):
    assert parse_action(text) == Action(text.split()[0], 5, args)
