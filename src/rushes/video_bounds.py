"""How much of a video may be read, where a stranger chose the file."""

import math
from dataclasses import dataclass

from rushes.errors import RushesError

MAX_RATE = 240.0  # frames per second: more packets than this over the whole duration are not there to be watched


class OverBounds(RushesError):
    """The video is larger, longer or finer than is allowed here."""


@dataclass(frozen=True, slots=True)
class VideoBounds:
    """What a video may be at most; each is checked as early as the file shows it, and before its frames are decoded.

    Args:
        pixels: Of one frame, as stored.
        duration_s: Of the whole video, by its header and by its timestamps.
        frames: Sampled from it.
        formats: Demuxers that may open it, by libav's short names; all when empty.
    """

    pixels: float = math.inf
    duration_s: float = math.inf
    frames: float = math.inf
    formats: tuple[str, ...] = ()

    def check_size(self, name: str, width: int, height: int) -> None:
        if width * height > self.pixels:
            raise OverBounds(
                f"frames of {name} are {width}x{height}; the limit is {self.pixels:,.0f} pixels: scale it down first"
            )

    def check_duration(self, name: str, seconds: float) -> None:
        if seconds > self.duration_s:
            raise OverBounds(f"{name} lasts {seconds:,.0f} s; the limit is {self.duration_s:g} s: cut it first")

    def check_packets(self, name: str, packets: int) -> None:
        if packets > self.duration_s * MAX_RATE:
            raise OverBounds(
                f"{name} holds more than {self.duration_s * MAX_RATE:,.0f} frames, {MAX_RATE:g} for each second of "
                f"the {self.duration_s:g} that are allowed: cut it or lower its rate first"
            )

    def check_frames(self, name: str, frames: int) -> None:
        if frames > self.frames:
            raise OverBounds(
                f"{frames} frames would be taken from {name}; the limit is {self.frames:g}: "
                "ask for fewer frames or a lower fps"
            )


UNBOUNDED = VideoBounds()
