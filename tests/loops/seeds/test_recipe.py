"""Seed policies: ordinary model folders, the same to the byte, made once and never seen half-made."""

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
from kintsugi.loops.learning.core import Text
from kintsugi.loops.seeds import recipe as module
from kintsugi.loops.seeds.config import Architecture, PretrainConfig
from kintsugi.loops.seeds.family import UNITS, SeedRecipe, write_corpus
from kintsugi.loops.seeds.pretrain import build
from kintsugi.loops.seeds.recipe import default_cache, demonstrations_of, open_seed, recipe_hash, seed_model
from kintsugi.loops.seeds.tokenizer import learn_tokenizer
from loop_seeds import LOUD, install
from transformers import AutoModelForCausalLM, AutoTokenizer

TINY = SeedRecipe(
    demonstrations=8,
    reflections=6,
    judged=4,
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


def seen(cache: Path) -> list[str]:
    """What is in a cache, but for the locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_seed_is_an_ordinary_model(seed):
    model: Any = AutoModelForCausalLM.from_pretrained(seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(seed)
    chat = [{"role": "user", "content": "You arrive at fridge 1."}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    out = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    [said] = [asyncio.run(LocalModel.load(seed).complete([Message("user", chat[0]["content"])], Sampling(0.0, 3)))]
    assert out[0, prompt["input_ids"].shape[1] :].tolist() == list(said.token_ids)
    assert len(tokenizer(" fridge 1")["input_ids"]) == 1


def test_it_brings_its_demonstrations(seed, tiny_model):
    shown = demonstrations_of(seed)
    assert len(shown) == 8
    assert all(t.success and t.source == "expert" and t.steps for t in shown)
    assert demonstrations_of(tiny_model) == []


def test_the_same_again_is_the_same_to_the_byte(seed, tmp_path):
    torch.rand(7)
    again = seed_model(TINY, cache=tmp_path / "new" / "cache")
    assert again.name == seed.name
    assert contents(again) == contents(seed)


def test_a_family_says_what_its_corpus_and_its_tokenizer_are(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "gatehouse", loud="loop_seeds:LOUD")))
    shape = replace(TINY.architecture, previous_token_heads=2, rope_theta=1e6)
    recipe = replace(
        TINY,
        family="loud",
        demonstrations=20,
        renamings=2,
        architecture=shape,
        pretrain=replace(TINY.pretrain, copying=2000),
    )
    shares: list[float] = []
    made = seed_model(
        recipe, cache=tmp_path, progress=lambda what, share: shares.append(share) if what == "training" else None
    )
    corpus = write_corpus(LOUD, recipe, lambda share: None)
    about = json.loads((made / "seed.json").read_text())
    assert about["texts"] == 3 * len(corpus.chats) > 40
    assert shares == sorted(shares)
    assert any(1 / 3 <= share < 1 / 2 for share in shares)
    assert shares[-1] == 1
    texts = [m.content for chat in corpus.chats for m in chat]
    tokenizer: Any = AutoTokenizer.from_pretrained(made)
    own = learn_tokenizer(texts, units=UNITS, phrases=False, pieces=30)
    assert tokenizer.get_vocab() == own.get_vocab() != learn_tokenizer(texts, units=UNITS).get_vocab()
    model: Any = AutoModelForCausalLM.from_pretrained(made)
    assert model.config.rope_parameters["rope_theta"] == 1e6
    assert model.model.layers[0].self_attn.q_proj.bias.abs().max() > 1
    [said] = [asyncio.run(LocalModel.load(made).complete([Message("user", "Hi.")], Sampling(0.0, 3)))]
    assert len(said.token_ids) in (1, 2, 3)


def test_random_sequences_come_first_and_stay_among_the_texts():
    tokenizer = learn_tokenizer(["a red door, a green door"] * 3, phrases=False)
    texts = [Text([6 + (first + i) % 5 for i in range(9)], [1.0] * 9) for first in range(5)]
    model = build(tokenizer, Architecture(32, 2, 2, 1, 64, 512), 0)
    read: list[tuple[int, ...]] = []

    def noted(module: Any, arguments: Any, named: Any) -> None:
        read.extend(tuple(row) for row in named["input_ids"].tolist())

    model.model.register_forward_pre_hook(noted, with_kwargs=True)
    config = PretrainConfig(tokens=4000, copying=2000, batch_tokens=500, warmup=2, threads=1)
    shares: list[float] = []
    module._taught(model, texts, tokenizer, config, shares.append)
    own = {tuple(text.ids) for text in texts}
    pad = tokenizer.pad_token_id
    told = [tuple(token for token in row if token != pad) for row in read]
    first = next(i for i, row in enumerate(told) if row in own)
    assert sum(map(len, told[:first])) >= 2000
    assert {row for row in told if row in own} == own
    lesson = set(told[:first])
    assert all(sorted(row[: len(row) // 2]) == sorted(row[len(row) // 2 :]) for row in lesson)
    assert {row for row in told[first:] if row not in own} == lesson
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_it_is_made_once(cache, seed):
    assert seed_model(TINY, cache=cache, progress=lambda *_: pytest.fail("made again")) == seed
    assert seen(cache) == [seed.name]


def test_it_is_opened_by_the_name_of_its_environment_and_made_when_it_is_not_there(tmp_path, monkeypatch):
    small = "import dataclasses, door_env\nfrom kintsugi.loops.seeds.config import Architecture, PretrainConfig\n"
    small += "RECIPE = dataclasses.replace(door_env.FAMILY.recipe, family='hut', demonstrations=8, reflections=6, "
    small += f"architecture={TINY.architecture!r}, pretrain={TINY.pretrain!r})\n"
    small += "FAMILY = dataclasses.replace(door_env.FAMILY, recipe=RECIPE)\n"
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "hut", {"hut.py": small}, hut="hut:FAMILY")))
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path / "cache"))
    told: list[str] = []
    backend = open_seed("hut", lambda what, share: told.append(what))
    assert list(dict.fromkeys(told)) == ["seed policy hut: corpus", "seed policy hut: training"]
    assert str(backend.weights).startswith(str(tmp_path / "cache" / "seeds" / "hut-"))
    assert demonstrations_of(backend.weights)
    assert open_seed("hut", lambda *_: pytest.fail("made again")).base == backend.base


@pytest.mark.parametrize(
    "other",
    [
        replace(TINY, seed=1),
        replace(TINY, reflections=8),
        replace(TINY, pretrain=replace(TINY.pretrain, matrix_lr=0.01)),
        replace(TINY, architecture=replace(TINY.architecture, layers=3)),
    ],
)
def test_another_recipe_is_another_seed(other):
    assert recipe_hash(other) != recipe_hash(TINY) == recipe_hash(replace(TINY))


def test_progress_is_told(tmp_path):
    told: list[tuple[str, float]] = []
    seed_model(replace(TINY, seed=5), cache=tmp_path, progress=lambda what, share: told.append((what, share)))
    assert list(dict.fromkeys(what for what, _ in told)) == ["corpus", "training"]
    for what in ("corpus", "training"):
        shares = [share for name, share in told if name == what]
        assert shares == sorted(shares)
        assert shares[-1] >= 1.0


def test_an_interrupted_making_leaves_nothing(tmp_path):
    def stop(what: str, share: float) -> None:
        if what == "training":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed_model(TINY, cache=tmp_path, progress=stop)
    assert seen(tmp_path) == []


MAKER = """
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


def making(cache: Path, **options: Any) -> subprocess.Popen[str]:
    code = textwrap.dedent(MAKER.format(recipe=TINY))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(cache)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_killed_making_leaves_nothing_that_is_taken_for_a_seed(seed, tmp_path):
    killed = making(tmp_path)
    assert killed.stdout is not None
    while not killed.stdout.readline().startswith("training"):
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert seen(tmp_path) == [f".{seed.name}.unfinished"]
    assert contents(seed_model(TINY, cache=tmp_path)).keys() == contents(seed).keys()
    assert seen(tmp_path) == [seed.name]


def test_two_who_ask_at_once_get_one(seed, tmp_path):
    both = [making(tmp_path), making(tmp_path)]
    said = [maker.communicate(timeout=100)[0].splitlines() for maker in both]
    assert [lines[-1] for lines in said] == [str(tmp_path / seed.name)] * 2
    assert sorted(len(lines) > 1 for lines in said) == [False, True]
    assert seen(tmp_path) == [seed.name]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    out, err = making(tmp_path, preexec_fn=limit).communicate(timeout=100)
    assert out.splitlines()[-1].startswith(f"refused: the seed policy cannot be kept in {tmp_path}"), err
    assert "free some space or set KINTSUGI_CACHE" in out
    assert seen(tmp_path) == []


def test_what_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown seed family 'houshold'; did you mean 'household'"):
        seed_model(SeedRecipe(family="houshold"), cache=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be kept in .*file"):
        seed_model(TINY, cache=tmp_path / "file")


def test_the_cache_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("KINTSUGI_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "seeds"
    monkeypatch.delenv("KINTSUGI_CACHE")
    assert default_cache().name == "seeds"


def test_mistakes_that_are_shown_are_not_learnt(seed):
    tokenizer = AutoTokenizer.from_pretrained(seed)
    encoder = ChatEncoder(tokenizer)
    chat = [
        Message("user", "a"),
        Message("assistant", "wrong", None, trainable=False),
        Message("user", "b"),
        Message("assistant", "right"),
    ]
    rng = random.Random(0)
    text = module._text(encoder, chat, PretrainConfig(context_weight=0.3), 512, rng)
    weights: dict[float, str] = {}
    for token, weight in zip(text.ids, text.weight, strict=True):
        weights[weight] = weights.get(weight, "") + str(tokenizer.decode([token]))
    assert weights[0.0] == f"wrong{tokenizer.eos_token}"
    assert weights[1.0] == f"right{tokenizer.eos_token}"
    assert "<|user|>a" in weights[0.3]
    assert len(module._text(encoder, chat, PretrainConfig(), 4, rng).weight) == 4


def test_a_share_of_what_is_told_stands_for_all_of_it(seed):
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(seed))
    chat = [Message("user", "You are in a room. " * 100), Message("assistant", "Action: look")]
    whole, part = (
        module._text(encoder, chat, PretrainConfig(context_weight=0.3, context_share=share), 4096, random.Random(0))
        for share in (1.0, 0.25)
    )
    assert part.ids == whole.ids
    told = [i for i, weight in enumerate(whole.weight) if weight == 0.3]
    assert len(told) > 200
    assert {part.weight[i] for i in told} == {0.0, 1.2}
    assert sum(part.weight[i] for i in told) == pytest.approx(sum(whole.weight[i] for i in told), rel=0.3)
    assert all(part.weight[i] == whole.weight[i] for i in range(len(whole.ids)) if i not in told)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_is_above_0_and_at_most_1(share):
    with pytest.raises(UsageError, match=f"context_share is {share}"):
        PretrainConfig(context_share=share)
