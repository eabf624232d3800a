"""Seed policies: Hugging Face folders that are reproducible to the byte, built once and never used unfinished."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kintsugi.agents.models import Message, Sampling
from kintsugi.agents.models.chat import ChatEncoder
from kintsugi.agents.models.local import LocalModel
from kintsugi.errors import UsageError
from kintsugi.loops.learning.core import Row
from kintsugi.loops.seeds import recipe as module
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import SINGLE_TOKENS, SeedRecipe, write_corpus
from kintsugi.loops.seeds.pretrain import build
from kintsugi.loops.seeds.recipe import default_cache, demonstrations_of, open_seed, recipe_hash, seed_model
from kintsugi.loops.seeds.tokenizer import learn_tokenizer
from loop_seeds import RENAMING_FAMILY, install
from transformers import AutoModelForCausalLM, AutoTokenizer

TINY = SeedRecipe(
    demonstrations=8,
    reflections=6,
    judged_attempts=4,
    architecture=Architecture(32, 2, 2, 1, 64, 512),
    pretrain=PretrainConfig(tokens=4000, batch_tokens=1000, warmup=2),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def seed(cache: Path) -> Path:
    return seed_model(TINY, cache=cache)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def files(cache: Path) -> list[str]:
    """Names of the files in a cache, without locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_seed_policy_is_a_hugging_face_model(seed):
    model: Any = AutoModelForCausalLM.from_pretrained(seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(seed)
    chat = [{"role": "user", "content": "You arrive at fridge 1."}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    out = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    [completion] = [
        asyncio.run(LocalModel.load(seed).complete([Message("user", chat[0]["content"])], Sampling(0.0, 3)))
    ]
    assert out[0, prompt["input_ids"].shape[1] :].tolist() == list(completion.token_ids)
    assert len(tokenizer(" fridge 1")["input_ids"]) == 1


def test_a_seed_policy_has_its_demonstrations(seed, tiny_model):
    shown = demonstrations_of(seed)
    assert len(shown) == 8
    assert all(t.success and t.source == "expert" and t.steps for t in shown)
    assert demonstrations_of(tiny_model) == []


def test_a_rebuilt_seed_policy_is_equal_to_the_byte(seed, tmp_path):
    torch.rand(7)
    again = seed_model(TINY, cache=tmp_path / "new" / "cache")
    assert again.name == seed.name
    assert contents(again) == contents(seed)


def test_a_family_determines_corpus_and_tokenizer(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "gatehouse", loud="loop_seeds:RENAMING_FAMILY")))
    shape = replace(TINY.architecture, previous_token_heads=2, rope_theta=1e6)
    recipe = replace(
        TINY,
        family="loud",
        demonstrations=20,
        renamings=2,
        architecture=shape,
        pretrain=replace(TINY.pretrain, copying_tokens=2000),
    )
    shares: list[float] = []
    made = seed_model(
        recipe, cache=tmp_path, progress=lambda what, share: shares.append(share) if what == "training" else None
    )
    corpus = write_corpus(RENAMING_FAMILY, recipe, lambda share: None)
    about = json.loads((made / "seed.json").read_text())
    assert about["texts"] == 3 * len(corpus.chats) > 40
    assert shares == sorted(shares)
    assert any(1 / 3 <= share < 1 / 2 for share in shares)
    assert shares[-1] == 1
    texts = [m.content for chat in corpus.chats for m in chat]
    tokenizer: Any = AutoTokenizer.from_pretrained(made)
    own = learn_tokenizer(texts, single_tokens=SINGLE_TOKENS, phrase_tokens=False, bpe_merges=30)
    assert tokenizer.get_vocab() == own.get_vocab() != learn_tokenizer(texts, single_tokens=SINGLE_TOKENS).get_vocab()
    model: Any = AutoModelForCausalLM.from_pretrained(made)
    assert model.config.rope_parameters["rope_theta"] == 1e6
    assert model.model.layers[0].self_attn.q_proj.bias.abs().max() > 1
    [completion] = [asyncio.run(LocalModel.load(made).complete([Message("user", "Hi.")], Sampling(0.0, 3)))]
    assert len(completion.token_ids) in (1, 2, 3)


