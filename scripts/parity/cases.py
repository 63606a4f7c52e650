"""Cases of official numbers, and how far our modules and losses are from them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from prompting.backbones.weights import build, openai_config
from prompting.checkpoints.prompt_files import load_state
from prompting.checkpoints.reference import (
    current_name,
    official_names,
    prompt_from_reference,
)
from prompting.class_aware import TCPPrompt
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from prompting.representation import MMRLPPPrompt, MMRLPrompt
from prompting.shape import clip_shape
from prompting.tokens import clip_tokenizer, plain_name
from trainers import losses
from trainers.anchors import Anchor, imagenet_templates
from trainers.engine.config import get_cfg_default, trainer_class
from trainers.engine.settings import extend

LEARNING_RATE = 0.01
TRAINERS = {
    "ivlp": "IVLP",
    "maple": "MaPLe",
    "promptsrc": "PromptSRC",
    "kgcoop": "KgCoOp",
    "prograd": "ProGrad",
    "tcp": "TCP",
    "mmrl": "MMRL",
    "mmrlpp": "MMRLPP",
}
# official -> ours
TERMS = {
    "l1_text": "text_l1",
    "l1_image": "image_l1",
    "kl": "kl",
    "score": "text_cosine",
    "cos_text": "text_cosine",
    "cos_image": "image_cosine",
}
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One case: its arrays without the case's name, its settings, the prompted model
    and the frozen one.
    """

    method: str
    arrays: Arrays
    settings: dict
    cfg: CfgNode
    model: PromptedCLIP
    anchor: Anchor
    images: Tensor

    @property
    def classes(self) -> list[str]:
        """Return the class names."""
        return [str(name) for name in self.arrays["classnames"]]

    def outputs(self, rows: np.ndarray, labels: np.ndarray) -> losses.Outputs:
        """Return features and logits of a batch, as the trainers do for one task."""
        pixels = self.images[torch.from_numpy(rows)]
        labels = torch.from_numpy(labels)
        contexts = self.model.contexts()
        images, *others = self.model.encode_image_parts(pixels, contexts)
        classes = self.model.encode_classes(
            self.classes, self.anchor.templates, contexts
        )
        groups = torch.zeros(len(pixels), dtype=torch.int64)
        sizes = torch.tensor([len(self.classes)])
        frozen = [(self.anchor.images({}, pixels), self.anchor.classes([0]))]
        second, weight = None, 1.0
        if others:
            second, weight = others[0], contexts.insertion.weight
        labels = labels[:, None]
        return losses.build_outputs(
            self.model,
            images,
            classes,
            labels,
            groups,
            sizes,
            frozen,
            second,
            weight,
        )

    def losses(self, outputs: losses.Outputs) -> tuple[Tensor, Tensor | None]:
        """Return the loss, and ProGrad's distillation."""
        weights = trainer_class(TRAINERS[self.method]).loss_weights(self.cfg)
        loss = losses.total(outputs, weights)
        if self.method != "prograd":
            return loss, None
        return loss, losses.distillation(outputs, self.cfg.TRAINER.PROGRAD.T)

    def gradients(self, loss: Tensor, general: Tensor | None) -> dict[str, Tensor]:
        """Return the gradients that the optimiser gets, by parameter."""
        names, parameters = zip(*self.model.prompt.named_parameters(), strict=True)
        if general is None:
            values = torch.autograd.grad(loss, parameters)
        else:
            strength = self.cfg.TRAINER.PROGRAD.LAMBDA
            values = losses.projected_gradients(
                loss, general, parameters, strength, lambda gradient: gradient
            )
        return dict(zip(names, values, strict=True))

    def step(self, rows: np.ndarray, labels: np.ndarray) -> Tensor:
        """Take one step of SGD; return the loss before it, and ProGrad's distillation
        beside it.
        """
        loss, general = self.losses(self.outputs(rows, labels))
        gradients = self.gradients(loss, general)
        optimizer = torch.optim.SGD(self.model.prompt.parameters(), lr=LEARNING_RATE)
        for name, parameter in self.model.prompt.named_parameters():
            parameter.grad = gradients[name]
        optimizer.step()
        if general is None:
            return loss.detach()
        return torch.stack([loss, general]).detach()


