"""Seed policies: small models that are trained from scratch on first use, so that nothing has to be downloaded.

A seed policy is a Hugging Face model folder that also holds its demonstrations. It is kept in the user's cache, under
the hash of its recipe and of the source files that determine it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...agents.models.cache import build_once, cache_folder
from ...agents.models.core import Backend, Message
from ...agents.models.registry import OnStatus
from ...agents.trajectory import Trajectory
from ...envs.core import canonical_json, content_hash
from ...envs.reading import parse_json, read_text
from ...errors import UsageError
from ..learning.core import Row
from .config import PretrainConfig
from .family import SINGLE_TOKENS, Family, SeedRecipe, write_corpus
from .registry import family_of, find_family, recipe_of
from .sources import sources_hash

if TYPE_CHECKING:
    from ...agents.models.chat import ChatEncoder

DEMONSTRATIONS = "demonstrations.jsonl"
NEEDED_BYTES = 16 << 20
"""Disk space that must be free before a seed policy is trained; the default ones take 9 MB."""


def seed_model(
    recipe: SeedRecipe, *, cache: Path | None = None, progress: Callable[[str, float], None] = lambda what, share: None
) -> Path:
    """Return the folder of a seed policy; train it first if it is not in the cache.

    Deterministic for a recipe, a machine and a number of threads. A seed policy is built in a temporary folder that is
    renamed at the end, so an unfinished one is never used. If another process is building it, this call waits.

    Args:
        recipe: The recipe.
        cache: Folder of the cache; by default, `default_cache()`.
        progress: Called with the name of the current work and the share that is done, in [0, 1].

    Raises:
        UsageError: The family is unknown, or the cache folder cannot be written.
    """
    family = family_of(recipe.family)

    def build(out: Path) -> None:
        # A full disk is found before minutes of training.
        (out / "space").write_bytes(bytes(NEEDED_BYTES))
        (out / "space").unlink()
        _make_seed(recipe, family, out, progress)

    folder = (cache or default_cache()) / f"{recipe.family}-{recipe_hash(recipe)}"
    return build_once(folder, build, "the seed policy")


def open_seed(name: str, on_status: OnStatus) -> Backend:
    """Open the seed policy of an environment (`seed:ENV`); train it first if it is not in the cache.

    Args:
        name: Short name of the environment.
        on_status: Called with a description of the current work and the share that is done.

    Raises:
        UsageError: The environment has no seed family.
    """
    from ...agents.models.local import LocalBackend

    recipe = recipe_of(name)
    folder = seed_model(recipe, progress=lambda what, share: on_status(f"seed policy {recipe.family}: {what}", share))
    return LocalBackend(folder)


def demonstrations_of(weights: str | Path | None) -> list[Trajectory]:
    """Return the demonstrations in the folder of a seed policy; an empty list for other models.

    Raises:
        UsageError: The file cannot be read, or a line is no attempt.
    """
    path = Path(weights or "") / DEMONSTRATIONS
    try:
        if not path.exists():
            return []
        return [Trajectory.from_json(parse_json(line)) for line in read_text(path).split("\n") if line]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} holds no demonstrations ({error!r:.200}); copy the model again, or remove the file"
        ) from error


def default_cache() -> Path:
    """Return the folder of all seed policies, in `$KINTSUGI_CACHE` or in the user's cache folder."""
    return cache_folder("seeds")


def recipe_hash(recipe: SeedRecipe) -> str:
    """Return 12 hexadecimal digits that identify the recipe and the source files that determine the seed policy."""
    family, found = family_of(recipe.family), find_family(recipe.family)
    module = found.target.partition(":")[0] if found else ""
    return content_hash([asdict(recipe), sources_hash(module, family)])


def _make_seed(recipe: SeedRecipe, family: Family, out: Path, progress: Callable[[str, float], None]) -> None:
    from ...agents.models.chat import ChatEncoder
    from ...agents.models.weights import quiet_transformers
    from .pretrain import build
    from .tokenizer import learn_tokenizer

    corpus = write_corpus(family, recipe, lambda share: progress("corpus", share))
    tokenizer = learn_tokenizer(
        (m.content for chat in corpus.chats for m in chat),
        instance_kinds=family.instance_kinds,
        single_tokens=(*SINGLE_TOKENS, *family.single_tokens),
        phrase_tokens=family.phrase_tokens,
        bpe_merges=family.bpe_merges,
    )
    encoder, window = ChatEncoder(tokenizer), recipe.architecture.window
    chats = [*corpus.chats, *_renamed_copies(family, recipe, corpus.chats)]
    rng = random.Random(recipe.pretrain.seed)
    texts = [_training_text(encoder, chat, recipe.pretrain, window, rng) for chat in chats]
    model = build(tokenizer, recipe.architecture, recipe.seed)
    loss = _train(model, texts, tokenizer, recipe.pretrain, lambda share: progress("training", share))
    with quiet_transformers():
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


def _train(
    model: Any, texts: Sequence[Row], tokenizer: Any, config: PretrainConfig, progress: Callable[[float], None]
) -> float:
    """Train `model` on random sequences, if configured, then on `texts`; return the mean loss of the last steps."""
    from .copying import repeated_sequences
    from .pretrain import pretrain
    from .tokenizer import ROLES

    copying, pad = config.copying_tokens, tokenizer.pad_token_id
    total = copying + config.tokens
    sequences: list[Row] = []
    if copying:
        # All tokens but the special ones: the roles, and padding, beginning and end.
        vocabulary = range(len(ROLES) + 3, len(tokenizer))
        sequences = [Row(*sequence) for sequence in repeated_sequences(copying, vocabulary, random.Random(config.seed))]
        pretrain(
            model, sequences, replace(config, tokens=copying), pad, lambda done: progress(min(done, copying) / total)
        )
    # The random sequences stay among the texts, so that tokens that are rare in the texts are not forgotten.
    return pretrain(
        model, [*texts, *sequences], config, pad, lambda done: progress((copying + min(done, config.tokens)) / total)
    )


def _renamed_copies(
    family: Family, recipe: SeedRecipe, chats: Sequence[Sequence[Message]]
) -> Iterator[Sequence[Message]]:
    if family.rename is None:
        return
    rng = random.Random(recipe.seed)
    for _ in range(recipe.renamings):
        for chat in chats:
            yield family.rename(chat, rng)


def _training_text(
    encoder: ChatEncoder, chat: Sequence[Message], config: PretrainConfig, window: int, rng: random.Random
) -> Row:
    """Return the tokens of a chat with loss weights.

    Trainable assistant turns have weight 1, other assistant turns weight 0, and context tokens `config.context_weight`.
    With a `context_share` below 1, only that share of the context tokens is drawn, with proportionally more weight.
    """
    encoded = encoder.encode(chat, generate=False)
    assistant_mask = encoder.encode([replace(m, trainable=True) for m in chat], generate=False).mask
    share, context_weight = config.context_share, config.context_weight / config.context_share
    weight = [
        1.0 if trainable else 0.0 if is_assistant or (share < 1 and rng.random() >= share) else context_weight
        for trainable, is_assistant in zip(encoded.mask, assistant_mask, strict=True)
    ]
    return Row(encoded.ids[:window], weight[:window])
