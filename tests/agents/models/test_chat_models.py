"""Whole models with chat templates and tokenizers as they are in the wild: acting, scoring, choices and training."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_templates import tokenizer_of
from door_env import Doors
from kintsugi.agents.models.chat_format import ChatFormat
from kintsugi.agents.models.core import Message, Sampling
from kintsugi.agents.models.local import LocalBackend, LocalModel
from kintsugi.agents.models.registry import open_backend
from kintsugi.agents.models.weights import model_version, quiet_transformers, window_of
from kintsugi.agents.react import ReActAgent, ReActConfig
from kintsugi.agents.rollout import Job, collect
from kintsugi.errors import TooLongError, UsageError
from kintsugi.loops.learning import open_learner
from kintsugi.loops.learning.core import Example, FitConfig, LoraShape
from tiny_models import CHATML, byte_tokenizer, network
from transformers import AutoConfig

CHAT = [Message("system", "You act."), Message("user", "Look around.")]
GREEDY = Sampling(temperature=0.0, max_tokens=8)
WILD = ("llama 2", "mistral 0.1", "gemma 2", "phi 3", "deepseek")


def save(folder: Path, tokenizer: Any, name: str = "llama", **changes: Any) -> Path:
    with quiet_transformers():
        network(name, **{"vocab_size": 600, "max_position_embeddings": 1024, **changes}).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models with random weights, by family."""
    return {name: save(tmp_path_factory.mktemp("models") / "model", tokenizer_of(name)) for name in WILD}


