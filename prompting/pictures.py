"""Reading an image, as `toolkit/common/images.py` does for training: the same files are taken, turned and refused."""

import os
import stat
import struct

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")  # for some of the others Pillow runs programs
MAX_PIXELS = 178_956_970  # half a gigabyte as RGB; what declares more is a bomb to Pillow, too
MAX_RATIO = 1000  # of the sides: the short one becomes the model's size, and the long one grows with it
_TOO_MANY = f"it declares more than {MAX_PIXELS:,} pixels"

ImageSource = str | os.PathLike | Image.Image


def read_picture(image: ImageSource) -> Image.Image:
    """Upright RGB, of an animation the first frame.

    Raises FileNotFoundError, or ValueError naming a file that is no image, is truncated or declares absurd sides.
    """
    if isinstance(image, Image.Image):
        return _upright(image)
    try:
        if not stat.S_ISREG(os.stat(image).st_mode):  # a device may never end
            raise ValueError("not a file")
        with Image.open(image, formats=FORMATS) as opened:
            return _upright(opened)
    except FileNotFoundError:
        raise FileNotFoundError(f"no image {image}") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        kinds = {Image.UnidentifiedImageError: "not an image", Image.DecompressionBombError: _TOO_MANY}
        raise ValueError(f"cannot decode {image}: {kinds.get(type(error), error)}") from error


def _upright(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(_TOO_MANY)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(f"it declares {width} x {height} pixels; one side is more than {MAX_RATIO:,} times the other")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits a pixel; `convert` would take all above 255 for white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
