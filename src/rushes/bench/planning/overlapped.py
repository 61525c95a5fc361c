"""Draft and target at the same time, simulated: parallel prefill, then PEARL's loop (`methods.md` sections 4 and 6).

Both modes of PEARL are one loop. The target reviews the window that waits, which may be empty, while the draft writes a
guess of the token behind that window, and a new window behind the guess. If the whole window is accepted and the guess
is the target's token, the new window is the next to wait; otherwise it is dropped.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass, field

from rushes.bench.planning.engine import Process, Signal, Task
from rushes.bench.planning.request import Request
from rushes.timeline import DRAFT, TARGET, Span

EARLY_SHARE = 0.25  # a scorer that is ready "early" reads a quarter of the layers

Waiting = Generator[Task | Signal, Span | None, int]  # a part of a process that ends with the next window's length


@dataclass(slots=True)
class Order:
    """What the target asks of the draft: write at most so many tokens; a dropped or finished order ends with the step
    in progress, for no forward stops in its middle."""

    limit: float
    written: int = 0
    finish: bool = False
    dropped: bool = False
    guessed: Signal = field(default_factory=Signal)
    done: Signal = field(default_factory=Signal)
    spans: list[Span] = field(default_factory=list)

    def drop(self) -> None:
        self.finish = self.dropped = True
        for span in self.spans:
            span.discarded = True


class Overlapped:
    """The two processes of one request."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._kept = Signal()  # the draft may prune and prefill
        self._orders: list[Order] = []
        self._ordered = Signal()

    def run(self) -> None:
        self.request.engine.run(self._target(), self._draft())

    def _target(self) -> Process:
        request, how = self.request, self.request.how
        costs = request.costs
        waiting = 0
        # Under the prefill the draft's first guess is of the prefill's own token.
        start_up = None if how.ready == "prefill" else self._order(self._limit(0))
        yield Task(TARGET, "vision", costs.target_vision)
        if how.ready == "vision":
            self._kept.fire()
        if how.ready == "early":
            yield Task(TARGET, "prefill", costs.target_prefill.part(EARLY_SHARE))
            self._kept.fire()
        yield Task(TARGET, "prefill", costs.target_prefill.part(1 - EARLY_SHARE if how.ready == "early" else 1))
        self._kept.fire()
        request.begin_decoding()
        if start_up is not None:
            request.run.first_s = request.engine.now_s
            waiting = yield from self._next_window(start_up, 0)
        else:
            request.first_token()
        while request.remaining:
            if not waiting and how.lead:
                lead = self._order(min(how.lead, request.remaining - 1))
                yield lead.done
                waiting = lead.written
            order = self._order(self._limit(waiting) if how.ahead else 0)
            yield request.review(waiting)
            accepted = request.trace.run(request.position, waiting)
            request.run.reviews.append((waiting + 1, accepted))
            if accepted < waiting:
                order.drop()
                request.emit(accepted + 1)
                waiting = 0
            else:
                waiting = yield from self._next_window(order, waiting)

    def _next_window(self, order: Order, accepted: int) -> Waiting:
        """All of a window is accepted, and the target has its own next token: was it the guess?"""
        request = self.request
        right = request.trace.right(request.position + accepted)
        request.emit(accepted + 1)
        if order.limit < 1:
            return 0
        yield order.guessed
        if not right:
            order.drop()
            return 0
        order.finish = order.finish or request.how.gamma is None
        yield order.done
        return order.written - 1

    def _limit(self, waiting: int) -> float:
        """Tokens that the draft may write behind a window: so many can still be emitted behind the target's own."""
        gamma = self.request.how.gamma
        return min(math.inf if gamma is None else gamma, self.request.remaining - waiting - 1)

    def _order(self, limit: float) -> Order:
        order = Order(limit)
        self._orders.append(order)
        self._ordered.fire()
        return order

    def _draft(self) -> Process:
        costs = self.request.costs
        yield Task(DRAFT, "vision", costs.draft_vision)
        yield self._kept
        yield Task(DRAFT, "prefill", costs.draft_prefill)
        while True:
            if not self._orders:
                self._ordered = Signal()
                yield self._ordered
            order = self._orders.pop(0)
            while order.written < order.limit and not order.finish:
                span = yield Task(DRAFT, "window", costs.level(0))
                assert span is not None
                span.discarded = order.dropped
                order.spans.append(span)
                order.written += 1
                order.guessed.fire()
            order.done.fire()
