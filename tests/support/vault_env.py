"""`Vault`, an environment with reversible and irreversible errors, and scripts and trees for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from kintsugi.agents.models import Message, Sampling
from kintsugi.agents.react import SYSTEM as ACTING
from kintsugi.agents.search.tree import Node, SearchTree
from kintsugi.agents.trajectory import Outcome, Step
from kintsugi.envs import AgentEnv, Task, TaskSet

ACTIONS = ("go hall", "go cellar", "take key", "drop key", "burn key", "open chest", "sing")
ENTRY = "[kintsugi.envs]\ntiny/Vault-v0 = vault_env:Vault\n"
"""`entry_points.txt` of a package that provides the environment."""
STATUS = {"hand": "You hold the key.", "cellar": "", "hall": "", "fire": "The key is molten."}


class Vault(AgentEnv):
    """Open the chest in the hall with the key from the cellar. Holding the key scores 0.5; a burnt key is lost."""

    env_id = "tiny/Vault-v0"
    metadata = {**AgentEnv.metadata, "snapshot": "exact"}

    def __init__(self, max_steps: int = 12, **options: Any) -> None:
        super().__init__(max_steps=max_steps, **options)

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        return TaskSet(Task(f"{split}/{seed}/{i:02}", cls.env_id, split, i) for i in range(6 if n is None else n))

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.at, self.key = "hall", "cellar"
        return f"You are in the hall of house {task.seed}.", {**self.known(), "goal": "open the chest."}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        if action not in self.options():
            return "Nothing happens.", 0.0, False, {**self.known(), "invalid": "not here, not now"}
        verb, _, thing = action.partition(" ")
        if verb == "open":
            return "The chest is open.", 1.0, True, {**self.known(), "success": True, "score": 1.0}
        if verb == "go":
            self.at = thing
        elif thing == "key":
            self.key = {"take": "hand", "drop": self.at, "burn": "fire"}[verb]
        here = "The key lies here." if self.key == self.at else STATUS[self.key]
        return f"You {action}. You are in the {self.at}. {here}".rstrip(), 0.0, False, self.known()

    def options(self) -> tuple[str, ...]:
        here = {"hall": ("go cellar",), "cellar": ("go hall",)}[self.at]
        take = ("take key",) if self.key == self.at else ()
        held = ("drop key", "burn key") if self.key == "hand" else ()
        chest = ("open chest",) if self.key == "hand" and self.at == "hall" else ()
        return (*here, *take, *held, *chest, "sing")

    def known(self) -> dict[str, Any]:
        return {"admissible": self.options(), "score": 0.5 if self.key == "hand" else 0.0}

    def get_state(self) -> Any:
        return self.at, self.key

    def set_state(self, state: Any) -> None:
        self.at, self.key = state


def build_tree(
    task: Task, attempts: Iterable[Sequence[str]], max_steps: int = 12, model: str = "scripted"
) -> SearchTree:
    """Return the search tree of these action sequences. A sequence is cut where the episode ends."""
    env = Vault(max_steps=max_steps)
    observation, _ = env.reset(options={"task": task})
    nodes, children, alive = [Node(-1, None, observation)], dict[tuple[int, str], int](), {0: env.snapshot()}
    for actions in attempts:
        at = 0
        for action in actions:
            if at not in alive:
                break
            if (at, action) not in children:
                env.restore(alive[at])
                seen, reward, done, cut, info = env.step(action)
                step = Step(
                    nodes[at].observation, f"I {action}", action, reward, info.get("invalid"), text=f"T{len(nodes)}"
                )
                outcome: Outcome | None = (
                    "success" if info.get("success") else "failure" if done else "truncated" if cut else None
                )
                children[at, action] = len(nodes)
                nodes.append(Node(at, step, seen, outcome, float(info["score"])))
                if outcome is None:
                    alive[len(nodes) - 1] = env.snapshot()
            at = children[at, action]
    for leaf in alive.keys() - {parent for parent, _ in children}:
        # As if the depth limit of the search had cut the episode.
        nodes[leaf] = replace(nodes[leaf], outcome="truncated")
    visits = (1,) * len(nodes)
    return SearchTree(
        task, model, 0, tuple(nodes), visits, tuple(n.score for n in nodes), "iterations", goal="open the chest."
    )


RIGHT = {"hall": "go cellar", "cellar": "take key", "cellar key": "go hall", "hall key": "open chest"}
WRONG = {"hall": "sing", "cellar": "go hall", "cellar key": "burn key", "hall key": "sing"}


def place_of(messages: Sequence[Message]) -> str:
    """Return the place of the actor, with ` key` if it holds the key, or `lost` if the key is molten."""
    seen = " ".join(m.content for m in messages if m.role == "user")
    if "molten" in seen:
        return "lost"
    at = "cellar" if seen.rfind("in the cellar") > seen.rfind("in the hall") else "hall"
    return f"{at} key" if "You hold the key." in seen else at


def act(action: str) -> str:
    """Return the turn of a model that plays this action."""
    return f"Thought: I will {action}.\nAction: {action}"


def actor(messages: Sequence[Message], sampling: Sampling) -> str:
    """Script of a model that plays a right move for odd seeds. As a verifier, it recognises wrong moves."""
    if messages[0].content != ACTING:
        step = messages[-1].content.rpartition("> ")[2].partition("\n")[0]
        return f"Thought: hm.\nJudgement: {'Bad' if step in ('sing', 'burn key', 'go hall') else 'Uncertain'}"
    moves = RIGHT if sampling.seed % 2 else WRONG
    return act(moves.get(place_of(messages), "sing"))
