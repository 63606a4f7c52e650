"""A prompt is used as it was trained, or refused: its class name's position, its
backbone, and values that are numbers.
"""

import json
import shlex
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from prompting import (
    PromptedCLIP,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    load,
    load_prompts,
    save_prompts,
)
from prompting.__main__ import main
from prompting.backbones.loading import HUB_CONFIG, load_backbone
from prompting.checkpoints.foreign import read_prompt
from tests.prompting.foreign_files import foreign_state, prompt_of, write_foreign
from tests.prompting.tiny import random_images, tiny_clip, tiny_config

CLASSES = ["cat", "red brick", "moon"]


def write_clip(folder, seed: int = 0, quick_gelu: bool = True):
    """Return a folder like open_clip's repositories, with a random model."""
    folder.mkdir(parents=True)
    config = {"model_cfg": tiny_config(quick_gelu=quick_gelu), "preprocess_cfg": {}}
    (folder / HUB_CONFIG).write_text(json.dumps(config))
    save_file(tiny_clip(seed=seed).state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    ).save(path)
    return path


def predict(capsys, words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(shlex.split(f"predict {words}"))
    shown = capsys.readouterr()
    return code, shown.out + shown.err


# -- the position of the class name ------------------------------------------------------------------------------------


def class_features(prompt) -> torch.Tensor:
    with torch.no_grad():
        return PromptedCLIP(tiny_clip(), prompt).encode_classes(CLASSES)


@pytest.mark.parametrize("method", ["CoCoOp", "MVLPT-CoCoOp", "KgCoOp"])
def test_the_files_of_these_methods_have_the_class_name_at_the_end(
    tmp_path, capsys, method
):
    if method == "KgCoOp":
        stored = {"ctx": torch.randn(4, 32), "bias_vectors": torch.zeros(1, 512)}
    else:
        stored = foreign_state(method)
    ctx = stored.get("ctx", stored.get("cocoop_ctx")).float()
    out = tmp_path / "a.safetensors"
    assert main(shlex.split(f"convert {write_foreign(tmp_path, stored)} {out}")) == 0
    assert "class name at the end" in capsys.readouterr().out
    expected = class_features(TextPrompt(4, 32, position="end", init=ctx))
    assert torch.equal(class_features(load_prompts(out)[0]), expected)
    assert not torch.equal(
        class_features(TextPrompt(4, 32, position="middle", init=ctx)), expected
    )


@pytest.mark.parametrize("position", ["front", "middle", "end"])
def test_a_position_that_nothing_tells_must_be_given(tmp_path, capsys, position):
    stored = foreign_state("CoOp")
    source, out = write_foreign(tmp_path / "moved", stored), tmp_path / "a.safetensors"
    assert main(shlex.split(f"convert {source} {out}")) == 2
    assert (
        "--position: front, middle, end" in capsys.readouterr().err and not out.exists()
    )
    assert main(shlex.split(f"convert {source} {out} --position {position}")) == 0
    assert f"class name at the {position}" in capsys.readouterr().out
    expected = class_features(
        TextPrompt(4, 32, position=position, init=stored["ctx"].float())
    )
    assert torch.equal(class_features(load_prompts(out)[0]), expected)


def test_a_position_that_contradicts_the_file(tmp_path, capsys):
    save_prompts(tmp_path / "a.safetensors", TextPrompt(4, 32, position="end"))
    arguments = f"{tmp_path}/a.safetensors {tmp_path}/b.safetensors --position front"
    assert main(shlex.split(f"convert {arguments}")) == 2
    assert "at the position 'end', not 'front'" in capsys.readouterr().err


@pytest.mark.parametrize("old", [False, True], ids=["mvlpt_proj", "upt_proj"])
def test_a_reference_upt_is_taken_as_what_it_is(tmp_path, capsys, old):
    out = tmp_path / "a.safetensors"
    source = write_foreign(tmp_path, foreign_state("UPT", old=old))
    assert main(shlex.split(f"convert {source} {out}")) == 0
    assert "θ per-token, class name at the middle" in capsys.readouterr().out
    prompt = load_prompts(out)[0]
    assert (prompt.theta, prompt.position) == ("per-token", "middle")


def test_a_visual_prompt_needs_no_position(tmp_path):
    assert (
        read_prompt(write_foreign(tmp_path, foreign_state("VPT")))[0].kind == "visual"
    )


# -- the backbone ------------------------------------------------------------------------------------------------------


def saved(folder, backbone_path, **changes):
    backbone = load_backbone(str(backbone_path))
    record = backbone.record(str(backbone_path)) | {"classes": {"t": CLASSES}} | changes
    save_prompts(folder / "prompts.safetensors", TextPrompt(4, 32), record)
    return folder / "prompts.safetensors"


@pytest.mark.parametrize("name", ["ViT-B-16", "RN50", "pocket"])
def test_a_folder_called_like_a_known_model(tmp_path, capsys, photo, name):
    custom = write_clip(tmp_path / "models" / name)
    prompts = saved(tmp_path, custom)
    assert str(tmp_path) not in json.dumps(load_prompts(prompts)[1]), (
        "no path of this machine"
    )
    code, message = predict(capsys, f"{prompts} {photo}")
    assert (
        code == 2
        and f"a file or folder called {name}" in message
        and "--backbone PATH" in message
    )
    code, message = predict(capsys, f"{prompts} {photo} --backbone pocket")
    assert (
        code == 2
        and f"on the backbone {name} (weights" in message
        and "not on pocket (weights" in message
    )
    code, message = predict(capsys, f"{prompts} {photo} --backbone {custom} --json")
    assert code == 0
    predictor = load(prompts, str(custom))
    expected = predictor.model(predictor.prepare(photo)[None], CLASSES).softmax(1)[0]
    shown = {
        pair["class"]: pair["probability"]
        for pair in json.loads(message)[0]["predictions"]
    }
    for class_name, probability in zip(CLASSES, expected.tolist(), strict=True):
        assert shown[class_name] == pytest.approx(probability, abs=2e-6)


def test_the_folder_in_the_present_folder_is_meant(
    tmp_path, capsys, photo, monkeypatch
):
    custom = write_clip(tmp_path / "RN50")
    prompts = saved(tmp_path, custom)
    monkeypatch.chdir(tmp_path)
    assert predict(capsys, f"{prompts} {photo}")[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1}, "(weights "),
        ({"quick_gelu": False}, "was trained with QuickGELU; "),
    ],
)
def test_another_backbone_of_the_same_sizes(tmp_path, capsys, photo, options, words):
    prompts = saved(tmp_path, write_clip(tmp_path / "mine"))
    other = write_clip(tmp_path / "other", **options)
    code, message = predict(capsys, f"{prompts} {photo} --backbone {other}")
    assert code == 2 and words in message


