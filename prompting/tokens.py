"""From class names to token sequences with free slots for context vectors. A sequence
is [SOT], name and slots in the order that the position says, ".", [EOT]. The period
follows any name; if the two merge into one token (a name that ends in punctuation), the
name still covers as many tokens as alone. Some tokenizers have no SOT, and some drop
the period.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

if TYPE_CHECKING:
    from open_clip import CLIP
    from open_clip.tokenizer import SimpleTokenizer

MAX_PADDING = 128  # tokens of padding that cost less than another pass does


class Tokenizer(Protocol):
    """The part of a tokenizer that is used; CLIP's is open_clip's `SimpleTokenizer`.
    sot_token_id: None if sequences have no start token. A tokenizer may have a
    `pad_token_id`, by default 0.
    """

    @property
    def sot_token_id(self) -> int | None: ...

    @property
    def eot_token_id(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text without start and end tokens."""

    def decode(self, tokens: list[int]) -> str:
        """Return the text of tokens."""


# by name
_name_tokens: WeakKeyDictionary[Tokenizer, dict[str, tuple[int, list[int]]]] = (
    WeakKeyDictionary()
)


class TokenBatch(NamedTuple):
    """Sequences of similar length L, trimmed to the longest unless the tower sees
    padding. rows: (B,) of the classes. ids: (B, L), padding in slots and after EOT.
    ends: (B,) of EOT. slots: (B, L, n_ctx) one-hot rows. prefix: number of leading
    tokens that all sequences share: SOT and the slots before the name.
    """

    rows: Tensor
    ids: Tensor
    ends: Tensor
    slots: Tensor
    prefix: int

    def to(self, device: torch.device) -> TokenBatch:
        """Return the batch with its tensors on a device."""
        rows, ids, ends, slots = (tensor.to(device) for tensor in self[:4])
        return TokenBatch(rows, ids, ends, slots, self.prefix)


