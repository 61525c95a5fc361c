"""Conversations go through the checkpoint's own processor, and equal beginnings have equal numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rushes import Pair, RushesError
from rushes.chat import Asked, Clip, Picture, Turn, ask
from rushes.demo import bundled
from rushes.recall import shared
from rushes.video import Sampling, Video, read_video


@pytest.fixture(scope="module")
def pair() -> Pair:
    return bundled.pair()


@pytest.fixture(scope="module")
def frames(video: Path) -> Video:
    return read_video(video, Sampling(num_frames=4))


def asked(pair: Pair, *turns: Turn) -> Asked:
    return ask(pair.processor, pair.target, turns)


def user(*parts: Any) -> Turn:
    return Turn("user", parts)


def test_one_question_about_one_video_is_what_the_pair_makes_of_it(pair: Pair, video: Path, frames: Video) -> None:
    plain, _ = pair.inputs(video, "What is this?", frames=4)
    clip = Clip("a", frames)
    for _ in range(2):  # the second time from what was processed before, without any frames
        made = asked(pair, user(clip, "What is this?"))
        assert plain.keys() == made.inputs.keys()
        for name, value in plain.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(made.inputs[name])), name
        assert made.question_tokens is None
        clip.drop_frames()
        assert clip.video.frames.shape == frames.frames.shape
        assert clip.bytes == sum(value.nbytes for value in clip.processed.values() if isinstance(value, torch.Tensor))


def test_a_conversation_counts_its_last_turn_and_shares_its_beginning(pair: Pair, frames: Video) -> None:
    clip = Clip("a", frames)
    first = asked(pair, user(clip, "What is this?"))
    turns = (user(clip, "What is this?"), Turn("assistant", ("A red square.",)), user("Which way does it go?"))
    second = asked(pair, *turns)
    before = shared(first.identity, second.identity)
    assert before == len(first.identity)  # the answer follows where it was asked for
    question = second.question_tokens
    assert question is not None
    text = pair.processor.tokenizer.decode(second.inputs["input_ids"][0][-question:])
    assert "Which way does it go?" in text
    assert "red square" not in text
    assert second.pictures == first.pictures


def test_other_videos_have_other_numbers_and_a_later_one_changes_nothing_before_it(pair: Pair, frames: Video) -> None:
    one, other = (asked(pair, user(Clip(name, frames), "What is this?")) for name in "ab")
    columns = (one.inputs["input_ids"][0] == pair.target.config.video_token_id).nonzero().squeeze(1)
    assert shared(one.identity, other.identity) == int(columns[0])
    assert one.pictures != other.pictures
    assert len(one.identity[columns].unique()) == len(columns)
    both = asked(
        pair,
        user(Clip("a", frames), "What is this?"),
        Turn("assistant", ("A square.",)),
        user(Clip("b", frames), "And this?"),
    )
    assert shared(one.identity, both.identity) == len(one.identity)


def test_pictures_count_as_well(pair: Pair, frames: Video) -> None:
    red, blue = (Picture(name, np.full((56, 56, 3), tone, np.uint8)) for name, tone in (("r", 200), ("b", 20)))
    made = [asked(pair, user(one, "What is this?")) for one in (red, blue, red)]
    assert torch.equal(made[0].identity, made[2].identity)
    assert not torch.equal(made[0].identity, made[1].identity)
    mixed = asked(pair, user(red, Clip("a", frames), "Compare."))
    assert {"pixel_values", "pixel_values_videos"} <= mixed.inputs.keys()
    assert int((mixed.identity < 0).sum()) == int(
        sum((mixed.inputs["input_ids"] == token).sum() for token in _placeholders(pair))
    )


def _placeholders(pair: Pair) -> tuple[int, int]:
    return pair.target.config.video_token_id, pair.target.config.image_token_id


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ((), "the conversation is empty"),
        ((Turn("assistant", ("Hello",)),), "the last turn must be the user's, not the assistant's"),
        ((Turn("robot", ("Hello",)), Turn("user", ("Hello",))), "unknown role 'robot'"),
        ((Turn("user", (" ",)),), "the last turn is empty"),
        ((Turn("user", ()),), "the last turn is empty"),
        ((Turn("user", ("a <|video_pad|> b",)),), "stands for pictures"),
        ((Turn("user", ("a <|video", "_pad|> b")),), "stands for pictures"),
        ((Turn("user", ("\ud800",)),), "not UTF-8 text"),
    ],
)
def test_what_no_checkpoint_can_take_is_refused(pair: Pair, turns: tuple[Turn, ...], words: str) -> None:
    with pytest.raises(RushesError, match=words):
        asked(pair, *turns)


def test_a_video_in_an_answer_is_refused(pair: Pair, frames: Video) -> None:
    with pytest.raises(RushesError, match="belong to the user"):
        asked(pair, Turn("assistant", (Clip("a", frames),)), user("Well?"))


def test_frames_that_the_processor_refuses_are_refused(pair: Pair, frames: Video) -> None:
    thin = replace(frames, frames=np.zeros((4, 4, 4000, 3), np.uint8))
    with pytest.raises(RushesError, match="cannot use this video"):
        asked(pair, user(Clip("a", thin), "What is this?"))
