"""The table of backbones: tiny random models of each family load as open_clip has them,
train a step and round-trip.
"""

import json

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from prompting import (
    PromptedCLIP,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    clip_shape,
    load_backbone,
    load_prompts,
    save_prompts,
)
from prompting.backbones import loading as backbone_module
from prompting.backbones.architectures import configuration, unsupported_reason
from tests.prompting.tiny import tiny_config

TIMM = {
    "timm_model_pretrained": False,
    "image_size": 32,
    "timm_pool": "",
    "timm_proj": "linear",
}


def family(vision: dict | None = None, image: str = "vit", **changes) -> dict:
    config = tiny_config(image, quick_gelu=False) | changes
    config["vision_cfg"] = (
        vision
        if vision and "timm_model_name" in vision
        else config["vision_cfg"] | (vision or {})
    )
    return config


def timm(name: str, **changes) -> dict:
    return TIMM | {"timm_model_name": name} | changes


BOTH = {
    "ViT with QuickGELU (OpenAI, DFN, MetaCLIP)": family(quick_gelu=True),
    "ViT with GELU (LAION, DataComp)": family(),
    "ViT with other heads and MLP (ViT-H, ViT-g)": family(
        {"head_width": 16, "mlp_ratio": 3.0}
    ),
    "ViT with layer scale, fixed positions, no first norm": family(
        {"ls_init_value": 0.5, "pos_embed_type": "sin_cos_2d", "no_ln_pre": True}
    ),
    "ViT with norms in its attention": family(
        {"qk_norm": True, "scale_attn": True, "scale_fc": True}
    ),
}
TEXT_ONLY = {
    "ResNet": (family(image="resnet"), "ModifiedResNet"),
    "ViT with average pooling": (family({"pool_type": "avg"}), "class token"),
    "ConvNeXt of timm": (
        family(timm("test_convnext", timm_drop=0.0)),
        "timm's ConvNeXt",
    ),
    "EVA02 (timm, separate text tower)": (
        family(
            timm(
                "eva02_tiny_patch14_224",
                image_size=224,
                timm_pool="token",
                timm_proj=None,
            ),
            custom_text=True,
        ),
        "timm's Eva",
    ),
    "ViTamin, PE (timm, separate text tower)": (
        family(
            timm("test_vit", image_size=160, timm_pool="token", timm_proj=None),
            custom_text=True,
        ),
        "timm's VisionTransformer",
    ),
}
FAMILIES = BOTH | {name: config for name, (config, _) in TEXT_ONLY.items()}
REFUSED = {
    "ViT-B-16-SigLIP": "no causal mask",
    "ViT-B-16-SigLIP2": "no causal mask",
    "MobileCLIP-S1": "no causal mask",
    "ViT-L-14-CLIPA": "no causal mask",
    "coca_ViT-B-32": "CoCa: .*reads a class token",
    "xlm-roberta-base-ViT-B-32": "Hugging Face model xlm-roberta-base",
    "nllb-clip-base-siglip": "Hugging Face model facebook/nllb",
    "ViT-H-14-worldwide": "its tokenizer is facebook/xlm-v-base",
}


