"""Folders of transformers' CLIPModel: the features are those of transformers itself,
without and with prompts.
"""

import json
import shutil

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from prompting import PromptedCLIP, TextPrompt, VisualPrompt, clip_shape, load_backbone
from prompting.backbones.names import is_known, is_path, local_path
from prompting.tokens import clip_tokenizer
from tests.prompting.families import BIOMED_CLIP
from tests.prompting.tiny import random_images

transformers = pytest.importorskip("transformers")

NAMES = ["cat", "red_brick", "a very old oak tree"]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
END = 49407


def write(folder, activation="quick_gelu", end=END, safe=True, **text):
    """Write a random CLIPModel to a folder, as transformers saves it, and return it."""
    config = transformers.CLIPConfig(
        text_config={**TEXT, "hidden_act": activation, "eos_token_id": end, **text},
        vision_config={
            **VISION,
            "hidden_act": activation,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=16,
    )
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.normal_(std=0.3)
        else:
            parameter.data.mul_(5)
    model.save_pretrained(folder)
    if not safe:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return model


def sentences(prefix: str) -> torch.Tensor:
    tokenizer = open_clip.SimpleTokenizer()
    return tokenizer(
        [f"{prefix} {name.replace('_', ' ')}." for name in NAMES], context_length=77
    )


def unit(x):
    x = getattr(x, "pooler_output", x)
    return x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("name", ["pocket", "RN50", "ViT-B-32"])
def test_a_folder_called_like_a_known_model(tmp_path, monkeypatch, name):
    """Expect that local-dir: reads the folder, never the model of that name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    write(tmp_path / name)
    backbone = load_backbone(f"local-dir:{name}")
    assert clip_shape(backbone.clip).text_width == TEXT["hidden_size"]
    assert backbone.record(f"local-dir:{name}")["backbone"] == name
    assert local_path(f"local-dir:{name}") == str(tmp_path / name)
    assert local_path(name) == name
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*/nowhere/RN50"):
        load_backbone("local-dir:nowhere/RN50")


@pytest.mark.parametrize(
    ("activation", "end", "safe"),
    [("quick_gelu", 2, True), ("gelu", END, True), ("gelu", 2, False)],
)
def test_features_are_those_of_transformers(tmp_path, activation, end, safe):
    model = write(tmp_path, activation, end, safe)
    backbone = load_backbone(f"local-dir:{tmp_path}")
    assert (
        backbone.activation == {"gelu": "GELU", "quick_gelu": "QuickGELU"}[activation]
    )
    images = random_images()
    plain = PromptedCLIP(backbone.clip)
    with torch.no_grad():
        expected = unit(model.get_image_features(pixel_values=images))
        torch.testing.assert_close(
            plain.encode_images(images), expected, rtol=0, atol=1e-5
        )
        expected = unit(model.get_text_features(input_ids=sentences("a photo of a")))
        torch.testing.assert_close(
            plain.encode_classes(NAMES), expected, rtol=0, atol=1e-5
        )
        assert torch.equal(backbone.clip.logit_scale, model.logit_scale)


def prompted_text(model, ctx: torch.Tensor) -> torch.Tensor:
    """Return class features of "<ctx> name." by transformers' own blocks, fed with
    embeddings.
    """
    ids = sentences("X " * len(ctx))
    text = model.text_model
    embedded = text.embeddings.token_embedding(ids)
    embedded[:, 1 : 1 + len(ctx)] = ctx
    x = text.embeddings(inputs_embeds=embedded)
    x = blocks(text.encoder.layers, x, causal=True)
    x = text.final_layer_norm(x)
    rows = torch.arange(len(ids))
    return unit(model.text_projection(x[rows, ids.argmax(-1)]))


def prompted_images(model, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return image features by transformers' own blocks with tokens behind the class
    token.
    """
    vision = model.vision_model
    x = vision.pre_layrnorm(vision.embeddings(images))
    x = torch.cat([x[:, :1], tokens.expand(len(x), -1, -1), x[:, 1:]], dim=1)
    x = blocks(vision.encoder.layers, x, causal=False)
    return unit(model.visual_projection(vision.post_layernorm(x[:, 0])))


def blocks(layers, x: torch.Tensor, causal: bool) -> torch.Tensor:
    mask = None
    if causal:
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)[None, None]
    for layer in layers:
        x = layer(x, attention_mask=mask)
        if isinstance(x, tuple):
            x = x[0]
    return x


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_prompts_enter_as_inputs_embeds(tmp_path, activation):
    model = write(tmp_path, activation).requires_grad_(False)
    model.set_attn_implementation("eager")
    clip = load_backbone(str(tmp_path)).clip
    shape = clip_shape(clip)
    text = TextPrompt(3, shape.text_width, position="end")
    visual = VisualPrompt(2, shape.image_width, 1, shape.patch_size)
    images = random_images()
    text.ctx.data.mul_(20)
    visual.embeddings.data.mul_(20)
    expected = prompted_text(model, text.contexts().text[0])
    found = PromptedCLIP(clip, text).encode_classes(NAMES)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    weights = torch.randn(expected.shape)
    gradients = [
        torch.autograd.grad((features * weights).sum(), text.ctx)[0]
        for features in (found, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        expected = prompted_images(model, images, visual.contexts().visual[0])
        torch.testing.assert_close(
            PromptedCLIP(clip, visual).encode_images(images),
            expected,
            rtol=0,
            atol=1e-5,
        )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write(folder, layer_norm_eps=1e-3)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "clip")


def test_preprocessing_is_read(folder):
    assert load_backbone(str(folder)).preprocessing.interpolation == "bicubic"
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_mean=[0.1, 0.2, 0.3],
        image_std=[0.4, 0.5, 0.6],
        resample=2,
    ).save_pretrained(folder)
    preprocessing = load_backbone(str(folder)).preprocessing
    assert (preprocessing.mean, preprocessing.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (preprocessing.size, preprocessing.interpolation) == (32, "bilinear")


def change(path, **values):
    content = json.loads(path.read_text()) if path.is_file() else {}
    for key, value in values.items():
        outer, _, inner = key.partition("__")
        if inner:
            content.setdefault(outer, {})[inner] = value
        else:
            content[key] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "siglip"}, "model_type is 'siglip'; .*only clip"),
        (
            {"text_config__hidden_act": "gelu_new"},
            "hidden_act is 'gelu_new' in the text tower",
        ),
        (
            {"vision_config__hidden_act": "gelu"},
            "'quick_gelu' in the text tower and 'gelu' in the image tower",
        ),
        (
            {"text_config__eos_token_id": 3},
            "eos_token_id is 3; prompts need CLIP's end token, 49407",
        ),
        (
            {"text_config__vocab_size": 1000},
            "vocab_size is 1000; CLIP's tokenizer has 49408",
        ),
        (
            {"text_config__num_hidden_layers": "many"},
            "text_config.num_hidden_layers is 'many'; a whole number",
        ),
        (
            {"vision_config__num_attention_heads": 5},
            "hidden_size 64 is no multiple of num_attention_heads 5",
        ),
        (
            {"projection_dim": 17},
            "does not fit the architecture: .*other shapes text_projection",
        ),
        ({"text_config": [1]}, "text_config is no set of values"),
    ],
)
def test_configurations_that_cannot_be_used(folder, values, message):
    change(folder / "config.json", **values)
    with pytest.raises(ValueError, match=message):
        load_backbone(str(folder))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"size": {"shortest_edge": 224}},
            "size is .*224.*; the image tower takes 32 pixels",
        ),
        ({"rescale_factor": 1.0}, "images must be rescaled by 1/255"),
        ({"resample": 9}, "resample is 9; known are"),
        ({"image_mean": [1, 2]}, "image_mean is no list of three numbers"),
        ({"image_std": [0, 1, 1]}, "image_std is '0'; a number of at least"),
    ],
)
def test_preprocessing_that_cannot_be_followed(folder, values, message):
    change(folder / "preprocessor_config.json", **values)
    with pytest.raises(ValueError, match=message):
        load_backbone(str(folder))


