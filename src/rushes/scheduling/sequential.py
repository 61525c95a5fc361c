"""Draft, then verify, then roll back, one after the other (Leviathan et al. 2023)."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from rushes.drafting.drafter import Drafter
from rushes.scheduling.base import Request
from rushes.scheduling.lane import Lane
from rushes.scheduling.review import emit, review
from rushes.scheduling.worker import Worker
from rushes.stats import Stats, wait_for
from rushes.timeline import DRAFT
from rushes.window import EMPTY


@dataclass(frozen=True, slots=True)
class Sequential:
    """The textbook schedule. Without a drafter every window is empty: plain decoding, by the same code."""

    overlaps: ClassVar[bool] = False
    early: ClassVar[bool] = False

    def lane(self, worker: Worker, drafter: Drafter, stats: Stats, *, auto: bool) -> Lane:
        raise AssertionError("nothing runs at the same time here")

    def rounds(self, request: Request) -> Iterator[list[int]]:
        stats = request.stats
        while True:
            started = time.perf_counter()
            window, pending, drafting = EMPTY, 0, 0.0
            if request.drafter is not None and request.draft is not None:
                # The target adds one token to whatever is accepted.
                limit, pending = request.remaining - 1, len(request.draft.pending)
                if request.pace is not None:
                    limit = min(limit, request.pace.next_depth(pending))
                with stats.timeline.span(DRAFT, "window") as span:
                    window = request.drafter.draft(request.draft, limit)
                    wait_for(request.draft.model.device)
                span.tokens, drafting = len(window), span.end_s - span.start_s
                stats.draft_s += drafting
            verdict, _ = review(request, window)
            tokens = emit(request, window, verdict)
            if request.draft is not None:
                request.draft.advance(window, verdict.path, verdict.next_token)
            stats.count_round(len(window), len(verdict.path), window.depth)
            if request.pace is not None:
                took = (drafting, time.perf_counter() - started)
                request.pace.observe(window.depth, len(window), len(verdict.path), pending, *took)
            yield tokens
