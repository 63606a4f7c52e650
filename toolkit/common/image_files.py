"""Finding the image files below a folder: one rule for training and prediction."""

from __future__ import annotations

import os
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")


def find_image_files(folder: str | os.PathLike) -> tuple[list[Path], list[Path]]:
    """Return the images below a folder and its other files, each sorted by path.

    Links to folders are followed, but not those that lead upwards or to a folder that was seen before. Hidden files
    and folders, and folders that begin with two underscores, are left out.
    """
    images = []
    others = []
    seen = {os.path.realpath(folder)}
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if not is_hidden(name) and _is_new(base, name, seen)]
        for name in files:
            if name.startswith("."):
                continue
            if name.lower().endswith(SUFFIXES):
                images.append(Path(base, name))
            else:
                others.append(Path(base, name))
    images.sort(key=Path.as_posix)
    others.sort(key=Path.as_posix)
    return images, others


def is_hidden(name: str) -> bool:
    """Return whether a folder of this name is left out."""
    return name.startswith((".", "__"))


def _is_new(base: str, name: str, seen: set[str]) -> bool:
    """Return whether a folder is neither above `base` nor among those that were seen, and add it to them."""
    real = os.path.realpath(os.path.join(base, name))
    above = os.path.realpath(base)
    if real in seen or os.path.commonpath([real, above]) == real:
        return False
    seen.add(real)
    return True
