"""CLIP models on the Hugging Face Hub: the few files that `load_backbone` reads, from
the cache or the network.
"""

import re
from collections.abc import Callable
from pathlib import Path

from prompting.backbones import transformers_layout
from toolkit.common.text import first_line

PREFIX = "hf-hub:"
# the files of repositories of open_clip models beside the weights
CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def is_repository(name: str) -> bool:
    """Return True for USER/NAME, with or without "hf-hub:" before it and "@REVISION"
    behind it.
    """
    return bool(_NAME.fullmatch(name.removeprefix(PREFIX)))


def download(name: str, check: Callable[[Path], None]) -> Path:
    """Return the local folder of a model: USER/NAME or USER/NAME@REVISION, with or
    without "hf-hub:" before it. check: is called with the folder when its configuration
    is there, before the weights are downloaded. Raises ValueError for another form, or
    FileNotFoundError if the model is neither in the cache nor on the network.
    """
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if not is_repository(name):
        raise ValueError(
            f"{name!r} is no model of the Hugging Face Hub: hf-hub:USER/NAME is"
        )
    folder = _get_of_model(repository, revision, "*.json")
    check(folder)
    names = [*transformers_layout.WEIGHTS]
    if (folder / CONFIG).is_file():
        names = [*WEIGHTS, *names]
    for weights in names:
        stem, suffix = weights.rsplit(".", 1)
        _get_of_model(repository, revision, weights, f"{stem}-*-of-*.{suffix}")
        has_shards = (folder / f"{weights}.index.json").is_file()
        if has_shards or (folder / weights).is_file():
            break
    return folder


def _get_of_model(repository: str, revision: str, *patterns: str) -> Path:
    try:
        return get(repository, revision, *patterns)
    except Exception as error:  # noqa: BLE001 - network, authorisation and wrong names each have their own kinds
        raise FileNotFoundError(
            f"the model {repository} of the Hugging Face Hub is not available here ({first_sentence(error)}); a folder with "
            "its files can be the backbone, too"
        ) from error


def check_reachable(repository: str) -> None:
    """Raise ConnectionError if a model's weights are not in the cache and the Hub does
    not answer. Without this check, huggingface_hub tries each file six times, for more
    than a minute.
    """
    from huggingface_hub import constants, get_session, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE:
        return
    for name in WEIGHTS:
        if isinstance(try_to_load_from_cache(repository, name), str):
            return
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # noqa: BLE001 - as above
        raise ConnectionError(
            f"{constants.ENDPOINT} does not answer: {first_sentence(error)}"
        ) from error


def get(repository: str, revision: str, *patterns: str) -> Path:
    """Return the local folder with the files of a model that fit the patterns. Raises
    the errors of huggingface_hub.
    """
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        repository, revision=revision or None, allow_patterns=list(patterns)
    )
    return Path(folder)


def first_sentence(error: Exception) -> str:
    """Return the beginning of an error's message."""
    return first_line(error).partition(". ")[0]
