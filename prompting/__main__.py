"""Use a learnt prompt: `python -m prompting predict PROMPTS IMAGE_OR_FOLDER...`."""

import argparse
import json
import sys

import torch

from prompting.predict import find_images, load


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m prompting", description="Use a learnt prompt.")
    predict = parser.add_subparsers(dest="command", required=True).add_parser(
        "predict", help="classify images", description="Classify images with a learnt prompt."
    )
    add = predict.add_argument
    add("prompts", metavar="PROMPTS", help="prompts.safetensors, or the run's folder that holds it")
    add("images", metavar="IMAGE_OR_FOLDER", nargs="+", help="image files, or folders of them")
    add("--classes", default="", help="names to choose among, comma separated; default: those of the training")
    add("--task", default=None, help="take the classes of this task, where the prompt was learnt on several")
    add("--json", action="store_true", help="write JSON")
    add("--top", type=int, default=5, metavar="K", help="the K most probable classes (default 5)")
    add("--backbone", default=None, help="the backbone, if it is a file; default: what PROMPTS says")
    add("--pretrained", default=None, help="its weights, if they are a file; default: what PROMPTS says")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the predictions, a line an image or one JSON list."""
    if args.top < 1:
        raise ValueError(f"--top is {args.top}; it is at least 1")
    classes = [name.strip() for name in args.classes.split(",") if name.strip()] or None
    images = find_images(args.images)
    predictor = load(args.prompts, args.backbone, args.pretrained, args.device)
    predictions = [ranked[: args.top] for ranked in predictor.predict(images, classes, args.task)]
    if args.json:
        records = [
            {"image": str(image), "predictions": [{"class": name, "probability": round(p, 6)} for name, p in ranked]}
            for image, ranked in zip(images, predictions, strict=True)
        ]
        sys.stdout.write(json.dumps(records, indent=1, ensure_ascii=False) + "\n")
        return
    for image, ranked in zip(images, predictions, strict=True):
        sys.stdout.write(f"{image}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in ranked) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 after one message about wrong input."""
    try:
        run(arguments().parse_args(argv))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