def test_convert_states_the_weights_of_a_file(tmp_path, capsys):
    custom = write_clip(tmp_path / "models" / "ViT-B-16")
    source, out = (
        write_foreign(tmp_path, foreign_state("CoCoOp")),
        tmp_path / "a.safetensors",
    )
    assert main(shlex.split(f"convert {source} {out} --backbone {custom}")) == 0
    metadata = load_prompts(out)[1]
    assert (metadata["backbone"], metadata["backbone_is_path"]) == ("ViT-B-16", True)
    assert metadata["backbone_fingerprint"] == load_backbone(str(custom)).fingerprint


def test_a_fingerprint_is_that_of_the_values(tmp_path):
    folder = write_clip(tmp_path / "a")
    first, again = (
        load_backbone(str(folder)),
        load_backbone(str(folder / "open_clip_model.safetensors")),
    )
    assert first.fingerprint == again.fingerprint
    again = load_backbone(str(folder))
    again.clip.logit_scale.data += 1e-3
    assert again.fingerprint != first.fingerprint


# -- values that are no numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "word"),
    [(float("nan"), "NaN"), (float("inf"), "infinity"), (-float("inf"), "infinity")],
)
@pytest.mark.parametrize(
    "command", ["predict", "json", "export", "convert", "checkpoint"]
)
def test_a_prompt_that_is_no_number(tmp_path, capsys, photo, value, word, command):
    custom = write_clip(tmp_path / "mine")
    prompts = saved(tmp_path, custom)
    tensors = load_file(prompts)
    tensors["ctx"][1, 2] = value
    prompt = TextPrompt(4, 32)
    prompt.load_state_dict(tensors)
    save_prompts(prompts, prompt, load_prompts(prompts)[1])
    checkpoint, out = write_foreign(tmp_path, tensors), tmp_path / "b.safetensors"
    words = {
        "predict": f"predict {prompts} {photo} --backbone {custom}",
        "json": f"predict {prompts} {photo} --backbone {custom} --json",
        "export": f"export {prompts} {tmp_path}/a.onnx --backbone {custom}",
        "convert": f"convert {prompts} {out}",
        "checkpoint": f"convert {checkpoint} {out} --position end",
    }
    arguments = shlex.split(words[command])
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert (
        f"ctx holds {word}" in shown.err
        and shown.out == ""
        and arguments[1] in shown.err
    )


@pytest.mark.parametrize(
    "tensor", ["logit_scale", "visual.conv1.weight", "token_embedding.weight"]
)
def test_a_backbone_that_is_no_number(tmp_path, capsys, photo, tensor):
    custom = write_clip(tmp_path / "mine")
    prompts = saved(tmp_path, custom)
    weights = custom / "open_clip_model.safetensors"
    state = load_file(weights)
    state[tensor].view(-1)[0] = float("nan")
    save_file(state, weights)
    code, message = predict(capsys, f"{prompts} {photo} --backbone {custom}")
    assert code == 2 and f"{tensor} holds NaN" in message and str(weights) in message


