"""Optimisers and learning rates by epoch."""

import io
import math

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn


def optim_cfg(**kwargs):
    node = get_cfg_default().OPTIM
    node.update({"NAME": "sgd", "LR": 0.002, "LR_SCHEDULER": "cosine", **kwargs})
    return node


def build(c):
    weight = nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([weight], c)
    return optimizer, build_lr_scheduler(optimizer, c)


def run(optimizer, scheduler, epochs):
    """Return the learning rate of each epoch."""
    lrs = []
    for _ in range(epochs):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return lrs


WARM = {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"}


def test_constant_warmup_then_cosine_from_its_start():
    lrs = run(*build(optim_cfg(**WARM, MAX_EPOCH=10)), 10)
    pinned = [
        1e-5,
        2.000e-3,
        1.951e-3,
        1.809e-3,
        1.588e-3,
        1.309e-3,
        1.000e-3,
        6.91e-4,
        4.12e-4,
        1.91e-4,
    ]
    assert lrs == pytest.approx(pinned, abs=5e-7)
    exact = [0.001 * (1 + math.cos(math.pi * (e - 1) / 10)) for e in range(1, 10)]
    assert lrs[1:] == pytest.approx(exact, rel=1e-9)


def test_linear_warmup():
    lrs = run(*build(optim_cfg(WARMUP_EPOCH=4, WARMUP_TYPE="linear", MAX_EPOCH=8)), 7)
    cosine = [0.001 * (1 + math.cos(math.pi * e / 8)) for e in range(3)]
    assert lrs == pytest.approx([1e-5, 0.0005, 0.001, 0.0015, *cosine])


def test_without_recount_the_schedule_counts_from_the_warmup_on():
    c = optim_cfg(**(WARM | {"WARMUP_EPOCH": 3}), WARMUP_RECOUNT=False, MAX_EPOCH=8)
    lrs = run(*build(c), 8)
    # torch's cosine multiplies the last value by a ratio: from 0.002 at epoch 3 on
    factor = [1 + math.cos(math.pi * e / 8) for e in range(3, 8)]
    cosine = [0.002 * value / factor[0] for value in factor]
    assert lrs == pytest.approx([1e-5] * 3 + cosine)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (
            {"LR_SCHEDULER": "cosine", "MAX_EPOCH": 4},
            [0.002, 0.0017071, 0.001, 0.0002929, 0.0],
        ),
        (
            {"LR_SCHEDULER": "single_step", "STEPSIZE": (9, 2)},
            [2e-3, 2e-3, 2e-4, 2e-4, 2e-5],
        ),
        (
            {"LR_SCHEDULER": "single_step", "STEPSIZE": (-1,), "MAX_EPOCH": 3},
            [2e-3, 2e-3, 2e-3, 2e-4, 2e-4],
        ),
        (
            {"LR_SCHEDULER": "multi_step", "STEPSIZE": (1, 3), "GAMMA": 0.5},
            [2e-3, 1e-3, 1e-3, 5e-4, 5e-4],
        ),
    ],
)
def test_schedules(keys, expected):
    assert run(*build(optim_cfg(**keys)), 5) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("scheduler", ["cosine", "single_step", "multi_step"])
@pytest.mark.parametrize(
    "warmup", [{}, WARM, {"WARMUP_EPOCH": 3, "WARMUP_RECOUNT": False}]
)
@pytest.mark.parametrize("stop", [1, 4])
def test_state_survives_a_checkpoint(scheduler, warmup, stop):
    c = optim_cfg(LR_SCHEDULER=scheduler, STEPSIZE=(2, 5), MAX_EPOCH=9, **warmup)
    expected = run(*build(c), 9)

    optimizer, sched = build(c)
    first = run(optimizer, sched, stop)
    file = io.BytesIO()
    torch.save(
        {"optimizer": optimizer.state_dict(), "scheduler": sched.state_dict()}, file
    )
    file.seek(0)
    state = torch.load(file, weights_only=True)
    optimizer, sched = build(c)
    optimizer.load_state_dict(state["optimizer"])
    sched.load_state_dict(state["scheduler"])
    assert getattr(sched, "successor", sched).optimizer is optimizer
    assert first + run(optimizer, sched, 9 - stop) == expected


