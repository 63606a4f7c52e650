"""CLIP models on the Hugging Face Hub: the few files that `load_backbone` reads, from
the cache or the network.
"""

import re
from pathlib import Path

from prompting.backbones import transformers_layout

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


def download(name: str) -> Path:
    """Return the local folder of a model: USER/NAME or USER/NAME@REVISION, with or
    without "hf-hub:" before it.

    Raises ValueError for another form, or FileNotFoundError if the model is neither in
    the cache nor on the network.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if not is_repository(name):
        raise ValueError(
            f"{name!r} is no model of the Hugging Face Hub: hf-hub:USER/NAME is"
        )

    def get(*patterns: str) -> Path:
        return Path(
            snapshot_download(
                repository, revision=revision or None, allow_patterns=list(patterns)
            )
        )

    try:
        folder = get("*.json")
        names = [*transformers_layout.WEIGHTS]
        if (folder / CONFIG).is_file():
            names = [*WEIGHTS, *names]
        for weights in names:
            stem, suffix = weights.rsplit(".", 1)
            get(weights, f"{stem}-*-of-*.{suffix}")
            if (folder / weights).is_file() or (
                folder / f"{weights}.index.json"
            ).is_file():
                break
    except Exception as error:  # noqa: BLE001 - network, authorisation and wrong names each have their own kinds
        first_line = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"the model {repository} of the Hugging Face Hub cannot be had here ({first_line[:200]}); a folder with its files "
            "can be the backbone, too"
        ) from error
    return folder
