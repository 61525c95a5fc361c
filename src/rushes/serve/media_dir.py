"""Files below one folder, and no others, whatever is in the URL or in the folder."""

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class NoSuchFile(Exception):
    """There is nothing to read below the folder; why, or what is elsewhere, is not told."""


class TooLargeFile(Exception):
    """The file has more bytes than were allowed."""


class MediaDir:
    """The folder that file: URLs may point into.

    Args:
        folder: As the operator wrote it; URLs may name it so or by its real path.
    """

    def __init__(self, folder: Path) -> None:
        self._real = os.path.realpath(folder)
        self._names = {self._real, os.path.abspath(folder)}

    def read(self, url: str, most_bytes: int) -> bytes:
        """The bytes of a regular file below the folder.

        Symbolic links are followed as long as they end below the folder.

        Args:
            url: file:///path, file:/path or file://localhost/path.
            most_bytes: A larger file is not read.

        Raises:
            NoSuchFile: It is not there, not below the folder, no regular file, or the URL is malformed.
            TooLargeFile: It has more bytes.
        """
        try:
            # Compared as text first: nothing outside is touched for a path that leads there by itself.
            real = os.path.realpath(os.path.join(self._real, self._relative(url)))
            parts = Path(real).relative_to(self._real).parts
            fd = _opened(self._real, parts)
            try:
                return _content(fd, most_bytes)
            finally:
                os.close(fd)
        except (OSError, ValueError, RuntimeError):
            raise NoSuchFile from None

    def _relative(self, url: str) -> str:
        rest = url.partition(":")[2]
        if rest.startswith("//"):
            host, slash, path = rest[2:].partition("/")
            if host.lower() not in ("", "localhost"):
                raise NoSuchFile
            rest = slash + path
        if not rest.isprintable() or _BAD_ESCAPE.search(rest) or "?" in rest or "#" in rest:
            raise NoSuchFile
        path = unquote(rest, errors="strict")
        if "\0" in path or not path.startswith("/") or {".", ".."} & set(path.split("/")):
            raise NoSuchFile
        for name in self._names:
            if path.startswith(name.rstrip("/") + "/"):
                return path[len(name.rstrip("/")) :].lstrip("/")
        raise NoSuchFile


def _opened(folder: str, parts: tuple[str, ...]) -> int:
    """A descriptor of the file, reached step by step without following a link that somebody may lay meanwhile."""
    if not parts:
        raise NoSuchFile
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        # Not blocking: the other end of a FIFO may never come.
        return os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=here)
    finally:
        os.close(here)


def _content(fd: int, most_bytes: int) -> bytes:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NoSuchFile
    if status.st_size > most_bytes:
        raise TooLargeFile
    chunks, left = [], most_bytes + 1  # it may grow meanwhile
    while left and (chunk := os.read(fd, min(left, status.st_size + 1))):
        chunks.append(chunk)
        left -= len(chunk)
    if not left:
        raise TooLargeFile
    return b"".join(chunks)