@pytest.mark.parametrize("name", WILD)
def test_an_agent_acts_and_is_trained_on_what_it_did(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    backend = LocalBackend(folders[name], device="cpu")
    tasks = Doors.tasks("train", 2)

    def play(adapter: Path | None) -> Sequence[Any]:
        agent = ReActAgent(backend.model(adapter), ReActConfig(max_tokens=8))
        return collect(Doors, [Job(task, agent, seed=0) for task in tasks])

    attempts = play(None)
    assert all(attempt.steps and attempt.outcome in ("failure", "truncated", "success") for attempt in attempts)
    chats = [chat for attempt in attempts for chat in ReActAgent(backend.model()).chats(attempt)]
    assert chats[0][0].role == "system"
    config = FitConfig(LoraShape(rank=2), lr=0.05, epochs=2)
    fitted = open_learner(backend).fit([Example(chat) for chat in chats], tmp_path / "a@1", name="a@1", config=config)
    assert fitted.trained_tokens == sum(len(m.token_ids or ()) for chat in chats for m in chat)
    assert play(tmp_path / "a@1")[0].steps


@pytest.mark.parametrize("name", WILD)
def test_choices_and_scores_are_those_of_whole_turns(name: str, folders: dict[str, Path]) -> None:
    model = LocalModel.load(folders[name], device="cpu")
    choices = ("look", "go to desk 1", "open drawer 2")
    for seed in range(4):
        chosen = asyncio.run(model.complete(CHAT, Sampling(max_tokens=40, seed=seed, choices=choices)))
        assert chosen.text in choices
        encoded = model.chat.encode(CHAT, generate=True)
        assert list(chosen.token_ids) == model.chat.turn_tokens(encoded, chosen.text)
        assert asyncio.run(model.score(CHAT, [chosen.text])) == pytest.approx([sum(chosen.logprobs)], rel=1e-3)


def test_a_continued_turn_is_kept_as_it_was_sampled(folders: dict[str, Path]) -> None:
    for name in WILD:
        model = LocalModel.load(folders[name], device="cpu")
        opened = [*CHAT, Message("assistant", "Thought: yes\nAction:")]
        completion = asyncio.run(model.complete(opened, GREEDY))
        turn = Message("assistant", "", completion.prefix_ids + completion.token_ids)
        ids = model.chat.encode(opened, generate=True).ids
        kept = model.chat.encode([*CHAT, turn], generate=False).ids
        assert kept[: len(ids) + len(completion.token_ids)] == [*ids, *completion.token_ids]


# -- Chat format ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model without a chat template, with learned absolute positions."""
    tokenizer = byte_tokenizer(None, "<|endoftext|>")
    return save(tmp_path_factory.mktemp("models") / "bare", tokenizer, "gpt2", n_positions=1024)


PLAIN = (
    "{% for m in messages %}{{ m.role + ': ' + m.content }}{{ eos_token if m.role == 'assistant' else '' }}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


def test_a_base_without_a_template_acts_and_is_trained_with_a_given_one(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bare' has no chat template; pass one with --chat-template FILE"):
        open_backend(str(bare))
    backend = open_backend(str(bare), chat_format=ChatFormat(PLAIN))
    config = FitConfig(LoraShape(rank=2, targets="c_attn"), lr=0.05, epochs=1)
    example = Example([*CHAT, Message("assistant", "Action: look")])
    fitted = open_learner(backend).fit([example], tmp_path / "a@1", name="a@1", config=config)
    assert fitted.trained_tokens == len(" Action: look") + 1
    for adapter in (None, tmp_path / "a@1"):
        model = backend.model(adapter)
        assert asyncio.run(model.complete(CHAT, GREEDY)).prompt_tokens == len(
            "system: You act.\nuser: Look around.\nassistant:"
        )
        assert model.version == model_version(bare, adapter, ChatFormat(PLAIN))


def test_template_and_date_are_part_of_the_version(bare: Path) -> None:
    formats = [ChatFormat(PLAIN), ChatFormat(PLAIN, "2026-03-01"), ChatFormat(PLAIN + " ")]
    backends = [LocalBackend(bare, chat_format=each) for each in formats]
    assert len({backend.base for backend in backends}) == len({backend.model().version for backend in backends}) == 3
    assert "~" not in model_version(bare)


def test_a_completion_does_not_depend_on_the_day(tmp_path: Path) -> None:
    template = "{{ strftime_now('%d %b %Y') }}" + CHATML
    folder = save(tmp_path / "dated", byte_tokenizer(template, "<|im_end|>", ("<|im_start|>",)))
    written = byte_tokenizer("26 Jul 2024" + CHATML, "<|im_end|>", ("<|im_start|>",))
    expected = asyncio.run(LocalModel.load(save(tmp_path / "written", written)).complete(CHAT, GREEDY))
    assert asyncio.run(LocalModel.load(folder).complete(CHAT, GREEDY)) == expected
    dated = LocalModel.load(folder, chat_format=ChatFormat(date="2026-03-01"))
    assert dated.chat.tokenizer.decode(dated.chat.encode(CHAT, generate=True).ids).startswith("01 Mar 2026")


@pytest.mark.parametrize("model", ["scripted:x.json", "seed:household"])
def test_backends_with_a_format_of_their_own_take_none(model: str) -> None:
    for chat_format in (ChatFormat(PLAIN), ChatFormat(date="2026-03-01")):
        with pytest.raises(UsageError, match="takes no chat template and no date; drop --chat-template and --date"):
            open_backend(model, chat_format=chat_format)


# -- Absolute positions -----------------------------------------------------------------------------------------------

ABSOLUTE: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
    },
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 16,
        "max_position_embeddings": 64,
    },
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
}


@pytest.mark.parametrize("name", ABSOLUTE)
def test_a_window_of_absolute_positions_is_used_to_its_end_and_not_beyond(name: str) -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    tokenizer = byte_tokenizer(PLAIN, "<|endoftext|>")
    shape = {"vocab_size": 300, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 1, **ABSOLUTE[name]}
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **shape))
    model = LocalModel(made, tokenizer, "v", name="small")
    assert model.window == window_of(made.config) == 64
    room = 64 - len("user: \nassistant:") - 8
    chat = [Message("user", "a" * room)]
    choices = replace(GREEDY, choices=("b" * 7,))
    assert len(asyncio.run(model.complete(chat, choices)).token_ids) == 8
    assert len(asyncio.run(model.score(chat, ["b" * 4]))) == 1
    longer = [Message("user", "a" * (room + 1))]
    with pytest.raises(TooLongError, match="small allows 56 tokens here, but .* alone have 57; use a model with a"):
        asyncio.run(model.complete(longer, GREEDY))
