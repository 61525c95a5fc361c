"""Conversations with checkpoints of the other families: timestamps, newlines and other templates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rushes as package
from llava_checkpoint import llava_checkpoint
from qwen_checkpoint import qwen3_checkpoint
from rushes import Pair, RushesError
from rushes.chat import Clip, Picture, Turn, ask
from rushes.recall import Recall, shared
from rushes.result import Result
from rushes.settings import Settings
from rushes.store import Store
from rushes.video import Sampling, Video, read_video

MAKE = {
    "qwen3_vl": qwen3_checkpoint,
    "llava_onevision": lambda folder, *more, **sizes: llava_checkpoint(folder, "llava_onevision", *more, **sizes),
    "llava_next_video": lambda folder, *more, **sizes: llava_checkpoint(folder, "llava_next_video", *more, **sizes),
}
METHODS = ("specvlm", "parallelvlm", "uniform+chain+exact+sequential")


@pytest.fixture(scope="module", params=MAKE)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    make: Any = MAKE[request.param]
    folders = [
        make(tmp_path_factory.mktemp(f"{request.param}{i}"), i, **sizes) for i, sizes in enumerate(({}, {"hidden": 32}))
    ]
    return package.load(*map(str, folders))


@pytest.fixture(scope="module")
def frames(video: Path) -> Video:
    return read_video(video, Sampling(num_frames=5))  # odd: some processors lengthen it


def answer(pair: Pair, turns: list[Turn], method: str, store: Store) -> tuple[Result, int]:
    made = ask(pair.processor, pair.target, turns)
    recall = Recall(store, made.identity, made.pictures)
    settings = Settings(method=method, keep=0.3, max_new_tokens=10)
    *_, last = pair.events(made.inputs, settings, recall=recall, question_tokens=made.question_tokens)
    assert last.result is not None
    return last.result, recall.reused


def test_a_clip_is_processed_once_and_as_the_pair_does(pair: Pair, video: Path, frames: Video) -> None:
    plain, _ = pair.inputs(frames, "What moves?")
    clip = Clip("a", frames)
    for _ in range(2):
        made = ask(pair.processor, pair.target, [Turn("user", (clip, "What moves?"))]).inputs
        assert plain.keys() == made.keys()
        for name, value in plain.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(made[name])), name
        clip.drop_frames()


@pytest.mark.parametrize("method", METHODS)
def test_a_follow_up_is_answered_as_without_a_store(pair: Pair, frames: Video, method: str) -> None:
    store, turns = Store(2**30), [Turn("user", (Clip("a", frames), "What moves?"))]
    first, reused = answer(pair, turns, method, store)
    assert reused == 0
    turns += [Turn("assistant", (first.text,)), Turn("user", ("Where to?",))]
    second, reused = answer(pair, turns, method, store)
    anew, _ = answer(pair, turns, method, Store(0))
    assert reused > first.video_tokens
    assert (second.token_ids, second.kept_indices) == (anew.token_ids, anew.kept_indices)


def test_a_video_that_comes_later_leaves_the_first_ones_numbers(pair: Pair, frames: Video) -> None:
    turns = [Turn("user", (Clip("a", frames), "What moves?"))]
    one = ask(pair.processor, pair.target, turns)
    both = ask(
        pair.processor, pair.target, [*turns, Turn("assistant", ("It.",)), Turn("user", (Clip("b", frames), "And?"))]
    )
    assert shared(one.identity, both.identity) == len(one.identity)
    video = pair.target.config.video_token_id
    numbers = both.identity[both.inputs["input_ids"][0] == video]
    assert (numbers < 0).all()
    assert len(numbers.unique()) == len(numbers)


def test_a_picture_beside_a_video(pair: Pair, frames: Video) -> None:
    picture = Picture("p", np.full((60, 60, 3), 90, np.uint8))
    turns = [Turn("user", (picture, Clip("a", frames), "What moves?"))]
    found, _ = answer(pair, turns, "specvlm", Store(2**30))
    plain, _ = answer(pair, turns, "ar", Store(0))
    assert found.token_ids == plain.token_ids


def test_a_message_with_a_mark_is_refused(pair: Pair) -> None:
    with pytest.raises(RushesError, match="stands for pictures"):
        ask(pair.processor, pair.target, [Turn("user", (f"a {pair.processor.video_token} b",))])
