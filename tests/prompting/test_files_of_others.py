"""Untrusted prompt files and repositories: their entries are checked before they are
used.
"""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from prompting import TextPrompt, load_prompts
from prompting.backbones.loading import HUB_CONFIG, load_backbone
from prompting.predict import Predictor

GOOD = {"kind": "text", "n_ctx": 2, "width": 8, "classes": None, "position": "end"}


@pytest.fixture
def written(tmp_path):
    def write(config: object, shape=(2, 8), **metadata):
        path = tmp_path / "prompts.safetensors"
        text = config if isinstance(config, str) else json.dumps(config)
        save_file(
            {"ctx": torch.zeros(shape)}, path, metadata={"config": text, **metadata}
        )
        return path

    return write


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[" * 100_000, "recursion"),
        ("[1]", "no object"),
        ("{", "Expecting"),
        ({"kind": ["text"]}, "unknown kind"),
        (GOOD | {"kind": "os.system"}, "unknown kind of prompt 'os.system'"),
        (GOOD | {"n_ctx": 10**12}, "n_ctx 1000000000000; 100,000 is the most"),
        (GOOD | {"n_ctx": float("nan")}, "n_ctx nan"),
        (
            GOOD | {"n_ctx": 100_000, "width": 100_000, "classes": 100_000},
            "not shared|class-specific",
        ),
        (
            GOOD | {"n_ctx": 100_000, "width": 100_000},
            "n_ctx 2, not 100000, width 8, not 100000",
        ),
        (GOOD | {"n_ctx": -1}, "n_ctx is -1"),
        (GOOD | {"init": [[1]]}, "does not fit|init"),
        (GOOD | {"more": 1}, "a 'text' prompt has 'more'; it knows n_ctx, width"),
        ({"kind": "anchored"}, "a 'anchored' prompt lacks 'base'"),
        (
            {"kind": "anchored", "base": GOOD, "offsets": 3, "half": 1},
            "a 'anchored' prompt has 'half', 'offsets'; it knows base, classes, dim",
        ),
        ({"kind": "anchored", "base": {"kind": "x"}}, "unknown kind of prompt 'x'"),
        ({"kind": "anchored", "base": 5}, "'anchored' prompt does not fit"),
        ({"kind": "unified", "text": GOOD, "visual": 3}, "does not fit|unified"),
    ],
)
def test_configurations(written, config, message):
    path = written(config)
    with pytest.raises(ValueError, match=r"prompts\.safetensors") as caught:
        load_prompts(path)
    assert any(part in str(caught.value) for part in message.split("|")), caught.value


def test_a_prompt_is_read_on_the_cpu_with_its_values(written):
    prompt, metadata = load_prompts(written(GOOD, note="[" * 100_000))
    assert prompt.ctx.device.type == "cpu" and torch.equal(
        prompt.ctx, torch.zeros(2, 8)
    )
    assert metadata == {"note": "[" * 100_000}


@pytest.mark.parametrize(
    "header",
    [b"[" * 100_000, b'{"__metadata__": {"config": 3}}', b"\xff" * 8, b"{}" + b" " * 8],
)
def test_headers(tmp_path, header):
    path = tmp_path / "prompts.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match=r"prompts\.safetensors"):
        load_prompts(path)
    path.write_bytes(struct.pack("<Q", 1 << 62) + header)
    with pytest.raises(
        ValueError, match=r"prompts\.safetensors is no safetensors file"
    ):
        load_prompts(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"classes": ["a"]}, "'classes' are no lists"),
        ({"classes": {"t": "abc"}}, "'classes' are no lists"),
        ({"classes": {"t": [1]}}, "'classes' are no lists"),
        ({"preprocessing": [1]}, "preprocessing is '\\[1\\]'"),
        ({"preprocessing": {"size": "32"}}, "size is '32'"),
        ({"preprocessing": {"mean": [0.5]}}, "mean is"),
        ({"preprocessing": {"mean": ["a", "b", "c"]}}, "mean is"),
        ({"preprocessing": {"device": "cuda"}}, "device is 'cuda'"),
        (
            {"preprocessing": {"interpolation": "lanczos"}},
            "interpolation 'lanczos' is none of nearest",
        ),
    ],
)
def test_metadata(metadata, message):
    backbone = load_backbone("pocket")
    with pytest.raises(ValueError, match=message):
        Predictor(
            backbone, TextPrompt(2, backbone.clip.ln_final.weight.shape[0]), metadata
        )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        '{"model_cfg": []}',
        '{"model_cfg": {"text_cfg": {}}}',
        '{"model_cfg": {"text_cfg": {}, "vision_cfg": 3}}',
        '{"model_cfg": {"text_cfg": {}, "vision_cfg": {"timm_model_name": "hf-hub:someone/model"}}}',
    ],
)
def test_repositories(tmp_path, text):
    (tmp_path / HUB_CONFIG).write_text(text)
    save_file({"a": torch.zeros(1)}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(
        ValueError,
        match=r"open_clip_config\.json is no configuration|no model of timm's own",
    ):
        load_backbone(str(tmp_path))
