"""How a server is set up."""

from dataclasses import dataclass, field
from pathlib import Path

from rushes.errors import RushesError
from rushes.serve.limits import Limits
from rushes.settings import Settings

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Config:
    """Everything but the models.

    Args:
        model: The name under which the pair is served.
        method, keep, gamma: For requests that do not say.
        positions: The rule of the rope positions, for all requests.
        cache_bytes: Of each pair, for what was read before: caches of prompts, features of videos.
        clip_bytes: Of the process, for videos that were decoded and processed before.
        queue: Most requests that wait while all pairs are busy.
        deadline_s: From a request's arrival to the end of its answer.
        grace_s: For the answers that are being written when the server is told to stop.
        media_dir: Where `file:` URLs may point; None refuses them.
        allow_remote: May videos and pictures be downloaded from `https:` URLs?
        api_key: What clients must send; None lets everybody in.
        origins: Of pages elsewhere that may ask from a browser; "*" is all.
        log_content: Also log what was asked and answered.
        limits: Of one request.

    Raises:
        RushesError: A value out of range, or a folder that is not there.
    """

    model: str = "rushes-demo"
    method: str = "specvlm"
    keep: float = 0.1
    gamma: int | str | None = None
    positions: str = "stock"
    cache_bytes: int = 2 * GIB
    clip_bytes: int = GIB
    queue: int = 64
    deadline_s: float = 300.0
    grace_s: float = 30.0
    media_dir: Path | None = None
    allow_remote: bool = False
    api_key: str | None = None
    origins: tuple[str, ...] = ()
    log_content: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        Settings(method=self.method, keep=self.keep, gamma=self.gamma, positions=self.positions)
        for name, least in (("cache_bytes", 0), ("clip_bytes", 0), ("queue", 0), ("grace_s", 0)):
            if not getattr(self, name) >= least:
                raise RushesError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if not self.deadline_s > 0:
            raise RushesError(f"deadline_s must be above 0, got {self.deadline_s}")
        if self.media_dir is not None and not self.media_dir.is_dir():
            raise RushesError(f"--media-dir {self.media_dir} is not a folder")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.strip() == self.api_key != ""):
            raise RushesError("the API key must be ASCII, not empty and without blanks around it")