def random_clip(config: dict) -> torch.nn.Module:
    config = dict(config)
    made = (
        open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    )
    return made(**config).eval().requires_grad_(False)


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Return a function that writes a random model of a family as open_clip does, loads
    it by name, and returns both.
    """

    def load(config):
        clip = random_clip(config)
        save_file(
            {name: value.contiguous() for name, value in clip.state_dict().items()},
            tmp_path / "w.safetensors",
        )
        monkeypatch.setattr(open_clip, "list_models", lambda: ["tiny"])
        monkeypatch.setattr(
            open_clip, "get_model_config", lambda name: json.loads(json.dumps(config))
        )
        return clip, load_backbone("tiny", str(tmp_path / "w.safetensors"))

    return load


def prompts(clip) -> dict:
    shape = clip_shape(clip)
    made = {"text": TextPrompt(3, shape.text_width)}
    if not shape.unsupported_reason:
        sizes = 2, shape.image_width, shape.image_layers, shape.patch_size
        made["visual"] = VisualPrompt(*sizes)
        made["unified"] = UnifiedPrompt(
            TextPrompt(2, shape.text_width), VisualPrompt(*sizes), dim=16
        )
    return made


@pytest.mark.parametrize("name", FAMILIES)
def test_family(loaded, tmp_path, name):
    clip, backbone = loaded(FAMILIES[name])
    images = torch.randn(2, 3, backbone.preprocessing.size, backbone.preprocessing.size)
    plain = PromptedCLIP(backbone.clip, tokenizer=backbone.tokenizer)
    ids = open_clip.SimpleTokenizer()(
        ["a photo of a cat.", "a photo of a red brick."], context_length=77
    )
    with torch.no_grad():
        torch.testing.assert_close(
            plain.encode_images(images), clip.encode_image(images, normalize=True)
        )
        texts = plain.encode_classes(["cat", "red_brick"])
        torch.testing.assert_close(
            texts, clip.encode_text(ids, normalize=True), rtol=1e-4, atol=1e-5
        )

    for kind, prompt in prompts(backbone.clip).items():
        model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer).train()
        optimiser = torch.optim.SGD(prompt.parameters(), lr=0.1)
        before = {key: value.clone() for key, value in prompt.state_dict().items()}
        F.cross_entropy(model(images, ["cat", "moon"]), torch.tensor([0, 1])).backward()
        optimiser.step()
        key = (
            "ctx"
            if kind == "text"
            else "embeddings"
            if kind == "visual"
            else "visual.embeddings"
        )
        assert not torch.equal(before[key], prompt.state_dict()[key]), kind
        save_prompts(tmp_path / "prompts.safetensors", prompt)
        again = PromptedCLIP(
            backbone.clip,
            load_prompts(tmp_path / "prompts.safetensors")[0],
            backbone.tokenizer,
        )
        with torch.no_grad():
            assert torch.equal(
                again.eval()(images, ["owl", "sea"]),
                model.eval()(images, ["owl", "sea"]),
            ), kind


@pytest.mark.parametrize("name", TEXT_ONLY)
def test_visual_prompts_are_refused_by_name(name):
    config, reason = TEXT_ONLY[name]
    clip = random_clip(
        {key: value for key, value in config.items() if key != "custom_text"}
    )
    with pytest.raises(
        ValueError,
        match=f"visual prompts need a vision transformer: .*{reason}.*text prompt instead",
    ):
        PromptedCLIP(clip, VisualPrompt(2, 64, 2, 8))


@pytest.mark.parametrize("name", REFUSED)
def test_other_text_towers_are_refused_with_a_reason(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} cannot be used: .*{REFUSED[name]}"):
        configuration(name)
    with pytest.raises(ValueError, match=f"{name} cannot be used"):
        load_backbone(name, str(tmp_path / "w.safetensors"))


def test_every_architecture_of_open_clip_is_decided():
    known = {
        name: unsupported_reason(open_clip.get_model_config(name))
        for name in open_clip.list_models()
    }
    for usable in (
        "ViT-B-16",
        "ViT-L-14-336",
        "ViT-bigG-14",
        "RN50x4",
        "convnext_base",
        "EVA02-L-14",
        "ViTamin-L",
    ):
        assert known[usable] == ""
    for word in ("SigLIP", "CLIPA", "coca", "worldwide", "nllb", "roberta"):
        assert all(
            reason for name, reason in known.items() if word.lower() in name.lower()
        ), word


def test_a_folder_like_open_clips_repositories(tmp_path):
    config = family({"patch_size": 16}, quick_gelu=True)
    clip = random_clip(config)
    values = {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bilinear",
    }
    text = json.dumps({"model_cfg": config, "preprocess_cfg": values})
    (tmp_path / "open_clip_config.json").write_text(text)
    with pytest.raises(
        FileNotFoundError,
        match="holds no model: neither open_clip_config.json and one of",
    ):
        load_backbone(str(tmp_path))
    file = tmp_path / "open_clip_model.safetensors"
    save_file(
        {name: value.contiguous() for name, value in clip.state_dict().items()}, file
    )
    for given in (tmp_path, file):
        backbone = load_backbone(str(given))
        assert backbone.preprocessing == backbone_module.Preprocessing(
            32, (0.5,) * 3, (0.25,) * 3, "bilinear"
        )
        images = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(
                backbone.clip.encode_image(images), clip.encode_image(images)
            )
    refused = {
        "model_cfg": config
        | {"text_cfg": config["text_cfg"] | {"no_causal_mask": True}}
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(refused))
    with pytest.raises(
        ValueError, match="safetensors cannot be used: .*no causal mask"
    ):
        load_backbone(str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(
        ValueError, match="open_clip_config.json is no configuration of open_clip"
    ):
        load_backbone(str(tmp_path))


def test_preprocessing_of_an_architecture_is_that_of_its_weights():
    assert backbone_module.pretrained_values("MobileCLIP-B") == {
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "interpolation": "bilinear",
    }


def test_where_weights_are_looked_for(monkeypatch):
    def offline(*args, **options):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(open_clip, "create_model", offline)
    place = "looks for laion/CLIP-ViT-B-16-laion2B-s34B-b88K in the Hugging Face cache"
    with pytest.raises(FileNotFoundError, match=f"{place}.*Give a file instead"):
        load_backbone("ViT-B-16", "laion2b_s34b_b88k")


def test_a_pretrained_tag_with_a_separate_text_tower(monkeypatch):
    """Load a model that open_clip downloads, and the preprocessing that comes with the
    tag.
    """
    config = TEXT_ONLY["ViTamin, PE (timm, separate text tower)"][0]
    clip = random_clip(config)
    clip.visual.preprocess_cfg = {
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "interpolation": "bilinear",
    }
    monkeypatch.setattr(open_clip, "create_model", lambda *args, **options: clip)
    monkeypatch.setattr(
        open_clip, "get_model_config", lambda name: json.loads(json.dumps(config))
    )
    backbone = load_backbone("EVA02-B-16", "merged2b_s8b_b131k")
    values = backbone_module.Preprocessing(
        160, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear"
    )
    assert type(backbone.clip) is open_clip.CLIP and backbone.preprocessing == values
    ids = open_clip.SimpleTokenizer()(["a cat"], context_length=77)
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.clip.encode_text(ids), clip.encode_text(ids), rtol=1e-4, atol=1e-5
        )
