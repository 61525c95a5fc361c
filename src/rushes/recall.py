"""What one request need not do again: vision, and the columns of its prompt that an earlier request has read.

A column is known by one number, equal for equal tokens and, for what stands for a picture or a video, for equal places
in an equal one. A prompt's longest common beginning with an earlier prompt and its answer is what both caches share.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor

from rushes.cache import KVCache
from rushes.drafting.state import DraftState
from rushes.errors import OutOfMemory
from rushes.models.head import NOTHING, Head, Shown
from rushes.models.prompt import Features, Prompt
from rushes.store import Store

_serials = count()


@dataclass(frozen=True, slots=True)
class Prefix:
    """Columns that a cache holds.

    Attributes:
        book: Which model, and under which rules its columns were numbered.
        identity: (n,) int64, a number for each column.
        positions: (R, n) rope positions, which also hang on what was pruned away.
        cache: Holds them in its first n slots.
        states: (k, H) of the k video tokens among them.
        pictures: As in `Recall`.
    """

    book: Hashable
    identity: Tensor
    positions: Tensor
    cache: KVCache
    states: Mapping[Shown, Tensor]
    pictures: str


@dataclass(slots=True)
class Recall:
    """The door of one request to a store.

    Args:
        store: Outlives the request; of the pair that answers.
        identity: (S,) int64 of the prompt's columns.
        pictures: Tells these pictures and videos from all others, for their features.

    Attributes:
        reused: Columns of the target's prompt that were not read again; 0 is a miss.
        draft_reused: The same of the draft's.
        seen: How many of the two models' vision passes were spared.
    """

    store: Store
    identity: Tensor
    pictures: str
    reused: int = 0
    draft_reused: int = 0
    seen: int = 0
    written: list[int] = field(default_factory=list)
    _target: tuple[Hashable, Prompt, KVCache, dict[Shown, Tensor]] | None = None
    _draft: tuple[Hashable, Prompt, DraftState] | None = None

    def features(self, role: str, encode: Callable[[], Features]) -> Features:
        """What a model's vision tower makes of the request's pictures and videos.

        Args:
            role: "target" or "draft".
            encode: Runs the tower.
        """
        key = ("features", role, self.pictures)
        made: Features | None = self.store.get(key)
        if made is None:
            made = encode()
            self.store.put(key, made, made.bytes)
        else:
            self.seen += 1
        return made

    def target_head(self, rule: str, prompt: Prompt, most: int, needs: frozenset[Shown]) -> Head:
        """The beginning of the target's prompt that need not be read again, at most `most` columns long."""
        head = self._longest(("target", rule), prompt, most, needs)
        self.reused = head.length
        return head

    def draft_head(self, rule: str, prompt: Prompt) -> Head:
        """The same of the draft's pruned prompt."""
        head = self._longest(("draft", rule), prompt, len(prompt) - 1, frozenset())
        self.draft_reused = head.length
        return head

    def hold_target(self, rule: str, prompt: Prompt, cache: KVCache, states: dict[Shown, Tensor]) -> None:
        """Leave the target's cache behind when the request ends."""
        self._target = (("target", rule), prompt, cache, states)

    def hold_draft(self, rule: str, prompt: Prompt, state: DraftState) -> None:
        """Leave the draft's cache behind when the request ends."""
        self._draft = (("draft", rule), prompt, state)

    def forget(self) -> None:
        """Leave nothing: the request failed, and who knows in which state."""
        self._target = self._draft = None

    def leave(self) -> None:
        """Keep what was held; the request is over, and nobody writes into its caches any more."""
        if self._target is not None:
            book, prompt, cache, states = self._target
            self._keep(book, prompt, self.written, cache, states)
        if self._draft is not None:
            book, prompt, state = self._draft
            self._keep(book, prompt, state.seen, state.cache, {})
        self.forget()

    def _longest(self, book: Hashable, prompt: Prompt, most: int, needs: frozenset[Shown]) -> Head:
        assert prompt.identity is not None, "a prompt without the identity of its columns"
        positions = prompt.positions.cpu()
        best, key = NOTHING, None
        for at, prefix in self.store.of(Prefix):
            if prefix.book != book or not needs <= prefix.states.keys():
                continue
            length = min(shared(prefix.identity, prompt.identity), shared(prefix.positions, positions), most)
            if length > best.length:
                best, key = Head(length, prefix.cache, prefix.states), at
        if key is not None:
            self.store.get(key)  # it was used
        return best

    def _keep(
        self, book: Hashable, prompt: Prompt, written: list[int], cache: KVCache, states: dict[Shown, Tensor]
    ) -> None:
        assert prompt.identity is not None, "a prompt without the identity of its columns"
        identity = torch.cat([prompt.identity, torch.tensor(written, dtype=torch.int64)])
        length = min(cache.length, len(identity))
        identity = identity[:length]
        behind = (prompt.next_position + torch.arange(len(written))).expand(len(prompt.positions), -1)
        positions = torch.cat([prompt.positions.cpu(), behind], dim=1)[:, :length]
        for key, prefix in self.store.of(Prefix):
            if prefix.book != book:
                continue
            common = min(shared(prefix.identity, identity), shared(prefix.positions, positions))
            if common == len(prefix.identity):
                states = {**prefix.states, **states} if common > _last(prompt) else states
                self.store.drop(key)  # all of it is the beginning of the new one
            elif common == length and states.keys() <= prefix.states.keys():
                return  # all of the new one is the beginning of it
        cache.roll_back(length)
        try:
            cache = cache.snug()
        except (OutOfMemory, torch.OutOfMemoryError):
            return  # no memory for keeping anything
        size = cache.bytes + identity.nbytes + sum(rows.nbytes for rows in states.values())
        self.store.put(next(_serials), Prefix(book, identity, positions, cache, states, self.pictures), size)


def shared(ours: Tensor, theirs: Tensor) -> int:
    """How many columns two (n,) or (R, n) tensors have in common from the start."""
    least = min(ours.shape[-1], theirs.shape[-1])
    same = ours[..., :least] == theirs[..., :least]
    differs = (~(same if same.dim() == 1 else same.all(0))).nonzero()
    return int(differs[0]) if len(differs) else least


def _last(prompt: Prompt) -> Any:
    """The last column that holds a video token; -1 without a video."""
    return int(prompt.video_columns[-1]) if len(prompt.video_columns) else -1
