"""Images: read one to RGB, resize it to a tensor, normalise a batch."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from toolkit.common.archives import read_bytes, split_archive

MODES = ("squash", "crop")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")  # for some of the others Pillow runs programs
MAX_PIXELS = 178_956_970  # half a gigabyte as RGB; what declares more is a bomb to Pillow, too
MAX_RATIO = 1000  # of the sides: the short one becomes the model's size, and the long one grows with it

_TOO_MANY = f"it declares more than {MAX_PIXELS:,} pixels"

ImageSource = str | os.PathLike | Image.Image


class ImageError(ValueError):
    """An image exists, but cannot be decoded."""


def read_image(source: ImageSource) -> Image.Image:
    """Decode one image to RGB, turned upright by its EXIF orientation. Of an animation, the first frame.

    Args:
        source: a file, ``<zip>@<member>``, or an open PIL image.

    Raises:
        FileNotFoundError: no such file, zip or member.
        ImageError: the content is no image, is truncated or declares absurd sides, or its zip is damaged.
    """
    if isinstance(source, Image.Image):
        return _upright_rgb(source, in_place=False)
    path = os.fspath(source)
    try:
        image = Image.open(io.BytesIO(read_bytes(path)), formats=FORMATS)
        return _upright_rgb(image, in_place=True)
    except FileNotFoundError:
        if split_archive(path)[1] is not None:
            raise
        raise FileNotFoundError(f"no image {path}") from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"cannot decode {path}: not an image") from None
    except Image.DecompressionBombError:
        raise ImageError(f"cannot decode {path}: {_TOO_MANY}") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise ImageError(f"cannot decode {path}: {error}") from error


def _upright_rgb(image: Image.Image, in_place: bool) -> Image.Image:
    _check_sides(*image.size)
    image = ImageOps.exif_transpose(image, in_place=in_place) or image  # None when in place
    if image.mode.startswith("I"):  # 16 bits a pixel; `convert` would turn all above 255 white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode != "RGB":
        image = image.convert("RGB")
    return image


def _check_sides(width: int, height: int) -> None:
    """Raise ValueError for what would exhaust the memory. Nothing is decoded yet."""
    if width * height > MAX_PIXELS:
        raise ValueError(_TOO_MANY)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(f"it declares {width} x {height} pixels; one side is more than {MAX_RATIO:,} times the other")


def resize(image: Image.Image, size: int, mode: str = "crop", interpolation: str = "bicubic") -> Tensor:
    """Return a PIL image as a uint8 tensor (3, size, size).

    Args:
        mode: "squash" resizes both sides to `size`; "crop" resizes the short side and cuts the centre out.
        interpolation: "nearest", "bilinear" or "bicubic" (antialiased, as PIL does).
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    if mode not in MODES:
        raise ValueError(f"unknown crop mode {mode!r}; choose one of {', '.join(MODES)}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"unknown interpolation {interpolation!r}; choose one of {', '.join(INTERPOLATIONS)}")
    filter_ = InterpolationMode(interpolation)
    if mode == "squash":
        image = F.resize(image, [size, size], filter_)
    else:
        image = F.center_crop(F.resize(image, [size], filter_), [size, size])
    return F.pil_to_tensor(image)


def normalize(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return uint8 (..., 3, S, S) as float32: scaled to [0, 1], then (x - mean) / std for each channel."""
    means = torch.tensor(mean, device=batch.device).view(3, 1, 1)
    stds = torch.tensor(std, device=batch.device).view(3, 1, 1)
    return batch.to(torch.float32).div_(255).sub_(means).div_(stds)
