"""Measure the English of docstrings and comments, and find names that the style bans:
`python tests/words.py [FOLDER_OR_FILE...]` prints a table; `--list` adds each finding.

- A docstring of a function begins with a verb if its first word is in `VERBS`, in the
  imperative. A verb that is a noun as well (`NOUNS_TOO`: "name", "score") counts only
  if no word follows that makes it a noun ("Name of ...", "Score for ...", "Count: ...").
- "where" and "what" are counted in docstrings of modules, classes and functions, and in
  comments.
- `BANNED_NAMES` are identifiers, `BANNED_PHRASES` are looked for in docstrings, comments
  and, outside tests, in all strings.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "toolkit",
    "elevater_eval",
    "prompting",
    "datasets",
    "trainers",
    "scripts",
    "tests",
)
VERBS = set(
    """
    accept act add advance allow answer append apply assert assign average backpropagate
    begin bind block bound build call cancel catch change check choose classify clear
    close collect combine compare complete compose compute concatenate connect construct
    continue convert copy count create crop cut damage decode delete describe detach
    disable discard divide do download draw drop enable encode end enter evaluate execute
    exit expand expect export extend extract fail fetch fill find finish fit flip flush follow forget
    format free freeze gather generate get give go group handle have hold ignore import
    initialise insert install interpolate interrupt iterate join keep kill leave let
    limit link list load lock log look lower make map mark mask measure merge mix move
    multiply name normalise open order overwrite pack pad parse pass pick place plan plot
    prepare prevent print process project put query queue raise rank read rebuild receive
    record redirect reduce refuse register reject release remove rename render repeat
    replace report require reset reshape resize resolve restore restrict resume return
    reuse round run sample save scale score seed select send serve set settle show shut
    skip solve sort split start step stop store submit sum switch take terminate test
    time train transform translate treat try turn undo unfreeze unpack update upload use
    validate verify wait walk warn wrap write yield zero zip
    """.split()
)
NOUNS_TOO = set(
    """
    answer average block call cancel change check copy count cut damage draw drop end
    exit export fit format group hold import list load lock log look map mark mask
    measure mix move name order pad pass place plan plot process project query queue
    rank record report return reuse round run sample scale score set show skip sort
    split start step stop store sum switch test time transform try turn use wait
    walk zip
    """.split()
)
MAKES_A_NOUN = {"of", "that", "which", "is", "are", "was", "has", "and", "or"}
# today -> (standard, scope of the ban): the style's table. "" bans it as any
# identifier, "def" as the name of a function, class or module, the beginning of
# a path as any identifier below it. In other scopes the word has its usual meaning.
BANNED_NAMES = {
    "Batches": ("FeatureDataset", ""),
    "FeatureRows": ("LazyFeatures", ""),
    "Features": ("LazyFeatures", ""),
    "Frozen": ("FrozenFeatures", ""),
    "LOCAL": ("MACHINE_KEYS", ""),
    "NEVER": ("MASKED_LOGIT", ""),
    "RECIPES": ("BACKBONE_CONFIGS", ""),
    "Recent": ("LRUCache", ""),
    "TWINS": ("ALIASED_KEYS", ""),
    "alone": ("exclusive_lock", "def"),
    "carve_val": ("split_val", ""),
    "changed": ("with_overrides", "def"),
    "chunk": ("max_tokens", "prompting/"),
    "compare": ("reference_scores", "trainers/"),
    "contents": ("check_images", "def"),
    "cut": ("trim_padding", ""),
    "draw": ("sample", "prompting/"),
    "facts": ("metadata", ""),
    "findings": ("report", "def"),
    "finish": ("attention_output_and_mlp", "prompting/"),
    "forms": ("unpack", "def"),
    "frozen": ("get_backbone", "def"),
    "hidden": ("causal_mask", "prompting/text_tower"),
    "is_own": ("is_custom", ""),
    "joint": ("multitask", ""),
    "keep": ("max_cached_classes", ""),
    "kinds": ("fine_grained", "datasets/pocket/"),
    "listings": ("lenient_readers", "def"),
    "notes": ("warnings", ""),
    "own": ("custom", ""),
    "own_images": ("image_folder, csv", ""),
    "picture": ("image, plot", ""),
    "pictures": ("images, plots", ""),
    "places": ("positions, tokens", ""),
    "problems": ("issues", ""),
    "project": ("qkv", "def"),
    "put_aside": ("replaced_on_success", ""),
    "refusal": ("unsupported_reason", ""),
    "room": ("cache budget", ""),
    "shareable": ("without_local_paths", ""),
    "take": ("set_split", ""),
    "things": ("objects", ""),
    "views": ("scenery", "datasets/pocket/"),
    "written_whole": ("atomic_write", ""),
}
ALIASES = {"elevater_eval/issues.py": {"problems"}}  # public for one more version
BANNED_PHRASES = re.compile(
    r"\b(learnt|anew|go(?:es|ing)? on|of (?:one's|its|their) own(?! \w)|can't be had"
    r"|of others|anyone's|told|lies|stands?(?! (?:in )?for))\b",
    re.IGNORECASE,
)
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
NOT_PROSE = re.compile(r"#\s*(noqa|type:|pragma|!)")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Counts:
    """The counts over some files."""

    public: int = 0  # docstrings of functions without a leading "_"
    public_verbs: int = 0
    private: int = 0
    private_verbs: int = 0
    words: int = 0
    questions: Counter = field(default_factory=Counter)  # of "where" and "what"
    names: int = 0
    phrases: int = 0
    found: list[str] = field(default_factory=list)  # "file:line: text"

    @property
    def verbs_percent(self) -> float:
        """Return the docstrings of functions that begin with a verb, in percent."""
        verbs = self.public_verbs + self.private_verbs
        return percent(verbs, self.public + self.private)

    def per_thousand(self, word: str) -> float:
        """Return how often "where" or "what" occurs in 1,000 words."""
        return 1000 * self.questions[word] / max(self.words, 1)


def percent(part: int, total: int) -> float:
    """Return a share in percent, 100 of nothing."""
    return 100 * part / total if total else 100.0


def begins_with_verb(docstring: str) -> bool:
    """Return True if the first word of a docstring is a verb in the imperative."""
    first, second, *_ = [*docstring.split(maxsplit=2), "", ""]
    word = first.rstrip(",.;").lower()
    if word not in VERBS:
        return False
    return word not in NOUNS_TOO or second not in MAKES_A_NOUN


def python_files(paths: list[str]) -> list[Path]:
    """Return the Python files of the checkout, or those below `paths`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(
        [*command, *(paths or ["*.py"])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [
        ROOT / name
        for name in sorted(set(done.stdout.splitlines()))
        if name.endswith(".py")
    ]
    return [file for file in files if file.is_file()]


def count(files: list[Path]) -> Counts:
    """Count over some files."""
    counts = Counts()
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source)
        count_verbs(counts, name, tree)
        count_prose(counts, name, source, tree)
        count_names(counts, name, tree)
    return counts


def count_verbs(counts: Counts, name: str, tree: ast.Module) -> None:
    """Count the docstrings of functions, and those that begin with a verb."""
    for node in ast.walk(tree):
        docstring = ast.get_docstring(node) if isinstance(node, Function) else None
        if docstring is None:
            continue
        is_verb = begins_with_verb(docstring)
        if node.name.startswith("_"):
            counts.private += 1
            counts.private_verbs += is_verb
        else:
            counts.public += 1
            counts.public_verbs += is_verb
        if not is_verb:
            first = docstring.splitlines()[0]
            counts.found.append(f"{name}:{node.lineno}: no verb: {first}")


def count_prose(counts: Counts, name: str, source: str, tree: ast.Module) -> None:
    """Count words, "where", "what" and banned phrases of docstrings and comments."""
    for line, text in prose(source, tree):
        counts.words += len(WORD.findall(text))
        for match in re.finditer(r"\b(where|what)\b", text, re.IGNORECASE):
            word = match[1].lower()
            counts.questions[word] += 1
            counts.found.append(f"{name}:{line}: {word}: {around(text, match)}")
    texts = list(prose(source, tree))
    if not name.startswith("tests/"):
        texts = [*comments(source), *strings(tree)]
    for line, text in texts:
        for match in BANNED_PHRASES.finditer(text):
            counts.phrases += 1
            counts.found.append(f"{name}:{line}: phrase: {around(text, match)}")


def prose(source: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the docstrings and comments of a file, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef | ast.Module):
            docstring = ast.get_docstring(node)
            if docstring is not None:
                yield node.body[0].lineno, docstring
    yield from comments(source)


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a file, without those for tools, each with its line."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not NOT_PROSE.match(token.string):
            yield token.start[0], token.string


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the strings of a file, docstrings among them, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def around(text: str, match: re.Match) -> str:
    """Return a match with 40 characters on either side, on one line."""
    part = text[max(0, match.start() - 40) : match.end() + 40]
    return " ".join(part.split())


def count_names(counts: Counts, name: str, tree: ast.Module) -> None:
    """Count definitions of banned names: a file, functions, classes, variables."""
    defined = [(1, Path(name).stem, True)]
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef):
            defined.append((node.lineno, node.name, True))
        elif isinstance(node, ast.arg):
            defined.append((node.lineno, node.arg, False))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.append((node.lineno, node.id, False))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            defined.append((node.lineno, node.attr, False))
    for line, identifier, is_definition in defined:
        standard = banned(identifier, name, is_definition)
        if standard:
            counts.names += 1
            counts.found.append(f"{name}:{line}: name: {identifier} -> {standard}")


