"""Backbones by name and from files in every layout."""

import json
import logging

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from datasets.pocket import SPECS
from prompting import PromptedCLIP, load_backbone, load_pocket
from prompting.backbones import hub_models
from prompting.backbones import loading as backbone_module
from prompting.backbones.weights import build_from_openai_layout, openai_config
from tests.prompting.reference_data import openai_state
from tests.prompting.tiny import random_images, tiny_clip, tiny_config

SIZES = {
    "input_resolution": torch.tensor(32),
    "context_length": torch.tensor(77),
    "vocab_size": torch.tensor(49408),
}


def nest(state: dict) -> nn.Module:
    """Return a module with these state-dict names, as scripted archives have."""
    root = nn.Module()
    for name, value in state.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_buffer(leaf, value)
    return root


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning")
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".jit"])
def test_openai_layouts(tmp_path, suffix):
    state = {name: value.half() for name, value in openai_state().items()}
    path = tmp_path / f"small{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix == ".pt":
        torch.save({**state, **SIZES}, path)
    else:
        torch.jit.script(nest({**state, **SIZES})).save(str(path))
    backbone = load_backbone(str(path))
    loaded = backbone.clip.state_dict()
    assert all(
        torch.equal(loaded[name], value.float()) for name, value in state.items()
    )
    assert (
        type(backbone.clip.visual.transformer.resblocks[0].mlp.gelu).__name__
        == "QuickGELU"
    )
    assert backbone.name == path.name and not backbone.clip.training
    assert not any(parameter.requires_grad for parameter in backbone.clip.parameters())


def test_resnet_in_openai_layout():
    config = tiny_config("resnet")
    config["text_cfg"] |= {"width": 64, "heads": 1}
    config["vision_cfg"] |= {"width": 8, "head_width": 64, "layers": [1, 2, 1, 1]}
    clip = open_clip.CLIP(**config).eval()
    state = {
        name: value
        for name, value in clip.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    inferred = openai_config(state, "small")
    assert inferred["vision_cfg"] == {
        "layers": [1, 2, 1, 1],
        "width": 8,
        "image_size": 32,
    }
    loaded = build_from_openai_layout(state, "small").eval()
    images = random_images()
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.encode_image(images), clip.encode_image(images)
        )


def test_other_layouts_name_their_keys(tmp_path):
    path = tmp_path / "custom.safetensors"
    save_file(
        {
            "text.embeddings.weight": torch.zeros(2),
            "visual.conv1.weight": torch.zeros(2),
        },
        path,
    )
    with pytest.raises(
        ValueError,
        match="missing keys text_projection.*unexpected keys text.embeddings.weight",
    ):
        load_backbone(str(path))
    state = openai_state()
    state["visual.extra"] = state.pop("visual.ln_post.bias")
    with pytest.raises(
        ValueError,
        match="missing keys visual.ln_post.bias; unexpected keys visual.extra",
    ):
        build_from_openai_layout(state, "small")
    state = openai_state()
    state["visual.conv1.weight"] = torch.zeros(1280, 3, 14, 14)
    with pytest.raises(
        ValueError, match="width of ViT-H-14, whose heads are not OpenAI's"
    ):
        build_from_openai_layout(state, "small")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "text_projection",
            torch.zeros(8),
            r"small: text_projection has the shape \(8,\); it should have 2 dimensions",
        ),
        ("text_projection", torch.zeros(()), r"text_projection has the shape \(\)"),
        (
            "visual.conv1.weight",
            torch.zeros(64, 3),
            r"visual.conv1.weight has the shape \(64, 3\); .* 4 dimensions",
        ),
        (
            "visual.positional_embedding",
            torch.zeros(0, 64),
            r"visual.positional_embedding has the shape \(0, 64\)",
        ),
        (
            "ln_final.weight",
            torch.zeros(2, 64),
            r"ln_final.weight has the shape \(2, 64\); it should have 1 dimension",
        ),
        ("transformer.resblocks.", None, "small: its text tower has no layers"),
        ("visual.transformer.resblocks.", None, "small: its image tower has no layers"),
    ],
)
def test_tensors_that_tell_no_architecture_are_named(name, value, message):
    state = openai_state()
    if value is None:
        state = {
            key: tensor for key, tensor in state.items() if not key.startswith(name)
        }
    else:
        state[name] = value
    with pytest.raises(ValueError, match=message):
        build_from_openai_layout(state, "small")


def test_the_advice_names_flag_and_key_and_only_where_it_helps():
    with pytest.raises(
        ValueError, match="small is not in OpenAI's layout: .*; it holds no CLIP"
    ) as caught:
        build_from_openai_layout(
            {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}, "small"
        )
    assert "PRETRAINED" not in str(caught.value)
    state = openai_state()
    state["text.logit_bias"] = state.pop("logit_scale")
    with pytest.raises(
        ValueError,
        match="--backbone ViT-B-32.*MODEL.BACKBONE.PRETRAINED FILE.*--pretrained FILE",
    ):
        build_from_openai_layout(state, "small")
    with pytest.raises(
        ValueError,
        match=r"leave 'laion' \(MODEL.BACKBONE.PRETRAINED, --pretrained\) out",
    ):
        load_backbone("pocket", "laion")


