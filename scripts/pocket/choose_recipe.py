"""Compare settings of a trainer on the pocket's source tasks alone, so that nothing is
chosen on a target.

    python -m scripts.pocket.choose_recipe configs/studies/choose_anchors.yaml

The file names a trainer and settings: {trainer: MAPT, settings: {name: {KEY: value}}}.

Each source task is held out once: a source prompt of two thirds of the others is
adapted to it. It is adapted to the task as it is, and to a copy with changed pictures
(grey, coarse, inverted or noisy), on which zero-shot CLIP is as weak as on new domains.
Finished runs are reused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import pocket
from datasets.pocket.suite import folder_of
from toolkit.common.cli import command_parser, run_command
from toolkit.common.files import atomic_folder
from toolkit.common.structured import read_json, read_yaml, write_json
from toolkit.common.text import counted

ROOT = Path(__file__).resolve().parents[2]
SHOTS = (1, 5, 20)
THIRDS = 3


def grey(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pixels (H, W, 3) without colours and with little contrast."""
    mean = pixels.mean(2, keepdims=True)
    pale = 128 + 0.6 * (mean - 128)
    return np.repeat(pale, 3, axis=2)


def coarse(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pixels in blocks of 4 x 4."""
    height = pixels.shape[0] // 4 * 4
    width = pixels.shape[1] // 4 * 4
    parts = pixels[:height, :width].reshape(height // 4, 4, width // 4, 4, 3)
    blocks = parts.mean((1, 3))
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


def inverted(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 255 - pixels


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return faint pixels with red and blue swapped, and noise."""
    faint = 128 + 0.35 * (pixels[:, :, ::-1] - 128)
    return faint + rng.normal(0, 38, pixels.shape)


CHANGES = (grey, coarse, inverted, noisy)


def write_changed(home: Path, changed: Path) -> None:
    """Write the source tasks below `changed` with other pictures."""
    for number, spec in enumerate(pocket.SOURCES):
        folder = home / folder_of(spec)
        place = changed / folder_of(spec)
        if place.exists():
            continue
        change = CHANGES[number % len(CHANGES)]
        rng = np.random.default_rng(number)
        with atomic_folder(place) as temporary:
            shutil.copytree(folder, temporary, dirs_exist_ok=True)
            for file in sorted(temporary.rglob("*")):
                if file.suffix in (".jpg", ".png"):
                    pixels = np.asarray(Image.open(file).convert("RGB"), float)
                    pixels = change(pixels, rng).clip(0, 255).round().astype(np.uint8)
                    Image.fromarray(pixels).save(file, quality=95)


@dataclass(frozen=True)
class Recipes:
    """A trainer and its settings {name: {key: value}} to be compared."""

    trainer: str
    settings: dict[str, dict]

    @classmethod
    def read(cls, file: Path) -> Recipes:
        """Read a YAML file; raise ValueError if it is of another form."""
        content = read_yaml(file)
        if not isinstance(content, dict) or set(content) != {"trainer", "settings"}:
            raise ValueError(f"{file}: it has the two keys trainer and settings")
        settings = content["settings"]
        if not isinstance(settings, dict):
            raise ValueError(
                f"{file}: settings is not of the form name: {{KEY: value}}"
            )
        for name, keys in settings.items():
            if not isinstance(keys, dict):
                raise ValueError(f"{file}: settings: {name} has no keys and values")
        return cls(str(content["trainer"]), settings)


def gains(
    out: Path, homes: dict[str, Path], recipes: Recipes, name: str, shots: int
) -> dict[str, list[float]]:
    """Return by copy the gains over zero-shot in points, one for each source task."""
    names = [spec.task for spec in pocket.SOURCES]
    found: dict[str, list[float]] = {}
    for copy, home in homes.items():
        found[copy] = []
        for third in range(THIRDS):
            held_out = names[third::THIRDS]
            others = [task for task in names if task not in held_out]
            label = re.sub(r"\W+", "_", name)
            folder = out / f"{recipes.trainer}-{label}-{copy}-{shots}-{third}"
            tasks = ["--source", ",".join(others), "--dataset", ",".join(held_out)]
            flags = [*tasks, "--shots", str(shots)]
            train(folder, home, recipes, name, flags)
            for record in read_json(folder / "results.json"):
                gain = record["score"] - record["zero_shot"]
                found[copy].append(gain)
    return found


def train(
    folder: Path, home: Path, recipes: Recipes, name: str, flags: Iterable[str]
) -> None:
    """Run train.py unless its results are there; raise ValueError if it fails."""
    command = [sys.executable, str(ROOT / "train.py")]
    command += ["--trainer", recipes.trainer]
    command += ["--output-dir", str(folder)]
    command += ["--resume", "auto", *flags]
    for key, value in recipes.settings[name].items():
        command += [key, json.dumps(value)]
    environment = os.environ | {"MVLPT_POCKET": str(home)}
    options = {"env": environment, "cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run(command, **options)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ValueError(f"settings: {name}: {lines[-1]}")


def compare(recipes: Recipes, out: Path) -> list[dict]:
    """Run all settings; return and print a record for each, number of shots and copy."""
    pocket.ensure_all([spec.task for spec in pocket.SOURCES])
    homes = {"as they are": pocket.home(), "changed": out / "changed"}
    write_changed(pocket.home(), homes["changed"])
    records = []
    for shots in SHOTS:
        for name in recipes.settings:
            by_copy = gains(out, homes, recipes, name, shots)
            for copy, values in by_copy.items():
                gain = float(np.mean(values))
                tasks = len(values)
                below = sum(value < -1 for value in values)
                record = {"trainer": recipes.trainer, "shots": shots, "setting": name}
                record |= {"pictures": copy, "gain": gain, "below": below}
                records.append(record | {"tasks": tasks})
                told = f"{gain:+.2f}, {below} of {tasks} below"
                print(f"{counted(shots, 'shot')}, {name}, {copy}: {told}", flush=True)
    return records


def main() -> int:
    """Compare the settings of a file, and write their gains as JSON."""
    text = "Compare settings of a trainer on the pocket's source tasks."
    parser = command_parser("scripts.pocket.choose_recipe", text)
    parser.add_argument("recipes", type=Path, metavar="FILE.yaml")
    folder = Path("output") / "choose_recipe"
    parser.add_argument("--output-dir", type=Path, default=folder)
    args = parser.parse_args()
    out = args.output_dir.resolve()
    records = compare(Recipes.read(args.recipes), out)
    write_json(out / f"{args.recipes.stem}.json", records, indent=1)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
