"""What the models saw of a video, small enough for a page: some frames, and how they are cut into cells."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image

from rushes.chat import Clip
from rushes.models.base import Inputs
from rushes.pair import Pair
from rushes.seen_area import seen_area
from rushes.tiles import frame_of, seen

_ROWS, _SIDE = 24, 160  # frames shown of one video; pixels of the longer side


def preview(pair: Pair, inputs: Inputs, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """One object for each video: its grid, and some of its moments.

    The first time that a clip is seen its frames are drawn; they are kept with it.

    Returns:
        `{"grid": [t, h, w], "moments": [{"row": int, "second": float, "image": data URL}]}`; `row` is the cell in time.
    """
    grids = pair.target.grids(inputs)
    patch = pair.target.config.vision_config.patch_size
    made = []
    for clip, grid in zip(clips, grids, strict=False):
        if not clip.moments:
            clip.moments = _moments(clip, grid[0], pair.processor, patch)
        made.append({"grid": list(grid), "moments": clip.moments})
    return made


def _moments(clip: Clip, rows: int, processor: Any, patch: int) -> list[dict[str, Any]]:
    video = clip.video
    count, height, width = video.frames.shape[:3]
    area = seen_area(processor, height, width, patch)
    left, top, right, bottom = area
    scale = _SIDE / max(right - left, bottom - top)
    size = max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))
    drawn = min(rows, _ROWS)
    moments = []
    for i in range(drawn):
        row = i * (rows - 1) // max(1, drawn - 1)
        frame = frame_of(row, rows, count)
        packed = BytesIO()
        Image.fromarray(seen(video.frames[frame], area, size)).save(packed, "JPEG", quality=80)
        image = "data:image/jpeg;base64," + b64encode(packed.getvalue()).decode()
        moments.append({"row": row, "second": round(float(video.timestamps_s[frame]), 2), "image": image})
    return moments
