"""How far our modules and losses are from official numbers."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from prompting.checkpoints.reference import current_name, official_names
from trainers import losses

from .cases import Case
from .reading import official

# official -> ours
TERMS = {
    "l1_text": "text_l1",
    "l1_image": "image_l1",
    "kl": "kl",
    "score": "text_cosine",
    "cos_text": "text_cosine",
    "cos_image": "image_cosine",
}


def compare(case: Case) -> dict[str, float]:
    """Return the largest difference of each kind of number of a case."""
    arrays, prompt = case.arrays, case.model.prompt
    state = prompt.state_dict()
    start = {name: value.clone() for name, value in state.items()}
    steps, labels = arrays["steps"], arrays["labels"]
    outputs = case.outputs(steps[0], labels[0])
    frozen = outputs.anchors[0]
    loss, general = case.losses(outputs)
    gradients = case.gradients(loss, general)
    features = {"image": outputs.images, "text": outputs.classes}
    found = {
        "logits": _compare_logits(case, outputs),
        "features": max(_stored_differences(case, "features", features)),
        "terms": _compare_terms(case, outputs, loss, general),
        "gradients": _compare_named(case, gradients, "grad", relative=True),
    }
    known = {"text": frozen.classes, "image": frozen.images}
    known["logits"] = frozen.logits
    differences = _stored_differences(case, "frozen", known)
    if differences:
        found["frozen"] = max(differences)
    batches = zip(steps, labels, strict=True)
    losses_by_step = [case.step(*batch) for batch in batches]
    step_losses = torch.stack(losses_by_step)
    found["step losses"] = _difference(step_losses, arrays["step_losses"])
    trained = prompt.state_dict()
    found["after three steps"] = _compare_named(case, trained, "after3")
    if "gpa/steps" in arrays:
        prompt.load_state_dict(start)
        found["average"] = _compare_average(case)
    return found


def _compare_logits(case: Case, outputs: losses.Outputs) -> float:
    logits = case.model.logits(outputs.images, outputs.classes)  # of all tasks
    found = [_difference(logits, case.arrays["logits"])]
    if outputs.other_logits is not None:
        rows = torch.from_numpy(case.arrays["steps"][0])
        pixels = case.images[rows]
        contexts = case.model.contexts()
        fused = case.model.encode_images(pixels, contexts)
        fusion = case.model.logits(fused, outputs.classes)
        wanted = case.arrays["logits_rep"]
        found.append(_difference(outputs.other_logits, wanted))
        found.append(_difference(fusion, case.arrays["logits_fusion"]))
    return max(found)


def _stored_differences(case: Case, group: str, values: dict[str, Tensor]):
    """Return the differences of the values that the case has in a group."""
    found = []
    for name, value in values.items():
        if f"{group}/{name}" in case.arrays:
            found.append(_difference(value, case.arrays[f"{group}/{name}"]))
    return found


def _compare_terms(
    case: Case, outputs: losses.Outputs, loss: Tensor, general: Tensor | None
) -> float:
    alone = replace(outputs, other_logits=None)
    values = {"cross_entropy": losses.cross_entropy(alone)}
    if case.method == "softcpt":
        values = {"cross_entropy_sums": _sums_of_tasks(alone)}
    if outputs.other_logits is not None:
        other = replace(alone, logits=outputs.other_logits)
        values["cross_entropy_rep"] = losses.cross_entropy(other)
    if general is None:
        for name, ours in TERMS.items():
            if f"terms/{name}" in case.arrays:
                terms = losses.terms(outputs, [ours])
                values[name] = terms[ours]
    else:
        values["kl"] = general
    found = []
    for name, value in values.items():
        found.append(_difference(value, case.arrays[f"terms/{name}"]))
    if "loss" in case.arrays:
        found.append(_difference(loss, case.arrays["loss"]))
    return max(found)


def _sums_of_tasks(outputs: losses.Outputs) -> Tensor:
    sums = []
    for task in outputs.groups.unique():
        rows = outputs.groups == task
        logits = outputs.logits[rows]
        part = replace(outputs, logits=logits, labels=outputs.labels[rows])
        mean = losses.cross_entropy(part)
        sums.append(rows.sum() * mean)
    return torch.stack(sums)


def _compare_average(case: Case) -> float:
    """Train one step an epoch and compare the average over epochs."""
    mean, std, epochs = case.arrays["gpa/mu_sigma_epochs"].tolist()
    average = losses.GaussianAverage(int(epochs), mean, std)
    weights = _difference(average.weights, case.arrays["gpa/weights"])
    steps = case.arrays["gpa/steps"]
    batches = zip(steps, case.arrays["gpa/labels"], strict=True)
    for epoch, batch in enumerate(batches):
        case.step(*batch)
        average.add(case.model.prompt, epoch)
    average.load_into(case.model.prompt)
    averaged = case.model.prompt.state_dict()
    return max(weights, _compare_named(case, averaged, "gpa/average"))


def _compare_named(
    case: Case, values: dict[str, Tensor], group: str, relative: bool = False
) -> float:
    """Return the largest difference of tensors by official names, in parts of a
    tensor's largest value if `relative`.
    """
    found = []
    named = official_names(case.model.prompt, values)
    for name, value in named.items():
        wanted = official(case.arrays, group)[current_name(name)]
        scale = 1.0
        if relative:
            largest = float(np.abs(wanted).max())
            scale = max(largest, 1e-12)
        found.append(_difference(value, wanted) / scale)
    return max(found)


def _difference(value: Tensor, wanted: np.ndarray) -> float:
    if tuple(value.shape) != wanted.shape:
        shape = tuple(value.shape)
        raise ValueError(f"an array is {wanted.shape}, the computed one {shape}")
    computed = value.detach().double().numpy()
    difference = np.abs(computed - wanted.astype(np.float64))
    finite = np.nan_to_num(difference, nan=np.inf)
    return float(finite.max())
