"""From a video and a question to the processor's inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.models.base import Inputs
from rushes.video import DEFAULT_FPS, Sampling, Video

DEFAULT_PROMPT = "Describe the video in detail."


def sampling_for(
    processor: Any, num_frames: int | None = None, fps: float | None = None, max_frames: int = 768
) -> Sampling:
    """Which frames to take: what the user says, within the limits that the checkpoint's processor states.

    Args:
        processor: The target's.
        num_frames, fps: What the user says.
        max_frames: Most frames to take where neither the user nor the processor says anything.
    """
    video = processor.video_processor
    if num_frames is None and fps is None:
        fps = getattr(video, "fps", None)
        if fps is None:
            most = getattr(video, "num_frames", None) or max_frames
            return Sampling(fps=DEFAULT_FPS, **_limits(video) or {"max_frames": most})
    return Sampling(num_frames=num_frames, fps=fps, **_limits(video))


def _limits(video_processor: Any) -> dict[str, int]:
    least, most = (getattr(video_processor, name, None) for name in ("min_frames", "max_frames"))
    return {} if not least or not most else {"min_frames": int(least), "max_frames": int(most)}


def check_prompt(prompt: str) -> None:
    """Refuse a prompt that says nothing or cannot be written down.

    Raises:
        RushesError: Empty, or not Unicode text.
    """
    if not isinstance(prompt, str):
        raise RushesError(f"the prompt must be text, got {prompt!r}")
    if not prompt.strip():
        raise RushesError("the prompt is empty; ask something, such as -p 'Describe the video.'")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:  # bytes of another encoding reach Python as lone surrogates
        raise RushesError(f"the prompt is not UTF-8 text (character {error.start + 1}); convert it") from error


def build_inputs(processor: Any, prompt: str, video: Video | None) -> Inputs:
    """Chat-format one question about one video and run the processor.

    The frames are already sampled; the processor resizes them to its own limits.

    Raises:
        RushesError: A prompt or frames that the processor cannot use.
    """
    check_prompt(prompt)
    refuse_marks(processor, prompt)
    content: list[dict[str, str]] = [{"type": "text", "text": prompt}]
    if video is not None:
        content.insert(0, {"type": "video"})
    text = chat_text(processor, [{"role": "user", "content": content}])
    return run_processor(processor, text, [] if video is None else [video])


def refuse_marks(processor: Any, text: str) -> None:
    """Refuse text that holds what stands for a picture or a video: it would be taken for one more of them.

    Raises:
        RushesError: With the mark.
    """
    for token in ("video_token", "image_token"):
        mark = getattr(processor, token, None)
        if mark and mark in text:
            raise RushesError(f"the prompt contains {mark}, which stands for pictures; leave it out")


def chat_text(processor: Any, messages: list[dict[str, Any]], *, ask: bool = True) -> str:
    """What a checkpoint's chat template makes of messages.

    Args:
        messages: Roles, and contents as lists of parts.
        ask: End with the beginning of an answer.
    """
    return str(processor.apply_chat_template(messages, add_generation_prompt=ask, tokenize=False))


def run_processor(processor: Any, text: str, videos: Sequence[Video], images: Sequence[np.ndarray] = ()) -> Inputs:
    """Run a processor over a prompt that is already in chat format.

    Args:
        text: With one mark for each video and each image, in their order.
        videos: Frames that are already sampled.
        images: (H, W, 3) uint8 each.

    Raises:
        RushesError: Frames or images that the processor cannot use.
    """
    options: dict[str, Any] = {}
    if images:
        options["images"] = list(images)
    if videos:
        shown = [_shown(processor, video) for video in videos]
        options["videos"] = [frames for frames, _ in shown]
        options |= {"video_metadata": [metadata for _, metadata in shown], "do_sample_frames": False}
        options |= {"cap_pixels_per_frame": True} if _caps_unasked(processor) else {}
    try:
        return processor(text=[text], return_tensors="pt", **options)
    except ValueError as error:  # such as an aspect ratio that the processor refuses
        if not videos and not images:
            raise
        what = "this video" if len(videos) == 1 and not images else "these pictures"
        raise RushesError(f"the processor cannot use {what}: {error}") from error


def _shown(processor: Any, video: Video) -> tuple[np.ndarray, Any]:
    """Frames as a processor takes them, and what it wants to know of them."""
    # Some processors refuse fewer frames than one cell in time takes; others repeat the last one, as here.
    missing = max(0, getattr(processor.video_processor, "temporal_patch_size", 1) - len(video.frames))
    frames = np.concatenate([video.frames, *[video.frames[-1:]] * missing]) if missing else video.frames
    indices = video.frame_indices.tolist()
    metadata = transformers.video_utils.VideoMetadata(
        total_num_frames=video.total_frames,
        fps=video.source_fps,
        duration=video.duration_s,
        height=video.frames.shape[1],
        width=video.frames.shape[2],
        frames_indices=indices + indices[-1:] * missing,
    )
    return frames, metadata


def _caps_unasked(processor: Any) -> bool:
    """Does the checkpoint leave open whether a video's total pixels are capped? Then they are.

    The model's own preprocessing does so; transformers' default for such checkpoints changes with its version.
    """
    return getattr(processor.video_processor, "cap_pixels_per_frame", True) is None


def pixel_notes(processor: Any, inputs: Inputs, video: Video) -> tuple[str, ...]:
    """Says so when the cap on a video's total pixels has made its frames smaller."""
    if not _caps_unasked(processor) or "video_grid_thw" not in inputs:
        return ()
    patch = processor.video_processor.patch_size
    height, width = (int(n) * patch for n in inputs["video_grid_thw"][0][1:])
    count, full_height, full_width, _ = video.frames.shape
    if height * width >= 0.8 * min(full_height * full_width, processor.video_processor.size["longest_edge"]):
        return ()
    return (f"{full_width}x{full_height} frames were reduced to {width}x{height}, so that {count} of them fit",)
