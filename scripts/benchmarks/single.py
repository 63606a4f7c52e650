"""The cost of one image in a running process, compared with the bare image tower on a
batch of one that is ready.

    python -m scripts.benchmarks.single --architecture ViT-B-16 --classes 6,1000

The image is a JPEG file of 500 x 375 pixels, the prompt a text prompt of 16 vectors,
the weights are random. The first prediction, which computes the class features, does
not count. Both are done in turns, and the median counts.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from toolkit.common.structured import read_json

from .common import comma_separated, medians_in_turns, new_parser, ratio_command, timed
from .predict import random_predictor, write_images


def compare(options: argparse.Namespace, folder: Path) -> Iterator[dict]:
    """Yield the median CPU milliseconds of the tower and of a prediction by classes."""
    import open_clip
    import torch

    from prompting.backbones.loading import POCKET_FOLDER

    if options.architecture == "pocket":
        config = read_json(POCKET_FOLDER / "model.json")["model_cfg"]
    else:
        config = open_clip.get_model_config(options.architecture)
    (path,) = write_images(folder, 1)
    predictor = random_predictor(config, "text", "cpu")
    size = predictor.preprocessing.size
    pixels = torch.randn(1, 3, size, size)
    cpu_seconds = partial(timed, clock=time.process_time)
    for classes in options.classes:
        names = [f"thing {number}" for number in range(classes)]
        measures = {
            "tower": partial(cpu_seconds, predictor.model.clip.encode_image, pixels),
            "predict": partial(cpu_seconds, predictor.predict, path, names),
        }
        predictor.predict(path, names)
        with torch.no_grad():
            medians = medians_in_turns(measures, options.rounds)
        yield {
            "architecture": options.architecture,
            "classes": classes,
            "rounds": options.rounds,
            "tower_milliseconds": round(1000 * medians["tower"], 2),
            "predict_milliseconds": round(1000 * medians["predict"], 2),
            "ratio": round(medians["tower"] / medians["predict"], 3),
        }


def main() -> int:
    parser = new_parser(__doc__, rounds=30)
    add = parser.add_argument
    add("--architecture", default="ViT-B-16", help="an open_clip name")
    add("--classes", type=comma_separated(int), default=[6, 1000])
    return ratio_command(parser, compare)


if __name__ == "__main__":
    sys.exit(main())
