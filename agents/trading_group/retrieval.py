"""Which news and which parts of a report the desk reads.

The paper ranks with Qwen3-Reranker and Qwen3-Embedding and searches filings in Milvus. Its formulas are kept here and
the two measures of likeness in them are lexical, so that nothing is downloaded: `dense` is the cosine of counts of
three-letter sequences, `sparse` is BM25 scaled to [0, 1].
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

QUERY = "forecast demand orders margins costs contract debt outlook guidance revenue earnings profit"
"""What parts of a report are looked for."""
_KEYWORDS = frozenset(QUERY.split()) | {"raised", "lowered", "rising", "falling", "growing", "shrinking", "won", "lost"}


@dataclass(frozen=True)
class RetrievalConfig:
    """How much is read."""

    news: int = 6
    """News items of a day, those of the greatest influence."""
    duplicate: float = 0.9
    """News at least so alike (cosine) to one before are left out."""
    chunk: int = 2
    """Sentences of a report's chunk; each chunk shares one with the chunk before."""
    found: int = 10
    """Chunks by hybrid score."""
    kept: int = 6
    """Of those, the chunks after ranking again."""


def influence(base: float, prob: float) -> float:
    """N_t = 0.55 * base(t) + 0.25 * prob(t) + 0.20, for base and prob in [0, 1]."""
    return 0.55 * base + 0.25 * prob + 0.20


def base_influence(text: str) -> float:
    """base(t) in [0, 1], a rule by keywords and length (unpublished, ours): 0.2 a keyword up to 0.8, and up to 0.2 for
    a length of 20 words.
    """
    words = _words(text)
    return min(0.8, 0.2 * sum(word in _KEYWORDS for word in words)) + min(0.2, 0.01 * len(words))


def hybrid(dense: float, sparse: float) -> float:
    """H_i = 1.0 * dense + 0.8 * sparse."""
    return 1.0 * dense + 0.8 * sparse


def choose_news(texts: Sequence[str], config: RetrievalConfig) -> list[str]:
    """The day's news that are read, in their order: no two alike, those of the greatest influence."""
    distinct: list[str] = []
    for text in texts:
        if all(likeness(text, other) < config.duplicate for other in distinct):
            distinct.append(text)
    ranked = sorted(
        range(len(distinct)), key=lambda i: (-influence(base_influence(distinct[i]), likeness(distinct[i], QUERY)), i)
    )
    return [distinct[i] for i in sorted(ranked[: config.news])]


def choose_passages(report: str, config: RetrievalConfig) -> list[str]:
    """The chunks of a report that are read, in their order: `found` by H_i, of which `kept` have most keywords."""
    sentences = re.findall(r"[^.!?]+[.!?]*", report)
    step = max(1, config.chunk - 1)
    chunks = ["".join(sentences[i : i + config.chunk]).strip() for i in range(0, len(sentences), step)]
    sparse = bm25(chunks, QUERY)
    scores = [hybrid(likeness(chunk, QUERY), score) for chunk, score in zip(chunks, sparse, strict=True)]
    found = sorted(range(len(chunks)), key=lambda i: (-scores[i], i))[: config.found]
    kept = sorted(found, key=lambda i: (-base_influence(chunks[i]), i))[: config.kept]
    return [chunks[i] for i in sorted(kept)]


def likeness(a: str, b: str) -> float:
    """Cosine of the counts of three-letter sequences, in [0, 1]."""
    one, two = _grams(a), _grams(b)
    product = sum(count * two[gram] for gram, count in one.items())
    norm = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in two.values()))
    return product / norm if norm else 0.0


def bm25(texts: Sequence[str], query: str, k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Okapi BM25 of each text among `texts`, divided by the highest."""
    documents = [Counter(_words(text)) for text in texts]
    mean = sum(sum(d.values()) for d in documents) / max(1, len(documents)) or 1.0
    scores = []
    for document in documents:
        score = 0.0
        for word in _words(query):
            holding = sum(word in d for d in documents)
            rarity = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            length = k1 * (1 - b + b * sum(document.values()) / mean)
            score += rarity * document[word] * (k1 + 1) / (document[word] + length)
        scores.append(score)
    highest = max(scores, default=0.0)
    return [score / highest if highest else 0.0 for score in scores]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _grams(text: str) -> Counter[str]:
    padded = " " + " ".join(_words(text)) + " "
    return Counter(padded[i : i + 3] for i in range(len(padded) - 2))
