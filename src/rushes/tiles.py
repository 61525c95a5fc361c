"""One frame of a picture, cell by cell: what is kept is lit, what is dropped is dim."""

import numpy as np
from PIL import Image

from rushes.heat import colours
from rushes.seen_area import Area

_OUTLINE = (20, 20, 20)


def frame_of(row: int, rows: int, frames: int) -> int:
    """The frame that stands for a row of cells in time: the first of those that it was made from.

    Every row is made from the same number of frames; an odd last one is shown to the model twice.
    """
    return min(row * -(-frames // rows), frames - 1)


def seen(frame: np.ndarray, area: Area | None, size: tuple[int, int]) -> np.ndarray:
    """The (H, W, 3) frame's `area` at `size` (height, width); black where the area lies beyond the frame.

    Args:
        area: In pixels of the frame; None is all of it.
        size: In pixels of the picture.
    """
    height, width = frame.shape[:2]
    left, top, right, bottom = area or (0.0, 0.0, float(width), float(height))
    # Whole pixels of black all around, as many as the area sticks out at most.
    pad = max(0, int(np.ceil(max(-left, -top, right - width, bottom - height))))
    padded = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)))
    box = (left + pad, top + pad, right + pad, bottom + pad)
    return np.asarray(Image.fromarray(padded).resize(size[::-1], Image.Resampling.BICUBIC, box=box))


def lit(pixels: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A tile whose cells are as bright as the share of layers that keep them.

    Args:
        pixels: (h * a, w * b, 3) uint8, so that a cell is a x b pixels.
        share: (h, w) from 0 (dropped: pale) to 1 (kept: as in the video).

    Returns:
        The tile, with a line around the cells that at least half of the layers keep. It lies on the cells beside them:
        a kept cell shows every one of its pixels.
    """
    tall, wide = pixels.shape[0] // share.shape[0], pixels.shape[1] // share.shape[1]
    grey = (pixels @ (0.299, 0.587, 0.114))[..., None]
    dim = (grey * 0.6 + pixels * 0.4) * 0.3 + 165  # with a little colour: shapes of one brightness stay apart
    weight = _spread(share, tall, wide)[..., None]
    tile = (pixels * weight + dim * (1 - weight)).round().astype(np.uint8)
    mask = _spread(share >= 0.5, tall, wide)
    tile[_grown(mask, 2 if min(tall, wide) >= 12 else 1) & ~mask] = _OUTLINE
    return tile


def heated(scores: np.ndarray, cell: tuple[int, int], low: float, high: float) -> np.ndarray:
    """(h * a, w * b, 3) uint8 colours of the (h, w) scores, in cells of a x b pixels."""
    return _spread(colours(scores, low, high), *cell)


def _spread(cells: np.ndarray, tall: int, wide: int) -> np.ndarray:
    return cells.repeat(tall, 0).repeat(wide, 1)


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    height, width = mask.shape
    padded = np.pad(mask, by)
    steps = range(2 * by + 1)
    return np.any([padded[y : y + height, x : x + width] for y in steps for x in steps], axis=0)
