"""Prompt modules: they hold the learned tensors and make context vectors; the towers
define the positions at which these enter CLIP. A new method is a subclass of `Prompt`
with a `kind`, decorated with `@register`.
"""

import functools
import importlib
import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

POSITIONS = ("front", "middle", "end")
PROMPT_KINDS: dict[str, type["Prompt"]] = {}
# that register kinds beside this one
KIND_MODULES = (
    "prompting.anchored",
    "prompting.deep",
    "prompting.name_aware",
    "prompting.representation",
    "prompting.unified",
)


class Contexts(NamedTuple):
    """The vectors of one step, in float32; None for a tower that holds no prompt.

    text: (layers, n_ctx, width), class-specific (layers, classes, n_ctx, width), or one
    layer (n_ctx, width). visual: (layers, n_ctx, width). The vectors of layer i replace
    those of layer i - 1 before block i. class_offsets: (classes, embed_dim), added to
    the class features. class_bias: (classes,), added to the cosines; class features are
    then a linear head's, of any length. weight: of the prompted model's logits; those
    of plain CLIP have 1 - weight. one_template: class features without a text context
    are those of the model's one sentence. class_map: from plain CLIP's class features
    (classes, embed_dim) to vectors (classes, n_ctx, width), which replace the text's
    before block `class_block`. text_map: makes the text vectors from the names of task
    and classes (`SoftCPTPrompt.forward`). insertion: an `Insertion` of vectors behind
    the first token.
    """

    text: Tensor | None = None
    visual: Tensor | None = None
    class_offsets: Tensor | None = None
    class_bias: Tensor | None = None
    weight: float = 1.0
    one_template: bool = False
    class_map: Callable[[Tensor], Tensor] | None = None
    class_block: int = 0
    text_map: Callable[..., Tensor] | None = None
    insertion: Any = None

    @property
    def class_specific(self) -> bool:
        """Return True if some vectors belong to single classes."""
        has_texts = self.text is not None and self.text.dim() == 4
        return has_texts or self.class_offsets is not None


class Prompt(nn.Module):
    """Base of all prompts. arguments: of the constructor. position: of the class name.
    fixed_words: between context and class name; last_words: right behind the name (", a
    type of pet"). visual_before_norm: visual vectors of the first layer pass ln_pre.
    task_templates: class features without a text context are over each task's
    templates, as zero-shot CLIP's. logit_scale: instead of the backbone's.
    """

    kind: ClassVar[str]
    arguments: dict[str, Any]
    position: str = "end"
    fixed_words: str = ""
    last_words: str = ""
    visual_before_norm: bool = False
    logit_scale: float | None = None
    task_templates: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Have the constructor keep its arguments, for `config`."""
        super().__init_subclass__()
        construct = cls.__init__
        signature = inspect.signature(cls)

        @functools.wraps(construct)
        def construct_and_keep(self: Prompt, *args: Any, **kwargs: Any) -> None:
            construct(self, *args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            bound.arguments.pop("init", None)  # values, which the state holds
            self.arguments = dict(bound.arguments)

        cls.__init__ = construct_and_keep  # type: ignore[assignment]

    def contexts(self) -> Contexts:
        """Return the context vectors, differentiable with respect to the parameters."""
        raise NotImplementedError

    def complete_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a stored state with tensors that another task's prompt does not have."""
        return state

    def config(self) -> dict:
        """Return plain JSON from which `build_prompt` makes the same module again: the
        arguments of the constructor without "init"; "kind" names the class.
        """
        config: dict[str, Any] = {"kind": self.kind}
        for name, value in self.arguments.items():
            if isinstance(value, Prompt):
                value = value.config()
            config[name] = value
        return config

    def describe(self) -> str:
        """Return the kind of prompt and its sizes in words."""
        return f"a prompt of the kind {self.kind}"


def register(cls: type[Prompt]) -> type[Prompt]:
    """Make `build_prompt` know `cls.kind` (a class decorator)."""
    PROMPT_KINDS[cls.kind] = cls
    return cls


