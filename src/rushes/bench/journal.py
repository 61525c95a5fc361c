"""The answers of a run, written down one by one, so that an interrupted run goes on where it stopped."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rushes.errors import RushesError

Key = tuple[str, str, int]  # trial, sample, repeat


class Journal:
    """Lines of JSON: first what was asked for, then an answer each.

    A line that a kill has cut off is dropped when the file is opened again; all others are whole.

    Args:
        path: Made if it does not exist.
        asked: What the run is of. A file of another run is refused.

    Raises:
        RushesError: The file belongs to another run, or cannot be written.
    """

    def __init__(self, path: Path, asked: dict[str, Any]) -> None:
        self.path = path
        self._found: dict[Key, dict[str, Any]] = {}
        try:
            lines = whole_lines(path)
            if lines and json.loads(lines[0]) != asked:
                raise RushesError(f"{path} holds another run; choose another --out, or delete the file to start anew")
            for line in lines[1:]:
                record = json.loads(line)
                self._found[record["trial"], record["sample"], record["repeat"]] = record
            if not lines:
                self._write(asked)
        except OSError as error:
            raise RushesError(f"cannot write to {path}: {error.strerror}") from error
        except (json.JSONDecodeError, KeyError) as error:
            raise RushesError(f"{path} is no journal of a benchmark; delete it to start anew") from error

    def __contains__(self, key: Key) -> bool:
        return key in self._found

    def __getitem__(self, key: Key) -> dict[str, Any]:
        return self._found[key]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def add(self, trial: str, sample: str, repeat: int, record: dict[str, Any]) -> dict[str, Any]:
        """Write an answer down, to the disk.

        Raises:
            RushesError: No space left, or the like; what was written before stays.
        """
        whole = {"trial": trial, "sample": sample, "repeat": repeat, **record}
        try:
            self._write(whole)
        except OSError as error:
            raise RushesError(f"cannot write to {self.path}: {error.strerror}") from error
        self._found[trial, sample, repeat] = whole
        return whole

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            start = file.tell()
            try:
                file.write(json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, start)
                raise


def whole_lines(path: Path) -> list[bytes]:
    """The complete lines of a file; what a kill left behind the last of them is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        os.truncate(path, end)
    return content[:end].splitlines()
