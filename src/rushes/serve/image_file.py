"""One picture out of a file that a stranger sent, through Pillow."""

import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rushes.errors import RushesError
from rushes.video_bounds import OverBounds

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def read_image(path: str | os.PathLike[str], max_pixels: int) -> np.ndarray:
    """The picture, or the first of an animation, upright, on white where it is transparent.

    Args:
        path: A local file.
        max_pixels: Of the picture as stored; checked before it is decoded.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        OverBounds: It has more pixels.
        RushesError: It is no picture, or it is damaged.
    """
    previous, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels  # also for the frames inside a GIF
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", Image.DecompressionBombWarning
            )  # over the limit; from twice on it is an error
            with Image.open(path, formats=FORMATS) as picture:
                picture.load()
                return np.array(_rgb(_upright(picture)))
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise OverBounds(f"the image has more than {max_pixels:,} pixels; scale it down first") from None
    except UnidentifiedImageError:
        raise RushesError("the image is not a JPEG, PNG, WebP, GIF or BMP, or is damaged; convert it first") from None
    except Exception:  # Pillow's readers let out whatever their parsing ran into
        raise RushesError("the image is truncated or damaged; fetch or convert it again") from None
    finally:
        Image.MAX_IMAGE_PIXELS = previous


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except MemoryError:
        raise
    except Exception:  # a note on the picture that cannot be read, not the picture
        return picture


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scale
        return Image.fromarray((np.clip(np.asarray(picture), 0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    seen = picture.convert("RGBA")
    white = Image.new("RGB", seen.size, (255, 255, 255))
    white.paste(seen, mask=seen.getchannel("A"))
    return white
