"""Use a learned prompt: `python -m prompting predict PROMPTS IMAGE_OR_FOLDER...`,
`serve PROMPTS`, `export PROMPTS OUT.onnx`, `push PROMPTS USER/NAME`, or `convert IN
OUT`.

PROMPTS is a file or folder, hf:USER/NAME on the Hugging Face Hub, or "zeroshot" for
plain CLIP: `predict zeroshot IMAGE...
--backbone B --classes a,b`. torch is imported when a command runs, not for --help.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prompting.answers import Answer, Sorter, Writer
from toolkit.common.class_names import require_distinct
from toolkit.common.cli import Argv, NotDone, command_parser, run_command
from toolkit.common.files import read_names
from toolkit.common.plugins import import_file
from toolkit.common.structured import read_yaml
from toolkit.common.text import printable, start_log

if TYPE_CHECKING:
    from prompting.predict import Predictor

ZERO_SHOT = "zeroshot"  # instead of PROMPTS: no prompt
TYPES = {"int": int, "float": float}  # of arguments
AT_ONCE = 1024  # images whose answers are written together


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the commands; `args.run` is the function that does one."""
    parser = command_parser("prompting", "Use a learned prompt.")
    commands = parser.add_subparsers(dest="command", required=True)
    table = read_yaml(Path(__file__).with_name("commands.yaml"))
    for run in (run_predict, run_serve, run_export, run_push, run_convert):
        name = run.__name__.removeprefix("run_")
        texts = table[name]
        command = commands.add_parser(
            name, help=texts["help"], description=texts["description"]
        )
        command.set_defaults(run=run)
        for arguments in texts["arguments"]:
            for flag, given in arguments.items():
                if "type" in given:
                    given = given | {"type": TYPES[given["type"]]}
                command.add_argument(flag, **given)
    return parser


def run_convert(args: argparse.Namespace) -> None:
    """Write the prompt in the other form, and its description to standard output."""
    from prompting.backbones.loading import load_backbone
    from prompting.backbones.names import is_path
    from prompting.checkpoints.foreign import convert

    metadata: dict = {}
    if args.backbone and is_path(args.backbone):
        metadata |= load_backbone(args.backbone).record(args.backbone)
    elif args.backbone:
        metadata |= {"backbone": args.backbone, "backbone_is_path": False}
    classes = _split_names(args.classes)
    if classes:
        metadata["classes"] = {"converted": classes}
    options = args.position, args.load_epoch, metadata
    description = convert(args.source, args.target, *options)
    sys.stdout.write(f"{args.target}: {description}\n")


def load_predictor(args: argparse.Namespace, device: str = "cpu") -> Predictor:
    """Return the predictor; ValueError if an option has no effect or is missing."""
    from prompting.predict import TEMPLATE, load, load_zero_shot

    if args.prompts != ZERO_SHOT:
        if args.template:
            raise ValueError(
                f"--template belongs to {ZERO_SHOT}; a prompt has its own text"
            )
        for file in args.imports:
            import_file(file)
        return load(args.prompts, args.backbone, args.pretrained, device, args.force)
    if args.task:
        raise ValueError(
            f"--task is of a prompt's training; {ZERO_SHOT} needs --classes"
        )
    if not _split_names(args.classes):
        raise ValueError(f"{ZERO_SHOT} needs --classes, the names to choose among")
    backbone, template = args.backbone or "pocket", args.template or TEMPLATE
    return load_zero_shot(backbone, args.pretrained, template, device, args.force)


def run_export(args: argparse.Namespace) -> None:
    """Write the model, and its classes to standard output."""
    from prompting.export import export

    if Path(args.out).is_dir():
        raise ValueError(f"{args.out} is a folder; give a file")
    predictor = load_predictor(args)
    names = export(predictor, args.out, _split_names(args.classes) or None, args.task)
    sys.stdout.write(f"{args.out}: {', '.join(names)}\n")


