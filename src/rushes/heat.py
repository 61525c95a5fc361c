"""Numbers as colours: viridis, in which equal steps of a number look like equal steps of colour."""

import numpy as np
from PIL import Image, ImageDraw

_INK = (25, 25, 25)
_LONG, _TALL = 220, 12  # of the legend's ramp, in pixels

# Every eighth of the ramp; straight lines between them are as near as eight bits tell apart on a screen.
_RAMP = np.array(
    [
        (68, 1, 84),
        (71, 45, 123),
        (59, 82, 139),
        (44, 114, 142),
        (33, 145, 140),
        (40, 174, 128),
        (94, 201, 98),
        (173, 220, 48),
        (253, 231, 37),
    ]
)


def colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(..., 3) uint8 colours of the (...) values: dark at `low` and below, bright at `high` and above.

    Values that are no numbers, and all values where `low` is `high`, take the dark end.
    """
    span = high - low
    at = np.clip((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / span, 0, 1) if span > 0 else None
    steps = (np.zeros(values.shape) if at is None else at) * (len(_RAMP) - 1)
    channels = [np.interp(steps, range(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def limits(values: np.ndarray) -> tuple[float, float]:
    """Where the ramp begins and ends: at the least, and at what 99 of 100 values do not exceed.

    A few values that tower over all others, as attention's do, would leave everything else dark.
    """
    finite = values[np.isfinite(values)]
    return (0.0, 0.0) if finite.size == 0 else (float(finite.min()), float(np.quantile(finite, 0.99)))


def draw_legend(page: Image.Image, at: tuple[int, int], values: np.ndarray) -> None:
    """Draw the ramp with the numbers at its ends, from the point `at` (left, top) on."""
    low, high = limits(values)
    most = float(values[np.isfinite(values)].max(initial=high))
    pen = ImageDraw.Draw(page)
    x, y = at
    for text in ("score of each cell:", f"{low:.3g}"):
        pen.text((x, y), text, fill=_INK, font_size=13)
        x += int(pen.textlength(text, font_size=13)) + 8
    ramp = colours(np.linspace(0, 1, _LONG)[None].repeat(_TALL, 0), 0, 1)
    page.paste(Image.fromarray(ramp), (x, y + 2))
    ends = f"{high:.3g}" if most <= high else f"{high:.3g} and more (at most {most:.3g})"
    pen.text((x + _LONG + 8, y), ends, fill=_INK, font_size=13)
