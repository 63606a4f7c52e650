"""From a path to a normalised tensor: one function to read, one to resize, one to normalise."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from .archives import read_bytes

MODES = ("squash", "crop")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


class ImageError(ValueError):
    """An image exists, but cannot be decoded."""


def read_image(path: str) -> Image.Image:
    """Decode one image to RGB, turned upright by its EXIF orientation.

    Args:
        path: a file, or ``<zip>@<member>``.

    Raises:
        FileNotFoundError: no such file, zip or member.
        ImageError: the content is no image, is truncated, or its zip is damaged.
    """
    try:
        image = Image.open(io.BytesIO(read_bytes(path)))
        ImageOps.exif_transpose(image, in_place=True)
        return image if image.mode == "RGB" else image.convert("RGB")
    except (FileNotFoundError, IsADirectoryError):
        raise
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ImageError(f"cannot decode {path}: {reason}") from error


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
