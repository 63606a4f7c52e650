"""How fast a folder of images is classified, compared with the bare image tower on
batches that are ready.

    python -m scripts.benchmarks.predict --architecture ViT-B-16 --images 1000

The images are JPEGs (rendered, about 500 x 375 pixels), the weights are random; both
are done with the same batch size, in turns, and the median counts. With --require, exit
code 1 if predicting is slower than that share of the bare tower's speed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .common import (
    add_require,
    medians_in_turns,
    new_parser,
    report_ratio,
    usable_device,
)
from .reading import jpegs

if TYPE_CHECKING:
    from prompting.predict import Predictor

CLASSES = [f"thing {k}" for k in range(10)]
DIFFERENT = 100  # different images; a folder holds copies of them


def random_predictor(config: dict, prompt: str, device: str) -> Predictor:
    """Return a prompt ("text" or "visual") of 16 vectors on a random model of this
    open_clip configuration.
    """
    import open_clip

    from prompting.backbones.backbone import Backbone, Preprocessing
    from prompting.predict import Predictor
    from prompting.prompts import TextPrompt, VisualPrompt
    from prompting.shape import clip_shape
    from prompting.tokens import clip_tokenizer

    clip = open_clip.CLIP(**config).eval().requires_grad_(False).to(device)
    size = clip.visual.image_size
    if not isinstance(size, int):
        size = size[0]
    backbone = Backbone("random", clip, clip_tokenizer(), Preprocessing(size))
    shape = clip_shape(clip)
    if prompt == "text":
        module = TextPrompt(16, shape.text_width)
    else:
        module = VisualPrompt(
            16, shape.image_width or 0, shape.image_layers or 0, shape.patch_size or 0
        )
    return Predictor(backbone, module.to(device), {"classes": {"things": CLASSES}})


def write_images(folder: Path, count: int) -> list[Path]:
    """Write `count` files and return them as the command finds them."""
    from prompting.predict import find_images

    contents = jpegs(min(count, DIFFERENT))
    for k in range(count):
        (folder / f"{k:05d}.jpg").write_bytes(contents[k % len(contents)])
    return find_images([folder])


def bare(predictor: Predictor, images: int, batch_size: int) -> float:
    """Return images a second of the model's image tower, with its prompt tokens if it
    has some.
    """
    import torch

    model = predictor.model
    size = predictor.preprocessing.size
    batch = torch.randn(batch_size, 3, size, size, device=model.clip.logit_scale.device)
    with torch.no_grad():
        contexts = model.contexts()
        start = time.perf_counter()
        for first in range(0, images, batch_size):
            features = model.encode_images(batch[: images - first], contexts)
        features.sum().item()  # waits for the device
        return images / (time.perf_counter() - start)


def predicting(predictor: Predictor, files: list[Path], batch_size: int) -> float:
    """Return images a second from files to ranked classes."""
    start = time.perf_counter()
    predictor.predict(files, batch_size=batch_size)
    return len(files) / (time.perf_counter() - start)


def compare(
    config: dict,
    prompt: str,
    images: int,
    batch_size: int,
    rounds: int,
    device: str,
    folder: Path,
) -> dict:
    """Measure both rates in turns and return them with their ratio."""
    predictor = random_predictor(config, prompt, device)
    files = write_images(folder, images)
    warm = min(images, 2 * batch_size)
    bare(predictor, warm, batch_size)
    predicting(predictor, files[:warm], batch_size)
    measures = {
        "tower": partial(bare, predictor, images, batch_size),
        "folder": partial(predicting, predictor, files, batch_size),
    }
    medians = medians_in_turns(measures, rounds)
    return {
        "prompt": prompt,
        "device": device,
        "images": images,
        "batch_size": batch_size,
        "rounds": rounds,
        "tower_images_per_second": round(medians["tower"], 1),
        "predicted_images_per_second": round(medians["folder"], 1),
        "ratio": round(medians["folder"] / medians["tower"], 3),
    }


def main() -> int:
    """Run the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--architecture", default="ViT-B-16", help="an open_clip name")
    add("--prompt", choices=("text", "visual"), default="text")
    add("--images", type=int, default=1000)
    add("--batch-size", type=int, default=64)
    add("--rounds", type=int, default=3)
    add("--device", default="", help="default: cuda if there is one")
    add_require(parser)
    options = parser.parse_args()
    import open_clip

    device = usable_device(options.device)
    config = open_clip.get_model_config(options.architecture)
    if config is None:
        parser.error(f"open_clip has no architecture {options.architecture!r}")
    sizes = options.images, options.batch_size, options.rounds
    with tempfile.TemporaryDirectory() as folder:
        result = compare(config, options.prompt, *sizes, device, Path(folder))
    return report_ratio(
        {"architecture": options.architecture, **result}, options.require
    )


if __name__ == "__main__":
    sys.exit(main())
