"""Which frames of a video to take, and how large at most."""

import math
from dataclasses import dataclass

import numpy as np

from rushes.errors import RushesError

DEFAULT_FPS = 2.0
MAX_PIXELS = 1280 * 720  # above what the supported processors keep of a frame (Qwen2.5-VL: 768 * 28 * 28 = 602,112)
MIN_MAX_PIXELS = 28 * 28  # one visual token of Qwen2.5-VL


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a video to take: uniformly spaced over frame indices, by rate or by count.

    Args:
        num_frames: exactly this many frames. Excludes `fps`.
        fps: frames per second of video; the count is rounded down to an even number (two frames make one temporal
            patch) and clipped to `min_frames`, `max_frames` and the frames there are. 2.0 when neither is given.
        min_frames: with `fps`, at least this many; a video that has fewer gives all of its frames.
        max_frames: with `fps`, at most this many.
        max_pixels: larger frames are reduced to at most this many pixels, keeping their proportions.

    Raises:
        RushesError: a value out of range, or both `num_frames` and `fps`.
    """

    num_frames: int | None = None
    fps: float | None = None
    min_frames: int = 4
    max_frames: int = 768
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.fps is not None:
            raise RushesError(f"num_frames={self.num_frames} and fps={self.fps} exclude each other; give one of them")
        for name, least in (("num_frames", 1), ("min_frames", 1), ("max_frames", 1), ("max_pixels", MIN_MAX_PIXELS)):
            value = getattr(self, name)
            if value is None and name == "num_frames":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise RushesError(f"{name}={value!r} is not possible; give a whole number of at least {least}")
        if self.fps is not None:
            number = isinstance(self.fps, int | float | np.number) and not isinstance(self.fps, bool)
            if not number or not math.isfinite(self.fps) or self.fps <= 0:
                raise RushesError(f"fps={self.fps!r} is not possible; give a number above 0, such as {DEFAULT_FPS}")
        if self.min_frames > self.max_frames:
            raise RushesError(
                f"min_frames={self.min_frames} is above max_frames={self.max_frames}; lower one or raise the other"
            )

    def wanted(self, total_frames: int, source_fps: float) -> float:
        """Frames that the rate asks for, before clipping and rounding."""
        return total_frames / source_fps * (self.fps or DEFAULT_FPS)

    def indices(self, total_frames: int, source_fps: float) -> np.ndarray:
        """Ascending indices of the frames to take, by the rule of transformers' Qwen2VLVideoProcessor.sample_frames.

        Integers here: in its float arithmetic 13 of 60 frames come out as 14, the last one past the end, and above
        some 20,000 frames single indices are off by one.

        Returns:
            int64 of shape (T,), each below `total_frames`.

        Raises:
            RushesError: the video has fewer than `num_frames` frames.
        """
        if self.num_frames is not None:
            if self.num_frames > total_frames:
                raise RushesError(
                    f"{self.num_frames} frames were asked of a video that has {total_frames}; "
                    f"ask for at most {total_frames}"
                )
            count = self.num_frames
        elif total_frames < self.min_frames:
            count = total_frames
        else:
            clipped = min(max(self.wanted(total_frames, source_fps), self.min_frames), self.max_frames, total_frames)
            count = max(1, int(clipped))
            count -= count % 2 if count >= 2 else 0
        return np.arange(count, dtype=np.int64) * total_frames // count
