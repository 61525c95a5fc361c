"""Where a timeline goes: a picture or its numbers, by the name of the file."""

import json
import tempfile
from pathlib import Path

from rushes.atomic import whole
from rushes.errors import RushesError
from rushes.timeline import Timeline

SUFFIXES = (".png", ".json")


def check_timeline(path: Path) -> None:
    """Refuse, before there is a timeline, a file that it cannot be written to.

    Args:
        path: As given to `save_timeline` later on.

    Raises:
        RushesError: Another suffix than .png or .json, a folder, no such folder, or one that cannot be written to.
    """
    try:
        if path.is_dir():
            raise RushesError(f"{path}: is a folder; name a file in it, such as {path / 'timeline.png'}")
        if path.suffix.lower() not in SUFFIXES:
            raise RushesError(f"{path}: a timeline ends in .png (a picture) or .json (its numbers); rename it")
        if not path.parent.exists():
            raise RushesError(f"{path}: there is no folder {path.parent}; make it, or choose another place")
        # Permissions do not tell of a full disk or one that is read only, nor what the superuser may do.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix):
            pass
    except OSError as error:
        raise RushesError(f"{path}: cannot write here ({error.strerror}); choose another place") from error


def save_timeline(timeline: Timeline, path: Path, method: str) -> None:
    """Draw a timeline to a .png file, or write its numbers to a .json file.

    Args:
        timeline: Of one request.
        path: The file.
        method: What decoded the request.

    Raises:
        RushesError: What `check_timeline` refuses.
    """
    check_timeline(path)
    if path.suffix.lower() == ".png":
        from rushes.timeline_picture import draw_timeline

        draw_timeline(timeline, path, method)
        return
    with whole(path) as temporary:
        temporary.write_text(json.dumps({"method": method, **timeline.to_json()}, indent=1) + "\n")
