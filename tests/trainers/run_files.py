"""Readers of the files in a run's folder."""

import json
from pathlib import Path

import torch

from prompting import load_prompts


def read(path: Path):
    return json.loads(path.read_text())


def prompt_in(folder: Path) -> dict[str, torch.Tensor]:
    return load_prompts(folder / "prompts.safetensors")[0].state_dict()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) for key, value in one.items()
    )


def state_of(folder: Path) -> dict[str, tuple]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }
