"""The draft model in the middle of a request: its cache, and the emitted tokens that it has not seen yet."""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.cache import KVCache
from rushes.models.base import Prompt, VideoLM
from rushes.models.head import NOTHING, Head
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.window import Window, behind


class Dropped(Exception):
    """A window was called off while it was being written."""


@dataclass(slots=True)
class Order:
    """What may reach a drafter in the middle of a window, from another thread.

    Attributes:
        finish: Be content with what is written.
        drop: Nobody wants it any more.
        steps: Forwards so far; the drafter's answer.
    """

    finish: bool = False
    drop: bool = False
    steps: int = 0


class DraftState:
    """Prefilled draft.

    Args:
        model: The draft.
        prompt: All text and the kept video tokens.
        capacity: Slots for the prompt, the answer and one window, or two where one is written behind another.
        sampling: How candidates are chosen; the same as the target's.
        penalty: The target's repetition penalty, so that both choose from alike logits.
        head: The beginning of the prompt that need not be read again.

    Attributes:
        seen: The tokens behind the prompt that the cache holds.
        pending: The tokens behind these that it does not hold.
        next_position: Rope position of `pending[0]`.
        order: Looked at before every forward.
    """

    def __init__(
        self,
        model: VideoLM,
        prompt: Prompt,
        capacity: int,
        sampling: Sampling,
        penalty: RepetitionPenalty,
        head: Head = NOTHING,
    ) -> None:
        self._start(model, prompt, model.new_cache(capacity), sampling, penalty)
        if head.cache is not None:
            self.cache.begin_with(head.cache, head.length)
        self._behind_prompt = model.prefill(prompt, self.cache)[-1:].clone()  # a view would keep all rows alive

    def _start(
        self, model: VideoLM, prompt: Prompt, cache: KVCache, sampling: Sampling, penalty: RepetitionPenalty
    ) -> None:
        self.model = model
        self.cache = cache
        self.sampling = sampling
        self.penalty = penalty
        self.generator = sampling.generator(model.device, stream=1)
        self.position_rows = prompt.positions.shape[0]
        self.next_position = prompt.next_position
        self.seen: list[int] = []
        self.pending: list[int] = []
        self.order = Order()
        self.accepted: deque[int] = deque(maxlen=10)  # lengths, of the last rounds with a window
        self.outlook: object = None  # what an adaptive drafter carries from window to window
        self._prompt_length = len(prompt)
        self._prompt_penalty = penalty

    def read_pending(self) -> Tensor:
        """Run the pending tokens; returns (1, V) logits behind the last one, or behind the prompt without any."""
        count = len(self.pending)
        if count == 0:
            return self.penalty(self.model.logits(self._behind_prompt), [[]])
        mask = None
        if count > 1:
            own = torch.ones(count, count, dtype=torch.bool, device=self.model.device).tril()
            mask = behind(self.cache.length, own)
        hidden = self.run(self.pending, list(range(count)), mask)
        return self.penalty(self.model.logits(hidden[-1:]), [[]])

    def run(self, tokens: list[int], depths: list[int], mask: Tensor | None) -> Tensor:
        """(n, H) states of `tokens`, `depths` positions after the first pending token.

        Raises:
            Dropped: The window was called off.
        """
        if self.order.drop:
            raise Dropped
        positions = self.model.rows_at(self.next_position, depths, self.position_rows)
        hidden = self.model.forward(self.model.embed(tokens), positions, self.cache, mask)
        self.order.steps += 1
        return hidden

    def advance(self, window: Window, path: list[int], next_token: int) -> None:
        """Roll back to the accepted path: its slots stay, what the draft never ran becomes pending."""
        if len(window):
            self.accepted.append(len(path))
            self.keep(window, path)
        self.pending.append(next_token)

    def keep(self, window: Window, path: list[int]) -> None:
        """Of the window that was just written, keep the slots of `path`; what of it was never run becomes pending."""
        start = self.cache.length - sum(slot >= 0 for slot in window.draft_slots)
        kept = [window.draft_slots[node] for node in path if window.draft_slots[node] >= 0]
        self.cache.keep_path(start, kept)
        tokens = [window.tokens[node] for node in path]
        read = len(self.pending) + len(kept)  # a drafter reads what is pending first
        self.seen += self.pending + tokens[: len(kept)]
        self.next_position += read
        self.pending = tokens[len(kept) :]

    def write(self, token: int) -> None:
        """Go on with `token` behind the pending tokens, which have just been read."""
        self.seen += self.pending
        self.next_position += len(self.pending)
        self.pending = [token]
        self.penalty = self.penalty.after([token])

    def follow(self, line: list[int]) -> None:
        """Go on from `line`, all tokens behind the prompt: what the cache holds of it stays, the rest becomes pending.

        Whatever was written ahead in vain is rolled back.
        """
        shared = _shared(self.seen, line)
        self.cache.roll_back(self._prompt_length + shared)
        self.next_position += shared - len(self.seen)
        self.seen, self.pending = line[:shared], line[shared:]
        self.penalty = self._prompt_penalty.after(line)


def _shared(ours: list[int], theirs: list[int]) -> int:
    """How many tokens two lists have in common from the start."""
    if theirs[: len(ours)] == ours:
        return len(ours)
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(theirs))
