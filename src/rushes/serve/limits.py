"""How much one request may ask of the server."""

from dataclasses import dataclass, fields

from rushes.errors import RushesError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Checked before any model runs, and most of it before anything is decoded.

    Args:
        body_bytes: Of a request, pictures and videos inside it included.
        video_bytes, image_bytes: Of one file, wherever it comes from.
        videos, images: In one request.
        duration_s: Of one video.
        pixels, image_pixels: Of one frame of a video, and of a picture, as stored.
        frames: Sampled from one video.
        prompt_tokens: Of one request, video tokens included.
        new_tokens: Of one answer.
        decoding_s: Processor time and wall time for decoding one file.
        decoding_bytes: Memory of the process that decodes it.
        download_s: For one download, redirects included.
        redirects: Of one download.

    Raises:
        RushesError: One of them is not above 0 (0 is allowed for redirects, videos and images).
    """

    body_bytes: int = 64 * MIB
    video_bytes: int = 512 * MIB
    image_bytes: int = 32 * MIB
    videos: int = 4
    images: int = 16
    duration_s: float = 3600.0
    pixels: int = 4096 * 2304
    image_pixels: int = 50_000_000
    frames: int = 768
    prompt_tokens: int = 32_768
    new_tokens: int = 4096
    decoding_s: float = 120.0
    decoding_bytes: int = 4096 * MIB
    download_s: float = 60.0
    redirects: int = 3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("redirects", "videos", "images") else 1
            if not value >= least:
                raise RushesError(f"the limit {field.name} must be {least} or more, got {value}")
