"""Batched decoding with a key/value cache that outlives the call: a growing conversation is only ever read once.

Rows of the cache are slots. Each holds the tokens of one conversation; a request takes the slot whose tokens are its
longest prefix (ending at a turn) and feeds only the rest. Rows have different lengths, so every forward pass gets the
positions and a mask of its own; `Engine` proves at start that the model follows them, and otherwise keeps no cache.

Matrix products round differently in batches of different shapes, so that about one draw in a million would fall
otherwise beside other requests. An exact engine sees which draws are that close, and settles them by reading the text
alone.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from .core import Sampling
from .networks import causal_masks, head_logits
from .slots import SlotTable

PREFILL_TOKENS = 8192
"""Tokens, padding included, of one forward pass over prompts."""


ROUNDING = 64
"""Logits of one text in different batches differ by less than so many units in the last place of the largest: about
ten times what was measured in float32."""
DENSE = 4
"""A batch is run as a range of slots while the range has at most so many slots for each row of the batch."""


@dataclass
class Request:
    """One completion to make."""

    ids: list[int]
    """The prompt."""
    turn_ends: list[int]
    """Lengths of `ids` at which turns that were sampled before may end: where a cached prefix is looked for."""
    sampling: Sampling
    opening: int = 0
    """How many tokens at the end of the prompt are the turn's own."""
    choices: dict[int, Any] | None = None
    """Trie of the token sequences allowed next: token id to sub-trie; None allows all."""
    watch: Callable[[Request], bool] | None = None
    """Called after each token; True ends the completion. May set `choices`."""
    out: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: Literal["stop", "length"] = "length"


