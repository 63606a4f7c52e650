"""How long a training step takes and how much memory it needs, as a ratio to the floor: the bare image tower with deep
prompts, forward and backward, on the same batch in the same process.

    python -m scripts.benchmarks.training                                      # CoOp, VPT, UPT on ViT-B/16 with random weights
    python -m scripts.benchmarks.training --methods VPT --classes 1000 --baseline
    python -m scripts.benchmarks.training --device cuda --precision bf16 --batch-size 32

Every case has a process of its own, so that its peak memory is its own. CoOp's images are cached features, as in training. --baseline
measures the naive way beside it: both towers in every step, texts cut to the longest prompt and no further. Writes benchmark.json and
benchmark.md to --output-dir; --write fills the table of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import open_clip
import torch
from tqdm import tqdm

from toolkit.common.files import atomic_write

from .steps import COLUMNS, case

ROOT = Path(__file__).resolve().parents[2]


def grid(options: argparse.Namespace) -> list[dict]:
    """One configuration for each case; a class token position matters only where there is a text prompt."""
    cases = []
    for method, classes, precision in itertools.product(options.methods, options.classes, options.precision):
        for position in options.positions if method != "VPT" else ["-"]:
            cases.append(
                {
                    "method": method,
                    "classes": int(classes),
                    "position": position,
                    "precision": precision,
                    "architecture": options.architecture,
                    "device": options.device,
                    "batch_size": options.batch_size,
                    "n_ctx": options.n_ctx,
                    "rounds": options.rounds,
                    "baseline": options.baseline and int(classes) <= options.baseline_classes,
                }
            )
    return cases


def run_case(configuration: dict) -> dict:
    """A case in a new process. Raises RuntimeError with the end of what it said where it fails."""
    command = [sys.executable, "-m", "scripts.benchmarks.training", "--case", json.dumps(configuration)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{configuration}: {(done.stderr or done.stdout).strip()[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def machine(device: str) -> dict:
    """What it ran on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    if device.startswith("cuda"):
        name = f"{torch.cuda.get_device_name()}, {name}"
    return {"processor": name, "cores": os.cpu_count(), "torch": torch.__version__, "open_clip": open_clip.__version__}


def markdown(results: list[dict], where: dict, options: argparse.Namespace) -> str:
    """The results as a table."""
    first = results[0]
    lines = [
        f"{datetime.date.today().isoformat()}: {first['architecture']}, random weights, batch {first['batch_size']}, "
        f"{first['n_ctx']} vectors, union loss; {where['cores']} cores of {where['processor']}, {first['device']}, "
        f"torch {where['torch'].split('+')[0]}. Medians of {first['rounds']} steps.",
        "",
    ]
    columns = [name for name in COLUMNS if any(result.get(name) is not None for result in results)]
    lines.append("| " + " | ".join(COLUMNS[name][0] for name in columns) + " |")
    lines.append(
        "|" + "|".join("---" if name in ("method", "position", "precision") else "---:" for name in columns) + "|"
    )
    for result in results:
        cells = [COLUMNS[name][1].format(result[name]) if result.get(name) is not None else "" for name in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def split(kind: Callable = str) -> Callable[[str], list]:
    """An argument type for comma separated values."""
    return lambda text: [kind(part) for part in text.split(",") if part]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--methods", type=split(), default=["VPT", "CoOp", "UPT"])
    add("--classes", type=split(int), default=[100, 1000, 2191], help="the first of the 2,191 of the 11 source sets")
    add("--positions", type=split(), default=["end", "middle"])
    add("--precision", type=split(), default=["fp32"], help="fp32, bf16, fp16")
    add("--architecture", default="ViT-B-16-quickgelu", help="an open_clip name, or pocket")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--batch-size", type=int, default=8)
    add("--n-ctx", type=int, default=16)
    add("--rounds", type=int, default=3)
    add("--baseline", action="store_true", help="the naive way too")
    add("--baseline-classes", type=int, default=1000, help="no baseline beyond this many classes (memory)")
    add("--output-dir", type=Path, default=ROOT / "output" / "benchmark")
    add("--write", action="store_true", help="put the table into BENCHMARKS.md")
    add("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(case(**json.loads(options.case))))
        return 0
    results = []
    for configuration in tqdm(grid(options), unit="case", dynamic_ncols=True):
        results.append(run_case(configuration))
        tqdm.write(json.dumps(results[-1]), file=sys.stderr)
    where = machine(options.device)
    text = markdown(results, where, options)
    write(options.output_dir / "benchmark.json", json.dumps({"machine": where, "results": results}, indent=1) + "\n")
    write(options.output_dir / "benchmark.md", text)
    if options.write:
        from toolkit.common.markers import fill

        fill(ROOT / "BENCHMARKS.md", "steps", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
