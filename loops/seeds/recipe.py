"""Seed policies: small models made here, from scratch, on first use, since nothing may be downloaded.

A seed is an ordinary Hugging Face folder with the demonstrations that it was trained on beside it, kept in the user's
cache under the hash of its recipe and of the sources that its corpus comes from.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
from safetensors import SafetensorError

from ...agents.models.core import Message
from ...agents.react import ACTION
from ...agents.reflector import OPENING
from ...agents.trajectory import Trajectory
from ...envs.core import canonical_json, content_hash
from ...errors import UsageError, unknown
from .pretrain import Architecture, PretrainConfig

DEMONSTRATIONS = "demonstrations.jsonl"
FAMILIES = {"household": ".household"}
"""Environment's short name to the module that writes its corpus."""
SOURCES = (
    "envs",
    "agents/experts",
    "agents/models/chat.py",
    "agents/react.py",
    "agents/reflector.py",
    "agents/verifier.py",
    "loops/seeds",
)
"""Parts of the package whose sources shape a corpus."""
UNITS = (OPENING, "." + ACTION, ACTION)
"""Texts that are tokens of their own in every family's seed."""


@dataclass(frozen=True)
class SeedRecipe:
    """Everything that a seed policy depends on."""

    family: str = "household"
    demonstrations: int = 1500
    """Expert episodes to imitate."""
    reflections: int = 700
    """Failed attempts, each with a reflection and a second attempt that heeds it."""
    judged: int = 500
    """Attempts of which a stretch is judged step by step: what makes a verifier of the model."""
    architecture: Architecture = field(default_factory=Architecture)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    seed: int = 0


@dataclass(frozen=True)
class Corpus:
    """What a family's module writes."""

    chats: Sequence[Sequence[Message]]
    """Training texts of all roles; trainable assistant turns weigh 1."""
    demonstrations: Sequence[Trajectory]
    """The expert's, for loops that mix them in."""
    names: Sequence[str] = ()
    """Words that number their instances."""
    units: Sequence[str] = UNITS
    """Texts that are tokens of their own, since turns are made to start or to go on after them."""


def seed_model(
    recipe: SeedRecipe, *, cache: Path | None = None, progress: Callable[[str, float], None] = lambda what, share: None
) -> Path:
    """The folder of the recipe's model, made now if the cache does not hold it.

    `progress` gets what is being done and the share that is done, in [0, 1]. Deterministic for a recipe on one machine
    with one number of threads. A half-made seed is never seen: it is made beside its place and renamed. Whoever asks
    for one that another process is making waits for it.
    """
    cache = cache or default_cache()
    folder = cache / f"{recipe.family}-{recipe_hash(recipe)}"
    if (folder / "config.json").exists():
        return folder
    try:
        family = importlib.import_module(FAMILIES[recipe.family], __package__)
    except KeyError:
        raise unknown("seed family", recipe.family, FAMILIES) from None
    unfinished = cache / f".{folder.name}.unfinished"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f".{folder.name}.lock"):
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                try:
                    _make(recipe, family.corpus, unfinished, progress)
                    unfinished.rename(folder)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"the seed policy cannot be kept in {cache}: {error}; free some space or set KINTSUGI_CACHE"
        ) from error
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among all processes; whoever is killed leaves nothing locked."""
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def demonstrations_of(model: Path) -> list[Trajectory]:
    """The demonstrations that a seed policy brings; none for other models."""
    path = model / DEMONSTRATIONS
    if not path.exists():
        return []
    return [Trajectory.from_json(json.loads(line)) for line in path.read_text().split("\n") if line]


def default_cache() -> Path:
    """`$KINTSUGI_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("KINTSUGI_CACHE")
    return (Path(chosen) if chosen else platformdirs.user_cache_path("kintsugi")) / "seeds"


def recipe_hash(recipe: SeedRecipe) -> str:
    """12 hexadecimal digits of the recipe and of the sources that its corpus comes from."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for part in SOURCES:
        for file in sorted((root / part).rglob("*.py")) or [root / part]:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return content_hash([asdict(recipe), digest.hexdigest()])


def _make(
    recipe: SeedRecipe,
    write: Callable[[SeedRecipe, Callable[[float], None]], Corpus],
    out: Path,
    progress: Callable[[str, float], None],
) -> None:
    from ...agents.models.chat import ChatEncoder
    from ...agents.models.local import quietly
    from .pretrain import Text, build, pretrain
    from .tokenizer import learn_tokenizer

    corpus = write(recipe, lambda share: progress("corpus", share))
    tokenizer = learn_tokenizer(
        (m.content for chat in corpus.chats for m in chat), names=corpus.names, units=corpus.units
    )
    encoder, texts = ChatEncoder(tokenizer), []
    for chat in corpus.chats:
        encoded = encoder.encode(chat, generate=False)
        weight = [1.0 if wanted else recipe.pretrain.context_weight for wanted in encoded.mask]
        texts.append(Text(encoded.ids[: recipe.architecture.window], weight[: recipe.architecture.window]))
    model = build(tokenizer, recipe.architecture, recipe.seed)
    loss = pretrain(
        model,
        texts,
        recipe.pretrain,
        tokenizer.pad_token_id,
        lambda done: progress("training", done / recipe.pretrain.tokens),
    )
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
