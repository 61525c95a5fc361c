"""Pictures of what the draft gets to see: a title, the share of each frame that is kept, and the frames themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rushes.atomic import whole
from rushes.heat import draw_legend, limits
from rushes.lettering import font_for
from rushes.seen_area import Area
from rushes.strip import draw_strip
from rushes.tiles import frame_of, heated, lit, seen

MAX_TILES = 64
_PAPER, _INK, _GREY = (252, 252, 250), (25, 25, 25), (105, 105, 105)
_MARGIN, _GAP, _CAPTION, _LEAST_CAPTION = 16, 10, 20, 120
_MOST_LETTERS = 500  # more fit on no page
_WIDTH, _LEAST_WIDTH = 1600, 760  # of the tiles, and of the page: a title needs room
_LEAST_TILE, _MOST_TILE, _MOST_TALL, _LEAST_CELL, _LEAST_COLUMNS = 184, 376, 800, 8, 3
_TITLE, _LINE, _STRIP, _LEGEND = 28, 20, 124, 26


def draw_kept(
    frames: np.ndarray,
    grid: tuple[int, int, int],
    kept: Sequence[int],
    path: Path,
    *,
    title: str = "",
    seconds: Sequence[float] | None = None,
) -> None:
    """Draw which tokens are kept, as `draw_page` does.

    Args:
        grid: (t, h, w) cells of the video tokens, in their order.
        kept: Indices of the kept tokens.
        frames, path, title, seconds: As in `draw_page`.
    """
    share = np.zeros(grid)
    share.reshape(-1)[list(kept)] = 1
    draw_page(frames, share, path, title=title, seconds=seconds)


def draw_page(
    frames: np.ndarray,
    share: np.ndarray,
    path: Path,
    *,
    heat: np.ndarray | None = None,
    area: Area | None = None,
    seconds: Sequence[float] | None = None,
    title: str = "",
    lines: Sequence[str] = (),
) -> None:
    """Draw a page: a bar for each row of cells in time, and under them one frame for each, with its heat beneath.

    Of more than `MAX_TILES` rows only so many frames are drawn, evenly chosen, and the page says so.

    Args:
        frames: (T, H, W, 3) uint8, the sampled frames.
        share: (t, h, w) how much of each cell is kept, 0..1; t rows in time spread over the T frames.
        path: PNG file to write.
        heat: (t, h, w) a score for each cell, if there is one.
        area: The part of each frame that the cells cover, in its pixels; None is all of it.
        seconds: (T,) time of each frame.
        title: The first line.
        lines: More of them, smaller.

    Raises:
        RushesError: The file cannot be written.
    """
    drawn = _evenly(len(share), MAX_TILES)
    if len(drawn) < len(share):
        lines = (*lines, f"{len(drawn)} of {len(share)} moments are drawn, evenly chosen; the bars show all of them.")
    layout = _Layout.of(frames.shape[1:3], share.shape, area, len(drawn), len(lines), heat is not None)
    page = Image.new("RGB", (layout.width, layout.height), _PAPER)
    pen = ImageDraw.Draw(page)
    _text(pen, (_MARGIN, _MARGIN), title, 20, _INK, layout.width - 2 * _MARGIN)
    for i, line in enumerate(lines):
        _text(pen, (_MARGIN, _MARGIN + _TITLE + i * _LINE), line, 14, _GREY, layout.width - 2 * _MARGIN)
    firsts = [frame_of(row, len(share), len(frames)) for row in range(len(share))]
    when = [f"{row}" if seconds is None else f"{seconds[first]:.1f} s" for row, first in enumerate(firsts)]
    draw_strip(pen, layout.strip, share.mean((1, 2)), when)
    low, high = (0.0, 0.0) if heat is None else limits(heat)
    if heat is not None:
        draw_legend(page, (_MARGIN, layout.top - _LEGEND), heat)
    for place, row in enumerate(drawn):
        x, y = layout.tile(place)
        tile = lit(seen(frames[firsts[row]], area, layout.tile_size), share[row])
        page.paste(Image.fromarray(tile), (x, y))
        if heat is not None:
            page.paste(Image.fromarray(heated(heat[row], layout.cell, low, high)), (x, y + layout.heat_below))
        kept = f"{round(float(share[row].sum()), 1):g} of {share[row].size}"
        pen.text((x, y + layout.tile_height + 3), when[row], fill=_INK, font_size=12)
        pen.text((x + layout.pitch - _GAP, y + layout.tile_height + 3), kept, fill=_GREY, font_size=12, anchor="ra")
    with whole(path) as temporary:
        page.save(temporary, format="PNG")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where everything lies, in pixels.

    Attributes:
        cell: (height, width) of one cell: whole pixels, so that frames and cells line up exactly.
        tile_size: (height, width) of one frame.
        tile_height: Of a frame and its heat.
        heat_below: How far under the top of a frame its heat begins.
        pitch: From the left of a frame to the left of the next one.
        strip_top, top: Where the strip and where the tiles begin.
    """

    cell: tuple[int, int]
    tile_size: tuple[int, int]
    tile_height: int
    heat_below: int
    pitch: int
    columns: int
    strip_top: int
    top: int
    width: int
    height: int

    @staticmethod
    def of(
        frame: tuple[int, int], cells: tuple[int, int, int], area: Area | None, tiles: int, lines: int, heat: bool
    ) -> "_Layout":
        _, h, w = cells
        left, top, right, bottom = area or (0.0, 0.0, float(frame[1]), float(frame[0]))
        least = min(_MOST_TILE, max(_LEAST_TILE, _LEAST_CELL * w))
        columns = min(tiles, max(_LEAST_COLUMNS, (_WIDTH + _GAP) // (least + _GAP)))
        upright = (bottom - top) / (right - left)
        wide = max(1, int(min(_MOST_TILE, (_WIDTH + _GAP) // columns - _GAP, _MOST_TALL / upright)) // w)
        tall = max(1, round(wide * w * upright / h))
        tile = (tall * h, wide * w)
        below = tile[0] + 3
        tile_height = below + tile[0] if heat else tile[0]
        rows = -(-tiles // columns)
        pitch = max(tile[1], _LEAST_CAPTION) + _GAP
        start = _MARGIN + _TITLE + lines * _LINE + _GAP + _STRIP + _GAP + heat * _LEGEND
        return _Layout(
            cell=(tall, wide),
            tile_size=tile,
            tile_height=tile_height,
            heat_below=below,
            pitch=pitch,
            columns=columns,
            strip_top=start - _STRIP - _GAP - heat * _LEGEND,
            top=start,
            width=max(_LEAST_WIDTH, 2 * _MARGIN + columns * pitch - _GAP),
            height=start + rows * (tile_height + _CAPTION + _GAP) - _GAP + _MARGIN,
        )

    def tile(self, place: int) -> tuple[int, int]:
        """Left and top of a frame."""
        row, column = divmod(place, self.columns)
        return _MARGIN + column * self.pitch, self.top + row * (self.tile_height + _CAPTION + _GAP)

    @property
    def strip(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the strip."""
        return _MARGIN, self.strip_top, self.width - _MARGIN, self.strip_top + _STRIP


def _evenly(rows: int, most: int) -> list[int]:
    """At most so many of the rows, evenly spaced, the first and the last among them."""
    count = min(rows, most)
    return [i * (rows - 1) // max(1, count - 1) for i in range(count)]


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, fill: tuple[int, int, int], room: int
) -> None:
    """One line of text, cut where the room ends."""
    text = " ".join(text[:_MOST_LETTERS].split())
    font = font_for(text, size)
    if pen.textlength(text, font=font) > room:
        while text and pen.textlength(text + "...", font=font) > room:
            text = text[:-1]
        text += "..."
    # By the baseline: fonts of one size differ in what lies above it.
    pen.text((at[0], at[1] + size), text, fill=fill, font=font, anchor="ls")
