"""Who was busy when: the spans of one request's work, in a lane for each of the two models."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

TARGET, DRAFT = "target", "draft"
PREPARATION = ("vision", "prefill")  # what a draft does before its first window


@dataclass(slots=True)
class Span:
    """A stretch of work.

    Attributes:
        lane: TARGET or DRAFT.
        kind: "vision", "prefill", "scoring" (target), "review" (target) or "window" (draft).
        start_s, end_s: Seconds since the request arrived, without the time that the reader of a stream took.
        tokens: Rows that were read, reviewed or written.
        discarded: Thrown away before anybody looked at it.
    """

    lane: str
    kind: str
    start_s: float
    end_s: float
    tokens: int = 0
    discarded: bool = False


@dataclass(slots=True)
class Timeline:
    """The spans of one request, in the order in which they began. Two threads may write to it."""

    spans: list[Span] = field(default_factory=list)
    total_s: float = 0.0
    _origin: float = field(default_factory=time.perf_counter)
    _open: int = 0
    _ended: float = 0.0  # the last of the spans that are closed
    _lock: Lock = field(default_factory=Lock)

    def __reduce__(self) -> Any:
        """What is copied or pickled is the record; a lock cannot be."""
        return Timeline, (self.spans, self.total_s)

    def now(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self._origin

    def start(self) -> None:
        """The request arrives now."""
        self._origin = time.perf_counter()

    def resume(self, left_s: float) -> None:
        """Leave out what the caller of a stream took since `left_s`, but for the time in which a worker was busy."""
        with self._lock:
            if self._open == 0:
                self._origin += self.now() - max(left_s, self._ended)

    def begin(self, lane: str, kind: str, tokens: int = 0) -> Span:
        """Open a span; `end` closes it."""
        with self._lock:
            self._open += 1
            started = self.now()
            span = Span(lane, kind, started, started, tokens)
            self.spans.append(span)
        return span

    def end(self, span: Span) -> None:
        """Close a span now."""
        with self._lock:
            self._open -= 1
            span.end_s = max(span.start_s, self.now())
            self._ended = max(self._ended, span.end_s)

    @contextmanager
    def span(self, lane: str, kind: str, tokens: int = 0) -> Iterator[Span]:
        """A span around a block."""
        span = self.begin(lane, kind, tokens)
        try:
            yield span
        finally:
            self.end(span)

    @property
    def end_s(self) -> float:
        """When the request ended, or what was still at work then; 0 before there is anything."""
        return max(self.total_s, max((span.end_s for span in self.spans), default=0.0))

    def shares(self) -> dict[str, dict[str, float]]:
        """What part of the request each worker was busy, idle, or doing what was thrown away; they sum to 1.

        Scoring lies inside the target's prefill or behind it, and counts once.
        """
        total = self.end_s or 1.0
        found = {}
        for lane in (TARGET, DRAFT):
            own = [span for span in self.spans if span.lane == lane]
            wasted = union((s.start_s, s.end_s) for s in own if s.discarded)
            working = union((s.start_s, s.end_s) for s in own)
            busy, discarded = length(working) - length(wasted), length(wasted)
            found[lane] = {
                "busy": busy / total,
                "idle": max(0.0, 1 - (busy + discarded) / total),
                "discarded": discarded / total,
            }
        return found

    def hidden_preparation(self) -> float | None:
        """The part of the draft's vision and prefill that ran while the target was at work; None without a draft."""
        ours = union((s.start_s, s.end_s) for s in self.spans if s.lane == DRAFT and s.kind in PREPARATION)
        theirs = union((s.start_s, s.end_s) for s in self.spans if s.lane == TARGET)
        return length(common(ours, theirs)) / length(ours) if length(ours) else None

    def busy_s(self, since_s: float = 0.0) -> float:
        """Seconds in which at least one of the two was at work, from `since_s` on."""
        return length(union((max(s.start_s, since_s), s.end_s) for s in self.spans if s.end_s > since_s))

    def to_json(self) -> dict[str, Any]:
        """What `--timeline FILE.json` holds."""
        return {
            "total_s": self.total_s,
            "shares": self.shares(),
            "hidden_preparation": self.hidden_preparation(),
            "spans": [
                {name: getattr(span, name) for name in ("lane", "kind", "start_s", "end_s", "tokens", "discarded")}
                for span in sorted(self.spans, key=lambda span: span.start_s)
            ],
        }


Interval = tuple[float, float]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same points of time in disjoint intervals, ascending."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def common(ours: list[Interval], theirs: list[Interval]) -> list[Interval]:
    """Where two lists of disjoint intervals overlap."""
    both = ((max(a, c), min(b, d)) for a, b in ours for c, d in theirs)
    return [(start, end) for start, end in both if start < end]


def length(intervals: list[Interval]) -> float:
    return sum(end - start for start, end in intervals)
