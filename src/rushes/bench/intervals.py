"""Means with their spread."""

import random
import statistics
from collections.abc import Sequence


def interval(values: Sequence[float], rounds: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    chance = random.Random(0)
    means = sorted(statistics.fmean(chance.choices(values, k=len(values))) for _ in range(rounds))
    return means[int(0.025 * rounds)], means[int(0.975 * rounds)]
