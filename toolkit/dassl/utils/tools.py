"""Files, seeds, names, environment."""

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

from toolkit.common.files import StrPath, atomic_write, write_text
from toolkit.common.suggest import check_availability as check_availability
from toolkit.common.suggest import nearest

logger = logging.getLogger(__name__)


def mkdir_if_missing(dirname: StrPath) -> None:
    """Make a folder and its parents."""
    os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: StrPath) -> bool:
    """Return if ``fpath`` is a file; log a warning if not."""
    found = os.path.isfile(fpath)
    if not found:
        logger.warning("No file found at %s", fpath)
    return found


def read_json(fpath: StrPath) -> Any:
    """Return the content of a JSON file."""
    with open(fpath, encoding="utf-8") as file:
        return json.load(file)


def write_json(obj: Any, fpath: StrPath) -> None:
    """Write ``obj`` as indented JSON; makes the folder."""
    write_text(fpath, json.dumps(obj, indent=4))


def set_random_seed(seed: int) -> None:
    """Seed Python, numpy and torch on all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def download_url(url: str, dst: StrPath) -> None:
    """Download ``url`` to the file ``dst``; the file appears only when it is complete."""
    logger.info("Downloading %s to %s", url, dst)
    with atomic_write(dst) as part:
        urllib.request.urlretrieve(url, part)


def read_image(path: StrPath) -> Image.Image:
    """Return an image in RGB. Raises FileNotFoundError if there is none."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"No image found: {path}")
    with Image.open(path) as image:
        return image.convert("RGB")


def collect_env_info() -> str:
    """Return versions and devices, a line each."""
    import torchvision

    lines = [
        f"Python: {sys.version.split()[0]} on {platform.system()} ({platform.machine()})",
        f"PyTorch: {torch.__version__}",
        f"torchvision: {torchvision.__version__}",
        f"numpy: {np.__version__}",
        f"Pillow: {PIL.__version__}",
        f"CUDA: {torch.version.cuda if torch.cuda.is_available() else 'not available'}",
    ]
    for i in range(torch.cuda.device_count()):
        lines.append(f"GPU {i}: {torch.cuda.get_device_name(i)}")
    return "\n".join(lines)


def listdir_nohidden(path: StrPath, sort: bool = False) -> list[str]:
    """Return the names in a folder, without those that begin with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


def get_most_similar_str_to_a_from_b(a: str, b: Sequence[str]) -> str | None:
    """Return the string of ``b`` that is most like ``a``, None for an empty ``b``."""
    return next(iter(nearest(a, b)), None)


def tolist_if_not(x: Any) -> list:
    """Return ``x`` itself if it is a list, else ``[x]``."""
    return x if isinstance(x, list) else [x]
