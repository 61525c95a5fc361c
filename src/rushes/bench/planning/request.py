"""One request as the schedules see it: what its jobs cost, how it is run, and what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rushes.bench.planning.acceptance import Trace
from rushes.bench.planning.engine import Engine, Rates, Task
from rushes.bench.planning.roofline import Job
from rushes.timeline import TARGET, Span

READY = ("vision", "early", "prefill")  # behind which stage of the target the kept tokens are known


@dataclass(frozen=True, slots=True)
class Costs:
    """The jobs of a request.

    Attributes:
        review: A pass of the target over so many rows.
        levels: Forwards of the draft for the levels of a window; the last one repeats for what is deeper.
        rates: Speeds of a job of the target and one of the draft side by side.
    """

    target_vision: Job
    target_prefill: Job
    draft_vision: Job
    draft_prefill: Job
    review: Callable[[int], Job]
    levels: Sequence[Job]
    rates: Rates

    def level(self, depth: int) -> Job:
        return self.levels[min(depth, len(self.levels) - 1)]


@dataclass(frozen=True, slots=True)
class How:
    """How a request runs.

    Attributes:
        gamma: Tokens in a chain, the guess included where windows overlap; None writes for as long as the target is
            busy. Of a tree: its depth. 0 is plain decoding.
        tree: Rank paths of the tree's nodes; None for a chain.
        overlap: Draft and target work at the same time: prefills, and windows where `ahead` says so.
        ready: One of `READY`.
        ahead: The draft writes behind the window that is under review.
        lead: Tokens that the draft writes while the target waits, where no window waits for its review; with 0 the
            target goes first, which is PEARL's pre-verify.
    """

    gamma: int | None = 5
    tree: frozenset[str] | None = None
    overlap: bool = False
    ready: str = "prefill"
    ahead: bool = True
    lead: int = 0


@dataclass(slots=True)
class Run:
    """What came of a request.

    Attributes:
        emitted: Tokens of the answer.
        first_s: When its first token was there.
        decoding_s: From the first round to the last token; in sequence, the draft's prefill lies before it.
        slowed_s: Seconds of decoding that the target lost to the draft on a shared device.
        reviews: Of each pass of the target behind the prefill: its rows, and the tokens that it accepted.
    """

    emitted: int = 0
    first_s: float = 0.0
    decoding_s: float = 0.0
    total_s: float = 0.0
    slowed_s: float = 0.0
    reviews: list[tuple[int, int]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class Request:
    """A request in the middle of its simulation.

    Attributes:
        new_tokens: Length of the answer, its first token included.
        offset: Where in the trace the answer begins.
    """

    how: How
    costs: Costs
    trace: Trace
    new_tokens: int
    offset: int = 0
    run: Run = field(default_factory=Run)
    engine: Engine = field(init=False)
    _decoding_from_s: float = 0.0
    _slowed_before_s: float = 0.0

    def __post_init__(self) -> None:
        self.engine = Engine(self.costs.rates)

    @property
    def remaining(self) -> int:
        return self.new_tokens - self.run.emitted

    @property
    def position(self) -> int:
        """In the trace, of the next token."""
        return self.offset + self.run.emitted

    def emit(self, tokens: int) -> None:
        self.run.emitted += min(tokens, self.remaining)

    def review(self, nodes: int) -> Task:
        """The target's pass over the last emitted token and a window."""
        return Task(TARGET, "review", self.costs.review(nodes + 1), nodes + 1)

    def first_token(self) -> None:
        """The prefill is done, and gives it."""
        self.run.first_s = self.engine.now_s
        self.emit(1)

    def begin_decoding(self) -> None:
        self._decoding_from_s = self.engine.now_s
        self._slowed_before_s = self.engine.slowed_s[TARGET]

    def finish(self) -> Run:
        run, engine = self.run, self.engine
        run.total_s = engine.now_s
        run.decoding_s = engine.now_s - self._decoding_from_s
        run.slowed_s = engine.slowed_s[TARGET] - self._slowed_before_s
        run.spans = engine.spans
        return run
