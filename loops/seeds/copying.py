"""What makes a small network copy names that it has never seen, within minutes instead of never.

Copying goes by induction (Olsson et al., 2022): one head looks at the token before, another one finds where that was
seen earlier and says what followed. Found by chance, the pair takes longer than all of the training. Here, heads of
the first layer begin as what they would have to become, and the first lesson is random sequences that are said twice.
"""

from __future__ import annotations

import random
from typing import Any

import torch

SHARPNESS = 6.0
"""Size of the biases: the token that is looked at gets about nine tenths of the weight."""
LOCAL = 0.02
"""Radians a token; slower rotations cannot tell neighbours apart and are left to what will be learnt."""
LENGTHS = (2, 2, 3, 3, 4, 5, 6, 8)
"""Tokens of a random phrase."""


@torch.no_grad()
def look_back(model: Any, heads: int) -> None:
    """Let the first `heads` heads of the first layer of a Llama with attention biases look 1, 2, ... tokens back.

    All keys get the same bias and a head's queries that bias turned by its distance, so that the rotary embedding
    makes the two agree there and nowhere else. Nothing is frozen.
    """
    config, attention = model.config, model.model.layers[0].self_attn
    size = config.head_dim
    rotations = config.rope_parameters["rope_theta"] ** (-torch.arange(size // 2) * 2 / size)
    strength = SHARPNESS * (rotations > LOCAL)
    attention.k_proj.bias.copy_(torch.cat([strength, torch.zeros_like(strength)]).repeat(config.num_key_value_heads))
    for head in range(min(heads, config.num_attention_heads)):
        turn = (head + 1) * rotations
        bias = torch.cat([strength * turn.cos(), -strength * turn.sin()])
        attention.q_proj.bias[head * size : (head + 1) * size] = bias


def said_twice(tokens: int, vocabulary: range, rng: random.Random) -> list[tuple[list[int], list[float]]]:
    """Sequences of token ids with the weight of each, about so many tokens together.

    Each is a few random phrases, and the same phrases in another order; what can be known of these has weight 1.
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
