"""The table of backbones: tiny random models of each family equal open_clip's own
without a prompt and an oracle with one, train a step, and round-trip.
"""

import json

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file

from prompting import (
    IVLPPrompt,
    PromptedCLIP,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    clip_shape,
    load_backbone,
    load_prompts,
    save_prompts,
)
from prompting.backbones import hub_models
from prompting.backbones import loading as backbone_module
from prompting.backbones.architectures import configuration, unsupported_reason
from tests.prompting.families import (
    BIOMED_CLIP,
    BY_NAME,
    DOCS,
    FAMILIES,
    REFUSED,
    clip_config,
    open_clips_tokenizer,
    random_clip,
    with_table,
    write_folder,
    write_tokenizer,
)

NAMES = ["cat", "red_fox", "a photo of a moon"]
NO_VISUAL = [family.name for family in FAMILIES if not family.visual]
VISUAL = [family.name for family in FAMILIES if family.visual]


@pytest.fixture
def loaded(tmp_path):
    """Return a function that writes a random model of a family in the layout of
    open_clip's repositories and loads it; it returns open_clip's model, the backbone and
    open_clip's tokenizer.
    """

    def load(name):
        family = BY_NAME[name]
        clip = write_folder(family, tmp_path)
        backbone = load_backbone(str(tmp_path))
        return clip, backbone, open_clips_tokenizer(family, tmp_path)

    return load


def random_images(backbone, count: int = 2) -> torch.Tensor:
    size = backbone.preprocessing.size
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, generator=draw)


