"""Files that are either whole or not there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rushes.errors import RushesError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` when the block ends well, and goes otherwise.

    Raises:
        RushesError: The folder is not there or cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    except OSError as error:
        raise RushesError(f"{path}: cannot write here ({error.strerror})") from error
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        raise RushesError(f"{path}: cannot write here ({error.strerror})") from error
    finally:
        Path(name).unlink(missing_ok=True)


def make_folder(path: Path) -> Path:
    """The folder, made if need be.

    Raises:
        RushesError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RushesError(f"{path}: cannot make this folder ({error.strerror}); choose another --out") from error
    return path


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
