"""The styles that an image is finished in."""

import numpy as np
from PIL import Image, ImageFilter

from .colors import CONCEPTS, Rng

STYLES = CONCEPTS["styles"]


def finish(image: Image.Image, style: str, rng: Rng) -> Image.Image:
    """Return the image in one of STYLES, as cameras and scans change a picture."""
    array = np.asarray(image, dtype=np.float32)
    shape = array.shape
    if style == "plain":
        return image
    if style == "gray":
        return image.convert("L").convert("RGB")
    if style == "blur":
        radius = rng.uniform(1.5, 3.0)
        return image.filter(ImageFilter.GaussianBlur(radius))
    if style == "lowres":
        side = int(rng.integers(14, 20))
        small = image.resize((side, side), Image.Resampling.BILINEAR)
        return small.resize(image.size, Image.Resampling.NEAREST)
    if style == "noise":
        deviation = rng.uniform(20, 45)
        return from_array(array + rng.normal(0, deviation, shape))
    if style == "night":
        dark = array * rng.uniform(0.25, 0.45)
        dark = dark * np.array([0.7, 0.8, 1.3])
        return from_array(dark + rng.normal(0, 8, shape))
    if style == "faded":
        contrast = rng.uniform(0.25, 0.4)
        return from_array(160 + (array - 128) * contrast)
    if style == "invert":
        return from_array(255 - array)
    if style == "infrared":
        return from_array(array[..., [1, 2, 0]] * np.array([1.1, 0.9, 0.8]))
    if style == "warm":
        tinted = array * np.array([1.1, 0.9, 0.65])
        return from_array(tinted + rng.normal(0, 10, shape))
    raise ValueError(f"unknown style {style!r}")


def from_array(array: np.ndarray) -> Image.Image:
    """Return an image of values around [0, 255], clipped: (H, W, 3) -> RGB."""
    clipped = np.clip(array, 0, 255)
    return Image.fromarray(clipped.astype(np.uint8))
