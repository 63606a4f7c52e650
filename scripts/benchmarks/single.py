"""The cost of one image in a running process, compared with the bare image tower on a
batch of one that is ready.

    python -m scripts.benchmarks.single --architecture ViT-B-16 --classes 6,1000

The image is a JPEG file (rendered, 500 x 375 pixels), the prompt a text prompt of 16
vectors, the weights are random. The first prediction, which computes the class
features, does not count. Both are done in turns, and the median counts. With --require,
exit code 1 if predicting costs more than 1 / that share of the bare tower.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from .common import add_require, comma_separated, new_parser, report_ratio
from .predict import random_predictor, write_images


def compare(architecture: str, classes: int, rounds: int, folder: Path) -> dict:
    """Return median CPU seconds of the tower and of a prediction, and their ratio."""
    import open_clip
    import torch

    from prompting.backbones.loading import POCKET_FOLDER

    if architecture == "pocket":
        text = (POCKET_FOLDER / "model.json").read_text(encoding="utf-8")
        config = json.loads(text)["model_cfg"]
    else:
        config = open_clip.get_model_config(architecture)
    predictor = random_predictor(config, "text", "cpu")
    names = [f"thing {number}" for number in range(classes)]
    (path,) = write_images(folder, 1)
    size = predictor.preprocessing.size
    pixels = torch.randn(1, 3, size, size)
    predictor.predict(path, names)
    tower, predicted = [], []
    for _ in range(rounds):
        start = time.process_time()
        with torch.no_grad():
            predictor.model.clip.encode_image(pixels)
        middle = time.process_time()
        predictor.predict(path, names)
        tower.append(middle - start)
        predicted.append(time.process_time() - middle)
    medians = statistics.median(tower), statistics.median(predicted)
    return {
        "architecture": architecture,
        "classes": classes,
        "rounds": rounds,
        "tower_milliseconds": round(1000 * medians[0], 2),
        "predict_milliseconds": round(1000 * medians[1], 2),
        "ratio": round(medians[0] / medians[1], 3),
    }


def main() -> int:
    """Run the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--architecture", default="ViT-B-16", help="an open_clip name")
    add("--classes", type=comma_separated(int), default=[6, 1000])
    add("--rounds", type=int, default=30)
    add_require(parser)
    options = parser.parse_args()
    code = 0
    for classes in options.classes:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(options.architecture, classes, options.rounds, Path(folder))
        code = max(code, report_ratio(found, options.require))
    return code


if __name__ == "__main__":
    sys.exit(main())
