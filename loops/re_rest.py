"""Re-ReST: Reflection-Reinforced Self-Training (Dou et al., EMNLP 2024), section 3.

1. y^1..y^k ~ M(x)                         sample                              collect/policy
2. D_M = {(x, y): E(x, y) = 1}             judge, in the environment
3. y~ ~ R(x, y, E(x, y)) for each failed y one reflection, played live         collect/reflection
   D_R = {(x, y~): E(x, y~) = 1}           keep what passed
4. R is trained on (x, y_lose, y_win) and step 3 repeated for what still fails collect/reflection_trained
5. M is trained on D_M and D_R, on the input x alone: it never sees the reflection
6. inference: M alone
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..agents.models.local import LocalModel
from ..agents.react import ReActConfig
from ..agents.reflector import ReflectingAgent, ReflectorConfig, reflector_chat
from ..agents.trajectory import Trajectory
from .gate import Gate
from .learner import Example
from .practice import Practice
from .store import RunStore


@dataclass(frozen=True)
class ReReST:
    """Configuration of Re-ReST."""

    practice: Practice = field(default_factory=Practice)
    reflector: Literal["zero_shot", "trained"] = "trained"
    """`trained` also trains R and lets it reflect on what the zero-shot reflector could not mend."""
    reflection: ReflectorConfig = field(default_factory=ReflectorConfig)
    rounds: int = 1
    """The paper has one."""
    gate: Gate = field(default_factory=Gate)


@dataclass(frozen=True)
class Mended:
    """What steps 1 to 4 found."""

    passed: list[Trajectory]
    """D_M"""
    zero_shot: list[Trajectory]
    """All attempts of the zero-shot reflector, passed or not."""
    trained: list[Trajectory]
    """All attempts of the trained reflector."""

    @property
    def corrected(self) -> list[Trajectory]:
        """D_R"""
        return [t for t in [*self.zero_shot, *self.trained] if t.success]


def re_rest(store: RunStore, base: Path, demonstrations: Sequence[Trajectory], config: ReReST) -> Path | None:
    """Run the loop in `store`; returns the last adopted adapter, None when no round helped."""
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        mended = collect_and_mend(store, base, adopted, config, round_=i)
        examples = config.practice.mixture([*mended.passed, *mended.corrected], demonstrations)
        adapter = config.practice.train(store, f"re_rest@{i}", base, examples)
        store.stage(f"re_rest/round{i}", _summary, mended, len(examples))
        if config.gate.admits(store, config.practice, base, adopted, adapter):
            adopted = adapter
    return adopted


def collect_and_mend(store: RunStore, base: Path, agent: Path | None, config: ReReST, *, round_: int = 1) -> Mended:
    """Steps 1 to 4 with the agent M = `base` + adapter `agent`; the zero-shot reflector is the same model."""
    practice, suffix = config.practice, "" if round_ == 1 else f"@{round_}"
    model = LocalModel.load(base, agent, slots=practice.together)

    # 1, 2: SAMPLE AND JUDGE
    attempts = practice.attempt(store, f"collect/policy{suffix}", model, practice.task_set(), range(practice.k))
    passed = [attempt for attempt in attempts if attempt.success]
    failed = [attempt for attempt in attempts if attempt.outcome in ("failure", "truncated")]

    # 3: REFLECT ONCE ON EACH FAILURE, PLAY IT LIVE
    zero_shot = reflect(store, f"collect/reflection{suffix}", model, failed, config)
    if config.reflector == "zero_shot":
        return Mended(passed, zero_shot, [])

    # 4: TRAIN R, REFLECT AGAIN ON WHAT STILL FAILS
    pairs = reflector_examples(failed, passed, zero_shot, config)
    if not any(t.success for t in zero_shot) and not pairs:
        return Mended(passed, zero_shot, [])
    reflector = LocalModel.load(
        base, practice.train(store, f"reflector@{round_}", base, pairs), slots=practice.together
    )
    mended = {key for t in zero_shot if t.success for key in t.parents}
    still = [t for t in failed if t.key not in mended]
    return Mended(passed, zero_shot, reflect(store, f"collect/reflection_trained{suffix}", reflector, still, config))


def reflect(
    store: RunStore, stage: str, model: LocalModel, failed: Sequence[Trajectory], config: ReReST
) -> list[Trajectory]:
    """One reflection and one live attempt for each failed one; `parents` names it."""
    practice = config.practice
    acting = ReActConfig(temperature=practice.temperature, max_tokens=practice.turn_tokens)
    jobs = [
        practice.job(
            failure.task,
            ReflectingAgent(model, failure, acting, config.reflection),
            failure.sample,
            stage,
            source="reflection",
            parents=(failure.key,),
        )
        for failure in failed
    ]
    return store.collect(stage, practice.make_env, jobs, at_once=practice.together)


def reflector_examples(
    failed: Sequence[Trajectory], passed: Sequence[Trajectory], reflected: Sequence[Trajectory], config: ReReST
) -> list[Example]:
    """(x, y_lose, y_win): corrections that passed, and the agent's own passed attempts at tasks that it also failed.

    The second kind was not written by a reflector: what the reflector said of y_lose stands before it, untrained.
    """
    said = {parent: t.reflection for t in reflected for parent in t.parents}
    wins: dict[str, list[Trajectory]] = {}
    for win in passed:
        wins.setdefault(win.task.id, []).append(win)
    corrected = {parent: t for t in reflected if t.success for parent in t.parents}
    examples = []
    for failure in failed:
        pairs = [(corrected[failure.key], True)] if failure.key in corrected else []
        pairs += [(win, False) for win in wins.get(failure.task.id, [])[:1]]
        for win, own in pairs:
            learnt = config.practice.learnt(win)
            reflection = said.get(failure.key)
            if reflection is not None:
                chat = reflector_chat(failure, learnt, reflection, trainable=own, config=config.reflection)
                examples.append(Example(chat, 1.0 / len(pairs)))
    return examples


def _summary(mended: Mended, examples: int) -> dict[str, int]:
    return {
        "passed": len(mended.passed),
        "reflections_zero_shot": len(mended.zero_shot),
        "mended_zero_shot": sum(t.success for t in mended.zero_shot),
        "reflections_trained": len(mended.trained),
        "mended_trained": sum(t.success for t in mended.trained),
        "examples": examples,
    }
