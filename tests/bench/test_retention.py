"""Retention and its interval: videos are drawn again, both methods alike."""

import random
import statistics

import pytest

from rushes.bench.retention import difference, retention


def test_equal_answers_keep_everything_without_spread() -> None:
    kept = retention([0.2, 0.9, 0.5], [0.2, 0.9, 0.5], statistics.fmean)
    assert (kept.value, kept.low, kept.high, kept.samples) == (1, 1, 1, 3)
    assert kept.to_json() == {"value": 1, "interval_95": [1, 1], "samples": 3}


def test_videos_are_drawn_in_pairs() -> None:
    """Videos differ far more from each other than methods do: drawn apart, the interval would be wide."""
    dice = random.Random(1)
    plain = [dice.uniform(0.1, 1) for _ in range(100)]
    kept = retention([0.99 * score for score in plain], plain, statistics.fmean)
    assert kept.value == pytest.approx(0.99)
    assert kept.high - kept.low < 1e-9


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        dice = random.Random(seed)
        plain = [1.0] * 60
        ours = [0.9 + dice.gauss(0, 0.1) for _ in plain]
        kept = retention(ours, plain, statistics.fmean, rounds=200)
        held += kept.low <= 0.9 <= kept.high
    assert 85 <= held <= 100


def test_the_difference_of_two_methods() -> None:
    plain, ours, theirs = [1.0, 0.5] * 20, [1.0, 0.5] * 20, [0.8, 0.4] * 20
    gap, (low, high) = difference(ours, theirs, plain, statistics.fmean)
    assert gap == pytest.approx(0.2)
    assert low == pytest.approx(0.2)
    assert high == pytest.approx(0.2)


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="no videos"):
        retention([], [], statistics.fmean)
    with pytest.raises(ValueError, match="nothing to keep"):
        retention([1.0], [0.0], statistics.fmean)
    with pytest.raises(ValueError, match="zip"):
        retention([1.0], [1.0, 1.0], statistics.fmean)
