"""The package `mvlpt`: its metadata agree with the requirements, and it works without
the checkout.
"""

import json
import re
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from tests.fresh_environment import outside
from tests.prompting import service

ROOT = Path(__file__).resolve().parents[1]
# needed by datasets, trainers and scripts alone
OF_THE_CHECKOUT = {"scipy", "yacs", "gdown"}
HEAVY = (
    "torch",
    "open_clip",
    "torchvision",
    "matplotlib",
    "scipy",
    "sklearn",
    "timm",
    "dassl",
    "sympy",
    "ray",
)
COMMANDS = (
    "train.py --help",
    "-m prompting --help",
    "-m prompting serve --help",
    "-m elevater_eval --help",
    "-m datasets --help",
    "-m datasets list",
)
COUNT = """
import json, runpy, sys
sys.path.insert(0, ".")
argv = sys.argv[1:]
try:
    if argv[0] == "-m":
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")
except SystemExit as end:
    if end.code:
        raise
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def commands_of_scripts() -> list[str]:
    """Return `-m MODULE --help` of every module in scripts/ that is a command."""
    commands = []
    for file in sorted((ROOT / "scripts").rglob("*.py")):
        if '__name__ == "__main__"' in file.read_text(encoding="utf-8"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            module = ".".join(parts).removesuffix(".__main__")
            commands.append(f"-m {module} --help")
    return commands


def read_requirements(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").split("\n")
    return {
        line.strip()
        for line in lines
        if line.strip() and not line.startswith(("-r", "#"))
    }


def pyproject() -> dict:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements) -> set[str]:
    return {re.split(r"[><=~!\[; ]", requirement)[0] for requirement in requirements}


def test_requirements_and_extras_agree():
    metadata = pyproject()["project"]
    extras = metadata["optional-dependencies"]
    needed = {*metadata["dependencies"], *extras["report"]}
    in_checkout = read_requirements("requirements.txt")
    assert needed <= in_checkout and names(in_checkout - needed) == OF_THE_CHECKOUT
    optional = set()
    for extra, requirements in extras.items():
        if extra != "report":
            optional.update(requirements)
    assert optional == read_requirements("requirements-dev.txt")


def test_every_package_and_its_data_are_listed():
    tool = pyproject()["tool"]["setuptools"]
    found = {"toolkit.common"}
    for package in ("prompting", "elevater_eval"):
        for file in (ROOT / package).rglob("__init__.py"):
            found.add(".".join(file.parent.relative_to(ROOT).parts))
    assert set(tool["packages"]) == found
    listed = set()
    for package, patterns in tool["package-data"].items():
        folder = ROOT.joinpath(*package.split("."))
        for pattern in patterns:
            matches = set(folder.glob(pattern))
            assert matches, (package, pattern)
            listed |= matches
    others = set()
    for package in ("prompting", "elevater_eval", "toolkit/common"):
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and file.suffix not in (".py", ".pyc"):
                others.add(file)
    assert listed == others


def test_commands_exist():
    for target in pyproject()["project"]["scripts"].values():
        module, function = target.split(":")
        assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("command", [*COMMANDS, *commands_of_scripts()])
def test_help_imports_nothing_heavy(command):
    argv = [sys.executable, "-c", COUNT, *command.split()]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 100
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & set(HEAVY)
    assert len(loaded) < 500


@pytest.mark.long
def test_the_wheel_holds_the_two_packages_and_what_they_need(fresh):
    _, wheel, _ = fresh
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        typed = {
            "prompting/py.typed",
            "elevater_eval/py.typed",
            "toolkit/common/py.typed",
        }
        data = {
            "prompting/pocket/model.safetensors",
            "prompting/serve/page.html",
            "prompting/commands.yaml",
            "prompting/backbones/aliases.yaml",
            "prompting/backbones/openai.yaml",
            "prompting/backbones/transformers.yaml",
            "prompting/checkpoints/official_names.yaml",
            "prompting/model_card.md",
            "elevater_eval/tasks.json",
        }
        assert typed | data <= files
        assert all(
            name.startswith(("prompting/", "elevater_eval/", "toolkit/common/"))
            for name in files
        )


@pytest.mark.long
def test_installed_packages_work_outside_the_checkout(fresh):
    folder, _, programs = fresh
    site = str(programs.parent)
    program = """
import sys, elevater_eval, prompting, toolkit.common.files
for module in (elevater_eval, prompting, toolkit.common.files):
    print(module.__file__)
print(hasattr(toolkit, "which_dassl"), any(path.endswith("toolkit") for path in sys.path), "torch" in sys.modules)
print(prompting.load_pocket().preprocessing.size, len(elevater_eval.load_tasks()) > 20)
"""
    lines = outside(folder, programs / "python", "-c", program).splitlines()
    assert all(line.startswith(site) for line in lines[:3])
    assert lines[3:] == ["False False False", "48 True"]
    prompt = service.save_pocket_prompt(folder / "prompt")
    image = folder / "a.png"
    image.write_bytes(service.encoded_image(1))
    installed = outside(folder, programs / "mvlpt-predict", prompt, image, "--json")
    here = outside(
        ROOT, sys.executable, "-m", "prompting", "predict", prompt, image, "--json"
    )
    assert json.loads(installed) == json.loads(here) and "circle" in installed
    assert "--max-images" in outside(folder, programs / "mvlpt-serve", "--help")
    assert "validate" in outside(folder, programs / "elevater-eval", "--help")


@pytest.mark.long
def test_the_checkout_wins_in_its_own_folder(fresh):
    _, _, programs = fresh
    program = "import prompting, toolkit; print(toolkit.which_dassl()); print(prompting.__file__)"
    dassl, module = outside(ROOT, programs / "python", "-c", program).splitlines()
    assert dassl.startswith(("toolkit/dassl", "dassl ")) and module == str(
        ROOT / "prompting" / "__init__.py"
    )
