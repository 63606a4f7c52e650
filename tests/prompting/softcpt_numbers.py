"""SoftCPT in plain torch, with words that differ from task to task and class to class."""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.prompting.method_towers import (
    NAMES,
    image_features,
    plain,
    text_features,
    unit,
)
from tests.prompting.oracle import State

TASKS = ["land_use", "pets"]
OWNERS = torch.tensor([0, 1, 1, 1])  # the task of each class
CONFIG = {
    "n": 3,
    "task_n": 2,
    "task_csc": True,
    "csc": True,
    "class_n": 4,
    "class_csc": True,
    "pg": "lin",
    "pos": "end",
    "tasks": TASKS,
    "split": [1, 3],
}


def random_prompt(normal: Callable[..., Tensor]) -> State:
    """Return a prompt under its official names."""
    return {
        "task_prompt_learner.ctx": normal(2, 2, 64),
        "class_prompt_learner.ctx": normal(4, 4, 64),
        "prompt_gen.proj": normal(2 * 16, 3 * 64),
    }


def results(state: State, prompt: State, images: Tensor, labels: Tensor) -> dict:
    """Return logits over the classes of all tasks, features, terms and the loss."""
    tasks = text_features(
        state,
        [f"X X {plain(name)}." for name in TASKS],
        [prompt["task_prompt_learner.ctx"]],
    )
    classes = text_features(
        state,
        [f"X X X X {plain(name)}." for name in NAMES],
        [prompt["class_prompt_learner.ctx"]],
    )
    inputs = torch.cat([classes, tasks[OWNERS]], dim=1)
    vectors = (inputs @ prompt["prompt_gen.proj"]).reshape(4, 3, 64)
    sentences = [f"X X X {plain(name)}." for name in NAMES]
    text = unit(text_features(state, sentences, [vectors]))
    features = image_features(state, images, [])
    logits = state["logit_scale"].exp() * features @ text.T
    own_task = OWNERS[labels][:, None] == OWNERS
    log_p = logits.masked_fill(~own_task, -torch.inf).log_softmax(1)
    entropies = -log_p[torch.arange(len(labels)), labels]
    sums = []
    for task in OWNERS[labels].unique():
        sums.append(entropies[OWNERS[labels] == task].sum())
    return {
        "logits": logits,
        "features/image": features,
        "terms/cross_entropy_sums": torch.stack(sums),
        "loss": entropies.mean(),
    }