def run_predict(args: argparse.Namespace) -> None:
    """Write the predictions and sort the images; report unread ones at the end."""
    from prompting.predict import find_images

    _check_predict(args)
    device = usable_device(args.device)
    sorter = Sorter(args.sort_into, args.copy) if args.sort_into else None
    images = find_images(args.images)
    predictor = load_predictor(args, device)
    classes = _split_names(args.classes) or None
    names, _ = predictor.choose_classes(classes, args.task)
    predictor.class_features(classes, args.task)
    writer = Writer(sys.stdout, args.format, min(args.top, len(names)))
    unread = 0
    for start in range(0, len(images), AT_ONCE):
        part = images[start : start + AT_ONCE]
        errors: dict[int, Exception] = {}
        predictions = predictor.predict(part, classes, args.task, errors=errors)
        if errors and len(images) == 1:
            raise errors[0]
        for position, (image, ranked) in enumerate(zip(part, predictions, strict=True)):
            error = str(errors.get(position, ""))
            if error:
                sys.stderr.write(f"error: {printable(error)}\n")
            found = Answer(str(image), ranked[: args.top], args.threshold, error)
            writer.write(found)
            if sorter is not None:
                sorter.put(found)
        unread += len(errors)
    writer.close()
    if unread:
        raise NotDone(f"{unread} of {len(images)} images could not be read")


def _check_predict(args: argparse.Namespace) -> None:
    if args.top < 1:
        raise ValueError(f"--top is {args.top}; it is at least 1")
    if not 0 <= args.threshold <= 1:
        raise ValueError(
            f"--threshold is {args.threshold}; it is a probability, from 0 to 1"
        )
    if args.copy and not args.sort_into:
        raise ValueError("--copy says how --sort-into puts images; give --sort-into")


def run_serve(args: argparse.Namespace) -> None:
    """Serve until interrupted."""
    require_packages("serve", "fastapi", "uvicorn", "python_multipart")
    from prompting.serve.app import Limits, build_app, run

    for name in ("images", "megabytes"):
        value = getattr(args, f"max_{name}")
        if value < 1:
            raise ValueError(f"--max-{name} is {value}; it is at least 1")
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port is {args.port}; it is between 0 and 65535")
    start_log()
    device = usable_device(args.device)
    predictor = load_predictor(args, device)
    limits = Limits(images=args.max_images, megabytes=args.max_megabytes)
    classes = _split_names(args.classes) or None
    app = build_app(predictor, classes, args.task, args.host, limits)
    run(app, args.host, args.port)


def run_push(args: argparse.Namespace) -> None:
    """Upload a prompt, and write its address to standard output."""
    require_packages("hub", "huggingface_hub")
    from prompting.hub import push

    url = push(args.prompts, args.repository, args.private, args.license)
    sys.stdout.write(f"{url}\n")


def require_packages(extra: str, *packages: str) -> None:
    """Raise ValueError naming the extra that brings packages which are not installed."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"this needs {' and '.join(missing)}: pip install 'mvlpt[{extra}]'"
        )


def _split_names(text: str) -> list[str]:
    """Return two or more comma-separated class names, those of a file for `@FILE`."""
    names = []
    for name in text.split(","):
        if name.strip().startswith("@"):
            names += read_names(name.strip()[1:], "--classes")
        elif name.strip():
            names.append(name.strip())
    if len(names) == 1:
        raise ValueError(
            f"--classes names one class, {names[0]!r}: give several, with commas between"
        )
    require_distinct(names, "--classes")
    return names


def usable_device(name: str) -> str:
    """Return a device, by default a GPU if there is one; ValueError if it is not here."""
    import torch

    has_gpu = torch.cuda.is_available()
    if not name:
        return "cuda" if has_gpu else "cpu"
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        available = "cpu, cuda" if has_gpu else "cpu"
        raise ValueError(
            f"--device: {name!r} can't be used here; there is {available}"
        ) from None
    return name


def main(argv: Argv = None) -> int:
    """Run a command; exit code 1: some images could not be read, 2: wrong input."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: args.run(args))


def predict_command() -> int:
    """Run the installed command mvlpt-predict."""
    return main(["predict", *sys.argv[1:]])


def serve_command() -> int:
    """Run the installed command mvlpt-serve."""
    return main(["serve", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
