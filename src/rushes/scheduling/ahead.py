"""What the draft writes while the target reviews: a guess of the token behind the window, and a window behind that."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from rushes.drafting.drafter import Drafter
from rushes.drafting.state import DraftState, Order
from rushes.sampling import draw
from rushes.stats import Stats
from rushes.timeline import DRAFT, Span
from rushes.window import EMPTY, Guess, Window


@dataclass(slots=True)
class Ahead:
    """Work in flight, and what came of it.

    Attributes:
        answer: All tokens emitted before it began.
        waiting: The window under review, whose main path is taken for granted; empty when there is none.
        limit: Levels behind the guess, at most.
        stream: Of the random numbers: one of its own for each piece of work, as it may be called off anywhere.
        order: To call it off, or to be content with what is there.
        guess: Answered as soon as the draft has chosen it.
        window: Behind the guess.
        span: In the timeline, once it has begun.
    """

    answer: list[int]
    waiting: Window
    limit: int
    stream: int = 1
    order: Order = field(default_factory=Order)
    guess: Future[Guess] = field(default_factory=Future)
    window: Window = EMPTY
    span: Span | None = None

    def write(self, prepared: Future[DraftState], drafter: Drafter, stats: Stats) -> None:
        """Do the work, with the draft that wrote `waiting`.

        Raises:
            Dropped: It was called off. `guess` then fails likewise, if there was none yet.
        """
        self.span = stats.timeline.begin(DRAFT, "window")
        try:
            self._write(prepared.result(), drafter)
            self.span.tokens = 1 + len(self.window)
        except BaseException as error:
            if not self.guess.done():
                self.guess.set_exception(error)
            raise
        finally:
            stats.timeline.end(self.span)
            stats.draft_s += self.span.end_s - self.span.start_s

    def _write(self, state: DraftState, drafter: Drafter) -> None:
        state.order = self.order
        state.generator = state.sampling.generator(state.model.device, self.stream)
        path = self.waiting.main_path
        if path:
            state.keep(self.waiting, path)
        state.follow(self.answer + [self.waiting.tokens[node] for node in path])
        logits = state.read_pending()
        if state.sampling.greedy:
            guess = Guess(int(logits.argmax(-1)))
        else:
            q = state.sampling.probabilities(logits)[0]
            guess = Guess(draw(q, state.generator), q)
        self.guess.set_result(guess)
        if self.limit >= 1 and not self.order.finish:
            state.write(guess.token)
            self.window = drafter.draft(state, self.limit)
