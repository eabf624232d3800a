"""The attempts of a run as `.js` files that a page opened from disk can load piece by piece.

A page from `file://` may not fetch, but it may load scripts. `data/index.js` says in a few bytes an attempt what the
list needs; the texts lie in `data/chunk-<n>.js`, about half a megabyte each, loaded when one is looked at.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...agents.trajectory import Step, Trajectory
from ...loops.measuring.evaluation import task_type
from ...loops.runs.pictures import NAME
from ...loops.runs.stages import Stage

CHUNK_BYTES = 500_000
"""A file of texts is closed when it has grown past this."""
TEXT_HEAD, TEXT_TAIL = 4_500, 1_500
"""Characters kept of the beginning and the end of a longer text."""
PER_STAGE = 10_000
"""Attempts of one stage that can be looked at; all of them are in the scores."""


class AttemptFiles:
    """Writes `data/` of a report; holds one chunk and the index in memory, never a run's texts."""

    def __init__(self, folder: Path, per_stage: int = PER_STAGE, pictures: Path | None = None) -> None:
        """`pictures` is where the run keeps what attempts showed; those of the attempts in here are copied."""
        folder.mkdir(parents=True, exist_ok=True)
        self._pictures = pictures
        self._folder = folder
        self._per_stage = per_stage
        self._rows: list[list[Any]] = []
        self._keys: dict[str, int] = {}
        """Full keys of attempts."""
        self._parents: dict[int, tuple[str, ...]] = {}
        self._tables: dict[str, dict[Any, int]] = {name: {} for name in ("stages", "tasks", "outcomes")}
        self._chunks = Chunks(folder, "chunk")
        self.left_out: dict[Stage, int] = {}

    def add(self, stage: Stage, trajectories: Iterable[Trajectory]) -> None:
        """The attempts of one stage; those past `per_stage` are counted in `left_out`."""
        self._number("stages", str(stage))
        for position, trajectory in enumerate(trajectories):
            if position < self._per_stage:
                self._add(stage, trajectory)
            else:
                self.left_out[stage] = self.left_out.get(stage, 0) + 1

    def close(self) -> int:
        """Write what is left and the index; returns how many attempts there are."""
        self._chunks.flush()
        for row, keys in self._parents.items():
            self._rows[row][-1] = [self._keys[key] for key in keys if key in self._keys]
        tables = {name: list(table) for name, table in self._tables.items()}
        index = {**tables, "rows": self._rows, "starts": self._chunks.starts}
        write_call(self._folder / "index.js", "index", index)
        return len(self._rows)

    def _add(self, stage: Stage, t: Trajectory) -> None:
        number = len(self._rows)
        task = self._number("tasks", (t.task.id, task_type(t.task), clipped(t.goal)))
        kinds = self._number("stages", str(stage)), task, self._number("outcomes", t.outcome)
        self._rows.append([*kinds, len(t.steps), t.invalid_actions, t.sample, []])
        self._keys[stage.key(t.key)] = number
        if t.parents:
            self._parents[number] = t.parents
        self._chunks.add(_texts(t, [self._picture(step.picture) for step in t.steps]))

    def _picture(self, name: str) -> str:
        """Copy a picture into the report; empty where there is none any more."""
        if not (self._pictures and re.fullmatch(NAME, name) and (self._pictures / name).is_file()):
            return ""
        copy = self._folder / "pictures" / name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(self._pictures / name, copy)
        return name

    def _number(self, table: str, value: Any) -> int:
        return self._tables[table].setdefault(value, len(self._tables[table]))


class Chunks:
    """Writes values to `<name>-<n>.js`, about half a megabyte each, for a page to load when one is looked at."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._pending: list[str] = []
        self._bytes = 0
        self._count = 0
        self.starts: list[int] = []
        """Number of the first value of each file."""

    def add(self, value: Any) -> None:
        """One more value; written when enough have come together."""
        if not self._pending:
            self.starts.append(self._count)
        self._pending.append(_json(value))
        self._bytes += len(self._pending[-1])
        self._count += 1
        if self._bytes > CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        if self._pending:
            number = len(self.starts) - 1
            text = f"kintsugi.{self._name}({number}, [\n" + ",\n".join(self._pending) + "\n]);\n"
            (self._folder / f"{self._name}-{number}.js").write_text(text, encoding="ascii")
            self._pending, self._bytes = [], 0


def clipped(text: str) -> str:
    """`text`, or its beginning and end with a note of how much lies between."""
    if len(text) <= TEXT_HEAD + TEXT_TAIL:
        return text
    left_out = len(text) - TEXT_HEAD - TEXT_TAIL
    return f"{text[:TEXT_HEAD]}\n[… {left_out:,} characters are left out here; run.db has them …]\n{text[-TEXT_TAIL:]}"


def _texts(t: Trajectory, pictures: list[str]) -> dict[str, Any]:
    return {
        "model": t.model,
        "agent": t.agent,
        "source": t.source,
        "score": t.score,
        "seed": str(t.seed),
        "sampled": t.sampled_tokens,
        "read": t.prompt_tokens,
        "error": t.error and clipped(t.error),
        "params": _json(t.task.params),
        "reflection": t.reflection and _said(t.reflection),
        "steps": [[*step_texts(step), picture] for step, picture in zip(t.steps, pictures, strict=True)],
        "final": clipped(t.final_observation),
    }


def step_texts(step: Step) -> list[Any]:
    """What a page shows of a step: what was seen, thought, done and refused; reward; whether it is trained on."""
    texts = [text and clipped(text) for text in (step.observation, step.thought, step.action, step.invalid)]
    return [*texts, step.reward, step.trainable]


def _said(step: Step) -> str:
    return clipped(step.text or "\n".join(part for part in (step.thought, step.action) if part))


def _json(value: Any) -> str:
    """ASCII alone, so that neither the encoding of the page nor a lone surrogate can spoil it."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def write_call(path: Path, function: str, value: Any) -> None:
    """A script that hands `value` to the page."""
    path.write_text(f"kintsugi.{function}({_json(value)});\n", encoding="ascii")
