"""What a prefill reveals about the video: recorded while it runs, and only what a scorer asked for."""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from rushes.models.base import Prompt


class Signal(Enum):
    """The kinds of signal a scorer can ask for."""

    TEXT_ATTENTION = "attention of the text after the video to each video token"


@dataclass(frozen=True, slots=True)
class Signals:
    """What one prefill revealed about m video tokens.

    Attributes:
        video_tokens: m.
        text_attention: (m,) softmax attention over all keys, averaged over layers, heads and the text rows behind the
            video; None unless asked for.
    """

    video_tokens: int
    text_attention: Tensor | None = None


def attention_rows(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Softmax attention of the last rows of a causal pass, without the other rows.

    Args:
        query: (1, heads, rows, D), rotated; the last `rows` of the sequence.
        key: (1, kv_heads, keys, D), rotated; keys >= rows.
        scaling: Factor on the products.

    Returns:
        (heads, rows, keys) fp32. Only these rows ever exist: O(rows * keys) memory instead of O(keys^2).
    """
    _, heads, rows, size = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    folded = (query[0] * scaling).reshape(kv_heads, heads // kv_heads * rows, size)  # scaled first: fp16 overflows
    scores = (folded @ key[0].transpose(-1, -2)).float().view(heads, rows, keys)
    future = torch.ones(rows, keys, dtype=torch.bool, device=scores.device).triu(keys - rows + 1)
    return scores.masked_fill_(future, float("-inf")).softmax(-1)


class TextAttention:
    """Recorder of SpecVLM's signal: text-to-video attention, averaged layer by layer while the prefill runs.

    Args:
        prompt: What is prefilled.
        rows_at_once: Bounds the memory: (heads, rows_at_once, keys) at a time, however long the question is.
    """

    def __init__(self, prompt: Prompt, rows_at_once: int = 64) -> None:
        self.rows_at_once = rows_at_once
        self.rows = prompt.text_rows_after_video
        self.columns = prompt.video_columns
        self.layers = 0
        self._sum = torch.zeros(len(self.columns), device=prompt.embeds.device)

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        first = query.shape[2] - self.rows
        for start in range(first, query.shape[2], self.rows_at_once):
            end = min(start + self.rows_at_once, query.shape[2])
            seen = key[:, :, : key.shape[2] - query.shape[2] + end]  # causal: nothing behind the chunk
            rows = attention_rows(query[:, :, start:end], seen, scaling)
            self._sum += rows.mean(0).sum(0)[self.columns] / self.rows
        self.layers += 1

    @property
    def mean(self) -> Tensor:
        """(m,) the average so far."""
        return self._sum / max(1, self.layers)
