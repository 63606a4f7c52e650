"""The loss, against an oracle in plain torch that knows no task, no batching and no
saving.
"""

import pytest
import tiny_world
import torch

from prompting.model import PromptedCLIP

THREE = "toy-shapes,toy-scenes,toy-pets"
NAMES = {
    "toy-shapes": tiny_world.SHAPES,
    "toy-scenes": tiny_world.SCENES,
    "toy-pets": ("persian cat", "beagle", "snake"),
}


def unit(features):
    return features / features.norm(dim=-1, keepdim=True)


def class_features(backbone, names, ctx, position):
    """Return (C, d): every prompt is a whole, padded sentence of X's, whose embeddings
    the context replaces.
    """
    clip, tokenizer, n = backbone.clip, backbone.tokenizer, ctx.shape[-2]
    before = {"front": 0, "middle": n // 2, "end": n}[position]
    rows = []
    for i, name in enumerate(names):
        words = len(tokenizer.encode(name))
        ids = tokenizer(
            " ".join([*["X"] * before, name, *["X"] * (n - before)]) + ".",
            context_length=40,
        )[0]
        context = ctx if ctx.dim() == 2 else ctx[i]
        x = clip.token_embedding(ids)
        x = torch.cat(
            [
                x[:1],
                context[:before],
                x[1 + before : 1 + before + words],
                context[before:],
                x[1 + n + words :],
            ]
        )
        rows.append((x + clip.positional_embedding, ids.argmax()))
    x = clip.transformer(torch.stack([x for x, _ in rows]), attn_mask=clip.attn_mask)
    x = clip.ln_final(x)[torch.arange(len(rows)), torch.stack([end for _, end in rows])]
    return unit(x @ clip.text_projection)


def oracle(trainer, rows, ctx, space, position="middle"):
    """Return the mean over images of -sum_k log p(label k) / k; p over the union, or
    with -inf for other tasks' classes.
    """
    backbone, dataset = trainer.backbone, trainer.sets["train"]
    names = [name for task in dataset.names for name in NAMES[task]]
    owner = torch.tensor(
        [k for k, task in enumerate(dataset.names) for _ in NAMES[task]]
    )
    texts = class_features(backbone, names, ctx, position)
    losses = []
    for row in rows:
        item = dataset[row]
        image = unit(backbone.clip.encode_image(item["img"][None]))
        logits = (backbone.clip.logit_scale.exp() * image @ texts.T)[0]
        if space == "task":
            logits = torch.where(owner == item["task"], logits, -torch.inf)
        start = int((owner < item["task"]).sum())
        columns = [start + label for label in dataset.samples[row].labels]
        losses.append(
            -logits.log_softmax(0)[columns].mean() if columns else logits.new_zeros(())
        )
    return torch.stack(losses).mean()


def batch_of(trainer, rows):
    """Return a training batch of these rows, as the training loader makes it."""
    return trainer.train_loader_x.collate_fn(
        trainer.train_loader_x.dataset.__getitems__(rows)
    )


def rows_of(trainer, tasks=(0, 1, 2)):
    """Return every second training image of these tasks, and of the multilabel one all."""
    return [
        row
        for k in tasks
        for row in trainer.sets["train"].rows(k)[:: 1 if k == 1 else 2]
    ][::-1]


@pytest.mark.parametrize("space", ["task", "union"])
@pytest.mark.parametrize("position", ["front", "middle", "end"])
def test_mixed_batches_match_the_oracle(started, space, position):
    trainer = started(
        "MCoOp",
        THREE,
        "MULTITASK.LABEL_SPACE",
        space,
        "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION",
        position,
        shots=-1,
    )
    rows = rows_of(trainer)
    assert any(not trainer.sets["train"].samples[row].labels for row in rows)
    assert any(len(trainer.sets["train"].samples[row].labels) > 1 for row in rows)
    ctx = trainer.model.prompt.ctx
    loss, expected = (
        trainer.loss(batch_of(trainer, rows)),
        oracle(trainer, rows, ctx, space, position),
    )
    assert loss.item() == pytest.approx(expected.item(), abs=2e-6)
    (gradient,), (wanted,) = (
        torch.autograd.grad(loss, [ctx]),
        torch.autograd.grad(expected, [ctx]),
    )
    assert torch.allclose(gradient, wanted, atol=1e-6)


@pytest.mark.parametrize("tasks", [(0,), (2,), (0, 2), (1, 2)])
def test_encoding_only_the_tasks_of_the_batch_changes_nothing(started, tasks):
    trainer = started("MCoOp", THREE, shots=-1)
    rows = rows_of(trainer, tasks)
    ctx = trainer.model.prompt.ctx
    loss, masked = (
        trainer.loss(batch_of(trainer, rows)),
        oracle(trainer, rows, ctx, "task"),
    )
    assert loss.item() == pytest.approx(masked.item(), abs=1e-6)
    assert torch.allclose(
        *(torch.autograd.grad(value, [ctx])[0] for value in (loss, masked)), atol=1e-6
    )


def test_only_the_classes_of_the_batch_are_encoded(started, monkeypatch):
    trainer = started("MCoOp", THREE, shots=-1)
    seen = []
    original = PromptedCLIP.encode_classes
    monkeypatch.setattr(
        PromptedCLIP,
        "encode_classes",
        lambda self, names, *a, **k: (
            seen.extend(names),
            original(self, names, *a, **k),
        )[1],
    )
    trainer.loss(batch_of(trainer, rows_of(trainer, (0, 2))))
    assert sorted(name.replace("_", " ") for name in seen) == sorted(
        NAMES["toy-shapes"] + NAMES["toy-pets"]
    )


def test_a_task_alone_and_among_others_has_the_same_loss(started, tmp_path):
    several = started("MCoOp", THREE, shots=-1, out=tmp_path / "several")
    alone = started("MCoOp", "toy-pets", shots=-1, out=tmp_path / "alone")
    alone.model.prompt.load_state_dict(several.model.prompt.state_dict())
    first = several.sets["train"].rows(2)[0]
    one, other = (
        several.loss(batch_of(several, [first, first + 4])),
        alone.loss(batch_of(alone, [0, 4])),
    )
    assert one.item() == pytest.approx(other.item(), abs=1e-6)


@pytest.mark.parametrize("space", ["task", "union"])
@pytest.mark.parametrize("name", ["MCoOp", "MVPT", "MUPT"])
def test_images_without_labels_add_nothing(started, name, space):
    trainer = started(name, THREE, "MULTITASK.LABEL_SPACE", space, shots=-1)
    dataset = trainer.sets["train"]
    negative = next(row for row in dataset.rows(1) if not dataset.samples[row].labels)
    alone = trainer.loss(batch_of(trainer, [negative]))
    assert alone.item() == 0.0
    gradients = torch.autograd.grad(alone, list(trainer.model.prompt.parameters()))
    assert all(torch.count_nonzero(gradient) == 0 for gradient in gradients)
    rows = [0, dataset.rows(2)[0]]
    with_it, without = (
        trainer.loss(batch_of(trainer, [*rows, negative])),
        trainer.loss(batch_of(trainer, rows)),
    )
    assert with_it.item() == pytest.approx(without.item() * 2 / 3, abs=1e-6)


@pytest.mark.parametrize("name", ["MVPT", "MUPT"])
def test_prompted_images_meet_the_classes_of_their_own_task(started, name):
    trainer = started(name, THREE, shots=-1)
    dataset, model = trainer.sets["train"], trainer.model
    rows = rows_of(trainer)
    losses = []
    for row in rows:
        item = dataset[row]
        logits = model(item["img"][None], trainer.tasks[item["task"]].classnames)[0]
        labels = list(dataset.samples[row].labels)
        losses.append(
            -logits.log_softmax(0)[labels].mean() if labels else logits.new_zeros(())
        )
    assert trainer.loss(batch_of(trainer, rows)).item() == pytest.approx(
        torch.stack(losses).mean().item(), abs=2e-6
    )


def test_a_class_specific_context_serves_its_own_class(started):
    trainer = started("CoOp", "toy-pets", "TRAINER.MVLPT.COOP.CSC", "True", shots=-1)
    rows = list(range(6))
    ctx = trainer.model.prompt.ctx
    assert ctx.shape == (3, 4, tiny_world.TEXT_WIDTH)
    assert trainer.loss(batch_of(trainer, rows)).item() == pytest.approx(
        oracle(trainer, rows, ctx, "task").item(), abs=2e-6
    )


@pytest.mark.parametrize("mixing", ["proportional", "uniform", "temperature"])
@pytest.mark.parametrize("homogeneous", ["True", "False"])
def test_epochs_mix_as_configured(started, mixing, homogeneous):
    trainer = started(
        "MVPT",
        THREE,
        "MULTITASK.MIXING",
        mixing,
        "MULTITASK.HOMOGENEOUS",
        homogeneous,
        "DATALOADER.TRAIN_X.BATCH_SIZE",
        4,
        shots=-1,
    )
    trainer.sampler.set_epoch(0)
    batches = [batch["task"].tolist() for batch in trainer.train_loader_x]
    assert len(batches) == len(trainer.train_loader_x)
    assert all(len(set(tasks)) == 1 for tasks in batches) == (homogeneous == "True")
    assert {task for tasks in batches for task in tasks} == {0, 1, 2}
    trainer.sampler.set_epoch(1)
    assert [batch["task"].tolist() for batch in trainer.train_loader_x] != batches
