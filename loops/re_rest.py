"""Re-ReST: Reflection-Reinforced Self-Training (arXiv 2406.01495), section 3.

1. y^1..y^k ~ M(x)                          sample                             collect/policy
2. D_M = {(x, y): E(x, y) = 1}              evaluate in the environment
3. y~ ~ R(x, y, E(x, y)) for each failed y  reflect once, play the correction  collect/reflection
   D_R = {(x, y~): E(x, y~) = 1}            keep corrections that passed
4. train R on (x, y_lose, y_win), repeat step 3 for what still fails           collect/reflection_trained
5. train M on D_M and D_R; the input is x without the reflection
6. inference uses M alone

M is the agent's model, R the reflector, E the environment's success. The last column names the stages.
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
    """`zero_shot` reflects with the policy; `trained` also trains a reflector and reflects on what still fails."""
    reflection: ReflectorConfig = field(default_factory=ReflectorConfig)
    rounds: int = 1
    """Number of rounds; 1 in the paper."""

    def validate(self, env: EnvSpec, agent: Agent) -> None:
        """Also check that the agent is a ReAct agent; see `LoopConfig.validate`."""
        super().validate(env, agent)
        require_react_agent(agent)


@dataclass(frozen=True)
class Mended:
    """Attempts from steps 1 to 4."""

    passed: list[Trajectory]
    """D_M: the policy's attempts that passed."""
    zero_shot: list[Trajectory]
    """Corrections by the zero-shot reflector, passed or not."""
    trained: list[Trajectory]
    """Corrections by the trained reflector, passed or not."""

    @property
    def corrected(self) -> list[Trajectory]:
        """D_R: corrections that passed."""
        return [t for t in [*self.zero_shot, *self.trained] if t.success]


def re_rest(run: Run, config: ReReST) -> Path | None:
    """Run the loop; return the last adopted adapter, or None if none was adopted."""
    adopted: Path | None = None
    for i in range(1, config.rounds + 1):
        mended = collect_and_mend(run, adopted, config, i)
        agent = run.make_agent(adopted, config.attempts)
        collected = [*mended.passed, *mended.corrected]
        examples = config.data.mixture(agent, collected, run.demonstrations, config.seed)
        adapter = run.train(f"re_rest@{i}", examples, config.fit, seed=config.seed, rename=config.data.rename)
        run.store.result(Stage("counts", "re_rest", config.practice.split, i), summary, mended, len(examples))
        if config.passes_gate(run, adopted, adapter):
            adopted = adapter
    return adopted


def collect_and_mend(run: Run, adopted: Path | None, config: ReReST, i: int = 1) -> Mended:
    """Run steps 1 to 4 of a round.

    Args:
        run: The run.
        adopted: Adapter of M and of the zero-shot reflector; None for the base model.
        config: Configuration.
        i: Round, from 1.

    Returns:
        Passed attempts and corrections.
    """
    split, suffix = config.practice.split, "" if i == 1 else f"@{i}"

    # 1, 2: SAMPLE AND EVALUATE
    stage = Stage("collect", "policy", split, i)
    agent = require_react_agent(run.make_agent(adopted, config.attempts))
    tasks = config.practice.task_set(run.env, config.seed)
    stream = f"collect/policy{suffix}"
    attempts = run.attempt(stage, agent, tasks, config.attempts, seed=config.seed, stream=stream)
    passed = [attempt for attempt in attempts if attempt.success]
    failed = {run.store.key(stage, t.key): t for t in attempts if t.outcome in ("failure", "truncated")}

    # 3: REFLECT ONCE ON EACH FAILURE, PLAY THE CORRECTION
    zero_shot = reflect(run, Stage("collect", "reflection", split, i), agent, failed, config, suffix)
    if config.reflector == "zero_shot":
        return Mended(passed, zero_shot, [])

    # 4: TRAIN R, REFLECT ON WHAT STILL FAILS
    pairs = reflector_examples(failed, passed, zero_shot, agent, config)
    if not any(t.success for t in zero_shot) and not pairs:
        return Mended(passed, zero_shot, [])
    adapter = run.train(f"reflector@{i}", pairs, config.fit, seed=config.seed, rename=config.data.rename)
    reflector = require_react_agent(run.make_agent(adapter, config.attempts))
    mended = {key for t in zero_shot if t.success for key in t.parents}
    unmended = {key: t for key, t in failed.items() if key not in mended}
    trained = reflect(run, Stage("collect", "reflection_trained", split, i), reflector, unmended, config, suffix)
    return Mended(passed, zero_shot, trained)


def reflect(
    run: Run, stage: Stage, agent: ReActAgent, failed: Mapping[str, Trajectory], config: ReReST, suffix: str
) -> list[Trajectory]:
    """Make one reflection and one correction per failed attempt; `parents` holds the full key of the failed one."""
    jobs = [
        job(
            failure.task,
            ReflectingAgent(agent, failure, config.reflection),
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
    agent: ReActAgent,
    config: ReReST,
) -> list[Example]:
    """Make the training examples (x, y_lose, y_win) of the reflector.

    y_win is a correction that passed, or an attempt of the policy that passed the same task. In the second case the
    reflection on y_lose stays in the context without a loss, because it did not lead to y_win.

    Args:
        failed: Failed attempts by full key.
        passed: The policy's attempts that passed.
        reflected: Corrections, passed or not.
        agent: Agent whose chat format is used.
        config: Configuration.

    Returns:
        The examples; the weights of each failed attempt sum to 1.
    """
    reflections = {parent: t.reflection for t in reflected for parent in t.parents}
    wins: dict[str, list[Trajectory]] = {}
    for win in passed:
        wins.setdefault(win.task.id, []).append(win)
    corrected = {parent: t for t in reflected if t.success for parent in t.parents}
    examples = []
    for key, failure in failed.items():
        pairs = [(corrected[key], True)] if key in corrected else []
        pairs += [(win, False) for win in wins.get(failure.task.id, [])[:1]]
        for win, is_correction in pairs:
            y_win = config.data.for_training(win)
            reflection = reflections.get(key)
            if reflection is not None:
                chat = reflector_chat(
                    failure, y_win, reflection, agent.config, config.reflection, trainable=is_correction
                )
                examples.append(Example(chat, 1.0 / len(pairs)))
    return examples


def summary(mended: Mended, examples: int) -> dict[str, int]:
    """Count the attempts and examples of a round."""
    return {
        "passed": len(mended.passed),
        "reflections_zero_shot": len(mended.zero_shot),
        "mended_zero_shot": sum(t.success for t in mended.zero_shot),
        "reflections_trained": len(mended.trained),
        "mended_trained": sum(t.success for t in mended.trained),
        "examples": examples,
    }


def require_react_agent(agent: Agent) -> ReActAgent:
    """Return the agent if it is a ReAct agent, whose chat the reflector continues; else raise `UsageError`."""
    if not isinstance(agent, ReActAgent):
        raise UsageError(f"agent {agent.name!r} is not a ReAct agent, which Re-ReST expects; pass --agent react")
    return agent


LOOP = Loop("re-rest", "also mend failed attempts with a reflector (Re-ReST)", ReReST, re_rest)
