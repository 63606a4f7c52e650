"""The names that splits have in files and folders."""

import re

SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
FOLDER_SPLITS = SPLITS | {"training": "train", "dev": "val", "testing": "test"}
_MARKS = r"[\W\d_]*"  # "01_train", "train2017", "test (1)"
_FILLER = "set|sets|split|data|dataset|seg|image|images|img|imgs|folder|photos|my"
_FILLERS = rf"(?:(?:{_FILLER}){_MARKS})*"
_SPLIT_NAME = re.compile(
    rf"{_MARKS}{_FILLERS}(?P<split>{'|'.join(FOLDER_SPLITS)}){_MARKS}{_FILLERS}"
)


def split_of(name: str) -> str:
    """Return the split that a folder's name means, "train", "val" or "test", or ""."""
    found = _SPLIT_NAME.fullmatch(name.lower())
    return FOLDER_SPLITS[found["split"]] if found else ""
