"""Small environments for tests: `Lamps` has exact snapshots, `Echo` replay snapshots, `Sold` only one split."""

from __future__ import annotations

from typing import Any

from kintsugi.envs import AgentEnv, Task, TaskSet

NAMES = ("red", "green", "blue")


class Lamps(AgentEnv):
    """Light all lamps. One lamp works only after 4 actions, and lamps go out at random."""

    env_id = "tiny/Lamps-v0"
    metadata = {**AgentEnv.metadata, "snapshot": "exact"}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lit: frozenset[str] = frozenset()
        self.age = 0

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        every = TaskSet(Task(f"{split}/{i}", cls.env_id, split, seed + i, {"broken": NAMES[i % 3]}) for i in range(9))
        return every if n is None else every.sample(n, seed)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.lit, self.age = frozenset(), 0
        return "It is dark.", {**self.known(), "goal": "light every lamp"}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        if action not in self.options():
            return "Nothing happens.", 0.0, False, {**self.known(), "invalid": "that is no lamp that can be lit"}
        self.age += 1
        self.lit |= {action.removeprefix("light ")}
        if self.np_random.random() < 0.3:
            self.lit -= {min(self.lit)}
        done = len(self.lit) == len(NAMES)
        said = f"The lamps {', '.join(sorted(self.lit)) or 'none'} are lit."
        return said, float(done), done, {**self.known(), "success": done}

    def options(self) -> tuple[str, ...]:
        broken = self.task.params["broken"] if self.task and self.age < 4 else ""
        return tuple(f"light {name}" for name in NAMES if name != broken)

    def known(self) -> dict[str, Any]:
        return {"admissible": self.options(), "score": len(self.lit) / len(NAMES)}

    def get_state(self) -> Any:
        return self.lit, self.age

    def set_state(self, state: Any) -> None:
        self.lit, self.age = state


BANNER = "You stand in a hall of lamps. "


class Wordy(Lamps):
    """Lamps whose observations start with a banner that `condense` removes. Found by module, not registered."""

    env_id = "tiny_envs:Wordy"
    verifier_instructions = "You judge the lighting of lamps."

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        said, info = super().begin(task)
        return BANNER + said, info

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        said, reward, done, info = super().act(action)
        return BANNER + said, reward, done, info

    @staticmethod
    def condense(observation: str, previous: str | None) -> str:
        return observation if previous is None else observation.removeprefix(BANNER)


class Echo(AgentEnv):
    """Say the number of the task. Observations repeat the action and add a random number."""

    env_id = "tiny/Echo-v0"

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        every = TaskSet(Task(f"{split}/{i}", cls.env_id, split, seed + i, {"number": i}) for i in range(9))
        return every if n is None else every.sample(n, seed)

    def begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self.heard = 0
        return f"Which number am I thinking of? A hint: {task.params['number']}.", {"goal": "say the number"}

    def act(self, action: str) -> tuple[str, float, bool, dict[str, Any]]:
        assert self.task is not None
        self.heard += 1
        done = action == str(self.task.params["number"])
        mood = self.np_random.integers(10)
        said = f"Answer {self.heard} was {action[:100]!r}; mood {mood}."
        return said, float(done), done, {"success": True, "score": 1.0} if done else {}


class Sold(Echo):
    """Echo with tasks in the split `train` only."""

    env_id = "tiny/Sold-v3"
    metadata = {"render_modes": ["ansi"], "render_fps": 1, "snapshot": "replay", "at_once": 2}

    @classmethod
    def tasks(cls, split: str, n: int | None = None, seed: int = 0, **params: Any) -> TaskSet:
        return super().tasks(split, n, seed) if split == "train" else TaskSet(())
