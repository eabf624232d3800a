"""`Stage`: text form, parsing of arbitrary names, full keys, and refused texts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kintsugi.errors import UsageError
from kintsugi.loops.runs.stages import Stage, node_key, split_key

NAMES = st.text(max_size=12) | st.text("/@:%-0123456789a\n", max_size=6) | st.sampled_from(["-", "%2D", "a@1", "ä/é"])
STAGES = st.builds(
    Stage,
    kind=st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True),
    model=NAMES.filter(bool),
    tasks=NAMES,
    round=st.integers(0, 12),
    scope=NAMES,
)
PLAIN = [
    (Stage("eval", "base", "valid_unseen"), "eval/base/valid_unseen"),
    (Stage("collect", "policy", "train", 1, "seed0"), "collect/seed0/policy@1/train"),
    (Stage("counts", "mended"), "counts/mended/-"),
    (Stage("score", "full + LoRA", "-", scope="-"), "score/%2D/full + LoRA/%2D"),
    (Stage("odd", "a@1", "50%/x:y"), "odd/a%401/50%25%2Fx%3Ay"),
]


@pytest.mark.parametrize(("stage", "text"), PLAIN)
def test_text_forms(stage, text):
    assert str(stage) == text
    assert Stage.parse(text) == stage


@given(STAGES)
@example(Stage("a", "b\nc", round=1))
def test_parsing_inverts_the_text_form(stage):
    assert Stage.parse(str(stage)) == stage
    assert not set(":") & set(str(stage))


@given(STAGES, STAGES)
def test_different_stages_have_different_texts(one, other):
    assert (one == other) == (str(one) == str(other))


@given(STAGES, st.text(max_size=20))
@example(Stage("collect", "policy", "train", 1), "valid:3/@%#0")
def test_a_full_key_splits_into_stage_and_attempt(stage, attempt):
    assert split_key(stage.key(attempt)) == (stage, attempt)


@given(st.text(max_size=20) | st.text("abc/@%-1", max_size=12))
def test_a_text_is_the_exact_form_of_a_stage_or_refused(text):
    try:
        found = Stage.parse(text)
    except UsageError:
        return
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    ["", "eval", "eval/base", "eval/seed0/base/valid/more", "Eval/base/valid", "eval//valid", "1/base/valid",
     "eval/base/valid/", "eval//base/valid", "eval/base/", "eval/base/a@1", "eval/%41/valid", "eval/a@0/valid"],
)  # fmt: skip
def test_a_text_that_is_not_a_stage_is_refused_in_one_line(text):
    with pytest.raises(UsageError) as refused:
        Stage.parse(text)
    assert "expected" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "eval/base/valid", "eval/base:t#0", "t#0"])
def test_a_text_that_is_not_a_full_key_is_refused(key):
    with pytest.raises(UsageError, match="expected"):
        split_key(key)


@pytest.mark.parametrize(("kind", "model", "number"), [("Eval", "m", 0), ("", "m", 0), ("eval", "", 0), ("a", "m", -1)])
def test_invalid_fields_are_refused(kind, model, number):
    with pytest.raises(UsageError, match="expected a lower-case word, a non-empty text and a number from 0"):
        Stage(kind, model, round=number)


def test_related_stages_keys_and_held_out_kinds():
    stage = Stage("eval", "policy", "valid", 2, "seed1")
    assert stage.with_kind("score") == Stage("score", "policy", "valid", 2, "seed1")
    assert (stage.model_round, stage.with_kind("eval")) == ("policy@2", stage)
    assert stage.key(node_key("valid/3#0", 17)) == "eval/seed1/policy@2/valid:valid/3#0.17"
    assert [Stage(kind, "m").held_out for kind in ("eval", "gate", "collect", "search")] == [True, True, False, False]


@given(st.from_regex(r"[a-zA-Z/: %é-]{1,8}", fullmatch=True), st.integers(0, 12))
def test_model_round_round_trips(model, number):
    stage = Stage("eval", model, "valid", number)
    assert Stage.from_model_round("eval", stage.model_round, "valid") == stage
