"""A request under a schedule, and what many of them come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rushes.bench.planning.acceptance import Trace
from rushes.bench.planning.overlapped import Overlapped
from rushes.bench.planning.request import Costs, How, Request, Run
from rushes.bench.planning.sequential import sequential
from rushes.timeline import DRAFT, TARGET


def simulate(how: How, costs: Costs, trace: Trace, new_tokens: int, offset: int = 0) -> Run:
    """Run one request.

    Args:
        new_tokens: Length of the answer, its first token (from the prefill) included.
        offset: Where in the trace the answer begins.
    """
    request = Request(how, costs, trace, new_tokens, offset)
    if how.overlap:
        Overlapped(request).run()
    else:
        request.engine.run(sequential(request))
    return request.finish()


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over requests; shares are of the lane's decoding span.

    Attributes:
        accepted_per_round: tau, over the passes that had a window.
        tokens_per_pass: Emitted tokens for each pass of the target.
        busy, discarded: By lane; what is busy and not discarded was of use, the rest of the span is idle.
    """

    decoding_s: float
    total_s: float
    slowed_s: float
    accepted_per_round: float
    tokens_per_pass: float
    busy: dict[str, float]
    discarded: dict[str, float]


def many(how: How, costs: Costs, trace: Trace, new_tokens: int, least: int) -> tuple[Summary, list[Run]]:
    """Requests one behind the other along a trace, until `least` tokens are written."""
    count = max(1, -(-least // new_tokens))
    runs = [simulate(how, costs, trace, new_tokens, i * new_tokens) for i in range(count)]
    return summary(runs), runs


def summary(runs: Sequence[Run]) -> Summary:
    """The means of a few runs."""
    reviews = [review for run in runs for review in run.reviews]
    windows = [accepted for rows, accepted in reviews if rows > 1]
    decoding = sum(run.decoding_s for run in runs)
    shares: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for lane in (TARGET, DRAFT):
        for every in (True, False):
            seconds = sum(
                span.end_s - max(span.start_s, run.total_s - run.decoding_s)
                for run in runs
                for span in run.spans
                if span.lane == lane and span.end_s > run.total_s - run.decoding_s and (every or span.discarded)
            )
            shares[every][lane] = seconds / decoding if decoding else 0.0
    return Summary(
        decoding_s=fmean(run.decoding_s for run in runs),
        total_s=fmean(run.total_s for run in runs),
        slowed_s=fmean(run.slowed_s for run in runs),
        accepted_per_round=fmean(windows) if windows else 0.0,
        tokens_per_pass=sum(run.emitted - 1 for run in runs) / len(reviews) if reviews else 0.0,
        busy=shares[True],
        discarded=shares[False],
    )