# -- files that ask for more than they hold ----------------------------------------------------------------------------


def quickly(path, message):
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        load_backbone(str(path))
    assert path.name in str(caught.value) and time.monotonic() - start < 5


def openai_like(layers: int = 1, width: int = 64) -> dict:
    """Return tensors named as in OpenAI's layout, of one value each."""
    one = torch.zeros(1)
    state = {
        "visual.conv1.weight": one.expand(width, 3, 8, 8),
        "visual.positional_embedding": one.expand(5, width),
        "text_projection": one.expand(width, width),
        "token_embedding.weight": one.expand(49408, width),
        "positional_embedding": one.expand(77, width),
        "ln_final.weight": one.expand(width),
        "logit_scale": torch.zeros(()),
    }
    for tower in ("transformer", "visual.transformer"):
        for layer in range(layers):
            state[f"{tower}.resblocks.{layer}.ln_1.weight"] = one.expand(width)
    return state


@pytest.mark.parametrize("width", [64, 64_000, 64 << 20])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_backbone_of_strides_of_0(tmp_path, width, suffix):
    path = tmp_path / f"small{suffix}"
    torch.save(openai_like(width=width), path)
    assert path.stat().st_size < 10_000
    quickly(path, "claims more values than the file holds")


@pytest.mark.parametrize(
    "changes",
    [
        {"text_projection": torch.zeros(0, 1 << 40)},
        {"token_embedding.weight": torch.zeros(1 << 40, 0)},
        {"positional_embedding": torch.zeros(1 << 20, 0)},
        {"visual.conv1.weight": torch.zeros(1 << 30, 0, 8, 8)},
        {"visual.positional_embedding": torch.zeros(1 << 40, 0)},
    ],
)
def test_a_backbone_of_shapes_without_values(tmp_path, changes):
    state = {
        name: torch.zeros(value.shape)
        for name, value in openai_like().items()
        if name != "token_embedding.weight"
    }
    state["token_embedding.weight"] = torch.zeros(8, 64)
    torch.save(state | changes, tmp_path / "small.pt")
    quickly(tmp_path / "small.pt", "small.pt")


def test_many_tensors_of_the_same_values(tmp_path):
    shared = torch.zeros(1000)
    torch.save({f"a{number}": shared for number in range(1000)}, tmp_path / "small.pt")
    quickly(tmp_path / "small.pt", "claim more values")


@pytest.mark.parametrize(
    ("tower", "change", "message"),
    [
        ("text_cfg", {"layers": 10**9}, "1000000000 layers, but the file holds"),
        ("vision_cfg", {"layers": [1, 1, 1, 10**9]}, "layers, but the file holds"),
        ("text_cfg", {"context_length": 10**7}, "reads 10000000 tokens"),
        ("text_cfg", {"width": 64 << 20}, "other shapes|describes no model"),
        ("vision_cfg", {"image_size": 1 << 40}, "other shapes|describes no model"),
        ("text_cfg", {"vocab_size": 1 << 60}, "other shapes|describes no model"),
    ],
)
def test_a_configuration_that_asks_for_more(tmp_path, tower, change, message):
    folder = write_clip(tmp_path / "mine")
    config = json.loads((folder / HUB_CONFIG).read_text())
    config["model_cfg"][tower] |= change
    (folder / HUB_CONFIG).write_text(json.dumps(config))
    quickly(folder / "open_clip_model.safetensors", message)


@pytest.mark.parametrize("layers", [100_000, 5_000, 40])
def test_a_prompt_of_more_layers_than_tensors(tmp_path, layers):
    prompt = UnifiedPrompt(TextPrompt(4, 32), VisualPrompt(2, 64, 2, 8), dim=16)
    save_prompts(tmp_path / "a.safetensors", prompt)
    config = prompt.config() | {"layers": layers}
    save_file(
        prompt.state_dict(), tmp_path / "a.safetensors", {"config": json.dumps(config)}
    )
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"a\.safetensors.*layers"):
        load_prompts(tmp_path / "a.safetensors")
    assert time.monotonic() - start < 3


def test_a_prompt_of_a_reference_of_any_size_is_still_read(tmp_path):
    assert (
        read_prompt(write_foreign(tmp_path, foreign_state("UPT")))[0].layers
        == prompt_of("UPT").layers
    )
    with torch.no_grad():
        model = PromptedCLIP(tiny_clip(), read_prompt(tmp_path)[0])
        assert torch.isfinite(model(random_images(), CLASSES)).all()
