"""Prompts on the Hugging Face Hub: prompts.safetensors and a model card that is
generated from it. Only safetensors and text are exchanged, so that loading executes
nothing. Needs the package huggingface_hub.
"""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from prompting.checkpoints.prompt_files import load_prompts
from toolkit.common.structured import read_json
from toolkit.common.text import counted, printable, some

PREFIX = "hf:"
FILE = "prompts.safetensors"
RESULTS = "results.json"
CARD = "README.md"
MAX_SHOWN_CLASSES = 50
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")

CARD_TEXT = Path(__file__).with_name("model_card.md")


def push(
    path: str | os.PathLike,
    repository: str,
    private: bool = False,
    license_name: str = "",
) -> str:
    """Upload a prompt and its model card in one commit, and return the address of the
    model. path: a run's folder, whose results.json enters the card, or its
    prompts.safetensors. repository: USER/NAME, made if it is not there. Raises
    FileNotFoundError or ValueError if the prompt can't be read or the Hub refuses it.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    _check_name(repository)
    path = Path(path).expanduser()
    file = path / FILE if path.is_dir() else path
    card = model_card(file, repository, license_name)
    operations = [
        CommitOperationAdd(path_in_repo=FILE, path_or_fileobj=file.read_bytes()),
        CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=card.encode()),
    ]
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository, operations, commit_message="Upload a prompt"
        )
    except Exception as error:  # noqa: BLE001 - network, authorisation and wrong names each have their own kinds
        raise ValueError(f"can't upload to {repository}: {printable(error)}") from error
    return str(commit.repo_url)


def download(name: str) -> Path:
    """Return the local copy of the prompt `hf:USER/NAME` or `hf:USER/NAME@REVISION`,
    downloaded unless it is there. Raises FileNotFoundError if the Hub or the cache does
    not have it, and ValueError for a wrong name.
    """
    from huggingface_hub import hf_hub_download

    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    _check_name(repository)
    try:
        return Path(hf_hub_download(repository, FILE, revision=revision or None))
    except Exception as error:  # noqa: BLE001 - as above
        raise FileNotFoundError(
            f"can't download {FILE} of {name}: {printable(error)}"
        ) from error


def model_card(file: Path, repository: str, license_name: str = "") -> str:
    """Return the card of a prompt, with the scores of a results.json beside it."""
    prompt, metadata = load_prompts(file)
    records = (
        read_json(file.with_name(RESULTS)) if file.with_name(RESULTS).is_file() else []
    )
    entries = {
        "method": metadata.get("method"),
        "backbone": metadata.get("backbone"),
        "weights": metadata.get("pretrained"),
        "preprocessing": metadata.get("preprocessing"),
        "trained on": metadata.get("tasks"),
        "seed": metadata.get("seed"),
    }
    classes = metadata.get("classes")
    if isinstance(classes, dict):
        for task, names in classes.items():
            entries[f"classes of {task}"] = some(names, MAX_SHOWN_CLASSES)
    for record in records:
        entries[f"score on {record['task']}"] = _score(record)
    rows = [
        f"| {_cell(key)} | {_cell(value)} |" for key, value in entries.items() if value
    ]
    license_line = f"license: {json.dumps(license_name)}\n" if license_name else ""
    return CARD_TEXT.read_text(encoding="utf-8").format(
        license=license_line,
        name=repository.partition("/")[2],
        parameters=sum(parameter.numel() for parameter in prompt.parameters()),
        entries="\n".join(rows),
        repository=repository,
    )


def _score(record: dict[str, Any]) -> str:
    """Return the scores of a results.json's record, and the data of its training."""
    text = f"{record['score']:.1f} % {record['metric']}"
    images = record.get("test_images")
    if record["metric"] == "accuracy" and images:
        low, high = wilson_interval(record["score"] / 100, images)
        text += f" (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    if "zero_shot" in record:
        text += f" (zero-shot {record['zero_shot']:.1f} %)"
    return f"{text}, {counted(record['shots'], 'shot')}, seed {record['seed']}, {record.get('test_images', '?')} test images"


def wilson_interval(rate: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval of a rate in [0, 1] observed on `count` images."""
    middle = rate + z * z / (2 * count)
    half = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (middle - half) / scale, (middle + half) / scale


def _cell(value: object) -> str:
    """Return a value as a cell of a Markdown table in which nothing is markup."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    elif isinstance(value, dict):
        value = ", ".join(f"{key} {item}" for key, item in value.items())
    text = str(value)
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", printable(text, longest=5000))


def _check_name(repository: str) -> None:
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"{repository!r} is no model on the Hub; give USER/NAME")
