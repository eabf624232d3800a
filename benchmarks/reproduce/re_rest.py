"""`kintsugi demo` and `kintsugi reproduce re-rest`: the paper's comparison, and the controls that it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro
from rich.console import Console, RenderableType

from ..agents.trajectory import Trajectory
from ..loops.practice import Practice
from ..loops.re_rest import Mended, ReReST, collect_and_mend
from .measure import Measure
from .reproduce import Attempts, Lab, Reproduction, run_in

PAIRS = (
    ("base", "self-training"),
    ("self-training", "re-rest"),
    ("base", "re-rest"),
    ("demonstrations", "self-training"),
    ("samples", "re-rest"),
    ("re-rest zero-shot", "re-rest"),
)


@dataclass(frozen=True)
class ReproduceReReST(Reproduction):
    """The comparison of Re-ReST, self-training, the base and the controls, over several seeds."""

    loop: ReReST = field(default_factory=lambda: ReReST(Practice(tasks=300)))
    held_out: Measure = field(default_factory=lambda: Measure(splits=("valid_seen", "valid_unseen"), tasks=200))
    controls: bool = True
    """Also: as many extra samples as reflections, demonstrations alone, the zero-shot reflector alone."""

    paper: ClassVar[str] = "re-rest"
    pairs: ClassVar[tuple[tuple[str, str], ...]] = PAIRS

    def check(self) -> None:
        """There have to be tasks to practise on."""
        self.loop.practice.task_set()

    def one_seed(self, lab: Lab) -> None:
        """Everything with one seed policy."""
        practice = replace(self.loop.practice, seed=self.loop.practice.seed + lab.seed)
        loop = replace(self.loop, practice=practice)

        def trained(name: str, passed: list[Trajectory]) -> None:
            examples = practice.mixture(passed, lab.demonstrations)
            lab.say(f"training {name} on {len(examples)} examples")
            lab.measure(name, practice.train(lab.store, f"{name.replace(' ', '_')}@1", lab.base, examples))

        lab.measure("base", None)
        lab.say("sampling, reflecting, reflecting again with a trained reflector")
        mended = collect_and_mend(lab.store, lab.base, None, loop)
        lab.store.stage("mended/counts", lambda: counts_of(mended))
        trained("self-training", mended.passed)
        if self.controls:
            size = len(practice.mixture([*mended.passed, *mended.corrected], lab.demonstrations))
            alone = replace(practice, replay=1.0).examples(lab.demonstrations[:size])
            lab.say(f"training demonstrations on {len(alone)} examples")
            lab.measure("demonstrations", practice.train(lab.store, "demonstrations@1", lab.base, alone))
            trained("samples", [*mended.passed, *_extra_samples(lab, loop, mended)])
            trained("re-rest zero-shot", [*mended.passed, *(t for t in mended.zero_shot if t.success)])
        trained("re-rest", [*mended.passed, *mended.corrected])

    def findings(self, attempts: Attempts, results: Mapping[str, Any]) -> list[RenderableType]:
        """What the reflectors mended, seed by seed."""
        return [
            f"of {counts['failed']} failures the zero-shot reflector mended {counts['mended_zero_shot']}, "
            f"the trained one {counts['mended_trained']} of the {counts['reflections_trained']} left"
            for name, counts in results.items()
            if name.startswith("mended/")
        ]


def _extra_samples(lab: Lab, loop: ReReST, mended: Mended) -> list[Trajectory]:
    """One more plain attempt for every reflection, at the same task: what the reflector's budget buys without it."""
    from ..agents.models.local import LocalModel

    practice = loop.practice
    model = LocalModel.load(lab.base, slots=practice.together)
    agent, drawn, stage = practice.agent(model), dict[str, int](), "collect/samples"
    jobs = []
    for reflected in [*mended.zero_shot, *mended.trained]:
        sample = practice.k + drawn.get(reflected.task.id, 0)
        drawn[reflected.task.id] = drawn.get(reflected.task.id, 0) + 1
        jobs.append(practice.job(reflected.task, agent, sample, stage))
    return [t for t in lab.store.collect(stage, practice.make_env, jobs, at_once=practice.together) if t.success]


def counts_of(mended: Mended) -> dict[str, int]:
    """How many attempts passed, failed and were mended."""
    return {
        "passed": len(mended.passed),
        "failed": len(mended.zero_shot),
        "mended_zero_shot": sum(t.success for t in mended.zero_shot),
        "reflections_trained": len(mended.trained),
        "mended_trained": sum(t.success for t in mended.trained),
    }


@dataclass(frozen=True)
class ReproduceConfig:
    """`kintsugi reproduce re-rest`."""

    what: Annotated[ReproduceReReST, tyro.conf.arg(name="")] = field(default_factory=ReproduceReReST)
    run: Path = Path("runs/reproduce-re-rest")
    """The run's folder; the same command again continues it."""


def run(config: ReproduceConfig, console: Console) -> None:
    """The command `kintsugi reproduce re-rest`."""
    run_in(config.run, config.what, console)
