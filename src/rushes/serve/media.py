"""From the URL of a content part to its bytes: in the URL, below the media folder, or from the public internet."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from rushes.serve.config import Config
from rushes.serve.data_url import BadDataURL, TooMuchData, read_data_url
from rushes.serve.limits import MIB, Limits
from rushes.serve.media_dir import MediaDir, NoSuchFile, TooLargeFile
from rushes.serve.refusals import Refusal
from rushes.serve.remote import Remote

Kind = Literal["video", "image"]


@dataclass(frozen=True, slots=True)
class Medium:
    """A file that is not decoded yet.

    Args:
        kind: What the content part says it is.
        data: Its bytes.
        digest: SHA-256 over the kind and the bytes, in hexadecimal: the same for the same file, wherever it is from.
    """

    kind: Kind
    data: bytes = field(repr=False)
    digest: str


class MediaSource:
    """Fetches what content parts point to. No refusal holds a path, a URL or anything of a file.

    Args:
        limits: Of bytes, time and redirects.
        media_dir: The folder for file: URLs; without one they are refused.
        allow_remote: Whether https: URLs are followed.
        remote: What follows them; one of its own unless told.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        media_dir: Path | None = None,
        allow_remote: bool = False,
        remote: Remote | None = None,
    ) -> None:
        self._most_bytes = {"video": limits.video_bytes, "image": limits.image_bytes}
        self._folder = None if media_dir is None else MediaDir(media_dir)
        self._remote = (remote or Remote(limits)) if allow_remote else None

    async def fetch(self, url: str, kind: str, param: str | None = None) -> Medium:
        """The bytes that a URL stands for.

        Args:
            url: data:, file: or https:.
            kind: "video" or "image".
            param: The field of the request that it is from.

        Raises:
            Refusal: 413 for what is too large, 400 for what may not or cannot be had.
        """
        scheme = url[:8].partition(":")[0].lower()
        data = await self._data(scheme, url, kind, param)
        digest = await asyncio.to_thread(_digest, kind, data)
        return Medium(cast(Kind, kind), data, digest)

    async def _data(self, scheme: str, url: str, kind: str, param: str | None) -> bytes:
        most_bytes = self._most_bytes[kind]
        try:
            if scheme == "data":
                return await asyncio.to_thread(read_data_url, url, kind, most_bytes)
            if scheme == "file":
                return await asyncio.to_thread(self._media_dir(param).read, url, most_bytes)
        except BadDataURL as error:
            raise Refusal(f"the data: URL cannot be read: {error}", param=param, code="invalid_url") from None
        except NoSuchFile:
            message = "there is no such file below the server's media folder"
            raise Refusal(message, param=param, code="no_such_file") from None
        except (TooMuchData, TooLargeFile):
            message = f"the {kind} is larger than {most_bytes / MIB:g} MiB; send a smaller one"
            raise Refusal(message, status=413, param=param, code="too_large") from None
        if scheme == "https":
            if self._remote is None:
                message = "the server was started without --allow-remote; send the file in a data: URL"
                raise Refusal(message, param=param, code="remote_not_allowed")
            return await self._remote.get(url, most_bytes, param)
        raise Refusal("the URL must begin with data:, https: or file:", param=param, code="invalid_url")

    def _media_dir(self, param: str | None) -> MediaDir:
        if self._folder is None:
            message = "the server was started without --media-dir; send the file in a data: URL"
            raise Refusal(message, param=param, code="files_not_allowed")
        return self._folder


def _digest(kind: str, data: bytes) -> str:
    digest = hashlib.sha256(kind.encode())
    digest.update(data)
    return digest.hexdigest()


def source_of(config: Config) -> MediaSource:
    """The one that a server is set up with."""
    return MediaSource(config.limits, media_dir=config.media_dir, allow_remote=config.allow_remote)
