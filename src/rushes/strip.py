"""The strip: a bar for each frame's share of kept tokens, so that a bias to some frames shows at a glance."""

from collections.abc import Sequence

import numpy as np
from PIL import ImageDraw

BAR, EVEN = (84, 120, 168), (205, 70, 40)
_INK, _GREY = (25, 25, 25), (105, 105, 105)
_LEFT, _RIGHT, _HEADING, _LABELS = 46, 104, 30, 20


def draw_strip(
    pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], shares: np.ndarray, when: Sequence[str]
) -> None:
    """Draw the bars, and a thin line where all would end if every frame kept the same share.

    Args:
        pen: Draws on the page.
        box: Left, top, right and bottom on the page, words included.
        shares: (t,) kept share of each frame, 0..1.
        when: (t,) what to write below a bar, where there is room.
    """
    left, top, right, bottom = box[0] + _LEFT, box[1] + _HEADING, box[2] - _RIGHT, box[3] - _LABELS
    most, even = float(shares.max()), float(shares.mean())
    scale = (bottom - top) / (most or 1)
    pen.text((box[0], box[1]), "kept share of each frame's tokens", fill=_INK, font_size=13)
    for i, share in enumerate(shares):
        x, end = bar_edges(left, right, len(shares), i)
        if share > 0:
            pen.rectangle((x, bottom - round(float(share) * scale), end - 1, bottom - 1), fill=BAR)
    pen.line((left, bottom, right - 1, bottom), fill=_GREY)
    level = bottom - round(even * scale)
    pen.line((left, level, right - 1, level), fill=EVEN)
    pen.text((left - 6, top), f"{most:.0%}", fill=_GREY, font_size=12, anchor="rm")
    pen.text((left - 6, bottom), "0", fill=_GREY, font_size=12, anchor="rm")
    pen.text((right + 6, level), f"even: {even:.1%}", fill=EVEN, font_size=12, anchor="lm")
    _labels(pen, left, right, bottom + 4, when)


def bar_edges(left: int, right: int, bars: int, number: int) -> tuple[int, int]:
    """Where one of the bars begins and ends (exclusive), in pixels; with a gap between them where there is room."""
    x, end = (left + (right - left) * i // bars for i in (number, number + 1))
    return x, max(x + 1, end - (2 if end - x > 8 else 1 if end - x > 3 else 0))


def _labels(pen: ImageDraw.ImageDraw, left: int, right: int, y: int, when: Sequence[str]) -> None:
    """As many labels as fit, evenly spaced, each below the middle of its bar."""
    room = max(pen.textlength(words, font_size=12) for words in when) + 12
    step = max(1, -(-len(when) * int(room) // (right - left)))
    for i in range(0, len(when), step):
        x, end = bar_edges(left, right, len(when), i)
        pen.text(((x + end) / 2, y), when[i], fill=_GREY, font_size=12, anchor="ma")
