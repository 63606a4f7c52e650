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

from prompting.answers import FORMATS, UNSURE, Answer, Sorter, Writer
from toolkit.common.class_names import require_distinct
from toolkit.common.cli import NotDone, run_command
from toolkit.common.files import read_names
from toolkit.common.plugins import import_file
from toolkit.common.text import printable, start_log

if TYPE_CHECKING:
    from prompting.predict import Predictor

ZERO_SHOT = "zeroshot"  # instead of PROMPTS: no prompt
AT_ONCE = 1024  # images whose answers are written together


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the commands; `args.run` is the function that does one."""
    parser = argparse.ArgumentParser(
        prog="python -m prompting", description="Use a learned prompt."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_predict(commands)
    _add_serve(commands)
    _add_export(commands)
    _add_push(commands)
    _add_convert(commands)
    return parser


def _add_predict(commands) -> None:
    parser = commands.add_parser(
        "predict",
        help="classify images",
        description="Classify images with a learned prompt.",
    )
    parser.set_defaults(run=run_predict)
    _add_prompt(parser)
    add = parser.add_argument
    add(
        "images",
        metavar="IMAGE_OR_FOLDER",
        nargs="+",
        help="image files, or folders of them",
    )
    add(
        "--format",
        choices=FORMATS,
        default="text",
        help="text (default), csv, or JSON: a list, or jsonl: a line each",
    )
    add(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="the same as --format json",
    )
    add(
        "--top",
        type=int,
        default=5,
        metavar="K",
        help="the K most probable classes (default 5)",
    )
    add(
        "--threshold",
        type=float,
        default=0.0,
        metavar="P",
        help=f"below this probability the answer is {UNSURE!r}",
    )
    add(
        "--sort-into",
        metavar="DIR",
        default="",
        help="link each image into DIR/<class>/; nothing is overwritten",
    )
    add(
        "--copy",
        action="store_true",
        help="with --sort-into: copies in the place of links",
    )
    _add_device(parser)


def _add_serve(commands) -> None:
    parser = commands.add_parser(
        "serve",
        help="classify uploaded images over HTTP",
        description="Serve a learned prompt: POST /predict (images, and classes if they are others), GET /classes and "
        "/health, and a page at / for trying it. Only uploads are read.",
    )
    parser.set_defaults(run=run_serve)
    _add_prompt(parser)
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; default: %(default)s, this machine alone",
    )
    add("--port", type=int, default=8000, help="default: %(default)s; 0: a free one")
    add(
        "--max-images",
        type=int,
        default=16,
        metavar="N",
        help="images a request may hold (default %(default)s)",
    )
    add(
        "--max-megabytes",
        type=int,
        default=32,
        metavar="N",
        help="size of a request (default %(default)s)",
    )
    _add_device(parser)


def _add_push(commands) -> None:
    parser = commands.add_parser(
        "push",
        help="share a prompt on the Hugging Face Hub",
        description="Upload prompts.safetensors and a generated model card. The token is that of `hf auth login` or "
        "HF_TOKEN; afterwards hf:USER/NAME takes the place of PROMPTS in all commands.",
    )
    parser.set_defaults(run=run_push)
    add = parser.add_argument
    add(
        "prompts",
        metavar="PROMPTS",
        help="the run's folder, whose scores enter the card, or its prompts.safetensors",
    )
    add(
        "repository",
        metavar="USER/NAME",
        help="the model on the Hub; made if it is not there",
    )
    add("--private", action="store_true", help="make the model private")
    add(
        "--license",
        default="",
        help="of the prompt, such as mit or cc-by-4.0, for the card",
    )


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
    add(
        "source",
        metavar="IN",
        help="a checkpoint, prompts.safetensors, or the folder of a run",
    )
    add(
        "target",
        metavar="OUT",
        help="OUT.safetensors, or OUT.pth.tar for the official names",
    )
    add(
        "--load-epoch",
        type=int,
        default=None,
        help="of a run's folder; default: the best",
    )
    position_help = "of the class name, if neither the method nor IN's path tells it"
    add(
        "--position",
        choices=("front", "middle", "end"),
        default=None,
        help=position_help,
    )
    add(
        "--backbone",
        default="",
        help="the backbone of the prompt, stored in OUT.safetensors",
    )
    add(
        "--classes",
        default="",
        help="the classes of the training, comma separated, stored in OUT.safetensors",
    )


def _add_prompt(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the prompt, its backbone and the classes."""
    add = parser.add_argument
    add(
        "prompts",
        metavar="PROMPTS",
        help="prompts.safetensors, or the run's folder that holds it; zeroshot: none",
    )
    add(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="FILE.py",
        help="a file that registers kinds of prompts; may be given again",
    )
    add(
        "--classes",
        default="",
        help="names to choose among, comma separated, or @FILE, a name a line; default: those of the training",
    )
    add(
        "--task",
        default=None,
        help="take the classes of this task, if the prompt was trained on several; "
        "with --classes, the name that SoftCPT makes words of",
    )
    add(
        "--backbone",
        default=None,
        help="name, file, folder or Hub id of the backbone; default: what PROMPTS says",
    )
    pretrained_help = (
        "its weights: a tag of open_clip, or a file; default: what PROMPTS says"
    )
    add("--pretrained", default=None, metavar="TAG_OR_FILE", help=pretrained_help)
    add(
        "--template",
        default="",
        help='with zeroshot: the sentence around class names (default "a photo of a {}.")',
    )
    add(
        "--force",
        action="store_true",
        help="use class names whose words the backbone does not know",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="",
        help="cpu, cuda, cuda:1, ...; default: cuda if there is one",
    )


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
    description = convert(
        args.source, args.target, args.position, args.load_epoch, metadata
    )
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
        raise ValueError(
            "--copy says how --sort-into puts images; give a folder with --sort-into"
        )


def run_serve(args: argparse.Namespace) -> None:
    """Serve until interrupted."""
    require_packages("serve", "fastapi", "uvicorn", "python_multipart")
    from prompting.serve.app import Limits, build_app, run

    for flag, value in (
        ("--max-images", args.max_images),
        ("--max-megabytes", args.max_megabytes),
    ):
        if value < 1:
            raise ValueError(f"{flag} is {value}; it is at least 1")
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port is {args.port}; it is between 0 and 65535")
    start_log()
    device = usable_device(args.device)
    predictor = load_predictor(args, device)
    limits = Limits(images=args.max_images, megabytes=args.max_megabytes)
    app = build_app(
        predictor, _split_names(args.classes) or None, args.task, args.host, limits
    )
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


def main(argv: list[str] | None = None) -> int:
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
