"""Text prompts whose vectors are made from the features of names: of each class (TCP),
or of the task (SoftCPT).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from prompting.prompts import (
    POSITIONS,
    Contexts,
    Prompt,
    check_init,
    check_positive,
    full_precision,
    register,
)

# names and vectors before them (n, width) or (names, n, width) -> features (names, dim)
EncodeNames = Callable[[Sequence[str], Tensor], Tensor]


class ClassMap(nn.Module):
    """Map class features (C, dim) to vectors (C, n_ctx, width): two linear maps with
    QuickGELU between, dim // 4 wide (TCP, eq. 5).
    """

    def __init__(self, dim: int, n_ctx: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.n_ctx = n_ctx
        self.linear1 = nn.Linear(dim, max(dim // 4, 1))
        self.linear2 = nn.Linear(max(dim // 4, 1), n_ctx * width)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.linear1(features)
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        return self.linear2(hidden).unflatten(-1, (self.n_ctx, -1))


@register
class TCPPrompt(Prompt):
    """Learned words before the class name, which a map of the frozen class feature
    replaces before a block of the text tower (TCP, Yao et al. 2024). ctx: (n_ctx,
    width), shared by all classes. block: counted from 0. dim: width of the features.
    The prompt serves any classes.
    """

    kind = "tcp"
    task_templates = True

    def __init__(
        self,
        n_ctx: int,
        width: int,
        dim: int,
        block: int,
        init: Tensor | None = None,
        fixed_words: str = "",
        last_words: str = "",
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, width=width, dim=dim, blocks=block + 1)
        ctx = torch.empty(n_ctx, width).normal_(std=0.02)
        if init is not None:
            check_init(init, n_ctx, width)
            ctx = init.detach().float().clone()
        self.ctx = nn.Parameter(ctx)
        self.class_map = ClassMap(dim, n_ctx, width)
        self.block = block
        self.fixed_words = fixed_words
        self.last_words = last_words

    def contexts(self) -> Contexts:
        return Contexts(
            text=self.ctx.unsqueeze(0), class_map=self.class_map, class_block=self.block
        )

    def describe(self) -> str:
        return (
            f"a TCP prompt of {len(self.ctx)} vectors and a map of class features "
            f"before block {self.block}"
        )


@register
class SoftCPTPrompt(Prompt):
    """Vectors around the class name that a matrix makes from the feature of the task's
    name, which has learned words before it (SoftCPT, Ding et al. 2022).

    dim: width of the features. task_n_ctx: learned words before a task's name. tasks:
    the names of the tasks if these words differ from task to task; the prompt then
    serves these tasks alone. class_n_ctx: learned words before each class name, whose
    feature then enters the matrix before the task's, so that the vectors differ from
    class to class; 0: all classes of a task share them. classes: the number of classes
    of all tasks if the words before class names differ from class to class.
    """

    kind = "softcpt"

    def __init__(
        self,
        n_ctx: int,
        width: int,
        dim: int,
        task_n_ctx: int = 4,
        tasks: Sequence[str] | None = None,
        class_n_ctx: int = 0,
        classes: int | None = None,
        position: str = "end",
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, width=width, dim=dim, task_n_ctx=task_n_ctx)
        if position not in POSITIONS:
            raise ValueError(
                f"position is {position!r}; it is one of {', '.join(POSITIONS)}"
            )
        self.n_ctx = n_ctx
        self.dim = dim
        self.position = position
        self.tasks: list[str] | None = None
        if tasks is None:
            self.task_ctx = _vectors(task_n_ctx, width)
        else:
            self.tasks = list(tasks)
            self.task_ctx = _vectors(len(self.tasks), task_n_ctx, width)
        inputs = dim
        self.register_parameter("class_ctx", None)
        if class_n_ctx:
            inputs = 2 * dim
            sizes = [class_n_ctx, width]
            if classes is not None:
                sizes.insert(0, classes)
            self.class_ctx = _vectors(*sizes)
        self.projection = _vectors(inputs, n_ctx * width)

    def contexts(self) -> Contexts:
        sizes = [1, self.n_ctx, self.task_ctx.shape[-1]]
        if self.class_ctx is not None and self.class_ctx.dim() == 3:
            sizes.insert(1, len(self.class_ctx))
        return Contexts(text=self.projection.new_zeros(sizes), text_map=self)

    def forward(
        self,
        encode: EncodeNames,
        classes: Sequence[str],
        task: str | None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Return the vectors (1, n_ctx, width) of a task, or (1, classes, n_ctx, width)
        if they depend on the class.

        encode: of the text tower; its features are not normalised. rows: of the words of
        each class that belong to `classes`.

        Raises ValueError without a task, or for one that the prompt has no words for.
        """
        if task is None:
            raise ValueError(
                "the prompt is made from the name of a task: give the task"
            )
        features = encode([task], self._task_words(task))
        if self.class_ctx is None:
            return self._map(features)
        words: Tensor = self.class_ctx
        if words.dim() == 3 and rows is not None:
            words = words[rows]
        of_classes = encode(classes, words)
        features = features.expand_as(of_classes)
        return self._map(torch.cat([of_classes, features], dim=1)).unsqueeze(0)

    def _task_words(self, task: str) -> Tensor:
        """Return the words (task_n_ctx, width) before the name of a task."""
        if self.tasks is None:
            return self.task_ctx
        if task not in self.tasks:
            raise ValueError(
                f"the prompt has no words for the task {task!r}; it knows "
                f"{', '.join(self.tasks)}"
            )
        return self.task_ctx[self.tasks.index(task)]

    def _map(self, features: Tensor) -> Tensor:
        """Return vectors (N, n_ctx, width) of features (N, dim or 2 dim)."""
        with full_precision(features):
            vectors = features.to(self.projection.dtype) @ self.projection
        return vectors.unflatten(-1, (self.n_ctx, -1))


def _vectors(*sizes: int) -> nn.Parameter:
    """Return new vectors from Normal(0, 0.02); ValueError for sizes below 1."""
    for size in sizes:
        check_positive(size=size)
    return nn.Parameter(torch.empty(sizes).normal_(std=0.02))
