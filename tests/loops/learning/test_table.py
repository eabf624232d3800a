"""Learning by heart: what was taught is said again, everything else is the script's."""

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
from kintsugi.loops.learning.core import Example, FitConfig, Judgement
from kintsugi.loops.learning.learner import LocalLearner
from kintsugi.loops.learning.table import TableLearner

BACKEND = ScriptedBackend(["I do not know."], "base")
ASKED = [Message("system", "s"), Message("user", "which?")]


def taught(said: str, *, trainable: bool = True, weight: float = 1.0) -> Example:
    return Example([*ASKED, Message("assistant", said, trainable=trainable)], weight)


def learnt(folder: Path, examples, name: str = "a@1", **options) -> Path:
    (folder / name).mkdir()
    TableLearner().fit(examples, folder / name, name=name, config=FitConfig(), **options)
    return folder / name


def says(adapter: Path | None, messages=ASKED) -> str:
    return asyncio.run(BACKEND.model(adapter).complete(messages, Sampling())).text


def worth(adapter: Path, messages=ASKED) -> float:
    return asyncio.run(BACKEND.critic(adapter).value(messages))


def test_what_was_taught_is_said_and_the_rest_stays(tmp_path):
    adapter = learnt(tmp_path, [taught("red")])
    assert (says(None), says(adapter)) == ("I do not know.", "red")
    assert says(adapter, [*ASKED, Message("assistant", "red"), Message("user", "sure?")]) == "I do not know."


def test_every_turn_that_is_trained_is_learnt_after_what_came_before_it(tmp_path):
    chat = [*ASKED, Message("assistant", "red", trainable=False), Message("user", "no."), Message("assistant", "blue")]
    adapter = learnt(tmp_path, [Example(chat)])
    assert (says(adapter), says(adapter, chat[:4])) == ("I do not know.", "blue")
    assert says(adapter, [*ASKED, Message("assistant", "green"), Message("user", "no.")]) == "I do not know."


def test_the_last_of_several_answers_stays(tmp_path):
    assert says(learnt(tmp_path, [taught("red"), taught("blue")])) == "blue"


def test_another_system_prompt_is_another_chat(tmp_path):
    adapter = learnt(tmp_path, [taught("red")])
    assert says(adapter, [Message("system", "other"), ASKED[1]]) == "I do not know."


def test_judgements_are_means_and_an_unknown_chat_is_worth_half(tmp_path):
    adapter = learnt(tmp_path, [Judgement(ASKED, 1.0), Judgement(ASKED, 0.5), Judgement(ASKED[1:], 0.25)])
    assert (worth(adapter), worth(adapter, ASKED[1:]), worth(adapter, ASKED[:1])) == (0.75, 0.25, 0.5)
    assert says(adapter) == "I do not know."


def test_it_goes_on_from_an_earlier_table(tmp_path):
    first = learnt(tmp_path, [taught("red"), Judgement(ASKED, 1.0)])
    second = learnt(tmp_path, [Example([ASKED[1], Message("assistant", "blue")])], "a@2", start=first)
    assert (says(second), says(second, ASKED[1:]), worth(second)) == ("red", "blue", 1.0)
    assert says(first, ASKED[1:]) == "I do not know."


def test_equal_lessons_are_equal_files_and_versions_tell_others_apart(tmp_path):
    names = [("one", "red"), ("two", "red"), ("three", "blue")]
    adapters = []
    for folder, said in names:
        (tmp_path / folder).mkdir()
        adapters.append(learnt(tmp_path / folder, [taught(said)]))
    one, two, three = adapters
    assert (one / TABLE).read_bytes() == (two / TABLE).read_bytes() != (three / TABLE).read_bytes()
    versions = [BACKEND.model(each).version for each in adapters]
    assert versions[0] == versions[1] != versions[2]
    assert versions[0].startswith("base+a@1:")


def test_it_notes_what_it_was_given(tmp_path):
    learner, shares, config = TableLearner(), list[float](), FitConfig(epochs=7)
    start, out = learnt(tmp_path, [taught("red")]), tmp_path / "a@2"
    out.mkdir()
    examples = [taught("red"), taught("blue"), Judgement(ASKED, 0.5)]
    found = learner.fit(examples, out, name="a@2", config=config, start=start, progress=shares.append)
    assert (found.examples, found.trained_tokens, found.steps) == (3, 2, 1)
    assert shares == [1 / 3, 2 / 3, 1.0]
    assert (learner.fitted, learner.configs, learner.starts) == ({"a@2": examples}, {"a@2": config}, {"a@2": "a@1"})
    assert set(json.loads((out / TABLE).read_text())) == {"turns", "values"}


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([], "nothing to train 'a@1' on: no example was collected"),
        ([taught("red"), taught("red", trainable=False)], "example 1 has no turn to train on"),
        ([taught("red", weight=0.0)], "example 0 has no turn to train on"),
        ([Example(ASKED)], "example 0 has no turn to train on"),
        (["red"], "example 0 is 'red'; a table learns Examples and Judgements"),
    ],
)
def test_what_cannot_be_learnt_is_refused_and_nothing_is_written(tmp_path, examples, expected):
    with pytest.raises(UsageError, match=expected):
        learnt(tmp_path, examples)
    assert not list((tmp_path / "a@1").iterdir())


def test_a_folder_of_another_kind_is_refused(tmp_path):
    for text in (None, "no json", "[]", '{"turns": {}}'):
        if text is not None:
            (tmp_path / TABLE).write_text(text)
        with pytest.raises(UsageError, match=f"holds no {TABLE} of a scripted model"):
            learnt(tmp_path, [taught("red")], f"a@{len(text or '')}", start=tmp_path)


def test_who_learns_for_which_back_end(tiny_model):
    far = SimpleNamespace(base="far/model", weights=None)
    assert isinstance(open_learner(BACKEND), TableLearner)
    learner = open_learner(LocalBackend(tiny_model))
    assert isinstance(learner, LocalLearner)
    assert learner.weights == tiny_model
    with pytest.raises(UsageError, match="'far/model' has no weights on this machine, so nothing can be trained"):
        open_learner(far)
