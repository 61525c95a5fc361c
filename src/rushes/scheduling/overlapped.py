"""Draft and target at the same time (PEARL, arXiv 2408.11850; `methods.md` section 6).

PEARL has two modes, pre-verify and post-verify, which are one here. The target reviews the window that waits, while the
draft takes that window's main path for granted, guesses the token behind it, and writes the next window behind the
guess. If the target goes that way, the next window is what waits in the next round (post-verify). If not, it is called
off at once, both models roll back, and nothing waits: then the target's pass is a plain one, and what it tests is the
guess, the first token of the window that is being written meanwhile (pre-verify).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from rushes.drafting.drafter import Drafter
from rushes.errors import unknown_name
from rushes.scheduling.base import Request
from rushes.scheduling.lane import Lane
from rushes.scheduling.review import emit, review
from rushes.scheduling.tempo import Plan, Tempo
from rushes.scheduling.worker import Worker
from rushes.stats import Stats
from rushes.window import EMPTY, EXACT

OVERLAPS = ["auto", "always"]
PREFILLS = ["early", "late"]


@dataclass(frozen=True, slots=True)
class Pipelined:
    """PEARL's loop, as ParallelVLM runs it (arXiv 2603.19610).

    Args:
        overlap: "always", or "auto": in turns where measured speeds say that this is faster, as they do where draft and
            target share all cores. With "always" and a window of a given size nothing hangs on the clock.
        prefill: "early", beside the target's prefill, as soon as the scorer can say what is kept; or "late", behind it,
            to see what that is worth.
    """

    overlap: str = "auto"
    prefill: str = "early"
    overlaps: ClassVar[bool] = True
    cautious: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.overlap not in OVERLAPS:
            raise unknown_name("overlap", self.overlap, OVERLAPS)
        if self.prefill not in PREFILLS:
            raise unknown_name("prefill", self.prefill, PREFILLS)

    @property
    def early(self) -> bool:
        return self.prefill == "early"

    def lane(self, worker: Worker, drafter: Drafter, stats: Stats, *, auto: bool) -> Lane:
        return Lane(worker, drafter, stats, auto=auto, lockstep=self.overlap == "always" and not auto)

    def rounds(self, request: Request) -> Iterator[list[int]]:
        lane, stats = request.lane, request.stats
        assert lane is not None, "a schedule that overlaps was started without a lane"
        tempo = self._tempo(request, lane)
        stats.pace = tempo
        answer = [request.last_token]
        waiting = lane.settle(True, request.last_token) or EMPTY  # written during the target's prefill
        while True:
            # Until the draft has read its prompt there is nothing to measure, and nobody waits for it.
            plan = tempo.next() if lane.ready else Plan(0, tempo.widest)
            if plan.lead and not len(waiting) and request.remaining > 1:
                waiting, took = lane.draft(answer, min(plan.lead, request.remaining - 1))
                tempo.observe_window(waiting, took)
            limit = request.remaining - waiting.depth - 2  # levels behind the guess that could still be emitted
            ahead = plan.ahead > 0 and limit >= 0
            if ahead:
                lane.write_ahead(answer, waiting, min(plan.ahead - 1, limit))
            verdict, took = review(request, waiting, lane.guess)
            steps = lane.steps
            complete = verdict.path == waiting.main_path
            tested = complete and lane.guess() is not None
            tokens = emit(request, waiting, verdict)
            answer += tokens
            if ahead:
                following = lane.settle(complete, verdict.next_token)
            else:
                following = None
                lane.keep(waiting, verdict.path)
            accepted = len(verdict.path) + (following is not None)
            if following is not None and not stats.marks[-1].drafted:
                stats.marks[-1] = EXACT  # the draft had guessed it
            lane.accepted.append(accepted)
            stats.count_round(len(waiting) + tested, accepted, waiting.depth + tested)
            tempo.observe_pass(len(waiting) + 1, took, steps)
            tempo.observe_round(overlapped=ahead, tested=waiting.depth + tested, accepted=accepted)
            lane.worker.contention = tempo.contention
            waiting = following or EMPTY
            yield tokens

    def _tempo(self, request: Request, lane: Lane) -> Tempo:
        assert request.drafter is not None, "a schedule that overlaps was started without a drafter"
        return Tempo(
            request.drafter.gamma,
            fixed=not lane.auto,
            shared=lane.worker.device == request.target.device,
            always=self.overlap == "always",
            cautious=self.cautious,
            contention=lane.worker.contention,
        )


@dataclass(frozen=True, slots=True)
class Adaptive(Pipelined):
    """HIPPO's adaptive parallel decoding (arXiv 2601.08273): optimistic or cautious by history.

    Optimistic after a window that was accepted whole. After a rejection cautious, as `Pipelined` is: the target tests
    the first token of the window that is being written, which is called off when that token is wrong. Past the paper,
    the draft may write a few tokens before that test where the acceptance and the speeds so far say that this pays:
    the target's pass then tests all of these.
    """

    cautious: ClassVar[bool] = False
