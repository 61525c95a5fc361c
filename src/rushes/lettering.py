"""A font that can write a text: Pillow's own holds ASCII only, and prompts are written in every language."""

from functools import cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow finds them by name where the system has them: Linux, macOS, Windows.
_NAMES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "arial.ttf",
    "msyh.ttc",
)


def font_for(text: str, size: int) -> Font:
    """The font that lacks the fewest letters of a text, among Pillow's own and the system's.

    Args:
        text: One line.
        size: In pixels.
    """
    if text.isascii():
        return ImageFont.load_default(size)
    return min(_fonts(size), key=lambda font: _lacking(font, text))


@cache
def _fonts(size: int) -> tuple[Font, ...]:
    found: list[Font] = []
    for name in _NAMES:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return (*found, ImageFont.load_default(size))


def _lacking(font: Font, text: str) -> int:
    """How many letters are drawn as the box that stands for what a font does not hold."""
    box = bytes(font.getmask("\uffff"))
    return sum(bytes(font.getmask(letter)) == box for letter in set(text) if not letter.isspace())
