"""`TableLearner`: stores training data in a lookup table, so that loops can be tested with scripted models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...agents.models.core import MANIFEST
from ...agents.models.scripted import TABLE, chat_key, read_table
from ...errors import UsageError
from .core import Example, FitConfig, FitResult, Objective, Progress, ValueExample


class TableLearner:
    """A `Learner` whose adapters map a chat to its last trained answer and to the mean of its labels."""

    def __init__(self) -> None:
        self.fitted: dict[str, list[Any]] = {}
        """Examples of each fit, by adapter name."""
        self.configs: dict[str, FitConfig] = {}
        """Configuration of each fit, by adapter name."""
        self.starts: dict[str, str | None] = {}
        """Name of the adapter that each fit continued from, by adapter name."""

    def fit(
        self,
        examples: Sequence[Any],
        out: Path,
        *,
        name: str,
        config: FitConfig,
        objective: Objective[Any, Any] | None = None,
        start: Path | None = None,
        progress: Progress = lambda share: None,
    ) -> FitResult:
        """Write a table; see `Learner.fit`.

        The objective is ignored: an `Example` adds answers, a `ValueExample` adds a value.
        """
        if not examples:
            raise UsageError(
                f"nothing to train {name!r} on: no example was collected; sample more attempts or easier tasks"
            )
        answers, values = read_table(start) if start else ({}, {})
        labels: dict[str, list[float]] = {}
        turns = 0
        for number, example in enumerate(examples):
            if isinstance(example, ValueExample):
                labels.setdefault(chat_key(example.messages), []).append(example.label)
            elif isinstance(example, Example):
                trained = [i for i, m in enumerate(example.messages) if m.role == "assistant" and m.trainable]
                if not trained or example.weight <= 0:
                    raise UsageError(f"example {number} has no turn to train on; mark one assistant turn as trainable")
                answers |= {chat_key(example.messages[:i]): example.messages[i].content for i in trained}
                turns += len(trained)
            else:
                raise UsageError(f"example {number} is {example!r:.80}; expected an Example or a ValueExample")
            progress((number + 1) / len(examples))
        values |= {key: sum(chat_labels) / len(chat_labels) for key, chat_labels in labels.items()}
        table = json.dumps({"turns": answers, "values": values}, indent=1, sort_keys=True)
        (out / TABLE).write_text(table + "\n", encoding="utf-8")
        self.fitted[name], self.configs[name] = list(examples), config
        self.starts[name] = start.name if start else None
        result = FitResult(examples=len(examples), trained_tokens=turns, steps=config.steps or len(examples))
        (out / MANIFEST).write_text(json.dumps({"name": name, "result": asdict(result)}, sort_keys=True) + "\n")
        return result
