"""What a decoding span is spent on, seen from the target: whoever wants more speed has to shorten the largest share."""

from collections.abc import Sequence

from rushes.bench.planning.request import Costs, How, Run

WAITING = "idle target"  # it waits for the draft
DISCARDED = "discarded windows"  # passes over nothing but the last token, because a window was dropped
SHARED = "shared device"  # passes are slower because the draft works on the same device


def limits(how: How, costs: Costs, runs: Sequence[Run]) -> dict[str, float]:
    """Shares of the decoding span, the largest first; they sum to 1."""
    seconds: dict[str, float] = {}

    def add(reason: str, more: float) -> None:
        if more > 0:
            seconds[reason] = seconds.get(reason, 0.0) + more

    for run in runs:
        alone = 0.0
        for rows, _ in run.reviews:
            job = costs.review(rows)
            alone += job.seconds
            if how.overlap and rows == 1:
                add(DISCARDED, job.seconds)
                continue
            for reason, share in job.reasons.items():
                add(reason, share)
        add(SHARED, run.slowed_s)
        add(WAITING, run.decoding_s - alone - run.slowed_s)
    total = sum(seconds.values())
    return (
        {reason: spent / total for reason, spent in sorted(seconds.items(), key=lambda one: -one[1])} if total else {}
    )


def describe(shares: dict[str, float], most: int = 2) -> str:
    """The largest shares in words."""
    return ", ".join(f"{reason} {share:.0%}" for reason, share in list(shares.items())[:most] if share >= 0.05)
