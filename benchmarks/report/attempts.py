"""Write the attempts of a run as `.js` files that a page opened from disk can load in parts.

A page from `file://` may not fetch files, but it may load scripts. `data/index.js` holds a few bytes per attempt for
the list. The texts are in `data/chunk-<n>.js`, about half a megabyte each, loaded when an attempt is selected.
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
"""Size after which a new file of texts is started."""
TEXT_HEAD, TEXT_TAIL = 4_500, 1_500
"""Characters kept of the beginning and the end of a text that is too long."""
PER_STAGE = 10_000
"""Maximum number of attempts shown per stage; scores use all of them."""


class AttemptFiles:
    """Writes the folder `data/` of a report; only one chunk and the index are held in memory."""

    def __init__(self, folder: Path, per_stage: int = PER_STAGE, pictures: Path | None = None) -> None:
        """Create the folder.

        Args:
            folder: Folder to write to.
            per_stage: Maximum number of attempts shown per stage.
            pictures: The run's folder of screenshots; those of shown attempts are copied. None copies none.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._pictures = pictures
        self._folder = folder
        self._per_stage = per_stage
        self._rows: list[list[Any]] = []
        self._keys: dict[str, int] = {}
        """Row of each attempt, by its full key."""
        self._parents: dict[int, tuple[str, ...]] = {}
        self._tables: dict[str, dict[Any, int]] = {name: {} for name in ("stages", "tasks", "outcomes")}
        self._chunks = Chunks(folder, "chunk")
        self.left_out: dict[Stage, int] = {}

    def add(self, stage: Stage, trajectories: Iterable[Trajectory]) -> None:
        """Add the attempts of one stage; attempts beyond `per_stage` are only counted, in `left_out`."""
        self._number("stages", str(stage))
        for position, trajectory in enumerate(trajectories):
            if position < self._per_stage:
                self._add(stage, trajectory)
            else:
                self.left_out[stage] = self.left_out.get(stage, 0) + 1

    def close(self) -> int:
        """Write the last chunk and the index, and return the number of attempts."""
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
        """Copy a screenshot into the report and return its name; empty if the file no longer exists."""
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
    """Writes values to files `<name>-<n>.js` of about half a megabyte, which a page loads on demand."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._pending: list[str] = []
        self._bytes = 0
        self._count = 0
        self.starts: list[int] = []
        """Index of the first value in each file."""

    def add(self, value: Any) -> None:
        """Add a value; a file is written when it is large enough."""
        if not self._pending:
            self.starts.append(self._count)
        self._pending.append(_json(value))
        self._bytes += len(self._pending[-1])
        self._count += 1
        if self._bytes > CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the pending values to a file."""
        if self._pending:
            number = len(self.starts) - 1
            text = f"kintsugi.{self._name}({number}, [\n" + ",\n".join(self._pending) + "\n]);\n"
            (self._folder / f"{self._name}-{number}.js").write_text(text, encoding="ascii")
            self._pending, self._bytes = [], 0


def clipped(text: str) -> str:
    """Return `text`, or its beginning and end with the number of characters omitted between them."""
    if len(text) <= TEXT_HEAD + TEXT_TAIL:
        return text
    left_out = len(text) - TEXT_HEAD - TEXT_TAIL
    return f"{text[:TEXT_HEAD]}\n[… {left_out:,} characters omitted; run.db has the full text …]\n{text[-TEXT_TAIL:]}"


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
        "reflection": t.reflection and _turn(t.reflection),
        "steps": [[*step_texts(step), picture] for step, picture in zip(t.steps, pictures, strict=True)],
        "final": clipped(t.final_observation),
    }


def step_texts(step: Step) -> list[Any]:
    """Return a step for a page: observation, thought, action, refusal, reward, and whether it is trained on."""
    texts = [text and clipped(text) for text in (step.observation, step.thought, step.action, step.invalid)]
    return [*texts, step.reward, step.trainable]


def _turn(step: Step) -> str:
    return clipped(step.text or "\n".join(part for part in (step.thought, step.action) if part))


def _json(value: Any) -> str:
    """Encode as ASCII, so that the page's encoding and lone surrogates cannot corrupt it."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def write_call(path: Path, function: str, value: Any) -> None:
    """Write a script that passes `value` to a function of the page."""
    path.write_text(f"kintsugi.{function}({_json(value)});\n", encoding="ascii")
