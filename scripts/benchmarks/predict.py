"""How fast a folder of images is classified, compared with the bare image tower on batches that are ready.

    python -m scripts.benchmarks.predict --architecture ViT-B-16 --images 1000

The images are JPEGs (rendered, about 500 x 375 pixels), the weights are random; both are done with the same batch size, in turns, and the
median counts. With --require, exit code 1 where predicting is slower than that share of the bare tower's speed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import open_clip
import torch

from prompting.backbones.loading import Backbone, Preprocessing
from prompting.predict import Predictor, find_images
from prompting.prompts import TextPrompt, VisualPrompt
from prompting.shape import clip_shape
from prompting.tokens import clip_tokenizer

from .reading import jpegs

CLASSES = [f"thing {k}" for k in range(10)]
PICTURES = 100  # different ones; a folder holds copies of them


def random_predictor(config: dict, prompt: str, device: str) -> Predictor:
    """A prompt ("text" or "visual") of 16 vectors on a random model of this open_clip configuration."""
    clip = open_clip.CLIP(**config).eval().requires_grad_(False).to(device)
    size = clip.visual.image_size
    backbone = Backbone("random", clip, clip_tokenizer(), Preprocessing(size if isinstance(size, int) else size[0]))
    shape = clip_shape(clip)
    if prompt == "text":
        module = TextPrompt(16, shape.text_width)
    else:
        module = VisualPrompt(16, shape.image_width or 0, shape.image_layers or 0, shape.patch_size or 0)
    return Predictor(backbone, module.to(device), {"classes": {"things": CLASSES}})


def write_images(folder: Path, count: int) -> list[Path]:
    """`count` files, found as the command finds them."""
    contents = jpegs(min(count, PICTURES))
    for k in range(count):
        (folder / f"{k:05d}.jpg").write_bytes(contents[k % len(contents)])
    return find_images([folder])


@torch.no_grad()
def bare(predictor: Predictor, images: int, batch_size: int) -> float:
    """Images a second of the model's image tower, with its prompt tokens where it has some."""
    model, size = predictor.model, predictor.preprocessing.size
    device = model.clip.logit_scale.device
    batch, contexts = torch.randn(batch_size, 3, size, size, device=device), model.contexts()
    start = time.perf_counter()
    for first in range(0, images, batch_size):
        features = model.encode_images(batch[: min(batch_size, images - first)], contexts)
    features.sum().item()  # waits for the device
    return images / (time.perf_counter() - start)


def predicting(predictor: Predictor, files: list[Path], batch_size: int) -> float:
    """Images a second from files to ranked classes."""
    start = time.perf_counter()
    predictor.predict(files, batch_size=batch_size)
    return len(files) / (time.perf_counter() - start)


def compare(config: dict, prompt: str, images: int, batch_size: int, rounds: int, device: str, folder: Path) -> dict:
    """Both rates, in turns, and their ratio."""
    predictor, files = random_predictor(config, prompt, device), write_images(folder, images)
    warm = min(images, 2 * batch_size)
    bare(predictor, warm, batch_size), predicting(predictor, files[:warm], batch_size)
    pairs = [(bare(predictor, images, batch_size), predicting(predictor, files, batch_size)) for _ in range(rounds)]
    tower, folder_rate = (statistics.median(values) for values in zip(*pairs, strict=True))
    return {
        "prompt": prompt,
        "device": device,
        "images": images,
        "batch_size": batch_size,
        "rounds": rounds,
        "tower_images_per_second": round(tower, 1),
        "predicted_images_per_second": round(folder_rate, 1),
        "ratio": round(folder_rate / tower, 3),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="ViT-B-16", help="an open_clip name")
    parser.add_argument("--prompt", choices=("text", "visual"), default="text")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--require", type=float, default=0.0, metavar="SHARE", help="exit code 1 where the ratio is below, such as 0.9"
    )
    options = parser.parse_args()
    config = open_clip.get_model_config(options.architecture)
    if config is None:
        parser.error(f"open_clip has no architecture {options.architecture!r}")
    with tempfile.TemporaryDirectory() as folder:
        result = compare(
            config,
            options.prompt,
            options.images,
            options.batch_size,
            options.rounds,
            options.device,
            Path(folder),
        )
    print(json.dumps({"architecture": options.architecture, **result}, indent=1))
    return 1 if result["ratio"] < options.require else 0


if __name__ == "__main__":
    sys.exit(main())
