"""How long a training step takes and how much memory it needs, as a ratio to the floor:
the bare image tower with deep prompts, forward and backward, on the same batch in the
same process.

    python -m scripts.benchmarks.training                                      # CoOp, VPT, UPT on ViT-B/16 with random weights
    python -m scripts.benchmarks.training --methods VPT --classes 1000 --baseline
    python -m scripts.benchmarks.training --device cuda --precision bf16 --batch-size 32

Every case runs in its own process, so that its peak memory is its own. CoOp's images
are cached features, as in training, and so are the frozen features of PromptSRC.
--baseline measures the naive way beside it: both towers in every step, texts cut to the
longest prompt and no further (of MaPLe and PromptSRC not cut, and frozen features
computed in each step, as in published code). Writes benchmark.json and benchmark.md to
--output-dir; --write fills the table of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from toolkit.common.markers import fill

from .common import (
    ROOT,
    add_output_dir,
    comma_separated,
    machine,
    new_parser,
    run_case,
    table,
    usable_device,
    write_result,
)

if TYPE_CHECKING:
    from .steps import Step

COLUMNS = {
    "method": ("method", "{}"),
    "classes": ("classes", "{:,}"),
    "position": ("class token", "{}"),
    "precision": ("precision", "{}"),
    "floor_seconds": ("floor, s", "{:.3f}"),
    "step_seconds": ("step, s", "{:.3f}"),
    "ratio": ("step / floor", "{:.2f}"),
    "images_per_second": ("images/s", "{:.1f}"),
    "peak_gigabytes": ("peak memory, GB", "{:.2f}"),
    "naive_seconds": ("naive step, s", "{:.1f}"),
    "naive_ratio": ("naive / step", "{:.1f}"),
    "naive_peak_gigabytes": ("naive peak, GB", "{:.1f}"),
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def cases(options: argparse.Namespace) -> list[dict]:
    """Return the arguments of `case` for each; a class token position matters only if
    there is a text prompt.
    """
    found = []
    for method, classes, precision in itertools.product(
        options.methods, options.classes, options.precision
    ):
        positions = {"VPT": ["-"], "MaPLe": ["end"], "PromptSRC": ["end"]}.get(
            method, options.positions
        )
        for position in positions:
            found.append(
                {
                    "method": method,
                    "classes": classes,
                    "position": position,
                    "precision": precision,
                    "architecture": options.architecture,
                    "device": options.device,
                    "batch_size": options.batch_size,
                    "n_ctx": options.n_ctx,
                    "rounds": options.rounds,
                    "clock": options.clock,
                    "baseline": options.baseline
                    and classes <= options.baseline_classes,
                }
            )
    return found


def case(
    method: str,
    classes: int,
    position: str,
    precision: str,
    architecture: str,
    device: str,
    batch_size: int,
    n_ctx: int,
    rounds: int,
    clock: str,
    baseline: bool,
) -> dict:
    """Measure one case in this process, by `CLOCKS[clock]`.

    Returns seconds a step (median of `rounds`), of the floor, and of the naive way if
    `baseline`. Memory is the peak of the process (CPU) or of torch (GPU) after the
    steps and before the other two.
    """
    import torch

    from . import steps

    torch.manual_seed(0)
    clip = steps.random_clip(architecture).to(device)
    names = steps.source_names(classes)
    size = clip.visual.image_size
    if not isinstance(size, tuple):
        size = (size, size)
    images = torch.randn(batch_size, 3, *size, device=device)
    labels = torch.randint(len(names), (batch_size,), device=device)
    autocast = steps.autocast_of(device, precision)
    prompt = steps.prompt_of(method, clip, n_ctx, position).to(device)
    batch = clip, prompt, images, labels, names, autocast, steps.WEIGHTS.get(method)

    step = seconds(steps.our_step(*batch), rounds, device, clock)
    measured = {"peak_gigabytes": peak(device)}
    floor = seconds(
        steps.floor_step(clip, n_ctx, images, autocast), rounds, device, clock
    )
    measured |= {"floor_seconds": floor, "step_seconds": step, "ratio": step / floor}
    measured["images_per_second"] = batch_size / step
    if baseline:
        naive = seconds(steps.naive_step(*batch), 1, device, clock, warm=False)
        measured |= {
            "naive_seconds": naive,
            "naive_ratio": naive / step,
            "naive_peak_gigabytes": peak(device),
        }
    return {
        "method": method,
        "classes": classes,
        "position": position,
        "precision": precision,
        "architecture": architecture,
        "device": device,
        "batch_size": batch_size,
        "n_ctx": n_ctx,
        "rounds": rounds,
        "clock": clock,
        **{key: round(value, 4) for key, value in measured.items()},
    }


def seconds(
    step: Step, rounds: int, device: str, clock: str = "wall", warm: bool = True
) -> float:
    """Return the median time of a step, after one that does not count if `warm`."""
    import torch

    if warm:
        step()
    now = CLOCKS[clock]
    times = []
    for _ in range(rounds):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        start = now()
        step()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(now() - start)
    return statistics.median(times)


def peak(device: str) -> float:
    """Return the peak memory so far in GB: torch's on a GPU, else the process's (NaN if
    the system does not tell).
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 1e9
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e9
    return float("nan")


