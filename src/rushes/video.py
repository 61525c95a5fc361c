"""Sampled RGB frames out of a video file, through PyAV; frames that were not asked for are not kept."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import isqrt

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from rushes.errors import RushesError
from rushes.frame_sampling import DEFAULT_FPS, MAX_PIXELS, Sampling
from rushes.video_bounds import UNBOUNDED, VideoBounds
from rushes.video_probe import Scan, Source, check_size, opened, packets_of, quiet_libav, read_head, scan
from rushes.video_write import write_video

__all__ = ["DEFAULT_FPS", "MAX_PIXELS", "Sampling", "Video", "check_video", "read_video", "write_video"]


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Sampled frames and where in the source they come from.

    Args:
        frames: (T, H, W, 3) uint8 RGB, upright.
        frame_indices: (T,) int64, ascending indices in the source.
        timestamps_s: (T,) float64, seconds after the first frame of the source.
        source_fps: mean frames per second of the source.
        total_frames: frames of the source that can be decoded.
        duration_s: `total_frames / source_fps`.
        notes: sentences about what was capped or skipped, for people.
    """

    frames: np.ndarray
    frame_indices: np.ndarray
    timestamps_s: np.ndarray
    source_fps: float
    total_frames: int
    duration_s: float
    notes: tuple[str, ...] = ()

    @property
    def sampled_fps(self) -> float:
        """Frames per second after sampling, as transformers' VideoMetadata.sampled_fps.

        Qwen2.5-VL's `second_per_grid_ts` is `temporal_patch_size / sampled_fps`.
        """
        return len(self.frame_indices) / self.total_frames * self.source_fps


@dataclass(slots=True)
class _Picked:
    """Outcome of one decoding pass; `seen` counts the frames decoded until it stopped, `damaged` what was broken."""

    frames: np.ndarray  # (T, H, W, 3); rows past len(times_s) are not filled
    times_s: list[float]
    note: str = ""
    seen: int = 0
    damaged: int = 0


def read_video(
    path: str | os.PathLike[str],
    sampling: Sampling | None = None,
    *,
    bounds: VideoBounds = UNBOUNDED,
    name: str | None = None,
) -> Video:
    """Decode the sampled frames of a video file.

    The file is read twice: once without decoding, because containers misstate their frame count, and once decoding
    up to the last wanted frame. Memory is that of the sampled frames, whatever the length of the video.

    Args:
        path: a local file.
        sampling: which frames, and how large at most; `Sampling()` (2 frames per second) when None.
        bounds: what the video may be at most; anything unless told.
        name: what errors call it; its path in quotes when None.

    Raises:
        OverBounds: more than `bounds` allows.
        RushesError: no readable video file there, or it cannot give what `sampling` asks for.
    """
    sampling = sampling or Sampling()
    source = _source(path, bounds, name)
    with quiet_libav():
        found = scan(source)
        total = found.packets
        while True:
            _check_count(total, found.announced, source.name)
            indices = sampling.indices(total, found.fps)
            bounds.check_frames(source.name, len(indices))
            picked = _decode(source, indices, sampling.max_pixels)
            if len(picked.times_s) == len(indices):
                break
            total = picked.seen  # some packets gave no frame: sample again among the frames that are there
            del picked  # two sets of frames are never held at once
    times_s = np.array(picked.times_s)
    if not np.isfinite(times_s).all():
        times_s = indices / found.fps
    return Video(
        frames=picked.frames,
        frame_indices=indices,
        timestamps_s=times_s,
        source_fps=found.fps,
        total_frames=total,
        duration_s=total / found.fps,
        notes=tuple(_notes(sampling, found, picked, total)),
    )


def check_video(path: str | os.PathLike[str], sampling: Sampling | None = None) -> None:
    """Refuse early what `read_video` would refuse, as far as it shows without decoding.

    Raises:
        RushesError: as `read_video`.
    """
    source = _source(path)
    with quiet_libav():
        found = scan(source)
    _check_count(found.packets, found.announced, source.name)
    (sampling or Sampling()).indices(found.packets, found.fps)


def _source(path: str | os.PathLike[str], bounds: VideoBounds = UNBOUNDED, name: str | None = None) -> Source:
    file, name = os.path.abspath(os.fsdecode(path)), name or repr(os.fsdecode(path))
    return Source(file, name, read_head(file, name), bounds)


