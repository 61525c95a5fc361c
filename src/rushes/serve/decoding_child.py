"""Decodes one file in a process of its own that can hold little, run briefly and write to one place.

`sandbox.py` starts it. Its result is a line of JSON and, behind it, the bytes of arrays, in a file that it was handed.
"""

import ctypes
import json
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from rushes.errors import RushesError
from rushes.serve.image_file import read_image
from rushes.video import Sampling, read_video
from rushes.video_bounds import OverBounds, VideoBounds

# Containers of one file each; demuxers that read text, playlists or other files are not among them.
FORMATS = (
    *("mov", "mp4", "matroska", "webm", "avi", "flv", "asf", "ogg", "mxf", "ivf", "gif", "apng"),
    *("mpegts", "mpeg", "mpegvideo", "m4v", "h264", "hevc", "mjpeg"),
)
FAILED = 3  # what it exits with where it has no answer; 1 is Python's, for what fails before a file is touched
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

Answer = tuple[dict[str, Any], list[np.ndarray]]


def main() -> None:
    """Answer the request in the first argument and leave, without a teardown that a damaged heap might not survive."""
    request = json.loads(sys.argv[1])
    _leave_with_parent(request["parent"])
    _limit(request)
    try:
        header, arrays = _answer(request)
        _write(request["result"], memoryview(json.dumps(header).encode() + b"\n"))
        for array in arrays:
            _write(request["result"], array.data.cast("B"))
    except BaseException:
        os._exit(FAILED)
    os._exit(0)


def _write(fd: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(fd, rest) :]


def _answer(request: dict[str, Any]) -> Answer:
    try:
        return _image(request) if request["kind"] == "image" else _video(request)
    except OverBounds as error:
        return {"status": "over", "message": str(error)}, []
    except MemoryError:
        return {"status": "memory"}, []
    except RushesError as error:
        if _starved(request["decoding_bytes"]):
            return {"status": "memory"}, []
        return {"status": "refused", "message": str(error)}, []


def _starved(decoding_bytes: int) -> bool:
    """Was memory what was missing? libav's decoders pass over frames that found none as if they were damaged."""
    if sys.platform != "linux":
        return False
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmPeak:")[1].split()[0]) * 1024 > 3 / 4 * decoding_bytes


def _leave_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before that
        os._exit(0)


def _limit(request: dict[str, Any]) -> None:
    """For good: no process without privileges raises a hard limit again."""
    seconds = math.ceil(time.process_time() + request["decoding_s"])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (request["result_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    if sys.platform == "linux":  # elsewhere it is not kept
        resource.setrlimit(resource.RLIMIT_AS, (request["decoding_bytes"],) * 2)


def _image(request: dict[str, Any]) -> Answer:
    image = read_image(request["file"], request["image_pixels"])
    return {"status": "done", "shape": image.shape}, [image]


def _video(request: dict[str, Any]) -> Answer:
    bounds = VideoBounds(request["pixels"], request["duration_s"], request["frames"], FORMATS)
    video = read_video(request["file"], Sampling(**request["sampling"]), bounds=bounds, name="the video")
    header = {
        "status": "done",
        "shape": video.frames.shape,
        "source_fps": video.source_fps,
        "total_frames": video.total_frames,
        "duration_s": video.duration_s,
        "notes": video.notes,
    }
    return header, [video.frame_indices, video.timestamps_s, video.frames]
