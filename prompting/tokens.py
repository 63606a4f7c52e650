"""From class names to token sequences with free slots for context vectors.

A sequence is [SOT], name and slots in the order that the position says, ".", [EOT]. The period follows any name;
where the two merge into one token (a name that ends in punctuation), the name still covers as many tokens as alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

PADDING = 128  # places of padding that cost less than another pass does

_known: WeakKeyDictionary[SimpleTokenizer, dict[str, tuple[int, list[int]]]] = WeakKeyDictionary()  # by name


class TokenBatch(NamedTuple):
    """Sequences of similar length L, cut to the longest of them (exact: the text tower is causal).

    rows: (B,) which of the classes these are. ids: (B, L) token ids, 0 in the slots and after EOT.
    ends: (B,) EOT's place.
    slots: (B, L, n_ctx) one-hot rows that put a context vector into its slot, or None without slots.
    prefix: how many leading places are the same for all sequences: SOT and the slots before the name.
    """

    rows: Tensor
    ids: Tensor
    ends: Tensor
    slots: Tensor | None
    prefix: int

    def to(self, device: torch.device) -> "TokenBatch":
        move = [value.to(device) if isinstance(value, Tensor) else value for value in self]
        return TokenBatch(*move)


@lru_cache(maxsize=1)
def clip_tokenizer() -> SimpleTokenizer:
    """CLIP's byte-pair tokenizer."""
    return SimpleTokenizer()


def plain_name(classname: str) -> str:
    """The words of a class name: underscores become spaces."""
    return classname.replace("_", " ")


def tokenize_prompts(
    tokenizer: SimpleTokenizer,
    classes: Sequence[str],
    n_ctx: int,
    position: str,
    context_length: int,
    cut: bool = True,
    chunk: int = 768,
) -> list[TokenBatch]:
    """Sequences with n_ctx slots for each class, in batches of similar length of at most `chunk` places after the
    prefix. Raises ValueError naming the first class that does not fit."""
    sequences = [_name_tokens(tokenizer, plain_name(classname)) for classname in classes]
    batches, before = [], _before(n_ctx, position)
    full = context_length - before - 1
    for rows in _groups([n_ctx - before + len(rest) + 1 if cut else full for _, rest in sequences], chunk):
        lengths = [(classes[row], n_ctx + len(sequences[row][1]) + 2) for row in rows]
        length = _length(lengths, context_length, cut, f" with {n_ctx} context vectors")
        names = torch.tensor([sequences[row][0] for row in rows])[:, None]
        filled, rest = _padded([sequences[row][1] for row in rows])
        ends = 1 + n_ctx + filled.sum(1)
        column, slot = torch.arange(rest.shape[1]), torch.arange(n_ctx)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        ids[:, 0] = tokenizer.sot_token_id
        ids.scatter_(1, ends[:, None], tokenizer.eot_token_id)
        places = 1 + column + torch.where(column < names, before, n_ctx)
        ids[filled.nonzero()[:, 0], places[filled]] = rest[filled]
        slots = torch.zeros(len(rows), length, n_ctx)
        slots.scatter_(1, (1 + slot + torch.where(slot < before, 0, names))[:, None], 1.0)
        batches.append(TokenBatch(torch.tensor(rows), ids, ends, slots, 1 + before))
    return batches


def tokenize_sentences(
    tokenizer: SimpleTokenizer, sentences: Sequence[str], context_length: int, cut: bool = True, chunk: int = 768
) -> list[TokenBatch]:
    """Plain sentences, without slots, in batches of similar length of at most `chunk` places. Raises ValueError naming
    the first sentence that does not fit."""
    encoded = [tokenizer.encode(sentence) for sentence in sentences]
    batches = []
    for rows in _groups([len(tokens) + 2 if cut else context_length for tokens in encoded], chunk):
        length = _length([(sentences[row], len(encoded[row]) + 2) for row in rows], context_length, cut)
        filled, tokens = _padded([encoded[row] for row in rows])
        ends = 1 + filled.sum(1)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        ids[:, 0] = tokenizer.sot_token_id
        ids[:, 1 : 1 + tokens.shape[1]] = tokens
        ids.scatter_(1, ends[:, None], tokenizer.eot_token_id)
        batches.append(TokenBatch(torch.tensor(rows), ids, ends, None, 0))
    return batches


def words_to_context(clip: nn.Module, tokenizer: SimpleTokenizer, text: str) -> Tensor:
    """Token embeddings (n_ctx, width) of some words ("a photo of a"), as the start of a text prompt.

    n_ctx is the number of byte-pair tokens, which may exceed the number of words. Raises ValueError for an empty
    text.
    """
    ids = tokenizer.encode(plain_name(text))
    if not ids:
        raise ValueError(f"no tokens in the initial words {text!r}")
    weight = clip.token_embedding.weight
    return weight[torch.tensor(ids, device=weight.device)].detach().float().clone()


def _before(n_ctx: int, position: str) -> int:
    """How many context vectors precede the name."""
    return {"front": 0, "middle": n_ctx // 2, "end": n_ctx}[position]


def _name_tokens(tokenizer: SimpleTokenizer, name: str) -> tuple[int, list[int]]:
    """(how many tokens of its sequence a name covers, the tokens of the name with its period). Known names are looked up: a step on a
    mix of many tasks has names that are all known, though it has never had this set of them."""
    known = _known.setdefault(tokenizer, {})
    if name not in known:
        alone, rest = tokenizer.encode(name), tokenizer.encode(name + ".")
        known[name] = min(len(alone), len(rest)), rest
    return known[name]


def _padded(sequences: list[list[int]]) -> tuple[Tensor, Tensor]:
    """(where there are tokens, the tokens and 0 elsewhere), both (B, longest)."""
    lengths = torch.tensor([len(tokens) for tokens in sequences])
    filled = torch.arange(int(lengths.max())) < lengths[:, None]
    tokens = torch.zeros(filled.shape, dtype=torch.long)
    tokens[filled] = torch.tensor([token for tokens in sequences for token in tokens], dtype=torch.long)
    return filled, tokens


def _groups(lengths: list[int], chunk: int) -> list[list[int]]:
    """Indices in groups of similar length, each of at most `chunk` places with its padding (one index at least)."""
    groups: list[list[int]] = []
    group, total = [], 0
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        places = (len(group) + 1) * lengths[index]
        padding = places - total - lengths[index]
        if group and (places > chunk or padding > max(PADDING, places // 8)):
            groups.append(sorted(group))
            group, total = [], 0
        group.append(index)
        total += lengths[index]
    return [*groups, sorted(group)]


def _length(sequences: list[tuple[str, int]], context_length: int, cut: bool, extra: str = "") -> int:
    text, longest = max(sequences, key=lambda item: item[1])
    if longest > context_length:
        raise ValueError(f"{text!r}{extra} takes {longest} tokens; the text tower takes at most {context_length}")
    return longest if cut else context_length
