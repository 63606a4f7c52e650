"""The flags of train.py: those of Dassl, of the reference, and ours. Neither torch nor
Dassl is imported for them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from toolkit.common.dassl_scripts import add_flags
from toolkit.common.plugins import add_import_flag
from toolkit.common.structured import read_yaml

FLAGS = read_yaml(Path(__file__).with_name("flags.yaml"))
KINDS = {
    "text": {"default": ""},
    "number": {"type": int},
    "switch": {"action": "store_true"},
    "list": {"nargs": "+"},
    "name": {},
}  # kind of a flag -> arguments of `add_argument`


def arguments(argv: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of train.py. argv: a command line, whose --import may bring
    flags of another train.py.
    """
    parser = argparse.ArgumentParser(
        prog="train.py",
        description="Learn and evaluate prompts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    for name, flag in FLAGS.items():
        options = KINDS[flag["kind"]] | flag.get("options", {})
        add(name, *flag.get("aliases", []), help=flag.get("help"), **options)
    for name in ("--device", "--world-size"):
        # of command lines for Dassl's trainers; their own train.py reads it
        add(name, help=argparse.SUPPRESS)
    add_import_flag(parser)
    add_flags(parser, argv)
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs of the configuration")
    return parser
