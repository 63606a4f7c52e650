"""The benchmarks' harness: measures in turns, cases as processes, result files."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from toolkit.common.files import write_text
from toolkit.common.hardware import processor_name
from toolkit.common.structured import write_json

ROOT = Path(__file__).resolve().parents[2]


def machine(device: str = "cpu") -> dict:
    """Return processor, cores, and the versions of torch and open_clip."""
    import open_clip
    import torch

    processor = processor_name()
    if device.startswith("cuda"):
        processor = f"{torch.cuda.get_device_name()}, {processor}"
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
    }


def usable_device(name: str) -> str:
    """Return a device's name, by default that of a GPU if there is one."""
    import torch

    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def timed(
    work: Callable, *arguments, clock: Callable = time.perf_counter, **named
) -> float:
    """Return the seconds that a call takes."""
    start = clock()
    work(*arguments, **named)
    return clock() - start


def medians_in_turns(
    measures: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, float]:
    """Return each measure's median over `rounds`; they take turns under one load."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure())
    return {name: statistics.median(found) for name, found in values.items()}


def run_case(
    module: str, case: dict, environment: Mapping[str, str] = os.environ
) -> dict:
    """Return the JSON that `python -m MODULE --case JSON` prints, or RuntimeError."""
    command = [sys.executable, "-m", module, "--case", json.dumps(case)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        output = done.stderr or done.stdout
        raise RuntimeError(f"{case}: {output.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_result(folder: Path, name: str, result: dict, text: str = "") -> None:
    """Write NAME.json, and NAME.md if there is a text; print the text, or the JSON."""
    write_json(folder / f"{name}.json", result, indent=1)
    if text:
        write_text(folder / f"{name}.md", text)
    print(text or json.dumps(result, indent=1))


def comma_separated(kind: Callable = str) -> Callable:
    return lambda text: [kind(part) for part in text.split(",") if part]


def new_parser(description: str, **numbers: int) -> argparse.ArgumentParser:
    """Return a parser with the description's first line and a flag for each number."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser


def add_output_dir(parser: argparse.ArgumentParser) -> None:
    folder = ROOT / "output" / "benchmark"
    parser.add_argument("--output-dir", type=Path, default=folder)


def ratio_command(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace, Path], Iterable[dict]],
) -> int:
    """Run a command line that prints the results of `measure(options, temporary
    folder)`; return exit code 1 if a "ratio" is below --require.
    """
    words = "exit code 1 if the ratio is below, such as 0.9"
    parser.add_argument(
        "--require", type=float, default=0.0, metavar="SHARE", help=words
    )
    options = parser.parse_args()
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        for result in measure(options, Path(folder)):
            print(json.dumps(result, indent=1))
            if result["ratio"] < options.require:
                code = 1
    return code
