"""The steps of Re-ReST's comparison in words, and the seconds that they take: what its progress lines say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...loops.measuring.measure import Measure
from ...loops.re_rest import ReReST
from ...loops.seeds.family import SeedRecipe
from ..progress import Step

EXPERT, TOKEN, ATTEMPT, REFLECTION, HELD_OUT, EXAMPLE = 0.0045, 8e-5, 0.035, 0.05, 0.042, 0.035
"""Seconds on two free cores, with the default recipe and household tasks: one task of an expert, one token of
pretraining, one attempt at a practice task, one reflection with its attempt, one attempt at a held-out task, one
example of training."""
FAILING, MENDED = 0.55, 0.5
"""Share of the base model's attempts that fail, and share of these that are mended."""
PURPOSES = {
    "self-training": "on what the base model solved",
    "samples": "on what the base model solved with more attempts, a control",
    "re-rest zero-shot": "on what was solved, and what was mended without a trained reflector, a control",
    "re-rest": "on what was solved and what was mended",
    "re-rest trained again": "in another order, to see how much the training alone varies",
    "re-rest sampled again": "on other attempts, to see how much the loop varies",
    "demonstrations": "on demonstrations alone, for as many updates, a control",
}
"""What each model is trained on."""


def steps_of(recipe: SeedRecipe, loop: ReReST, held_out: Measure, models: Sequence[str], scope: str) -> list[Step]:
    """Return the steps of one seed in their order.

    Args:
        recipe: Recipe of this seed's policy.
        loop: Settings of Re-ReST, with the environment's defaults in place of None.
        held_out: The held-out tasks.
        models: Models that are trained and measured.
        scope: Scope of the stages, such as `seed0`.
    """
    experts = recipe.demonstrations + recipe.reflections + recipe.judged_attempts
    practice, k = loop.practice.tasks or 1, loop.attempts.k or 1
    failing, tasks = FAILING * practice * k, held_out.tasks * len(held_out.splits)

    def measuring(name: str, what_for: str) -> Step:
        about = f"measuring {name} on {tasks} held-out tasks: {what_for}"
        return Step(f"eval/{scope}/{name}/", about, HELD_OUT * tasks * held_out.samples)

    policy = f"seed policy {recipe.seed}"
    found = [
        Step(
            f"{policy}: corpus",
            f"an expert plays {experts:,} tasks: to write the texts that a language model is trained on",
            EXPERT * experts,
        ),
        Step(
            f"{policy}: training",
            "training a small language model on them from scratch: this is the base model",
            TOKEN * (recipe.pretrain.tokens + recipe.pretrain.copying_tokens),
        ),
        measuring("base", "what it solves before it learns from its own attempts"),
        Step(
            f"collect/{scope}/policy@1/",
            f"the base model attempts {practice} practice tasks {k} times each: what it solves is training data",
            ATTEMPT * practice * k,
        ),
        Step(
            f"collect/{scope}/reflection@1/",
            "the base model reflects on its failures and tries again: what it mends is training data of Re-ReST",
            REFLECTION * failing,
        ),
    ]
    if loop.reflector == "trained":
        found += [
            Step(
                f"train/{scope}/reflector@1/",
                "training a reflector on mended failures: to mend what the base model could not",
                EXAMPLE * failing,
            ),
            Step(
                f"collect/{scope}/reflection_trained@1/",
                "the reflector reflects on what still fails and tries again: more training data of Re-ReST",
                REFLECTION * failing,
            ),
        ]
    return [*found, *_steps_of_models(practice * k, models, scope, measuring)]


def _steps_of_models(
    attempts: int, models: Sequence[str], scope: str, measuring: Callable[[str, str], Step]
) -> list[Step]:
    """Return the steps in which models are trained and measured, after so many practice attempts."""
    found, failing = list[Step](), FAILING * attempts
    passed, mended = attempts - failing, MENDED * failing
    learnt_from = {**dict.fromkeys(PURPOSES, mended), "self-training": 0.0, "re-rest zero-shot": mended / 2}
    for name, purpose in PURPOSES.items():
        if name in models:
            if name == "samples":
                about = "the base model makes as many more attempts as reflections: training data of a control"
                found.append(Step(f"collect/{scope}/samples/", about, ATTEMPT * 2 * failing))
            if name == "re-rest sampled again":
                about = "the base model attempts and mends other practice tasks: training data of another draw"
                cost = ATTEMPT * attempts + 2 * (REFLECTION + EXAMPLE) * failing
                found.append(Step(f"collect/{scope}again/policy@1/", about, cost))
            adapter = name.replace(" ", "_")
            about = f"training the model {name}: {purpose}"
            found += [
                # Half of the examples are demonstrations.
                Step(f"train/{scope}/{adapter}@1/", about, 2 * EXAMPLE * (passed + learnt_from[name])),
                measuring(name, "the same tasks for every model"),
            ]
    return found
