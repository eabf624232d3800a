"""A small run made through the public API, with all data that reports, exports and comparisons read."""

from __future__ import annotations

from pathlib import Path

from kintsugi.agents.trajectory import AgentSpec, Step, Trajectory
from kintsugi.envs.core import Task, TaskSet
from kintsugi.loops.measuring.evaluation import score
from kintsugi.loops.runs.stages import Stage
from kintsugi.loops.runs.store import RunStore

HOSTILE = "</script><img src=x onerror='window.hacked=1'><b>bold</b>{{ 7 * 7 }} \u2028 ]]> ${1} \x07"
MODELS = ("base", "self-training", "re-rest")


def make_task(number: int, split: str = "valid") -> Task:
    return Task(f"{split}/{number:03}", "test/Env-v0", split, number, {"type": ("heat", "cool", "clean")[number % 3]})


def make_trajectory(task: Task, success: bool, **fields: object) -> Trajectory:
    """Return a success of two steps, or a failure of three steps with one refused action."""
    ids = {"token_ids": (1, 2, 3), "logprobs": (-0.5, -0.5, -0.5)}
    first = Step("You are in a room.", "I look around.", "look", text="Thought: I look around.\nAction: look", **ids)
    if success:
        steps = [first, Step("A mug 1 is here.", "I take it.", "take mug 1", 1.0, **ids)]
    else:
        refused = Step("A mug 1 is here.", "I take it.", "take cup 1", 0.0, "Nothing happens.", **ids)
        steps = [first, refused, Step("Nothing happens.", "I give up.", "wait", **ids)]
    values = {
        "steps": tuple(steps),
        "final_observation": "You win." if success else "Time is up.",
        "outcome": "success" if success else "truncated",
        "score": float(success),
        "source": "policy",
        "model": "tiny@1",
        "agent": f"{AgentSpec().name}@tiny@1",
        "made_by": AgentSpec(),
        "seed": 0,
        "goal": f"put a mug in cabinet {task.seed}.",
        "prompt_tokens": 50,
    }
    return Trajectory(task, **{**values, **fields})


def make_run(folder: Path) -> Path:
    """Create a run with two training seeds, three models, two evaluations and mended failures."""
    config = {"loop": "re-rest", "note": HOSTILE, "lora": {"rank": 8}}
    with RunStore.open(folder, config) as store:
        _practice(store)
        for seed in ("seed0", "seed1"):
            for level, model in enumerate(MODELS):
                stage = Stage("eval", model, "valid_seen", scope=seed)
                _measure(store, stage, [make_task(i, "seen") for i in range(12)], 3 + 3 * level)
        _measure(store, Stage("eval", "base", "valid_unseen"), [make_task(i) for i in range(6)], 0)
        store.result(Stage("timing", "base", "valid_unseen"), lambda: {"wall": 10.0, "model": 8.0, "env": 1.5})
        store.result(Stage("odd", HOSTILE), lambda: {"said": HOSTILE})
    return folder


def _practice(store: RunStore) -> None:
    tasks = [make_task(i, "train") for i in range(8)]
    attempts = [make_trajectory(task, i < 3) for i, task in enumerate(tasks)]
    odd = Step("You are in a room.", "", HOSTILE, 0.0, HOSTILE), Step(HOSTILE, HOSTILE, HOSTILE, 0.0, HOSTILE)
    attempts[4] = make_trajectory(tasks[4], False, steps=odd, goal=HOSTILE, final_observation=HOSTILE, model=HOSTILE)
    attempts[5] = make_trajectory(tasks[5], False, outcome="infra_error", error="the browser died")
    policy = Stage("collect", "policy", "train", 1)
    store.add(policy, attempts)
    reflection = Step(
        "", "", "", text=f"Reflection: I should have taken the mug. {HOSTILE}", token_ids=(7,), logprobs=(-1.0,)
    )
    mends = [
        make_trajectory(
            t.task, i != 6, source="reflection", parents=(store.key(policy, t.key),), reflection=reflection, goal=t.goal
        )
        for i, t in enumerate(attempts)
        if t.outcome == "truncated"
    ]
    store.add(Stage("collect", "reflection", "train", 1), mends)


def _measure(store: RunStore, stage: Stage, tasks: list[Task], successes: int) -> None:
    attempts = [make_trajectory(task, i < successes) for i, task in enumerate(tasks)]
    store.add(stage, attempts)
    found = score(stage.model_round, TaskSet(tasks), attempts, seconds=2.5, decoding="free", step_limit=3)
    store.result(stage.with_kind("score"), found.to_json)
