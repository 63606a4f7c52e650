"""Tokenizers of text towers that do not read CLIP's byte pairs, such as SigLIP's: a
tokenizer.json, run by the package `tokenizers`.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prompting.backbones import hub_models
from prompting.tokens import Tokenizer, clip_tokenizer
from toolkit.common.text import first_line

FILE = "tokenizer.json"
# either names the padding token
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
_CLEANINGS = ("canonicalize", "lower", "whitespace")


class FileTokenizer:
    """A tokenizer.json as open_clip's `HFTokenizer` uses it, without start and end
    tokens around the tokens of a text.

    cleaning: open_clip's, before all else: "canonicalize" (lower case, no
    punctuation), "lower" or "whitespace". pad_token: its text. end_is_zero: the end
    token is replaced by 0 (CLIPA).

    Raises ValueError naming the file if it is no tokenizer with one end token and at
    most one start token.
    """

    def __init__(
        self,
        file: Path,
        pad_token: str,
        cleaning: str = "whitespace",
        end_is_zero: bool = False,
    ) -> None:
        from open_clip.tokenizer import get_clean_fn
        from tokenizers import Tokenizer as Backend

        try:
            self._backend = Backend.from_file(str(file))
        except Exception as error:  # noqa: BLE001 - the package raises bare Exception
            raise ValueError(
                f"{file} cannot be read as a tokenizer: {first_line(error)}"
            ) from error
        self._backend.no_padding()
        self._backend.no_truncation()
        self._clean = get_clean_fn(cleaning)
        pad_token_id = self._backend.token_to_id(pad_token)
        if pad_token_id is None:
            raise ValueError(f"{file} has no padding token {pad_token!r}")
        self.pad_token_id: int = pad_token_id
        tokens, whole = self.encode("a"), self._backend.encode("a").ids
        self.sot_token_id: int | None = None
        if whole[1:-1] == tokens and whole[:-1] != tokens:
            self.sot_token_id = whole[0]
        elif whole[:-1] != tokens:
            raise ValueError(
                f"{file} puts {len(whole) - len(tokens)} tokens around a text; prompts need one end token and at most one start "
                "token"
            )
        self.eot_token_id: int = 0 if end_is_zero else whole[-1]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text without start and end tokens."""
        cleaned = self._clean(text)
        return self._backend.encode(cleaned, add_special_tokens=False).ids

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens."""
        return self._backend.decode(tokens)


def load_tokenizer(text_cfg: dict[str, Any], folder: Path | None = None) -> Tokenizer:
    """Return the tokenizer that an open_clip configuration's text tower reads. folder:
    looked at first for a tokenizer.json, then the folder or the model of the Hugging
    Face Hub that the configuration names. Raises FileNotFoundError if it is not there,
    or ValueError if it is another kind of tokenizer.
    """
    name = text_cfg.get("hf_tokenizer_name")
    if not name:
        return clip_tokenizer()
    if find_spec("tokenizers") is None:
        raise ValueError(
            f"the tokenizer {name} needs the package tokenizers: pip install tokenizers"
        )
    options = text_cfg.get("tokenizer_kwargs") or {}
    cleaning = options.get("clean", "whitespace")
    if cleaning not in _CLEANINGS:
        raise ValueError(
            f"the tokenizer {name} cleans texts by {cleaning!r}; known are {', '.join(_CLEANINGS)}"
        )
    if folder is None or not (folder / FILE).is_file():
        folder = _folder_of(name, folder)
    tokenizer = FileTokenizer(
        folder / FILE,
        _pad_token(folder),
        cleaning,
        bool(options.get("strip_sep_token", False)),
    )
    end = text_cfg.get("eos_id", 2)
    if text_cfg.get("pool_type") == "eos" and tokenizer.eot_token_id != end:
        raise ValueError(
            f"{folder / FILE}: its end token is {tokenizer.eot_token_id}; the text tower reads its result at {end}"
        )
    return tokenizer


def _folder_of(name: str, looked_at: Path | None) -> Path:
    """Return the folder with the tokenizer.json of a folder or a model of the Hub."""
    found = Path(name)
    if not found.is_dir():
        beside = ""
        if looked_at is not None:
            beside = f"{looked_at} holds no {FILE}, and "
        try:
            found = hub_models.get(name, "", "*token*.json")
        except Exception as error:  # noqa: BLE001 - network, authorisation and wrong names each have their own kinds
            what = f"{name} of the Hugging Face Hub is not available ({hub_models.first_sentence(error)})"
            raise FileNotFoundError(
                f"the tokenizer of this text tower is missing: {beside}{what}. Put its {FILE} and {_SETTINGS[0]} beside the "
                "weights"
            ) from error
    if not (found / FILE).is_file():
        raise FileNotFoundError(
            f"the tokenizer of this text tower is missing: {name} holds no {FILE}"
        )
    return found


def _pad_token(folder: Path) -> str:
    """Return the padding token that the settings beside a tokenizer.json name."""
    for file in _SETTINGS:
        path = folder / file
        if not path.is_file():
            continue
        try:
            token = json.loads(path.read_text(encoding="utf-8")).get("pad_token")
        except (AttributeError, RecursionError, ValueError) as error:
            raise ValueError(
                f"{path} holds no settings of a tokenizer: {error}"
            ) from error
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            return token
    raise ValueError(
        f"{folder / FILE}: its padding token is not known: {_SETTINGS[0]} beside it names none"
    )
