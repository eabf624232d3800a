"""`LocalModel`: batching, completions, scores, and loading of folders and adapters."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from kintsugi.agents.models import Completion, LanguageModel, Message, Sampling
from kintsugi.agents.models.core import MANIFEST
from kintsugi.agents.models.local import LocalModel
from kintsugi.agents.models.weights import base_hash, known_models, load_base, model_version
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Example, FitConfig, LoraShape
from kintsugi.loops.learning.learner import LocalLearner
from safetensors.torch import save_file
from tiny_models import save_tiny_model

CHAT = [Message("system", "s"), Message("user", "hello")]


class RecordingModel(LocalModel):
    """Records the number of completions in each batch."""

    batches: list[int]

    def _run_batch(self, batch: Sequence[Any]) -> list[Any]:
        self.batches.append(sum(item.request is not None for item in batch))
        return super()._run_batch(batch)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> RecordingModel:
    made = RecordingModel.load(tiny_model, device="cpu", slots=16)
    made.batches = []
    return made


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapters") / "agent@1"
    example = Example([*CHAT, Message("assistant", "ho ho")])
    config = FitConfig(LoraShape(rank=4), lr=0.05, epochs=3)
    LocalLearner(tiny_model).fit([example], out, name="agent@1", config=config)
    return out


def run(*coroutines: Any) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*coroutines)

    return asyncio.run(together())


def user(text: str) -> list[Message]:
    return [Message("user", text)]


# -- Batching ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def batches(model: RecordingModel) -> list[int]:
    """Numbers of completions in the batches of this test."""
    model.batches.clear()
    return model.batches


def test_local_model_implements_the_protocol(model):
    assert isinstance(model, LanguageModel)


def test_pending_calls_form_one_batch(model, batches):
    found = run(*(model.complete(user(f"{i}"), Sampling(seed=i, max_tokens=4)) for i in range(9)))
    assert batches == [9]
    alone = [run(model.complete(user(f"{i}"), Sampling(seed=i, max_tokens=4)))[0] for i in range(9)]
    assert [c.token_ids for c in found] == [c.token_ids for c in alone]


def test_batches_wait_for_all_coroutines(model, batches):
    """A batch starts once all coroutines wait. Coroutines that call again share the next batch."""

    async def chatting(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        for turn in range(3):
            await model.complete(user(f"{number} {turn}"), Sampling(0.0, 2))

    run(*map(chatting, range(5)))
    assert sum(batches) == 15
    assert len(batches) <= 5
    assert batches[1:3] == [5, 5] or batches == [5, 5, 5]


def test_scores_and_completions_share_a_batch(model, batches):
    completion, scores = run(model.complete(CHAT, Sampling(0.0, 4)), model.score(CHAT, ["a", "bc"]))
    assert batches == [1]
    assert isinstance(completion, Completion)
    assert len(scores) == 2


def test_error_is_raised_for_every_request_of_the_batch(model):
    def fail(*_: Any) -> None:
        raise MemoryError("no more room")

    async def all_of_them() -> list[Any]:
        calls = [model.complete(user(str(i)), Sampling(0.0, 2)) for i in range(3)]
        return await asyncio.gather(*calls, model.score(CHAT, ["a"]), return_exceptions=True)

    hook = model.network.base_model.register_forward_pre_hook(fail)
    failed = asyncio.run(all_of_them())
    hook.remove()
    assert [type(error) for error in failed] == [MemoryError] * 4
    assert all(isinstance(c, Completion) for c in asyncio.run(all_of_them())[:3])


def test_interrupted_event_loop_does_not_block_the_next(model, batches):
    """Pending requests of an interrupted event loop are dropped."""

    async def interrupted() -> None:
        task = asyncio.ensure_future(model.complete(CHAT, Sampling(0.0, 2)))
        await asyncio.sleep(0)
        assert not task.done()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())

    async def soon() -> Completion:
        return await asyncio.wait_for(model.complete(CHAT, Sampling(0.0, 2)), 20)

    assert asyncio.run(soon()).token_ids
    assert batches[-1] == 1


def test_cancelled_call_is_not_decoded(model, batches):
    async def one_gives_up() -> Completion:
        gone = asyncio.ensure_future(model.complete(user("gone"), Sampling(0.0, 2)))
        kept = asyncio.ensure_future(model.complete(user("kept"), Sampling(0.0, 2)))
        await asyncio.sleep(0)
        gone.cancel()
        return await kept

    assert asyncio.run(one_gives_up()).token_ids
    assert batches == [1]


def test_threads_share_a_model(model):
    async def many(start: int) -> list[Completion]:
        calls = (model.complete(user(str(start + i)), Sampling(0.0, 3)) for i in range(8))
        return await asyncio.gather(*calls)

    async def threads() -> list[list[Completion]]:
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, many(10 * i)) for i in range(3)))

    for number, found in enumerate(asyncio.run(threads())):
        assert [c.token_ids for c in found] == [c.token_ids for c in asyncio.run(many(10 * number))]


# -- Completions and scores -------------------------------------------------------------------------------------------


def test_completion_reports_sampled_tokens_and_usage(model):
    [completion] = run(model.complete(CHAT, Sampling(1.0, 12, seed=3)))
    assert completion.text == model.chat.decode(completion.token_ids)
    assert len(completion.logprobs) == len(completion.token_ids) <= 12
    assert completion.prompt_tokens == len(model.chat.encode(CHAT, generate=True).ids)
    assert completion.prefix_ids == ()
    before = model.usage()
    run(model.complete(CHAT, Sampling(1.0, 12, seed=3)), model.score(CHAT, ["a", "b"]))
    after = model.usage()
    assert after.sampled_tokens == before.sampled_tokens + len(completion.token_ids)
    assert after.read_tokens == before.read_tokens + completion.prompt_tokens
    assert after.calls == before.calls + 2
    assert after.seconds > before.seconds > 0


def test_open_assistant_turn_is_continued(model):
    opening = "I should have"
    [completion] = run(model.complete([*CHAT, Message("assistant", opening)], Sampling(0.0, 5)))
    assert completion.prefix_ids == tuple(model.chat.tokens(opening))
    whole = Message("assistant", opening + completion.text, completion.prefix_ids + completion.token_ids[:2])
    [again] = run(model.complete([*CHAT, whole], Sampling(0.0, 3)))
    assert again.token_ids == completion.token_ids[2:]


@given(st.integers(0, 9), st.sampled_from(range(32, 127)))
def test_text_ends_before_the_first_stop_string(model, seed, letter):
    free = run(model.complete(CHAT, Sampling(1.0, 30, seed=seed)))[0]
    stops = (chr(letter), next(filter(str.isascii, free.text[1:]), "zz"), "never said")
    completion = run(model.complete(CHAT, Sampling(1.0, 30, seed=seed, stop=stops)))[0]
    cut = min((free.text.find(stop) for stop in stops if stop in free.text), default=len(free.text))
    assert completion.text == free.text[:cut]
    assert completion.token_ids == free.token_ids[: len(completion.token_ids)]
    assert completion.finish == "stop" or cut == len(free.text)


choices = st.lists(st.text("ab c", min_size=1, max_size=4), min_size=1, max_size=5)


@given(choices, st.integers(0, 5))
def test_completion_is_one_of_the_choices(model, allowed, seed):
    [completion] = run(model.complete(CHAT, Sampling(1.0, 30, seed=seed, choices=tuple(allowed))))
    assert completion.text in allowed
    assert completion.finish == "stop"
    assert completion.token_ids[-1] == model.chat.eos_id


@given(choices, st.integers(0, 30))
def test_text_after_choices_after_is_a_choice(model, allowed, seed):
    """The mark is a letter that the unconstrained completion contains."""
    [free] = run(model.complete(CHAT, Sampling(1.0, 30, seed=seed)))
    mark = next((letter for letter in free.text[1:] if letter.isascii() and letter not in free.text[0]), "")
    assume(mark)
    sampling = Sampling(1.0, 50, seed=seed, choices=tuple(allowed), choices_after=mark)
    [completion] = run(model.complete(CHAT, sampling))
    before, found, after = completion.text.partition(mark)
    assert found
    assert free.text.startswith(before + found)
    assert after in allowed


def test_choices_start_before_trailing_spaces(model):
    """Most tokenizers encode `Action: go` as `Action:` and ` go`, so the choices start before the space."""
    sampling = Sampling(choices=("go to mug 1", "look"), choices_after="\nAction: ")
    bound = model._choices_after("Thought: hm\nAction:", sampling)
    assert list(bound) == model.chat.tokens(" ")
    assert model._choices_after("Thought: hm\nAct", sampling) is None
    begins = model._choices_after("Thought: hm\nAction: ", sampling)
    assert sorted(begins) == sorted(model.chat.tokens("g") + model.chat.tokens("l"))


def test_empty_choices_are_rejected(model):
    with pytest.raises(UsageError, match="choices is empty"):
        run(model.complete(CHAT, Sampling(choices=())))


def test_scores_agree_with_a_full_forward_pass(model):
    candidates = ["a", "bcd", "", "a longer one"]
    [scores] = run(model.score(CHAT, candidates))
    for candidate, score in zip(candidates, scores, strict=True):
        prompt = model.chat.encode(CHAT, generate=True).ids
        ending = [*model.chat.tokens(candidate), model.chat.eos_id]
        with torch.inference_mode():
            logits = model.network(input_ids=torch.tensor([prompt + ending])).logits[0]
        wanted = torch.log_softmax(logits[len(prompt) - 1 : -1], -1).gather(-1, torch.tensor(ending)[:, None]).sum()
        assert score == pytest.approx(float(wanted), abs=1e-3)
    assert run(model.score(CHAT, [])) == [[]]


def test_long_chats_lose_their_oldest_turns(model):
    assert model.window == 256
    turns = [m for i in range(30) for m in (Message("assistant", f"a{i}"), Message("user", f"u{i:04}"))]
    [completion] = run(model.complete([*CHAT, *turns], Sampling(0.0, 4)))
    assert 200 < completion.prompt_tokens <= 252
    assert len(run(model.score([*CHAT, *turns], ["a", "bb"]))[0]) == 2
    for call in (model.complete(user("x" * 300), Sampling(0.0, 4)), model.score(user("x" * 300), ["a"])):
        with pytest.raises(UsageError, match="allows 25"):
            run(call)


def test_start_wave_does_not_change_completions(model):
    [first] = run(model.complete(CHAT, Sampling(1.0, 6, seed=1)))
    chat = [*CHAT, Message("assistant", first.text, first.token_ids), Message("user", "and?")]
    [kept] = run(model.complete(chat, Sampling(1.0, 6, seed=2)))
    model.start_wave()
    [fresh] = run(model.complete(chat, Sampling(1.0, 6, seed=2)))
    assert kept.token_ids == fresh.token_ids
    assert kept.logprobs == pytest.approx(fresh.logprobs, abs=1e-4)


# -- Folders ----------------------------------------------------------------------------------------------------------


def copy_folder(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def test_version_depends_on_base_and_adapter(tiny_model, adapter, tmp_path):
    base, tuned = LocalModel.load(tiny_model), LocalModel.load(tiny_model, adapter)
    assert base.version == base_hash(tiny_model) == model_version(tiny_model)
    assert tuned.version == model_version(tiny_model, adapter)
    assert tuned.version.startswith(f"{base.version}+agent@1:")
    assert base_hash(copy_folder(tiny_model, tmp_path / "copy")) == base.version
    assert base_hash(save_tiny_model(tmp_path / "other", seed=1)) != base.version
    changed = copy_folder(adapter, tmp_path / "agent@1")
    weights = bytearray((changed / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (changed / "adapter_model.safetensors").write_bytes(weights)
    assert len({base.version, tuned.version, model_version(tiny_model, changed)}) == 3


def test_adapter_is_merged_and_base_files_are_unchanged(tiny_model, adapter):
    files = sorted(tiny_model.iterdir())
    before = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    base, tuned = LocalModel.load(tiny_model), LocalModel.load(tiny_model, adapter)
    [base_score], [tuned_score] = run(base.score(CHAT, ["ho ho"])), run(tuned.score(CHAT, ["ho ho"]))
    assert tuned_score[0] > base_score[0] + 1
    assert sorted(tiny_model.iterdir()) == files
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == before


def test_adapter_of_another_base_is_rejected(adapter, tmp_path):
    other = save_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(
        UsageError, match=r"agent@1 was trained on base \w{12}, but the hash of .*other' is \w{12}; use the"
    ):
        LocalModel.load(other, adapter)


def damage(adapter: Path, how: str) -> None:
    weights, config = adapter / "adapter_model.safetensors", adapter / "adapter_config.json"
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "noise":
        weights.write_bytes(b"\xff" * 1000)
    elif how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "config":
        config.write_text('{"peft_type": ')
    elif how == "manifest":
        (adapter / MANIFEST).write_text("[1")
    elif how == "kind":
        config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "SPELL"}))
    elif how == "rank":
        config.write_text(json.dumps({**json.loads(config.read_text()), "r": 3}))
    elif how == "targets":
        config.write_text(json.dumps({**json.loads(config.read_text()), "target_modules": ["no_such_layer"]}))
    elif how == "foreign":
        (adapter / MANIFEST).unlink()
        save_file({"base_model.model.elsewhere.lora_A.weight": torch.zeros(2, 2)}, weights)


@pytest.mark.parametrize(
    "how", ["cut", "noise", "no weights", "no config", "config", "manifest", "kind", "rank", "targets", "foreign"]
)
def test_damaged_adapter_is_rejected(tiny_model, adapter, tmp_path, how):
    damaged = copy_folder(adapter, tmp_path / "agent@1")
    damage(damaged, how)
    with pytest.raises(UsageError, match=r"agent@1 (is damaged or does not fit the model|has no adapter_)"):
        LocalModel.load(tiny_model, damaged)


def test_invalid_model_folders_are_rejected(tiny_model, tmp_path):
    broken = copy_folder(tiny_model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:500])
    with pytest.raises(UsageError, match="broken': the weights cannot be loaded"):
        load_base(broken)
    (broken / "tokenizer_config.json").unlink()
    (broken / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match="broken' has no (tokenizer that can be loaded|chat template)"):
        load_base(broken)
    (broken / "config.json").write_text("{")
    with pytest.raises(UsageError, match="broken' is not a model that can be loaded"):
        load_base(broken)


def test_folder_without_weights_is_rejected_before_loading(tiny_model, tmp_path):
    empty = copy_folder(tiny_model, tmp_path / "empty")
    (empty / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="empty' has no weights"):
        model_version(empty)


def test_model_without_chat_template_is_rejected(tiny_model, tmp_path):
    mute = copy_folder(tiny_model, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="mute' has no chat template; pass one with --chat-template FILE"):
        LocalModel.load(mute)


def test_similar_models_are_suggested(tiny_model, tmp_path):
    copy_folder(tiny_model, tmp_path / "household-big")
    copy_folder(tiny_model, tmp_path / "zebra")
    with pytest.raises(UsageError, match=r"unknown model '.*houshold-big'; did you mean '.*/household-big'"):
        LocalModel.load(tmp_path / "houshold-big")
    assert str(tmp_path / "zebra") in known_models(tmp_path / "nothing")
    with pytest.raises(UsageError, match="unknown model 'no-such-org/no-such-model'"):
        LocalModel.load("no-such-org/no-such-model")