def test_a_foreign_scheduler_state_is_refused():
    _, plain = build(optim_cfg())
    _, warm = build(optim_cfg(**WARM))
    with pytest.raises(KeyError, match="successor"):
        warm.load_state_dict(plain.state_dict())


def test_bad_schedules():
    optimizer, _ = build(optim_cfg())
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        build_lr_scheduler(optimizer, optim_cfg(LR_SCHEDULER="cosin"))
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        build_lr_scheduler(optimizer, optim_cfg(WARMUP_EPOCH=1, WARMUP_TYPE="lin"))
    with pytest.raises(TypeError, match="single_step"):
        build_lr_scheduler(
            optimizer, optim_cfg(LR_SCHEDULER="single_step", STEPSIZE=(1.5,))
        )


@pytest.mark.parametrize(
    "name", ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"]
)
def test_optimisers_get_trainable_parameters_only(name):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, optim_cfg(NAME=name))
    assert [p for g in optimizer.param_groups for p in g["params"]] == list(
        model[1].parameters()
    )
    before = model[1].weight.clone()
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[1].weight, before)
    assert type(optimizer).__name__.lower() == {"amsgrad": "adam"}.get(name, name)
    assert optimizer.defaults.get("amsgrad", False) == (name == "amsgrad")


def test_sgd_settings():
    optimizer = build_optimizer(
        [nn.Parameter(torch.ones(1))], optim_cfg(WEIGHT_DECAY=0.1, MOMENTUM=0.5)
    )
    group = optimizer.param_groups[0]
    assert (
        group["lr"],
        group["weight_decay"],
        group["momentum"],
        group["nesterov"],
    ) == (0.002, 0.1, 0.5, False)


def test_parameter_groups_and_staged_rates():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[1].bias.requires_grad_(False)
    groups = [
        {"params": model[0].parameters(), "lr": 1.0},
        {"params": model[1].parameters()},
    ]
    optimizer = build_optimizer(model, optim_cfg(), param_groups=groups)
    assert [(g["lr"], len(g["params"])) for g in optimizer.param_groups] == [
        (1.0, 2),
        (0.002, 1),
    ]
    optimizer = build_optimizer(model, optim_cfg(STAGED_LR=True, NEW_LAYERS=("1",)))
    assert [(g["lr"], len(g["params"])) for g in optimizer.param_groups] == [
        (pytest.approx(2e-4), 2),
        (0.002, 1),
    ]
    model.scale = nn.Parameter(torch.ones(1))  # of no child: left out, as in Dassl
    optimizer = build_optimizer(model, optim_cfg(STAGED_LR=True, NEW_LAYERS=("1",)))
    assert [len(g["params"]) for g in optimizer.param_groups] == [2, 1]
    with pytest.raises(TypeError, match="STAGED_LR"):
        build_optimizer(list(model.parameters()), optim_cfg(STAGED_LR=True))


def test_nothing_to_train(caplog):
    frozen = nn.Linear(1, 1).requires_grad_(False)
    optimizer = build_optimizer(frozen, optim_cfg(WEIGHT_DECAY=0.1))
    assert "no parameter has requires_grad=True" in caplog.text
    before = frozen.weight.clone()
    optimizer.step()
    assert torch.equal(frozen.weight, before)
    frozen.requires_grad_(True)  # a cache that is built later, as in Tip-Adapter
    frozen(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert not torch.equal(frozen.weight, before)
    with pytest.raises(ValueError, match="nothing to optimise"):
        build_optimizer(nn.Identity(), optim_cfg())
    with pytest.raises(ValueError, match="did you mean 'rmsprop'"):
        build_optimizer(nn.Linear(1, 1), optim_cfg(NAME="rmsprp"))


def test_radam_under_dassls_name():
    from dassl.optim.radam import RAdam

    found = []
    for make in (
        RAdam,
        lambda params, **options: build_optimizer(
            params, optim_cfg(NAME="radam", LR=0.01)
        ),
    ):
        parameter = nn.Parameter(torch.ones(3))
        optimizer = make([parameter], lr=0.01, weight_decay=5e-4)
        for _ in range(8):
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()
        found.append(parameter.detach())
    assert torch.equal(*found) and (found[0] < 1).all()
    with pytest.raises(ValueError, match="degenerated_to_sgd"):
        RAdam([nn.Parameter(torch.ones(1))], degenerated_to_sgd=False)
