"""The output of `python -m prompting predict`: lines for people, CSV, JSON, and images
sorted into folders.
"""

import csv
import filecmp
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from toolkit.common.text import printable, spreadsheet_text

UNSURE = "unsure"
_LONGEST_NAME = 100  # characters of a folder
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


@dataclass(frozen=True)
class Answer:
    """An image and its best (class, probability) pairs, or why it can't be read."""

    image: str
    best: list[tuple[str, float]]
    threshold: float = 0.0
    error: str = ""

    @property
    def predicted(self) -> str:
        """Return the first class, `UNSURE` if it is below the threshold."""
        if self.error:
            return ""
        name, probability = self.best[0]
        if probability < self.threshold:
            return UNSURE
        return name

    def record(self) -> dict:
        """Return it as a JSON object."""
        if self.error:
            return {"image": self.image, "error": self.error}
        pairs = [{"class": name, "probability": round(p, 6)} for name, p in self.best]
        return {"image": self.image, "predicted": self.predicted, "predictions": pairs}


class Writer:
    """Writes answers to a stream, with `columns` classes in CSV; JSON at the end."""

    def __init__(self, stream: TextIO, form: str, columns: int) -> None:
        self.stream, self.form, self.columns = stream, form, columns
        self._records: list[dict] = []
        self._csv = csv.writer(stream, lineterminator="\n")
        self._has_header = False

    def write(self, found: Answer) -> None:
        """Write an answer, the first after a header if the format has one."""
        if self.form == "csv":
            if not self._has_header:
                self._write_header()
            self._csv.writerow(self._row(found))
        elif self.form == "jsonl":
            self.stream.write(json.dumps(found.record(), ensure_ascii=False) + "\n")
        elif self.form == "json":
            self._records.append(found.record())
        elif not found.error:
            self.stream.write(_line(found) + "\n")

    def close(self) -> None:
        """Write the remaining answers."""
        if self.form == "json":
            self.stream.write(
                json.dumps(self._records, indent=1, ensure_ascii=False) + "\n"
            )
        self.stream.flush()

    def _write_header(self) -> None:
        header = ["image", "predicted"]
        for number in range(1, self.columns + 1):
            header += [f"class_{number}", f"probability_{number}"]
        self._csv.writerow([*header, "error"])
        self._has_header = True

    def _row(self, found: Answer) -> list[str]:
        cells = [found.image, found.predicted]
        for name, probability in found.best:
            cells += [name, f"{probability:.6f}"]
        missing = 2 + 2 * self.columns - len(cells)
        cells += [""] * missing
        cells.append(found.error)
        return [spreadsheet_text(printable(cell)) for cell in cells]


def _line(found: Answer) -> str:
    classes = ", ".join(f"{printable(name)} {100 * p:.1f} %" for name, p in found.best)
    if found.predicted == UNSURE:
        classes = f"{UNSURE}, {classes}"
    return f"{printable(found.image)}: {classes}"


class Sorter:
    """Puts images into `folder`/<predicted class>/, as links or copies, under their
    names. Nothing is overwritten: an image whose name is taken by another gets a
    number.
    """

    def __init__(self, folder: str | os.PathLike, copy: bool) -> None:
        self.folder, self.copy = Path(folder), copy
        self._folders: dict[str, Path] = {}
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--sort-into: {folder} is a file, not a folder")

    def put(self, found: Answer) -> None:
        """Link or copy the image of an answer."""
        if found.error:
            return
        source = Path(found.image)
        folder = self._folder(found.predicted)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / source.name
        number = 1
        while os.path.lexists(target):
            if self._is_there(source, target):
                return
            number += 1
            target = folder / f"{source.stem}-{number}{source.suffix}"
        if self.copy:
            shutil.copy2(source, target)
        else:
            target.symlink_to(source.absolute())

    def _folder(self, name: str) -> Path:
        """Return the folder of a class, by a name that no file system takes for a path."""
        if name not in self._folders:
            safe = _UNSAFE.sub("_", name)[:_LONGEST_NAME].strip(". ") or "_"
            taken = {folder.name.lower() for folder in self._folders.values()}
            number, unique = 1, safe
            while unique.lower() in taken:
                number += 1
                unique = f"{safe}-{number}"
            self._folders[name] = self.folder / unique
        return self._folders[name]

    def _is_there(self, source: Path, target: Path) -> bool:
        """Return whether a target is this image already, from an earlier call."""
        if not target.exists():  # a broken link
            return False
        if target.is_symlink():
            return os.path.samefile(source, target)
        is_copy = self.copy and target.is_file()
        return is_copy and filecmp.cmp(source, target, shallow=False)