def test_tokenizers_of_clip_alone(folder):
    tokens = dict(clip_tokenizer().encoder)
    tokens["<|startoftext|>"] = tokens.pop("<start_of_text>")
    (folder / "vocab.json").write_text(json.dumps(tokens))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": tokens}}))
    load_backbone(str(folder))
    tokens["cat</w>"], tokens["dog</w>"] = tokens["dog</w>"], tokens["cat</w>"]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": tokens}}))
    with pytest.raises(
        ValueError,
        match=r"tokenizer.json: its tokens are not those of CLIP's tokenizer.*</w>' is \d+, not",
    ):
        load_backbone(str(folder))


def test_shards(folder):
    expected = load_backbone(str(folder))
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError,
        match="holds config.json, but no weights: model.safetensors or pytorch_model.bin",
    ):
        load_backbone(str(folder))
    names = sorted(state)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    files = {}
    for file, part in parts.items():
        save_file({name: state[name].half() for name in part}, folder / file)
        files |= dict.fromkeys(part, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    found = load_backbone(str(folder))
    torch.testing.assert_close(
        found.clip.state_dict(), expected.clip.state_dict(), rtol=1e-3, atol=1e-4
    )
    index.write_text(json.dumps({"weight_map": files | {names[0]: "../a.safetensors"}}))
    with pytest.raises(ValueError, match="'../a.safetensors' is no file beside it"):
        load_backbone(str(folder))


def test_fine_tuned_weights_of_a_folder(folder, tmp_path):
    expected = load_backbone(str(folder)).fingerprint
    state = {
        f"module._orig_mod.{name}": value
        for name, value in load_file(folder / "model.safetensors").items()
    }
    file = tmp_path / "tuned.pt"
    torch.save({"epoch": 3, "model_state_dict": state}, file)
    (folder / "model.safetensors").unlink()
    assert load_backbone(str(folder), str(file)).fingerprint == expected
    with pytest.raises(
        ValueError,
        match="tuned.pt has the names of transformers' CLIPModel: put its config.json beside it",
    ):
        load_backbone(str(file))


def test_a_model_on_the_hub_is_refused_before_its_weights_are_fetched(
    folder, monkeypatch
):
    asked = []

    def snapshot_download(repository, revision, allow_patterns):
        asked.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    (folder / "config.json").write_text('{"model_type": "siglip"}')
    message = "'siglip'; .* SigLIP is read in open_clip's form, such as hf-hub:timm/"
    with pytest.raises(ValueError, match=message):
        load_backbone("google/siglip-base-patch16-224")
    content = json.dumps({"model_cfg": BIOMED_CLIP})
    (folder / "open_clip_config.json").write_text(content)
    with pytest.raises(ValueError, match="Hugging Face model microsoft/BiomedNLP"):
        load_backbone("hf-hub:microsoft/BiomedCLIP")
    assert asked == [["*.json"], ["*.json"]]


def test_models_on_the_hub(folder, monkeypatch):
    asked = []

    def snapshot_download(repository, revision, allow_patterns):
        asked.append((repository, revision))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    for name in (
        "openai/clip-vit-base-patch32",
        "hf-hub:openai/clip-vit-base-patch32@main",
    ):
        backbone = load_backbone(name)
        assert backbone.name == name and is_known(name) and not is_path(name)
        assert backbone.record(name)["backbone"] == name
    assert set(asked) == {
        ("openai/clip-vit-base-patch32", None),
        ("openai/clip-vit-base-patch32", "main"),
    }

    def offline(*args, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(
        FileNotFoundError,
        match="clip-vit-base-patch32 of the Hugging Face Hub is not available here .no route",
    ):
        load_backbone("openai/clip-vit-base-patch32")
    with pytest.raises(ValueError, match="is no model of the Hugging Face Hub"):
        load_backbone("hf-hub:clip")
    assert not is_known("ViT-B/61") and not is_known("some/checkpoint.pt")
