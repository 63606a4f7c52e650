"""The repository as a whole: what documents promise, what files must not hold, and that importing does nothing."""

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets
import toolkit
import train
import trainers
from datasets.pocket import SOURCES, SPECS, TARGETS
from elevater_eval.__main__ import _parser as evaluation_parser
from scripts.pocket import samples
from trainers.engine import command_line

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "Makefile", "train.py")
PACKAGES = ("datasets", "elevater_eval", "prompting", "scripts", "toolkit", "trainers")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def commands(program: str) -> list[tuple[str, list[str]]]:
    """(document, arguments) of every `python <program> ...` in the documents."""
    pattern = re.compile(rf"(?:python|\$\(PY\)) {re.escape(program)}(?![\w.])([^`\n]*)")
    lines = [(name, line) for name in DOCUMENTS for line in pattern.findall((ROOT / name).read_text(encoding="utf-8"))]
    return [(name, shlex.split(line, comments=True)) for name, line in lines]


def between(text: str, marker: str) -> str:
    return text.split(f"<!-- {marker}:begin -->", 1)[1].split(f"<!-- {marker}:end -->", 1)[0].strip()


def repository_files() -> list[Path]:
    """Files under version control, or about to be."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def modules() -> list[str]:
    """Every module, by the name under which it is imported; those of toolkit/dassl only where that one runs."""
    names, built_in = ["train"], "built in" in toolkit.which_dassl()
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            if parts[:2] == ("toolkit", "dassl"):
                if not built_in:
                    continue
                parts = parts[1:]
            names.append(".".join(parts).removesuffix(".__init__"))
    return names


# -- documents ---------------------------------------------------------------------------------------------------


def test_folder_map_names_every_folder_and_nothing_else():
    section = README.split("## What is where", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"^    (\S+)  ", section, re.M)
    assert named and all((ROOT / name).exists() for name in named)
    tracked = {path.relative_to(ROOT).parts[0] for path in repository_files() if len(path.relative_to(ROOT).parts) > 1}
    assert {name for name in tracked if not name.startswith(".")} == {
        name.split("/")[0] for name in named if "/" in name
    }


def test_documents_link_only_to_what_exists():
    for text in (README, CONTRIBUTING):
        links = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
        assert all((ROOT / link).is_file() for link in links)
    assert "docs/pocket_tasks.png" in README
    assert (ROOT / "docs" / "pocket_tasks.png").stat().st_size < 700_000


@pytest.mark.parametrize(
    ("document", "argv"), commands("train.py"), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_training_commands_are_understood(document, argv):
    trainers.register_all()
    datasets.register_all()
    args = train.arguments().parse_args(argv)
    names = [name for names in (args.source or "", args.dataset or "") for name in names.split(",") if name]
    assert all(name in SPECS for name in names if name.startswith("pocket-"))
    if args.trainer in ("", "LowRank"):
        return  # the trainer is named by a run's file, or shown in CONTRIBUTING alone
    cfg = command_line.configuration(args)
    assert cfg.TRAINER.NAME == args.trainer


def test_there_are_training_commands_in_both_documents():
    count = {document: sum(name == document for name, _ in commands("train.py")) for document in DOCUMENTS}
    assert count["README.md"] >= 12 and count["CONTRIBUTING.md"] >= 4 and count["Makefile"] == 1


def test_other_commands_are_understood():
    evaluations = commands("-m elevater_eval")
    assert len(evaluations) >= 4
    for _, argv in evaluations:
        evaluation_parser().parse_args(argv)
    for text in (README, CONTRIBUTING):
        for module in re.findall(r"python -m (scripts\.\w+)", text):
            assert importlib.util.find_spec(module), module
        for target in re.findall(
            r"make ([a-z-]+)(?=[`\s])", "\n".join(re.findall(r"`make [^`]*`|^    make .*$", text, re.M))
        ):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M), target


def test_pocket_table_is_that_of_the_specifications():
    block = between(README, "tasks")
    assert block == samples.markdown()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]
    assert [row[0] for row in rows] == [spec.task for spec in SOURCES + TARGETS]
    for row in rows:
        spec = SPECS[row[0]]
        assert row[1:3] + row[4:7] == [spec.like, str(len(spec.classes)), str(spec.test), spec.metric, spec.layout]
    assert {row[0]: row[3] for row in rows}["pocket-digits"] == "1297"


def test_readme_states_the_results_of_the_study():
    table = json.loads((ROOT / "docs" / "study" / "table1.json").read_text(encoding="utf-8"))
    cells = {tuple(row["labels"]): row["cells"]["average"] for row in table["rows"]}
    methods = ("CoOp", "VPT", "UPT", "MCoOp", "MVPT", "MUPT")
    for shots in ("1", "5", "20"):
        values = [cells[shots, method] for method in methods]
        texts = [f"{value['mean']:.1f} ± {value['std']:.1f}" for value in values]
        line = f"| {shots} | {cells['0', 'zero-shot']['mean']:.1f} | {' | '.join(texts)} |"
        assert line in README
    results = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    for (shots, method), value in cells.items():
        shown = f"{value['mean']:.1f}" + (f" ± {value['std']:.1f}" if method != "zero-shot" else "")
        assert f"| {shots} | {method} | {shown} |" in results


def test_readme_has_each_marker_once():
    for marker in ("tasks", "backbones"):
        assert README.count(f"<!-- {marker}:begin -->") == README.count(f"<!-- {marker}:end -->") == 1
        between(README, marker)


def test_examples_of_contributing_work(tmp_path):
    """The trainer and the data set that CONTRIBUTING shows, together: a run over one task, in a process of its own."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for k, name in enumerate(("robin", "wren")):
            folder = tmp_path / "data" / "birds" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 90, (20, 24, 3)) + [150 * k, 60, 0]
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    blocks = re.findall(r"```python\n(# (?:trainers|datasets)/\w+\.py\n.*?)```", CONTRIBUTING, re.S)
    assert len(blocks) == 2
    argv = [
        "--trainer",
        "LowRank",
        "--root",
        str(tmp_path / "data"),
        "--dataset",
        "birds",
        "--shots",
        "5",
        "--seed",
        "0",
        "--output-dir",
        str(tmp_path / "run"),
        "OPTIM.MAX_EPOCH",
        "1",
    ]
    program = "\n".join(["import toolkit", *blocks, "import sys, train", f"sys.exit(train.main({argv!r}))"])
    done = in_process(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "predictions" / "seed0_birds.json").is_file()
    record = (tmp_path / "run" / "fewshot" / "birds.json").read_text()
    assert record.count("train/robin/") == record.count("train/wren/") == 5  # 4 for training, 1 for validation


