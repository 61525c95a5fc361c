"""What a decoding process answered, read as if a stranger had written it: a hostile file may have taken it over."""

import json
import math
from typing import Any

import numpy as np

from rushes.serve.scratch import Scratch
from rushes.video import Video

HEADER_BYTES = 2**16
MESSAGE_CHARACTERS = 500


class Answer:
    """A line of JSON and what is behind it.

    Args:
        result: The file that the process wrote; nobody writes to it any more.
        most_bytes: Behind the header.

    Raises:
        ValueError: It is no answer, as from every other function here.
    """

    def __init__(self, result: Scratch, most_bytes: int) -> None:
        self._result = result
        line = bytearray(min(result.size, HEADER_BYTES))
        result.read_into(memoryview(line), 0)
        self._offset = line.find(b"\n") + 1
        self.bytes = result.size - self._offset
        if not self._offset or self.bytes > most_bytes:
            raise ValueError("no header, or more than was asked for")
        try:
            header = json.loads(line[: self._offset])
        except RecursionError:
            raise ValueError("a header without an end") from None
        if not isinstance(header, dict):
            raise ValueError("a header that is no object")
        self._header = header

    @property
    def status(self) -> str:
        """What became of the file: done, refused, over or memory."""
        return self._field("status", str)

    @property
    def message(self) -> str:
        """One line for the client, where the file was refused."""
        return _line(self._field("message", str))

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return self._array(np.uint8, self._shape(3))

    def video(self) -> Video:
        """Its frames and where they come from."""
        shape = self._shape(4)
        indices, times_s = self._array(np.int64, shape[:1]), self._array(np.float64, shape[:1])
        frames = self._array(np.uint8, shape)
        fps, total_frames = self._positive("source_fps"), self._field("total_frames", int)
        if indices[0] < 0 or (np.diff(indices) <= 0).any() or indices[-1] >= total_frames:
            raise ValueError("indices out of order")
        if not np.isfinite(times_s).all():
            raise ValueError("times that are none")
        notes = tuple(_line(note) for note in self._field("notes", list)[:8] if isinstance(note, str))
        return Video(frames, indices, times_s, fps, total_frames, self._positive("duration_s"), notes)

    def _field(self, name: str, kind: type) -> Any:
        value = self._header.get(name)
        if type(value) is not kind:
            raise ValueError(f"no {name}")
        return value

    def _positive(self, name: str) -> float:
        value = self._header.get(name)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"no {name}")
        return float(value)

    def _shape(self, dimensions: int) -> tuple[int, ...]:
        shape = self._field("shape", list)
        if len(shape) != dimensions or shape[-1] != 3 or not all(type(size) is int and size > 0 for size in shape):
            raise ValueError("no shape")
        return tuple(shape)

    def _array(self, dtype: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
        """The next array; the size is compared before memory is taken for it."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self.bytes:
            raise ValueError("less than the header says")
        array: np.ndarray = np.empty(shape, dtype)
        if not self._result.read_into(memoryview(array.data).cast("B"), self._offset):
            raise ValueError("less than the header says")
        self._offset, self.bytes = self._offset + size, self.bytes - size
        return array


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:MESSAGE_CHARACTERS])
