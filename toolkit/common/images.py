"""From a path to a normalised tensor: one function to read, one to resize, one to normalise."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from toolkit.common.archives import read_bytes

MODES = ("squash", "crop")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")  # for some of the others Pillow runs programs
MAX_PIXELS = 178_956_970  # half a gigabyte as RGB; what declares more is a bomb to Pillow, too
MAX_RATIO = 1000  # of the sides: the short one becomes the model's size, and the long one grows with it

ImageSource = str | os.PathLike | Image.Image
_TOO_MANY = f"it declares more than {MAX_PIXELS:,} pixels"


class ImageError(ValueError):
    """An image exists, but cannot be decoded."""


def read_image(source: ImageSource) -> Image.Image:
    """Decode one image to RGB, turned upright by its EXIF orientation. Of an animation, the first frame.

    Args:
        source: a file, ``<zip>@<member>``, or an opened PIL image, which stays as it is.

    Raises:
        FileNotFoundError: no such file, zip or member.
        ImageError: the content is no image, is truncated or declares absurd sides, or its zip is damaged.
    """
    if isinstance(source, Image.Image):
        _check_sides(*source.size)
        return _upright_rgb(source.copy())
    try:
        image = Image.open(io.BytesIO(read_bytes(os.fspath(source))), formats=FORMATS)
        _check_sides(*image.size)
        return _upright_rgb(image)
    except FileNotFoundError:
        raise
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"cannot decode {source}: not an image") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"cannot decode {source}: {_TOO_MANY}") from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise ImageError(f"cannot decode {source}: {error}") from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits a pixel; `convert` would take all above 255 for white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "RGB":
        return image
    return image.convert("RGB")


def _check_sides(width: int, height: int) -> None:
    """Raise ValueError for what would exhaust the memory. Nothing is decoded yet."""
    if width * height > MAX_PIXELS:
        raise ValueError(_TOO_MANY)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(f"it declares {width} x {height} pixels; one side is more than {MAX_RATIO:,} times the other")


def resize(image: Image.Image, size: int, mode: str = "crop", interpolation: str = "bicubic") -> Tensor:
    """A PIL image as a uint8 tensor (3, size, size).

    Args:
        mode: "squash" resizes both sides to `size`; "crop" resizes the short side and cuts the centre out.
        interpolation: "nearest", "bilinear" or "bicubic" (antialiased, as PIL does).
    """
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
    """uint8 (..., 3, S, S) to float32 of the same shape: scaled to [0, 1], then (x - mean) / std for each channel."""
    mean, std = (torch.tensor(values, device=batch.device).view(3, 1, 1) for values in (mean, std))
    return batch.to(torch.float32).div_(255).sub_(mean).div_(std)
