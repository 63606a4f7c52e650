"""A wrong input, and the damage to files for it."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

Content = str | bytes | Callable[[Path], None] | None


@dataclass(frozen=True)
class Case:
    """One wrong input.

    Attributes:
        wrong: the fault, in a few words.
        command: the command line after "python ", in a folder with the files that
            test_bad_inputs.py writes.
        message: the line that it ends in; "..." is any text, "DIR" the folder.
        files: path -> content of a file that is written before, None to remove it, or a
            function that damages it.
        code: the exit code.
        begun: it was found when the run had begun, so that the run's folder is there,
            without results.
    """

    wrong: str
    command: str
    message: str
    files: Mapping[str, Content] = field(default_factory=dict)
    code: int = 2
    begun: bool = False


def truncate(path: Path) -> None:
    """Leave half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bomb(path: Path) -> None:
    """Let a PNG declare 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = path.read_bytes()
    path.write_bytes(
        content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    )


def hostile(path: Path) -> None:
    """Write a checkpoint that would run a command if it were unpickled."""
    torch.save({"state_dict": {"ctx": _Hostile()}}, path)


class _Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile",)


def deep(path: Path) -> None:
    """Write JSON that is nested without end."""
    path.write_text("[" * 100_000)


def submission(
    content: str, member: str = "all_predictions.json"
) -> Callable[[Path], None]:
    """Return a function that writes a zip with one member."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, content)

    return write


other_member = submission("{}", "../all_predictions.json")
deep_submission = submission('{"data": [' + "[" * 100_000)
