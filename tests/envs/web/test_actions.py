"""The language of actions: what is written is read back, whatever the text; what says nothing is refused with why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kintsugi.envs.web.actions import PAGE_VERBS, SAMPLES, VERBS, Action, Refused, on_elements, parse
from kintsugi.envs.web.view import Element

NUMBERS = st.integers(0, 10**9 - 1)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
"""Any text."""


def written(action: Action) -> str:
    """The action as one would write it."""
    first = [] if action.id is None else [str(action.id)]
    return " ".join([action.verb, *(f"[{argument}]" for argument in [*first, *action.args])])


@given(NUMBERS, WORDS.filter(lambda text: "] [" not in text and not text.endswith(("]", "[")) and text[:1] != "["))
def test_a_typed_text_arrives_as_it_was_written(number: int, text: str):
    for args in ((text,), (text, "submit")):
        read = parse(written(Action("type", number, args)))
        assert (read.verb, read.id, read.args[1:]) == ("type", number, args[1:])
        # Brackets that touch only through blanks are the one thing that writing loses.
        assert read.args[0] == text or "]" in text


@given(
    st.sampled_from(["click", "hover", "back", "forward", "new_tab", "close_tab", "wait", "stop", "goto", "press"]),
    NUMBERS,
    WORDS.filter(lambda text: "]" not in text and "[" not in text),
)
def test_actions_are_read_back(verb: str, number: int, text: str):
    about = VERBS[verb]
    action = Action(verb, number if about.element else None, (text,) if about.most and not about.element else ())
    assert parse(written(action)) == action


@given(WORDS)
def test_any_text_is_an_action_or_is_refused_with_a_reason(text: str):
    for said in (text, f"type [3] [{text}", f"click {text}", f"stop {text}"):
        try:
            found = parse(said).verb
        except Refused as refused:
            found = str(refused)
        assert found in VERBS or 20 < len(found) < 400


@pytest.mark.parametrize(
    ("said", "action"),
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
def test_what_people_write_is_understood(said: str, action: Action):
    assert parse(said) == action


@pytest.mark.parametrize(
    ("said", "why"),
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
def test_what_says_nothing_is_refused_with_what_would(said: str, why: str):
    with pytest.raises(Refused) as refused:
        parse(said)
    assert why in str(refused.value)


def test_a_world_of_one_page_knows_no_tabs():
    with pytest.raises(Refused):
        parse("new_tab", PAGE_VERBS)
    assert parse("click [1]", PAGE_VERBS) == Action("click", 1)


def element(number: int, **fields: object) -> Element:
    values = {"role": "button", "name": "", "options": (), "disabled": False, "editable": False, "box": None}
    return Element(number, number, **{**values, **fields})


@given(
    st.lists(
        st.builds(
            dict,
            role=st.sampled_from([*SAMPLES, "textbox", "button"]),
            options=st.lists(st.sampled_from(["red", "blue"]), max_size=2).map(tuple),
            disabled=st.booleans(),
            editable=st.booleans(),
        ),
        max_size=8,
    )
)
def test_what_is_listed_can_be_said_and_is_of_elements_that_are_enabled(fields: list[dict[str, object]]):
    elements = {number: element(number, **each) for number, each in enumerate(fields)}
    found = on_elements(elements, tuple(VERBS))
    enabled = {number for number, each in elements.items() if not each.disabled}
    assert {parse(action).id for action in found} == enabled
    assert not on_elements(elements, ("wait",))


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
def test_a_text_is_taken_as_it_stands_with_and_without_brackets(text: str, args: tuple[str, ...]):
    assert parse(text) == Action(text.split()[0], 5, args)
