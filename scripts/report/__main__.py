"""Command line: `python -m scripts.report DIR [DIR ...] [-o report.html]`.

DIR is the --output-dir of a finished run. Several are seeds of one experiment: the
first is shown in full, beside a table of all. The page is one file that needs nothing
else. Exit code 2 and one line for wrong input.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from toolkit.common.cli import Argv, command_parser, run_command
from toolkit.common.files import write_text
from toolkit.common.text import start_log


def main(arguments: Argv = None) -> int:
    """Write the page and return the exit code."""
    text = "Write the report of a run as one HTML page."
    parser = command_parser("scripts.report", text)
    add = parser.add_argument
    runs = "--output-dir of a run; several: its seeds"
    add("folders", nargs="+", type=Path, metavar="DIR", help=runs)
    add("-o", "--output", type=Path, help="the page (report.html in the first DIR)")
    add("--root", default="", help="the folder of the data sets, as train.py takes it")
    add("--transfer", type=Path, help="a transfer matrix (CSV), or a folder of them")
    left_out = "leave out the classes' zero-shot scores"
    add("--no-zero-shot", action="store_true", help=left_out)
    options = parser.parse_args(arguments)
    start_log(logging.WARNING, form="%(levelname)s: %(message)s")

    def run() -> None:
        given = options.folders, options.output, options.root, options.transfer
        with logging_redirect_tqdm():
            out = write(*given, not options.no_zero_shot)
        sys.stdout.write(f"{out} ({out.stat().st_size / 1000:,.0f} kB)\n")

    return run_command(run)


def write(
    folders: Sequence[Path],
    output: Path | None = None,
    root: str = "",
    transfer: Path | None = None,
    with_zero_shot: bool = True,
) -> Path:
    """Write the page of the runs in `folders` and return its path, by default
    report.html in the first folder. Raises FileNotFoundError or ValueError naming a
    missing or damaged file; nothing is written then.
    """
    import toolkit  # noqa: F401  (makes `dassl` importable)
    import trainers
    from scripts.transfer.matrix import read_matrix

    from .experiment import check_seeds, read_experiment
    from .page import build

    trainers.register_all()
    runs = [read_experiment(folder) for folder in folders]
    check_seeds(runs)
    out = output or runs[0].folder / "report.html"
    if out.is_dir():
        raise ValueError(f"-o {out} is a folder; give a file")
    files = find_matrices(runs[0].folder, transfer)
    matrices = [(path.stem, read_matrix(path)) for path in files]
    write_text(out, build(runs, root, matrices, with_zero_shot))
    return out


def find_matrices(folder: Path, given: Path | None) -> list[Path]:
    """Return the given file, a given folder's CSV files, or the run's matrices."""
    if given is None:
        return sorted(folder.glob("*transfer*.csv"))
    if given.is_file():
        return [given]
    if not given.is_dir():
        raise FileNotFoundError(f"--transfer: no {given}")
    found = sorted(given.glob("*.csv"))
    if not found:
        raise FileNotFoundError(f"--transfer: no CSV file in {given}")
    return found


if __name__ == "__main__":
    sys.exit(main())
