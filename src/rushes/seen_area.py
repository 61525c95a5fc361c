"""Which part of a frame the model gets to see, once its processor has resized and cropped."""

from typing import Any

import torch

Area = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the frame


def seen_area(processor: Any, height: int, width: int, patch: int = 1) -> Area:
    """The part of a frame that the cells of the video tokens divide among themselves.

    Most processors squeeze the whole frame into their size. Those with a center crop (LLaVA-NeXT-Video) cut off what
    the crop does not hold, and pad with black where the frame is smaller. Pixels behind the last whole patch are seen
    by nobody: LLaVA-OneVision's 384 hold 27 patches of 14, and 6 pixels more.

    Args:
        processor: The checkpoint's; only its `video_processor` is looked at.
        height, width: Of the frames that it is given, in pixels.
        patch: Side of a patch of the vision tower, in pixels of the processor's picture.

    Returns:
        Left, top, right, bottom in pixels of the frame; beyond its borders where the processor pads.
    """
    video = processor.video_processor
    size, crops = _named(video.size), bool(getattr(video, "do_center_crop", False))
    fixed = bool(video.do_resize and size.height and size.width)
    if not (crops or fixed):  # they size each video to whole patches
        return 0.0, 0.0, float(width), float(height)
    resized = (height, width)
    if video.do_resize:
        # Asked, not computed: each processor has its own rules for edges and rounding.
        blank = torch.zeros(1, 1, 3, height, width, dtype=torch.uint8)
        resized = tuple(video.resize(blank, size=size, resample=video.resample).shape[-2:])
    held = (_named(video.crop_size).height, _named(video.crop_size).width) if crops else resized
    top, bottom = _edge(height, resized[0], held[0], patch)
    left, right = _edge(width, resized[1], held[1], patch)
    return left, top, right, bottom


def _edge(full: int, resized: int, held: int, patch: int) -> tuple[float, float]:
    """Where the patches of the centre `held` of a `resized` edge begin and end, in pixels of the `full` one."""
    # Rounded as transformers does: a crop down, and so does the black in front.
    before = (resized - held) // 2 if held <= resized else -((held - resized) // 2)
    return before * full / resized, (before + held - held % patch) * full / resized


def _named(size: Any) -> Any:
    """A size with attributes, also where a checkpoint's file left a plain dict."""
    from transformers.image_utils import SizeDict

    return SizeDict(**size) if isinstance(size, dict) else size
