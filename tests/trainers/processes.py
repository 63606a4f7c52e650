"""A program for torchrun: `train.main` in the toy world, once for each command line of a JSON file."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import tiny_world  # noqa: E402
import torch  # noqa: E402

import datasets  # noqa: E402
import train  # noqa: E402
import trainers.frozen  # noqa: E402


def main() -> int:
    """The first exit code that is not 0."""
    torch.cuda.is_available = lambda: False
    torch.set_num_threads(1)
    real, stubs = trainers.frozen.load_backbone, {name: tiny_world.stub(name) for name in tiny_world.STUBS}
    trainers.frozen.load_backbone = lambda name, *args: stubs[name] if name in stubs else real(name, *args)
    for cls in tiny_world.task_classes():
        datasets.register_task(cls)
    for argv in json.loads(Path(sys.argv[1]).read_text()):
        code = train.main(argv)
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
