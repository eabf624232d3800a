"""The key/value cache of `Engine`: one row per conversation, with rows of different lengths.

Memory follows the work: rows are added when conversations need them, and all rows are as long as the longest one, with
a little room to grow.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.cache_utils import CacheLayerMixin

BLOCK = 64
"""Rows grow by a quarter, rounded up to so many tokens."""


def with_room(length: int) -> int:
    """Return the length of rows that hold `length` tokens."""
    return -(-length // BLOCK) * BLOCK


class WritePlan:
    """Rows and positions that the next forward pass writes; shared by all layers."""

    def __init__(self, slots: int, device: torch.device) -> None:
        self.slots, self.device = slots, device
        self.held = self.capacity = 0
        """Number of rows, and their length in tokens, that the layers hold after the pass."""
        self.rows = torch.zeros(0, dtype=torch.long)
        self.positions = torch.zeros(0, 0, dtype=torch.long)
        self.first: int | None = 0
        self.end = 0

    def set(self, rows: Sequence[int], starts: Sequence[int], width: int) -> None:
        """Plan to write `width` tokens to each of `rows`, from position `starts` on."""
        start = torch.tensor(starts)
        self.rows = torch.tensor(rows, device=self.device)
        self.positions = (start[:, None] + torch.arange(width)).to(self.device)
        self.end = max(starts) + width
        self.first = rows[0] if list(rows) == list(range(rows[0], rows[0] + len(rows))) else None
        self.hold(max(rows) + 1, self.end)

    def hold(self, rows: int, length: int) -> None:
        """Plan to hold at least `rows` rows of `length` tokens."""
        if rows > self.held:
            self.held = max(rows, min(self.slots, self.held * 5 // 4))
        if length > self.capacity:
            self.capacity = with_room(max(length, self.capacity * 5 // 4))

    def release(self) -> None:
        """Plan to hold nothing."""
        self.held = self.capacity = 0


class RaggedLayer(CacheLayerMixin):
    """Keys and values of one layer, [rows, heads, length, dim]. `plan` gives the positions to write next."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, plan: WritePlan) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.plan = plan

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make empty tensors like these, [rows, heads, length, dim]."""
        self.keys, self.values = (x.new_zeros(0, x.shape[1], 0, x.shape[3]) for x in (key_states, value_states))
        self.is_initialized = True

    def resize(self) -> None:
        """Add rows and room for tokens as planned."""
        self.keys, self.values = _with_room(self.keys, self.plan), _with_room(self.values, self.plan)

    def release(self) -> None:
        """Free the memory."""
        if self.is_initialized:
            self.keys, self.values = (x[:0, :, :0].clone() for x in (self.keys, self.values))

    @property
    def bytes_per_token(self) -> int:
        """Memory of the keys and values of one token; 0 before the first pass."""
        tensors = (self.keys, self.values) if self.is_initialized else ()
        return sum(int(x.shape[1] * x.shape[3] * x.element_size()) for x in tensors)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new keys and values, [rows of the pass, heads, width, dim]; return those of the rows up to the end."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.resize()
        plan = self.plan
        at = (plan.rows[:, None], slice(None), plan.positions)
        self.keys[at] = key_states.transpose(1, 2)
        self.values[at] = value_states.transpose(1, 2)
        rows: Any = plan.rows if plan.first is None else slice(plan.first, plan.first + len(plan.rows))
        return self.keys[rows, :, : plan.end], self.values[rows, :, : plan.end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys, and the position of the first."""
        return self.plan.end, 0

    def get_seq_length(self) -> int:
        """Return the number of keys."""
        return self.plan.end

    def get_max_length(self) -> int:
        """Return -1: there is no limit."""
        return -1


def _with_room(tensor: torch.Tensor, plan: WritePlan) -> torch.Tensor:
    """Return the tensor, [rows, heads, length, dim], with at least as many rows and tokens as planned."""
    rows, heads, length, dim = tensor.shape
    if rows >= plan.held and length >= plan.capacity:
        return tensor
    grown = tensor.new_zeros(plan.held, heads, plan.capacity, dim)
    grown[:rows, :, :length] = tensor
    return grown


def free_memory(device: torch.device) -> int:
    """Return the bytes that a program may still take: on the GPU, or of this machine and its control group."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if available := fields.get("MemAvailable", "").split():
            limits = [1024 * int(available[0])]
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            limits.append(int(Path(most).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):
            # There is no such group, or it has no limit ("max").
            continue
    return max(0, min(limits))