def compare(case: Case) -> dict[str, float]:
    """Return the largest difference of each kind of number of a case."""
    arrays, prompt = case.arrays, case.model.prompt
    start = {name: value.clone() for name, value in prompt.state_dict().items()}
    steps, labels = arrays["steps"], arrays["labels"]
    outputs = case.outputs(steps[0], labels[0])
    frozen = outputs.anchors[0]
    loss, general = case.losses(outputs)
    found = {
        "logits": _compare_logits(case, outputs),
        "features": max(
            _difference(outputs.images, arrays["features/image"]),
            _difference(outputs.classes, arrays["features/text"]),
        ),
        "terms": _compare_terms(case, outputs, loss, general),
        "gradients": _compare_named(
            case, case.gradients(loss, general), "grad", relative=True
        ),
    }
    known = {"text": frozen.classes, "image": frozen.images, "logits": frozen.logits}
    stored = [name for name in known if f"frozen/{name}" in arrays]
    if stored:
        found["frozen"] = max(
            _difference(known[name], arrays[f"frozen/{name}"]) for name in stored
        )
    step_losses = torch.stack(
        [case.step(rows, label) for rows, label in zip(steps, labels, strict=True)]
    )
    found["step losses"] = _difference(step_losses, arrays["step_losses"])
    found["after three steps"] = _compare_named(case, prompt.state_dict(), "after3")
    if "gpa/steps" in arrays:
        prompt.load_state_dict(start)
        found["average"] = _compare_average(case)
    return found


def _compare_logits(case: Case, outputs: losses.Outputs) -> float:
    found = [_difference(outputs.logits, case.arrays["logits"])]
    if outputs.other_logits is None:
        return max(found)
    rows = torch.from_numpy(case.arrays["steps"][0])
    contexts = case.model.contexts()
    fused = case.model.encode_images(case.images[rows], contexts)
    fusion = case.model.logits(fused, outputs.classes)
    found.append(_difference(outputs.other_logits, case.arrays["logits_rep"]))
    found.append(_difference(fusion, case.arrays["logits_fusion"]))
    return max(found)


def _compare_terms(
    case: Case, outputs: losses.Outputs, loss: Tensor, general: Tensor | None
) -> float:
    alone = replace(outputs, other_logits=None)
    values = {"cross_entropy": losses.cross_entropy(alone)}
    if outputs.other_logits is not None:
        other = replace(alone, logits=outputs.other_logits)
        values["cross_entropy_rep"] = losses.cross_entropy(other)
    if general is None:
        for name, ours in TERMS.items():
            if f"terms/{name}" in case.arrays:
                values |= {name: losses.terms(outputs, [ours])[ours]}
    else:
        values["kl"] = general
    found = [
        _difference(value, case.arrays[f"terms/{name}"])
        for name, value in values.items()
    ]
    if "loss" in case.arrays:
        found.append(_difference(loss, case.arrays["loss"]))
    return max(found)


def _compare_average(case: Case) -> float:
    """Train one step an epoch and compare the average over epochs."""
    mean, std, epochs = case.arrays["gpa/mu_sigma_epochs"].tolist()
    average = losses.GaussianAverage(int(epochs), mean, std)
    found = [_difference(average.weights, case.arrays["gpa/weights"])]
    batches = zip(case.arrays["gpa/steps"], case.arrays["gpa/labels"], strict=True)
    for epoch, (rows, labels) in enumerate(batches):
        case.step(rows, labels)
        average.add(case.model.prompt, epoch)
    average.load_into(case.model.prompt)
    found.append(_compare_named(case, case.model.prompt.state_dict(), "gpa/average"))
    return max(found)


