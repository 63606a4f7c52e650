"""Use a learned prompt: `python -m prompting predict PROMPTS IMAGE_OR_FOLDER...`, `export PROMPTS OUT.onnx`, or
`convert IN OUT`."""

import argparse
import json
import sys
from pathlib import Path

import torch

from prompting.backbones.loading import is_path, load_backbone
from prompting.checkpoints.foreign import convert
from prompting.export import export
from prompting.predict import find_images, load
from prompting.prompts import POSITIONS
from toolkit.common.class_names import require_distinct
from toolkit.common.cli import run_command


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the three commands; `args.run` is the function that does one."""
    parser = argparse.ArgumentParser(prog="python -m prompting", description="Use a learned prompt.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_predict(commands)
    _add_export(commands)
    _add_convert(commands)
    return parser


def _add_predict(commands) -> None:
    parser = commands.add_parser(
        "predict", help="classify images", description="Classify images with a learned prompt."
    )
    parser.set_defaults(run=run_predict)
    _add_prompt(parser)
    add = parser.add_argument
    add("images", metavar="IMAGE_OR_FOLDER", nargs="+", help="image files, or folders of them")
    add("--json", action="store_true", help="write JSON")
    add("--top", type=int, default=5, metavar="K", help="the K most probable classes (default 5)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")


def _add_export(commands) -> None:
    parser = commands.add_parser(
        "export",
        help="write an ONNX model",
        description="Write the prompted model for fixed classes as ONNX: normalised images in, probabilities out.",
    )
    parser.set_defaults(run=run_export)
    _add_prompt(parser)
    parser.add_argument("out", metavar="OUT.onnx", help="the file to write")


def _add_convert(commands) -> None:
    parser = commands.add_parser(
        "convert",
        help="read and write prompts of official implementations",
        description="Checkpoints of CoOp, CoCoOp (its context), KgCoOp, ProGrad, IVLP, MaPLe, PromptSRC and the "
        "reference MVLPT into prompts.safetensors, and back. Nothing in them is executed.",
    )
    parser.set_defaults(run=run_convert)
    add = parser.add_argument
    add("source", metavar="IN", help="a checkpoint, prompts.safetensors, or the folder of a run")
    add("target", metavar="OUT", help="OUT.safetensors, or OUT.pth.tar for the official names")
    add("--load-epoch", type=int, default=None, help="of a run's folder; default: the best")
    position_help = "of the class name, if neither the method nor IN's path tells it"
    add("--position", choices=POSITIONS, default=None, help=position_help)
    add("--backbone", default="", help="the backbone of the prompt, stored in OUT.safetensors")
    add("--classes", default="", help="the classes of the training, comma separated, stored in OUT.safetensors")


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the prompt, its backbone and the classes."""
    add = parser.add_argument
    add("prompts", metavar="PROMPTS", help="prompts.safetensors, or the run's folder that holds it")
    add("--classes", default="", help="names to choose among, comma separated; default: those of the training")
    add("--task", default=None, help="take the classes of this task, if the prompt was trained on several")
    add("--backbone", default=None, help="the backbone, if it is a file; default: what PROMPTS says")
    add("--pretrained", default=None, help="its weights, if they are a file; default: what PROMPTS says")


def run_convert(args: argparse.Namespace) -> None:
    """Write the prompt in the other form, and its description to standard output."""
    metadata: dict = {}
    if args.backbone:
        metadata |= backbone_metadata(args.backbone)
    classes = _split_names(args.classes)
    if classes:
        metadata["classes"] = {"converted": classes}
    description = convert(args.source, args.target, args.position, args.load_epoch, metadata)
    sys.stdout.write(f"{args.target}: {description}\n")


def backbone_metadata(name: str) -> dict:
    """Return what a prompt's file says about a backbone: the name, and of a file or folder the fingerprint of its weights."""
    if not is_path(name):
        return {"backbone": name, "backbone_is_path": False}
    return load_backbone(name).record(name)


def run_export(args: argparse.Namespace) -> None:
    """Write the model, and its classes to standard output."""
    if Path(args.out).is_dir():
        raise ValueError(f"{args.out} is a folder; give a file")
    predictor = load(args.prompts, args.backbone, args.pretrained)
    names = export(predictor, args.out, _split_names(args.classes) or None, args.task)
    sys.stdout.write(f"{args.out}: {', '.join(names)}\n")


def run_predict(args: argparse.Namespace) -> None:
    """Write the predictions, a line an image or one JSON list."""
    if args.top < 1:
        raise ValueError(f"--top is {args.top}; it is at least 1")
    check_device(args.device)
    images = find_images(args.images)
    predictor = load(args.prompts, args.backbone, args.pretrained, args.device)
    predictions = predictor.predict(images, _split_names(args.classes) or None, args.task)
    records = []
    for image, ranked in zip(images, predictions, strict=True):
        best = ranked[: args.top]
        if args.json:
            pairs = [{"class": name, "probability": round(p, 6)} for name, p in best]
            records.append({"image": str(image), "predictions": pairs})
        else:
            line = ", ".join(f"{name} {100 * p:.1f} %" for name, p in best)
            sys.stdout.write(f"{image}: {line}\n")
    if args.json:
        sys.stdout.write(json.dumps(records, indent=1, ensure_ascii=False) + "\n")


def _split_names(text: str) -> list[str]:
    """Return comma-separated class names. Raises ValueError if two of them are the same text to CLIP."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    require_distinct(names, "--classes")
    return names


def check_device(name: str) -> None:
    """Raise ValueError if this machine has no such device."""
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        available = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise ValueError(f"--device: {name!r} can't be used here; there is {available}") from None


def main(argv: list[str] | None = None) -> int:
    """Run a command; exit code 0, or 2 after one message about wrong input."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
