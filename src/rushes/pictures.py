"""Pictures of what the draft gets to see."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rushes.atomic import whole

_MARGIN, _CAPTION, _WIDTH = 6, 18, 1600


def draw_kept(
    frames: np.ndarray,
    grid: tuple[int, int, int],
    kept: Sequence[int],
    path: Path,
    *,
    title: str = "",
    seconds: Sequence[float] | None = None,
    columns: int = 8,
) -> None:
    """Draw one picture per row of cells in time: kept cells lit and framed, dropped ones dim.

    Args:
        frames: (T, H, W, 3) uint8, the sampled frames.
        grid: (t, h, w) cells of the video tokens, in their order; t rows in time spread over the T frames.
        kept: Indices of the kept tokens.
        path: PNG file to write.
        title: Words above the frames.
        seconds: (T,) time of each frame, shown below it.
        columns: Frames in a row.
    """
    t, h, w = grid
    lit = np.zeros((t, h, w), dtype=bool)
    lit.reshape(-1)[list(kept)] = True
    step = len(frames) / t
    tile_w = (_WIDTH - _MARGIN) // columns - _MARGIN
    # Whole pixels per cell, so that frames and cells line up exactly.
    cell = max(1, tile_w // w)
    tile_w, tile_h = cell * w, round(cell * w * frames.shape[1] / frames.shape[2] / h) * h
    rows = -(-t // columns)
    canvas = Image.new(
        "RGB",
        (_MARGIN + columns * (tile_w + _MARGIN), _MARGIN + 24 + rows * (tile_h + _CAPTION + _MARGIN)),
        (250, 250, 250),
    )
    pen = ImageDraw.Draw(canvas)
    pen.text((_MARGIN, _MARGIN), title, fill=(20, 20, 20), font_size=15)
    for i in range(t):
        frame = Image.fromarray(frames[min(int(i * step), len(frames) - 1)]).resize((tile_w, tile_h))
        pixels = np.asarray(frame).astype(np.float32)
        mask = lit[i].repeat(tile_h // h, 0).repeat(tile_w // w, 1)[..., None]
        faded = pixels * 0.3 + 170
        tile = Image.fromarray(np.where(mask, pixels, faded).astype(np.uint8))
        x = _MARGIN + (i % columns) * (tile_w + _MARGIN)
        y = _MARGIN + 24 + (i // columns) * (tile_h + _CAPTION + _MARGIN)
        canvas.paste(tile, (x, y))
        for row, column in zip(*np.nonzero(lit[i]), strict=True):
            box = (
                x + column * (tile_w // w),
                y + row * (tile_h // h),
                x + (column + 1) * (tile_w // w) - 1,
                y + (row + 1) * (tile_h // h) - 1,
            )
            pen.rectangle(box, outline=(0, 0, 0), width=2)
        when = "" if seconds is None else f"{seconds[min(int(i * step), len(frames) - 1)]:.1f} s"
        pen.text((x, y + tile_h + 2), f"{when}  {int(lit[i].sum())}/{h * w}", fill=(70, 70, 70), font_size=11)
    with whole(path) as temporary:
        canvas.save(temporary, format="PNG")
