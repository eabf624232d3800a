"""Seed policies: small models made here, from scratch, on first use, since nothing may be downloaded.

A seed is an ordinary Hugging Face folder with the demonstrations that it was trained on beside it, kept in the user's
cache under the hash of its recipe and of the sources that its corpus comes from.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from filelock import FileLock

from ...agents.models.core import Backend, Message
from ...agents.models.registry import Watch
from ...agents.trajectory import Trajectory
from ...envs.core import canonical_json, content_hash
from ...errors import UsageError
from ..learning.core import Text
from .config import PretrainConfig
from .family import UNITS, Family, SeedRecipe, write_corpus
from .registry import family_of, find_family, recipe_of
from .sources import sources_hash

if TYPE_CHECKING:
    from ...agents.models.chat import ChatEncoder

DEMONSTRATIONS = "demonstrations.jsonl"


def seed_model(
    recipe: SeedRecipe, *, cache: Path | None = None, progress: Callable[[str, float], None] = lambda what, share: None
) -> Path:
    """The folder of the recipe's model, made now if the cache does not hold it.

    `progress` gets what is being done and the share that is done, in [0, 1]. Deterministic for a recipe on one machine
    with one number of threads. A half-made seed is never seen: it is made beside its place and renamed. Whoever asks
    for one that another process is making waits for it.
    """
    from safetensors import SafetensorError

    family, cache = family_of(recipe.family), cache or default_cache()
    folder = cache / f"{recipe.family}-{recipe_hash(recipe)}"
    if (folder / "config.json").exists():
        return folder
    unfinished = cache / f".{folder.name}.unfinished"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Whoever is killed leaves nothing locked.
        with FileLock(cache / f".{folder.name}.lock"):
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                try:
                    _make(recipe, family, unfinished, progress)
                    unfinished.rename(folder)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"the seed policy cannot be kept in {cache}: {error}; free some space or set KINTSUGI_CACHE"
        ) from error
    return folder


def open_seed(name: str, watch: Watch) -> Backend:
    """`seed:ENV`: the seed policy of the environment with this short name, made now if the cache does not hold it.

    Raises `UsageError` for an environment without a seed family.
    """
    from ...agents.models.local import LocalBackend

    recipe = recipe_of(name)
    folder = seed_model(recipe, progress=lambda what, share: watch(f"seed policy {recipe.family}: {what}", share))
    return LocalBackend(folder)


def demonstrations_of(weights: str | Path | None) -> list[Trajectory]:
    """The demonstrations that a seed policy brings; none for other models."""
    path = Path(weights or "") / DEMONSTRATIONS
    if not path.exists():
        return []
    return [Trajectory.from_json(json.loads(line)) for line in path.read_text().split("\n") if line]


def default_cache() -> Path:
    """`$KINTSUGI_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("KINTSUGI_CACHE")
    return (Path(chosen) if chosen else platformdirs.user_cache_path("kintsugi")) / "seeds"


def recipe_hash(recipe: SeedRecipe) -> str:
    """12 hexadecimal digits of the recipe and of the sources that its corpus comes from."""
    family, found = family_of(recipe.family), find_family(recipe.family)
    module = found.target.partition(":")[0] if found else ""
    return content_hash([asdict(recipe), sources_hash(module, family)])


def _make(recipe: SeedRecipe, family: Family, out: Path, progress: Callable[[str, float], None]) -> None:
    from ...agents.models.chat import ChatEncoder
    from ...agents.models.weights import quietly
    from .pretrain import build
    from .tokenizer import learn_tokenizer

    corpus = write_corpus(family, recipe, lambda share: progress("corpus", share))
    tokenizer = learn_tokenizer(
        (m.content for chat in corpus.chats for m in chat),
        names=family.names,
        units=(*UNITS, *family.units),
        phrases=family.phrases,
        pieces=family.pieces,
    )
    encoder, window = ChatEncoder(tokenizer), recipe.architecture.window
    chats = [*corpus.chats, *_renamings(family, recipe, corpus.chats)]
    rng = random.Random(recipe.pretrain.seed)
    texts = [_text(encoder, chat, recipe.pretrain, window, rng) for chat in chats]
    model = build(tokenizer, recipe.architecture, recipe.seed)
    loss = _taught(model, texts, tokenizer, recipe.pretrain, lambda share: progress("training", share))
    with quietly():
        model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / DEMONSTRATIONS).write_text("".join(canonical_json(t.to_json()) + "\n" for t in corpus.demonstrations))
    about: dict[str, Any] = {
        "recipe": asdict(recipe),
        "texts": len(texts),
        "tokens": sum(len(t.ids) for t in texts),
        "loss": loss,
    }
    (out / "seed.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")


def _taught(
    model: Any, texts: Sequence[Text], tokenizer: Any, config: PretrainConfig, progress: Callable[[float], None]
) -> float:
    """Train `model` on random sequences, if the recipe has any, and on `texts`; returns the loss at the end."""
    from .copying import said_twice
    from .pretrain import pretrain
    from .tokenizer import ROLES

    first, pad = config.copying, tokenizer.pad_token_id
    total = first + config.tokens
    lesson: list[Text] = []
    if first:
        # All but the special tokens: the roles', and those of padding, beginning and end.
        words = range(len(ROLES) + 3, len(tokenizer))
        lesson = [Text(*said) for said in said_twice(first, words, random.Random(config.seed))]
        pretrain(model, lesson, replace(config, tokens=first), pad, lambda done: progress(min(done, first) / total))
    # The random sequences stay among the texts, lest words that are rare there be unlearnt.
    return pretrain(
        model, [*texts, *lesson], config, pad, lambda done: progress((first + min(done, config.tokens)) / total)
    )


def _renamings(family: Family, recipe: SeedRecipe, chats: Sequence[Sequence[Message]]) -> Iterator[Sequence[Message]]:
    if family.renamed is None:
        return
    rng = random.Random(recipe.seed)
    for _ in range(recipe.renamings):
        for chat in chats:
            yield family.renamed(chat, rng)


def _text(
    encoder: ChatEncoder, chat: Sequence[Message], config: PretrainConfig, window: int, rng: random.Random
) -> Text:
    """A chat to learn from: what the assistant should say, a little of what it is told, nothing of its mistakes."""
    encoded = encoder.encode(chat, generate=False)
    said = encoder.encode([replace(m, trainable=True) for m in chat], generate=False).mask
    share, told = config.context_share, config.context_weight / config.context_share
    weight = [
        1.0 if wanted else 0.0 if its or (share < 1 and rng.random() >= share) else told
        for wanted, its in zip(encoded.mask, said, strict=True)
    ]
    return Text(encoded.ids[:window], weight[:window])
