"""How fast prompts are scored: one text prompt on many images whose features are kept,
and many prompts on many tasks.

    python -m scripts.benchmarks.scoring

The first reads 50,000 x 512 features from their file and ends with the metric, features
of 100 classes aside. The second scores 20 text prompts on the 20 pocket tasks with the
pocket model, with no feature known, then again.
"""

import sys
import tempfile
import time
from pathlib import Path

from .common import add_output_dir, machine, new_parser, write_result

FINGERPRINT = "0" * 64  # of the images whose features are kept


def from_features(folder: Path, architecture: str) -> dict:
    """Return seconds and images a second from a file of features to the accuracy; class
    features are measured apart.
    """
    import numpy as np
    import torch
    import torch.nn.functional as F

    from elevater_eval import metrics
    from prompting.model import PromptedCLIP
    from prompting.prompts import TextPrompt
    from trainers.features.disk_cache import FeatureCache
    from trainers.features.extraction import probabilities

    from .steps import random_clip, source_names

    images, classes = 50_000, 100
    clip = random_clip(architecture)
    model = PromptedCLIP(clip, TextPrompt(16, clip.ln_final.weight.shape[0]))
    cache = FeatureCache(folder / "features", 10**9)
    targets = np.arange(images) % classes
    shape = images, clip.text_projection.shape[1]
    cache.save("random", FINGERPRINT, F.normalize(torch.randn(shape), dim=-1))
    with torch.no_grad():
        start = time.perf_counter()
        features = model.encode_classes(source_names(classes))
        encoded = time.perf_counter()
        loaded = cache.load("random", FINGERPRINT, shape)
        values = probabilities(model, loaded, features)
        rounded = np.round(values.numpy().astype(np.float64), 6)
        metrics.compute("accuracy", targets, rounded)
        end = time.perf_counter()
    return {
        "images": images,
        "classes": classes,
        "class_features_seconds": round(encoded - start, 3),
        "seconds": round(end - encoded, 3),
        "images_per_second": round(images / (end - encoded)),
    }


def grid(folder: Path) -> dict:
    """Return the seconds for 20 random prompts on the 20 pocket targets, twice."""
    import torch

    import datasets
    import trainers
    from prompting.prompts import TextPrompt
    from trainers.engine.config import resolve
    from trainers.engine.scoring import score_prompts
    from trainers.features.store import get_backbone

    datasets.register_all()
    trainers.register_all()
    tasks = [spec.task for spec in datasets.pocket.TARGETS]
    datasets.pocket.ensure_all(tasks)
    cfg = resolve("CoOp", [], {"CACHE.DIR": str(folder), "DATASET.NUM_SHOTS": 0}, [])
    seconds = []
    for _ in range(2):
        get_backbone.cache_clear()
        torch.manual_seed(0)
        start = time.perf_counter()
        random = [TextPrompt(8, 128) for _ in range(20)]
        scores = score_prompts(random, cfg, tasks)
        seconds.append(round(time.perf_counter() - start, 2))
    return {
        "scores": scores.size,
        "seconds": seconds[0],
        "seconds_with_kept_features": seconds[1],
    }


def main() -> int:
    parser = new_parser(__doc__)
    named = "an open_clip name, or pocket"
    parser.add_argument("--architecture", default="ViT-B-16-quickgelu", help=named)
    add_output_dir(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one = from_features(Path(folder), options.architecture)
        many = grid(Path(folder))
    found = {"machine": machine(), "one_prompt": one, "many_prompts": many}
    write_result(options.output_dir, "benchmark_scoring", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
