"""Synthetic videos with a known truth: a few scenes, each one shape that moves, grows or blinks on a background."""

from dataclasses import dataclass

import numpy as np

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (222, 40, 40),
    "green": (40, 175, 60),
    "blue": (45, 85, 230),
    "yellow": (240, 222, 50),
    "purple": (150, 50, 190),
    "orange": (246, 140, 30),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "black": (15, 15, 15),
    "gray": (128, 128, 128),
    "white": (242, 242, 242),
    "teal": (0, 125, 125),
    "brown": (105, 66, 38),
    "pink": (248, 178, 196),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
MOTIONS = ("left", "right", "up", "down", "grow", "shrink", "blink", "still")

BLINK_PERIOD_S = 0.5
MAX_SCENES = 8


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: what is seen, and how the shape sits in the frame (lengths as fractions of the shorter side)."""

    color: str
    shape: str
    background: str
    motion: str
    duration_s: float = 2.0
    radius: float = 0.32
    center: tuple[float, float] = (0.5, 0.5)
    jitter: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Clip:
    """A video: its scenes in order. No two neighbours show the same shape in the same colour."""

    scenes: tuple[Scene, ...]

    @property
    def duration_s(self) -> float:
        return sum(scene.duration_s for scene in self.scenes)


def sample_clip(
    rng: np.random.Generator, scenes: int | None = None, durations_s: tuple[float, ...] = (1.0, 1.5, 2.0)
) -> Clip:
    """Draw a random clip of `scenes` (default: 1 to 8, short ones more often)."""
    if scenes is None:
        scenes = int(rng.choice(np.arange(1, MAX_SCENES + 1), p=[0.16, 0.16, 0.16, 0.15, 0.12, 0.1, 0.08, 0.07]))
    made: list[Scene] = []
    while len(made) < scenes:
        scene = Scene(
            color=str(rng.choice(list(COLORS))),
            shape=str(rng.choice(SHAPES)),
            background=str(rng.choice(list(BACKGROUNDS))),
            motion=str(rng.choice(MOTIONS)),
            duration_s=float(rng.choice(durations_s)),
            radius=float(rng.uniform(0.27, 0.36)),
            center=(float(rng.uniform(0.42, 0.58)), float(rng.uniform(0.42, 0.58))),
            jitter=tuple(int(v) for v in rng.integers(-10, 11, 3)),  # type: ignore[arg-type]
        )
        if made and (made[-1].color, made[-1].shape) == (scene.color, scene.shape):
            continue
        made.append(scene)
    return Clip(tuple(made))


def frame_times(clip: Clip, fps: float) -> list[tuple[int, float]]:
    """(scene index, seconds since that scene's start) of every frame at `fps`."""
    starts = np.cumsum([0.0] + [scene.duration_s for scene in clip.scenes])
    times = (np.arange(max(1, round(clip.duration_s * fps))) + 0.25) / fps
    index = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(clip.scenes) - 1)
    return [(int(i), float(t - starts[i])) for i, t in zip(index, times, strict=True)]


def render(clip: Clip, fps: float, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the clip.

    Returns:
        frames: (T, height, width, 3) uint8.
        cover: (T, height, width) float32 in 0..1, how much of each pixel the shape covers.
    """
    frames, covers = [], []
    placed = frame_times(clip, fps)
    for index, scene in enumerate(clip.scenes):
        seconds = np.array([t for i, t in placed if i == index], dtype=np.float32)
        if len(seconds) == 0:
            continue
        cover = _cover(scene, seconds, height, width)
        ink = np.clip(np.add(COLORS[scene.color], scene.jitter), 0, 255)
        paper = np.clip(np.subtract(BACKGROUNDS[scene.background], scene.jitter), 0, 255)
        frame = paper + cover[..., None] * (ink - paper)
        frames.append(np.round(frame).astype(np.uint8))
        covers.append(cover)
    return np.concatenate(frames), np.concatenate(covers)


def _cover(scene: Scene, seconds: np.ndarray, height: int, width: int) -> np.ndarray:
    """(T, height, width) coverage of the shape at each of `seconds`, with soft edges of one pixel."""
    side = min(height, width)
    progress = (seconds / scene.duration_s)[:, None, None]  # (T, 1, 1)
    x0, y0 = scene.center[0] * width, scene.center[1] * height
    radius = np.full_like(progress, scene.radius * side)
    x, y = np.full_like(progress, x0), np.full_like(progress, y0)
    sway = (progress - 0.5) * 0.5
    if scene.motion in ("left", "right"):
        x = x + sway * width * (1 if scene.motion == "right" else -1)
    elif scene.motion in ("up", "down"):
        y = y + sway * height * (1 if scene.motion == "down" else -1)
    elif scene.motion in ("grow", "shrink"):
        radius = radius * (0.85 + (1 if scene.motion == "grow" else -1) * sway * 1.6)
    dx = np.arange(width, dtype=np.float32)[None, None, :] + 0.5 - x
    dy = np.arange(height, dtype=np.float32)[None, :, None] + 0.5 - y
    cover = np.clip(0.5 - _distance(scene.shape, dx, dy, radius), 0, 1).astype(np.float32)
    if scene.motion == "blink":
        cover = cover * ((seconds % BLINK_PERIOD_S) < BLINK_PERIOD_S / 2)[:, None, None]
    return cover


def _distance(shape: str, dx: np.ndarray, dy: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """About the signed distance in pixels to the outline, negative inside. All shapes cover similar areas."""
    if shape == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) - 0.88 * radius
    if shape == "cross":
        across = np.maximum(np.abs(dx) - 1.05 * radius, np.abs(dy) - 0.34 * radius)
        along = np.maximum(np.abs(dx) - 0.34 * radius, np.abs(dy) - 1.05 * radius)
        return np.minimum(across, along)
    if shape == "triangle":  # upright, its centre of mass a little below the middle
        lower = dy - 0.62 * radius
        slope = (np.abs(dx) * 1.75 - (dy + 1.1 * radius)) / np.hypot(1.75, 1.0)
        return np.maximum(lower, slope)
    away = np.hypot(dx, dy)
    if shape == "ring":
        return np.abs(away - 0.75 * radius) - 0.27 * radius
    if shape == "star":  # five points: from tip (angle 0) to notch (36 degrees) the outline is a straight line
        tip, notch = 1.25 * radius, 0.5 * radius
        fifth = 2 * np.pi / 5
        turn = np.arctan2(dx, -dy)
        angle = np.abs(turn - np.round(turn / fifth) * fifth)
        rise = notch * np.sin(fifth / 2)
        outline = tip * rise / (rise * np.cos(angle) + (tip - notch * np.cos(fifth / 2)) * np.sin(angle))
        return (away - outline) * 0.7
    return away - radius