def test_keys_that_are_numbers_are_no_state_dict(tmp_path):
    for content in (
        {0: torch.zeros(2), 1: torch.zeros(3)},
        {"state_dict": {5: torch.zeros(2)}},
    ):
        torch.save(content, tmp_path / "numbers.pt")
        with pytest.raises(
            ValueError, match=r"numbers.pt holds no state dict of tensors"
        ):
            load_backbone(str(tmp_path / "numbers.pt"))


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*missing.pt"):
        load_backbone(str(tmp_path / "missing.pt"))
    with pytest.raises(ValueError, match="local-dir: needs a folder"):
        load_backbone("local-dir:")
    for content, message in (
        ("", "is empty"),
        ("<!DOCTYPE html>", "is a web page, as servers send"),
        ("version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    ):
        for name in ("x.pt", "x.safetensors"):
            (tmp_path / name).write_text(content)
            with pytest.raises(ValueError, match=f"{name} {message}"):
                load_backbone(str(tmp_path / name))
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match="text.pt cannot be read as a checkpoint"):
        load_backbone(str(tmp_path / "text.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no state dict"):
        load_backbone(str(tmp_path / "list.pt"))


@pytest.mark.parametrize(
    ("name", "near"), [("ViT-B16", "ViT-B/16"), ("Pockett", "pocket"), ("rn51", "RN50")]
)
def test_unknown_name_gives_the_nearest(name, near):
    with pytest.raises(
        ValueError, match=f"unknown backbone '{name}'; did you mean .*{near}"
    ):
        load_backbone(name)


def test_weights_that_cannot_be_had(monkeypatch):
    def offline(name, tag, **options):
        assert (name, tag, options["force_quick_gelu"]) == ("ViT-B-16", "openai", True)
        raise RuntimeError("no route to host")

    monkeypatch.setattr(hub_models, "check_reachable", lambda repository: None)
    monkeypatch.setattr(open_clip, "create_model", offline)
    with pytest.raises(
        FileNotFoundError,
        match="'openai' of ViT-B/16 cannot be had here.*no route.*Give a file",
    ):
        load_backbone("ViT-B/16")


@pytest.mark.parametrize(
    ("name", "tag", "repository"),
    [
        ("ViT-B/16", None, "timm/vit_base_patch16_clip_224.openai"),
        ("RN50", None, "timm/resnet50_clip.openai"),
        ("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    ],
)
def test_a_hub_that_does_not_answer_is_one_message(
    name, tag, repository, monkeypatch, capfd, caplog
):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda repository, name: None
    )
    monkeypatch.setattr(open_clip, "create_model", None)
    reason = f"http://127.0.0.1:1 does not answer.*open_clip looks for {repository} "
    with pytest.raises(FileNotFoundError, match=reason):
        load_backbone(name, tag)
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_weights_in_the_cache_need_no_network(monkeypatch):
    def cached(repository, name):
        assert repository == "timm/vit_base_patch16_clip_224.openai"
        return "/cache/file" if name == hub_models.WEIGHTS[0] else None

    def loaded(name, tag, **options):
        logging.error("of open_clip")
        raise RuntimeError("the file is read")

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    monkeypatch.setattr(open_clip, "create_model", loaded)
    with pytest.raises(FileNotFoundError, match="the file is read"):
        load_backbone("ViT-B/16")
    assert logging.root.manager.disable == logging.NOTSET


def test_tags_are_checked():
    with pytest.raises(
        ValueError, match="no weights 'laion3b' of ViT-B-32.*laion2b_s34b_b79k"
    ):
        load_backbone("ViT-B-32", "laion3b")
    with pytest.raises(
        ValueError, match="ViT-H-14 needs pretrained weights .*: .*laion2b_s32b_b79k"
    ):
        load_backbone("ViT-H-14")
    with pytest.raises(
        ValueError,
        match="coca_ViT-B-32 cannot be used: it is a CoCa",
    ):
        load_backbone("coca_ViT-B-32", "laion2b_s13b_b90k")


@pytest.mark.parametrize(("sizes", "activation"), [({}, "GELU"), (SIZES, "QuickGELU")])
def test_architecture_with_a_file(tmp_path, monkeypatch, sizes, activation):
    monkeypatch.setattr(open_clip, "list_models", lambda: ["tiny"])
    monkeypatch.setattr(
        open_clip, "get_model_config", lambda name: tiny_config(quick_gelu=False)
    )
    clip = tiny_clip()
    torch.save(
        {
            "epoch": 3,
            "state_dict": {
                f"module.{k}": v for k, v in {**clip.state_dict(), **sizes}.items()
            },
        },
        tmp_path / "a.pt",
    )
    backbone = load_backbone("tiny", str(tmp_path / "a.pt"))
    assert (
        type(backbone.clip.visual.transformer.resblocks[0].mlp.gelu).__name__
        == activation
    )
    assert torch.equal(backbone.clip.text_projection, clip.text_projection)


@pytest.mark.parametrize("wrapper", ["", "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "clip.", "a.b."],
)
def test_fine_tuned_files(tmp_path, wrapper, prefix):
    state = openai_state()
    expected = build_from_openai_layout(state, "small").state_dict()
    scale = state.pop("logit_scale")
    found = {f"{prefix}logit_scale": scale.reshape(1)}
    for name, value in state.items():
        tower = "" if name.startswith("visual.") else "text."
        found[prefix + tower + name] = value
    content = (
        {wrapper: found, "epoch": 3, "optimizer": {"lr": 0.1}} if wrapper else found
    )
    torch.save(content, tmp_path / "tuned.pt")
    torch.testing.assert_close(
        load_backbone(str(tmp_path / "tuned.pt")).clip.state_dict(),
        expected,
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("kind", ["int8", "uint8", "float8_e4m3fn"])
def test_quantised_weights_are_refused(tmp_path, kind):
    state = openai_state()
    name = "visual.conv1.weight"
    state[name] = state[name].to(getattr(torch, kind))
    torch.save(state, tmp_path / "quantised.pt")
    message = f"quantised.pt: {name} holds {kind}; quantised weights cannot be used"
    with pytest.raises(ValueError, match=message):
        load_backbone(str(tmp_path / "quantised.pt"))


def test_wrappers_in_wrappers_and_unknown_ones(tmp_path):
    file = tmp_path / "tuned.pt"
    torch.save({"state_dict": {"model": openai_state(), "epoch": 3}}, file)
    expected = openai_state()["text_projection"].float()
    assert torch.equal(load_backbone(str(file)).clip.text_projection, expected)
    torch.save({"ema": openai_state(), "epoch": 3}, file)
    message = "no state dict of tensors; its keys are ema, epoch"
    with pytest.raises(ValueError, match=message):
        load_backbone(str(file))


def test_the_pocket_knows_the_classes_of_its_own_tasks():
    backbone = load_backbone("pocket")
    for name, spec in SPECS.items():
        assert not backbone.unknown_classes(spec.classes.values()), name


def test_words_that_the_pocket_does_not_know(caplog):
    backbone = load_backbone("pocket")
    classes = ["cat", "red_flower", "birds", "wren", "night bird", "red brick"]
    assert backbone.unknown_classes(classes) == ["birds", "wren"]
    assert backbone.unknown_classes(["night wren", "night robin", "night bird"]) == [
        "night wren",
        "night robin",
    ]
    message = "photos: the backbone pocket knows few words.* of the class names 'birds', 'wren' to .*--backbone, such as ViT-B/16"
    with pytest.raises(ValueError, match=f"{message} .--force"):
        backbone.check_classes(classes, "photos")
    backbone.check_classes(["cat", "red_flower"])
    assert not caplog.messages
    backbone.check_classes(classes, "photos", force=True)
    assert "'birds', 'wren'" in caplog.text
    with pytest.raises(ValueError, match="'wren', 'wren wren', .* and 2 more"):
        backbone.check_classes([" ".join(["wren"] * number) for number in range(1, 8)])


def write_pocket(folder, clip):
    config = {
        "model_cfg": tiny_config(),
        "preprocess_cfg": {
            "size": 32,
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.2, 0.1],
            "interpolation": "bilinear",
        },
    }
    (folder / "model.json").write_text(json.dumps(config))
    state = {name: value.half() for name, value in clip.state_dict().items()}
    weight = state.pop("token_embedding.weight")
    ids = weight.abs().sum(1).nonzero().squeeze(1)
    save_file(
        {**state, "token_ids": ids, "token_embedding.rows": weight[ids].contiguous()},
        folder / "model.safetensors",
    )


def test_pocket(tmp_path, monkeypatch):
    clip = tiny_clip()
    clip.token_embedding.weight.data[1000:49000] = 0
    write_pocket(tmp_path, clip)
    backbone = load_pocket(tmp_path)
    assert backbone.name == "pocket"
    assert backbone.preprocessing == backbone_module.Preprocessing(
        32, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "bilinear"
    )
    state = backbone.clip.state_dict()
    for name, value in clip.state_dict().items():
        assert state[name].dtype == torch.float32 and torch.equal(
            state[name], value.half().float()
        ), name
    logits = PromptedCLIP(backbone.clip, tokenizer=backbone.tokenizer)(
        random_images(), ["cat", "dog"]
    )
    assert logits.shape == (3, 2) and logits.isfinite().all()


def test_pocket_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="model.json is missing"):
        load_pocket(tmp_path)
    with pytest.raises(ValueError, match="has its own weights"):
        load_backbone("pocket", "openai")
