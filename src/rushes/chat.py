"""Conversations with pictures and videos: what a processor makes of them, and which columns two of them share."""

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.models.base import Inputs, VideoLM, single_request
from rushes.prompting import chat_text, check_prompt, refuse_marks, run_processor
from rushes.video import Video

ROLES = ("system", "user", "assistant")
_STEP = 0x1E35A7BD  # between the numbers of two places of one picture; odd, so that none comes twice


@dataclass(slots=True, eq=False)
class Clip:
    """A video of a conversation.

    Attributes:
        digest: Tells it, as it was sampled, from all others.
        video: Its frames; they are not needed once it was processed.
        processed: What the checkpoint's video processor made of it.
        moments: Small pictures of some frames, for whoever shows them.
    """

    digest: str
    video: Video
    processed: Any = None
    moments: list[dict[str, Any]] = field(default_factory=list)

    def drop_frames(self) -> None:
        """Keep their shape only."""
        nothing = np.broadcast_to(np.zeros(1, np.uint8), self.video.frames.shape)
        self.video = replace(self.video, frames=nothing)

    @property
    def bytes(self) -> int:
        values = [] if self.processed is None else self.processed.values()
        frames = self.video.frames
        return sum(v.nbytes for v in values if isinstance(v, Tensor)) + (frames.nbytes if any(frames.strides) else 0)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image of a conversation: its digest, and (H, W, 3) uint8."""

    digest: str
    pixels: np.ndarray


Part = str | Clip | Picture


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says: a role of `ROLES`, and text, videos and pictures in their order."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A conversation as a model takes it.

    Attributes:
        inputs: What the processor returned.
        identity: (S,) int64, a number for each column; equal for equal columns of conversations of one model.
        pictures: Tells the videos and pictures from those of other conversations; "" without any.
        question_tokens: The last turn's tokens; None where there is but one turn.
        notes: What people should know about the videos.
    """

    inputs: Inputs
    identity: Tensor
    pictures: str
    question_tokens: int | None
    notes: tuple[str, ...] = field(default=())


def ask(processor: Any, target: VideoLM, turns: Sequence[Turn]) -> Asked:
    """Run a conversation through a processor; a clip that was processed before is not processed again.

    Args:
        processor, target: Of one checkpoint.
        turns: The last one is the user's.

    Raises:
        RushesError: A conversation that this checkpoint cannot take.
    """
    _check(processor, turns)
    messages = [_message(turn) for turn in turns]
    parts = [part for turn in turns for part in turn.parts]
    clips = [part for part in parts if isinstance(part, Clip)]
    pictures = [part for part in parts if isinstance(part, Picture)]
    try:
        text = chat_text(processor, messages)
        before = chat_text(processor, messages[:-1], ask=False) if len(messages) > 1 else ""
    except Exception as error:  # a template raises whatever its author chose
        raise RushesError(f"the checkpoint's chat template refuses this conversation: {_line(error)}") from error
    replaying = copy(processor)
    replaying.video_processor = _Replay(processor.video_processor, clips)
    inputs = run_processor(replaying, text, [clip.video for clip in clips], [picture.pixels for picture in pictures])
    question = None
    if before and text.startswith(before):
        question = len(processor.tokenizer(text[len(before) :], add_special_tokens=False)["input_ids"])
    return Asked(
        inputs=inputs,
        identity=_identity(target, inputs, [one.digest for one in clips], [one.digest for one in pictures]),
        pictures=pictures_of(turns),
        question_tokens=question,
        notes=tuple(note for clip in clips for note in clip.video.notes),
    )


def pictures_of(turns: Sequence[Turn]) -> str:
    """One name for all videos and pictures of a conversation; "" without any."""
    parts = [part for turn in turns for part in turn.parts if not isinstance(part, str)]
    names = [f"{type(part).__name__} {part.digest}" for part in parts]
    return sha256(" ".join(names).encode()).hexdigest() if names else ""


