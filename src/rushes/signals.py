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
    folded = query[0].reshape(kv_heads, heads // kv_heads * rows, size)
    scores = (folded @ key[0].transpose(-1, -2)).float().view(heads, rows, keys) * scaling
    future = torch.ones(rows, keys, dtype=torch.bool, device=scores.device).triu(keys - rows + 1)
    return scores.masked_fill_(future, float("-inf")).softmax(-1)


class TextAttention:
    """Recorder of SpecVLM's signal: text-to-video attention, averaged layer by layer while the prefill runs."""

    def __init__(self, prompt: Prompt) -> None:
        self.rows = prompt.text_rows_after_video
        self.columns = prompt.video_columns
        self.layers = 0
        self._sum = torch.zeros(len(self.columns), device=prompt.embeds.device)

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        rows = attention_rows(query[:, :, -self.rows :], key, scaling)
        self._sum += rows.mean((0, 1))[self.columns]
        self.layers += 1

    @property
    def mean(self) -> Tensor:
        """(m,) the average so far."""
        return self._sum / max(1, self.layers)
