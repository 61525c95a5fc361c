"""What is said when the processor's cap on pixels has made frames smaller."""

from typing import Any

import numpy as np
import pytest
import torch

from rushes.demo.build import make_processor, make_tokenizer
from rushes.prompting import build_inputs, pixel_notes
from rushes.video import Video


def video(count: int, height: int, width: int) -> Video:
    frames = np.zeros((count, height, width, 3), np.uint8)
    return Video(frames, np.arange(count), np.arange(count) / 2, 2.0, count, count / 2)


@pytest.fixture(scope="module")
def processor() -> Any:
    return make_processor(make_tokenizer(samples=20))


def test_a_checkpoint_that_leaves_the_cap_open_gets_it_and_a_note(
    processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = processor.video_processor
    clip = video(8, 112, 112)
    assert pixel_notes(processor, build_inputs(processor, "Hi", clip), clip) == ()
    monkeypatch.setattr(reader, "cap_pixels_per_frame", None)
    monkeypatch.setattr(reader, "max_video_tokens", 40)
    monkeypatch.setattr(reader, "size", {"shortest_edge": 28 * 28, "longest_edge": 112 * 112})
    inputs = build_inputs(processor, "Hi", clip)
    _, height, width = inputs["video_grid_thw"][0].tolist()
    assert height * width * 8 / 2 <= 40 * 4
    assert pixel_notes(processor, inputs, clip) == (
        f"112x112 frames were reduced to {width * 14}x{height * 14}, so that 8 of them fit",
    )
    small = video(2, 56, 56)
    roomy = {**inputs, "video_grid_thw": torch.tensor([[1, 4, 4]])}
    assert pixel_notes(processor, roomy, small) == ()
