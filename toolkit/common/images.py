"""Images: read one to RGB, resize it to a tensor, normalise a batch."""

import functools
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor

from toolkit.common import image_metadata
from toolkit.common.archives import read_bytes, split_archive
from toolkit.common.files import no_data_reason

MODES = ("squash", "crop")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
BACKGROUNDS = ("white", "black", "none")
# for some of the others Pillow runs programs
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
# half a gigabyte as RGB; Pillow, too, rejects larger images as bombs
MAX_PIXELS = 178_956_970
# of the sides: the short one becomes the model's size, and the long one grows with it
MAX_RATIO = 1000
BIT_DEPTHS = (8, 10, 12, 14, 16)

_TOO_MANY = f"it declares more than {MAX_PIXELS:,} pixels"
_ALL_NEGATIVE = "its numbers are all negative"
_OVERSHOOT = -0.1  # of resampling; numbers below are meant to be negative
_SAMPLE_FORMAT, _PHOTOMETRIC = 339, 262  # tags of TIFF files
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER_BYTE = {"L": "B", "B": "L"}

ImageSource = str | os.PathLike | Image.Image


class ImageError(ValueError):
    """An image exists, but cannot be decoded."""


def read_image(source: ImageSource, background: str = "white") -> Image.Image:
    """Decode one image to RGB, turned upright by its EXIF orientation, of an animation
    the first frame. Other metadata, broken or not, change nothing.

    Numbers that do not fill 8 bits are scaled by the largest of the file. Integers: the
    smallest of 8, 10, 12, 14 and 16 bits or more that holds it is the range, whose
    upper 8 bits are taken. Floats: x 255 if it is at most 1; as they are if it is at
    most 255; else x 255 / it. Negative numbers, infinity and NaN are 0, but numbers
    from -1 to 1, one of them below -0.1, are moved to 0 to 1 first.

    source: a file, ``<zip>@<member>``, or an open PIL image. background: "white" or
    "black" is seen through transparent pixels; "none" drops the transparency. Raises
    FileNotFoundError, or ImageError for content that is no image, truncated, damaged,
    of absurd sides, or all negative.
    """
    _require("background", background, BACKGROUNDS)
    if isinstance(source, Image.Image):
        return _read_opened(source, background)
    path = os.fspath(source)
    try:
        return _decode(read_bytes(path), background)
    except FileNotFoundError:
        if split_archive(path)[1] is not None:
            raise
        raise FileNotFoundError(f"no image {path}") from None
    except Image.UnidentifiedImageError:
        reason = no_data_reason(read_bytes(path)[:256]) or "not an image"
        raise ImageError(f"cannot decode {path}: {reason}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"cannot decode {path}: {_TOO_MANY}") from None
    except Exception as error:  # noqa: BLE001 - decoders raise whatever comes to them
        raise ImageError(f"cannot decode {path}: {error}") from error


def _require(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(known)}")


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return the width and height that a file declares; nothing is decoded. Raises
    FileNotFoundError, ImageError, or Pillow's DecompressionBombError.
    """
    content, _ = image_metadata.without_metadata(read_bytes(os.fspath(path)))
    try:
        return Image.open(io.BytesIO(content), formats=_formats()).size
    except Image.DecompressionBombError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise ImageError(f"cannot decode {path}: {error}") from error


def _read_opened(image: Image.Image, background: str) -> Image.Image:
    try:
        _check_sides(*image.size)
        image.load()
        return _to_rgb(image, _orientation(image), background)
    except Exception as error:  # noqa: BLE001 - as above
        name = getattr(image, "filename", "") or "an opened image"
        raise ImageError(f"cannot decode {name}: {error}") from error


@functools.lru_cache
def _formats() -> tuple[str, ...]:
    """Return Pillow's formats that are read, with AVIF and HEIF if they are installed."""
    formats: tuple[str, ...] = FORMATS
    if features.check("avif"):
        formats += ("AVIF",)
    try:
        import pillow_heif
    except ImportError:
        return formats
    pillow_heif.register_heif_opener()
    return (*formats, "HEIF")


def _decode(content: bytes, background: str) -> Image.Image:
    content, orientation = image_metadata.without_metadata(content)
    opened = Image.open(io.BytesIO(content), formats=_formats())
    _check_sides(*opened.size)
    has_16_bits = ";16" in str(opened.tile)
    opened.load()
    image: Image.Image = opened
    if has_16_bits and image.mode in ("RGB", "RGBA"):
        image = _with_low_bytes(image, content)
    if orientation is None:
        orientation = _orientation(image)
    return _to_rgb(image, orientation, background)


def _orientation(image: Image.Image) -> int | None:
    if image.format == "TIFF":
        return None
    try:
        block, xmp = image.info.get("exif"), image.info.get("xmp")
        if block is None and image.getexif():  # set by the caller
            block = image.getexif().tobytes()
    except Exception:  # noqa: BLE001 - an odd tag
        return None
    found = None
    if isinstance(block, bytes):
        found = image_metadata.exif_orientation(block)
    if found is None and isinstance(xmp, bytes):
        found = image_metadata.xmp_orientation(xmp)
    return found


def _to_rgb(image: Image.Image, orientation: int | None, background: str):
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    tags = getattr(image, "tag_v2", {})  # of a TIFF file
    is_signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == 2
    # `convert` would turn all above 255 white
    is_odd = is_signed and image.mode == "L"
    if is_odd or image.mode.startswith(("F", "I")):
        image = _to_grey(image, is_signed, tags)
    if image.has_transparency_data and background != "none":
        image = _on_background(image.convert("RGBA"), background)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return image


def _to_grey(image: Image.Image, is_signed: bool, tags: Mapping[int, Any]):
    """Return an image of one channel of other numbers as bytes, with transparency."""
    values = np.asarray(image)
    if image.mode == "F":
        scaled = _floats_to_bytes(values)
    else:
        if tags and image.mode == "I" and not is_signed:
            values = values.view(np.uint32)
        if image.mode == "L":
            values = values.view(np.int8)
        scaled = _integers_to_bytes(values)
    if image.mode != "L" and tags.get(_PHOTOMETRIC) == 0:  # white is 0
        scaled = 255 - scaled
    grey = Image.fromarray(scaled)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(values != transparent).convert("L"))
    return grey


