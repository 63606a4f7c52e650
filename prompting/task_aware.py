"""A text prompt whose vectors are made from the name of the task (SoftCPT)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from prompting.prompts import (
    POSITIONS,
    Contexts,
    Prompt,
    check_positive,
    full_precision,
    register,
)

# names and vectors before them (n, width) or (names, n, width) -> features (names, dim)
EncodeNames = Callable[[Sequence[str], Tensor], Tensor]


@register
class SoftCPTPrompt(Prompt):
    """Vectors around the class name that a matrix makes from the feature of the task's
    name, which has learned words before it (SoftCPT, Ding et al. 2022).

    tasks: the names of the tasks. dim: width of the features. task_n_ctx: learned words
    before a task's name; task_specific: other ones for each task. class_n_ctx: learned
    words before each class name, whose feature then enters the matrix before the task's,
    so that each class has vectors of its own; 0: all classes of a task share theirs.
    classes: the number of classes of all tasks, if each has other learned words.
    """

    kind = "softcpt"

    def __init__(
        self,
        n_ctx: int,
        width: int,
        dim: int,
        tasks: Sequence[str],
        task_n_ctx: int = 4,
        task_specific: bool = False,
        class_n_ctx: int = 0,
        classes: int | None = None,
        position: str = "end",
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, width=width, dim=dim, task_n_ctx=task_n_ctx)
        check_positive(tasks=len(tasks))
        if position not in POSITIONS:
            raise ValueError(
                f"position is {position!r}; it is one of {', '.join(POSITIONS)}"
            )
        self.n_ctx = n_ctx
        self.tasks = list(tasks)
        self.position = position
        self.task_ctx = _normal(
            len(tasks) if task_specific else None, task_n_ctx, width
        )
        self.register_parameter("class_ctx", None)
        if class_n_ctx:
            check_positive(class_n_ctx=class_n_ctx)
            self.class_ctx = _normal(classes, class_n_ctx, width)
        inputs = 2 * dim if class_n_ctx else dim
        self.projection = nn.Parameter(torch.empty(inputs, n_ctx * width))
        nn.init.normal_(self.projection, std=0.02)

    def contexts(self) -> Contexts:
        size = self.task_ctx.new_zeros(1, self.n_ctx, self.task_ctx.shape[-1])
        return Contexts(text=size, text_map=self.make_text)

    def make_text(
        self,
        encode: EncodeNames,
        classes: Sequence[str],
        task: str | None,
        rows: Tensor | None,
    ) -> Tensor:
        """Return the vectors (1, n_ctx, width) of a task, or (1, classes, n_ctx, width)
        if they depend on the class.

        encode: of the text tower; its features are not normalised. task: by default the
        only one of the prompt; one that it was not trained on is possible unless tasks
        have words of their own. rows: of class-specific words that belong to `classes`.
        """
        name = self._task_name(task)
        words = self.task_ctx
        if words.dim() == 3:
            words = words[self.tasks.index(name)]
        features = encode([name], words)
        if self.class_ctx is not None:
            class_words = self.class_ctx
            if class_words.dim() == 3 and rows is not None:
                class_words = class_words[rows]
            of_classes = encode(classes, class_words)
            features = torch.cat([of_classes, features.expand_as(of_classes)], dim=1)
        with full_precision(features):
            vectors = features.to(self.projection.dtype) @ self.projection
        vectors = vectors.unflatten(-1, (self.n_ctx, -1))
        if self.class_ctx is None:
            return vectors
        return vectors.unsqueeze(0)

    def _task_name(self, task: str | None) -> str:
        if task is None and len(self.tasks) == 1:
            return self.tasks[0]
        if task is None:
            raise ValueError(
                f"the prompt depends on the task: name one of {', '.join(self.tasks)}"
            )
        if self.task_ctx.dim() == 3 and task not in self.tasks:
            raise ValueError(
                f"the prompt has no words for the task {task!r}; it knows "
                f"{', '.join(self.tasks)}"
            )
        return task

    def config(self) -> dict:
        class_n_ctx, classes = 0, None
        if self.class_ctx is not None:
            class_n_ctx = self.class_ctx.shape[-2]
            if self.class_ctx.dim() == 3:
                classes = len(self.class_ctx)
        return {
            "kind": self.kind,
            "n_ctx": self.n_ctx,
            "width": self.task_ctx.shape[-1],
            "dim": len(self.projection) // (2 if class_n_ctx else 1),
            "tasks": self.tasks,
            "task_n_ctx": self.task_ctx.shape[-2],
            "task_specific": self.task_ctx.dim() == 3,
            "class_n_ctx": class_n_ctx,
            "classes": classes,
            "position": self.position,
        }


def _normal(count: int | None, n_ctx: int, width: int) -> nn.Parameter:
    """Return new vectors (n_ctx, width), or (count, n_ctx, width)."""
    shape = (n_ctx, width) if count is None else (count, n_ctx, width)
    return nn.Parameter(torch.empty(shape).normal_(std=0.02))
