"""Use a learnt prompt: `python -m prompting predict PROMPTS IMAGE_OR_FOLDER...`, `export PROMPTS OUT.onnx`, or
`convert IN OUT`."""

import argparse
import json
import sys
from pathlib import Path

import torch

from prompting.checkpoints.foreign import convert
from prompting.export import export
from prompting.predict import find_images, load
from prompting.prompts import POSITIONS


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m prompting", description="Use a learnt prompt.")
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser(
        "predict", help="classify images", description="Classify images with a learnt prompt."
    )
    predict.set_defaults(run=run_predict)
    _add_prompt(predict)
    add = predict.add_argument
    add("images", metavar="IMAGE_OR_FOLDER", nargs="+", help="image files, or folders of them")
    add("--json", action="store_true", help="write JSON")
    add("--top", type=int, default=5, metavar="K", help="the K most probable classes (default 5)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    onnx = commands.add_parser(
        "export",
        help="write an ONNX model",
        description="Write the prompted model for fixed classes as ONNX: normalised images in, probabilities out.",
    )
    onnx.set_defaults(run=run_export)
    _add_prompt(onnx)
    onnx.add_argument("out", metavar="OUT.onnx", help="the file to write")
    other = commands.add_parser(
        "convert",
        help="read and write prompts of others",
        description="Checkpoints of CoOp, CoCoOp (its context) and the reference MVLPT into prompts.safetensors, and "
        "back. Nothing in them is executed.",
    )
    other.set_defaults(run=run_convert)
    add = other.add_argument
    add("source", metavar="IN", help="a checkpoint, prompts.safetensors, or the folder of a run")
    add("target", metavar="OUT", help="OUT.safetensors, or OUT.pth.tar for the reference's names")
    add("--load-epoch", type=int, default=None, help="of a run's folder; default: the best")
    add(
        "--position", choices=POSITIONS, default=None, help="of the class name; default: what IN's path says, or middle"
    )
    add("--backbone", default="", help="say in OUT.safetensors which backbone the prompt belongs to")
    add("--classes", default="", help="say in OUT.safetensors which classes it was learnt on, comma separated")
    return parser


def run_convert(args: argparse.Namespace) -> None:
    """Write the prompt in the other form, and say what it is."""
    classes = [name.strip() for name in args.classes.split(",") if name.strip()]
    metadata = {"backbone": args.backbone, "classes": {"converted": classes} if classes else None}
    metadata = {name: value for name, value in metadata.items() if value}
    what = convert(args.source, args.target, args.position, args.load_epoch, metadata)
    sys.stdout.write(f"{args.target}: {what}\n")


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    """What tells the prompt, its backbone and the classes."""
    add = parser.add_argument
    add("prompts", metavar="PROMPTS", help="prompts.safetensors, or the run's folder that holds it")
    add("--classes", default="", help="names to choose among, comma separated; default: those of the training")
    add("--task", default=None, help="take the classes of this task, where the prompt was learnt on several")
    add("--backbone", default=None, help="the backbone, if it is a file; default: what PROMPTS says")
    add("--pretrained", default=None, help="its weights, if they are a file; default: what PROMPTS says")


def run_export(args: argparse.Namespace) -> None:
    """Write the model, and say which classes it knows."""
    if Path(args.out).is_dir():
        raise ValueError(f"{args.out} is a folder; give a file")
    names = export(load(args.prompts, args.backbone, args.pretrained), args.out, _classes(args), args.task)
    sys.stdout.write(f"{args.out}: {', '.join(names)}\n")


def run_predict(args: argparse.Namespace) -> None:
    """Write the predictions, a line an image or one JSON list."""
    if args.top < 1:
        raise ValueError(f"--top is {args.top}; it is at least 1")
    check_device(args.device)
    images = find_images(args.images)
    predictor = load(args.prompts, args.backbone, args.pretrained, args.device)
    predictions = [ranked[: args.top] for ranked in predictor.predict(images, _classes(args), args.task)]
    if args.json:
        records = [
            {"image": str(image), "predictions": [{"class": name, "probability": round(p, 6)} for name, p in ranked]}
            for image, ranked in zip(images, predictions, strict=True)
        ]
        sys.stdout.write(json.dumps(records, indent=1, ensure_ascii=False) + "\n")
        return
    for image, ranked in zip(images, predictions, strict=True):
        sys.stdout.write(f"{image}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in ranked) + "\n")


def _classes(args: argparse.Namespace) -> list[str] | None:
    return [name.strip() for name in args.classes.split(",") if name.strip()] or None


def check_device(name: str) -> None:
    """Raise ValueError where this machine has no such device."""
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        have = "cpu" + (", cuda" if torch.cuda.is_available() else "")
        raise ValueError(f"--device: {name!r} can't be used here; there is {have}") from None


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 after one message about wrong input."""
    try:
        args = arguments().parse_args(argv)
        args.run(args)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
