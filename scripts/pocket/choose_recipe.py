"""Compare settings of APT on the pocket's source tasks alone, so that nothing is chosen
on a target.

    python -m scripts.pocket.choose_recipe --output-dir output/choose_recipe

Each source task is held out once: a source prompt of two thirds of the others is
adapted to it. It is adapted to the task as it is, and to a copy with changed pictures
(grey, coarse, inverted or noisy), on which zero-shot CLIP is as weak as on new domains.
Each setting is two commands of train.py a third, a copy and a number of shots; finished
ones are reused.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import pocket
from datasets.pocket.suite import folder_of
from toolkit.common.files import atomic_folder
from toolkit.common.structured import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "strong": {
        "TRAINER.ANCHOR.TEXT_L2": 2.0,
        "TRAINER.ANCHOR.IMAGE_L1": 0.6,
        "TRAINER.ANCHOR.KL": 0.06,
    },
    "chosen": {},
    "weak": {
        "TRAINER.ANCHOR.TEXT_L2": 0.5,
        "TRAINER.ANCHOR.IMAGE_L1": 0.15,
        "TRAINER.ANCHOR.KL": 0.015,
    },
    "no interpolation": {"TRAINER.APT.HALF_WEIGHT_SHOTS": 0.0},
}
SHOTS = (1, 5, 20)
THIRDS = 3


def grey(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pixels (H, W, 3) without colours and with little contrast."""
    mean = pixels.mean(2, keepdims=True)
    return np.repeat(128 + 0.6 * (mean - 128), 3, axis=2)


def coarse(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pixels in blocks of 4 x 4."""
    height, width = pixels.shape[0] // 4 * 4, pixels.shape[1] // 4 * 4
    blocks = (
        pixels[:height, :width].reshape(height // 4, 4, width // 4, 4, 3).mean((1, 3))
    )
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


def inverted(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the negative."""
    return 255 - pixels


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return faint pixels with red and blue swapped, and noise."""
    faint = 128 + 0.35 * (pixels[:, :, ::-1] - 128)
    return faint + rng.normal(0, 38, pixels.shape)


CHANGES = (grey, coarse, inverted, noisy)


def write_changed(home: Path, changed: Path) -> None:
    """Write the source tasks below `changed` with other pictures and all other files as
    they are.
    """
    for number, spec in enumerate(pocket.SOURCES):
        folder = home / folder_of(spec)
        place = changed / folder_of(spec)
        if place.exists():
            continue
        change = CHANGES[number % len(CHANGES)]
        rng = np.random.default_rng(number)
        with atomic_folder(place) as temporary:
            for file in sorted(folder.rglob("*")):
                copy = temporary / file.relative_to(folder)
                if file.is_dir():
                    copy.mkdir(parents=True, exist_ok=True)
                elif file.suffix in (".jpg", ".png"):
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    write_picture(
                        file,
                        copy,
                        change(np.asarray(Image.open(file).convert("RGB"), float), rng),
                    )
                else:
                    copy.write_bytes(file.read_bytes())


def write_picture(file: Path, copy: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W, 3), in 0..255, in the format of `file`."""
    Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(copy, quality=95)


def gains(
    out: Path, homes: dict[str, Path], name: str, shots: int
) -> dict[str, list[float]]:
    """Return by copy the gains over zero-shot in points, one for each source task."""
    names = [spec.task for spec in pocket.SOURCES]
    found: dict[str, list[float]] = {}
    for copy, home in homes.items():
        found[copy] = []
        for third in range(THIRDS):
            held_out = names[third::THIRDS]
            others = [task for task in names if task not in held_out]
            folder = out / f"{name.replace(' ', '_')}-{copy}-{shots}-{third}"
            train(folder, home, others, held_out, shots, SETTINGS[name])
            for record in read_json(folder / "results.json"):
                found[copy].append(record["score"] - record["zero_shot"])
    return found


def train(
    folder: Path,
    home: Path,
    sources: Iterable[str],
    targets: Iterable[str],
    shots: int,
    settings: dict,
) -> None:
    """Run train.py unless its results are there."""
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "--trainer",
        "MAPT",
        "--output-dir",
        str(folder),
    ]
    command += [
        "--source",
        ",".join(sources),
        "--dataset",
        ",".join(targets),
        "--shots",
        str(shots),
        "--resume",
        "auto",
    ]
    for key, value in settings.items():
        command += [key, json.dumps(value)]
    subprocess.run(
        command,
        env=os.environ | {"MVLPT_POCKET": str(home)},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


def main() -> None:
    """Run all settings, print a line for each, and write choose_recipe.json."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.pocket.choose_recipe",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument(
        "--output-dir", type=Path, default=Path("output") / "choose_recipe"
    )
    args = parser.parse_args()
    out = args.output_dir.resolve()
    pocket.ensure_all([spec.task for spec in pocket.SOURCES])
    homes = {"as they are": pocket.home(), "changed": out / "changed"}
    write_changed(pocket.home(), homes["changed"])
    records = []
    for shots in SHOTS:
        for name in SETTINGS:
            for copy, values in gains(out, homes, name, shots).items():
                below = sum(value < -1 for value in values)
                record = {
                    "shots": shots,
                    "setting": name,
                    "pictures": copy,
                    "gain": np.mean(values),
                    "below": below,
                }
                records.append(record)
                sys.stdout.write(
                    f"{shots:2d} shots, {name}, {copy}: {np.mean(values):+.2f}, {below} of {len(values)} below\n"
                )
                sys.stdout.flush()
    write_json(out / "choose_recipe.json", records)


if __name__ == "__main__":
    main()
