"""A request in the middle of decoding, and what a schedule does with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from rushes.cache import KVCache
from rushes.drafting.state import DraftState
from rushes.models.base import VideoLM
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.scheduling.pace import Pace
from rushes.stats import Stats
from rushes.verification.base import Verifier
from rushes.window import Window


class Drafter(Protocol):
    """Writes candidates behind the last emitted token."""

    @property
    def gamma(self) -> int: ...

    @property
    def own(self) -> bool:
        """The target drafts for itself; there is no second model."""
        ...

    @property
    def max_nodes(self) -> int:
        """Most candidates in one window: the slots that both caches must have spare."""
        ...

    def draft(self, state: DraftState, limit: int) -> Window:
        """A window that can accept at most `limit` tokens."""
        ...


@dataclass(slots=True)
class Request:
    """Everything a schedule needs, after both prefills.

    Attributes:
        target, cache: The target and its cache, which holds everything emitted but the last token.
        last_token, position: The last emitted token and its rope position.
        remaining: Tokens that may still be emitted.
        drafter, draft: None for plain decoding.
        pace: Chooses the windows under gamma "auto".
    """

    target: VideoLM
    cache: KVCache
    position_rows: int
    last_token: int
    position: int
    remaining: int
    sampling: Sampling
    generator: torch.Generator
    penalty: RepetitionPenalty
    verifier: Verifier
    stats: Stats
    drafter: Drafter | None = None
    draft: DraftState | None = None
    pace: Pace | None = None


class Schedule(Protocol):
    """Owns the order of work and the roll-back."""

    def rounds(self, request: Request) -> Iterator[list[int]]:
        """Yield the tokens of one round after the other, for as long as the caller asks; each round at least one."""
        ...
