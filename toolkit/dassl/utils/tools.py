"""Files, seeds, names, environment."""

import difflib
import json
import logging
import os
import platform
import random
import sys
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image

logger = logging.getLogger(__name__)


def mkdir_if_missing(dirname: str | os.PathLike) -> None:
    """Make a folder and its parents."""
    os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str | os.PathLike) -> bool:
    """Whether ``fpath`` is a file; logs a warning if not."""
    found = os.path.isfile(fpath)
    if not found:
        logger.warning("No file found at %s", fpath)
    return found


def read_json(fpath: str | os.PathLike) -> Any:
    """The content of a JSON file."""
    with open(fpath, encoding="utf-8") as file:
        return json.load(file)


def write_json(obj: Any, fpath: str | os.PathLike) -> None:
    """Write ``obj`` as indented JSON; makes the folder."""
    mkdir_if_missing(os.path.dirname(os.path.abspath(fpath)))
    with open(fpath, "w", encoding="utf-8") as file:
        json.dump(obj, file, indent=4, separators=(",", ": "))


def set_random_seed(seed: int) -> None:
    """Seed Python, numpy and torch on all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def download_url(url: str, dst: str | os.PathLike) -> None:
    """Download ``url`` to the file ``dst``; the file appears only when it is complete."""
    logger.info("Downloading %s to %s", url, dst)
    part = f"{os.fspath(dst)}.part"
    urllib.request.urlretrieve(url, part)
    os.replace(part, dst)


def read_image(path: str | os.PathLike) -> Image.Image:
    """A file as a PIL image in RGB.

    Raises:
        FileNotFoundError: no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No image found: {path}")
    with Image.open(path) as image:
        return image.convert("RGB")


def collect_env_info() -> str:
    """Versions and devices, a line each."""
    import torchvision

    lines = [
        f"Python: {sys.version.split()[0]} on {platform.system()} ({platform.machine()})",
        f"PyTorch: {torch.__version__}",
        f"torchvision: {torchvision.__version__}",
        f"numpy: {np.__version__}",
        f"Pillow: {PIL.__version__}",
        f"CUDA: {torch.version.cuda if torch.cuda.is_available() else 'not available'}",
    ]
    lines += [f"GPU {i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return "\n".join(lines)


def listdir_nohidden(path: str | os.PathLike, sort: bool = False) -> list[str]:
    """Names in a folder, without those that begin with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


def get_most_similar_str_to_a_from_b(a: str, b: Sequence[str]) -> str | None:
    """The string of ``b`` that is most like ``a``; None for an empty ``b``."""

    def likeness(candidate: str) -> float:
        return difflib.SequenceMatcher(None, a.lower(), candidate.lower()).ratio()

    return max(b, key=likeness, default=None)


def check_availability(requested: str, available: Sequence[str]) -> None:
    """Check a name against the possible ones.

    Raises:
        ValueError: ``requested`` is none of ``available``; the message names the nearest one.
    """
    if requested in available:
        return
    nearest = get_most_similar_str_to_a_from_b(requested, available)
    hint = f"; did you mean {nearest!r}?" if nearest is not None else ""
    raise ValueError(f"{requested!r} is not one of [{', '.join(available)}]{hint}")


def tolist_if_not(x: Any) -> list:
    """``x`` itself if it is a list, else ``[x]``."""
    return x if isinstance(x, list) else [x]