@pytest.mark.parametrize("name", BY_NAME)
def test_without_a_prompt_logits_are_open_clips(loaded, name):
    clip, backbone, tokenizer = loaded(name)
    images = random_images(backbone)
    sentences = [f"a photo of a {word.replace('_', ' ')}." for word in NAMES]
    plain = PromptedCLIP(backbone.clip, tokenizer=backbone.tokenizer)
    with torch.no_grad():
        expected, _ = clip.get_logits(images, tokenizer(sentences))
        logits = plain(images, NAMES)
    assert expected.std() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def oracle_classes(clip, tokenizer, context, position: str) -> torch.Tensor:
    """Return unit-length class features by open_clip's own text tower, on embeddings with the
    context (layers, n_ctx, width) put in; the whole length, one class after another.
    """
    text = getattr(clip, "text", clip)
    count = context.shape[1]
    before = {"front": 0, "middle": count // 2, "end": count}[position]
    features = []
    for name in NAMES:
        words = name.replace("_", " ")
        # [start] name . end and padding
        ids = tokenizer([f"{words}."])[0].tolist()
        blank = tokenizer([""])[0].tolist()
        has_start = ids[0] == blank[0] and ids[0] != ids[-1]
        start = int(has_start)
        end = (
            tokenizer.tokenizer.eos_token_id
            if hasattr(tokenizer, "tokenizer")
            else 49407
        )
        if getattr(tokenizer, "strip_sep_token", False):
            end = 0
        stop = ids.index(end)
        alone = tokenizer([words])[0].tolist().index(end) - start
        alone = min(alone, stop - start)
        first = ids[start : start + alone]
        rest = ids[start + alone :][: len(ids) - start - alone - count]
        table = text.token_embedding.weight
        parts = [
            table[ids[:start]],
            context[0][:before],
            table[first],
            context[0][before:],
            table[rest],
        ]
        x = torch.cat(parts)[None] + text.positional_embedding
        slots = [start + i for i in range(before)]
        slots += [start + alone + i for i in range(before, count)]
        for i, block in enumerate(text.transformer.resblocks):
            if 0 < i < len(context):
                x = x.clone()
                x[0, slots] = context[i]
            x = block(x, attn_mask=text.attn_mask)
        x = text.ln_final(x)[0]
        pool = getattr(text, "pool_type", getattr(clip, "text_pool_type", None))
        row = -1 if pool == "last" else stop + count
        x = x[row]
        projection = text.text_projection
        linear = isinstance(projection, torch.nn.Linear)
        features.append(projection(x) if linear else x @ projection)
    return F.normalize(torch.stack(features), dim=-1)


def oracle_images(clip, images, tokens) -> torch.Tensor:
    """Return unit-length image features by open_clip's own image tower, with hooks that put
    the tokens (layers, n_ctx, width) after the prefix, and timm's count of tokens
    without positions raised.
    """
    visual = clip.visual
    is_timm = isinstance(visual, TimmModel)
    blocks = visual.trunk.blocks if is_timm else visual.transformer.resblocks
    start = visual.trunk.num_prefix_tokens if is_timm else 1
    count = tokens.shape[1]

    def put(i):
        def hook(block, given):
            x, *others = given
            after = start if i == 0 else start + count
            entering = tokens[i].expand(len(x), -1, -1)
            return torch.cat([x[:, :start], entering, x[:, after:]], 1), *others

        return hook

    hooks = [blocks[i].register_forward_pre_hook(put(i)) for i in range(len(tokens))]
    rotary = [b.attn for b in blocks if hasattr(b.attn, "num_prefix_tokens")]
    for attention in rotary:
        attention.num_prefix_tokens += count
    try:
        return clip.encode_image(images, normalize=True)
    finally:
        for hook in hooks:
            hook.remove()
        for attention in rotary:
            attention.num_prefix_tokens -= count


def assert_same_with_gradients(features, expected, leaves) -> None:
    """Compare features, and the gradients of `leaves` through a random projection."""
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    direction = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    found = torch.autograd.grad((features * direction).sum(), leaves)
    wanted = torch.autograd.grad((expected * direction).sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        assert other.abs().max() > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", ["front", "middle", "end"])
@pytest.mark.parametrize("name", BY_NAME)
def test_text_prompts_equal_an_oracle(loaded, name, position):
    clip, backbone, tokenizer = loaded(name)
    prompt = TextPrompt(3, clip_shape(backbone.clip).text_width, position=position)
    prompt.ctx.data.normal_(std=0.5)
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    expected = oracle_classes(clip, tokenizer, prompt.ctx[None], position)
    assert_same_with_gradients(model.encode_classes(NAMES), expected, [prompt.ctx])


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", VISUAL)
def test_visual_prompts_equal_an_oracle(loaded, name, layers):
    clip, backbone, _ = loaded(name)
    shape = clip_shape(backbone.clip)
    layers = min(layers, shape.image_layers)  # some have two
    prompt = VisualPrompt(2, shape.image_width, layers, shape.patch_size)
    for parameter in prompt.parameters():
        parameter.data.normal_(std=0.5)
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    images = random_images(backbone)
    expected = oracle_images(clip, images, prompt.tokens())
    leaves = list(prompt.parameters())
    assert_same_with_gradients(model.encode_images(images), expected, leaves)


@pytest.mark.parametrize(
    "name", ["SigLIP", "PE-Core", "EVA02-CLIP, base", "MetaCLIP 2"]
)
def test_prompts_of_both_towers_in_further_layers_equal_an_oracle(loaded, name):
    clip, backbone, tokenizer = loaded(name)
    shape = clip_shape(backbone.clip)
    prompt = IVLPPrompt(2, shape.text_width, 2, 2, shape.image_width, 2)
    prompt.text.data.normal_(std=0.5)
    prompt.visual.data.normal_(std=0.5)
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    texts = oracle_classes(clip, tokenizer, prompt.text, "end")
    assert_same_with_gradients(model.encode_classes(NAMES), texts, [prompt.text])
    # its visual tokens pass the norm before the first block
    norm = getattr(backbone.clip.visual, "ln_pre", None)
    if norm is None:
        norm = backbone.clip.visual.trunk.norm_pre
    tokens = torch.cat([norm(prompt.visual[:1]), prompt.visual[1:]])
    images = random_images(backbone)
    expected = oracle_images(clip, images, tokens)
    features = model.encode_images(images)
    assert_same_with_gradients(features, expected, [prompt.visual])


def prompts(clip) -> dict:
    """Return a prompt of each kind that the model takes, and its parameter to look at."""
    shape = clip_shape(clip)
    made = {"ctx": TextPrompt(3, shape.text_width)}
    if not shape.unsupported_reason:
        sizes = 2, shape.image_width, shape.image_layers, shape.patch_size
        made["embeddings"] = VisualPrompt(*sizes)
        made["visual.embeddings"] = UnifiedPrompt(
            TextPrompt(2, shape.text_width), VisualPrompt(*sizes), dim=16
        )
    return made


@pytest.mark.parametrize("name", BY_NAME)
def test_a_training_step_and_a_round_trip(loaded, tmp_path, name):
    _, backbone, _ = loaded(name)
    images = random_images(backbone)
    for key, prompt in prompts(backbone.clip).items():
        model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer).train()
        optimiser = torch.optim.SGD(prompt.parameters(), lr=0.1)
        before = prompt.state_dict()[key].clone()
        F.cross_entropy(model(images, ["cat", "moon"]), torch.tensor([0, 1])).backward()
        optimiser.step()
        assert not torch.equal(before, prompt.state_dict()[key]), key
        file = tmp_path / "prompts.safetensors"
        save_prompts(file, prompt)
        again, _ = load_prompts(file)
        reloaded = load_backbone(str(tmp_path))
        again = PromptedCLIP(reloaded.clip, again, reloaded.tokenizer).eval()
        with torch.no_grad():
            expected = model.eval()(images, ["owl", "sea"])
            assert torch.equal(again(images, ["owl", "sea"]), expected), key


@pytest.mark.parametrize("name", ["SigLIP", "PE-Core", "MetaCLIP 2"])
def test_checkpointing_of_activations_changes_nothing(loaded, name):
    _, backbone, _ = loaded(name)
    images = random_images(backbone)
    prompt = prompts(backbone.clip)["embeddings"]
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    expected = model.encode_images(images)
    backbone.clip.visual.set_grad_checkpointing()
    leaves = list(prompt.parameters())
    assert_same_with_gradients(model.encode_images(images), expected, leaves)


@pytest.mark.parametrize("name", ["SigLIP", "CLIPA", "MobileCLIP's smaller ones"])
def test_padding_stays_when_the_text_tower_sees_it(loaded, name):
    _, backbone, _ = loaded(name)
    prompt = TextPrompt(2, clip_shape(backbone.clip).text_width)
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    length = backbone.clip.positional_embedding.shape[0]
    batches = model._prompt_tokens(("cat", "red fox"), 2)
    assert [batch.ids.shape[1] for batch in batches] == [length] * len(batches)
    one_by_one = PromptedCLIP(
        backbone.clip, prompt, backbone.tokenizer, max_tokens=1, share_prefix=False
    )
    torch.testing.assert_close(
        model.encode_classes(NAMES), one_by_one.encode_classes(NAMES)
    )


@pytest.mark.parametrize("name", NO_VISUAL)
def test_visual_prompts_are_refused_with_a_reason(loaded, name):
    _, backbone, _ = loaded(name)
    reason = clip_shape(backbone.clip).unsupported_reason
    assert reason.startswith("this ")
    with pytest.raises(ValueError) as error:
        PromptedCLIP(backbone.clip, VisualPrompt(2, 64, 2, 8))
    assert str(error.value) == (
        f"visual prompts need a vision transformer: {reason}; use a text prompt instead"
    )


@pytest.mark.parametrize("name", REFUSED)
def test_other_text_towers_are_refused_with_a_reason(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} cannot be used: .*{REFUSED[name]}"):
        configuration(name)
    for pretrained in (None, str(tmp_path / "w.safetensors")):
        with pytest.raises(ValueError, match=f"{name} cannot be used"):
            load_backbone(name, pretrained)


def test_a_folder_of_biomed_clip_is_refused(tmp_path):
    text = json.dumps({"model_cfg": BIOMED_CLIP, "preprocess_cfg": {}})
    (tmp_path / "open_clip_config.json").write_text(text)
    save_file({"x": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    reason = "its text tower is the Hugging Face model microsoft/BiomedNLP-BiomedBERT"
    with pytest.raises(ValueError, match=reason):
        load_backbone(str(tmp_path))


def test_an_image_tower_that_timm_does_not_know(tmp_path):
    write_folder(BY_NAME["SigLIP"], tmp_path)
    file = tmp_path / "open_clip_config.json"
    file.write_text(file.read_text().replace("tiny_siglip", "siglip_of_tomorrow"))
    message = "describes no model: Unknown model .siglip_of_tomorrow"
    with pytest.raises(ValueError, match=message):
        load_backbone(str(tmp_path))


def test_every_architecture_of_open_clip_is_decided():
    known = {
        name: unsupported_reason(open_clip.get_model_config(name))
        for name in open_clip.list_models()
    }
    refused = {name for name, reason in known.items() if reason}
    words = ("coca", "nllb", "roberta", "mt5")
    expected = {name for name in known if any(word in name for word in words)}
    assert refused == expected


def test_the_page_has_the_table_of_the_families():
    text = DOCS.read_text(encoding="utf-8")
    assert text == with_table(text), "run tests/prompting/families.py"


def test_a_tokenizer_that_is_missing_or_of_another_kind(tmp_path, monkeypatch):
    family = BY_NAME["SigLIP"]
    write_folder(family, tmp_path)
    file, settings = tmp_path / "tokenizer.json", tmp_path / "tokenizer_config.json"
    kept = file.read_text()

    def refused(reason, kind=ValueError):
        with pytest.raises(kind, match=reason):
            load_backbone(str(tmp_path))

    file.write_text("{}")
    refused("tokenizer.json cannot be read as a tokenizer")
    file.write_text(kept)
    settings.write_text('{"pad_token": "<none>"}')
    refused("has no padding token '<none>'")
    settings.write_text("[]")
    refused("tokenizer_config.json holds no settings of a tokenizer")
    settings.write_text("{}")
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    refused("its padding token is not known")
    changed = json.loads(kept)
    changed["post_processor"] = None
    file.write_text(json.dumps(changed))
    settings.write_text('{"pad_token": {"content": "</s>"}}')
    refused("puts 0 tokens around a text")
    file.unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: 1 / 0)
    refused(
        "tokenizer of this text tower is missing: .*holds no tokenizer.json, and timm/ViT-B-16-SigLIP",
        FileNotFoundError,
    )


def test_the_end_token_must_be_the_one_that_the_text_tower_reads(tmp_path):
    write_folder(BY_NAME["MetaCLIP 2"], tmp_path)
    write_tokenizer("siglip", tmp_path)
    with pytest.raises(ValueError, match="its end token is 1; the text tower reads"):
        load_backbone(str(tmp_path))


def test_a_folder_like_open_clips_repositories(tmp_path):
    config = clip_config({"patch_size": 16}, quick_gelu=True)
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
        "model_cfg": config | {"text_cfg": config["text_cfg"] | {"embed_cls": True}}
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(refused))
    with pytest.raises(ValueError, match="cannot be used: .*class token"):
        load_backbone(str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(
        ValueError, match="open_clip_config.json is no configuration of open_clip"
    ):
        load_backbone(str(tmp_path))


def test_an_architecture_with_the_weights_and_tokenizer_of_a_file(
    tmp_path, monkeypatch
):
    """Use the tokenizer beside the weights."""
    family = BY_NAME["SigLIP 2"]
    clip = write_folder(family, tmp_path)
    config = json.dumps(family.config)
    monkeypatch.setattr(open_clip, "list_models", lambda: ["tiny"])
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(config))
    file = tmp_path / "open_clip_model.safetensors"
    backbone = load_backbone("tiny", str(file))
    tokenizer = open_clips_tokenizer(family, tmp_path)
    plain = PromptedCLIP(backbone.clip, tokenizer=backbone.tokenizer)
    with torch.no_grad():
        expected = clip.encode_text(tokenizer(["a photo of a cat"]), normalize=True)
        torch.testing.assert_close(plain.encode_classes(["cat"]), expected)


def test_preprocessing_of_an_architecture_is_that_of_its_weights():
    assert backbone_module.pretrained_values("MobileCLIP-B") == {
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "interpolation": "bilinear",
    }


def test_where_weights_are_looked_for(monkeypatch):
    def offline(*args, **options):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(hub_models, "check_reachable", lambda repository: None)
    monkeypatch.setattr(open_clip, "create_model", offline)
    place = "looks for laion/CLIP-ViT-B-16-laion2B-s34B-b88K in the Hugging Face cache"
    with pytest.raises(FileNotFoundError, match=f"{place}.*Give a file instead"):
        load_backbone("ViT-B-16", "laion2b_s34b_b88k")


def test_a_pretrained_tag_with_a_separate_text_tower(monkeypatch):
    """Load a model that open_clip downloads, and the preprocessing that comes with the
    tag.
    """
    config = BY_NAME["EVA02-CLIP, base"].config
    clip = random_clip(config)
    clip.visual.preprocess_cfg = {
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "interpolation": "bilinear",
    }
    monkeypatch.setattr(hub_models, "check_reachable", lambda repository: None)
    monkeypatch.setattr(open_clip, "create_model", lambda *args, **options: clip)
    monkeypatch.setattr(
        open_clip, "get_model_config", lambda name: json.loads(json.dumps(config))
    )
    backbone = load_backbone("EVA02-B-16", "merged2b_s8b_b131k")
    values = backbone_module.Preprocessing(
        32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear"
    )
    assert type(backbone.clip) is open_clip.CLIP and backbone.preprocessing == values
    ids = open_clip.SimpleTokenizer()(["a cat"], context_length=77)
    with torch.no_grad():
        torch.testing.assert_close(
            backbone.clip.encode_text(ids), clip.encode_text(ids), rtol=1e-4, atol=1e-5
        )
