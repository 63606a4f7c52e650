"""How fast a folder of images is classified, compared with the bare image tower on
batches that are ready.

    python -m scripts.benchmarks.predict --architecture ViT-B-16 --images 1000

The images are rendered JPEGs of about 500 x 375 pixels, the weights are random. Both
are done with the same batch size, in turns, and the median counts.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .common import medians_in_turns, new_parser, ratio_command, timed, usable_device
from .reading import jpegs

if TYPE_CHECKING:
    from torch import Tensor

    from prompting.predict import Predictor

CLASSES = [f"thing {k}" for k in range(10)]
DIFFERENT = 100  # different images; a folder holds copies of them


def random_predictor(config: dict, prompt: str, device: str) -> Predictor:
    """Return a "text" or "visual" prompt of 16 vectors on a random model."""
    import open_clip

    from prompting.backbones.backbone import Backbone, Preprocessing
    from prompting.predict import Predictor
    from prompting.tokens import clip_tokenizer

    from .steps import image_size, prompt_of

    clip = open_clip.CLIP(**config).eval().requires_grad_(False).to(device)
    preprocessing = Preprocessing(image_size(clip)[0])
    backbone = Backbone("random", clip, clip_tokenizer(), preprocessing)
    method = {"text": "CoOp", "visual": "VPT"}[prompt]
    module = prompt_of(method, clip, 16).to(device)
    return Predictor(backbone, module, {"classes": {"things": CLASSES}})


def write_images(folder: Path, count: int) -> list[Path]:
    """Write `count` files and return them as the command finds them."""
    from prompting.predict import find_images

    contents = jpegs(min(count, DIFFERENT))
    for k in range(count):
        (folder / f"{k:05d}.jpg").write_bytes(contents[k % len(contents)])
    return find_images([folder])


def encode(predictor: Predictor, batch: Tensor, images: int) -> None:
    """Encode so many images with the prompt's tokens; all batches are the same one."""
    import torch

    with torch.no_grad():
        contexts = predictor.model.contexts()
        for first in range(0, images, len(batch)):
            part = batch[: images - first]
            features = predictor.model.encode_images(part, contexts)
        features.sum().item()  # waits for the device


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
    import torch

    predictor = random_predictor(config, prompt, device)
    files = write_images(folder, images)
    size = predictor.preprocessing.size
    batch = torch.randn(batch_size, 3, size, size, device=device)
    predict = partial(predictor.predict, batch_size=batch_size)
    warm = min(images, 2 * batch_size)
    encode(predictor, batch, warm)
    predict(files[:warm])
    measures = {
        "tower": partial(timed, encode, predictor, batch, images),
        "folder": partial(timed, predict, files),
    }
    seconds = medians_in_turns(measures, rounds)
    return {
        "prompt": prompt,
        "device": device,
        "images": images,
        "batch_size": batch_size,
        "rounds": rounds,
        "tower_images_per_second": round(images / seconds["tower"], 1),
        "predicted_images_per_second": round(images / seconds["folder"], 1),
        "ratio": round(seconds["tower"] / seconds["folder"], 3),
    }


def main() -> int:
    parser = new_parser(__doc__, images=1000, batch_size=64, rounds=3)
    add = parser.add_argument
    add("--architecture", default="ViT-B-16", help="an open_clip name")
    add("--prompt", choices=("text", "visual"), default="text")
    add("--device", default="", help="default: cuda if there is one")

    def measure(options, folder):
        import open_clip

        config = open_clip.get_model_config(options.architecture)
        if config is None:
            parser.error(f"open_clip has no architecture {options.architecture!r}")
        sizes = options.images, options.batch_size, options.rounds
        device = usable_device(options.device)
        result = compare(config, options.prompt, *sizes, device, folder)
        yield {"architecture": options.architecture, **result}

    return ratio_command(parser, measure)


if __name__ == "__main__":
    sys.exit(main())
