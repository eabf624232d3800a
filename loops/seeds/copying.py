"""Initialisation and data that teach a small network to copy names that it has never seen.

Transformers copy by induction heads (Olsson et al., 2022): one head attends to the previous token, and a head of a
later layer finds the earlier occurrence of that token and predicts what followed it. Gradient descent finds such a pair
of heads only after more tokens than a seed policy is trained on. Two measures help: heads of the first layer are
initialised to attend a fixed number of tokens back, and pretraining starts with random sequences that repeat.
"""

from __future__ import annotations

import random
from typing import Any

import torch

BIAS_NORM = 6.0
"""Norm of the bias per pair of dimensions; at 32 dimensions, about 0.9 of the attention goes to the target token."""
MIN_FREQUENCY = 0.02
"""Minimum rotary frequency (radians per token) that gets a bias; slower ones hardly separate adjacent tokens."""
PHRASE_LENGTHS = (2, 2, 3, 3, 4, 5, 6, 8)
"""Lengths of random phrases in tokens, drawn uniformly from this list."""


@torch.no_grad()
def init_previous_token_heads(model: Any, heads: int) -> None:
    """Initialise head h (from 0) of the first layer to attend h + 1 tokens back.

    A rotary embedding rotates each pair of dimensions by position times frequency. All keys get the bias (s, 0). The
    queries of head h get the same bias, rotated back by (h + 1) times the frequency. Their product is largest for
    tokens that are h + 1 apart. The other heads stay as they are, and no weight is frozen.

    Args:
        model: A Llama with attention biases, changed in place.
        heads: Number of heads to initialise.
    """
    config, attention = model.config, model.model.layers[0].self_attn
    size = config.head_dim
    frequencies = config.rope_parameters["rope_theta"] ** (-torch.arange(size // 2) * 2 / size)
    norms = BIAS_NORM * (frequencies > MIN_FREQUENCY)
    attention.k_proj.bias.copy_(torch.cat([norms, torch.zeros_like(norms)]).repeat(config.num_key_value_heads))
    for head in range(heads):
        angles = (head + 1) * frequencies
        bias = torch.cat([norms * angles.cos(), -norms * angles.sin()])
        attention.q_proj.bias[head * size : (head + 1) * size] = bias


def repeated_sequences(tokens: int, vocabulary: range, rng: random.Random) -> list[tuple[list[int], list[float]]]:
    """Return random sequences that repeat, as pairs of token ids and loss weights.

    A sequence is 2 to 4 random phrases, followed by the same phrases in another order. In the second half, all tokens
    but the first one of each phrase can be copied; they have weight 1, all other tokens weight 0.

    Args:
        tokens: Total number of tokens; the last sequence may exceed it.
        vocabulary: Token ids to draw from.
        rng: Random numbers.
    """
    sequences: list[tuple[list[int], list[float]]] = []
    while tokens > 0:
        phrases = [
            [rng.choice(vocabulary) for _ in range(rng.choice(PHRASE_LENGTHS))] for _ in range(rng.randint(2, 4))
        ]
        ids = [token for phrase in phrases for token in phrase]
        weights = [0.0] * len(ids)
        rng.shuffle(phrases)
        for phrase in phrases:
            ids += phrase
            weights += [0.0] + [1.0] * (len(phrase) - 1)
        sequences.append((ids, weights))
        tokens -= len(ids)
    return sequences
