"""All wrong inputs, and the page about them: `python tests/inputs/bad_inputs.py` writes
docs/errors.md.
"""

from __future__ import annotations

from pathlib import Path

import bad_data
import bad_files
import bad_scripts
import bad_settings
import bad_tools
from damage import Case

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
SECTIONS: dict[str, list[Case]] = {
    title: cases
    for part in (bad_settings, bad_files, bad_data, bad_tools, bad_scripts)
    for title, cases in part.SECTIONS.items()
}
CASES = [case for cases in SECTIONS.values() for case in cases]
HEAD = """\
# Wrong input

What each command line says to wrong input. The exit code is 2 where the input is wrong, and 1 where it is right but something can't be
had. There is one message, on standard error (`elevater_eval validate` lists what it finds on standard output), and files
stay as they were; if a training image turns out damaged during a run, the run's folder is there without results. `MVLPT_DEBUG=1` adds the
traceback to what `train.py` says.

`DIR` stands for the working folder, `...` for more text. This page is written by `python tests/inputs/bad_inputs.py` from the cases that
the tests run.
"""


def markdown() -> str:
    """Return the page: a table for each command line."""
    parts = [HEAD.rstrip()]
    for title, cases in SECTIONS.items():
        parts += [
            "",
            f"## {title}",
            "",
            "| wrong | command | message | exit code |",
            "|---|---|---|---:|",
        ]
        parts += [
            f"| {case.wrong} | {_code('python ' + case.command)} | {_code(case.message)} | {case.code} |"
            for case in cases
        ]
    return "\n".join(parts) + "\n"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(markdown(), encoding="utf-8")
