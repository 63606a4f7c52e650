"""The repository as a whole: the promises of documents, words that files must not hold,
and that importing does nothing.
"""

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
from prompting.__main__ import build_parser as prompt_parser
from scripts.pocket import samples
from scripts.study import gains
from trainers.engine import command_line

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")
)
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "RESULTS.md",
    "BENCHMARKS.md",
    "Makefile",
    "train.py",
    *PAGES,
)
PACKAGES = ("datasets", "elevater_eval", "prompting", "scripts", "toolkit", "trainers")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
README, CONTRIBUTING = TEXTS["README.md"], TEXTS["CONTRIBUTING.md"]
SHOWN = {"ShallowVPT", "LowRank"}  # trainers that CONTRIBUTING shows how to write


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Return (document, arguments) of every `python <program> ...` in the documents."""
    pattern = re.compile(rf"(?:python|\$\(PY\)) {re.escape(program)}(?![\w.])([^`\n]*)")
    found = []
    for name, text in TEXTS.items():
        if name == "docs/errors.md":  # commands that are wrong
            continue
        for line in pattern.findall(text.replace("\\\n", " ")):
            if "--help" not in line:
                found.append((name, shlex.split(line, comments=True)))
    return found


def between(text: str, marker: str) -> str:
    return (
        text.split(f"<!-- {marker}:begin -->", 1)[1]
        .split(f"<!-- {marker}:end -->", 1)[0]
        .strip()
    )


def repository_files() -> list[Path]:
    """Return files under version control, or about to be."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def modules() -> list[str]:
    """Return every module, by the name under which it is imported; those of
    toolkit/dassl only if that one runs.
    """
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


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1200


def test_the_folder_map_names_every_folder_and_nothing_else():
    named = re.findall(r"^    ([\w.]+/|train\.py)  ", README, re.M)
    assert named and all((ROOT / name).exists() for name in named)
    tracked = {
        path.relative_to(ROOT).parts[0]
        for path in repository_files()
        if len(path.relative_to(ROOT).parts) > 1
    }
    folders = {name for name in tracked if not name.startswith(".")}
    assert folders == {name.split("/")[0] for name in named if "/" in name}


@pytest.mark.parametrize(
    "document", [name for name in DOCUMENTS if name.endswith(".md")]
)
def test_documents_link_only_to_what_exists(document):
    folder = (ROOT / document).parent
    for link in re.findall(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)", TEXTS[document]):
        assert (folder / link).is_file(), link


def test_the_picture_of_the_tasks_is_small():
    assert "pocket_tasks.png" in TEXTS["docs/datasets.md"]
    assert (ROOT / "docs" / "pocket_tasks.png").stat().st_size < 700_000


def test_the_readme_links_to_every_page():
    for page in PAGES:
        assert f"({page})" in README, page


@pytest.mark.parametrize(
    ("document", "argv"),
    commands("train.py"),
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_training_commands_are_understood(document, argv, monkeypatch):
    trainers.register_all()
    datasets.register_all()
    monkeypatch.setenv("MVLPT_IMPORT", "")  # --import adds to it
    # there are no such files
    monkeypatch.setattr(command_line, "named_tasks", lambda names, flag: names or "")
    args = train.arguments().parse_args(argv)
    names = [
        name
        for names in (args.source or "", args.dataset or "")
        for name in names.split(",")
        if name
    ]
    assert all(name in SPECS for name in names if name.startswith("pocket-"))
    if args.list_keys or args.trainer in ("", *SHOWN):
        return  # the trainer is named by a run's file, or shown in CONTRIBUTING alone
    args.model_dir = ""  # nor such a run
    cfg = command_line.configuration(args)
    assert cfg.TRAINER.NAME == args.trainer


def test_there_are_training_commands_in_the_documents():
    documents = [name for name, _ in commands("train.py")]
    assert documents.count("Makefile") == 2
    assert documents.count("README.md") >= 5
    assert documents.count("CONTRIBUTING.md") >= 4
    assert documents.count("docs/training.md") >= 12


def test_other_commands_are_understood():
    evaluations = commands("-m elevater_eval")
    assert len(evaluations) >= 4
    for _, argv in evaluations:
        evaluation_parser().parse_args(argv)
    uses = commands("-m prompting")
    assert len(uses) >= 8
    for _, argv in uses:
        prompt_parser().parse_args(argv)
    makefile = TEXTS["Makefile"]
    for text in TEXTS.values():
        for module in re.findall(r"python -m (scripts(?:\.\w+)+)", text):
            assert importlib.util.find_spec(module), module
        shown = "\n".join(re.findall(r"`make [^`]*`|^    make .*$", text, re.M))
        for target in re.findall(r"make ([a-z-]+)(?=[`\s])", shown):
            assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_pocket_table_is_that_of_the_specifications():
    block = between(TEXTS["docs/datasets.md"], "tasks")
    assert block == samples.markdown()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in block.splitlines()[2:]
    ]
    assert [row[0] for row in rows] == [spec.task for spec in SOURCES + TARGETS]
    for row in rows:
        spec = SPECS[row[0]]
        assert row[1:3] + row[4:7] == [
            spec.like,
            str(len(spec.classes)),
            str(spec.test),
            spec.metric,
            spec.layout,
        ]
    assert {row[0]: row[3] for row in rows}["pocket-digits"] == "1297"


