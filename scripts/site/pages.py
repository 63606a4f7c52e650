"""A hook of mkdocs (mkdocs.yml): the Markdown files of the repository's root become
pages, and links to them stay right.

README.md is the first page. A link from docs/ to ../RESULTS.md leads to results.md on
the site, one from README.md to docs/training.md to training.md.
"""

import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "RESULTS.md": "results.md",
    "BENCHMARKS.md": "speed.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}  # file of the root -> page of the site
FILES = ("LICENSE", "CITATION.cff")  # files of the root that pages link to
LINK = re.compile(r"\]\((?:\.\./|docs/)?([\w./-]+?)((?:#[\w-]*)?)\)")


def rewrite_links(markdown: str) -> str:
    """Return Markdown whose links to root files and docs/ lead to the site's pages."""

    def rewrite(match: re.Match) -> str:
        path, anchor = match.groups()
        return f"]({PAGES.get(path, path)}{anchor})"

    return LINK.sub(rewrite, markdown)


def on_files(files: Files, config) -> Files:
    """Add the pages and files of the repository's root."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for name in FILES:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """Return a page with the links of the site."""
    return rewrite_links(markdown)