def _compare_named(
    case: Case, values: dict[str, Tensor], group: str, relative: bool = False
) -> float:
    """Return the largest difference of tensors by official names, in parts of a
    tensor's largest value if `relative`.
    """
    found = []
    ours = {
        current_name(name): value
        for name, value in official_names(case.model.prompt, values).items()
    }
    for name, value in ours.items():
        wanted = _official(case.arrays, group)[name]
        scale = float(np.abs(wanted).max()) if relative else 1.0
        found.append(_difference(value, wanted) / max(scale, 1e-12))
    return max(found)


def _official(arrays: Arrays, group: str) -> dict[str, np.ndarray]:
    """Return the arrays `group/<official name>` by name."""
    prefix = f"{group}/"
    return {
        current_name(key.removeprefix(prefix)): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }


def _difference(value: Tensor, wanted: np.ndarray) -> float:
    if tuple(value.shape) != wanted.shape:
        raise ValueError(
            f"an array is {wanted.shape}, the computed one {tuple(value.shape)}"
        )
    difference = np.abs(value.detach().double().numpy() - wanted.astype(np.float64))
    return float(np.nan_to_num(difference, nan=np.inf).max())


# -- reading ---------------------------------------------------------------------------------------------------------


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz file.

    Raise FileNotFoundError, or ValueError if it is none.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        AttributeError,
        TypeError,
    ) as error:
        raise ValueError(f"{path} is no .npz file of arrays: {error}") from None


def load_backbone_arrays(path: Path) -> tuple[nn.Module, Tensor]:
    """Return the frozen CLIP and the images of a backbone's file."""
    arrays = read_arrays(path)
    state = {
        name.removeprefix("clip/"): torch.from_numpy(value)
        for name, value in arrays.items()
        if "clip/" in name
    }
    if (
        "token_ids" not in arrays
        or "images" not in arrays
        or "token_embedding.weight" not in state
    ):
        raise ValueError(
            f"{path} is no backbone: it lacks token_ids, images or clip/token_embedding.weight"
        )
    embedding = torch.zeros(49408, state["token_embedding.weight"].shape[1])
    embedding[torch.from_numpy(arrays["token_ids"]).long()] = state[
        "token_embedding.weight"
    ]
    state["token_embedding.weight"] = embedding
    clip = (
        build(openai_config(state, str(path)), state, str(path))
        .eval()
        .requires_grad_(False)
    )
    return clip, torch.from_numpy(arrays["images"])


def read_cases(method: str, path: Path, backbone: Path | None) -> dict[str, Case]:
    """Return the cases of a file by name.

    Raise ValueError if it holds none of this method.
    """
    arrays = read_arrays(path)
    names = [key.removesuffix("/config") for key in arrays if key.endswith("/config")]
    if not names:
        raise ValueError(f"{path} holds no cases: no array is called <case>/config")
    backbones: dict[Path, tuple[nn.Module, Tensor]] = {}
    cases = {}
    for name in names:
        prefix = f"{name}/"
        settings = {
            key.removeprefix(prefix): value
            for key, value in arrays.items()
            if key.startswith(prefix)
        }
        file = backbone or path.with_name(
            f"backbone_{settings.get('backbone', 'a')}.npz"
        )
        if file not in backbones:
            backbones[file] = load_backbone_arrays(file)
        try:
            cases[name] = build_case(method, settings, *backbones[file])
        except KeyError as error:
            raise ValueError(
                f"{path}: {name} is no case of {method}: it lacks {error}"
            ) from None
    return cases