def _on_background(image: Image.Image, color: str) -> Image.Image:
    """Return an RGBA image on a ground of one color."""
    alpha = image.getchannel("A")
    image = image.convert("RGB")
    if alpha.getextrema()[0] == 255:
        return image
    ground = Image.new("RGB", image.size, color)
    ground.paste(image, mask=alpha)
    return ground


def _integers_to_bytes(values: np.ndarray) -> np.ndarray:
    largest = int(values.max())
    if largest < 0:
        raise ValueError(_ALL_NEGATIVE)
    bits = largest.bit_length()
    bits = next((depth for depth in BIT_DEPTHS if bits <= depth), bits)
    return (values.clip(0) >> (bits - 8)).astype(np.uint8)


def _floats_to_bytes(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    smallest, largest = values.min(), values.max()
    if -1 <= smallest < _OVERSHOOT and largest <= 1:
        return ((values + 1) * 127.5).round().astype(np.uint8)
    if largest < 0:
        raise ValueError(_ALL_NEGATIVE)
    values = values.clip(0)
    if largest <= 1:
        values = values * 255
    elif largest > 255:
        values = values / largest * 255
    return values.round().astype(np.uint8)


def _with_low_bytes(image: Image.Image, content: bytes) -> Image.Image:
    """Return a color image of 16 bits a channel, of which Pillow keeps the upper 8,
    scaled as `read_image` says; the lower ones are decoded if it needs them.
    """
    upper = np.asarray(image)
    if upper[:, :, :3].max() >= 64:  # more than 14 bits
        return image
    other = Image.open(io.BytesIO(content), formats=_formats())
    is_grey = "LA;16B" in str(other.tile)
    other.tile = [tile._replace(args=_low_byte_mode(tile.args)) for tile in other.tile]
    try:
        other.load()
    except ValueError:  # Pillow has no such raw mode
        return image
    lower = np.asarray(other)
    if is_grey:
        lower = lower[:, :, [1, 1, 1, 3]]
    values = upper.astype(np.uint16) << 8 | lower
    scaled = _integers_to_bytes(values[:, :, :3])
    if image.mode == "RGBA":
        scaled = np.dstack([scaled, _integers_to_bytes(values[:, :, 3])])
    return Image.fromarray(scaled)


def _low_byte_mode(args: Any) -> Any:
    """Return a Pillow decoder's arguments to take the other byte of 16 bits."""
    if isinstance(args, tuple):
        return (_low_byte_mode(args[0]), *args[1:])
    if args == "LA;16B":  # has no counterpart: all four bytes are taken
        return "RGBA"
    order = args[-1].replace("N", _NATIVE)
    return args[:-1] + _OTHER_BYTE[order]


def _check_sides(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(_TOO_MANY)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(
            f"it declares {width} x {height} pixels; one side is more than {MAX_RATIO:,} times the other"
        )


def resize(
    image: Image.Image, size: int, mode: str = "crop", interpolation: str = "bicubic"
) -> Tensor:
    """Return a PIL image as uint8 (3, size, size): "squash" resizes both sides, "crop"
    the short one and cuts the centre. interpolation: "nearest", "bilinear" or "bicubic"
    (antialiased, as PIL does).
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    _require("crop mode", mode, MODES)
    _require("interpolation", interpolation, INTERPOLATIONS)
    filter_ = InterpolationMode(interpolation)
    if mode == "squash":
        image = F.resize(image, [size, size], filter_)
    else:
        image = F.center_crop(F.resize(image, [size], filter_), [size, size])
    return F.pil_to_tensor(image)


def normalize(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return uint8 (..., 3, S, S) as float32: (x / 255 - mean) / std."""
    means = torch.tensor(mean, device=batch.device).view(3, 1, 1)
    stds = torch.tensor(std, device=batch.device).view(3, 1, 1)
    return batch.to(torch.float32).div_(255).sub_(means).div_(stds)
