"""The prompted CLIP: a frozen model, a prompt, and the features and logits that they
make together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from prompting.feature_rows import (
    given,
    in_order,
    layered,
    rows_of,
    side_by_side,
    unit,
    with_offsets,
)
from prompting.image_tower import encode_prompted_images
from prompting.inserted import encode_inserted_images, encode_inserted_text
from prompting.memory import (
    MAX_CACHED_CLASSES,
    MAX_CLASS_FEATURES,
    MAX_SEQUENCES,
    MAX_TOKENS,
    LRUCache,
    release_free_memory,
)
from prompting.prompts import Contexts, Prompt, full_precision
from prompting.shape import check_fits, clip_shape
from prompting.text_tower import (
    ClassVectors,
    encode_prefix,
    encode_tokens,
)
from prompting.tokens import (
    TokenBatch,
    Tokenizer,
    clip_tokenizer,
    plain_name,
    tokenize_prompts,
    tokenize_sentences,
)

if TYPE_CHECKING:
    from open_clip import CLIP

TEMPLATE = "a photo of a {}."  # around class names if there is no text context


class PromptedCLIP(nn.Module):
    """An open_clip CLIP, frozen and in evaluation mode, with a prompt, the only thing
    that trains; without one it is plain zero-shot CLIP.

    template: the sentence around a class name ("{}") if there is no text context.
    trim_padding, share_prefix: exact savings of a causal text tower. max_tokens: of
    sequences x length that enter it at once. max_cached_classes: the classes whose
    activations are kept for the backward pass, which computes the others again, so that
    memory does not grow. Both depend on the device by default (`prompting.memory`).

    Class features of a tower without a prompt are kept until the module is moved or
    loaded. Raises ValueError when the prompt does not fit (`check_fits`).
    """

    def __init__(
        self,
        clip: CLIP,
        prompt: Prompt | None = None,
        tokenizer: Tokenizer | None = None,
        template: str = TEMPLATE,
        *,
        trim_padding: bool = True,
        share_prefix: bool = True,
        max_tokens: int | None = None,
        max_cached_classes: int | None = None,
    ) -> None:
        super().__init__()
        pooling = clip.text_pool_type
        if pooling not in ("argmax", "eos", "last"):
            raise ValueError(
                f"this text tower pools by {pooling!r}; prompts need the end token (argmax, eos) or the last position"
            )
        _check_templates([template])
        contexts = Contexts() if prompt is None else check_fits(prompt, clip)
        self.has_text_prompt = contexts.text is not None
        self.has_visual_prompt = contexts.visual is not None
        self.needs_task = contexts.text_map is not None
        self.has_class_contexts = contexts.class_specific
        self.clip = clip.requires_grad_(False).eval()
        self.prompt = prompt
        self.tokenizer = tokenizer or clip_tokenizer()
        self.template = template
        # else the result depends on padding
        causal = clip.attn_mask is not None and pooling != "last"
        self.trim_padding = trim_padding and causal
        self.share_prefix = share_prefix
        self.max_tokens = max_tokens
        self.max_cached_classes = max_cached_classes
        self._encode_prompted_images = encode_prompted_images
        self._tokens: LRUCache[list[TokenBatch]] = LRUCache(MAX_SEQUENCES)
        self._class_features: LRUCache[Tensor] = LRUCache(MAX_CLASS_FEATURES)
        self.register_load_state_dict_post_hook(PromptedCLIP._clear_caches)

    def compile_image_tower(self) -> PromptedCLIP:
        """Have `torch.compile` fuse the image tower; the first batch takes a minute or so."""
        self._encode_prompted_images = torch.compile(encode_prompted_images)
        return self

    def contexts(self) -> Contexts:
        """Return the prompt's vectors, for a step that needs them twice."""
        prompt = self.prompt
        return Contexts() if prompt is None else prompt.contexts()

    def encode_images(self, images: Tensor, contexts: Contexts | None = None) -> Tensor:
        """Return unit-length image features (B, d) of normalised images (B, 3, H, W).
        With `Contexts.weight` below 1 they are (B, 2 d): prompted and zero-shot
        features side by side, scaled so that a product with such class features is the
        weighted mean of both models' cosines.
        """
        if self.prompt is None or not self.has_visual_prompt:
            with torch.no_grad():
                return unit(self.clip.encode_image(images))
        contexts = contexts or self.contexts()
        if contexts.insertion is not None:
            features, others = self.encode_image_parts(images, contexts)
            weight = contexts.insertion.weight
            return weight * features + (1 - weight) * others
        prompt = given(contexts.visual), self.prompt.visual_before_norm
        encoded = self._encode_prompted_images(self.clip.visual, images, *prompt)
        features = unit(encoded)
        if contexts.weight == 1:
            return features
        with torch.no_grad():
            zero_shot = unit(self.clip.encode_image(images))
        return side_by_side(features, zero_shot, contexts.weight)

    def encode_image_parts(self, images: Tensor, contexts: Contexts) -> list[Tensor]:
        """Return the unit-length features (B, d) whose weighted sum `encode_images`
        returns: those of the class token and, with an insertion, of its vectors.
        """
        if contexts.insertion is None:
            return [self.encode_images(images, contexts)]
        parts = encode_inserted_images(
            self.clip.visual, images, given(contexts.visual), contexts.insertion
        )
        return [unit(part) for part in parts]

    def feature_dim(self, contexts: Contexts | None = None) -> int:
        """Return the width of the features, twice the embedding's for two towers."""
        dim = clip_shape(self.clip).embed_dim
        if self.has_visual_prompt and (contexts or self.contexts()).weight != 1:
            return 2 * dim
        return dim

    def encode_classes(
        self,
        classes: Sequence[str],
        templates: Sequence[str] | None = None,
        contexts: Contexts | None = None,
        rows: Tensor | None = None,
        unit_templates: bool = True,
        task: str | None = None,
    ) -> Tensor:
        """Return unit-length class features (C, d); those of a linear head are of any
        length, with its bias in column d + 1.

        templates: sentences with "{}" whose features, of unit length if
        `unit_templates`, are averaged if there is no text context; by default the
        model's one. rows: (C,) of class-specific contexts. task: for a prompt that is
        made from its name. Raises ValueError for no class, a name that is too long,
        contexts of another number of classes, or a task that is needed.
        """
        if isinstance(classes, str) or not len(classes):
            raise ValueError(
                f"classes must be a list of at least one name, not {classes!r}"
            )
        classes = tuple(classes)
        templates = tuple(templates or (self.template,))
        if self.prompt is None:
            return self._constant_features(classes, templates, unit_templates)
        contexts = contexts or self.contexts()
        if contexts.insertion is not None:
            return self._inserted_features(classes, templates[:1], contexts)
        prompted = (self.template,) if contexts.one_template else templates
        if self.has_text_prompt:
            class_vectors = None
            if contexts.class_map is not None:
                known = self._constant_features(classes, prompted, unit_templates)
                with full_precision(known):
                    class_vectors = contexts.class_block, contexts.class_map(known)
            text = self._text_vectors(classes, contexts, rows, task)
            batches = self._prompt_tokens(classes, text.shape[-2])
            features = unit(self._encode_batches(batches, text, class_vectors))
        else:
            features = self._constant_features(classes, prompted, unit_templates)
        if contexts.class_offsets is not None:
            features = with_offsets(features, contexts, rows)
        if contexts.weight == 1:
            return features
        zero_shot = self._constant_features(classes, templates, unit_templates)
        if self.has_visual_prompt:
            return side_by_side(features, zero_shot, contexts.weight)
        return contexts.weight * features + (1 - contexts.weight) * zero_shot

    def _text_vectors(
        self,
        classes: tuple[str, ...],
        contexts: Contexts,
        rows: Tensor | None,
        task: str | None,
    ) -> Tensor:
        """Return the vectors around class names, (layers[, classes], n_ctx, width)."""
        if contexts.text_map is not None:
            return contexts.text_map(self._encode_names, classes, task, rows)
        text = layered(given(contexts.text))
        if text.dim() == 4:
            text = rows_of(text, 1, rows, len(classes))
        return text

    def _encode_names(self, names: Sequence[str], text: Tensor) -> Tensor:
        """Return features (names, d) of names behind vectors ([names,] n_ctx, width)."""
        text = text.unsqueeze(0)
        if text.dim() == 4:
            text = rows_of(text, 1, None, len(names))
        batches = self._name_tokens(tuple(names), text.shape[-2], "end")
        return self._encode_batches(batches, text)

    def _check_names(self, names: Sequence[str], text: Tensor) -> Tensor:
        """Return zeros in the place of `_encode_names`, or raise the same errors."""
        self._name_tokens(tuple(names), text.shape[-2], "end")
        return text.new_zeros(len(names), clip_shape(self.clip).embed_dim)

    def _inserted_features(
        self, classes: tuple[str, ...], templates: tuple[str, ...], contexts: Contexts
    ) -> Tensor:
        """Return features (C, d) of one sentence a class with inserted vectors."""
        batches = self._sentence_tokens(classes, templates)
        vectors = given(contexts.text), contexts.insertion
        features = []
        for batch in batches:
            features.append(encode_inserted_text(self.clip, batch, *vectors))
        return unit(in_order(features, batches))

    def check_classes(
        self,
        classes: Sequence[str],
        templates: Sequence[str] | None = None,
        task: str | None = None,
    ) -> None:
        """Raise ValueError naming a class or task whose text is too long."""
        contexts = self.contexts()
        if contexts.text_map is not None:
            with torch.no_grad():
                contexts.text_map(self._check_names, classes, task)
        text = contexts.text
        if text is not None and contexts.insertion is None:
            self._prompt_tokens(tuple(classes), layered(text).shape[-2])
        else:
            self._sentence_tokens(classes, templates or (self.template,))

    def _sentence_tokens(self, classes: Sequence[str], templates: Sequence[str]):
        _check_templates(templates)
        sentences = []
        for template in templates:
            sentences += [template.replace("{}", plain_name(name)) for name in classes]
        return self._tokenize(tokenize_sentences, sentences)

    def _encode_batches(
        self,
        batches: list[TokenBatch],
        text: Tensor,
        class_vectors: ClassVectors | None = None,
    ) -> Tensor:
        """Return features (C, d); those beyond `max_cached_classes` by checkpointing."""
        prefix = None
        count = sum(len(batch.ids) for batch in batches)
        if class_vectors is None and self.share_prefix and count > 1:
            prefix = encode_prefix(self.clip, batches[0], text)
        cached = float("inf")
        if torch.is_grad_enabled() and text.requires_grad:
            cached = self._limit(self.max_cached_classes, MAX_CACHED_CLASSES)
        many = len(batches) > 4 and not text.is_cuda
        features = []
        for number, batch in enumerate(batches):
            if many and number % 4 == 0:
                release_free_memory()
            contexts = text[:, batch.rows] if text.dim() == 4 else text
            replaced = class_vectors
            if class_vectors is not None:
                replaced = class_vectors[0], class_vectors[1][batch.rows]
            inputs = (self.clip, batch, contexts, prefix, replaced)
            cached -= len(batch.ids)
            if cached >= 0:
                encoded = encode_tokens(*inputs)
            else:
                encoded = checkpoint(
                    _encode_again,
                    *inputs,
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
            features.append(encoded)
        return in_order(features, batches)

    def logits(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        """Return exp(logit_scale), or the prompt's scale, times cosine, (B, C), in
        float32 at least; plus logit_bias if the model has one (SigLIP). A column of
        class features beyond those of image features is a bias, added to the cosine.
        """
        dim = image_features.shape[1]
        with full_precision(image_features):
            scale = self.clip.logit_scale.exp()
            if self.prompt is not None and self.prompt.logit_scale is not None:
                scale = self.prompt.logit_scale
            logits = scale * image_features @ class_features[:, :dim].T
            if class_features.shape[1] > dim:
                logits = logits + scale * class_features[:, dim]
            if self.clip.logit_bias is not None:
                logits = logits + self.clip.logit_bias
            return logits

    def forward(
        self, images: Tensor, classes: Sequence[str], task: str | None = None
    ) -> Tensor:
        """Return logits (B, C); task: as in `encode_classes`."""
        contexts = self.contexts()
        image_features = self.encode_images(images, contexts)
        class_features = self.encode_classes(classes, contexts=contexts, task=task)
        return self.logits(image_features, class_features)

    def train(self, mode: bool = True) -> PromptedCLIP:
        """Change the mode of the prompt (dropout); the backbone stays in evaluation mode."""
        super().train(mode)
        self.clip.eval()
        return self

    def _tokenize(self, tokenize: Callable[..., list[TokenBatch]], *arguments):
        """Return the result of `tokenize_prompts` or `tokenize_sentences` on the device."""
        length = self.clip.positional_embedding.shape[0]
        most = self._limit(self.max_tokens, MAX_TOKENS)
        limits = length, self.trim_padding, most
        batches = tokenize(self.tokenizer, *arguments, *limits)
        return [batch.to(self.clip.logit_scale.device) for batch in batches]

    def _limit(self, value: int | None, by_device: dict[str, int]) -> int:
        if value is not None:
            return value
        kind = self.clip.logit_scale.device.type
        return by_device.get(kind, by_device["cuda"])

    def _prompt_tokens(self, classes: tuple[str, ...], n_ctx: int) -> list[TokenBatch]:
        prompt = self.prompt or Prompt()
        before = f"{prompt.fixed_words} " if prompt.fixed_words else ""
        names = tuple(f"{before}{name}{prompt.last_words}" for name in classes)
        return self._name_tokens(names, n_ctx, prompt.position)

    def _name_tokens(self, names: tuple[str, ...], n_ctx: int, position: str):
        @torch.inference_mode(False)
        def make() -> list[TokenBatch]:
            return self._tokenize(tokenize_prompts, names, n_ctx, position)

        key = (names, n_ctx, position)
        return self._tokens.get(key, len(names), make)

    def _constant_features(
        self,
        classes: tuple[str, ...],
        templates: tuple[str, ...],
        unit_templates: bool = True,
    ) -> Tensor:
        # Ordinary float32 tensors, whatever mode the first caller is in: a later one
        # may train with them.
        @torch.inference_mode(False)
        @torch.no_grad()
        @full_precision(self.clip.logit_scale)
        def encode() -> Tensor:
            batches = self._sentence_tokens(classes, templates)
            encoded = [encode_tokens(self.clip, batch) for batch in batches]
            features = in_order(encoded, batches)
            if unit_templates:
                features = unit(features)
            return unit(features.view(len(templates), len(classes), -1).mean(0))

        key = (classes, templates, unit_templates)
        return self._class_features.get(key, len(classes), encode)

    def _apply(self, *args, **kwargs) -> PromptedCLIP:
        self._clear_caches()
        return super()._apply(*args, **kwargs)

    def _clear_caches(self, _incompatible=None) -> None:
        self._tokens.clear()
        self._class_features.clear()


def count_parameters(clip: CLIP, prompt: nn.Module | None = None) -> dict[str, int]:
    """Return the four counts of an ELEVATER prediction file."""
    backbone = _count(clip.parameters())
    learned = [] if prompt is None else list(prompt.parameters())
    trainable = [parameter for parameter in learned if parameter.requires_grad]
    return {
        "num_trainable_params": _count(trainable),
        "num_params": backbone + _count(learned),
        "num_visual_params": _count(clip.visual.parameters()),
        "num_backbone_params": backbone,
    }


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _encode_again(clip: CLIP, batch: TokenBatch, *inputs) -> Tensor:
    """Run `encode_tokens` for a batch that the backward pass computes again."""
    if not batch.ids.is_cuda:
        release_free_memory()
    return encode_tokens(clip, batch, *inputs)


def _check_templates(templates: Sequence[str]) -> None:
    for template in templates:
        if "{}" not in template:
            raise ValueError(
                f"the template {template!r} has no {{}} for the class name"
            )
