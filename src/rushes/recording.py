"""Records signals while a prefill runs, and only what a scorer asked for."""

from collections.abc import Callable

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.models.base import Features, Prompt
from rushes.models.head import NOTHING, Head, Shown
from rushes.signals import Signal, Signals, States
from rushes.stats import Stopwatch

EARLY = "early"  # whose states these are, for a later request about the same video
ATTENTION = frozenset({Signal.TEXT_ATTENTION, Signal.LAYER_ATTENTION, Signal.VISUAL_ATTENTION})


def attention_rows(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Softmax attention of the last rows of a causal pass, without the other rows.

    Args:
        query: (1, heads, rows, D), rotated; the last `rows` of the sequence.
        key: (1, kv_heads, keys, D), rotated; keys >= rows.
        scaling: Factor on the products.

    Returns:
        (heads, rows, keys) fp32. Only these rows ever exist: O(rows * keys) memory instead of O(keys^2).
    """
    rows, keys = query.shape[2], key.shape[2]
    scores = _products(query, key, scaling)
    future = torch.ones(rows, keys, dtype=torch.bool, device=scores.device).triu(keys - rows + 1)
    return scores.masked_fill_(future, float("-inf")).softmax(-1)


def visual_attention_rows(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """(heads, rows, m) fp32 attention of text rows behind a video over its (1, kv_heads, m, D) keys alone."""
    return _products(query, key, scaling).softmax(-1)


def _products(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    _, heads, rows, size = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    folded = (query[0] * scaling).reshape(kv_heads, heads // kv_heads * rows, size)  # scaled first: fp16 overflows
    return (folded @ key[0].transpose(-1, -2)).float().view(heads, rows, keys)


class Recording:
    """Recorder of one prefill.

    Args:
        prompt: What is prefilled.
        needs: The signals to record.
        depth: Layers of the model.
        early_layer: Behind so many of them, for EARLY_STATES.
        rows_at_once: Bounds the memory: (heads, rows_at_once, keys) at a time, however long the question is.
    """

    def __init__(
        self,
        prompt: Prompt,
        needs: frozenset[Signal],
        early_layer: int = 0,
        depth: int = 1,
        rows_at_once: int = 64,
    ) -> None:
        self.needs = needs
        self._depth = depth
        self.early_layer = early_layer if Signal.EARLY_STATES in needs else 0
        self.rows_at_once = rows_at_once
        self.stopwatch = Stopwatch(prompt.embeds.device)  # what recording adds to the prefill
        self.layers = 0
        self.on_states: Callable[[], None] | None = None  # called once EARLY_STATES exist, inside the prefill
        self.head: Head = NOTHING  # what of the prompt is not read again; it ends before the rows that are looked at
        self._prompt = prompt
        self._rows = prompt.question_rows
        self._columns = prompt.video_columns
        # The columns as a slice where they are one: a view of the keys instead of a copy.
        first, last = (int(self._columns[0]), int(self._columns[-1]) + 1) if len(self._columns) else (0, 0)
        self._span = slice(first, last) if last - first == len(self._columns) else None
        self._by_layer: list[Tensor] = []
        zeros = torch.zeros(len(self._columns), device=prompt.embeds.device)
        self._sum, self._visual = zeros, zeros.clone()
        self._early: States | None = None

    @property
    def shown(self) -> dict[Shown, Tensor]:
        """The states of video tokens that it has kept."""
        return {} if self._early is None else {(EARLY, self.early_layer): self._early.video}

    @property
    def watches(self) -> bool:
        """Is there anything to look at while the prefill runs?"""
        return self._rows > 0 and bool(self.needs & (ATTENTION | {Signal.EARLY_STATES}))

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        if not self.needs & ATTENTION:
            return
        with self.stopwatch:
            self._attention(query, key, scaling)
        self.layers += 1

    def _attention(self, query: Tensor, key: Tensor, scaling: float) -> None:
        over_all = bool(self.needs & {Signal.TEXT_ATTENTION, Signal.LAYER_ATTENTION})
        total = torch.zeros_like(self._sum)
        video_key = self._take(key, 2) if Signal.VISUAL_ATTENTION in self.needs else None
        for start in range(query.shape[2] - self._rows, query.shape[2], self.rows_at_once):
            end = min(start + self.rows_at_once, query.shape[2])
            chunk = query[:, :, start:end]
            if over_all:
                seen = key[:, :, : key.shape[2] - query.shape[2] + end]  # causal: nothing behind the chunk
                rows = attention_rows(chunk, seen, scaling)
                total += self._take(rows.mean(0).sum(0), 0) / self._rows
            if video_key is not None:
                self._visual += visual_attention_rows(chunk, video_key, scaling).mean(0).sum(0) / self._rows
        self._sum += total
        if Signal.LAYER_ATTENTION in self.needs:
            self._by_layer.append(total)

    def states(self, hidden: Tensor) -> None:
        """Keep what EARLY_STATES is made of: the states behind `early_layer` layers, text and video."""
        with self.stopwatch:
            video = self.head.join((EARLY, self.early_layer), hidden, self._columns)
            self._early = States(video, hidden[len(hidden) - self._rows :].clone())
        if self.on_states is not None:
            self.on_states()

    def signals(self, features: Features) -> Signals:
        """What was asked for, after the prefill.

        Raises:
            RushesError: The model showed nothing of what was asked for.
        """
        self._refuse_what_is_missing(features)
        layers = max(1, self.layers)
        nothing = self._sum.new_zeros(self._depth, len(self._columns))
        early = None
        if self._early is not None:
            embeds = self._prompt.embeds
            before = States(self._take(embeds, 0).clone(), embeds[len(embeds) - self._rows :].clone())
            early = (before, self._early)
        return Signals(
            len(self._columns),
            self._prompt.grids,
            text_attention=self._sum / layers if Signal.TEXT_ATTENTION in self.needs else None,
            layer_attention=(torch.stack(self._by_layer) if self._by_layer else nothing)
            if Signal.LAYER_ATTENTION in self.needs
            else None,
            visual_attention=self._visual / layers if Signal.VISUAL_ATTENTION in self.needs else None,
            features=features.video if Signal.FEATURES in self.needs else None,
            early_states=early,
        )

    def _refuse_what_is_missing(self, features: Features) -> None:
        missing: set[Signal] = set()
        if self._rows > 0:  # without text behind the video there is nothing to show
            missing |= ATTENTION if self.layers == 0 else set()
            missing |= {Signal.EARLY_STATES} if self._early is None else set()
        if len(self._columns) and features.video is None:
            missing.add(Signal.FEATURES)
        for signal in self.needs & missing:
            raise RushesError(
                f"this model does not show the {signal.value}, which the scorer needs; use uniform or random"
            )

    def _take(self, rows: Tensor, dim: int) -> Tensor:
        """The video's columns along a dimension."""
        if self._span is not None:
            return rows.narrow(dim, self._span.start, self._span.stop - self._span.start)
        return rows.index_select(dim, self._columns)
