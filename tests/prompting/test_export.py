"""ONNX models of prompted CLIPs."""

import json

import pytest
import torch

import prompting.__main__ as command
import prompting.export
import prompting.predict
from prompting import (
    SoftCPTPrompt,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    save_prompts,
)
from prompting.backbones.backbone import Backbone, Preprocessing
from prompting.export import FixedClasses, export
from prompting.predict import Predictor
from prompting.tokens import clip_tokenizer
from tests.prompting.tiny import random_images, tiny_clip

CLASSES = ["cat", "red_brick", "moon"]


def text(classes=None):
    return TextPrompt(3, 32, classes)


PROMPTS = {
    "text": ("vit", text),
    "class-specific": ("vit", lambda: text(3)),
    "visual": ("vit", lambda: VisualPrompt(2, 64, 2, 8)),
    "unified": (
        "vit",
        lambda: UnifiedPrompt(text(), VisualPrompt(2, 64, 1, 8), dim=16),
    ),
    "text on a ResNet": ("resnet", text),
    "of a task's name": ("vit", lambda: SoftCPTPrompt(3, 32, 16)),
}


def predictor(kind: str) -> Predictor:
    tower, prompt = PROMPTS[kind]
    backbone = Backbone("stub", tiny_clip(tower), clip_tokenizer(), Preprocessing(32))
    return Predictor(backbone, prompt(), {"classes": {"photos": CLASSES}})


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


@pytest.mark.parametrize("kind", PROMPTS)
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
    assert command.main(["export", str(tmp_path), "out.onnx", "--classes", "a, b"]) == 0
    assert (
        calls == [("out.onnx", ["a", "b"], None)]
        and capsys.readouterr().out == "out.onnx: a, b\n"
    )