class _Replay:
    """A video processor that does not do again what it did before."""

    def __init__(self, real: Any, clips: Sequence[Clip]) -> None:
        self._real = real
        self._clips = clips

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __call__(self, videos: Any = None, *, video_metadata: Any = None, **options: Any) -> Any:
        for clip, frames, metadata in zip(self._clips, videos, video_metadata, strict=True):
            if clip.processed is None:
                # Some families' processors lengthen the list of indices that they are given.
                clip.processed = self._real([frames], video_metadata=[deepcopy(metadata)], **options)
        made = [clip.processed for clip in self._clips]
        return transformers.BatchFeature({name: _joined([one[name] for one in made]) for name in made[0]})


def _joined(values: list[Any]) -> Any:
    if not isinstance(values[0], Tensor):
        return [deepcopy(one) for value in values for one in value]
    if len(values) == 1:
        return values[0]
    if any(value.shape[1:] != values[0].shape[1:] for value in values):
        raise RushesError("this model takes the videos of one prompt with equally many frames; sample them so")
    return torch.cat(values)


def _check(processor: Any, turns: Sequence[Turn]) -> None:
    if not turns:
        raise RushesError("the conversation is empty; ask something")
    if turns[-1].role != "user":
        raise RushesError(f"the last turn must be the user's, not the {turns[-1].role}'s")
    for turn in turns:
        if turn.role not in ROLES:
            raise RushesError(f"unknown role {turn.role!r}; known: {', '.join(ROLES)}")
        if turn.role != "user" and not all(isinstance(part, str) for part in turn.parts):
            raise RushesError(f"pictures and videos belong to the user, not to the {turn.role}")
        for part in turn.parts:
            if isinstance(part, str) and part.strip():
                check_prompt(part)
        for is_text, run in groupby(turn.parts, lambda part: isinstance(part, str)):
            if is_text:  # a template writes what stands side by side without anything between
                refuse_marks(processor, "".join(map(str, run)))
    if not any(not isinstance(part, str) or part.strip() for part in turns[-1].parts):
        raise RushesError("the last turn is empty; ask something")


def _message(turn: Turn) -> dict[str, Any]:
    kinds = {Clip: "video", Picture: "image"}
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": kinds[type(p)]} for p in turn.parts]
    return {"role": turn.role, "content": content}


def _identity(model: VideoLM, inputs: Inputs, videos: list[str], images: list[str]) -> Tensor:
    """(S,) tokens as they are, and negative numbers for what stands for pictures."""
    identity = single_request(inputs).clone().long()
    for token, digests, sizes in (
        (model.config.video_token_id, videos, [t * h * w for t, h, w in model.grids(inputs)]),
        (model.config.image_token_id, images, _image_sizes(model, inputs)),
    ):
        columns = (identity == token).nonzero().squeeze(1)
        if len(columns) == 0:
            continue
        rest = len(columns) - sum(sizes)
        if len(sizes) != len(digests) or rest % len(digests):  # nobody knows where one ends: all of them are one
            digests, sizes, rest = ["".join(digests)], [len(columns)], 0
        each = rest // len(digests)  # placeholders that stand for no cell, such as a closing newline
        numbers = [_numbers(digest, size + each) for digest, size in zip(digests, sizes, strict=True)]
        identity[columns] = torch.cat(numbers)
    return identity


def _image_sizes(model: VideoLM, inputs: Inputs) -> list[int]:
    grids = inputs.get("image_grid_thw")
    if grids is None:
        return []
    merge = model.config.vision_config.spatial_merge_size
    return [int(t * h * w) // merge**2 for t, h, w in grids.tolist()]


def _numbers(digest: str, count: int) -> Tensor:
    """`count` negative numbers that belong to a digest."""
    start = int.from_bytes(sha256(digest.encode()).digest()[:8], "little") >> 2
    return -1 - ((start + torch.arange(count) * _STEP) & (2**62 - 1))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