def build_prompt(config: dict) -> Prompt:
    """Return the module that `prompt.config()` describes, with new values. Raises
    ValueError for an unknown kind, and for unknown, missing or wrong arguments.
    """
    for module in KIND_MODULES:
        importlib.import_module(module)
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in PROMPT_KINDS:
        raise ValueError(
            f"unknown kind of prompt {kind!r}; known: {', '.join(sorted(PROMPT_KINDS))}; "
            "if a file of yours registers it, import that first (--import FILE.py)"
        )
    for name, value in arguments.items():
        if isinstance(value, dict) and "kind" in value:
            arguments[name] = build_prompt(value)
    parameters = inspect.signature(PROMPT_KINDS[kind]).parameters
    of = f"the configuration of a {kind!r} prompt"
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ValueError(
            f"{of} has {', '.join(map(repr, unknown))}; it knows {', '.join(parameters)}"
        )
    missing = []
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            missing.append(repr(name))
    if missing:
        raise ValueError(f"{of} lacks {', '.join(missing)}")
    try:
        return PROMPT_KINDS[kind](**arguments)
    # values of other kinds, or sizes beyond all memory
    except (TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{of} does not fit: {error}") from None


def full_precision(like: Tensor) -> torch.autocast:
    """Switch autocast off on the device of `like` (a context manager)."""
    return torch.autocast(device_type=like.device.type, enabled=False)


@register
class TextPrompt(Prompt):
    """Learned words around the class name (CoOp; paper, eq. 2). n_ctx vectors of the
    text tower's width, shared by all classes, or one set for each of `classes` when
    that is given. `ctx` starts from Normal(0, 0.02), or from `init` (n_ctx, width),
    such as the embeddings of some words.
    """

    kind = "text"

    def __init__(
        self,
        n_ctx: int,
        width: int,
        classes: int | None = None,
        position: str = "middle",
        init: Tensor | None = None,
        fixed_words: str = "",
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, width=width)
        if classes is not None:
            check_positive(classes=classes)
        if position not in POSITIONS:
            raise ValueError(
                f"position is {position!r}; it is one of {', '.join(POSITIONS)}"
            )
        shape = (n_ctx, width) if classes is None else (classes, n_ctx, width)
        if init is None:
            ctx = torch.empty(shape).normal_(std=0.02)
        else:
            check_init(init, n_ctx, width)
            ctx = init.detach().float().expand(shape).clone()
        self.ctx = nn.Parameter(ctx)
        self.position = position
        self.fixed_words = fixed_words

    def contexts(self) -> Contexts:
        return Contexts(text=self.ctx.unsqueeze(0))

    def config(self) -> dict:
        config = super().config()
        if not self.fixed_words:
            config.pop("fixed_words", None)
        return config

    def describe(self) -> str:
        *classes, n_ctx, width = self.ctx.shape
        text = f"a text prompt of {n_ctx} vectors, {width} wide"
        if classes:
            text += f", a set for each of {classes[0]} classes"
        return text


@register
class VisualPrompt(Prompt):
    """Learned tokens among the patches (VPT; paper, eq. 3).

    layers: the number of blocks of the image tower (deep: fresh tokens before every
    block), or 1 (shallow). patch_size: in pixels; sets the bound v of the uniform
    initialisation, v^2 = 6 / (3 * patch_size^2 + d). project: learn the tokens in this
    dimension d instead of `width`, followed by a linear map to `width`.
    """

    kind = "visual"

    def __init__(
        self,
        n_ctx: int,
        width: int,
        layers: int,
        patch_size: int,
        dropout: float = 0.0,
        project: int | None = None,
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, width=width, layers=layers, patch_size=patch_size)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout}; it is at least 0 and below 1")
        dim = width
        self.proj: nn.Module = nn.Identity()
        if project is not None:
            check_positive(project=project)
            dim = project
            self.proj = nn.Linear(dim, width)
            nn.init.kaiming_normal_(self.proj.weight, a=0, mode="fan_out")
        bound = math.sqrt(6.0 / (3 * patch_size * patch_size + dim))
        first = torch.empty(1, n_ctx, dim).uniform_(-bound, bound)
        self.embeddings = nn.Parameter(first)
        self.register_parameter("embeddings_deep", None)
        if layers > 1:
            deep = torch.empty(layers - 1, n_ctx, dim).uniform_(-bound, bound)
            self.embeddings_deep = nn.Parameter(deep)
        self.dropout = nn.Dropout(dropout)

    def tokens(self) -> Tensor:
        """Return the tokens of all layers (layers, n_ctx, width), before dropout."""
        embeddings: Tensor = self.embeddings
        if self.embeddings_deep is not None:
            embeddings = torch.cat([embeddings, self.embeddings_deep])
        return self.proj(embeddings)

    def contexts(self) -> Contexts:
        with full_precision(self.embeddings):
            return Contexts(visual=self.dropout(self.tokens()))

    def describe(self) -> str:
        sizes = self.arguments
        depth = "shallow visual prompt"
        if sizes["layers"] > 1:
            depth = f"deep visual prompt in {sizes['layers']} layers"
        return f"a {depth} of {sizes['n_ctx']} vectors, {sizes['width']} wide"


def check_init(init: Tensor, n_ctx: int, width: int) -> None:
    """Raise ValueError unless `init` is (n_ctx, width)."""
    if tuple(init.shape) != (n_ctx, width):
        raise ValueError(
            f"init has shape {tuple(init.shape)}; (n_ctx, width) is {(n_ctx, width)}"
        )


def check_positive(**sizes: int) -> None:
    """Raise ValueError naming a size that is no positive integer."""
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it is a positive integer")
