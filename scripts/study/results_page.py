"""RESULTS.md: what a study measured, in generated parts between markers, so that text around them stays."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from pathlib import Path

from toolkit.common.markers import replace_or_append
from trainers.engine.results import write_text

from .items import Item
from .protocol import Protocol
from .tables import AVERAGE, Table, markdown

HEAD = """# Results

What `python -m scripts.study` measured, as measured: every part between markers is generated. Scores are the tasks' official
metrics in percent on the original test sets, mean ± standard deviation over seeds.
"""


def write(page: Path, protocol: Protocol, items: Sequence[Item], built: Sequence[Table], out: Path) -> None:
    """Fill the page's parts of these items, and put pictures and numbers beside it in docs/study."""
    text = page.read_text(encoding="utf-8") if page.is_file() else HEAD
    pictures = page.parent / "docs" / "study"
    pictures.mkdir(parents=True, exist_ok=True)
    tables = {table.name: table for table in built}
    text = replace_or_append(text, "protocol", _protocol(protocol, items))
    for item in items:
        parts = [f"## {item.title} ({_label(item.name)})", ""]
        for suffix in (".png", ".json"):
            if (out / f"{item.name}{suffix}").is_file():
                shutil.copyfile(out / f"{item.name}{suffix}", pictures / f"{item.name}{suffix}")
        if (pictures / f"{item.name}.png").is_file():
            parts += [f"![{item.title}](docs/study/{item.name}.png)", ""]
        if item.name in tables:
            table = tables[item.name]
            parts += [markdown(table, [AVERAGE]), "<details><summary>Every task</summary>", ""]
            parts += [markdown(table), "</details>"]
        else:
            parts += [
                _read(out / f"{item.name}.md"),
                "What predicts transfer (rank correlation with a target's column):",
                "",
            ]
            parts += [_read(out / "predictors.md")]
        text = replace_or_append(text, item.name, "\n".join(parts))
    if (out / "comparisons.md").is_file():
        head = (
            "## Paired comparisons\n\nTasks are the units, each with its mean over seeds; the interval is a bootstrap over "
            "tasks, p is Wilcoxon's signed-rank test, two-sided, not corrected for the number of tests.\n\n"
        )
        text = replace_or_append(text, "comparisons", head + _read(out / "comparisons.md"))
        shutil.copyfile(out / "comparisons.json", pictures / "comparisons.json")
    write_text(page, text)


def _protocol(protocol: Protocol, items: Sequence[Item]) -> str:
    names = " ".join(item.name for item in items)
    seeds = ",".join(map(str, protocol.seeds))
    command = f"python -m scripts.study {names} --suite {protocol.suite} --seeds {seeds}"
    options = ", ".join(f"{key} {value}" for key, value in protocol.options.items()) or "the recipe's"
    return (
        f"`{command}`, {datetime.date.today().isoformat()}. Backbone {protocol.backbone}; {len(protocol.sources)} source and "
        f"{len(protocol.targets)} target tasks; settings: {options} (configs/studies/{protocol.suite}.yaml)."
    )


def _label(name: str) -> str:
    kind, number = name[:-1], name[-1]
    return f"the paper's {kind} {number}"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
