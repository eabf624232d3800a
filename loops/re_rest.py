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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..agents.core import Agent
from ..agents.react import ReActAgent
from ..agents.reflector import ReflectingAgent, ReflectorConfig, reflector_chat
from ..agents.trajectory import Trajectory
from ..envs.registry import EnvSpec
from ..errors import UsageError
from .learning.core import Example
from .learning.training_data import TrainingData
from .registry import Loop, LoopConfig
from .run import Run, job
from .runs.stages import Stage


@dataclass(frozen=True)
class ReReST(LoopConfig):
    """Reflection-Reinforced Self-Training (Re-ReST)."""

    data: TrainingData = field(default_factory=TrainingData)
    reflector: Literal["zero_shot", "trained"] = "trained"
    """`trained` also trains R and lets it reflect on what the zero-shot reflector could not mend."""
    reflection: ReflectorConfig = field(default_factory=ReflectorConfig)
    rounds: int = 1
    """The paper has one."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """See `LoopConfig.validate`."""
        super().validate(env, agent)
        chatting(agent)


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


def re_rest(run: Run, config: ReReST) -> Path | None:
    """Run the loop; returns the last adopted adapter, None when no round helped."""
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        mended = collect_and_mend(run, adopted, config, i)
        agent = run.acting(adopted, config.attempts)
        own = [*mended.passed, *mended.corrected]
        examples = config.data.mixture(agent, own, run.demonstrations, config.seed)
        adapter = run.train(f"re_rest@{i}", examples, config.fit, seed=config.seed, rename=config.data.rename)
        run.store.result(Stage("counts", "re_rest", config.practice.split, i), summary, mended, len(examples))
        if config.admits(run, adopted, adapter):
            adopted = adapter
    return adopted


def collect_and_mend(run: Run, adopted: Path | None, config: ReReST, i: int = 1) -> Mended:
    """Steps 1 to 4 of round `i` with the agent M of `adopted`; the zero-shot reflector is the same model."""
    split, suffix = config.practice.split, "" if i == 1 else f"@{i}"

    # 1, 2: SAMPLE AND JUDGE
    stage = Stage("collect", "policy", split, i)
    agent = chatting(run.acting(adopted, config.attempts))
    tasks = config.practice.task_set(run.env, config.seed)
    stream = f"collect/policy{suffix}"
    attempts = run.attempt(stage, agent, tasks, config.attempts, seed=config.seed, stream=stream)
    passed = [attempt for attempt in attempts if attempt.success]
    failed = {run.store.key(stage, t.key): t for t in attempts if t.outcome in ("failure", "truncated")}

    # 3: REFLECT ONCE ON EACH FAILURE, PLAY IT LIVE
    zero_shot = reflect(run, Stage("collect", "reflection", split, i), agent, failed, config, suffix)
    if config.reflector == "zero_shot":
        return Mended(passed, zero_shot, [])

    # 4: TRAIN R, REFLECT AGAIN ON WHAT STILL FAILS
    pairs = reflector_examples(failed, passed, zero_shot, agent, config)
    if not any(t.success for t in zero_shot) and not pairs:
        return Mended(passed, zero_shot, [])
    adapter = run.train(f"reflector@{i}", pairs, config.fit, seed=config.seed, rename=config.data.rename)
    reflector = chatting(run.acting(adapter, config.attempts))
    mended = {key for t in zero_shot if t.success for key in t.parents}
    still = {key: t for key, t in failed.items() if key not in mended}
    again = reflect(run, Stage("collect", "reflection_trained", split, i), reflector, still, config, suffix)
    return Mended(passed, zero_shot, again)


def reflect(
    run: Run, stage: Stage, acting: ReActAgent, failed: Mapping[str, Trajectory], config: ReReST, suffix: str
) -> list[Trajectory]:
    """One reflection and one live attempt for each failed one; `parents` names it."""
    jobs = [
        job(
            failure.task,
            ReflectingAgent(acting, failure, config.reflection),
            failure.sample,
            config.seed,
            f"collect/{stage.model}{suffix}",
            source="reflection",
            parents=(key,),
        )
        for key, failure in failed.items()
    ]
    return run.play(stage, jobs, config.attempts)


def reflector_examples(
    failed: Mapping[str, Trajectory],
    passed: Sequence[Trajectory],
    reflected: Sequence[Trajectory],
    acting: ReActAgent,
    config: ReReST,
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
    for key, failure in failed.items():
        pairs = [(corrected[key], True)] if key in corrected else []
        pairs += [(win, False) for win in wins.get(failure.task.id, [])[:1]]
        for win, own in pairs:
            learnt = config.data.learnt(win)
            reflection = said.get(key)
            if reflection is not None:
                chat = reflector_chat(failure, learnt, reflection, acting.config, config.reflection, trainable=own)
                examples.append(Example(chat, 1.0 / len(pairs)))
    return examples


def summary(mended: Mended, examples: int) -> dict[str, int]:
    """What a round came to."""
    return {
        "passed": len(mended.passed),
        "reflections_zero_shot": len(mended.zero_shot),
        "mended_zero_shot": sum(t.success for t in mended.zero_shot),
        "reflections_trained": len(mended.trained),
        "mended_trained": sum(t.success for t in mended.trained),
        "examples": examples,
    }


def chatting(agent: Agent) -> ReActAgent:
    """The agent as one with a chat that a reflector can go on in."""
    if not isinstance(agent, ReActAgent):
        raise UsageError(f"Re-ReST's reflector goes on in a ReAct agent's chat, and {agent.name!r} is none; use react")
    return agent


LOOP = Loop("re-rest", "also mend the failed attempts with a reflector (Re-ReST)", ReReST, re_rest)