@lru_cache(maxsize=1)
def clip_tokenizer() -> SimpleTokenizer:
    """Return CLIP's byte-pair tokenizer."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def plain_name(classname: str) -> str:
    """Return the words of a class name: underscores become spaces."""
    return classname.replace("_", " ")


def tokenize_prompts(
    tokenizer: Tokenizer,
    classes: Sequence[str],
    n_ctx: int,
    position: str,
    context_length: int,
    trim_padding: bool = True,
    max_tokens: int = 768,
) -> list[TokenBatch]:
    """Return sequences with n_ctx slots for each class, in batches of similar length. A
    batch has at most `max_tokens` tokens after the prefix. Raises ValueError naming the
    first class that does not fit.
    """
    names = [_tokenize_name(tokenizer, plain_name(classname)) for classname in classes]
    texts = [f"{classname!r} with {n_ctx} context vectors" for classname in classes]
    before = {"front": 0, "middle": n_ctx // 2, "end": n_ctx}[position]
    shared = len(_start_tokens(tokenizer)) + before
    limits = shared, context_length, trim_padding, max_tokens
    return _batches(tokenizer, names, texts, n_ctx, before, *limits)


def tokenize_sentences(
    tokenizer: Tokenizer,
    sentences: Sequence[str],
    context_length: int,
    trim_padding: bool = True,
    max_tokens: int = 768,
) -> list[TokenBatch]:
    """Return sentences without slots in batches of similar length of at most
    `max_tokens` tokens. Raises ValueError naming the first sentence that does not fit.
    """
    encoded = [tokenizer.encode(sentence) for sentence in sentences]
    names = [(len(tokens), tokens) for tokens in encoded]
    texts = list(map(repr, sentences))
    limits = context_length, trim_padding, max_tokens
    return _batches(tokenizer, names, texts, 0, 0, 0, *limits)


def words_to_context(clip: CLIP, tokenizer: Tokenizer, text: str) -> Tensor:
    """Return token embeddings (n_ctx, width) of some words ("a photo of a"), as the
    start of a text prompt. n_ctx is the number of byte-pair tokens, which may exceed
    the number of words. Raises ValueError for an empty text.
    """
    ids = tokenizer.encode(plain_name(text))
    if not ids:
        raise ValueError(f"no tokens in the initial words {text!r}")
    weight = clip.token_embedding.weight
    rows = torch.tensor(ids, device=weight.device)
    return weight[rows].detach().float().clone()


def _start_tokens(tokenizer: Tokenizer) -> list[int]:
    if tokenizer.sot_token_id is None:
        return []
    return [tokenizer.sot_token_id]


def _batches(
    tokenizer: Tokenizer,
    names: list[tuple[int, list[int]]],
    texts: list[str],
    n_ctx: int,
    before: int,
    shared: int,
    context_length: int,
    trim_padding: bool,
    max_tokens: int,
) -> list[TokenBatch]:
    """Return the sequences of names in batches of similar length. names: see
    `_tokenize_name`. texts: the names in messages. before: the number of slots before
    the name. shared: the number of first tokens that do not count.
    """
    start = _start_tokens(tokenizer)
    added = len(start) + n_ctx + 1
    lengths = [len(tokens) + added for _, tokens in names]
    for text, length in zip(texts, lengths, strict=True):
        if length > context_length:
            raise ValueError(
                f"{text} takes {length} tokens; the text tower takes at most {context_length}"
            )
    if not trim_padding:
        lengths = [context_length] * len(names)
    padding = getattr(tokenizer, "pad_token_id", 0)
    batches = []
    counted = [length - shared for length in lengths]
    for rows in _group_by_length(counted, max_tokens):
        # tokens of the name itself
        covered = torch.tensor([names[row][0] for row in rows])[:, None]
        tokens = [names[row][1] for row in rows]
        counts = torch.tensor(list(map(len, tokens)))
        filled = torch.arange(int(counts.max())) < counts[:, None]
        ends = len(start) + n_ctx + counts
        length = max(lengths[row] for row in rows)
        ids = torch.full((len(rows), length), padding)
        ids[:, : len(start)] = torch.tensor(start, dtype=torch.long)
        ids.scatter_(1, ends[:, None], tokenizer.eot_token_id)
        column = len(start) + torch.arange(filled.shape[1])
        is_name = column < len(start) + covered
        positions = column + torch.where(is_name, before, n_ctx)
        joined = torch.tensor(list(chain.from_iterable(tokens)), dtype=torch.long)
        ids[filled.nonzero()[:, 0], positions[filled]] = joined
        slot = torch.arange(n_ctx)
        slot_positions = len(start) + slot + torch.where(slot < before, 0, covered)
        slots = torch.zeros(*ids.shape, n_ctx)
        slots.scatter_(1, slot_positions[:, None], 1.0)
        prefix = len(start) + before
        batches.append(TokenBatch(torch.tensor(rows), ids, ends, slots, prefix))
    return batches


def _tokenize_name(tokenizer: Tokenizer, name: str) -> tuple[int, list[int]]:
    """Return the number of tokens that a name covers, and its own with the period."""
    known = _name_tokens.setdefault(tokenizer, {})
    if name not in known:
        alone = tokenizer.encode(name)
        tokens = tokenizer.encode(name + ".")
        known[name] = min(len(alone), len(tokens)), tokens
    return known[name]


def _group_by_length(lengths: list[int], max_tokens: int) -> list[list[int]]:
    """Return indices in groups of similar length, of `max_tokens` with padding."""
    groups: list[list[int]] = []
    group: list[int] = []
    filled = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        tokens = (len(group) + 1) * lengths[index]
        padding = tokens - filled - lengths[index]
        max_padding = max(MAX_PADDING, tokens // 8)
        if group and (tokens > max_tokens or padding > max_padding):
            groups.append(sorted(group))
            group = []
            filled = 0
        group.append(index)
        filled += lengths[index]
    groups.append(sorted(group))
    return groups
