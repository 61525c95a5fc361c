"""Self-speculation: the target drafts for itself over a sparse view of its own cache (STD, arXiv 2505.19155)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rushes.cache import KVCache
from rushes.drafting.chain import Chain
from rushes.drafting.state import DraftState
from rushes.models.base import Prompt, VideoLM
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.window import Window


@dataclass(frozen=True, slots=True)
class SelfChain(Chain):
    """A chain that the target writes itself; the paper's window is 9."""

    gamma: int = 9
    own: ClassVar[bool] = True


class SelfState(DraftState):
    """The target as its own draft.

    Attention does not care in which order slots lie, as keys carry their positions. So the prompt's slots are moved
    once: dropped video tokens to the front, everything else behind them in its old order. The draft then sees the tail
    of the target's own cache: no second model, and not one slot held twice. What it writes ahead lies where the
    target's review of the same tokens will overwrite it.

    Args:
        target: The model.
        cache: Its cache, which holds the prompt.
        prompt: The prompt.
        kept: (K,) or (layers, K) video tokens that stay visible, in all layers or layer by layer.
        sampling, penalty: As in `DraftState`.
    """

    def __init__(
        self,
        target: VideoLM,
        cache: KVCache,
        prompt: Prompt,
        kept: Tensor,
        sampling: Sampling,
        penalty: RepetitionPenalty,
    ) -> None:
        cache.set_aside(prompt.video_columns, kept)
        hidden = len(prompt.video_columns) - kept.shape[-1]
        self._start(target, prompt, cache.tail(hidden), sampling, penalty)
        self._whole, self._hidden = cache, hidden

    def advance(self, window: Window, path: list[int], next_token: int) -> None:
        """Follow the target, whose review has filled the slots of all accepted tokens."""
        if len(window):
            self.accepted.append(len(path))
        self.cache.length = self._whole.length - self._hidden
        self.pending = [next_token]
        self.next_position += len(path) + 1
