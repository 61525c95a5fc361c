"""The picture of a timeline: a lane for each model, one above the other, a colour for each kind of work."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rushes.atomic import whole
from rushes.lettering import font_for
from rushes.timeline import DRAFT, TARGET, Span, Timeline
from rushes.timeline_rows import ROUND, Row, clock, rows_of, tick_step, ticks

Colour = tuple[int, int, int]

# Okabe and Ito's, which people tell apart whatever colours they see.
COLOURS: dict[str, Colour] = {
    "vision": (204, 121, 167),
    "prefill": (0, 114, 178),
    "scoring": (240, 228, 66),
    "window": (230, 159, 0),
    "review": (86, 180, 233),
}
IDLE: Colour = (236, 236, 233)
_WORDS = {
    "vision": "vision: looks at the frames",
    "prefill": "prefill: reads the prompt",
    "scoring": "scoring: picks what the draft sees",
    "window": "window: the draft writes ahead",
    "review": "review: the target checks that, and adds a token",
}
_ALONE = {**_WORDS, "review": "review: the target writes a token"}  # where no draft writes ahead
_OTHER: Colour = (150, 150, 150)
_PAPER, _INK, _GREY, _GRID = (252, 252, 250), (25, 25, 25), (105, 105, 105), (216, 216, 212)
_WIDTH, _MARGIN, _LABEL, _RIGHT = 1600, 16, 64, 40
_TITLE, _LINE, _HEADING, _KEY = 28, 20, 24, 24
_LANE, _GAP, _AXIS, _PAUSE = 30, 4, 24, 12
_TICKS, _MOST_LETTERS = 12, 120


def draw_timeline(timeline: Timeline, path: Path, method: str) -> None:
    """Draw who was busy when.

    Args:
        timeline: Of one request.
        path: PNG file to write.
        method: Its name, for the title.

    Raises:
        RushesError: The file cannot be written.
    """
    lanes, lines, keys, rows = lanes_of(timeline), words(timeline), _keys(timeline), rows_of(timeline)
    legend = _MARGIN + _TITLE + len(lines) * _LINE + _PAUSE
    lane_rows = legend + keys[-1].y + _KEY + _PAUSE
    row_height = len(lanes) * (_LANE + _GAP) + _AXIS + _PAUSE
    height = lane_rows + len(rows) * row_height + sum(bool(row.heading) for row in rows) * _HEADING
    page = Image.new("RGB", (_WIDTH, height), _PAPER)
    pen = ImageDraw.Draw(page)
    title = " ".join(f"{method}: who was busy when".split())[:_MOST_LETTERS]
    pen.text((_MARGIN, _MARGIN), title, fill=_INK, font=font_for(title, 20))
    for i, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + _TITLE + i * _LINE), line, fill=_GREY, font_size=14)
    for key in keys:
        _block(page, (key.x, legend + key.y, key.x + 28, legend + key.y + 16), key.colour, key.discarded)
        pen.text((key.x + 34, legend + key.y + 8), key.words, fill=_INK, font_size=13, anchor="lm")
    y = lane_rows
    for row in rows:
        if row.heading:
            pen.text((_MARGIN, y), row.heading, fill=_INK, font_size=14)
            y += _HEADING
        _draw_row(page, timeline, row, lanes, y)
        y += row_height
    with whole(path) as temporary:
        page.save(temporary, format="PNG")


def lanes_of(timeline: Timeline) -> list[str]:
    """The target's lane, and the draft's where it did something."""
    return [TARGET, DRAFT] if any(span.lane == DRAFT for span in timeline.spans) else [TARGET]


def words(timeline: Timeline) -> list[str]:
    """What the picture says about the whole request."""
    shares, hidden, total = timeline.shares(), timeline.hidden_preparation(), timeline.end_s
    if not total:
        return ["Nothing was recorded."]
    lines = [
        f"{clock(timeline.total_s or total, total)} from the request to the end of the answer. "
        "Blocks above each other ran at the same time; a number is how many tokens were read, written or reviewed."
    ]
    for lane in lanes_of(timeline):
        share = shares[lane]
        wasted = f", {share['discarded']:.1%} at work that was discarded" if share["discarded"] else ""
        lines.append(f"The {lane}: {share['busy']:.1%} busy, {share['idle']:.1%} idle{wasted}.")
    if DRAFT not in lanes_of(timeline):
        lines.append("No draft was at work.")
    if hidden is not None:
        lines.append(
            f"{hidden:.1%} of the draft's preparation, its vision and prefill, ran while the target was at work."
        )
    return lines


@dataclass(frozen=True, slots=True)
class _Key:
    """An entry of the legend; x and y from its left and top."""

    x: int
    y: int
    words: str
    colour: Colour
    discarded: bool = False


def _keys(timeline: Timeline) -> list[_Key]:
    """The legend: what occurs in the picture, and nothing else."""
    there = dict.fromkeys([kind for kind in COLOURS if any(span.kind == kind for span in timeline.spans)])
    there.update(dict.fromkeys(span.kind for span in timeline.spans))
    meaning = _WORDS if "window" in there else _ALONE
    entries = [(meaning.get(kind, kind), COLOURS.get(kind, _OTHER), False) for kind in there]
    wasted = dict.fromkeys(span.kind for span in timeline.spans if span.discarded)
    entries += [(f"discarded {kind}", COLOURS.get(kind, _OTHER), True) for kind in wasted]
    entries.append(("idle", IDLE, False))
    keys, x, y = [], _MARGIN, 0
    for text, colour, discarded in entries:
        long = 34 + int(font_for(text, 13).getlength(text)) + 22
        if x + long > _WIDTH - _MARGIN:
            x, y = _MARGIN, y + _KEY
        keys.append(_Key(x, y, text, colour, discarded))
        x += long
    return keys


def _draw_row(page: Image.Image, timeline: Timeline, row: Row, lanes: list[str], top: int) -> None:
    """The lanes of one stretch of time, and the axis below them."""
    pen = ImageDraw.Draw(page)
    left, right = _MARGIN + _LABEL, _WIDTH - _RIGHT
    scale = (right - left) / max(row.end_s - row.start_s, 1e-9)
    bottom = top + len(lanes) * (_LANE + _GAP)
    marks = [(round(left + (tick - row.start_s) * scale), tick) for tick in ticks(row.start_s, row.end_s, _TICKS)]
    for i, lane in enumerate(lanes):
        y = top + i * (_LANE + _GAP)
        pen.text((_MARGIN, y + _LANE / 2), lane, fill=_INK, font_size=14, anchor="lm")
        pen.rectangle((left, y, right - 1, y + _LANE - 1), fill=IDLE)
        for x, _ in marks:
            pen.line((x, y, x, y + _LANE - 1), fill=_GRID)
        own = [span for span in timeline.spans if span.lane == lane and span.start_s < span.end_s]
        inside = [span for span in own if span.start_s < row.end_s and span.end_s > row.start_s]
        # What lies inside another span begins later, and is drawn on top of it.
        inside.sort(key=lambda span: (span.start_s, -span.end_s))
        boxes = [_edges(span, row, left, right, scale) for span in inside]
        for n, (span, (x, end)) in enumerate(zip(inside, boxes, strict=True)):
            _block(page, (x, y, end, y + _LANE), COLOURS.get(span.kind, _OTHER), span.discarded)
            room = min([end, *(later for later, _ in boxes[n + 1 : n + 2])]) - x  # nor under what lies on top
            _label(pen, span, x, y, room)
    pen.line((left, bottom, right - 1, bottom), fill=_GREY)
    step = tick_step(row.end_s - row.start_s, _TICKS)
    for x, tick in marks:
        pen.line((x, bottom, x, bottom + 4), fill=_GREY)
        pen.text((x, bottom + 6), clock(tick, timeline.end_s, step), fill=_GREY, font_size=12, anchor="ma")


def _edges(span: Span, row: Row, left: int, right: int, scale: float) -> tuple[int, int]:
    """Where a span begins and ends (exclusive), in pixels: at least two, and a gap behind it where there is room."""
    x = min(max(left, round(left + (span.start_s - row.start_s) * scale)), right - 2)
    end = min(right, max(x + 2, round(left + (span.end_s - row.start_s) * scale)))
    return x, end - 1 if end - x > 3 else end


def _block(page: Image.Image, box: tuple[int, int, int, int], colour: Colour, discarded: bool) -> None:
    """A rectangle up to its right and bottom (exclusive); hatched when it stands for work in vain."""
    left, top, right, bottom = box
    if not discarded:
        page.paste(colour, box)
        return
    stripes = (np.add.outer(np.arange(top, bottom), np.arange(left, right)) % 7 < 3)[..., None]
    pixels = np.where(stripes, np.array(_INK), (2 * np.array(_PAPER) + np.array(colour)) / 3)
    page.paste(Image.fromarray(pixels.astype(np.uint8)), (left, top))


def _label(pen: ImageDraw.ImageDraw, span: Span, x: int, y: int, room: int) -> None:
    """What a block is and how many tokens are in it, as far as there is room."""
    if span.discarded:
        return
    tokens = f"{span.tokens}" if span.tokens else ""
    dark = np.dot(COLOURS.get(span.kind, _OTHER), (0.299, 0.587, 0.114)) < 110
    # Rounds are many: the legend names them.
    for text in (tokens,) if span.kind in ROUND else (f"{span.kind} {tokens}".strip(), tokens):
        if text and pen.textlength(text, font_size=12) + 4 <= room:
            pen.text((x + 3, y + _LANE / 2), text, fill=_PAPER if dark else _INK, font_size=12, anchor="lm")
            return
