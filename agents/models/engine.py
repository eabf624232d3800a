"""Batched decoding with a key/value cache that persists between calls, so that a growing chat is read only once.

The rows of the cache are slots. Each slot holds the tokens of one conversation. A request gets the slot that holds its
longest prefix (ending at a turn) and feeds only the remaining tokens. Rows have different lengths, so every forward
pass passes its own positions and mask. `Engine` tests at start whether the model follows them, and disables the cache
if not.

Matrix products round differently in batches of different shapes, which changes about one sampled token in a million.
With `exact=True`, the engine detects samples that rounding could change and repeats each alone, without a batch.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from transformers import Cache

from ...errors import UsageError
from .core import Sampling
from .folder_checks import not_finite
from .kv_cache import RaggedLayer, WritePlan, with_room
from .networks import causal_masks, head_logits
from .slots import Assignment, SlotTable

PREFILL_TOKENS = 8192
"""Maximum number of tokens, padding included, in one forward pass over prompts."""
ROUNDING = 64
"""Bound on the difference between logits of one text in different batches, in units of machine epsilon times the
largest absolute log-probability. About ten times the difference measured in float32."""
DENSE = 2
"""A batch runs as a contiguous range of slots if the range has at most this many slots for each row of the batch."""


@dataclass
class Request:
    """One completion to sample, and its result."""

    ids: list[int]
    """The prompt."""
    turn_ends: list[int]
    """Positions in `ids` where earlier sampled turns end; cached prefixes are looked up there."""
    sampling: Sampling
    prefix_length: int = 0
    """Number of tokens at the end of the prompt that belong to the continued turn."""
    choices: dict[int, Any] | None = None
    """Trie of the allowed token sequences (token id to subtrie); None allows all."""
    on_token: Callable[[Request], bool] | None = None
    """Called after each token; ends the completion by returning True. It may set `choices`."""
    out: list[int] = field(default_factory=list)
    """Sampled tokens."""
    logprobs: list[float] = field(default_factory=list)
    """Log-probability (nats) of each sampled token, at temperature 1 and without constraints."""
    finish: Literal["stop", "length"] = "length"


class Engine:
    """Decodes batches of requests with one model. Not thread-safe."""

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
        memory: int | None = None,
        name: str = "the model",
    ) -> None:
        """Create the engine.

        Args:
            model: A Hugging Face causal language model.
            eos_ids: Tokens that end a completion.
            slots: Number of conversations in the cache.
            pad_id: Padding token.
            exact: Whether sampled tokens must not depend on the other requests in a batch.
            prefill_tokens: See `PREFILL_TOKENS`.
            rounding: See `ROUNDING`.
            memory: Bytes that the cache may take; None for any number.
            name: Name of the model for error messages.
        """
        # The test of `_follows_positions` needs two rows.
        self.model, self.eos_ids, self.most_slots, self.pad_id = model, eos_ids, max(2, slots), pad_id
        self.slots, self.memory = self.most_slots, memory
        self.device = next(model.parameters()).device
        self.prefill_tokens, self.rounding = prefill_tokens, rounding
        self.exact, self.name = exact, name
        """Whether sampled tokens are independent of the batch. Log-probabilities may still differ by rounding."""
        self._config = model.config.get_text_config()
        self._plan = WritePlan(self.slots, self.device)
        self._layers = [RaggedLayer(self._plan) for _ in range(self._config.num_hidden_layers)]
        self._cache = Cache(layers=list(self._layers))
        parameters = inspect.signature(type(model.base_model).forward).parameters
        # Transformers before 5.24 calls this argument `past_key_values`.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._table = SlotTable(self.slots)
        self.reuse = self._follows_positions()
        """Whether the cache keeps conversations between calls."""

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> None:
        """Decode all requests and set their `out`, `logprobs` and `finish`.

        Raises:
            UsageError: If the model's outputs are not finite.
        """
        for first in range(0, len(requests), self.slots):
            chunk = requests[first : first + self.slots]
            try:
                assigned = self._table.assign(chunk, self.reuse)
                self._rearrange(assigned)
                order = sorted(range(len(chunk)), key=lambda i: assigned.places[i])
                ordered = [chunk[i] for i in order]
                rows, starts = zip(*(assigned.places[i] for i in order), strict=True)
                logits = self._prefill(ordered, rows, starts)
                self._decode(ordered, rows, logits)
            except BaseException:
                self.forget()
                raise
            for request, row in zip(ordered, rows, strict=True):
                self._table.remember(row, request.ids + request.out)

    def choose(self, requests: Sequence[Request]) -> list[int]:
        """Return which requests to decode now, by index: as many as the memory has room for, but at least one.

        Conversations in the cache come first, so that they end and make room for others.
        """
        per_token = sum(layer.bytes_per_token for layer in self._layers)
        if self.memory is None or not self.reuse or not per_token:
            return list(range(len(requests)))
        chosen, longest = list[int](), self._plan.capacity
        for i in sorted(range(len(requests)), key=lambda i: not self._table.is_cached(requests[i])):
            length = max(longest, with_room(len(requests[i].ids) + requests[i].sampling.max_tokens))
            if chosen and (len(chosen) + 1) * length * per_token > self.memory:
                break
            chosen, longest = [*chosen, i], length
        self._limit_slots(self.memory // (longest * per_token), longest)
        return sorted(chosen)

    def _limit_slots(self, slots: int, length: int) -> None:
        """Use no more than so many slots of this length."""
        if slots < 1:
            raise UsageError(
                f"no memory is left: the cache of a conversation of {length} tokens does not fit into "
                f"{(self.memory or 0) / 1e9:.2f} GB; allow more with --cache-gb, or choose a smaller model or shorter "
                "episodes"
            )
        if slots < self.slots:
            if self._plan.held > slots:
                # Conversations that stay are read again, once.
                self.forget()
            self.slots = slots
            self._table.shrink(slots)

    def forget(self) -> None:
        """Clear the cache."""
        self.slots = self.most_slots
        self._table = SlotTable(self.slots)
        self._plan.release()
        for layer in self._layers:
            layer.release()

    def _rearrange(self, assigned: Assignment) -> None:
        """Copy and exchange keys and values between slots."""
        moves = [*assigned.copies, *assigned.exchanges] if self.reuse else []
        if moves:
            self._plan.hold(1 + max(slot for move in moves for slot in move[:2]), max(move[2] for move in moves))
        for layer in self._layers if moves else ():
            layer.resize()
            for tensor in (layer.keys, layer.values):
                for source, target, length in assigned.copies:
                    tensor[target, :, :length] = tensor[source, :, :length]
                for a, b, length in assigned.exchanges:
                    tensor[[a, b], :, :length] = tensor[[b, a], :, :length]

    # -- Forward passes -------------------------------------------------------------------------------------------

    def _forward(
        self, rows: Sequence[int], starts: Sequence[int], ids: torch.Tensor, last: torch.Tensor
    ) -> torch.Tensor:
        """Return float32 logits [rows, vocabulary] after the token with index `last` in each row of `ids`."""
        if not self.reuse:
            return self._forward_uncached(ids, last)
        self._plan.set(rows, starts, ids.shape[1])
        positions = self._plan.positions
        # Padding may exceed the last position of a model with learned positions.
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

    def _forward_uncached(self, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return the same logits without the cache. Rows of `ids` are whole texts, padded on the right."""
        logits: torch.Tensor = self.model(input_ids=ids.to(self.device), use_cache=False).logits
        return logits[torch.arange(len(ids), device=self.device), last.to(self.device)].float()

    def _prefill(self, requests: Sequence[Request], rows: Sequence[int], starts: Sequence[int]) -> torch.Tensor:
        """Feed the uncached rest of each prompt, batched by length. Return the logits after the prompts."""
        unread = [request.ids[start:] for request, start in zip(requests, starts, strict=True)]
        out: dict[int, torch.Tensor] = {}
        remaining = sorted(range(len(requests)), key=lambda i: len(unread[i]))
        while remaining:
            width = len(unread[remaining[-1]])
            size = max(1, self.prefill_tokens // width)
            batch, remaining = sorted(remaining[-size:]), remaining[:-size]
            ids = torch.full((len(batch), width), self.pad_id)
            for row, i in enumerate(batch):
                ids[row, : len(unread[i])] = torch.tensor(unread[i])
            last = torch.tensor([len(unread[i]) - 1 for i in batch])
            logits = self._forward([rows[i] for i in batch], [starts[i] for i in batch], ids, last)
            out.update(zip(batch, logits, strict=True))
        return torch.stack([out[i] for i in range(len(requests))])

    def _decode(self, requests: Sequence[Request], rows: Sequence[int], logits: torch.Tensor) -> None:
        """Sample one token per forward pass for all unfinished requests."""
        uniform = [random.Random(request.sampling.seed).random for request in requests]
        active = list(range(len(requests)))
        while True:
            tokens, logprobs = self._sample([requests[i] for i in active], logits, [uniform[i]() for i in active])
            done = [
                _append_token(requests[i], token, logprob, self.eos_ids)
                for i, token, logprob in zip(active, tokens, logprobs, strict=True)
            ]
            active = [i for i, ended in zip(active, done, strict=True) if not ended]
            if not active:
                return
            if self.reuse:
                logits = self._next_logits(requests, rows, active)
            else:
                texts = [replace(requests[i], ids=requests[i].ids + requests[i].out) for i in active]
                logits = self._prefill(texts, [0] * len(active), [0] * len(active))

    def _next_logits(self, requests: Sequence[Request], rows: Sequence[int], active: Sequence[int]) -> torch.Tensor:
        """Feed the last token of each active row and return the next logits.

        A dense batch runs on a contiguous range of slots, which avoids copying keys and values. The range may contain
        finished rows, which are fed their last token again.
        """
        first, width = rows[active[0]], rows[active[-1]] - rows[active[0]] + 1
        fed_rows = list(range(first, first + width)) if width <= DENSE * len(active) else [rows[i] for i in active]
        last = {row: (r.out[-1], len(r.ids) + len(r.out) - 1) for row, r in zip(rows, requests, strict=True)}
        inputs = [last[row] for row in fed_rows]
        ids = torch.tensor([[token] for token, _ in inputs])
        logits = self._forward(
            fed_rows, [start for _, start in inputs], ids, torch.zeros(len(fed_rows), dtype=torch.long)
        )
        return logits if len(fed_rows) == len(active) else logits[[rows[i] - first for i in active]]

    def _sample(
        self, requests: Sequence[Request], logits: torch.Tensor, uniform: Sequence[float]
    ) -> tuple[list[int], list[float]]:
        """Return a sampled token and its log-probability for each row."""
        token, logprob, close = self._draw(requests, logits, uniform)
        for row in close.nonzero()[:, 0].tolist() if self.exact else ():
            text = requests[row].ids + requests[row].out
            alone = self._forward_uncached(torch.tensor([text]), torch.tensor([len(text) - 1]))
            token[row], logprob[row], _ = (part[0] for part in self._draw([requests[row]], alone, [uniform[row]]))
        logprobs = logprob.tolist()
        # NaN or infinity among the logits of a row makes each of its log-probabilities NaN or infinite.
        if not all(map(math.isfinite, logprobs)):
            raise not_finite(self.name)
        return token.tolist(), logprobs

    def _draw(
        self, requests: Sequence[Request], logits: torch.Tensor, uniform: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return tokens, log-probabilities and whether rounding could have changed the token, each [rows]."""
        raw = torch.log_softmax(logits, dim=-1)
        allowed = logits
        if any(request.choices is not None for request in requests):
            allowed = logits.clone()
            for row, request in enumerate(requests):
                if request.choices is not None:
                    allowed_ids = torch.tensor(sorted(request.choices), device=logits.device)
                    allowed[row] = torch.full_like(logits[row], -torch.inf).index_copy(
                        0, allowed_ids, logits[row, allowed_ids]
                    )
        temperature = torch.tensor(
            [max(request.sampling.temperature, 1e-6) for request in requests], device=logits.device
        )
        probability = torch.softmax(allowed / temperature[:, None], dim=-1, dtype=torch.float64)
        truncated = [row for row, request in enumerate(requests) if request.sampling.is_truncated]
        for row in truncated:
            probability[row] = truncate(probability[row], requests[row].sampling)
        mass = probability.cumsum(-1)
        point = torch.tensor(uniform, dtype=torch.float64, device=logits.device) * mass[:, -1]
        drawn = torch.searchsorted(mass, point[:, None], right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)
        greedy = torch.tensor([request.sampling.temperature == 0 for request in requests], device=logits.device)
        best, second = allowed.topk(2).values.unbind(-1)
        token = torch.where(greedy, allowed.argmax(-1), drawn)
        rounding = self.rounding * torch.finfo(self.model.dtype).eps * raw.abs().amax(-1)
        ends = torch.stack([drawn - 1, drawn], -1)
        margin = (mass.gather(-1, ends.clamp(min=0)) * (ends >= 0) - point[:, None]).abs().amin(-1)
        # Rounding could also change which tokens are sampled among.
        margin[truncated] = 0.0
        close = torch.where(greedy, best - second < 2 * rounding, margin < rounding / temperature)
        return token, raw.gather(-1, token[:, None])[:, 0], close

    # -- Test of the model ----------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _follows_positions(self) -> bool:
        """Return whether two texts read in parts, with positions and masks, give the logits of reading them whole."""
        generator = random.Random(0)
        texts = [[generator.randrange(self._config.vocab_size) for _ in range(length)] for length in (9, 6)]
        self.reuse = True
        # A sliding window takes effect only if it is shorter than the texts.
        window = getattr(self._config, "sliding_window", None)
        try:
            if window is not None:
                self._config.sliding_window = 3
            self._forward([1, 0], [0, 0], torch.tensor([texts[0][:4], texts[1][:4]]), torch.tensor([3, 3]))
            rest = torch.tensor([texts[0][4:], texts[1][4:] + [self.pad_id] * 3])
            split = self._forward([1, 0], [4, 4], rest, torch.tensor([4, 1]))
            whole = [self._forward_uncached(torch.tensor([text]), torch.tensor([len(text) - 1]))[0] for text in texts]
        except Exception:  # the model may raise anything; any failure means that the cache cannot be used
            return False
        finally:
            if window is not None:
                self._config.sliding_window = window
        return all(
            _agree_up_to_rounding(actual, expected, self.model.dtype)
            for actual, expected in zip(split, whole, strict=True)
        )


def _agree_up_to_rounding(actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Return whether two logit vectors [vocabulary] are equal up to rounding in `dtype`."""
    spread = float((expected - expected.mean()).abs().max())
    return float((actual - expected).abs().max()) <= max(1e-3, 16 * torch.finfo(dtype).eps) * spread


def truncate(probability: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Return probabilities [vocabulary] with 0 for the tokens that top-k, top-p and min-p exclude, in this order.

    Each looks at the probabilities that the one before left, scaled to a sum of 1. The most likely token always stays.
    """
    values, order = probability.sort(descending=True, stable=True)
    if sampling.top_k:
        values[sampling.top_k :] = 0.0
    before = torch.cat([values.new_zeros(1), values.cumsum(0)[:-1]])
    values[before >= sampling.top_p * values.sum()] = 0.0
    values[values < sampling.min_p * values[0]] = 0.0
    return torch.zeros_like(probability).scatter_(0, order, values)


def _append_token(request: Request, token: int, logprob: float, eos_ids: frozenset[int]) -> bool:
    """Append a sampled token. Return whether the request is complete."""
    request.out.append(token)
    request.logprobs.append(logprob)
    if request.choices is not None:
        request.choices = request.choices[token]
    if token in eos_ids or (request.on_token is not None and request.on_token(request)):
        request.finish = "stop"
        return True
    return len(request.out) >= request.sampling.max_tokens
