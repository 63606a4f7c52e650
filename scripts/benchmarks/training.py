"""How long a training step takes and how much memory it needs, as a ratio to the floor:
the bare image tower with deep prompts, forward and backward, on the same batch in the
same process.

    python -m scripts.benchmarks.training                                      # CoOp, VPT, UPT on ViT-B/16 with random weights
    python -m scripts.benchmarks.training --methods VPT --classes 1000 --baseline
    python -m scripts.benchmarks.training --device cuda --precision bf16 --batch-size 32

Every case runs in its own process, so that its peak memory is its own. CoOp's images
are cached features, as in training, and so are the frozen features of PromptSRC.
--baseline measures the naive way beside it: both towers in every step, texts as long as
the longest (of MaPLe and PromptSRC as the tower takes, and frozen features computed in
each step, as in published code). Writes benchmark.json and benchmark.md.
"""

import argparse
import datetime
import itertools
import json
import sys
from pathlib import Path

from tqdm import tqdm

from toolkit.common.markers import fill
from toolkit.common.text import markdown_table

from . import common

COLUMNS = {  # of a result: heading, format of a number
    "method": ("method", ""),
    "classes": ("classes", ","),
    "position": ("class token", ""),
    "precision": ("precision", ""),
    "floor_seconds": ("floor, s", ".3f"),
    "step_seconds": ("step, s", ".3f"),
    "ratio": ("step / floor", ".2f"),
    "images_per_second": ("images/s", ".1f"),
    "peak_gigabytes": ("peak memory, GB", ".2f"),
    "naive_seconds": ("naive step, s", ".1f"),
    "naive_ratio": ("naive / step", ".1f"),
    "naive_peak_gigabytes": ("naive peak, GB", ".1f"),
}
POSITIONS = {"VPT": ["-"], "MaPLe": ["end"], "PromptSRC": ["end"]}  # of these methods
SHARED = ("architecture", "device", "batch_size", "n_ctx", "rounds", "clock")


def cases(options: argparse.Namespace) -> list[dict]:
    """Return the arguments of each case; only text prompts have a token position."""
    found = []
    shared = {key: getattr(options, key) for key in SHARED}
    for method, classes, precision in itertools.product(
        options.methods, options.classes, options.precision
    ):
        for position in POSITIONS.get(method, options.positions):
            kind = {"method": method, "classes": classes, "position": position}
            found.append({**kind, "precision": precision, **shared})
    return found


def case(given: dict, baseline: bool) -> dict:
    """Measure one case in this process; return its arguments with the median seconds of
    a step, of the floor, and of the naive way if `baseline`. Memory is the peak after
    the steps and before the other two.
    """
    import torch

    from . import steps

    torch.manual_seed(0)
    device, n_ctx = given["device"], given["n_ctx"]
    method = given["method"]
    clock = given["rounds"], device, given["clock"]
    clip = steps.random_clip(given["architecture"]).to(device)
    names = steps.source_names(given["classes"])
    images = torch.randn(given["batch_size"], 3, *steps.image_size(clip), device=device)
    labels = torch.randint(len(names), (len(images),), device=device)
    autocast = steps.autocast_of(device, given["precision"])
    prompt = steps.prompt_of(method, clip, n_ctx, given["position"]).to(device)
    batch = clip, prompt, images, labels, names, autocast, steps.WEIGHTS.get(method)

    step = steps.seconds(steps.our_step(*batch), *clock)
    memory = peak(device)
    floor = steps.seconds(steps.floor_step(clip, n_ctx, images, autocast), *clock)
    measured = {
        "peak_gigabytes": memory,
        "floor_seconds": floor,
        "step_seconds": step,
        "ratio": step / floor,
        "images_per_second": len(images) / step,
    }
    if baseline:
        naive = steps.seconds(steps.naive_step(*batch), 1, *clock[1:], warm=False)
        measured["naive_seconds"] = naive
        measured["naive_ratio"] = naive / step
        measured["naive_peak_gigabytes"] = peak(device)
    return given | {key: round(value, 4) for key, value in measured.items()}


def peak(device: str) -> float:
    """Return the peak memory in GB: torch's on a GPU, else the process's, or NaN."""
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
        reason = "as other programs ran on the machine"
        heading += f" Seconds are of processor time, {reason}."
    columns, alignment = [], ""
    for key, (title, form) in COLUMNS.items():
        if not any(key in result for result in results):
            continue
        column = [title]
        for result in results:
            column.append(format(result[key], form) if key in result else "")
        columns.append(column)
        alignment += "r" if form else "l"
    rows = zip(*columns, strict=True)
    return f"{heading}\n\n{markdown_table(rows, alignment)}"


def main() -> int:
    parser = common.new_parser(
        "How long a training step takes and how much memory it needs, beside the bare image tower.",
        batch_size=8,
        n_ctx=16,
        rounds=3,
    )
    add = parser.add_argument
    words, numbers = common.comma_separated(), common.comma_separated(int)
    many = "the first of the 2,191 of the 11 source sets"
    named = "an open_clip name, or pocket"
    add("--methods", type=words, default=["VPT", "CoOp", "UPT"])
    add("--classes", type=numbers, default=[100, 1000, 2191], help=many)
    add("--positions", type=words, default=["end", "middle"])
    add("--precision", type=words, default=["fp32"], help="fp32, bf16, fp16")
    add("--architecture", default="ViT-B-16-quickgelu", help=named)
    add("--device", default="", help="default: cuda if there is one")
    busy = "cpu: processor time, on a CPU with other load"
    add("--clock", choices=["wall", "cpu"], default="wall", help=busy)
    add("--baseline", action="store_true", help="the naive way too")
    most = "no baseline beyond this many classes (memory)"
    add("--baseline-classes", type=int, default=1000, help=most)
    add("--write", action="store_true", help="put the table into BENCHMARKS.md")
    add("--case", type=json.loads, help=argparse.SUPPRESS)
    common.add_output_dir(parser)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(case(**options.case)))
        return 0
    options.device = common.usable_device(options.device)
    results = []
    for given in tqdm(cases(options), unit="case", dynamic_ncols=True):
        baseline = options.baseline and given["classes"] <= options.baseline_classes
        arguments = {"given": given, "baseline": baseline}
        results.append(common.run_case("scripts.benchmarks.training", arguments))
        tqdm.write(json.dumps(results[-1]), file=sys.stderr)
    where = common.machine(options.device)
    text = markdown(results, where)
    result = {"machine": where, "results": results}
    common.write_result(options.output_dir, "benchmark", result, text)
    if options.write:
        fill(common.ROOT / "BENCHMARKS.md", "steps", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
