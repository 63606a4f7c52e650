"""How the tree is built: imports follow the data, without circles; folders stay small;
functions, lines and words stay plain.
"""

import ast
import graphlib
import re
from pathlib import Path

import measure
import pytest
import words

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("elevater_eval", "prompting", "datasets", "trainers", "scripts", "toolkit")
WITHOUT_CIRCLES = ("trainers", "prompting", "datasets", "elevater_eval")
MAY_IMPORT = {  # package: the packages of ours that it may import
    "toolkit.common": set(),
    "toolkit.dassl": {"toolkit.common", "dassl"},
    "prompting": {"toolkit.common"},
    "elevater_eval": {"toolkit.common"},
    "datasets": {"toolkit.common", "toolkit", "dassl"},
    "trainers": {
        "toolkit.common",
        "toolkit",
        "dassl",
        "datasets",
        "prompting",
        "elevater_eval",
    },
}
OURS = {
    "toolkit.common",
    "toolkit.dassl",
    "toolkit",
    "dassl",
    "train",
    "tests",
    *PACKAGES,
}
MOST_ENTRIES = {"trainers": 12, "scripts": 12, "datasets": 16}
MOST_LONG_FUNCTIONS = 5
# "file:function" with more than 12 decision points, at most 5
LONG_FUNCTIONS: set[str] = set()


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts)


def source_files(*packages: str) -> dict[str, Path]:
    """Return the files of packages by module name."""
    files = []
    for package in packages:
        files += sorted((ROOT / package).rglob("*.py"))
    return {module_name(file): file for file in files}


def imports(file: Path) -> set[str]:
    """Return all that a file imports, also within functions, as absolute names: `a.b.c`
    for `from a.b import c`.
    """
    package = module_name(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package[: len(package) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def package_of(name: str) -> str:
    """Return the package of ours that holds an imported name, "" for another's."""
    parts = name.split(".")
    two = ".".join(parts[:2])
    if two in OURS:
        return two
    return parts[0] if parts[0] in OURS else ""


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return a circle of a graph, [] if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("package", WITHOUT_CIRCLES)
def test_no_import_circle(package):
    files = source_files(package)
    graph: dict[str, set[str]] = {}
    for name, file in files.items():
        targets = set()
        for target in imports(file):
            if target not in files:  # a function or class of a module
                target = target.rpartition(".")[0]
            targets.add(target)
        graph[name] = targets & files.keys() - {name}
    assert circle(graph) == []


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_follow_the_data(package):
    wrong = []
    for name, file in source_files(package.replace(".", "/")).items():
        for target in imports(file):
            owner = package_of(target)
            if owner and owner != package and owner not in MAY_IMPORT[package]:
                wrong.append(f"{name} imports {target}")
    assert wrong == []


def test_dassl_is_imported_as_dassl_only():
    files = source_files(*PACKAGES, "tests") | {"train": ROOT / "train.py"}
    wrong = []
    for name, file in files.items():
        absolute = [
            target for target in imports(file) if target.startswith("toolkit.dassl")
        ]
        if absolute and not name.startswith("toolkit.dassl"):
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("folder", MOST_ENTRIES)
def test_folders_are_small(folder):
    entries = [
        entry.name
        for entry in (ROOT / folder).iterdir()
        if entry.name not in ("__pycache__", ".gitignore")
    ]
    assert len(entries) <= MOST_ENTRIES[folder], sorted(entries)


@pytest.fixture(scope="module")
def measures() -> measure.Measures:
    return measure.measure(measure.source_files())


def test_few_functions_have_many_branches(measures):
    long = {
        name for count, name in measures.functions if count > measure.MOST_DECISIONS
    }
    assert len(LONG_FUNCTIONS) <= MOST_LONG_FUNCTIONS
    assert long == LONG_FUNCTIONS


def test_few_branches_are_hidden_in_expressions(measures):
    assert measures.hidden_share <= 40


def test_lines_are_plain(measures):
    assert measures.percentile(90) <= 16


@pytest.fixture(scope="module")
def counts() -> words.Counts:
    return words.count(words.python_files([]))


def test_docstrings_of_functions_begin_with_a_verb(counts):
    wrong = [text for text in counts.found if ": no verb: " in text]
    assert counts.public_verbs / counts.public >= 0.95, wrong
    assert counts.private_verbs / counts.private >= 0.95, wrong


@pytest.mark.parametrize("word", ["where", "what"])
def test_docstrings_and_comments_have_few_question_words(counts, word):
    assert counts.words > 50_000
    assert counts.per_thousand(word) <= 2


def test_names_and_phrases_are_standard(counts):
    wrong = [text for text in counts.found if re.search(": (name|phrase): ", text)]
    assert wrong == []


@pytest.mark.parametrize(
    ("docstring", "is_verb"),
    [
        ("Return the scores.", True),
        ("Name the nearest one.", True),
        ("Train and test.", True),
        ("Score of each class.", False),
        ("Name that is shown.", False),
        ("Returns the scores.", False),
        ("The scores.", False),
        ("What is scored.", False),
        ("Seconds.", False),
    ],
)
def test_nouns_are_no_verbs(docstring, is_verb):
    assert words.begins_with_verb(docstring) == is_verb


def test_words_are_found_in_docstrings_comments_names_and_strings():
    source = '''"""Say what."""

def own(places):
    """Return where it stands."""
    text = "it goes on"  # what for
    return text
'''
    tree = ast.parse(source)
    counts = words.Counts()
    words.count_verbs(counts, "a.py", tree)
    words.count_prose(counts, "a.py", source, tree)
    words.count_names(counts, "a.py", tree)
    assert counts.questions == {"where": 1, "what": 2} and counts.words == 8
    assert (counts.public, counts.public_verbs) == (1, 1)
    assert (counts.names, counts.phrases) == (2, 2)
