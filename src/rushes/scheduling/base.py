"""A request in the middle of decoding, and what a schedule does with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from rushes.cache import KVCache
from rushes.drafting.drafter import Drafter
from rushes.drafting.state import DraftState
from rushes.models.base import VideoLM
from rushes.models.watching import Watch
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.scheduling.lane import Lane
from rushes.scheduling.pace import Pace
from rushes.scheduling.worker import Worker
from rushes.stats import Stats
from rushes.verification.base import Judge


@dataclass(slots=True)
class Request:
    """Everything a schedule needs, after the target's prefill.

    Attributes:
        target, cache: The target and its cache, which holds everything emitted but the last token.
        last_token, position: The last emitted token and its rope position.
        remaining: Tokens that may still be emitted.
        drafter: None for plain decoding.
        draft: Under a schedule that takes turns.
        pace: Chooses the windows under gamma "auto" in turns.
        lane: The draft's side under a schedule that overlaps.
        watch: Where the judge reads states of the target.
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
    judge: Judge
    stats: Stats
    drafter: Drafter | None = None
    draft: DraftState | None = None
    pace: Pace | None = None
    lane: Lane | None = None
    watch: Watch | None = None


class Schedule(Protocol):
    """Owns the order of work and the roll-back."""

    @property
    def overlaps(self) -> bool:
        """Do draft and target work at the same time?"""
        ...

    @property
    def early(self) -> bool:
        """Does the draft look at the video and read its prompt beside the target's prefill?"""
        ...

    def lane(self, worker: Worker, drafter: Drafter, stats: Stats, *, auto: bool) -> Lane:
        """The draft's side of one request, for a schedule that overlaps.

        Args:
            auto: Windows follow measured speeds; the drafter's own gamma otherwise.
        """
        ...

    def rounds(self, request: Request) -> Iterator[list[int]]:
        """Yield the tokens of one round after the other, for as long as the caller asks; each round at least one."""
        ...
