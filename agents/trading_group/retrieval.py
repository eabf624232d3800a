"""Selection of the news and report passages that the desk reads.

The paper ranks with Qwen3-Reranker and Qwen3-Embedding and searches filings in Milvus. This module keeps its formulas
but uses lexical scores, so that nothing is downloaded: `dense` is the cosine similarity of character-trigram counts,
and `sparse` is BM25 scaled to [0, 1].
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

QUERY = "forecast demand orders margins costs contract debt outlook guidance revenue earnings profit"
"""Query for report passages and news relevance."""
_KEYWORDS = frozenset(QUERY.split()) | {"raised", "lowered", "rising", "falling", "growing", "shrinking", "won", "lost"}


@dataclass(frozen=True)
class RetrievalConfig:
    """Amount of text that the desk reads."""

    news: int = 6
    """Maximum number of news items per day, selected by influence."""
    duplicate: float = 0.9
    """Cosine similarity from which a news item counts as a duplicate of an earlier one."""
    chunk: int = 2
    """Sentences per report chunk. Consecutive chunks overlap by one sentence."""
    found: int = 10
    """Number of chunks retrieved by hybrid score."""
    kept: int = 6
    """Number of retrieved chunks kept after reranking."""


def influence(base: float, prob: float) -> float:
    """Return the influence N_t = 0.55 * base(t) + 0.25 * prob(t) + 0.20, for base and prob in [0, 1]."""
    return 0.55 * base + 0.25 * prob + 0.20


def base_influence(text: str) -> float:
    """Return base(t) in [0, 1], unpublished and chosen here.

    It is 0.2 per keyword, at most 0.8, plus 0.01 per word, at most 0.2.
    """
    words = _words(text)
    return min(0.8, 0.2 * sum(word in _KEYWORDS for word in words)) + min(0.2, 0.01 * len(words))


def hybrid(dense: float, sparse: float) -> float:
    """Return the hybrid score H_i = 1.0 * dense + 0.8 * sparse."""
    return 1.0 * dense + 0.8 * sparse


def choose_news(texts: Sequence[str], config: RetrievalConfig) -> list[str]:
    """Select the news items with the highest influence, without duplicates, in their original order."""
    distinct: list[str] = []
    for text in texts:
        if all(similarity(text, other) < config.duplicate for other in distinct):
            distinct.append(text)
    ranked = sorted(
        range(len(distinct)), key=lambda i: (-influence(base_influence(distinct[i]), similarity(distinct[i], QUERY)), i)
    )
    return [distinct[i] for i in sorted(ranked[: config.news])]


def choose_passages(report: str, config: RetrievalConfig) -> list[str]:
    """Select report chunks, in their original order: `found` by H_i, then `kept` of them by `base_influence`."""
    sentences = re.findall(r"[^.!?]+[.!?]*", report)
    step = max(1, config.chunk - 1)
    chunks = ["".join(sentences[i : i + config.chunk]).strip() for i in range(0, len(sentences), step)]
    sparse = bm25(chunks, QUERY)
    scores = [hybrid(similarity(chunk, QUERY), score) for chunk, score in zip(chunks, sparse, strict=True)]
    found = sorted(range(len(chunks)), key=lambda i: (-scores[i], i))[: config.found]
    kept = sorted(found, key=lambda i: (-base_influence(chunks[i]), i))[: config.kept]
    return [chunks[i] for i in sorted(kept)]


def similarity(a: str, b: str) -> float:
    """Return the cosine similarity of character-trigram counts, in [0, 1]."""
    one, two = _grams(a), _grams(b)
    product = sum(count * two[gram] for gram, count in one.items())
    norm = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in two.values()))
    return product / norm if norm else 0.0


def bm25(texts: Sequence[str], query: str, k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Return the Okapi BM25 score of each text, divided by the highest score."""
    documents = [Counter(_words(text)) for text in texts]
    mean = sum(sum(d.values()) for d in documents) / max(1, len(documents)) or 1.0
    scores = []
    for document in documents:
        score = 0.0
        for word in _words(query):
            document_frequency = sum(word in d for d in documents)
            idf = math.log(1 + (len(documents) - document_frequency + 0.5) / (document_frequency + 0.5))
            length = k1 * (1 - b + b * sum(document.values()) / mean)
            score += idf * document[word] * (k1 + 1) / (document[word] + length)
        scores.append(score)
    highest = max(scores, default=0.0)
    return [score / highest if highest else 0.0 for score in scores]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _grams(text: str) -> Counter[str]:
    padded = " " + " ".join(_words(text)) + " "
    return Counter(padded[i : i + 3] for i in range(len(padded) - 2))
