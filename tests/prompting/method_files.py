"""Small files in the layout that `scripts.parity` reads, computed by plain torch (see
`oracle`) on a random CLIP.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.prompting import mmrl_numbers, softcpt_numbers
from tests.prompting.method_towers import (
    NAMES,
    TEMPLATE,
    backbone,
    image_features,
    plain,
    text_features,
    unit,
)
from tests.prompting.oracle import TOKENIZER, State
from trainers.anchors import imagenet_templates

BLOCK = "{}.transformer.resblocks.{}.VPT_shallow"


def random_prompt(method: str) -> State:
    """Return a random prompt under its official names."""
    draw = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=draw)

    if method == "softcpt":
        return softcpt_numbers.random_prompt(normal)
    if method in mmrl_numbers.CONFIGS:
        return mmrl_numbers.random_prompt(method, normal)
    if method in ("kgcoop", "prograd"):
        return {"ctx": normal(3, 64)}
    if method == "tcp":
        return {
            "ctx": normal(4, 64),
            "meta_net.linear1.weight": normal(4, 16),
            "meta_net.linear1.bias": normal(4),
            "meta_net.linear2.weight": normal(4 * 64, 4),
            "meta_net.linear2.bias": normal(4 * 64),
        }
    prompt = {"prompt_learner.ctx": normal(2, 64)}
    if method == "maple":
        prompt |= {
            "prompt_learner.proj.weight": normal(64, 64),
            "prompt_learner.proj.bias": normal(64),
        }
        for k in range(2):
            name = f"prompt_learner.compound_prompt_projections.{k}"
            prompt[f"prompt_learner.compound_prompts_text.{k}"] = normal(2, 64)
            prompt |= {f"{name}.weight": normal(64, 64), f"{name}.bias": normal(64)}
        return prompt
    prompt[BLOCK.format("text_encoder", 1)] = normal(2, 64)
    prompt["image_encoder.VPT"] = normal(3, 64)
    for i in (1, 2):
        prompt[BLOCK.format("image_encoder", i)] = normal(3, 64)
    return prompt


def layers_of(method: str, prompt: State) -> tuple[list[Tensor], list[Tensor]]:
    """Return the text and the visual vectors of each block."""
    if method in ("kgcoop", "prograd", "tcp"):
        return [prompt["ctx"]], []
    text = [prompt["prompt_learner.ctx"]]
    if method == "maple":
        text += [prompt[f"prompt_learner.compound_prompts_text.{k}"] for k in range(2)]
        names = [
            "prompt_learner.proj",
            *(f"prompt_learner.compound_prompt_projections.{k}" for k in range(2)),
        ]
        maps = zip(text, names, strict=True)
        return text, [
            vectors @ prompt[f"{name}.weight"].T + prompt[f"{name}.bias"]
            for vectors, name in maps
        ]
    text.append(prompt[BLOCK.format("text_encoder", 1)])
    return text, [
        prompt["image_encoder.VPT"],
        *(prompt[BLOCK.format("image_encoder", i)] for i in (1, 2)),
    ]


def losses_of(
    method: str, state: State, prompt: State, images: Tensor, labels: Tensor, words: str
) -> dict:
    """Return all results of a step: logits, features, terms, and the value whose
    gradient the optimiser takes.
    """
    if method == "softcpt":
        return softcpt_numbers.results(state, prompt, images, labels)
    if method in mmrl_numbers.CONFIGS:
        return mmrl_numbers.results(method, state, prompt, images, labels)
    text, visual = layers_of(method, prompt)
    count = text[0].shape[-2]
    sentences = sentences_of(method, count, words)
    if method == "tcp":
        text = class_aware_layers(state, prompt)
    classes = unit(text_features(state, sentences, text))
    features = image_features(state, images, visual)
    scale = state["logit_scale"].exp()
    logits = scale * features @ classes.T
    templates = imagenet_templates() if method == "promptsrc" else [TEMPLATE]
    means = []
    for name in NAMES:
        means.append(
            text_features(
                state, [template.format(plain(name)) for template in templates], []
            ).mean(0)
        )
    frozen_classes, frozen_images = (
        unit(torch.stack(means)),
        image_features(state, images, []),
    )
    frozen_logits = scale * frozen_images @ frozen_classes.T
    entropy = -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()
    found = {
        "logits": logits,
        "features/text": classes,
        "features/image": features,
        "terms/cross_entropy": entropy,
    }
    if method == "promptsrc":
        log_p, log_q = logits.log_softmax(1), frozen_logits.log_softmax(1)
        found["terms/l1_text"] = (classes - frozen_classes).abs().mean()
        found["terms/l1_image"] = (features - frozen_images).abs().mean()
        found["terms/kl"] = (log_q.exp() * (log_q - log_p)).sum() / logits.numel()
        found["loss"] = (
            entropy
            + 25 * found["terms/l1_text"]
            + 10 * found["terms/l1_image"]
            + found["terms/kl"]
        )
    elif method in ("kgcoop", "tcp"):
        found["terms/score"] = 1 - (classes * frozen_classes).sum(-1).mean()
        found["loss"] = entropy + 8 * found["terms/score"]
    elif method == "prograd":
        found["terms/kl"] = (
            -4
            * ((frozen_logits / 2).softmax(1) * (logits / 2).log_softmax(1))
            .sum(1)
            .mean()
        )
    else:
        found["loss"] = entropy
    if method in ("promptsrc", "kgcoop", "prograd", "tcp"):
        found |= {"frozen/text": frozen_classes, "frozen/logits": frozen_logits}
    return found


def gradient_of(method: str, found: dict, prompt: State) -> dict[str, Tensor]:
    """Return the gradient that the optimiser gets, by official name."""
    leaves = list(prompt.values())
    if method != "prograd":
        return dict(
            zip(prompt, torch.autograd.grad(found["loss"], leaves), strict=True)
        )
    (a,) = torch.autograd.grad(found["terms/cross_entropy"], leaves, retain_graph=True)
    (b,) = torch.autograd.grad(found["terms/kl"], leaves)
    u = b / b.norm()
    along = (a * u).sum()
    return {"ctx": a - 0.5 * along * u if along < 0 else a}


def sentences_of(method: str, count: int, words: str) -> list[str]:
    """Return the class prompts before vectors are put in."""
    last = TCP_LAST_WORDS if method == "tcp" else ""
    first = " ".join(["X"] * count)
    return [f"{first} {words}{plain(name)}{last}." for name in NAMES]


def class_aware_layers(state: State, prompt: State) -> dict[int, Tensor]:
    """Return TCP's vectors: ctx before block 0, those of each class before block 1."""
    sentences = [TEMPLATE.format(plain(name)) for name in NAMES]
    frozen = unit(text_features(state, sentences, []))
    hidden = frozen @ prompt["meta_net.linear1.weight"].T
    hidden = hidden + prompt["meta_net.linear1.bias"]
    hidden = hidden * torch.sigmoid(1.702 * hidden)
    vectors = hidden @ prompt["meta_net.linear2.weight"].T
    vectors = vectors + prompt["meta_net.linear2.bias"]
    return {0: prompt["ctx"], 1: vectors.reshape(len(NAMES), 4, 64)}


