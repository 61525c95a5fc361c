"""How much of the target's quality a method keeps, with an interval: videos are drawn again, both methods alike."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retention:
    """A method's score over plain decoding's on the same videos.

    Attributes:
        value: The ratio.
        low, high: Its 95 % bootstrap interval.
        samples: Videos.
    """

    value: float
    low: float
    high: float
    samples: int

    def to_json(self) -> dict[str, float | int | list[float]]:
        return {"value": self.value, "interval_95": [self.low, self.high], "samples": self.samples}


def retention(
    ours: Sequence[T], plain: Sequence[T], score: Callable[[Sequence[T]], float], rounds: int = 1000
) -> Retention:
    """What of plain decoding's score is kept.

    Args:
        ours, plain: What each video gave under the method and under plain decoding, in the same order.
        score: Of any number of videos.
        rounds: Of the bootstrap.

    Raises:
        ValueError: Different numbers of videos, none, or a score of 0 to keep.
    """
    return _ratio(list(zip(ours, plain, strict=True)), score, rounds)


def difference(
    ours: Sequence[T],
    theirs: Sequence[T],
    plain: Sequence[T],
    score: Callable[[Sequence[T]], float],
    rounds: int = 1000,
) -> tuple[float, tuple[float, float]]:
    """How much more one method keeps than another, and the 95 % bootstrap interval of that."""
    videos = list(zip(ours, theirs, plain, strict=True))

    def gap(drawn: Sequence[tuple[T, T, T]]) -> float:
        ours, theirs, plain = (list(column) for column in zip(*drawn, strict=True))
        return (score(ours) - score(theirs)) / score(plain)

    return gap(videos), _interval(videos, gap, rounds)


def _ratio(videos: list[tuple[T, T]], score: Callable[[Sequence[T]], float], rounds: int) -> Retention:
    if not videos:
        raise ValueError("no videos to compare on")
    if score([theirs for _, theirs in videos]) == 0:
        raise ValueError("plain decoding scores 0: there is nothing to keep")

    def kept(drawn: Sequence[tuple[T, T]]) -> float | None:
        base = score([theirs for _, theirs in drawn])
        return score([ours for ours, _ in drawn]) / base if base else None

    whole = kept(videos)
    assert whole is not None, "plain decoding's score was looked at above"

    return Retention(whole, *_interval(videos, kept, rounds), len(videos))


def _interval(videos: list[T], value: Callable[[Sequence[T]], float | None], rounds: int) -> tuple[float, float]:
    """Draws that have no value, as where plain decoding scores 0, say nothing and do not count."""
    dice = random.Random(0)
    drawn = (value(dice.choices(videos, k=len(videos))) for _ in range(rounds))
    found = sorted(one for one in drawn if one is not None)
    return found[int(0.025 * len(found))], found[int(0.975 * len(found))]
