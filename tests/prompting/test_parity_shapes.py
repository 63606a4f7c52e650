"""Logits and gradients on random backbones of several widths, heads and patch sizes,
against `oracle`.
"""

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import build_model_from_openai_state_dict
from safetensors.torch import save_file

from prompting import PromptedCLIP, load_backbone, prompt_from_reference
from prompting.backbones import loading as backbone_module
from prompting.checkpoints.reference import rename
from tests.prompting import oracle

NAMES = ["cat", "red_brick", "a very large grand piano", "St. Bernard"]
SHAPES = {  # as `oracle.random_state` takes them
    "one head, patches of 8": (64, 2, 8, 32, 64, 2, 16),
    "two heads, patches of 16": (128, 3, 16, 48, 128, 2, 32),
    "three and two heads, patches of 14": (192, 2, 14, 28, 128, 3, 24),
}
CASES = (
    "end",
    "middle",
    "odd",
    "front",
    "class-specific",
    "deep",
    "shallow",
    "projected",
    "unified",
    "unified-shallow",
)


@pytest.fixture(scope="module", params=SHAPES)
def world(request, tmp_path_factory):
    """Return a state dict, whose values half precision holds as OpenAI's files do, and
    the backbone of its file.
    """
    state = {
        name: value.half().float()
        for name, value in oracle.random_state(*SHAPES[request.param]).items()
    }
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(state, path)
    return state, load_backbone(str(path)), SHAPES[request.param]


@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients(world, case):
    state, backbone, shape = world
    learned, position = oracle.random_prompt(case, shape, len(NAMES))
    size = backbone.preprocessing.size
    images, labels = torch.randn(5, 3, size, size), torch.tensor([0, 1, 2, 3, 0])

    leaves = {name: value.clone().requires_grad_() for name, value in learned.items()}
    wanted = oracle.logits(state, leaves, images, NAMES, position)
    F.cross_entropy(wanted, labels).backward()

    prompt = prompt_from_reference(learned, position, patch_size=shape[2])
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer).train()
    got = model(images, NAMES)
    F.cross_entropy(got, labels).backward()

    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)
    gradients = dict(prompt.named_parameters())
    expected = rename({name: leaf.grad for name, leaf in leaves.items()})
    assert set(gradients) == set(expected)
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        assert (gradients[name].grad - gradient).norm() / gradient.norm() < 1e-4, name


def test_zero_shot(world):
    state, backbone, _ = world
    size = backbone.preprocessing.size
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        got = PromptedCLIP(backbone.clip, tokenizer=backbone.tokenizer)(images, NAMES)
        torch.testing.assert_close(
            got, oracle.logits(state, {}, images, NAMES), rtol=0, atol=1e-4
        )


def test_open_clips_loader_gives_the_same_features(world):
    """Compare with open_clip, which infers QuickGELU, heads and sizes of OpenAI's
    files.
    """
    state, backbone, _ = world
    theirs = (
        build_model_from_openai_state_dict(dict(state), cast_dtype=torch.float32)
        .float()
        .eval()
    )
    size = backbone.preprocessing.size
    images, ids = (
        torch.randn(2, 3, size, size),
        oracle.TOKENIZER(NAMES, context_length=77),
    )
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.clip.encode_image(images),
            theirs.encode_image(images),
            rtol=0,
            atol=1e-5,
        )
        torch.testing.assert_close(
            backbone.clip.encode_text(ids), theirs.encode_text(ids), rtol=0, atol=1e-5
        )


def activation(clip) -> str:
    return type(clip.visual.transformer.resblocks[0].mlp.gelu).__name__


def test_openai_weights_never_get_gelu_silently(tmp_path, monkeypatch, caplog):
    """Load them into an architecture whose configuration says GELU: corrected if the
    file shows it, else a warning is logged.
    """
    width, layers, patch, size, text_width, text_layers, features = SHAPES[
        "one head, patches of 8"
    ]
    state = oracle.random_state(
        width, layers, patch, size, text_width, text_layers, features
    )
    config = {
        "embed_dim": features,
        "vision_cfg": {
            "image_size": size,
            "layers": layers,
            "width": width,
            "patch_size": patch,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": text_width,
            "heads": 1,
            "layers": text_layers,
        },
    }
    monkeypatch.setattr(backbone_module, "configuration", lambda name: dict(config))
    bare, sized = tmp_path / "bare.pt", tmp_path / "sized.pt"
    numbers = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77)}
    torch.save(state, bare)
    torch.save({**state, **numbers, "vocab_size": torch.tensor(49408)}, sized)

    assert (
        activation(load_backbone("ViT-B-16", str(sized)).clip) == "QuickGELU"
        and not caplog.records
    )
    assert activation(load_backbone("ViT-B/16", str(bare)).clip) == "QuickGELU"
    assert activation(load_backbone("ViT-B-16", str(bare)).clip) == "GELU"
    message = caplog.records[-1].getMessage()
    assert caplog.records[-1].levelname == "WARNING"
    assert (
        "do not tell the activation; ViT-B-16 means GELU. Weights trained with QuickGELU need ViT-B-16-quickg"
        in message
    )
