"""The prompted CLIP: a frozen model, a prompt, and the features and logits that they make together."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from prompting.image_tower import encode_prompted_images
from prompting.memory import CHUNK, KEEP, SEQUENCES, Recent, release_free_memory
from prompting.prompts import Contexts, Prompt, full_precision
from prompting.shape import check_fits
from prompting.text_tower import check_text_tower, encode_prefix, encode_tokens
from prompting.tokens import TokenBatch, clip_tokenizer, plain_name, tokenize_prompts, tokenize_sentences


class PromptedCLIP(nn.Module):
    """An open_clip CLIP, frozen and always in evaluation mode, with a prompt, the only thing that trains.

    clip: an open_clip `CLIP`; its parameters lose requires_grad.
    prompt: None scores as plain zero-shot CLIP does.
    template: the sentence around a class name ("{}") where there is no text context.
    cut, share_prefix: exact savings of the text tower (classes batched by length; what precedes the names computed
    once a step). chunk: the most places (sequences x length) that enter it at once. keep: of how many classes the
    activations are kept for the backward pass, which computes the others anew, so that memory does not grow with the
    number of classes; by default both depend on the device (`prompting.memory`).

    A tower without a prompt is constant: class features are computed once in float32 and kept. They are dropped
    when the module is moved or loaded. Raises ValueError when the prompt does not fit the model (`check_fits`).
    """

    def __init__(
        self,
        clip: nn.Module,
        prompt: Prompt | None = None,
        tokenizer: SimpleTokenizer | None = None,
        template: str = "a photo of a {}.",
        *,
        cut: bool = True,
        share_prefix: bool = True,
        chunk: int | None = None,
        keep: int | None = None,
    ) -> None:
        super().__init__()
        check_text_tower(clip)
        _check_templates([template])
        contexts = Contexts() if prompt is None else check_fits(prompt, clip)
        self.has_text_prompt = contexts.text is not None
        self.has_visual_prompt = contexts.visual is not None
        self.has_class_contexts = self.has_text_prompt and contexts.text.dim() == 3
        self.clip = clip.requires_grad_(False).eval()
        self.prompt = prompt
        self.tokenizer = tokenizer or clip_tokenizer()
        self.template = template
        self.cut, self.share_prefix, self.chunk, self.keep = cut, share_prefix, chunk, keep
        self._encode_prompted_images = encode_prompted_images
        self._tokens: Recent[list[TokenBatch]] = Recent(SEQUENCES)
        self._class_features: dict[tuple, Tensor] = {}
        self.register_load_state_dict_post_hook(PromptedCLIP._forget)

    def compile_image_tower(self) -> "PromptedCLIP":
        """Let `torch.compile` fuse the image tower with its prompt tokens; the first batch takes a minute or so."""
        self._encode_prompted_images = torch.compile(encode_prompted_images)
        return self

    def contexts(self) -> Contexts:
        """The prompt's vectors; what `encode_images` and `encode_classes` take when both are wanted in one step."""
        return Contexts() if self.prompt is None else self.prompt.contexts()

    def encode_images(self, images: Tensor, contexts: Contexts | None = None) -> Tensor:
        """Unit-length image features (B, d) of normalised images (B, 3, H, W)."""
        if not self.has_visual_prompt:
            with torch.no_grad():
                return _unit(self.clip.encode_image(images))
        tokens = (contexts or self.contexts()).visual
        return _unit(self._encode_prompted_images(self.clip.visual, images, tokens))

    def encode_classes(
        self,
        classes: Sequence[str],
        templates: Sequence[str] | None = None,
        contexts: Contexts | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Unit-length class features (C, d).

        templates: sentences with "{}" whose features are averaged (each of unit length); by default the model's
        one. They matter only without a text context. rows: (C,) which of a class-specific context's sets belong to
        `classes`. Raises ValueError for an empty list, for a name that is too long and for a wrong number of
        class-specific contexts.
        """
        if isinstance(classes, str) or not len(classes):
            raise ValueError(f"classes must be a list of at least one name, not {classes!r}")
        classes = tuple(classes)
        if not self.has_text_prompt:
            return self._constant_features(classes, tuple(templates or (self.template,)))
        ctx = (contexts or self.contexts()).text
        if ctx.dim() == 3:
            ctx = ctx if rows is None else ctx[rows]
            if len(ctx) != len(classes):
                raise ValueError(f"the prompt holds contexts for {len(ctx)} classes, {len(classes)} are given")
        batches = self._prompt_tokens(classes, ctx.shape[-2])
        shared = self.share_prefix and ctx.dim() == 2 and len(classes) > 1
        prefix = encode_prefix(self.clip, batches[0], ctx) if shared else None
        free = self._keep() if torch.is_grad_enabled() and ctx.requires_grad else float("inf")
        features = []
        for number, batch in enumerate(batches):
            if number % 4 == 0 and len(batches) > 4 and not ctx.is_cuda:
                release_free_memory()
            inputs = (self.clip, batch, ctx if ctx.dim() == 2 else ctx[batch.rows], prefix)
            free -= len(batch.ids)
            if free >= 0:
                features.append(encode_tokens(*inputs))
            else:
                features.append(checkpoint(_encode_anew, *inputs, use_reentrant=False, preserve_rng_state=False))
        return _unit(_in_order(features, batches))

    def logits(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        """exp(logit_scale) * cosine, (B, C), in float32 at least."""
        with full_precision(image_features):
            return self.clip.logit_scale.exp() * image_features @ class_features.T

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Logits (B, C)."""
        contexts = self.contexts()
        return self.logits(self.encode_images(images, contexts), self.encode_classes(classes, contexts=contexts))

    def trainable_names(self) -> list[str]:
        """Names of the parameters that an optimiser should get; all lie in `prompt`."""
        return [name for name, parameter in self.named_parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> "PromptedCLIP":
        """Only the prompt changes its mode (dropout); the backbone stays in evaluation mode."""
        super().train(mode)
        self.clip.eval()
        return self

    def _chunk(self) -> int:
        return CHUNK.get(self.clip.logit_scale.device.type, CHUNK["cuda"]) if self.chunk is None else self.chunk

    def _keep(self) -> int:
        return KEEP.get(self.clip.logit_scale.device.type, KEEP["cuda"]) if self.keep is None else self.keep

    def _prompt_tokens(self, classes: tuple[str, ...], n_ctx: int) -> list[TokenBatch]:
        def make() -> list[TokenBatch]:
            length = self.clip.positional_embedding.shape[0]
            with torch.inference_mode(False):
                batches = tokenize_prompts(
                    self.tokenizer, classes, n_ctx, self.prompt.position, length, self.cut, self._chunk()
                )
                return [batch.to(self.clip.logit_scale.device) for batch in batches]

        return self._tokens.get((classes, n_ctx, self.prompt.position), len(classes), make)

    def _constant_features(self, classes: tuple[str, ...], templates: tuple[str, ...]) -> Tensor:
        key = (classes, templates)
        if key not in self._class_features:
            _check_templates(templates)
            sentences = [template.replace("{}", plain_name(name)) for template in templates for name in classes]
            length, device = self.clip.positional_embedding.shape[0], self.clip.logit_scale.device
            # Ordinary float32 tensors, whatever mode the first caller is in: a later one may train with them.
            with torch.inference_mode(False), torch.no_grad(), full_precision(self.clip.logit_scale):
                batches = tokenize_sentences(self.tokenizer, sentences, length, self.cut, self._chunk())
                batches = [batch.to(device) for batch in batches]
                features = _unit(_in_order([encode_tokens(self.clip, batch) for batch in batches], batches))
                self._class_features[key] = _unit(features.view(len(templates), len(classes), -1).mean(0))
        return self._class_features[key]

    def _apply(self, *args, **kwargs) -> "PromptedCLIP":
        self._forget()
        return super()._apply(*args, **kwargs)

    def _forget(self, _incompatible=None) -> None:
        self._tokens.clear()
        self._class_features.clear()


def count_parameters(clip: nn.Module, prompt: nn.Module | None = None) -> dict[str, int]:
    """The four counts of an ELEVATER prediction file: trainable, all, image tower, backbone (both towers)."""
    backbone = sum(parameter.numel() for parameter in clip.parameters())
    learnt = [] if prompt is None else list(prompt.parameters())
    return {
        "num_trainable_params": sum(parameter.numel() for parameter in learnt if parameter.requires_grad),
        "num_params": backbone + sum(parameter.numel() for parameter in learnt),
        "num_visual_params": sum(parameter.numel() for parameter in clip.visual.parameters()),
        "num_backbone_params": backbone,
    }


def _encode_anew(clip: nn.Module, batch: TokenBatch, *inputs) -> Tensor:
    """`encode_tokens` for a chunk that the backward pass computes again: where there is one, there are many."""
    if not batch.ids.is_cuda:
        release_free_memory()
    return encode_tokens(clip, batch, *inputs)


def _unit(features: Tensor) -> Tensor:
    """Of unit length, in float32 (float64 stays)."""
    features = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    return F.normalize(features, dim=-1)


def _in_order(features: list[Tensor], batches: list[TokenBatch]) -> Tensor:
    """Concatenate the batches' features in the order of the classes."""
    if len(features) == 1:
        return features[0]
    return torch.cat(features)[torch.cat([batch.rows for batch in batches]).argsort()]


def _check_templates(templates: Sequence[str]) -> None:
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"the template {template!r} has no {{}} for the class name")
