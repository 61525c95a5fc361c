"""Frames into a video file, whole or not at all."""

import os
import uuid
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from rushes.errors import RushesError
from rushes.video_probe import quiet_libav


def write_video(path: str | os.PathLike[str], frames: np.ndarray, fps: float | Fraction, *, crf: int = 12) -> None:
    """Write frames as an H.264 MP4 (MPEG-4 part 2 where libx264 is missing) that plays while it loads.

    Nothing appears under `path` unless the whole file was written.

    Args:
        path: where to write; its folder must exist. A file that is there is replaced.
        frames: (T, H, W, 3) uint8 RGB, T at least 1, H and W even.
        fps: frames per second.
        crf: x264's quality, 0 (lossless luma and chroma) to 51 (worst).

    Raises:
        RushesError: frames, rate, quality or folder that cannot be used, or a failure to write.
    """
    target = Path(os.fsdecode(path))
    name = repr(str(target))
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        given = f"{frames.dtype} of shape {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise RushesError(f"frames are {given}; give a numpy array (T, H, W, 3) of uint8")
    count, height, width, _ = frames.shape
    if count == 0 or height == 0 or width == 0 or height % 2 or width % 2:
        raise RushesError(f"{count} frames of {width}x{height} cannot be written; give at least one, of even sizes")
    if not isinstance(fps, int | float | Fraction | np.number) or not 0.001 <= fps <= 1000:
        raise RushesError(f"fps={fps!r} is not possible; give a number from 0.001 to 1000")
    if not 0 <= crf <= 51:
        raise RushesError(f"crf={crf!r} is not possible; give 0 (best) to 51 (worst)")
    if not target.parent.is_dir():
        raise RushesError(f"there is no folder {str(target.parent)!r} to write {name} in; make it first")
    if target.is_dir():
        raise RushesError(f"{name} is a directory; give the path of a file")
    partial = target.with_name(f".{uuid.uuid4().hex}.mp4.part")
    try:
        with quiet_libav():
            _encode(partial, frames, Fraction(fps).limit_denominator(1001), crf)
        os.replace(partial, target)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RushesError(f"{name} cannot be written ({reason}); check the folder and the space on disk") from None
    finally:
        partial.unlink(missing_ok=True)


def _encode(file: Path, frames: np.ndarray, rate: Fraction, crf: int) -> None:
    if "libx264" in av.codecs_available:
        codec, options = "libx264", {"crf": str(crf)}
    else:  # its quantizer goes from 2 (best) to 31; 118 is libav's FF_QP2LAMBDA
        codec, options = "mpeg4", {"flags": "+qscale", "global_quality": str(118 * max(2, crf // 4))}
    with av.open(f"file:{file.absolute()}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=options))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for index, array in enumerate(frames):
            frame = VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
