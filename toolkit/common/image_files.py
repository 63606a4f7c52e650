"""Finding the image files below a folder: one rule for training and prediction."""

import functools
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

_USUAL = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp")
SUFFIXES = (*_USUAL, ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
# that systems write beside a user's files, some with copies or thumbnails of images
_OF_WINDOWS = ("$recycle.bin", "system volume information")
SYSTEM_FOLDERS = (*_OF_WINDOWS, "@eadir", "#recycle", "lost+found")


def find_image_files(
    folder: str | os.PathLike[str], elsewhere: Iterable[str] = ()
) -> tuple[list[Path], list[Path]]:
    """Return the images below a folder and its other files, each sorted by path. Links
    to folders are followed, but not upwards, twice, or into one of `elsewhere`, real
    paths that are read for themselves; a link to a file there is another file. Hidden
    files, and folders of systems or with two underscores first, are left out.
    """
    images = []
    others = []
    top = os.fspath(folder)
    seen = {os.path.realpath(top), *elsewhere}
    for base, folders, files in os.walk(top, followlinks=True):
        folders[:] = [name for name in sorted(folders) if _is_new(base, name, seen)]
        for name in files:
            if name.startswith("."):
                continue
            path = Path(base, name)
            if has_image_suffix(name) and not _is_link_into(path, seen):
                images.append(path)
            else:
                others.append(path)
    images.sort(key=Path.as_posix)
    others.sort(key=Path.as_posix)
    return images, others


def has_image_suffix(name: str) -> bool:
    """Return whether a file's name ends as those of images that can be decoded here."""
    return name.lower().endswith(_suffixes())


@functools.lru_cache
def _suffixes() -> tuple[str, ...]:
    suffixes: tuple[str, ...] = SUFFIXES
    if find_spec("PIL._avif"):
        suffixes += (".avif",)
    if find_spec("pillow_heif"):
        suffixes += (".heic", ".heif")
    return suffixes


def is_hidden(name: str) -> bool:
    """Return whether a folder of this name is left out."""
    return name.startswith((".", "__")) or name.lower() in SYSTEM_FOLDERS


def _is_link_into(path: Path, folders: set[str]) -> bool:
    """Return whether a file is a link to one in these folders, given by real paths."""
    if not path.is_symlink():
        return False
    target = Path(os.path.realpath(path))
    return target.exists() and any(str(folder) in folders for folder in target.parents)


def _is_new(base: str, name: str, seen: set[str]) -> bool:
    """Return whether a folder is neither hidden, above `base` nor seen, and add it."""
    if is_hidden(name):
        return False
    real = os.path.realpath(os.path.join(base, name))
    above = os.path.realpath(base)
    if real in seen or os.path.commonpath([real, above]) == real:
        return False
    seen.add(real)
    return True
