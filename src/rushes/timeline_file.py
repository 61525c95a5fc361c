"""Where a timeline goes: a picture or its numbers, by the name of the file."""

import json
from pathlib import Path

from rushes.atomic import check_place, whole
from rushes.timeline import Timeline

SUFFIXES = (".png", ".json")


def check_timeline(path: Path) -> None:
    """Refuse, before there is a timeline, a file that it cannot be written to.

    Args:
        path: As given to `save_timeline` later on.

    Raises:
        RushesError: Another suffix than .png or .json, a folder, no such folder, or one that cannot be written to.
    """
    check_place(path, SUFFIXES, "a timeline ends in .png (a picture) or .json (its numbers)", "timeline.png")


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
