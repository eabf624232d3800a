"""Reproduction of Re-ReST's comparison (arXiv 2406.01495), with controls that the paper lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from rich.console import RenderableType

from ...agents.trajectory import Trajectory
from ...errors import UsageError, unknown
from ...loops.learning.core import Example, FitConfig
from ...loops.measuring.measure import Measure
from ...loops.re_rest import Mended, ReReST, collect_and_mend
from ...loops.registry import LoopConfig
from ...loops.run import Attempts as AttemptSettings
from ...loops.run import Practice, job, resolved
from ...loops.runs.stages import Stage
from ..progress import Step
from .core import UNGATED, Attempts, Lab, Reproduction
from .re_rest_steps import steps_of

MODELS = ("base", "self-training", "samples", "re-rest zero-shot", "re-rest", "demonstrations")
AGAIN = ("re-rest trained again", "re-rest sampled again")
"""Further draws of Re-ReST, which show how much its parts vary."""
SAMPLED_AGAIN = 1_000_000
"""Offset of the loop's seed for `re-rest sampled again`."""
PAIRS = (
    ("base", "self-training"),
    ("self-training", "re-rest"),
    ("base", "re-rest"),
    ("demonstrations", "self-training"),
    ("demonstrations", "re-rest"),
    ("samples", "re-rest"),
    ("re-rest zero-shot", "re-rest"),
)


@dataclass(frozen=True)
class ReproduceReReST(Reproduction):
    """Compare the base model, self-training, Re-ReST and the controls, over several seeds."""

    loop: ReReST = field(
        default_factory=lambda: ReReST(
            # One attempt at each of many tasks: what is mended then belongs to tasks that nothing else is learnt from.
            practice=Practice(tasks=1000),
            attempts=AttemptSettings(k=1, max_steps=30),
            fit=FitConfig(threads=2),
            gate=UNGATED,
        )
    )
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid_seen", "valid_unseen"), tasks=200))
    models: tuple[str, ...] = MODELS
    """Models to train and measure: `base`, `self-training`, `re-rest`, and three controls. `demonstrations` is trained
    for as many updates as `re-rest`, on demonstrations alone. `samples` has as many extra samples as reflections, and
    `re-rest zero-shot` the zero-shot reflector alone. Two further draws of Re-ReST show how much it varies:
    `re-rest trained again` from other initial weights and in another order, and `re-rest sampled again` with other
    practice tasks and attempts too."""

    paper: ClassVar[str] = "re-rest"
    pairs: ClassVar[tuple[tuple[str, str], ...]] = PAIRS

    @property
    def settings(self) -> LoopConfig:
        """The configuration of Re-ReST."""
        return self.loop

    def check(self) -> None:
        """See `Reproduction.check`. Also raises for models that are not part of the comparison."""
        super().check()
        for name in self.models:
            if name not in MODELS + AGAIN:
                raise unknown("model of this comparison", name, MODELS + AGAIN)
        if "demonstrations" in self.models and "re-rest" not in self.models:
            raise UsageError(
                f"models is {self.models}; expected 're-rest' beside 'demonstrations', which is trained for as many "
                "updates; add it to --models"
            )

    def one_seed(self, lab: Lab) -> None:
        """Run all models with one seed policy."""
        run, loop = lab.run, replace(self.loop, seed=self.loop.seed + lab.seed)
        data, seed, split = loop.data, loop.seed, loop.practice.split
        agent = run.make_agent(None, loop.attempts)

        def train_and_measure(name: str, examples: list[Example], fit: FitConfig = loop.fit) -> None:
            lab.say(f"training {name} on {len(examples)} examples")
            adapter = f"{name.replace(' ', '_')}@1"
            lab.measure(name, run.train(adapter, examples, fit, seed=seed, rename=data.rename))

        def mixture(passed: list[Trajectory]) -> list[Example]:
            return data.mixture(agent, passed, run.demonstrations, seed)

        lab.measure("base", None)
        lab.say("sampling, reflecting zero-shot, reflecting with the trained reflector")
        mended = collect_and_mend(run, None, loop)
        run.store.result(Stage("counts", "mended", split), lambda: counts_of(mended))
        if "self-training" in self.models:
            train_and_measure("self-training", mixture(mended.passed))
        if "samples" in self.models:
            train_and_measure("samples", mixture([*mended.passed, *_extra_samples(lab, loop, mended)]))
        if "re-rest zero-shot" in self.models:
            train_and_measure(
                "re-rest zero-shot", mixture([*mended.passed, *(t for t in mended.zero_shot if t.success)])
            )
        if "re-rest" in self.models:
            train_and_measure("re-rest", mixture([*mended.passed, *mended.corrected]))
        if "re-rest trained again" in self.models:
            # The seed of a training depends on the name of the model.
            train_and_measure("re-rest trained again", mixture([*mended.passed, *mended.corrected]))
        if "re-rest sampled again" in self.models:
            elsewhere = run.with_scope(f"seed{lab.seed}again")
            again = collect_and_mend(elsewhere, None, replace(loop, seed=loop.seed + SAMPLED_AGAIN))
            train_and_measure("re-rest sampled again", mixture([*again.passed, *again.corrected]))
        if "demonstrations" in self.models:
            as_many = replace(loop.fit, steps=lab.training("re-rest").get("steps"))
            train_and_measure("demonstrations", data.examples(agent, run.demonstrations), as_many)

    def steps(self, seed: int) -> list[Step]:
        """See `Reproduction.steps`."""
        loop = resolved(self.loop, self.env_spec)
        return steps_of(self.recipe.with_seed_offset(seed), loop, self.held_out, self.models, f"seed{seed}")

    def findings(self, attempts: Attempts, results: Mapping[Stage, Any]) -> list[RenderableType]:
        """Return how many failures the reflectors mended, per seed."""
        return [
            f"the zero-shot reflector mended {counts['mended_zero_shot']} of {counts['failed']} failures, "
            f"the trained one {counts['mended_trained']} of the remaining {counts['reflections_trained']}"
            for stage, counts in results.items()
            if (stage.kind, stage.model) == ("counts", "mended")
        ]


def _extra_samples(lab: Lab, loop: ReReST, mended: Mended) -> list[Trajectory]:
    """Sample one additional attempt per reflection, at the same task: the reflector's budget spent on plain samples."""
    agent, drawn, jobs = lab.run.make_agent(None, loop.attempts), dict[str, int](), []
    for reflected in [*mended.zero_shot, *mended.trained]:
        sample = loop.attempts.k + drawn.get(reflected.task.id, 0)
        drawn[reflected.task.id] = drawn.get(reflected.task.id, 0) + 1
        jobs.append(job(reflected.task, agent, sample, loop.seed, "collect/samples"))
    stage = Stage("collect", "samples", loop.practice.split)
    return [t for t in lab.run.play(stage, jobs, loop.attempts) if t.success]


def counts_of(mended: Mended) -> dict[str, int]:
    """Count the attempts that passed, failed and were mended."""
    return {
        "passed": len(mended.passed),
        "failed": len(mended.zero_shot),
        "mended_zero_shot": sum(t.success for t in mended.zero_shot),
        "reflections_trained": len(mended.trained),
        "mended_trained": sum(t.success for t in mended.trained),
    }