def markdown(results: list[dict], where: dict) -> str:
    """Return the results as a table below a line that says how they were measured."""
    first = results[0]
    version = where["torch"].split("+")[0]
    heading = (
        f"{datetime.date.today().isoformat()}: {first['architecture']}, random weights, batch {first['batch_size']}, "
        f"{first['n_ctx']} vectors, union loss; {where['cores']} cores of {where['processor']}, {first['device']}, "
        f"torch {version}. Medians of {first['rounds']} steps."
    )
    if first["clock"] == "cpu":
        heading += (
            " Seconds are of processor time, as other programs ran on the machine."
        )
    keys = [key for key in COLUMNS if any(key in result for result in results)]
    titles = [COLUMNS[key][0] for key in keys]
    rows = []
    for result in results:
        rows.append(
            [
                COLUMNS[key][1].format(result[key]) if key in result else ""
                for key in keys
            ]
        )
    return f"{heading}\n\n{table(titles, rows, left=('method', 'class token', 'precision'))}"


def main() -> int:
    """Run the command line."""
    parser = new_parser(
        "How long a training step takes and how much memory it needs, beside the bare image tower."
    )
    add = parser.add_argument
    many = "the first of the 2,191 of the 11 source sets"
    add("--methods", type=comma_separated(), default=["VPT", "CoOp", "UPT"])
    add("--classes", type=comma_separated(int), default=[100, 1000, 2191], help=many)
    add("--positions", type=comma_separated(), default=["end", "middle"])
    add(
        "--precision", type=comma_separated(), default=["fp32"], help="fp32, bf16, fp16"
    )
    add(
        "--architecture",
        default="ViT-B-16-quickgelu",
        help="an open_clip name, or pocket",
    )
    add("--device", default="", help="default: cuda if there is one")
    add("--batch-size", type=int, default=8)
    add("--n-ctx", type=int, default=16)
    add("--rounds", type=int, default=3)
    add(
        "--clock",
        choices=list(CLOCKS),
        default="wall",
        help="cpu: processor time, on a CPU with other load",
    )
    add("--baseline", action="store_true", help="the naive way too")
    add(
        "--baseline-classes",
        type=int,
        default=1000,
        help="no baseline beyond this many classes (memory)",
    )
    add("--write", action="store_true", help="put the table into BENCHMARKS.md")
    add("--case", help=argparse.SUPPRESS)
    add_output_dir(parser)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(case(**json.loads(options.case))))
        return 0
    options.device = usable_device(options.device)
    results = []
    for arguments in tqdm(cases(options), unit="case", dynamic_ncols=True):
        results.append(run_case("scripts.benchmarks.training", arguments))
        tqdm.write(json.dumps(results[-1]), file=sys.stderr)
    where = machine(options.device)
    text = markdown(results, where)
    write_result(
        options.output_dir, "benchmark", {"machine": where, "results": results}, text
    )
    if options.write:
        fill(ROOT / "BENCHMARKS.md", "steps", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
