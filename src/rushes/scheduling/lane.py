"""The draft's side of one request under a schedule that overlaps: its jobs, in flight or done."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import torch

from rushes.drafting.drafter import Drafter
from rushes.drafting.state import DraftState, Dropped, Order
from rushes.errors import RushesError
from rushes.scheduling.ahead import Ahead
from rushes.scheduling.worker import Worker
from rushes.stats import Stats, wait_for
from rushes.timeline import DRAFT
from rushes.window import Guess, Window

T = TypeVar("T")


class Lane:
    """Jobs of one request on the draft's worker. Only one window is in flight at a time.

    Args:
        worker: Runs them.
        drafter: Writes windows.
        stats: Filled in.
        auto: A window in flight ends where the target's pass does.
        lockstep: Wait for every guess, so that nothing hangs on the clock. Otherwise the target never waits for a
            draft that has not begun yet.

    Attributes:
        accepted: Lengths, of the last rounds.
    """

    def __init__(self, worker: Worker, drafter: Drafter, stats: Stats, *, auto: bool, lockstep: bool) -> None:
        self.worker = worker
        self.auto = auto
        self.accepted: deque[int] = deque(maxlen=10)
        self._lockstep = lockstep
        self._drafter = drafter
        self._stats = stats
        self._jobs: list[Future[None]] = []  # all that may still run
        self._prepared: Future[DraftState] | None = None
        self._ahead: Ahead | None = None
        self._writing: Future[None] | None = None
        self._streams = 1

    def run(self, job: Callable[[], None]) -> None:
        """Queue a job whose result nobody asks for."""
        self._jobs.append(self.worker.submit(job))

    def prepare(self, job: Callable[[], DraftState]) -> None:
        """Queue the draft's prefill."""

        def prepared() -> DraftState:
            state = job()
            state.accepted = self.accepted
            return state

        self._prepared = self.worker.submit(prepared)

    @property
    def prepared(self) -> bool:
        """Was the draft's prefill queued?"""
        return self._prepared is not None

    @property
    def ready(self) -> bool:
        """Is the draft's prefill done?

        Raises:
            RushesError: It failed for want of memory; RuntimeError: it failed otherwise.
        """
        self._check()
        return self._prepared is not None and self._prepared.done()

    def write_ahead(self, answer: list[int], waiting: Window, limit: int) -> None:
        """Queue a guess of what follows `answer` and the main path of `waiting`, and a window behind it."""
        self._check()
        self._streams += 1
        self._ahead = ahead = Ahead(list(answer), waiting, limit, self._streams)
        prepared = self._prepared
        assert prepared is not None, "the draft's prefill is queued before its first window"
        self._writing = self.worker.submit(lambda: ahead.write(prepared, self._drafter, self._stats))
        self._jobs.append(self._writing)

    def draft(self, answer: list[int], limit: int) -> tuple[Window, float]:
        """Write a window of at most `limit` levels here and now, while the target waits and all cores are free.

        Returns:
            The window, and the seconds for each forward of the draft.
        """
        state = self._state()
        self._streams += 1
        state.order = Order()
        state.generator = state.sampling.generator(state.model.device, self._streams)
        with self._stats.timeline.span(DRAFT, "window") as span:
            state.follow(answer)
            window = self._drafter.draft(state, limit)
            wait_for(state.model.device)
        span.tokens, took = len(window), span.end_s - span.start_s
        self._stats.draft_s += took
        return window, took / max(1, state.order.steps)

    def keep(self, window: Window, path: list[int]) -> None:
        """Let the draft roll back to what was accepted of a window that was reviewed while it rested."""
        if len(window):
            self._state().keep(window, path)

    def _state(self) -> DraftState:
        """The draft, when nothing is in flight any more."""
        assert self._prepared is not None, "a window before the draft's prefill"
        wait(self._jobs)
        self._check()
        return self._result(self._prepared)

    @property
    def steps(self) -> int:
        """Forwards of the window in flight so far."""
        return 0 if self._ahead is None else self._ahead.order.steps

    def guess(self) -> Guess | None:
        """The guess in flight, waited for; None when there is none, or when the draft has not begun with it."""
        if self._ahead is None or self._writing is None:
            return None
        if self.auto:
            self._ahead.order.finish = True
        if not self._lockstep and self._writing.cancel():
            return None
        return self._result(self._ahead.guess)

    def settle(self, complete: bool, next_token: int) -> Window | None:
        """Take the window in flight if it goes on from what the target has emitted, or else discard it.

        Args:
            complete: The main path of the window under review was accepted to its end.
            next_token: What the target emitted behind it.

        Returns:
            The window behind the guess, which may be empty, or None.
        """
        ahead, writing = self._ahead, self._writing
        if ahead is None or writing is None:
            return None
        guess = self.guess() if complete else None
        self._ahead = self._writing = None
        if guess is not None and guess.token == next_token:
            self._result(writing)
            return ahead.window
        self._discard(ahead, writing)
        return None

    def close(self) -> None:
        """Call off what is in flight and wait until the worker has let go of this request."""
        if self._ahead is not None and self._writing is not None:
            self._discard(self._ahead, self._writing)
            self._ahead = self._writing = None
        jobs: list[Future[Any]] = [*self._jobs, *([] if self._prepared is None else [self._prepared])]
        for job in jobs:
            job.cancel()
        wait(jobs)

    def _discard(self, ahead: Ahead, writing: Future[None]) -> None:
        if writing.cancel():
            return
        ahead.order.drop = True

        def count(_: Future[None]) -> None:
            self._stats.discarded_steps += ahead.order.steps
            if ahead.span is not None:
                ahead.span.discarded = True

        writing.add_done_callback(count)

    def _check(self) -> None:
        """Notice what has failed behind our back, and forget what is done."""
        done: list[Future[Any]] = [job for job in self._jobs if job.done()]
        self._jobs = [job for job in self._jobs if not job.done()]
        if self._prepared is not None and self._prepared.done():
            done.append(self._prepared)
        for job in done:
            if not job.cancelled() and not isinstance(job.exception(), Dropped):
                self._result(job)

    def _result(self, job: Future[T]) -> T:
        """What a job returns, or the end of the request if it failed; the worker then makes room for a new one."""
        error = job.exception()  # not `result()`: an interrupt while we wait is ours, one that it holds is not
        if error is None:
            return job.result()
        self.worker.replace()
        if isinstance(error, RushesError | torch.OutOfMemoryError):
            raise error
        raise RuntimeError(
            f"the draft's worker died: {type(error).__name__}: {error}; ask again, the next request gets a new one"
        ) from error