# -- files -------------------------------------------------------------------------------------------------------

PATHS = re.compile(r"(?<![\w.:/-])/(?:(?:home|Users)/(?!me\b)|(?:root|work|mnt|tmp|scratch|media)/)\w|\b[A-Z]:\\\w")
HOSTS = re.compile(r"--(?:extra-)?index-url|--find[-]links")  # options that name a package registry


def test_no_file_names_a_path_of_one_machine_or_a_registry():
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match}" for pattern in (PATHS, HOSTS) for match in pattern.findall(text)]
    assert not found


def test_the_patterns_find_what_they_look_for():
    assert (
        PATHS.search('root = "/' + 'home/someone"')
        and PATHS.search("C" + ":\\Data")
        and HOSTS.search("pip install --index" + "-url x")
    )
    assert not PATHS.search("data/" + "home/x") and not PATHS.search("https://a.b/" + "root/x")


def test_asserts_are_in_tests_only():
    found = []
    for path in repository_files():
        if path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Assert)
            ]
    assert not found


# -- imports -----------------------------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, logging, os, random, socket, sys

def refuse(*args, **kwargs):
    raise RuntimeError("network access during import")

socket.socket.connect = socket.getaddrinfo = refuse
state = random.getstate()
import toolkit
for name in {names!r}:
    importlib.import_module(name)
import datasets, trainers
for _ in range(2):
    datasets.register_all()
    trainers.register_all()
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
if random.getstate() != state:
    raise RuntimeError("the random generator was touched")
if logging.getLogger().handlers:
    raise RuntimeError("logging was configured")
if os.listdir():
    raise RuntimeError(f"written during import: {{os.listdir()}}")
print(*TRAINER_REGISTRY.registered_names())
print(*DATASET_REGISTRY.registered_names())
"""


def in_process(program: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a program in `folder`, which is its home too."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)


def test_imports_do_nothing(tmp_path):
    names = modules()
    assert {"train", "toolkit", "trainers.base", "datasets.pocket", "elevater_eval.__main__", "scripts.pocket.samples"} <= set(
        names
    )
    done = in_process(IMPORT_ALL.format(names=names), tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout
    assert {"ZeroshotCLIP", "CoOp", "VPT", "UPT", "MCoOp", "MVPT", "MUPT", "MVLPT"} <= set(lines[0].split())
    assert set(SPECS) <= set(lines[1].split())