def build_case(method: str, arrays: Arrays, clip: nn.Module, images: Tensor) -> Case:
    """Return a case with its prompt in the model."""
    settings = json.loads(str(arrays["config"]))
    cfg = extend(get_cfg_default())
    anchor_templates: list[str] = ["a photo of a {}."]
    if method == "promptsrc":
        cfg.TRAINER.PROMPTSRC.TEXT_LOSS_WEIGHT = float(settings["w_text"])
        cfg.TRAINER.PROMPTSRC.IMAGE_LOSS_WEIGHT = float(settings["w_image"])
        anchor_templates = list(imagenet_templates())
    if method == "kgcoop":
        cfg.TRAINER.KGCOOP.W = float(settings["w"])
    if method == "prograd":
        cfg.TRAINER.PROGRAD.T = float(settings["T"])
        cfg.TRAINER.PROGRAD.LAMBDA = float(settings["lam"])
    if method in ("mmrl", "mmrlpp"):
        node = cfg.TRAINER[TRAINERS[method]]
        node.REG_WEIGHT = float(settings["reg"])
    if method in ("kgcoop", "prograd", "tcp", "mmrl", "mmrlpp"):
        anchor_templates = [str(arrays["template"])]
    state = {
        name: torch.from_numpy(value)
        for name, value in _official(arrays, "prompt").items()
    }
    prompt: Prompt
    if method == "tcp":
        prompt = _tcp_prompt(arrays, state, settings["layer"])
    elif method in ("mmrl", "mmrlpp"):
        prompt = _mmrl_prompt(method, settings, state, clip)
    else:
        words = _fixed_words(arrays, state["ctx"].shape[-2])
        position = settings.get("pos", "end")
        prompt = prompt_from_reference(state, position, fixed_words=words)
    _check_method(method, prompt)
    model = PromptedCLIP(clip, prompt, clip_tokenizer())
    task = SimpleNamespace(classnames=[str(name) for name in arrays["classnames"]])
    unit_templates = method != "promptsrc"
    anchor = Anchor(
        PromptedCLIP(clip, None, clip_tokenizer()),
        [task],
        anchor_templates,
        unit_templates,
    )
    return Case(method, arrays, settings, cfg, model, anchor, images)


def _check_method(method: str, prompt: Prompt) -> None:
    kinds = {
        "ivlp": "ivlp",
        "promptsrc": "ivlp",
        "maple": "maple",
        "kgcoop": "text",
        "prograd": "text",
        "tcp": "tcp",
        "mmrl": "mmrl",
        "mmrlpp": "mmrlpp",
    }
    if prompt.kind != kinds[method]:
        raise ValueError(
            f"its prompts are of the kind {prompt.kind!r}, those of {method} are {kinds[method]!r}"
        )


def _tcp_prompt(arrays: Arrays, state: dict[str, Tensor], block: int) -> Prompt:
    last_words = str(arrays["template_prompt"]).partition("{}")[2].removesuffix(".")
    n_ctx, width = state["ctx"].shape
    dim = state["meta_net.linear1.weight"].shape[1]
    fixed_words = _fixed_words(arrays, n_ctx, last_words)
    prompt = TCPPrompt(n_ctx, width, dim, block, None, fixed_words, last_words)
    load_state(
        prompt,
        {name.replace("meta_net.", "class_map."): v for name, v in state.items()},
    )
    return prompt


def _mmrl_prompt(
    method: str, settings: dict, state: dict[str, Tensor], clip: nn.Module
) -> Prompt:
    """Return MMRL's or MMRL++'s prompt; its logit scale is 100."""
    shape = clip_shape(clip)
    sizes = (shape.text_width, shape.image_width, shape.embed_dim)
    blocks = [number - 1 for number in settings["layers"]]
    arguments = [settings["n"], settings["rep"], *sizes, blocks, settings["alpha"]]
    prompt: Prompt
    if method == "mmrl":
        prompt = MMRLPrompt(*arguments, logit_scale=100.0)
    else:
        arguments += [settings["beta"], settings["rlora"], settings["plora"]]
        prompt = MMRLPPPrompt(*arguments, logit_scale=100.0)
    names = official_names(prompt, {name: name for name in prompt.state_dict()})
    load_state(prompt, {ours: state[official] for official, ours in names.items()})
    return prompt


def _fixed_words(arrays: Arrays, n_ctx: int, last_words: str = "") -> str:
    """Return the words between the vectors and the class name, from the tokens of the
    first class.
    """
    tokenizer = clip_tokenizer()
    ids = arrays["text_tokens"][0]
    rest = ids[1 + n_ctx : ids.argmax()].tolist()
    first = plain_name(str(arrays["classnames"][0]))
    name = tokenizer.encode(f"{first}{last_words}.")
    fixed = rest[: len(rest) - len(name)]
    return tokenizer.decode(fixed).strip() if fixed else ""
