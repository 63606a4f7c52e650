"""Registries, names and the choice between built-in and installed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dassl.data.datasets import build_dataset
from dassl.engine import SimpleNet, build_trainer
from dassl.evaluation import build_evaluator
from dassl.modeling import (
    BACKBONE_REGISTRY,
    HEAD_REGISTRY,
    NETWORK_REGISTRY,
    Backbone,
    build_backbone,
)
from dassl.utils import Registry, check_availability, get_most_similar_str_to_a_from_b

import toolkit


def test_register_and_get():
    registry = Registry("THING")

    @registry.register()
    class Spoon:
        pass

    def fork():
        pass

    assert registry.register(fork) is None
    assert registry.registered_names() == ["Spoon", "fork"]
    assert registry.get("Spoon") is Spoon and registry.get("fork") is fork
    with pytest.raises(KeyError, match="knife is not registered in THING"):
        registry.get("knife")


def test_a_taken_name_needs_force():
    registry = Registry("THING")
    first, second = type("Cup", (), {}), type("Cup", (), {})
    registry.register(first)
    with pytest.raises(KeyError, match="already registered"):
        registry.register(second)
    assert registry.get("Cup") is first
    registry.register(second, force=True)
    assert registry.get("Cup") is second


def test_nearest_name():
    assert get_most_similar_str_to_a_from_b("cooop", ["VPT", "CoOp", "MVLPT"]) == "CoOp"
    check_availability("VPT", ["VPT", "CoOp"])
    with pytest.raises(ValueError, match="did you mean 'VPT'"):
        check_availability("VTP", ["VPT", "CoOp"])
    with pytest.raises(ValueError, match="'x' is not one of"):
        check_availability("x", [])


def test_unknown_choices_name_the_nearest(cfg):
    cfg.TRAINER.NAME = "ToyTrainr"
    with pytest.raises(ValueError, match="did you mean 'ToyTrainer'"):
        build_trainer(cfg)
    cfg.DATASET.NAME = "ToyColors"
    with pytest.raises(ValueError, match="did you mean 'ToyColours'"):
        build_dataset(cfg)
    cfg.TEST.EVALUATOR = "Clasification"
    with pytest.raises(ValueError, match="did you mean 'Classification'"):
        build_evaluator(cfg)


class TinyBackbone(Backbone):
    def __init__(self, pretrained):
        super().__init__()
        self.pretrained = pretrained
        self._out_features = 12

    def forward(self, x):
        return x.flatten(1)


def test_modeling_registries(cfg):
    assert HEAD_REGISTRY.registered_names() == NETWORK_REGISTRY.registered_names() == []
    BACKBONE_REGISTRY.register(TinyBackbone, force=True)
    assert (
        build_backbone("TinyBackbone", verbose=False, pretrained=False).pretrained
        is False
    )
    with pytest.raises(ValueError, match="did you mean 'TinyBackbone'"):
        build_backbone("TinyBackbon")
    cfg.MODEL.BACKBONE.NAME = "TinyBackbone"
    net = SimpleNet(cfg, cfg.MODEL, num_classes=5)
    scores, features = net(torch.ones(2, 3, 2, 2), return_feature=True)
    assert (scores.shape, features.shape, net.fdim, net.backbone.pretrained) == (
        (2, 5),
        (2, 12),
        12,
        True,
    )
    assert SimpleNet(cfg, cfg.MODEL, num_classes=0)(torch.ones(2, 3, 2, 2)).shape == (
        2,
        12,
    )


ROOT = Path(toolkit.__file__).parents[1]

NAMES = {
    "dassl.engine": "TRAINER_REGISTRY TrainerX TrainerXU TrainerBase SimpleTrainer SimpleNet build_trainer",
    "dassl.engine.trainer": "TrainerX TrainerXU TrainerBase SimpleTrainer SimpleNet",
    "dassl.metrics": "compute_accuracy",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.data": "DataManager DatasetWrapper",
    "dassl.data.data_manager": "build_data_loader DataManager DatasetWrapper",
    "dassl.data.datasets": "DATASET_REGISTRY Datum DatasetBase build_dataset",
    "dassl.data.samplers": "build_sampler",
    "dassl.data.transforms": "INTERPOLATION_MODES build_transform",
    "dassl.config": "get_cfg_default clean_cfg",
    "dassl.evaluation": "EVALUATOR_REGISTRY build_evaluator EvaluatorBase Classification",
    "dassl.modeling": "build_backbone build_head build_network BACKBONE_REGISTRY HEAD_REGISTRY NETWORK_REGISTRY",
    "dassl.utils": "mkdir_if_missing check_isfile read_json write_json set_random_seed download_url read_image "
    "collect_env_info listdir_nohidden get_most_similar_str_to_a_from_b check_availability tolist_if_not Logger "
    "setup_logger AverageMeter MetricMeter Registry save_checkpoint load_checkpoint resume_from_checkpoint "
    "open_all_layers open_specified_layers count_num_param load_pretrained_weights init_network_weights",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_of_the_surface(module):
    imported = __import__(module, fromlist=["*"])
    assert [name for name in NAMES[module].split() if not hasattr(imported, name)] == []


def test_imports_are_light_and_silent():
    code = (
        "import sys, toolkit, dassl.engine, dassl.data\n"
        "heavy = {'wilds', 'pandas', 'nltk', 'gdown', 'tensorboard'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_an_installed_dassl_wins(tmp_path):
    (tmp_path / "dassl").mkdir()
    (tmp_path / "dassl" / "__init__.py").write_text("__version__ = '0.6.3'\n")
    code = f"import sys; sys.path.insert(1, {str(tmp_path)!r}); import toolkit; print(toolkit.which_dassl())"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert result.stdout.strip() == "dassl 0.6.3 (installed)", result.stderr
    if "toolkit" in toolkit.which_dassl():
        assert toolkit.which_dassl() == "toolkit/dassl (built in)"
