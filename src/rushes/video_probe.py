"""Opening a video file: what is refused, what the container states, and what its packets show. Nothing is decoded."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from rushes.errors import RushesError
from rushes.video_bounds import UNBOUNDED, VideoBounds

MAX_SIDE = 16_384
MAX_SOURCE_PIXELS = 100_000_000
FALLBACK_FPS = 24.0  # transformers' guess too, for a video that states no rate and has no timestamps

# Demuxers that read other files, or that draw a text file as a terminal.
_TEXT_FORMATS = {"tty", "hls", "concat", "dash", "sdp"}
_STILL_BRANDS = {"avif", "heic", "heix", "mif1"}
_ANIMATED_IMAGES = {"gif", "apng"}
# Containers that announce a duration in their header but no frame count.
_DURATION_FORMATS = {"matroska,webm", "flv"}


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read.

    Args:
        file: Its absolute path.
        name: What errors call it.
        head: Its first bytes.
        bounds: What it may be at most.
    """

    file: str
    name: str
    head: bytes
    bounds: VideoBounds = UNBOUNDED


@dataclass(frozen=True, slots=True)
class Scan:
    """What demuxing alone tells."""

    packets: int  # there to be decoded, most often one frame each
    announced: int  # frames the container promises, or the packets if it says nothing
    fps: float  # mean over the whole video


def read_head(file: str, name: str) -> bytes:
    """First bytes of a regular, readable, non-empty file."""
    try:
        if Path(file).is_dir():
            raise RushesError(f"{name} is a directory; give the path of a video file")
        if Path(file).exists() and not Path(file).is_file():
            raise RushesError(f"{name} is not a regular file; give the path of a video file")
        with open(file, "rb") as stream:
            head = stream.read(16)
    except FileNotFoundError:
        raise RushesError(f"there is no file {name}; give the path of a video file") from None
    except PermissionError:
        raise RushesError(f"no permission to read {name}; change its permissions or copy it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RushesError(f"{name} cannot be read ({reason}); give the path of a video file") from None
    if not head:
        raise RushesError(f"{name} is empty (0 bytes); give a video file")
    return head


@contextmanager
def quiet_libav() -> Iterator[None]:
    """Mute libav's log. It is off already unless the program switched it on, and then it is switched on again."""
    level = av.logging.get_level()
    if level is None:
        yield
        return
    av.logging.set_level(None)
    try:
        yield
    finally:
        av.logging.set_level(level)


@contextmanager
def opened(source: Source) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream; libav's errors leave as ours."""
    name, head = source.name, source.head
    # "file:" keeps a colon in the name from reading as a protocol; the whitelist keeps playlists off the network.
    options = {"protocol_whitelist": "file"}
    if source.bounds.formats:
        options["format_whitelist"] = ",".join(source.bounds.formats)
    try:
        container = av.open(f"file:{source.file}", metadata_errors="ignore", options=options)
    except av.FFmpegError:
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
            raise RushesError(f"{name} is an MP4 that is truncated or damaged; fetch or convert it again") from None
        raise RushesError(f"{name} is truncated or not a video; give a file such as .mp4, .mkv or .webm") from None
    with container:
        kind = container.format.name
        if kind in _TEXT_FORMATS:
            raise RushesError(f"{name} is a text file or a playlist, not a video; give the video file itself")
        if kind.endswith("_pipe") or kind == "image2" or container.metadata.get("major_brand") in _STILL_BRANDS:
            raise _still_image(name)
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            if container.streams.audio:
                raise RushesError(f"{name} has sound but no video; give a file with a video track")
            raise RushesError(f"{name} is not a video: it has no video track; give a file such as .mp4, .mkv or .webm")
        if streams[0].codec_context is None:
            raise RushesError(f"the codec of {name} is unknown to this FFmpeg; convert it to H.264")
        yield container, streams[0]


def _still_image(name: str) -> RushesError:
    return RushesError(f"{name} is an image, not a video; give a video file")


def scan(source: Source) -> Scan:
    """Count packets and measure the rate without decoding."""
    name, bounds = source.name, source.bounds
    packets = stored = 0
    first, last, last_duration = math.inf, -math.inf, 0  # in units of the stream's time base
    reached_s = 0.0  # where the last packet of any stream ends: sound may go on after the picture
    with opened(source) as (container, stream):
        check_size(source, stream.width, stream.height)
        kind, stated_frames, header_s = container.format.name, stream.frames, (container.duration or 0) / av.time_base
        bounds.check_duration(name, header_s)
        bounds.check_packets(name, stated_frames)
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        base_s = float(stream.time_base or 0)
        for packet in packets_of(container):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.time_base:
                reached_s = max(reached_s, float((time + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index:
                continue
            stored += 1
            bounds.check_packets(name, stored)
            if packet.is_discard:  # cut away by an edit list: decoded, never shown
                continue
            packets += 1
            if time is not None:
                first = min(first, time)
                if time >= last:
                    last, last_duration = time, packet.duration or 0
    if packets == 1 and kind in _ANIMATED_IMAGES:
        raise _still_image(name)
    announced = stated_frames if stated_frames > stored else 0
    if kind in _DURATION_FORMATS and reached_s < 0.95 * header_s - 0.5:
        announced = round(packets * header_s / reached_s) if packets and reached_s > 0 else round(header_s * rate)
    fps = _mean_fps(packets, (first, last, last_duration), base_s, rate)
    if announced > packets and rate:
        fps = rate  # frames are stored out of order, so a cut leaves gaps in the timestamps before it
    bounds.check_duration(name, packets / fps)
    return Scan(packets, max(announced, packets), fps)


def _mean_fps(packets: int, span: tuple[float, float, float], base_s: float, stated: float) -> float:
    """Frames over seconds; the container's own rate when the timestamps bear it out, for it is not rounded to ms."""
    first, last, last_duration = span
    steps = last - first
    if not last_duration and packets > 1:
        last_duration = steps / (packets - 1)
    seconds = (steps + last_duration) * base_s
    if not math.isfinite(seconds) or seconds <= 0:
        return stated or FALLBACK_FPS
    if stated and abs(packets / stated - seconds) <= max(1.5 / stated, 0.01 * seconds):
        return stated
    return packets / seconds


def packets_of(container: InputContainer, *streams: VideoStream) -> Iterator[av.Packet]:
    """Packets up to the end of the file or to where it can no longer be read; the flushing packet is left out."""
    try:
        for packet in container.demux(*streams):
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def check_size(source: Source, width: int, height: int) -> None:
    """Refuse frames whose decoding alone would take gigabytes."""
    source.bounds.check_size(source.name, width, height)
    if max(width, height) > MAX_SIDE or width * height > MAX_SOURCE_PIXELS:
        raise RushesError(
            f"frames of {source.name} are {width}x{height}; the limits are {MAX_SIDE} pixels on a side and "
            f"{MAX_SOURCE_PIXELS // 1_000_000} megapixels: scale the video down first"
        )