def test_results_state_the_scores_of_the_study():
    table = json.loads(
        (ROOT / "docs" / "study" / "table1.json").read_text(encoding="utf-8")
    )
    results = TEXTS["RESULTS.md"]
    for row in table["rows"]:
        shots, method = row["labels"]
        value = row["cells"]["average"]
        shown = f"{value['mean']:.1f}"
        if not method.startswith("zero-shot"):
            shown += f" ± {value['std']:.1f}"
        assert f"| {shots} | {method} | {shown} |" in results


def test_the_readme_states_the_scores_of_the_recommended_trainers():
    file = ROOT / "docs" / "study" / "anchored.json"
    if not file.is_file():
        pytest.skip("no docs/study/anchored.json")
    records = json.loads(file.read_text(encoding="utf-8"))["trainers"]
    assert between(README, "gains") == gains.markdown(records).strip()


def test_the_page_of_configuration_keys_is_up_to_date():
    # in a separate process: other tests register trainers with further keys
    code = "from scripts.site import configuration; print(configuration.markdown())"
    command = [sys.executable, "-c", code]
    page = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    assert page.stdout == TEXTS["docs/configuration.md"] + "\n", (
        "run python -m scripts.site.configuration"
    )


@pytest.mark.parametrize(
    ("document", "marker"),
    [
        ("docs/datasets.md", "tasks"),
        ("docs/backbones.md", "backbones"),
        ("README.md", "gains"),
        ("CONTRIBUTING.md", "measures"),
    ],
)
def test_each_marker_is_there_once(document, marker):
    text = TEXTS[document]
    assert (
        text.count(f"<!-- {marker}:begin -->")
        == text.count(f"<!-- {marker}:end -->")
        == 1
    )
    between(text, marker)


def test_links_of_the_root_and_of_the_pages_lead_to_the_site():
    pages = pytest.importorskip("scripts.site.pages")
    text = "[a](docs/training.md#resume) [b](../RESULTS.md) [c](https://x.y/docs/a.md) ![d](docs/study/gains.png) [e](methods.md#apt)"
    expected = "[a](training.md#resume) [b](results.md) [c](https://x.y/docs/a.md) ![d](study/gains.png) [e](methods.md#apt)"
    assert pages.rewrite_links(text) == expected


def examples() -> dict[str, str]:
    """Return the Python blocks of CONTRIBUTING by their path."""
    return {
        path: text
        for text, path in re.findall(
            r"```python\n(# ([\w/]+\.py).*?)```", CONTRIBUTING, re.S
        )
    }


def test_examples_of_contributing_are_short():
    shown = examples()
    assert len(shown) == 5
    for path, text in shown.items():
        lines = [line for line in text.splitlines()[1:] if line.strip()]
        assert len(lines) <= 15, path


def write_birds(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for k, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 90, (20, 24, 3)) + [150 * k, 60, 0]
                Image.fromarray(pixels.astype(np.uint8)).save(
                    folder / split / name / f"{number}.png"
                )


