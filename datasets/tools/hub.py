"""Fetch the public copy of a set from the Hugging Face Hub, through huggingface_hub,
which resumes stopped downloads.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from datasets.catalog.entries import Entry
from toolkit.common.text import one_line

from .copies import find_copy

PATTERNS = {
    "wds": ["*.txt", "train/*", "val*/*", "test/*"],
    "parquet": ["*.parquet"],
}


def hub_form(entry: Entry) -> str:
    """Return the form of the public copy of a set that is read, "" if none is known."""
    for form in ("wds", "parquet", "zip"):
        copy = find_copy(entry, form)
        if copy and copy.repo:
            return form
    return ""


def fetch_copy(
    entry: Entry, folder: Path, revision: str = ""
) -> tuple[str, Path, str, str]:
    """Fetch the missing files of the public copy of a set, which has one, to a separate
    folder below `folder`.

    Returns:
        (form, path of the copy, repository, the commit that was read)

    Raises:
        ValueError: the Hub does not answer or has no such repository or revision.
    """
    form = hub_form(entry)
    copy = find_copy(entry, form)
    revision = revision or copy.revision
    target = folder / copy.repo.rpartition("/")[2]
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ValueError(
            "--from hub needs huggingface_hub: pip install huggingface_hub"
        ) from None
    try:
        hub = HfApi(os.environ.get("HF_ENDPOINT") or None)
        info = hub.repo_info(copy.repo, repo_type=copy.type, revision=revision)
        path, patterns = target, PATTERNS.get(form)
        if form == "zip":
            files = [file.rfilename for file in info.siblings or []]
            patterns = [find_zip(entry, files, copy.repo)]
            path = target / patterns[0]
        hub.snapshot_download(
            copy.repo,
            repo_type=copy.type,
            revision=info.sha,
            local_dir=target,
            allow_patterns=patterns,
        )
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - those of the HTTP client depend on huggingface_hub's version
        message = f"{copy.repo} ({revision}) could not be fetched from the Hub: {one_line(error)}"
        advice = f"With a local copy, use --from {form} --at PATH"
        raise ValueError(f"{message}. {advice}") from None
    return form, path, copy.repo, info.sha


def find_zip(entry: Entry, files: list[str], where: str) -> str:
    """Return the zip that is called as the set's folder, whatever the marks."""
    wanted = _plain(entry.folder)
    for file in files:
        if file.endswith(".zip") and _plain(Path(file).stem) == wanted:
            return file
    raise ValueError(f"{where} has no zip {entry.folder}.zip for {entry.name}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
