"""Facts are counted attribute by attribute: hand-made descriptions of a hand-made clip."""

import numpy as np
import pytest

from rushes.demo.facts import FACTS, Count, facts_of, total
from rushes.demo.scenes import Clip, Scene, sample_clip
from rushes.demo.wording import describe

CLIP = Clip(
    (
        Scene("red", "cross", "black", "left"),
        Scene("blue", "ring", "teal", "grow"),
        Scene("green", "star", "pink", "still"),
    )
)
RIGHT = (
    "The video has three scenes. In the first scene we see a red cross on a black background. It moves to the left. "
    "In the second scene we see a blue ring on a teal background. It grows larger. "
    "In the third scene we see a green star on a pink background. It stays still."
)


def test_a_true_description_is_right_in_everything() -> None:
    for count in facts_of(RIGHT, CLIP).values():
        assert count.precision == count.recall == count.f1 == 1


@pytest.mark.parametrize("seed", range(20))
def test_every_wording_of_the_truth_is_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clip = sample_clip(rng)
    assert total([facts_of(describe(clip, rng).answer, clip)]).f1 == 1


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ("red cross", "red ring", {"object", "order"}),
        ("red cross", "orange cross", {"color", "order"}),
        ("black", "white", {"background"}),
        ("moves to the left", "moves to the right", {"direction"}),
        ("moves to the left", "stays still", {"motion", "direction"}),
        ("grows larger", "gets smaller", {"motion"}),
        ("grows larger", "moves up", {"motion", "direction"}),
    ],
)
def test_an_error_counts_where_it_belongs(before: str, after: str, wrong: set[str]) -> None:
    found = facts_of(RIGHT.replace(before, after), CLIP)
    assert {name for name, count in found.items() if count.f1 < 1} == wrong


def test_swapped_scenes_are_an_error_of_order_and_a_missing_one_of_recall() -> None:
    swapped = Clip((CLIP.scenes[1], CLIP.scenes[0], CLIP.scenes[2]))
    assert facts_of(RIGHT, swapped)["order"] == Count(3, 3, 2)
    assert facts_of(RIGHT, swapped)["color"] == Count(3, 3, 1)
    short = facts_of(RIGHT[: RIGHT.index(" In the third")], CLIP)
    assert short["order"] == Count(2, 3, 2)
    assert (short["object"].precision, short["object"].recall) == (1, pytest.approx(2 / 3))
    assert facts_of("", CLIP)["object"] == Count(0, 3, 0)
    assert Count().f1 == Count().precision == Count().recall == 0


def test_the_total_adds_up() -> None:
    both = total([facts_of(RIGHT, CLIP), facts_of("", CLIP)])
    assert set(facts_of(RIGHT, CLIP)) == set(FACTS)
    assert both == Count(16, 32, 16)  # five facts and a place for each of three scenes, directions for one of them