class _RaggedLayer(CacheLayerMixin):
    """One layer's keys and values, [slots, heads, length, dim]; `plan` says where the next ones go."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.plan = plan

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        def empty(like: torch.Tensor) -> torch.Tensor:
            return torch.zeros(
                self.plan.slots, like.shape[1], self.plan.capacity, like.shape[3], dtype=like.dtype, device=like.device
            )

        self.keys, self.values = empty(key_states), empty(value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        plan = self.plan
        if plan.capacity > self.keys.shape[2]:
            self.keys, self.values = _grown(self.keys, plan.capacity), _grown(self.values, plan.capacity)
        at = (plan.rows[:, None], slice(None), plan.positions)
        self.keys[at] = key_states.transpose(1, 2)
        self.values[at] = value_states.transpose(1, 2)
        if plan.first is not None:
            rows = slice(plan.first, plan.first + len(plan.rows))
            return self.keys[rows, :, : plan.end], self.values[rows, :, : plan.end]
        return self.keys[plan.rows, :, : plan.end], self.values[plan.rows, :, : plan.end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.plan.end, 0

    def get_seq_length(self) -> int:
        return self.plan.end

    def get_max_length(self) -> int:
        return -1


def _grown(tensor: torch.Tensor, capacity: int) -> torch.Tensor:
    slots, heads, length, dim = tensor.shape
    grown = torch.zeros(slots, heads, capacity, dim, dtype=tensor.dtype, device=tensor.device)
    grown[:, :, :length] = tensor
    return grown


class _Plan:
    """Where the next forward pass writes: shared by all layers."""

    def __init__(self, slots: int, capacity: int, device: torch.device) -> None:
        self.slots, self.capacity, self.device = slots, capacity, device
        self.rows = torch.zeros(0, dtype=torch.long)
        self.positions = torch.zeros(0, 0, dtype=torch.long)
        self.first: int | None = 0
        self.end = 0

    def set(self, rows: Sequence[int], starts: Sequence[int], width: int) -> None:
        """The next pass writes `width` tokens of each of `rows` from `starts` on."""
        start = torch.tensor(starts)
        self.rows = torch.tensor(rows, device=self.device)
        self.positions = (start[:, None] + torch.arange(width)).to(self.device)
        self.end = max(starts) + width
        self.first = rows[0] if list(rows) == list(range(rows[0], rows[0] + len(rows))) else None
        while self.capacity < self.end:
            self.capacity *= 2


class Engine:
    """Decodes batches of requests on one model. Not thread-safe; one call at a time."""

    def __init__(
        self,
        model: Any,
        eos_ids: frozenset[int],
        slots: int = 128,
        pad_id: int = 0,
        *,
        exact: bool = False,
        prefill_tokens: int = PREFILL_TOKENS,
        rounding: float = ROUNDING,
    ) -> None:
        """`prefill_tokens` and `rounding` are as `PREFILL_TOKENS` and `ROUNDING` say."""
        # Two rows at least: with one, nothing could be proved about rows of different lengths.
        self.model, self.eos_ids, self.slots, self.pad_id = model, eos_ids, max(2, slots), pad_id
        self.device = next(model.parameters()).device
        self.prefill_tokens, self.rounding = prefill_tokens, rounding
        self.exact = exact
        """Whether tokens do not depend on what else is in the batch (their log-probabilities may, by rounding)."""
        self._config = model.config.get_text_config()
        self._plan = _Plan(self.slots, 512, self.device)
        self._cache: Any = Cache(layers=[_RaggedLayer(self._plan) for _ in range(self._config.num_hidden_layers)])
        takes = inspect.signature(type(model.base_model).forward).parameters
        # The argument was renamed in Transformers 5.24.
        self._cache_argument = "cache" if "cache" in takes else "past_key_values"
        self._table = SlotTable(self.slots)
        self.reuse = self._follows_positions()
        """Whether conversations are kept in the cache between calls."""

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> None:
        """Fill in `out`, `logprobs` and `finish` of every request."""
        for first in range(0, len(requests), self.slots):
            chunk = requests[first : first + self.slots]
            try:
                places, copies = self._table.assign(chunk, self.reuse)
                for source, target, length in copies:
                    self._copy(source, target, length)
                order = sorted(range(len(chunk)), key=lambda i: places[i][0])
                ordered = [chunk[i] for i in order]
                rows = [places[i][0] for i in order]
                logits = self._prefill(ordered, rows, [places[i][1] for i in order])
                self._decode(ordered, rows, logits)
            except BaseException:
                self.forget()
                raise
            for request, row in zip(ordered, rows, strict=True):
                self._table.remember(row, request.ids + request.out)

    def forget(self) -> None:
        """Start anew: no conversation is found in the cache."""
        self._table = SlotTable(self.slots)

    def _copy(self, source: int, target: int, length: int) -> None:
        for layer in self._cache.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    # -- forward passes -------------------------------------------------------------------------------------------

    def _forward(
        self, rows: Sequence[int], starts: Sequence[int], ids: torch.Tensor, last: torch.Tensor
    ) -> torch.Tensor:
        """Logits [rows, vocabulary] in float32 after each row's token number `last`."""
        if not self.reuse:
            return self._forward_plain(ids, last)
        self._plan.set(rows, starts, ids.shape[1])
        positions = self._plan.positions
        # Padding may lie behind the last position that a model with a table of positions has.
        last_position = getattr(self._config, "max_position_embeddings", None) or 1 << 30
        hidden = self.model.base_model(
            input_ids=ids.to(self.device),
            attention_mask=causal_masks(self._config, positions, self._plan.end, self.model.dtype),
            position_ids=positions.clamp(max=last_position - 1),
            use_cache=True,
            **{self._cache_argument: self._cache},
        ).last_hidden_state
        chosen = hidden[torch.arange(len(rows), device=self.device), last.to(self.device)]
        return head_logits(self.model, chosen)

    def _forward_plain(self, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """The same for models that do not follow positions: the whole texts (padded right), no cache."""
        logits: torch.Tensor = self.model(input_ids=ids.to(self.device), use_cache=False).logits
        return logits[torch.arange(len(ids), device=self.device), last.to(self.device)].float()

    def _prefill(self, requests: Sequence[Request], rows: Sequence[int], starts: Sequence[int]) -> torch.Tensor:
        """Feed what each slot lacks of its prompt; prompts of like length go together."""
        waiting = [request.ids[start:] for request, start in zip(requests, starts, strict=True)]
        out: dict[int, torch.Tensor] = {}
        todo = sorted(range(len(requests)), key=lambda i: len(waiting[i]))
        while todo:
            width = len(waiting[todo[-1]])
            size = max(1, self.prefill_tokens // width)
            batch, todo = sorted(todo[-size:]), todo[:-size]
            ids = torch.full((len(batch), width), self.pad_id)
            for row, i in enumerate(batch):
                ids[row, : len(waiting[i])] = torch.tensor(waiting[i])
            last = torch.tensor([len(waiting[i]) - 1 for i in batch])
            logits = self._forward([rows[i] for i in batch], [starts[i] for i in batch], ids, last)
            out.update(zip(batch, logits, strict=True))
        return torch.stack([out[i] for i in range(len(requests))])

    def _decode(self, requests: Sequence[Request], rows: Sequence[int], logits: torch.Tensor) -> None:
        """One token a pass for all rows that are not done."""
        uniform = [random.Random(request.sampling.seed).random for request in requests]
        live = list(range(len(requests)))
        while True:
            tokens, logprobs = self._sample([requests[i] for i in live], logits, [uniform[i]() for i in live])
            done = [
                _take(requests[i], token, logprob, self.eos_ids)
                for i, token, logprob in zip(live, tokens, logprobs, strict=True)
            ]
            live = [i for i, ended in zip(live, done, strict=True) if not ended]
            if not live:
                return
            if self.reuse:
                logits = self._next(requests, rows, live)
            else:
                texts = [replace(requests[i], ids=requests[i].ids + requests[i].out) for i in live]
                logits = self._prefill(texts, [0] * len(live), [0] * len(live))

    def _next(self, requests: Sequence[Request], rows: Sequence[int], live: Sequence[int]) -> torch.Tensor:
        """Feed each live row its last token. A dense enough batch runs as a whole range of slots: no keys are copied.

        Rows of the range that are done are fed their last token too, slots that are not in the batch padding behind
        what they hold: either is overwritten when it is really fed.
        """
        first, width = rows[live[0]], rows[live[-1]] - rows[live[0]] + 1
        ranged = list(range(first, first + width)) if width <= DENSE * len(live) else [rows[i] for i in live]
        last = {row: (r.out[-1], len(r.ids) + len(r.out) - 1) for row, r in zip(rows, requests, strict=True)}
        fed = [last.get(row) or (self.pad_id, self._table.length(row)) for row in ranged]
        ids = torch.tensor([[token] for token, _ in fed])
        logits = self._forward(ranged, [start for _, start in fed], ids, torch.zeros(len(ranged), dtype=torch.long))
        return logits if len(ranged) == len(live) else logits[[rows[i] - first for i in live]]

    def _sample(
        self, requests: Sequence[Request], logits: torch.Tensor, uniform: Sequence[float]
    ) -> tuple[list[int], list[float]]:
        """A token for each row, and its log-probability."""
        token, logprob, close = self._draw(requests, logits, uniform)
        for row in close.nonzero()[:, 0].tolist() if self.exact else ():
            text = requests[row].ids + requests[row].out
            alone = self._forward_plain(torch.tensor([text]), torch.tensor([len(text) - 1]))
            token[row], logprob[row], _ = (part[0] for part in self._draw([requests[row]], alone, [uniform[row]]))
        return token.tolist(), logprob.tolist()

    def _draw(
        self, requests: Sequence[Request], logits: torch.Tensor, uniform: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[rows] tokens, log-probabilities, and whether rounding might have led to another token."""
        raw = torch.log_softmax(logits, dim=-1)
        allowed = logits
        if any(request.choices is not None for request in requests):
            allowed = logits.clone()
            for row, request in enumerate(requests):
                if request.choices is not None:
                    keep = torch.tensor(sorted(request.choices), device=logits.device)
                    allowed[row] = torch.full_like(logits[row], -torch.inf).index_copy(0, keep, logits[row, keep])
        temperature = torch.tensor(
            [max(request.sampling.temperature, 1e-6) for request in requests], device=logits.device
        )
        mass = torch.softmax(allowed / temperature[:, None], dim=-1, dtype=torch.float64).cumsum(-1)
        point = torch.tensor(uniform, dtype=torch.float64, device=logits.device) * mass[:, -1]
        drawn = torch.searchsorted(mass, point[:, None], right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)
        greedy = torch.tensor([request.sampling.temperature == 0 for request in requests], device=logits.device)
        best, second = allowed.topk(2).values.unbind(-1)
        token = torch.where(greedy, allowed.argmax(-1), drawn)
        rounding = self.rounding * torch.finfo(self.model.dtype).eps * raw.abs().amax(-1)
        ends = torch.stack([drawn - 1, drawn], -1)
        margin = (mass.gather(-1, ends.clamp(min=0)) * (ends >= 0) - point[:, None]).abs().amin(-1)
        close = torch.where(greedy, best - second < 2 * rounding, margin < rounding / temperature)
        return token, raw.gather(-1, token[:, None])[:, 0], close

    # -- does the model follow? -----------------------------------------------------------------------------------

    @torch.inference_mode()
    def _follows_positions(self) -> bool:
        """Whether reading a text in two uneven parts, beside another, gives the logits of reading it whole."""
        generator = random.Random(0)
        texts = [[generator.randrange(self._config.vocab_size) for _ in range(length)] for length in (9, 6)]
        self.reuse = True
        # Attention to a sliding window is tried with one that is shorter than the texts.
        window = getattr(self._config, "sliding_window", None)
        try:
            if window is not None:
                self._config.sliding_window = 3
            self._forward([1, 0], [0, 0], torch.tensor([texts[0][:4], texts[1][:4]]), torch.tensor([3, 3]))
            rest = torch.tensor([texts[0][4:], texts[1][4:] + [self.pad_id] * 3])
            split = self._forward([1, 0], [4, 4], rest, torch.tensor([4, 1]))
            whole = [self._forward_plain(torch.tensor([text]), torch.tensor([len(text) - 1]))[0] for text in texts]
        except Exception:  # any failure of a foreign model here means the same: it cannot be driven this way
            return False
        finally:
            if window is not None:
                self._config.sliding_window = window
        return all(_agree(ours, theirs, self.model.dtype) for ours, theirs in zip(split, whole, strict=True))


def _agree(ours: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether two logit vectors [vocabulary] are equal up to rounding in `dtype`."""
    spread = float((theirs - theirs.mean()).abs().max())
    return float((ours - theirs).abs().max()) <= max(1e-3, 16 * torch.finfo(dtype).eps) * spread


def _take(request: Request, token: int, logprob: float, eos_ids: frozenset[int]) -> bool:
    """Append a token; True when the request is complete."""
    request.out.append(token)
    request.logprobs.append(logprob)
    if request.choices is not None:
        request.choices = request.choices[token]
    if token in eos_ids or (request.watch is not None and request.watch(request)):
        request.finish = "stop"
        return True
    return len(request.out) >= request.sampling.max_tokens
