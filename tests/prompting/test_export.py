"""ONNX models of prompted CLIPs."""

import json
import os
import shlex

import pytest
import torch

import prompting.__main__ as command
import prompting.export
import prompting.predict
from prompting import (
    AnchoredPrompt,
    HeadPrompt,
    IVLPPrompt,
    MaPLePrompt,
    MMRLPPPrompt,
    MMRLPrompt,
    SoftCPTPrompt,
    TCPPrompt,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    save_prompts,
)
from prompting.backbones.backbone import Backbone, Preprocessing
from prompting.export import FixedClasses, export
from prompting.predict import Predictor
from prompting.prompts import PROMPT_KINDS
from prompting.tokens import clip_tokenizer
from tests.prompting.tiny import random_images, tiny_clip

CLASSES = ["cat", "red_brick", "moon"]


def text(classes=None):
    return TextPrompt(3, 32, classes)


def anchored():
    prompt = AnchoredPrompt(VisualPrompt(2, 64, 2, 8), 3, 16)
    prompt.weight.fill_(0.3)
    return prompt


PROMPTS = {
    "text": ("vit", text),
    "class-specific": ("vit", lambda: text(3)),
    "visual": ("vit", lambda: VisualPrompt(2, 64, 2, 8)),
    "unified": (
        "vit",
        lambda: UnifiedPrompt(text(), VisualPrompt(2, 64, 1, 8), dim=16),
    ),
    "text on a ResNet": ("resnet", text),
    "ivlp": ("vit", lambda: IVLPPrompt(2, 32, 2, 2, 64, 2)),
    "maple": ("vit", lambda: MaPLePrompt(2, 32, 64, 2)),
    "tcp": ("vit", lambda: TCPPrompt(3, 32, 16, 1)),
    "mmrl": ("vit", lambda: MMRLPrompt(2, 8, 32, 64, 16, [0, 1], 0.7)),
    "mmrlpp": ("vit", lambda: MMRLPPPrompt(2, 8, 32, 64, 16, [0, 1], 0.7, 0.9, 2, 3)),
    "anchored": ("vit", anchored),
    "head": ("vit", lambda: HeadPrompt(3, 16)),
    "softcpt": ("vit", lambda: SoftCPTPrompt(3, 32, 16)),
}

ONNX: list = ["unified", "anchored", "mmrl"]  # seconds each
for kind in sorted(PROMPTS.keys() - set(ONNX)):
    ONNX.append(pytest.param(kind, marks=pytest.mark.long))


def predictor(kind: str) -> Predictor:
    tower, build = PROMPTS[kind]
    backbone = Backbone("stub", tiny_clip(tower), clip_tokenizer(), Preprocessing(32))
    prompt = build()
    with torch.no_grad():  # no part is zero
        for value in prompt.parameters():
            value += 0.1 * torch.randn_like(value)
    return Predictor(backbone, prompt, {"classes": {"photos": CLASSES}})


def test_every_kind_is_exported():
    kinds = {build().kind for _, build in PROMPTS.values()}
    assert kinds == PROMPT_KINDS.keys()


@pytest.mark.parametrize("kind", PROMPTS)
def test_the_exported_module_is_the_prompted_clip(kind):
    """Compare the module that is handed to the exporter, for any number of images: no
    package is needed for this part.
    """
    model = predictor(kind)
    images, names = random_images(5), ["moon", "cat"]
    with torch.no_grad():
        wanted = model.model.encode_images(images)
        rows = model.choose_classes(names)[1]
        wanted = model.model.logits(
            wanted, model.model.encode_classes(names, rows=rows, task="photos")
        ).softmax(1)
        fixed = FixedClasses(model, names).eval()
        graph = torch.export.export(
            fixed, (random_images(2),), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        torch.testing.assert_close(graph.module()(images), wanted, rtol=0, atol=1e-5)
    assert fixed.names == names


@pytest.mark.parametrize("kind", ONNX)
def test_onnxruntime_gives_the_same_probabilities(tmp_path, kind):
    pytest.importorskip(
        "onnxscript", reason="the ONNX export needs onnx and onnxscript"
    )
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, images = predictor(kind), random_images(5)
    assert export(model, tmp_path / "model.onnx", task="photos") == CLASSES
    session = runtime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        wanted = model.model(images, CLASSES, "photos").softmax(1)
    torch.testing.assert_close(torch.from_numpy(got), wanted, rtol=0, atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert (
        json.loads(about["classes"]) == CLASSES
        and json.loads(about["preprocessing"])["crop"] == "squash"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "folder"])
def test_what_no_file_may_replace_stays(tmp_path, kind):
    out = tmp_path / "out.onnx"
    if kind == "pipe":
        os.mkfifo(out)
    elif kind == "folder":
        out.mkdir()
    else:
        out.symlink_to("/dev/null")
    before = out.lstat().st_mode
    with pytest.raises((ValueError, IsADirectoryError), match="a file name is needed"):
        export(None, out)
    assert out.lstat().st_mode == before


def test_missing_packages_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(prompting.export, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match="needs onnx and onnxscript: pip install onnx onnxscript"
    ):
        export(predictor("text"), tmp_path / "model.onnx")


def test_command(monkeypatch, tmp_path, capsys):
    stub = Backbone("stub", tiny_clip(), clip_tokenizer(), Preprocessing(32))
    monkeypatch.setattr(prompting.predict, "load_backbone", lambda *args: stub)
    calls = []
    monkeypatch.setattr(
        prompting.export,
        "export",
        lambda model, out, names, task: calls.append((out, names, task)) or names,
    )
    save_prompts(tmp_path / "prompts.safetensors", text(), {"backbone": "stub"})
    assert (
        command.main(shlex.split(f"export {tmp_path} out.onnx --classes 'a, b'")) == 0
    )
    assert (
        calls == [("out.onnx", ["a", "b"], None)]
        and capsys.readouterr().out == "out.onnx: a, b\n"
    )