def test_examples_of_contributing_work(tmp_path):
    """Run the trainers and the data set that CONTRIBUTING shows, as plugins, over one
    task in another process.
    """
    write_birds(tmp_path / "data" / "birds")
    imports = ""
    for path, text in examples().items():
        if "test_" not in path:
            (tmp_path / Path(path).name).write_text(text)
    for name in ("lowrank", "shallow", "birds"):
        imports += f" --import {name}.py"
    program = "import train\n"
    for trainer in ("LowRank", "ShallowVPT"):
        command = f"--trainer {trainer} --root data --dataset birds --shots 5 --seed 0 --output-dir {trainer}{imports} OPTIM.MAX_EPOCH 1"
        program += f"assert train.main({command.split()!r}) == 0\n"
    done = in_process(program, tmp_path)
    assert done.returncode == 0, done.stderr
    for trainer in ("LowRank", "ShallowVPT"):
        run = tmp_path / trainer
        assert (run / "predictions" / "seed0_birds.json").is_file()
        record = (run / "fewshot" / "birds.json").read_text()
        # 4 for training, 1 for validation
        assert record.count("train/cat/") == record.count("train/dog/") == 5


@pytest.mark.long
def test_the_tutorial_runs(tmp_path):
    """Run the commands and the Python of docs/tutorial.md in order, from its second
    section on.
    """
    text = TEXTS["docs/tutorial.md"].split("## 2.", 1)[1]
    for block, command in re.findall(
        r"```python\n(.*?)```|^    (python [^\n]*)$", text, re.S | re.M
    ):
        argv = ["-c", block] if block else shlex.split(command)[1:]
        if argv[0] == "train.py":
            argv[0] = str(ROOT / "train.py")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *argv],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert (tmp_path / "output" / "two" / "report.html").is_file()


@pytest.mark.long
def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        shlex.split(
            f"{sys.executable} -m mkdocs build --quiet --strict "
            f"--site-dir {tmp_path}/site"
        ),
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    # nothing is loaded from elsewhere
    assert not re.search(r'(?:src|rel="stylesheet" href)="https?://', page)


# -- files -------------------------------------------------------------------------------------------------------

PATHS = re.compile(
    r"(?<![\w.:/-])/(?:(?:home|Users)/(?!me\b)|(?:root|work|mnt|tmp|scratch|media)/)\w|\b[A-Z]:\\\w"
)
# options that name a package registry
HOSTS = re.compile(r"--(?:extra-)?index-url|--find[-]links")


def test_no_file_names_a_path_of_one_machine_or_a_registry():
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}: {match}"
            for pattern in (PATHS, HOSTS)
            for match in pattern.findall(text)
        ]
    assert not found


def test_the_patterns_find_what_they_look_for():
    assert (
        PATHS.search('root = "/' + 'home/someone"')
        and PATHS.search("C" + ":\\Data")
        and HOSTS.search("pip install --index" + "-url x")
    )
    assert not PATHS.search("data/" + "home/x") and not PATHS.search(
        "https://a.b/" + "root/x"
    )


def test_asserts_are_in_tests_only():
    found = []
    for path in repository_files():
        if path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Assert)
            ]
    assert not found


# -- imports -----------------------------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, logging, os, random, socket, sys
from collections import defaultdict

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
files = defaultdict(set)
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    if file.startswith({root!r}) and ".venv" not in file:
        files[file].add(name)
twice = {{file: names for file, names in files.items() if len(names) > 1}}
if twice or len(files) < 100:
    raise RuntimeError(f"of {{len(files)}} modules are loaded under two names: {{twice}}")
if sys.modules["dassl.engine.build"].TRAINER_REGISTRY is not TRAINER_REGISTRY:
    raise RuntimeError("there are two registries of trainers")
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
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_imports_do_nothing_and_load_each_module_once(tmp_path):
    names = modules()
    assert {
        "train",
        "toolkit",
        "trainers.base",
        "datasets.pocket",
        "elevater_eval.__main__",
        "scripts.pocket.samples",
    } <= set(names)
    done = in_process(IMPORT_ALL.format(names=names, root=f"{ROOT}{os.sep}"), tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout
    assert {
        "ZeroshotCLIP",
        "CoOp",
        "VPT",
        "UPT",
        "MCoOp",
        "MVPT",
        "MUPT",
        "MVLPT",
    } <= set(lines[0].split())
    assert set(SPECS) <= set(lines[1].split())
