"""Steps of the transforms, their order and their outputs."""

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.data.transforms import AVAI_CHOICES, INTERPOLATION_MODES, build_transform
from PIL import Image
from torchvision.transforms import InterpolationMode


@pytest.fixture
def input_cfg():
    cfg = get_cfg_default()
    cfg.INPUT.SIZE = (32, 24)
    cfg.INPUT.INTERPOLATION = "bicubic"
    return cfg


@pytest.fixture(scope="module")
def image():
    return Image.effect_mandelbrot((50, 40), (-2, -1, 1, 1), 50).convert("RGB")


def names(transform):
    return [type(step).__name__ for step in transform.transforms]


@pytest.mark.parametrize("choice", AVAI_CHOICES)
def test_every_name_gives_the_size(input_cfg, image, choice):
    train, test = (
        build_transform(input_cfg, is_train=t, choices=[choice]) for t in (True, False)
    )
    for transform in (train, test):
        for _ in range(4):
            out = transform(image)
            assert (out.shape, out.dtype) == ((3, 32, 24), torch.float32)
            assert torch.isfinite(out).all()
    assert (names(train)[0] == "Resize") == (
        choice not in ("random_crop", "random_resized_crop")
    )
    changes_test = choice in ("normalize", "instance_norm")
    assert len(names(test)) == 3 + changes_test


def test_train_order_is_fixed(input_cfg):
    expected = [
        "RandomTranslation", "RandomCrop", "RandomResizedCrop", "RandomHorizontalFlip",
        "AutoAugment", "AutoAugment", "AutoAugment", "RandAugment", "RandomMagnitudeAugment", "RandomMagnitudeAugment",
        "ColorJitter", "RandomGrayscale", "RandomApply", "ToTensor", "Cutout", "Normalize", "GaussianNoise",
        "InstanceNormalize",
    ]  # fmt: skip
    for choices in (AVAI_CHOICES, AVAI_CHOICES[::-1]):
        transform = build_transform(input_cfg, choices=choices)
        assert names(transform) == expected
        assert [step.policy.value for step in transform.transforms[4:7]] == [
            "imagenet",
            "cifar10",
            "svhn",
        ]


def test_the_usual_two(input_cfg, image):
    input_cfg.INPUT.TRANSFORMS = ("normalize", "random_flip", "random_resized_crop")
    train, test = build_transform(input_cfg), build_transform(input_cfg, is_train=False)
    assert names(train) == [
        "RandomResizedCrop",
        "RandomHorizontalFlip",
        "ToTensor",
        "Normalize",
    ]
    assert names(test) == ["Resize", "CenterCrop", "ToTensor", "Normalize"]
    assert (
        train.transforms[0].interpolation
        == test.transforms[0].interpolation
        == InterpolationMode.BICUBIC
    )
    assert train.transforms[0].scale == (0.08, 1.0)
    assert (test.transforms[0].size, test.transforms[1].size) == (32, (32, 24))
    assert train.transforms[-1].mean == [0.485, 0.456, 0.406]


def test_values(input_cfg):
    grey = Image.new("RGB", (32, 24), (51, 51, 51))
    out = build_transform(input_cfg, choices=["normalize"], is_train=False)(grey)
    assert out[:, 0, 0].tolist() == pytest.approx(
        [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    )
    input_cfg.INPUT.CUTOUT_LEN = 4
    holes = [
        (build_transform(input_cfg, choices=["cutout"])(grey) == 0).sum().item() / 3
        for _ in range(20)
    ]
    assert max(holes) == 16 and min(holes) >= 4


def test_instance_norm(input_cfg, image):
    out = build_transform(input_cfg, choices=["instance_norm"])(image).flatten(1)
    assert out.mean(dim=1).tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert out.std(dim=1).tolist() == pytest.approx([1] * 3, abs=1e-5)


def test_no_transform_and_bad_names(input_cfg):
    with pytest.raises(ValueError, match="did you mean 'random_flip'"):
        build_transform(input_cfg, choices=["randomflip"])
    input_cfg.INPUT.INTERPOLATION = "cubic"
    with pytest.raises(ValueError, match="did you mean 'bicubic'"):
        build_transform(input_cfg)
    input_cfg.INPUT.NO_TRANSFORM = True
    assert build_transform(input_cfg) is None
    assert list(INTERPOLATION_MODES) == ["bilinear", "bicubic", "nearest"]