def test_random_sequences_come_first_and_stay_among_the_texts():
    tokenizer = learn_tokenizer(["a red door, a green door"] * 3, phrase_tokens=False)
    texts = [Row([6 + (first + i) % 5 for i in range(9)], [1.0] * 9) for first in range(5)]
    model = build(tokenizer, Architecture(32, 2, 2, 1, 64, 512), 0)
    read: list[tuple[int, ...]] = []

    def record_rows(module: Any, arguments: Any, named: Any) -> None:
        read.extend(tuple(row) for row in named["input_ids"].tolist())

    model.model.register_forward_pre_hook(record_rows, with_kwargs=True)
    config = PretrainConfig(tokens=4000, copying_tokens=2000, batch_tokens=500, warmup=2, threads=1)
    shares: list[float] = []
    module._train(model, texts, tokenizer, config, shares.append)
    own = {tuple(text.ids) for text in texts}
    pad = tokenizer.pad_token_id
    rows = [tuple(token for token in row if token != pad) for row in read]
    first = next(i for i, row in enumerate(rows) if row in own)
    assert sum(map(len, rows[:first])) >= 2000
    assert {row for row in rows if row in own} == own
    sequences = set(rows[:first])
    assert all(sorted(row[: len(row) // 2]) == sorted(row[len(row) // 2 :]) for row in sequences)
    assert {row for row in rows[first:] if row not in own} == sequences
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_cached_seed_policy_is_not_rebuilt(cache, seed):
    assert seed_model(TINY, cache=cache, progress=lambda *_: pytest.fail("rebuilt")) == seed
    assert files(cache) == [seed.name]


def test_open_seed_builds_a_missing_seed_policy(tmp_path, monkeypatch):
    small = "import dataclasses, door_env\nfrom kintsugi.loops.seeds.config import Architecture, PretrainConfig\n"
    small += "RECIPE = dataclasses.replace(door_env.FAMILY.recipe, family='hut', demonstrations=8, reflections=6, "
    small += f"architecture={TINY.architecture!r}, pretrain={TINY.pretrain!r})\n"
    small += "FAMILY = dataclasses.replace(door_env.FAMILY, recipe=RECIPE)\n"
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "hut", {"hut.py": small}, hut="hut:FAMILY")))
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path / "cache"))
    messages: list[str] = []
    backend = open_seed("hut", lambda what, share: messages.append(what))
    assert list(dict.fromkeys(messages)) == ["seed policy hut: corpus", "seed policy hut: training"]
    assert str(backend.weights).startswith(str(tmp_path / "cache" / "seeds" / "hut-"))
    assert demonstrations_of(backend.weights)
    assert open_seed("hut", lambda *_: pytest.fail("rebuilt")).base == backend.base


@pytest.mark.parametrize(
    "other",
    [
        replace(TINY, seed=1),
        replace(TINY, reflections=8),
        replace(TINY, pretrain=replace(TINY.pretrain, matrix_lr=0.01)),
        replace(TINY, architecture=replace(TINY.architecture, layers=3)),
    ],
)
def test_a_different_recipe_has_a_different_hash(other):
    assert recipe_hash(other) != recipe_hash(TINY) == recipe_hash(replace(TINY))


def test_progress_is_reported(tmp_path):
    calls: list[tuple[str, float]] = []
    seed_model(replace(TINY, seed=5), cache=tmp_path, progress=lambda what, share: calls.append((what, share)))
    assert list(dict.fromkeys(what for what, _ in calls)) == ["corpus", "training"]
    for what in ("corpus", "training"):
        shares = [share for name, share in calls if name == what]
        assert shares == sorted(shares)
        assert shares[-1] >= 1.0


def test_an_interrupted_build_leaves_no_files(tmp_path):
    def stop(what: str, share: float) -> None:
        if what == "training":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed_model(TINY, cache=tmp_path, progress=stop)
    assert files(tmp_path) == []


