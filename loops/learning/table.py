"""`TableLearner`: learns by heart, for scripted models: what a loop would train a network on becomes a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...agents.models.scripted import TABLE, chat_key, read_table
from ...errors import UsageError
from .core import Example, FitConfig, FitResult, Judgement, Objective, Progress


class TableLearner:
    """A `Learner` whose adapters are tables: chat to the answer that was learnt last, chat to the mean of its labels.

    `fitted` holds what each adapter was trained on and how, by name, so that tests can look.
    """

    def __init__(self) -> None:
        self.fitted: dict[str, list[Any]] = {}
        self.configs: dict[str, FitConfig] = {}
        self.starts: dict[str, str | None] = {}

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
        """See `Learner.fit`; whatever the objective, `Example`s are learnt as answers and `Judgement`s as values."""
        if not examples:
            raise UsageError(
                f"nothing to train {name!r} on: no example was collected; sample more attempts or easier tasks"
            )
        known, values = read_table(start) if start else ({}, {})
        labels: dict[str, list[float]] = {}
        turns = 0
        for number, example in enumerate(examples):
            if isinstance(example, Judgement):
                labels.setdefault(chat_key(example.messages), []).append(example.label)
            elif isinstance(example, Example):
                learnt = [i for i, m in enumerate(example.messages) if m.role == "assistant" and m.trainable]
                if not learnt or example.weight <= 0:
                    raise UsageError(f"example {number} has no turn to train on; mark one assistant turn as trainable")
                known |= {chat_key(example.messages[:i]): example.messages[i].content for i in learnt}
                turns += len(learnt)
            else:
                raise UsageError(f"example {number} is {example!r:.80}; a table learns Examples and Judgements")
            progress((number + 1) / len(examples))
        values |= {key: sum(found) / len(found) for key, found in labels.items()}
        table = json.dumps({"turns": known, "values": values}, indent=1, sort_keys=True)
        (out / TABLE).write_text(table + "\n", encoding="utf-8")
        self.fitted[name], self.configs[name] = list(examples), config
        self.starts[name] = start.name if start else None
        return FitResult(examples=len(examples), trained_tokens=turns, steps=1)
