"""How a timeline is broken into rows, so that the short spans of a long request stay readable."""

import math
from collections import Counter
from dataclasses import dataclass

from rushes.timeline import Timeline

ROUNDS_IN_ROW, MOST_ROWS = 40, 12
# Below these shares of a row's width, one row for everything shows too little of a round, or of the prompt's reading.
_LEAST_ROUND, _LEAST_READING = 0.02, 0.04
ROUND = ("window", "review")


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch of the time axis, as wide as the page.

    Attributes:
        heading: What to write above it, if anything.
    """

    start_s: float
    end_s: float
    heading: str = ""


def rows_of(timeline: Timeline) -> list[Row]:
    """One row for a short request; else one for the reading of the prompt, and more for the rounds behind it.

    All rows of rounds have one scale. Of more than `MOST_ROWS` the middle is left out; the row behind the gap says so.
    """
    end, split = timeline.end_s, _read_until(timeline)
    rounds = max(Counter(span.kind for span in timeline.spans if span.kind in ROUND).values(), default=0)
    writing = end - split
    if end == 0:
        return []
    if rounds == 0 or writing <= 0:
        return [Row(0.0, end)]
    if rounds <= ROUNDS_IN_ROW and writing >= rounds * _LEAST_ROUND * end and split >= _LEAST_READING * end:
        return [Row(0.0, end)]
    count = math.ceil(rounds / ROUNDS_IN_ROW)
    edges = [split + writing * i / count for i in range(count)] + [end]
    passes = [span.start_s for span in timeline.spans if span.kind == "review"]
    headings = [""] * count
    headings[0] = f"writing the answer, {len(passes)} passes of the target"
    shown = list(range(count))
    if count > MOST_ROWS:
        first, last = MOST_ROWS // 2, count - MOST_ROWS // 2
        shown = [*range(first), *range(last, count)]
        hidden = sum(edges[first] <= start < edges[last] for start in passes)
        headings[0] += ": the beginning"
        headings[last] = (
            f"not drawn: {clock(edges[first], end)} to {clock(edges[last], end)}, {hidden} passes of the target; "
            "then the end"
        )
    rows = [Row(edges[i], edges[i + 1], headings[i]) for i in shown]
    return [Row(0.0, split, "reading the prompt, at a scale of its own"), *rows] if split > 0 else rows


def ticks(start_s: float, end_s: float, most: int) -> list[float]:
    """Round times in a stretch, in equal steps of 1, 2 or 5 times a power of ten; one more than `most` at the most."""
    step = tick_step(end_s - start_s, most)
    first, last = math.ceil(start_s / step - 1e-6), math.floor(end_s / step + 1e-6)
    return [i * step for i in range(first, last + 1)]


def tick_step(length_s: float, most: int) -> float:
    """The smallest such step that divides a length into `most` parts or fewer."""
    least = max(length_s, 1e-9) / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def clock(seconds: float, total_s: float, step_s: float = 0.0) -> str:
    """A time in words, in the unit that fits the whole request, as fine as the steps of an axis (or a 1000th of it)."""
    unit, factor = ("s", 1.0) if total_s >= 1 else ("ms", 1e3)
    step = (step_s or total_s / 1000 or 1.0) * factor
    return f"{seconds * factor:.{max(0, math.ceil(-math.log10(step) - 1e-6))}f} {unit}"


def _read_until(timeline: Timeline) -> float:
    """When the last model is done with the prompt. What is read anew later on, by a new worker, does not count."""
    first = min((span.start_s for span in timeline.spans if span.kind == "review"), default=math.inf)
    reading = [span for span in timeline.spans if span.kind not in ROUND and span.start_s <= first]
    return max((span.end_s for span in reading), default=0.0)