BUILD_SCRIPT = """
import sys
from pathlib import Path
from kintsugi.errors import UsageError
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import SeedRecipe
from kintsugi.loops.seeds.recipe import seed_model
recipe = {recipe!r}
try:
    print(seed_model(recipe, cache=Path(sys.argv[1]), progress=lambda what, share: print(what, share, flush=True)))
except UsageError as error:
    print("refused:", error)
"""


def start_build(cache: Path, **options: Any) -> subprocess.Popen[str]:
    code = textwrap.dedent(BUILD_SCRIPT.format(recipe=TINY))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(cache)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_killed_build_leaves_nothing_that_is_taken_for_a_seed_policy(seed, tmp_path):
    process = start_build(tmp_path)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("training"):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert files(tmp_path) == [f".{seed.name}.unfinished"]
    assert contents(seed_model(TINY, cache=tmp_path)).keys() == contents(seed).keys()
    assert files(tmp_path) == [seed.name]


def test_concurrent_builds_share_one_result(seed, tmp_path):
    both = [start_build(tmp_path), start_build(tmp_path)]
    outputs = [maker.communicate(timeout=100)[0].splitlines() for maker in both]
    assert [lines[-1] for lines in outputs] == [str(tmp_path / seed.name)] * 2
    assert sorted(len(lines) > 1 for lines in outputs) == [False, True]
    assert files(tmp_path) == [seed.name]


def test_a_full_disk_is_reported_and_leaves_no_files(tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    out, err = start_build(tmp_path, preexec_fn=limit).communicate(timeout=100)
    [line] = out.splitlines()  # Nothing was trained.
    assert line.startswith(f"refused: cannot write the seed policy to {tmp_path}"), err
    assert "free some space, or set KINTSUGI_CACHE to another folder" in out
    assert files(tmp_path) == []


def test_unknown_families_and_unwritable_caches_are_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown seed family 'houshold'; did you mean 'household'"):
        seed_model(SeedRecipe(family="houshold"), cache=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write the seed policy to .*file"):
        seed_model(TINY, cache=tmp_path / "file")


def test_the_cache_folder_is_configurable(monkeypatch, tmp_path):
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "seeds"
    monkeypatch.delenv("KINTSUGI_CACHE")
    assert default_cache().name == "seeds"


def test_assistant_turns_that_are_not_trainable_have_weight_0(seed):
    tokenizer = AutoTokenizer.from_pretrained(seed)
    encoder = ChatEncoder(tokenizer)
    chat = [
        Message("user", "a"),
        Message("assistant", "wrong", None, trainable=False),
        Message("user", "b"),
        Message("assistant", "right"),
    ]
    rng = random.Random(0)
    text = module._training_text(encoder, chat, PretrainConfig(context_weight=0.3), 512, rng)
    weights: dict[float, str] = {}
    for token, weight in zip(text.ids, text.weight, strict=True):
        weights[weight] = weights.get(weight, "") + str(tokenizer.decode([token]))
    assert weights[0.0] == f"wrong{tokenizer.eos_token}"
    assert weights[1.0] == f"right{tokenizer.eos_token}"
    assert "<|user|>a" in weights[0.3]
    assert len(module._training_text(encoder, chat, PretrainConfig(), 4, rng).weight) == 4


def test_a_share_of_the_context_tokens_is_weighted_up(seed):
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(seed))
    chat = [Message("user", "You are in a room. " * 100), Message("assistant", "Action: look")]
    whole, part = (
        module._training_text(
            encoder, chat, PretrainConfig(context_weight=0.3, context_share=share), 4096, random.Random(0)
        )
        for share in (1.0, 0.25)
    )
    assert part.ids == whole.ids
    context = [i for i, weight in enumerate(whole.weight) if weight == 0.3]
    assert len(context) > 200
    assert {part.weight[i] for i in context} == {0.0, 1.2}
    assert sum(part.weight[i] for i in context) == pytest.approx(sum(whole.weight[i] for i in context), rel=0.3)
    assert all(part.weight[i] == whole.weight[i] for i in range(len(whole.ids)) if i not in context)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_context_share_must_be_above_0_and_at_most_1(share):
    with pytest.raises(UsageError, match=f"context_share is {share}"):
        PretrainConfig(context_share=share)
