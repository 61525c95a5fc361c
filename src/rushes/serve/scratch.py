"""A file that two processes share and that nothing outlives."""

import os
import sys
import tempfile
from typing import IO


class Scratch:
    """A file without a name, in memory where the system has such (Linux), else in the folder for temporary files.

    A thread may still fill one whose task was cancelled: such a file goes with the last reference to it, and no sooner,
    for its number may be another file's by then.

    Args:
        data: What is in it at first.
    """

    def __init__(self, data: bytes = b"") -> None:
        if sys.platform == "linux":
            self._file: IO[bytes] = open(os.memfd_create("rushes"), "wb+", buffering=0)  # noqa: SIM115
            self.path = f"/proc/self/fd/{self.fd}"  # every opening has a position of its own
        else:
            self._file = tempfile.NamedTemporaryFile(prefix="rushes-", buffering=0)  # noqa: SIM115
            self.path = self._file.name
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    @property
    def fd(self) -> int:
        """Its number, in this process and in a child that inherits it."""
        return self._file.fileno()

    @property
    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        """Fill the buffer from `offset` on; False where the file is too short for it."""
        while buffer:
            count = os.preadv(self.fd, [buffer], offset)
            if count == 0:
                return False
            buffer, offset = buffer[count:], offset + count
        return True

    def close(self) -> None:
        """Let go of it. Whoever still reads gets an error: reading is by position and harms no other file."""
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