def banned(identifier: str, file: str, is_definition: bool) -> str:
    """Return the standard name for a banned identifier of a file, "" for others.

    `is_definition`: it names a function, a class or the file.
    """
    if identifier not in BANNED_NAMES or identifier in ALIASES.get(file, set()):
        return ""
    standard, scope = BANNED_NAMES[identifier]
    if scope == "def":
        return standard if is_definition else ""
    return standard if file.startswith(scope) else ""


def row(folder: str, counts: Counts) -> str:
    """Return a row of the table for one folder."""
    cells = [
        folder,
        f"{percent(counts.public_verbs, counts.public):.1f} %",
        f"{percent(counts.private_verbs, counts.private):.1f} %",
        f"{counts.per_thousand('where'):.1f}",
        f"{counts.per_thousand('what'):.1f}",
        str(counts.names),
        str(counts.phrases),
    ]
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Print the table for each folder, or for the paths on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--list", action="store_true", help="print each finding, too")
    args = parser.parse_args()
    sys.stdout.write(
        "| folder | verbs, public | verbs, private | where | what | names | phrases |\n"
        "|---|---:|---:|---:|---:|---:|---:|\n"
    )
    for folder in args.paths or ["*.py", *FOLDERS]:
        counts = count(python_files([folder]))
        sys.stdout.write(row("all" if folder == "*.py" else folder, counts))
        if args.list:
            sys.stdout.writelines(f"{text}\n" for text in sorted(counts.found))


if __name__ == "__main__":
    main()
