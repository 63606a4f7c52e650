"""The styles that an image is finished in."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from .colors import Rng

STYLES = (
    "plain",
    "gray",
    "blur",
    "lowres",
    "noise",
    "night",
    "faded",
    "invert",
    "infrared",
    "warm",
)


def finish(image: Image.Image, style: str, rng: Rng) -> Image.Image:
    """Return the image in one of STYLES: as a camera, a scan or a compression changes a
    picture.
    """
    if style == "plain":
        return image
    if style == "gray":
        return image.convert("L").convert("RGB")
    if style == "blur":
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.0)))
    if style == "lowres":
        side = int(rng.integers(14, 20))
        small = image.resize((side, side), Image.Resampling.BILINEAR)
        return small.resize(image.size, Image.Resampling.NEAREST)
    return from_array(_finish_array(np.asarray(image, dtype=np.float32), style, rng))


def _finish_array(array: np.ndarray, style: str, rng: Rng) -> np.ndarray:
    if style == "noise":
        return _noise(array, rng, rng.uniform(20, 45))
    if style == "night":
        dark = array * rng.uniform(0.25, 0.45)
        return _noise(dark * np.array([0.7, 0.8, 1.3]), rng, 8)
    if style == "faded":
        return 160 + (array - 128) * rng.uniform(0.25, 0.4)
    if style == "invert":
        return 255 - array
    if style == "infrared":
        return array[..., [1, 2, 0]] * np.array([1.1, 0.9, 0.8])
    if style == "warm":
        return _noise(array * np.array([1.1, 0.9, 0.65]), rng, 10)
    raise ValueError(f"unknown style {style!r}")


def _noise(array: np.ndarray, rng: Rng, amount: float) -> np.ndarray:
    return array + rng.normal(0, amount, array.shape)


def from_array(array: np.ndarray) -> Image.Image:
    """Return an image of values around [0, 255], clipped: (H, W, 3) -> RGB."""
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))
