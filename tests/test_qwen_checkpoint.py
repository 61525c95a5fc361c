"""Qwen3-VL from a folder: the processor's timestamps and grids, and answers that equal `generate`."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushes
from qwen_checkpoint import SIDE, qwen3_checkpoint
from rushes.demo import bundled
from rushes.errors import RushesError
from rushes.loading import load_model, load_processor
from rushes.prompting import build_inputs, sampling_for
from rushes.video import Sampling, Video, read_video

PROMPT = "Describe the video."


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A target and a draft, as the hub would hold them."""
    target = qwen3_checkpoint(tmp_path_factory.mktemp("target"))
    draft = qwen3_checkpoint(tmp_path_factory.mktemp("draft"), 1, hidden=32, layers=1)
    return str(target), str(draft)


@pytest.fixture(scope="module")
def pair(folders: tuple[str, str]) -> rushes.Pair:
    return rushes.load(*folders)


def clip(count: int, indices: list[int], fps: float) -> Video:
    frames = np.random.default_rng(0).integers(0, 255, (count, 4 * SIDE, 3 * SIDE, 3), np.uint8)
    return Video(frames, np.array(indices), np.array(indices) / fps, fps, indices[-1] + 1, (indices[-1] + 1) / fps)


@pytest.mark.parametrize("method", ["ar", "sd", "specvlm", "specvlm+chain+exact+sequential"])
def test_answers_about_a_file_equal_generate(
    folders: tuple[str, str], pair: rushes.Pair, video: Path, method: str
) -> None:
    processor = load_processor(folders[0])
    inputs = build_inputs(processor, PROMPT, read_video(video, sampling_for(processor)))
    model = load_model(folders[0], "cpu", "auto")
    made = model.generate(**inputs, do_sample=False, max_new_tokens=24)[0, inputs["input_ids"].shape[1] :].tolist()
    for keep in (0.0, 0.3, 1.0):
        result = pair.generate(video, PROMPT, method=method, keep=keep, max_new_tokens=24, check=True)
        assert result.token_ids == made
        assert result.text == processor.tokenizer.decode(made, skip_special_tokens=True)
        assert result.video_tokens == int(inputs["video_grid_thw"].prod()) // 4
        assert result.check is not None
        assert result.check.identical


def test_frames_are_taken_as_the_processor_says(pair: rushes.Pair, video: Path) -> None:
    """2 a second, at least 4 and at most 8: the clip of 2 seconds has 16."""
    assert pair.generate(video, PROMPT, method="ar", max_new_tokens=1).frames == 4
    assert pair.generate(video, PROMPT, method="ar", fps=3, max_new_tokens=1).frames == 6
    assert pair.generate(video, PROMPT, method="ar", frames=8, max_new_tokens=1).frames == 8
    assert sampling_for(pair.processor) == Sampling(fps=2, min_frames=4, max_frames=8)


def stamps(processor: Any, inputs: Any) -> list[float]:
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    found = re.findall(r"<([0-9.]+) seconds><\|vision_start\|>(?:<\|video_pad\|>)+<\|vision_end\|>", text)
    assert len(found) == text.count("seconds>")
    return [float(seconds) for seconds in found]


def test_timestamps_follow_the_frames_that_were_taken(pair: rushes.Pair) -> None:
    """Each is the mean of its two frames' times in the file."""
    processor = pair.processor
    for indices, fps in (([0, 10, 20, 30], 10.0), ([3, 4, 50, 60, 61, 90], 25.0), ([0, 6, 12], 4.0)):
        inputs = build_inputs(processor, PROMPT, clip(len(indices), indices, fps))
        times = [i / fps for i in [*indices, indices[-1]]][: 2 * ((len(indices) + 1) // 2)]
        wanted = [(a + b) / 2 for a, b in zip(times[::2], times[1::2], strict=True)]
        assert stamps(processor, inputs) == pytest.approx(wanted, abs=0.051)
        grids = pair.target.grids(inputs)
        assert grids == ((len(wanted), *grids[0][1:]),)
        assert grids[0][0] * grids[0][1] * grids[0][2] == pair.target.count(inputs)[1]


def test_one_frame_is_enough(pair: rushes.Pair) -> None:
    """It stands for both frames of the only pair."""
    inputs = build_inputs(pair.processor, PROMPT, clip(1, [7], 10.0))
    assert stamps(pair.processor, inputs) == [0.7]
    assert pair.target.grids(inputs)[0][0] == 1
    result = pair.generate(clip(1, [7], 10.0), PROMPT, max_new_tokens=8, check=True)
    assert result.frames == 1
    assert result.check is not None
    assert result.check.identical


def test_a_question_without_a_video(pair: rushes.Pair) -> None:
    result = pair.generate(None, PROMPT, max_new_tokens=8, check=True)
    assert result.video_tokens == 0
    assert result.check is not None
    assert result.check.identical


def test_a_draft_of_another_family_is_refused(folders: tuple[str, str]) -> None:
    with pytest.raises(RushesError):
        rushes.load(folders[0], bundled.DRAFT)
