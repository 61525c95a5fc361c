"""Counts and timings of one request, under the names that the field uses (`methods.md` section 0)."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import torch

from rushes.timeline import DRAFT, Span, Timeline
from rushes.window import Mark

PHASES = ("decode_video", "vision", "target_prefill", "draft_prefill", "scoring", "decoding", "total")


def wait_for(device: torch.device) -> None:
    """Let the work that this thread queued finish, so that its time is counted where it belongs."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # the device may have another worker's stream as well


class Stopwatch:
    """Adds up the time of blocks, without making a GPU wait for its queue."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds = 0.0
        self._started = 0.0
        self._events: list[Any] = []

    def __enter__(self) -> None:
        if self._cuda:
            self._events.append(self._event())
        else:
            self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            self._events.append(self._event())
        else:
            self._seconds += time.perf_counter() - self._started

    def _event(self) -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @property
    def seconds(self) -> float:
        """The time so far; on a GPU this waits for the last block."""
        if self._events:
            self._events[-1].synchronize()
        pairs = zip(self._events[::2], self._events[1::2], strict=True)
        return self._seconds + sum(start.elapsed_time(end) for start, end in pairs) / 1000


class Gauge(Protocol):
    """Something with metrics of its own."""

    def metrics(self) -> dict[str, Any]: ...


@dataclass(slots=True)
class Stats:
    """Filled in by the loop while it runs.

    Attributes:
        rounds: Accepted tokens of each verification round that had a window.
        complete: How many of these accepted the window's full depth.
        drafted: Candidate tokens in all windows that were reviewed.
        discarded_steps: Forwards of the draft for windows that were thrown away before anybody looked at them.
        emitted: Tokens of the answer.
        target_passes: Forwards of the target after the prefill.
        time_s: Seconds by phase.
        pace: What chose the windows under gamma "auto".
        draft_s, verify_s: Seconds of decoding inside draft and target models.
        marks: How each emitted token came about; of the last round too what lies behind the end of the answer.
        judge: The verifier of this request.
        reused_tokens: Of the target's prompt, those that an earlier request had read.
        timeline: Who was busy when; decoding began at `decoding_from_s` of it.
    """

    rounds: list[int] = field(default_factory=list)
    complete: int = 0
    drafted: int = 0
    discarded_steps: int = 0
    emitted: int = 0
    target_passes: int = 0
    window_depth: int = 0
    time_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    draft_s: float = 0.0
    verify_s: float = 0.0
    time_to_first_token_s: float = 0.0
    reused_tokens: int = 0
    cache_bytes: dict[str, int] = field(default_factory=dict)
    pace: Gauge | None = None
    judge: Gauge | None = None
    marks: list[Mark] = field(default_factory=list)
    timeline: Timeline = field(default_factory=Timeline)
    decoding_from_s: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def phase(self, name: str, *devices: torch.device) -> Iterator[None]:
        """Add the time of a block to a phase; waits for the devices, so that queued work counts where it belongs."""
        started = time.perf_counter()
        try:
            yield
        finally:
            for device in devices:
                wait_for(device)
            with self._lock:  # both workers add to "vision"
                self.time_s[name] += time.perf_counter() - started

    @contextmanager
    def work(self, phase: str, lane: str, kind: str, device: torch.device, tokens: int = 0) -> Iterator[Span]:
        """A phase that is a span of a worker's lane in the timeline as well."""
        with self.timeline.span(lane, kind, tokens) as span, self.phase(phase, device):
            yield span

    def move_time(self, source: str, to: str, seconds: float) -> None:
        """Count time that passed inside one phase towards another."""
        self.time_s[source] = max(0.0, self.time_s[source] - seconds)
        self.time_s[to] += seconds

    def count_round(self, drafted: int, accepted: int, depth: int) -> None:
        """One verification pass; `drafted` 0 is a pass without a window."""
        self.target_passes += 1
        if drafted:
            self.rounds.append(accepted)
            self.drafted += drafted
            self.complete += accepted == depth
            self.window_depth = max(self.window_depth, depth)

    def count_emitted(self, tokens: int, cut: int = 0) -> None:
        """Tokens of the last round that went into the answer; `cut` more lay behind its end and do not count."""
        self.emitted += tokens
        if cut:
            self.rounds[-1] = min(self.rounds[-1], tokens)

    @property
    def accepted(self) -> int:
        return sum(self.rounds)

    @property
    def accepted_per_round(self) -> float:
        """tau: draft tokens accepted in a round, the bonus token not counted."""
        return self.accepted / len(self.rounds) if self.rounds else 0.0

    @property
    def accepted_between_rejections(self) -> float:
        """M: tokens accepted between two rejections; a run may span several windows."""
        return self.accepted / max(1, len(self.rounds) - self.complete) if self.rounds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Decoding speed; the first token belongs to the prefill."""
        decoding = self.time_s["decoding"]
        return (self.emitted - 1) / decoding if decoding > 0 and self.emitted > 1 else 0.0

    @property
    def overhead_s(self) -> float:
        """Decoding time in which neither model was at work: the loop's own cost."""
        return max(0.0, self.time_s["decoding"] - self.timeline.busy_s(self.decoding_from_s))

    def _workers(self) -> dict[str, dict[str, float | None]]:
        shares: dict[str, dict[str, float | None]] = {lane: {**of} for lane, of in self.timeline.shares().items()}
        shares[DRAFT]["preparation_hidden"] = self.timeline.hidden_preparation()
        shares[DRAFT]["discarded_steps"] = self.discarded_steps
        return shares

    def metrics(self) -> dict[str, Any]:
        """The `metrics` object of `generate --json`."""
        histogram = Counter(self.rounds)
        steps = len(self.rounds)
        return {
            "speculative_decoding": {
                "mean_acceptance_length": 1 + self.accepted_per_round,
                "draft_acceptance_rate": self.accepted / self.drafted if self.drafted else 0.0,
                "acceptance_histogram": [histogram[i] for i in range(max(histogram, default=-1) + 1)],
                "num_spec_steps": steps,
                "num_accepted_draft_tokens": self.accepted,
                "num_draft_tokens": self.drafted,
                "num_spec_tokens": self.window_depth,
            },
            "accepted_per_round": self.accepted_per_round,
            "accepted_between_rejections": self.accepted_between_rejections,
            "tokens_per_target_pass": (self.emitted - 1) / self.target_passes if self.target_passes else 0.0,
            "target_passes": self.target_passes,
            "time_s": dict(self.time_s),
            "draft_time_s": self.draft_s,
            "verify_time_s": self.verify_s,
            "overhead_time_s": self.overhead_s,
            "tokens_per_second": self.tokens_per_second,
            "time_to_first_token_s": self.time_to_first_token_s,
            "cache_bytes": dict(self.cache_bytes),
            "reused_prompt_tokens": self.reused_tokens,
            "workers": self._workers(),
            "verification": {} if self.judge is None else self.judge.metrics(),
            "gamma": {"auto": False} if self.pace is None else self.pace.metrics(),
        }
