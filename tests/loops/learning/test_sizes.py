"""Defaults that depend on the size of the model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kintsugi.envs import EnvSpec
from kintsugi.loops.learning.core import FitConfig, LoraShape
from kintsugi.loops.learning.sizes import size_defaults, sized, training_text
from kintsugi.loops.measuring.measure import Measure
from kintsugi.loops.re_rest import ReReST
from kintsugi.loops.run import Attempts, resolved


@pytest.mark.parametrize("parameters", [None, 0, 600_000, 9_999_999])
def test_small_models_have_the_defaults_of_their_seed_family(parameters):
    assert size_defaults(parameters) is None
    assert sized(ReReST(), parameters) == ReReST()
    assert resolved(sized(FitConfig(), parameters), EnvSpec("web")).epochs == 8.0


def test_learning_rates_and_epochs_fall_with_size():
    fits = [sized(FitConfig(), n) for n in (1_000_000, 135_000_000, 7_000_000_000)]
    rates = [fit.lr_or_default for fit in fits]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) == 3
    assert resolved(fits[1], EnvSpec("web")).epochs == 2.0


def test_what_is_given_stays():
    given = FitConfig(lr=0.5, epochs=7.0, batch_tokens=9, lora=LoraShape(rank=3))
    assert sized(given, 135_000_000) == given
    assert sized(Attempts(at_once=3), 135_000_000).at_once == 3
    assert sized(replace(Measure(), at_once=3), 135_000_000).at_once == 3


def test_every_part_of_a_configuration_is_completed():
    found = sized(ReReST(), 135_000_000)
    assert (found.fit.lr, found.fit.epochs, found.fit.batch_tokens) == (5e-4, 2.0, 2048)
    assert found.attempts.at_once == sized(Measure(), 135_000_000).at_once == 32
    assert training_text(found.fit) == "learning rate 0.0005, 2 epochs, batches of 2048 tokens, LoRA of rank 16"
    assert "7 steps" in training_text(replace(found.fit, steps=7))