TCP_LAST_WORDS = ", a type of thing"
CONFIGS = {
    "tcp": {"layer": 1},
    "ivlp": {},
    "maple": {},
    "promptsrc": {"w_text": 25, "w_image": 10},
    "kgcoop": {"w": 8.0},
    "prograd": {"T": 2.0, "lam": 0.5, "pos": "end"},
    "softcpt": softcpt_numbers.CONFIG,
    **mmrl_numbers.CONFIGS,
}
# the official optimiser of SoftCPT takes a step for each of its four modules
STEPS_A_BATCH = {"softcpt": 4}


def write_files(method: str, folder: Path) -> Path:
    """Write <method>.npz and backbone_a.npz; MaPLe's prompt keeps words before the
    class name.
    """
    state, images = backbone()
    words = "of a " if method == "maple" else ""
    prompt = {
        name: value.requires_grad_() for name, value in random_prompt(method).items()
    }
    count = next(iter(prompt.values())).shape[0]
    sentences = sentences_of(method, count, words)
    steps = torch.tensor([[0, 1, 2], [3, 4, 5], [1, 3, 0]])
    labels = torch.tensor([[0, 1, 2], [3, 0, 1], [2, 2, 0]])
    arrays = {
        "classnames": np.array(NAMES),
        "backbone": np.array("a"),
        "template": np.array(TEMPLATE),
        "template_prompt": np.array("X X X X {}" + TCP_LAST_WORDS + "."),
    }
    arrays |= {
        "config": np.array(json.dumps(CONFIGS[method])),
        "steps": steps.numpy(),
        "labels": labels.numpy(),
    }
    arrays["text_tokens"] = (
        TOKENIZER(sentences, context_length=77).numpy().astype(np.int32)
    )
    arrays |= {
        f"prompt/{name}": value.detach().clone().numpy()
        for name, value in prompt.items()
    }
    rate = 0.01 * STEPS_A_BATCH.get(method, 1)
    step_losses = []
    for number in range(3):
        found = losses_of(
            method, state, prompt, images[steps[number]], labels[number], words
        )
        gradient = gradient_of(method, found, prompt)
        if number == 0:
            arrays |= {name: value.detach().numpy() for name, value in found.items()}
            arrays |= {
                f"grad/{name}": value.numpy() for name, value in gradient.items()
            }
        if method == "prograd":
            step_losses.append(
                torch.stack([found["terms/cross_entropy"], found["terms/kl"]]).detach()
            )
        else:
            step_losses.append(found["loss"].detach())
        prompt = {
            name: (value.detach() - rate * gradient[name]).requires_grad_()
            for name, value in prompt.items()
        }
    arrays["step_losses"] = torch.stack(step_losses).numpy()
    arrays |= {
        f"after3/{name}": value.detach().numpy() for name, value in prompt.items()
    }
    path = folder / f"{method}.npz"
    np.savez(path, **{f"a_case/{name}": value for name, value in arrays.items()})
    rows = state["token_embedding.weight"]
    stored = {
        f"clip/{name}": value.numpy()
        for name, value in state.items()
        if name != "token_embedding.weight"
    }
    stored |= {
        "clip/token_embedding.weight": rows.numpy(),
        "token_ids": np.arange(len(rows)),
    }
    np.savez(folder / "backbone_a.npz", images=images.numpy(), **stored)
    return path
