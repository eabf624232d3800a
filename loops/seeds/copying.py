"""What makes a small network copy names that it has never seen, within minutes instead of never.

Copying goes by induction (Olsson et al., 2022): one head looks at the token before, another one finds where that was
seen earlier and says what followed. Gradient descent finds such a pair only after more tokens than a seed policy is
trained on. Here, heads of the first layer are initialised to look back by fixed distances, and the first lesson is
random sequences that are said twice.
"""

from __future__ import annotations

import random
from typing import Any

import torch

SHARPNESS = 6.0
"""Length of the biases, a pair of dimensions: of 32 dimensions, a head gives its token about 0.9 of its attention."""
LOCAL = 0.02
"""Rotary frequencies (radians a token) below this get no bias: in them, neighbouring tokens hardly differ."""
LENGTHS = (2, 2, 3, 3, 4, 5, 6, 8)
"""Tokens of a random phrase."""


@torch.no_grad()
def look_back(model: Any, heads: int) -> None:
    """Initialise head h (from 0) of the first layer of a Llama with attention biases to attend h + 1 tokens back.

    A rotary embedding turns a vector by position times frequency. All keys get the bias (s, 0), and the queries of
    head h that bias turned back by (h + 1) times the frequency: their product is largest h + 1 tokens apart. Other
    heads and what is learnt are free; nothing is frozen.
    """
    config, attention = model.config, model.model.layers[0].self_attn
    size = config.head_dim
    rotations = config.rope_parameters["rope_theta"] ** (-torch.arange(size // 2) * 2 / size)
    strength = SHARPNESS * (rotations > LOCAL)
    attention.k_proj.bias.copy_(torch.cat([strength, torch.zeros_like(strength)]).repeat(config.num_key_value_heads))
    for head in range(heads):
        turn = (head + 1) * rotations
        bias = torch.cat([strength * turn.cos(), -strength * turn.sin()])
        attention.q_proj.bias[head * size : (head + 1) * size] = bias


def said_twice(tokens: int, vocabulary: range, rng: random.Random) -> list[tuple[list[int], list[float]]]:
    """Pairs of token ids and loss weights, `tokens` ids or a few more in all.

    Each is 2 to 4 random phrases, then the same ones shuffled. Weight 1 where a token can be copied: in the second
    half, all but the first token of each phrase.
    """
    made: list[tuple[list[int], list[float]]] = []
    while tokens > 0:
        phrases = [[rng.choice(vocabulary) for _ in range(rng.choice(LENGTHS))] for _ in range(rng.randint(2, 4))]
        ids = [token for phrase in phrases for token in phrase]
        weights = [0.0] * len(ids)
        rng.shuffle(phrases)
        for phrase in phrases:
            ids += phrase
            weights += [0.0] + [1.0] * (len(phrase) - 1)
        made.append((ids, weights))
        tokens -= len(ids)
    return made
