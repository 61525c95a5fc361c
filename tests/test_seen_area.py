"""The drawn area is what the processor shows to the model, by frames whose pixels say where they lie."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rushes._torchvision import ensure_torchvision
from rushes.demo import bundled
from rushes.loading import load_processor
from rushes.seen_area import seen_area

ensure_torchvision()

from transformers import LlavaNextVideoVideoProcessor, LlavaOnevisionVideoProcessor  # noqa: E402


def wrapped(video_processor: Any) -> Any:
    return SimpleNamespace(video_processor=video_processor)


def shown(video_processor: Any, height: int, width: int) -> torch.Tensor:
    """(2, H, W) for each pixel of the processor's picture the row and column of the frame it comes from, 0..1."""
    frame = np.zeros((1, height, width, 3), np.uint8)
    frame[..., 0] = (np.arange(height) / (height - 1) * 255).round()[:, None]
    frame[..., 1] = (np.arange(width) / (width - 1) * 255).round()
    made = video_processor(
        [frame], do_sample_frames=False, do_normalize=False, do_rescale=False, return_tensors="pt"
    ).pixel_values_videos
    return made[0, 0, :2].double() / 255


@pytest.mark.parametrize("frame", [(252, 336), (336, 252), (100, 1000), (333, 336), (64, 63), (1080, 1920)], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
        {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 168}},
        {"size": {"height": 60, "width": 90}, "crop_size": {"height": 40, "width": 40}},
        {"do_resize": False, "crop_size": {"height": 63, "width": 50}},
    ],
    ids=str,
)
def test_a_center_crop_shows_a_part(frame: tuple[int, int], options: dict[str, Any]) -> None:
    processor = LlavaNextVideoVideoProcessor(**options)
    left, top, right, bottom = seen_area(wrapped(processor), *frame)
    assert 0 <= left < right <= frame[1]
    assert 0 <= top < bottom <= frame[0]
    rows, columns = shown(processor, *frame)
    for pixels, size, first, last in ((rows, frame[0], top, bottom), (columns.T, frame[1], left, right)):
        step = (last - first) / len(pixels)
        for at, pixel in ((first, pixels[0, 0]), (last - step, pixels[-1, 0])):
            middle = (at + step / 2 - 0.5) / (size - 1)
            assert float(pixel) == pytest.approx(middle, abs=max(0.02, step / size)), "of the frame's edge"


def test_black_where_the_crop_is_larger_than_the_frame() -> None:
    processor = LlavaNextVideoVideoProcessor(do_resize=False, crop_size={"height": 100, "width": 61})
    area = seen_area(wrapped(processor), 50, 80)
    assert area == (9.0, -25.0, 70.0, 75.0)
    rows, columns = shown(processor, 50, 80)
    assert (rows[:25] == 0).all()
    assert (rows[75:] == 0).all()
    assert float(columns[30, 0]) == pytest.approx(9 / 79, abs=0.003)


def test_pixels_behind_the_last_whole_patch_are_not_seen() -> None:
    processor = wrapped(LlavaOnevisionVideoProcessor())
    assert seen_area(processor, 240, 320) == (0, 0, 320, 240)
    assert seen_area(processor, 240, 320, patch=14) == (0, 0, 320 * 378 / 384, 240 * 378 / 384)
    whole = wrapped(LlavaNextVideoVideoProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}))
    assert seen_area(whole, 400, 400, patch=14) == (0, 0, 400, 400)


@pytest.mark.parametrize("frame", [(252, 336), (84, 112), (30, 1000)], ids=str)
def test_qwen_sees_whole_frames(frame: tuple[int, int]) -> None:
    assert seen_area(load_processor(bundled.TARGET), *frame, patch=14) == (0, 0, frame[1], frame[0])
