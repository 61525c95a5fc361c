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


def check_place(path: Path, suffixes: tuple[str, ...], rule: str, example: str) -> None:
    """Refuse, before there is anything to write, a file that it cannot be written to.

    Args:
        suffixes: What the name may end in.
        rule: That in words.
        example: A name that would do.

    Raises:
        RushesError: Another suffix, a folder, no such folder, or one that cannot be written to.
    """
    try:
        if path.is_dir():
            raise RushesError(f"{path}: is a folder; name a file in it, such as {path / example}")
        if path.suffix.lower() not in suffixes:
            raise RushesError(f"{path}: {rule}; rename it")
        if not path.parent.exists():
            raise RushesError(f"{path}: there is no folder {path.parent}; make it, or choose another place")
        # Permissions do not tell of a full disk or one that is read only, nor what the superuser may do.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix):
            pass
    except OSError as error:
        raise RushesError(f"{path}: cannot write here ({error.strerror}); choose another place") from error


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
