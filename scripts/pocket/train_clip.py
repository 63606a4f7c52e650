"""Train the embedded pocket CLIP on rendered image-caption pairs and write
prompting/pocket/.

    python -m scripts.pocket.train_clip --minutes 40

Images and captions come from `datasets.pocket.concepts`: every concept of the pocket
world in random colours, places and styles. The loss is CLIP's symmetric cross-entropy,
except that every caption that is true of an image counts as its match (a batch holds
many images of the same concept). The result is in the repository.
"""

import argparse
import logging
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--pictures", type=int, default=96_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    folder = Path(__file__).resolve().parents[2] / "prompting" / "pocket"
    parser.add_argument("--output", type=Path, default=folder)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    from .clip_training import train

    train(args)


if __name__ == "__main__":
    main()
