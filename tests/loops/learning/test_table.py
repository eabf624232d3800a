"""`TableLearner`: trained answers and values are repeated; all other answers come from the script."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from kintsugi.agents.models import Message, Sampling, ScriptedBackend
from kintsugi.agents.models.local import LocalBackend
from kintsugi.agents.models.scripted import TABLE
from kintsugi.errors import UsageError
from kintsugi.loops.learning import open_learner
from kintsugi.loops.learning.core import Example, FitConfig, ValueExample
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.table import TableLearner

BACKEND = ScriptedBackend(["I do not know."], "base")
ASKED = [Message("system", "s"), Message("user", "which?")]


def answered(answer: str, *, trainable: bool = True, weight: float = 1.0) -> Example:
    return Example([*ASKED, Message("assistant", answer, trainable=trainable)], weight)


def train(folder: Path, examples, name: str = "a@1", **options) -> Path:
    (folder / name).mkdir()
    TableLearner().fit(examples, folder / name, name=name, config=FitConfig(), **options)
    return folder / name


def answer_of(adapter: Path | None, messages=ASKED) -> str:
    return asyncio.run(BACKEND.model(adapter).complete(messages, Sampling())).text


def value_of(adapter: Path, messages=ASKED) -> float:
    return asyncio.run(BACKEND.critic(adapter).value(messages))


def test_trained_chats_are_answered_as_trained_and_others_by_the_script(tmp_path):
    adapter = train(tmp_path, [answered("red")])
    assert (answer_of(None), answer_of(adapter)) == ("I do not know.", "red")
    assert answer_of(adapter, [*ASKED, Message("assistant", "red"), Message("user", "sure?")]) == "I do not know."


def test_trainable_turns_are_stored_with_the_chat_before_them(tmp_path):
    chat = [*ASKED, Message("assistant", "red", trainable=False), Message("user", "no."), Message("assistant", "blue")]
    adapter = train(tmp_path, [Example(chat)])
    assert (answer_of(adapter), answer_of(adapter, chat[:4])) == ("I do not know.", "blue")
    assert answer_of(adapter, [*ASKED, Message("assistant", "green"), Message("user", "no.")]) == "I do not know."


def test_the_last_of_several_answers_is_kept(tmp_path):
    assert answer_of(train(tmp_path, [answered("red"), answered("blue")])) == "blue"


def test_another_system_prompt_is_another_chat(tmp_path):
    adapter = train(tmp_path, [answered("red")])
    assert answer_of(adapter, [Message("system", "other"), ASKED[1]]) == "I do not know."


def test_values_are_means_of_labels_and_half_for_an_unknown_chat(tmp_path):
    adapter = train(tmp_path, [ValueExample(ASKED, 1.0), ValueExample(ASKED, 0.5), ValueExample(ASKED[1:], 0.25)])
    assert (value_of(adapter), value_of(adapter, ASKED[1:]), value_of(adapter, ASKED[:1])) == (0.75, 0.25, 0.5)
    assert answer_of(adapter) == "I do not know."


def test_training_continues_from_an_earlier_table(tmp_path):
    first = train(tmp_path, [answered("red"), ValueExample(ASKED, 1.0)])
    second = train(tmp_path, [Example([ASKED[1], Message("assistant", "blue")])], "a@2", start=first)
    assert (answer_of(second), answer_of(second, ASKED[1:]), value_of(second)) == ("red", "blue", 1.0)
    assert answer_of(first, ASKED[1:]) == "I do not know."


def test_equal_examples_give_equal_files_and_others_another_version(tmp_path):
    names = [("one", "red"), ("two", "red"), ("three", "blue")]
    adapters = []
    for folder, answer in names:
        (tmp_path / folder).mkdir()
        adapters.append(train(tmp_path / folder, [answered(answer)]))
    one, two, three = adapters
    assert (one / TABLE).read_bytes() == (two / TABLE).read_bytes() != (three / TABLE).read_bytes()
    versions = [BACKEND.model(each).version for each in adapters]
    assert versions[0] == versions[1] != versions[2]
    assert versions[0].startswith("base+a@1:")


def test_the_learner_records_its_arguments(tmp_path):
    learner, shares, config = TableLearner(), list[float](), FitConfig(epochs=7)
    start, out = train(tmp_path, [answered("red")]), tmp_path / "a@2"
    out.mkdir()
    examples = [answered("red"), answered("blue"), ValueExample(ASKED, 0.5)]
    found = learner.fit(examples, out, name="a@2", config=config, start=start, progress=shares.append)
    assert (found.examples, found.trained_tokens, found.steps) == (3, 2, 3)
    assert shares == [1 / 3, 2 / 3, 1.0]
    assert (learner.fitted, learner.configs, learner.starts) == ({"a@2": examples}, {"a@2": config}, {"a@2": "a@1"})
    assert set(json.loads((out / TABLE).read_text())) == {"turns", "values"}


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([], "nothing to train 'a@1' on: no example was collected"),
        ([answered("red"), answered("red", trainable=False)], "example 1 has no turn to train on"),
        ([answered("red", weight=0.0)], "example 0 has no turn to train on"),
        ([Example(ASKED)], "example 0 has no turn to train on"),
        (["red"], "example 0 is 'red'; expected an Example or a ValueExample"),
    ],
)
def test_invalid_examples_are_refused_and_nothing_is_written(tmp_path, examples, expected):
    with pytest.raises(UsageError, match=expected):
        train(tmp_path, examples)
    assert not list((tmp_path / "a@1").iterdir())


def test_a_folder_of_another_kind_is_refused(tmp_path):
    for text in (None, "no json", "[]", '{"turns": {}}'):
        if text is not None:
            (tmp_path / TABLE).write_text(text)
        with pytest.raises(UsageError, match=f"has no valid {TABLE} of a scripted model"):
            train(tmp_path, [answered("red")], f"a@{len(text or '')}", start=tmp_path)


def test_open_learner_returns_the_learner_for_the_backend(tiny_model):
    remote = SimpleNamespace(base="far/model", weights=None)
    assert isinstance(open_learner(BACKEND), TableLearner)
    learner = open_learner(LocalBackend(tiny_model))
    assert isinstance(learner, LocalLearner)
    assert learner.weights == tiny_model
    with pytest.raises(UsageError, match="'far/model' has no weights on this machine and cannot be trained"):
        open_learner(remote)
