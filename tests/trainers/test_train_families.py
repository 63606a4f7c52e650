"""Backbones of every family from a local folder through train.py, predict and export, or
their refusal; and plain CLIP exported.
"""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from prompting.__main__ import main as prompting_main
from prompting.predict import load_zero_shot
from tests.prompting.families import BIOMED_CLIP, BY_NAME, write_folder

FAMILIES = (
    "SigLIP",
    "SigLIP 2",
    "EVA02-CLIP, base",
    "PE-Core",
    "MetaCLIP 2",
    "CLIPA",
)
# its class names have one letter: the context of the smallest text tower has 32 tokens
TASK = "pocket-digits"


@pytest.fixture(scope="module", autouse=True)
def pocket(tmp_path_factory):
    """Render the pocket suite into a folder of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MVLPT_POCKET", str(tmp_path_factory.mktemp("pocket")))
        yield


@pytest.fixture
def photo(tmp_path):
    """Write an image of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def train(main, backbone, trainer, out) -> int:
    words = f"--trainer {trainer} --dataset {TASK} --shots 1 --no-zero-shot"
    words += f" --backbone {backbone} --output-dir {out} OPTIM.MAX_EPOCH 1"
    return main(words, data=None)


def predict(capsys, words: str) -> list[dict]:
    capsys.readouterr()
    assert prompting_main(shlex.split(f"predict {words} --device cpu --json")) == 0
    return json.loads(capsys.readouterr().out)


def exported(words, photo, predictor, file) -> tuple[list[str], np.ndarray]:
    """Export a model; return its class names and its probabilities for an image."""
    runtime = pytest.importorskip("onnxruntime")
    assert prompting_main(shlex.split(f"{words} {file}")) == 0
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    images = predictor.prepare(photo)[None].numpy()
    names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    return names, session.run(None, {"images": images})[0][0]


@pytest.mark.long
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_trained_predicts_and_is_exported(
    main, capsys, tmp_path, photo, name
):
    from prompting.predict import load

    family = BY_NAME[name]
    backbone = tmp_path / "models"
    write_folder(family, backbone)
    trainer = "UPT" if family.visual else "CoOp"
    out = tmp_path / "run"
    assert train(main, backbone, trainer, out) == 0
    (record,) = json.loads((out / "results.json").read_text())
    assert record["task"] == TASK and 0 <= record["score"] <= 100
    # the run's file has only the folder's name: the path is given
    (record,) = predict(capsys, f"{out} {photo} --backbone {backbone}")
    pairs = {pair["class"]: pair["probability"] for pair in record["predictions"]}
    predictor = load(out, str(backbone))
    words = f"export {out} --backbone {backbone}"
    names, probabilities = exported(words, photo, predictor, tmp_path / "m.onnx")
    given = dict(zip(names, probabilities, strict=True))
    assert all(abs(given[label] - value) < 1e-4 for label, value in pairs.items())
    assert probabilities.std() > 0


def test_visual_prompts_of_a_family_without_are_refused(main, refuse, tmp_path):
    write_folder(BY_NAME["CLIPA"], tmp_path / "models")
    words = "--trainer VPT --dataset pocket-cells --shots 1"
    message = refuse(f"{words} --backbone {tmp_path}/models", data=None)
    assert "does not read its result from the class token" in message


def test_a_text_tower_of_hugging_face_is_refused(refuse, tmp_path):
    text = json.dumps({"model_cfg": BIOMED_CLIP, "preprocess_cfg": {}})
    (tmp_path / "open_clip_config.json").write_text(text)
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    words = "--trainer CoOp --dataset pocket-cells --shots 1"
    message = refuse(f"{words} --backbone {tmp_path}", data=None)
    assert "its text tower is the Hugging Face model microsoft/BiomedNLP" in message


def test_a_tokenizer_that_is_missing_is_refused(refuse, tmp_path, monkeypatch):
    models = tmp_path / "models"
    write_folder(BY_NAME["SigLIP"], models)
    (models / "tokenizer.json").unlink()

    def offline(*args, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    words = "--trainer CoOp --dataset pocket-cells --shots 1"
    message = refuse(f"{words} --backbone {models}", data=None)
    assert re.search("models holds no tokenizer.json, and timm/ViT-B-16-Sig", message)


def test_plain_clip_is_exported(tmp_path, photo):
    predictor = load_zero_shot("pocket")
    words = "export zeroshot --backbone pocket --classes circle,square"
    names, probabilities = exported(words, photo, predictor, tmp_path / "m.onnx")
    assert names == ["circle", "square"]
    expected = predictor.probabilities([photo], names)[0].numpy()
    assert np.allclose(probabilities, expected, atol=1e-5)
    assert expected.std() > 0


@pytest.mark.long
def test_a_folder_of_transformers_is_trained(main, tmp_path):
    transformers = pytest.importorskip("transformers")
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    vision = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4}
    vision |= {"num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(
        text_config=text, vision_config=vision, projection_dim=16
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path / "models")
    out = tmp_path / "run"
    assert train(main, tmp_path / "models", "UPT", out) == 0
    (record,) = json.loads((out / "results.json").read_text())
    assert record["task"] == TASK and 0 <= record["score"] <= 100
    assert record["backbone"] == "models"
