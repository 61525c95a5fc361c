"""The draft model in the middle of a request: its cache, and the emitted tokens that it has not seen yet."""

from collections import deque

import torch
from torch import Tensor

from rushes.cache import KVCache
from rushes.models.base import Prompt, VideoLM
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.window import Window, behind


class DraftState:
    """Prefilled draft.

    Args:
        model: The draft.
        prompt: All text and the kept video tokens.
        capacity: Slots for the prompt, the answer and one window.
        sampling: How candidates are chosen; the same as the target's.
        penalty: The target's repetition penalty, so that both choose from alike logits.
    """

    def __init__(
        self, model: VideoLM, prompt: Prompt, capacity: int, sampling: Sampling, penalty: RepetitionPenalty
    ) -> None:
        self._start(model, prompt, model.new_cache(capacity), sampling, penalty)
        model.prefill(prompt, self.cache)

    def _start(
        self, model: VideoLM, prompt: Prompt, cache: KVCache, sampling: Sampling, penalty: RepetitionPenalty
    ) -> None:
        self.model = model
        self.cache = cache
        self.sampling = sampling
        self.penalty = penalty
        self.generator = sampling.generator(model.device, stream=1)
        self.position_rows = prompt.positions.shape[0]
        self.next_position = prompt.next_position  # rope position of pending[0]
        self.pending: list[int] = []  # emitted tokens that are not in the cache
        self.accepted: deque[int] = deque(maxlen=10)  # lengths, of the last rounds with a window
        self.outlook: object = None  # what an adaptive drafter carries from window to window

    def read_pending(self) -> Tensor:
        """Run the pending tokens; returns (1, V) logits behind the last one."""
        count = len(self.pending)
        mask = None
        if count > 1:
            own = torch.ones(count, count, dtype=torch.bool, device=self.model.device).tril()
            mask = behind(self.cache.length, own)
        hidden = self.run(self.pending, list(range(count)), mask)
        return self.penalty(self.model.logits(hidden[-1:]), [[]])

    def run(self, tokens: list[int], depths: list[int], mask: Tensor | None) -> Tensor:
        """(n, H) states of `tokens`, `depths` positions after the first pending token."""
        positions = self.model.rows_at(self.next_position, depths, self.position_rows)
        return self.model.forward(self.model.embed(tokens), positions, self.cache, mask)

    def advance(self, window: Window, path: list[int], next_token: int) -> None:
        """Roll back to the accepted path: its slots stay, what the draft never ran becomes pending."""
        if len(window):
            self.accepted.append(len(path))
        seen = len(self.pending) if len(window) else 0  # an empty window has read nothing
        start = self.cache.length - sum(slot >= 0 for slot in window.draft_slots)
        kept = [window.draft_slots[node] for node in path if window.draft_slots[node] >= 0]
        self.cache.keep_path(start, kept)
        unseen = [window.tokens[node] for node in path[len(kept) :]]
        self.pending = self.pending[seen:] + unseen + [next_token]
        self.next_position += seen + len(kept)
