"""The synthetic videos show what their truth says."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rushes.demo.scenes import BACKGROUNDS, COLORS, MOTIONS, SHAPES, Clip, Scene, frame_times, render, sample_clip

FPS, HEIGHT, WIDTH = 4.0, 84, 112
BASE = Scene("red", "circle", "black", "still", duration_s=2.0)


def drawn(**changes: object) -> tuple[np.ndarray, np.ndarray]:
    return render(Clip((replace(BASE, **changes),)), FPS, HEIGHT, WIDTH)  # type: ignore[arg-type]


def centers(cover: np.ndarray) -> np.ndarray:
    """(T, 2) centre of mass (x, y) of the shape in each frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    mass = cover.sum((1, 2))
    return np.stack([(cover * x).sum((1, 2)) / mass, (cover * y).sum((1, 2)) / mass], axis=1)


@pytest.mark.parametrize(("motion", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)])
def test_a_moving_shape_moves_its_way_in_every_frame(motion: str, axis: int, sign: int) -> None:
    steps = np.diff(centers(drawn(motion=motion)[1])[:, axis]) * sign
    assert (steps > 1).all()


def test_growing_shrinking_blinking_and_still_shapes_do_so() -> None:
    assert (np.diff(drawn(motion="grow")[1].sum((1, 2))) > 0).all()
    assert (np.diff(drawn(motion="shrink")[1].sum((1, 2))) < 0).all()
    blink = drawn(motion="blink")[1].sum((1, 2)) > 0
    assert blink.tolist() == [True, False] * 4
    still = drawn(motion="still")[0]
    assert (still == still[0]).all()


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_pixels_have_the_colors_of_the_truth(color: str, background: str) -> None:
    frames, cover = drawn(color=color, background=background)
    assert (frames[cover == 1] == COLORS[color]).all()
    assert (frames[cover == 0] == BACKGROUNDS[background]).all()


def test_shapes_differ_from_each_other_by_many_pixels() -> None:
    covers = [drawn(shape=shape)[1][0] for shape in SHAPES]
    for i, one in enumerate(covers):
        for other in covers[:i]:
            assert np.abs(one - other).sum() > 0.15 * one.sum()


def test_every_frame_belongs_to_the_scene_that_runs_then() -> None:
    clip = Clip((replace(BASE, duration_s=1.0), replace(BASE, color="blue", duration_s=2.0)))
    assert [scene for scene, _ in frame_times(clip, FPS)] == [0] * 4 + [1] * 8
    frames, _ = render(clip, FPS, HEIGHT, WIDTH)
    assert (frames[3, 42, 56] == COLORS["red"]).all()
    assert (frames[4, 42, 56] == COLORS["blue"]).all()


def test_clips_are_seeded_varied_and_never_repeat_a_thing_in_a_row() -> None:
    clips = [sample_clip(np.random.default_rng(seed)) for seed in range(200)]
    assert clips == [sample_clip(np.random.default_rng(seed)) for seed in range(200)]
    assert {len(c.scenes) for c in clips} == set(range(1, 9))
    assert {s.motion for c in clips for s in c.scenes} == set(MOTIONS)
    for clip in clips:
        things = [(s.color, s.shape) for s in clip.scenes]
        assert all(a != b for a, b in pairwise(things))
