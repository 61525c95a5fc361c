"""Clips that training never saw."""

from pathlib import Path

import numpy as np

from rushes.demo.scenes import Clip, render, sample_clip
from rushes.video import write_video

HELD_OUT_SEED = 20_000_000  # training draws from (seed, number) with small seeds; these clips are never among them
FPS, HEIGHT, WIDTH = 8.0, 252, 336
DEMO_SCENES, DEMO_SECONDS = 6, 2.0


def held_out_clip(number: int, scenes: int | None = None, seconds: float | None = None) -> Clip:
    """Clip `number` of the held-out ones."""
    rng = np.random.default_rng((HELD_OUT_SEED, number))
    return sample_clip(rng, scenes, (1.0, 1.5, 2.0) if seconds is None else (seconds,))


def write_clip(clip: Clip, path: Path) -> Path:
    """Draw a clip at a size that people can watch, and write it as mp4."""
    write_video(path, render(clip, FPS, HEIGHT, WIDTH)[0], FPS)
    return path