def _check_count(total: int, announced: int, name: str) -> None:
    if total * 2 < announced:
        raise RushesError(
            f"only {total} of the {announced} frames that {name} announces can be decoded; "
            "it is truncated or damaged: fetch or convert it again"
        )
    if total == 0:
        raise RushesError(f"{name} has no frames that can be decoded; give a video with at least one")


def _decode(source: Source, indices: np.ndarray, max_pixels: int) -> _Picked:
    """Decode in order up to the last wanted frame; only the frames at `indices` are converted and kept."""
    picked = _Picked(np.empty((0, 0, 0, 3), np.uint8), [])
    size, turns, start_s = (0, 0), 0, math.nan
    with opened(source) as (container, stream):
        stream.thread_type = "AUTO"
        for frame in _frames(container, stream, picked):
            if picked.seen == 0:
                start_s = _time_s(frame, stream)
            picked.seen += 1
            check_size(source, frame.width, frame.height)
            if picked.seen - 1 != indices[len(picked.times_s)]:
                continue
            if not picked.times_s:  # the first frame decides for all: a stream may change its size on the way
                size = _fitted(frame.width, frame.height, max_pixels)
                turns = round(frame.rotation / 90) % 4  # counterclockwise
                picked.frames = _allocated(len(indices), *(size if turns % 2 == 0 else size[::-1]))
                if size != (frame.width, frame.height):
                    picked.note = f"{frame.width}x{frame.height} frames were reduced to {size[0]}x{size[1]}"
            picked.frames[len(picked.times_s)] = np.rot90(_rgb(frame, source.name, size), turns)
            picked.times_s.append(_time_s(frame, stream) - start_s)
            if len(picked.times_s) == len(indices):
                break
    return picked


def _frames(container: InputContainer, stream: VideoStream, picked: _Picked) -> Iterator[VideoFrame]:
    """Frames in order of display; packets that do not decode are counted and passed over."""
    for packet in chain(packets_of(container, stream), [None]):  # None: the decoder hands out what it still holds
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            picked.damaged += packet is not None
            continue
        for frame in frames:
            picked.damaged += frame.is_corrupt
            yield frame


def _time_s(frame: VideoFrame, stream: VideoStream) -> float:
    """Not `frame.time`: the frames that a decoder hands out at the end come without a time base."""
    return math.nan if frame.pts is None or stream.time_base is None else float(frame.pts * stream.time_base)


def _rgb(frame: VideoFrame, name: str, size: tuple[int, int]) -> np.ndarray:
    """The frame as (H, W, 3) uint8, scaled to `size` (width, height) by swscale while it converts."""
    try:
        if size == (frame.width, frame.height):
            return frame.to_ndarray(format="rgb24")
        return frame.reformat(*size, format="rgb24", interpolation="BICUBIC").to_ndarray()
    except (av.FFmpegError, ValueError):
        raise RushesError(
            f"frames of {name} ({frame.format.name}) cannot be converted to RGB; convert the video to H.264"
        ) from None


def _fitted(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """Largest size of the same proportions within `max_pixels`."""
    if width * height <= max_pixels:
        return width, height
    fitted_height = max(1, isqrt(max_pixels * height // width))
    fitted_width = max(1, isqrt(max_pixels * width // height))
    return min(fitted_width, max_pixels), min(fitted_height, max_pixels)


def _allocated(count: int, width: int, height: int) -> np.ndarray:
    try:
        return np.empty((count, height, width, 3), np.uint8)
    except MemoryError:
        raise RushesError(
            f"{count} frames of {width}x{height} need {count * width * height * 3 / 2**30:.0f} GiB of memory; "
            "ask for fewer frames or a lower max_pixels"
        ) from None


def _notes(sampling: Sampling, found: Scan, picked: _Picked, total: int) -> Iterator[str]:
    if picked.note:
        yield picked.note
    wanted = sampling.wanted(total, found.fps)
    if sampling.num_frames is None and min(wanted, total) >= sampling.max_frames + 1:
        yield (
            f"{sampling.fps or DEFAULT_FPS:g} frames per second of {total / found.fps:.0f} s would be "
            f"{min(int(wanted), total)} frames; {len(picked.times_s)} were taken (max_frames={sampling.max_frames})"
        )
    if total < found.announced:
        yield f"{total} of {found.announced} announced frames can be decoded; the file is damaged or truncated"
    elif picked.damaged:
        yield f"{picked.damaged} damaged frames were met on the way; what is shown around them may be wrong"
