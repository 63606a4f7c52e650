"""A backbone: a frozen CLIP, its tokenizer and its preprocessing."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from prompting.backbones.names import is_path, local_path
from prompting.tokens import Tokenizer, plain_name
from toolkit.common.text import some

if TYPE_CHECKING:
    from open_clip import CLIP

logger = logging.getLogger(__name__)

UNKNOWN = -1  # in the place of a token without a vector
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of red, green and blue in [0, 1]
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
EXAMPLE = "ViT-B/16"  # a backbone that knows all words, for messages


@dataclass(frozen=True)
class Preprocessing:
    """The form of images: size x size pixels, resized by `interpolation`; (x - mean) /
    std for RGB x in [0, 1].

    background: the colour seen through transparent pixels, as
        `toolkit.common.images.read_image` takes it.
    """

    size: int
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: str = "bicubic"
    background: str = "white"

    def record(self, mode: str) -> dict:
        """Return it as a prompt's file states it; "crop" is "squash" (both sides are
        resized) or "crop" (the short one is, and the centre cut).
        """
        return {
            "size": self.size,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "crop": mode,
            "background": self.background,
        }


def differences(stored: dict, used: dict) -> str:
    """Return the entries that differ in both records of preprocessing, "" if none."""
    found = []
    for key, other in used.items():
        one = stored.get(key, other)
        if one != other:
            name = "resizing" if key == "crop" else key
            found.append(f"{name} {one}, not {other}")
    return "; ".join(found)


@dataclass
class Backbone:
    """A frozen open_clip CLIP in float32 and evaluation mode, with its tokenizer.

    name: as given to `load_backbone`. known_tokens: the ids that have vectors; None:
    all.
    """

    name: str
    clip: CLIP
    tokenizer: Tokenizer
    preprocessing: Preprocessing
    known_tokens: frozenset[int] | None = None

    def unknown_classes(self, classes: Iterable[str]) -> list[str]:
        """Return the class names of which this backbone knows no word, or too few to
        tell them from another one.
        """
        if self.known_tokens is None:
            return []
        texts: dict[str, tuple[int, ...]] = {}
        for name in classes:
            tokens = self.tokenizer.encode(plain_name(name))
            texts[name] = tuple(
                token if token in self.known_tokens else UNKNOWN for token in tokens
            )
        counts = Counter(texts.values())
        unknown = []
        for name, text in texts.items():
            is_blank = set(text) == {UNKNOWN}
            if is_blank or (UNKNOWN in text and counts[text] > 1):
                unknown.append(name)
        return unknown

    def check_classes(
        self, classes: Iterable[str], source: str = "", force: bool = False
    ) -> None:
        """Raise ValueError naming the `unknown_classes`, or log a warning with `force`."""
        unknown = self.unknown_classes(classes)
        if not unknown:
            return
        names = some([repr(name) for name in unknown])
        message = (
            f"the backbone {self.name} knows few words, and too few of the class names {names} to tell them apart. Take another "
            f"with --backbone, such as {EXAMPLE}"
        )
        if source:
            message = f"{source}: {message}"
        if not force:
            raise ValueError(f"{message} (--force: use them all the same)")
        logger.warning("%s", message)

    @cached_property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits over its weights, the same on any device."""
        total = hashlib.sha256()
        for name, value in sorted(self.clip.state_dict().items()):
            total.update(f"{name} {tuple(value.shape)}\n".encode())
            total.update(value.detach().float().cpu().reshape(-1).contiguous().numpy())
        return total.hexdigest()[:16]

    @property
    def activation(self) -> str:
        """Return the activation of its text tower, "QuickGELU" or "GELU"."""
        return type(self.clip.transformer.resblocks[0].mlp.gelu).__name__

    def record(self, name: str, pretrained: str = "") -> dict:
        """Return its entries for a prompt's file; of a path only its last part. name,
        pretrained: as given to `load_backbone`.
        """
        last_part = Path(local_path(name)).name if is_path(name) else name
        return {
            "backbone": last_part,
            "backbone_is_path": is_path(name),
            "backbone_fingerprint": self.fingerprint,
            "pretrained": Path(pretrained).name,
            "pretrained_is_path": Path(pretrained).is_file(),
            "activation": self.activation,
        }

    def check_record(self, record: dict, source: str) -> None:
        """Raise ValueError if a prompt's record states other weights or activation."""
        stored = record.get("backbone_fingerprint")
        if stored not in (None, self.fingerprint):
            raise ValueError(
                f"{source}: its prompt was trained on the backbone {record.get('backbone')} (weights {stored}), not on "
                f"{self.name} (weights {self.fingerprint}): give its own with --backbone, the path if it is a file"
            )
        activation = record.get("activation")
        if activation not in (None, self.activation):
            raise ValueError(
                f"{source}: its prompt was trained with {activation}; {self.name} has {self.activation} here"
            )
