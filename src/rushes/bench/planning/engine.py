"""Discrete events in two lanes: processes that work, wait and wake each other while their jobs share a device."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from rushes.bench.planning.roofline import Job
from rushes.timeline import DRAFT, TARGET, Span

Rates = Callable[[Job | None, Job | None], tuple[float, float]]  # of the target's job and of the draft's


@dataclass(slots=True)
class Signal:
    """Something that happens once; who waits for it goes on."""

    fired: bool = False

    def fire(self) -> None:
        self.fired = True


@dataclass(slots=True)
class Task:
    """A job for a lane; the process that yields it goes on when it is done, with its span."""

    lane: str
    kind: str
    job: Job
    tokens: int = 1


Process = Generator[Task | Signal, Span | None, None]


@dataclass(slots=True)
class _Running:
    task: Task
    span: Span
    left_s: float
    process: Process


@dataclass(slots=True)
class Engine:
    """Runs processes until the first one ends.

    Attributes:
        rates: Speeds of two jobs side by side.
        now_s: Simulated seconds since the request arrived.
        spans: What ran when.
        slowed_s: By lane, seconds that jobs lost because the other lane was busy on the same device.
    """

    rates: Rates
    now_s: float = 0.0
    spans: list[Span] = field(default_factory=list)
    slowed_s: dict[str, float] = field(default_factory=lambda: {TARGET: 0.0, DRAFT: 0.0})
    _running: dict[str, _Running] = field(default_factory=dict)
    _waiting: list[tuple[Process, Signal]] = field(default_factory=list)
    _ended: set[int] = field(default_factory=set)

    def run(self, main: Process, *others: Process) -> None:
        """Until `main` ends; what still runs then is cut off and counts as discarded."""
        for process in (main, *others):
            self._resume(process, None)
        while id(main) not in self._ended:
            if not self._wake():
                self._advance()
        for running in self._running.values():
            running.span.end_s, running.span.discarded = self.now_s, True

    def _wake(self) -> bool:
        """Resume one process whose signal has fired."""
        for entry in self._waiting:
            if entry[1].fired:
                self._waiting.remove(entry)
                self._resume(entry[0], None)
                return True
        return False

    def _resume(self, process: Process, span: Span | None) -> None:
        try:
            wish = next(process) if span is None else process.send(span)
        except StopIteration:
            self._ended.add(id(process))
            return
        if isinstance(wish, Signal):
            self._waiting.append((process, wish))
            return
        if wish.lane in self._running:
            raise RuntimeError(f"two jobs at once in the lane of the {wish.lane}")
        opened = Span(wish.lane, wish.kind, self.now_s, self.now_s, wish.tokens)
        self.spans.append(opened)
        self._running[wish.lane] = _Running(wish, opened, wish.job.seconds, process)

    def _advance(self) -> None:
        """To the next end of a job."""
        if not self._running:
            raise RuntimeError("every process waits for another")
        jobs = [self._running[lane].task.job if lane in self._running else None for lane in (TARGET, DRAFT)]
        speed = dict(zip((TARGET, DRAFT), self.rates(jobs[0], jobs[1]), strict=True))
        lane = min(self._running, key=lambda one: self._running[one].left_s / speed[one])
        step = self._running[lane].left_s / speed[lane]
        self.now_s += step
        for name, running in self._running.items():
            running.left_s = max(0.0, running.left_s - step * speed[name])
            self.slowed_s[name] += step * (1 - speed[name])
        done = self._running.pop(lane)
        done.span.end_s = self.now_s
        self._resume(done.process, done.span)
