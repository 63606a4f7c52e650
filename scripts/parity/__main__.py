"""Compare a prompt method with numbers that its official code computed: `python -m
scripts.parity METHOD FILE.npz`.

A file holds cases of one method on tiny backbones (`case/config`, `case/prompt/<name>`,
...); a case's backbone is backbone_<case/backbone>.npz beside it, or --backbone.
Printed are the largest differences of each case: absolute ones of logits, features,
loss terms and parameters after three steps, relative ones of gradients. Exit code 1 if
one is above 1e-4, 2 for wrong input.
"""

import sys
from pathlib import Path

from toolkit.common.cli import BAD_INPUT, FAILED, OK, Argv, command_parser, fail

from . import METHODS

LIMIT = 1e-4


def main(argv: Argv = None) -> int:
    """Print the differences; return the exit code."""
    parser = command_parser("scripts.parity", "Compare with official numbers.")
    add = parser.add_argument
    names = ", ".join(METHODS)
    add("method", metavar="METHOD", choices=METHODS, type=str.lower, help=names)
    add("file", metavar="FILE.npz", type=Path, help="numbers of the official code")
    beside = "default: backbone_<name>.npz beside FILE"
    add("--backbone", metavar="FILE.npz", type=Path, help=beside)
    args = parser.parse_args(argv)
    from trainers import register_all

    from .comparison import compare
    from .reading import read_cases

    register_all()
    try:
        cases = read_cases(args.method, args.file, args.backbone)
        largest = 0.0
        for name, case in cases.items():
            found = compare(case)
            largest = max(largest, *found.values())
            texts = [f"{kind} {value:.1e}" for kind, value in found.items()]
            sys.stdout.write(f"{name}: {', '.join(texts)}\n")
    except KeyError as error:
        lacks = f"{args.file}: a case of {args.method} lacks {error}"
        return fail(ValueError(lacks), BAD_INPUT)
    except (OSError, ValueError) as error:
        return fail(error, BAD_INPUT)
    sys.stdout.write(f"largest difference: {largest:.1e} (limit {LIMIT:.0e})\n")
    return OK if largest <= LIMIT else FAILED


if __name__ == "__main__":
    sys.exit(main())
