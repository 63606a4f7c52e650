"""Prompts in files: they are read as they were written, and entries that do not fit are
named.
"""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from prompting import (
    IVLPPrompt,
    MaPLePrompt,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    load_prompts,
    load_state,
    save_prompts,
)

METADATA = {
    "method": "MUPT",
    "backbone": "pocket",
    "preprocessing": {"size": 32, "mean": [0.5, 0.5, 0.5]},
    "shots": 20,
}


def prompts():
    return [
        TextPrompt(4, 8, position="front"),
        TextPrompt(4, 8, classes=3),
        VisualPrompt(4, 16, 3, 8),
        VisualPrompt(4, 16, 1, 8, dropout=0.1),
        IVLPPrompt(4, 8, 3, 2, 16, 2, fixed_words="of a"),
        MaPLePrompt(2, 8, 16, 3),
        UnifiedPrompt(
            TextPrompt(2, 8),
            VisualPrompt(2, 16, 3, 8),
            dim=12,
            heads=3,
            layers=2,
            theta="per-token",
        ),
    ]


@pytest.mark.parametrize("prompt", prompts(), ids=lambda prompt: prompt.kind)
def test_round_trip(tmp_path, prompt):
    path = tmp_path / "run" / "prompts.safetensors"
    save_prompts(path, prompt, METADATA)
    loaded, metadata = load_prompts(path)
    assert metadata == METADATA
    assert type(loaded) is type(prompt) and loaded.config() == prompt.config()
    assert loaded.state_dict().keys() == prompt.state_dict().keys()
    for name, value in prompt.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert [file.name for file in path.parent.iterdir()] == ["prompts.safetensors"]
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["method"] == "MUPT"


def test_odd_strings_survive(tmp_path):
    metadata = {"seed": "1", "note": "null", "empty": "", "number": 1, "nothing": None}
    save_prompts(tmp_path / "a.safetensors", TextPrompt(1, 2), metadata)
    assert load_prompts(tmp_path / "a.safetensors")[1] == metadata
    with pytest.raises(ValueError, match="'config' is taken"):
        save_prompts(tmp_path / "a.safetensors", TextPrompt(1, 2), {"config": 1})


@pytest.mark.parametrize(
    ("stored", "wanted", "message"),
    [
        (TextPrompt(4, 8), TextPrompt(16, 8), "ctx has n_ctx 4, not 16"),
        (TextPrompt(4, 8), TextPrompt(4, 16), "ctx has width 8, not 16"),
        (
            TextPrompt(4, 8, classes=3),
            TextPrompt(4, 8, classes=5),
            "ctx has classes 3, not 5",
        ),
        (
            TextPrompt(4, 8, classes=3),
            TextPrompt(4, 8),
            "ctx is class-specific, not shared by all classes",
        ),
        (
            VisualPrompt(4, 16, 3, 8),
            VisualPrompt(4, 16, 5, 8),
            "embeddings_deep has layers-1 2, not 4",
        ),
        (
            VisualPrompt(4, 16, 1, 8),
            VisualPrompt(4, 16, 5, 8),
            "missing: embeddings_deep; unexpected: none",
        ),
        (
            TextPrompt(4, 8),
            VisualPrompt(4, 16, 1, 8),
            "'visual' prompt: .*missing: embeddings; unexpected: ctx",
        ),
    ],
)
def test_mismatches_are_named_and_change_nothing(stored, wanted, message):
    before = {name: value.clone() for name, value in wanted.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_state(wanted, stored.state_dict())
    assert all(
        torch.equal(value, before[name]) for name, value in wanted.state_dict().items()
    )


@pytest.mark.parametrize("share", [0, 0.3, 0.999])
@pytest.mark.parametrize("bit", [0x01, 0x40])
def test_a_flipped_bit_of_a_tensor_is_noticed(tmp_path, share, bit):
    prompt, path = TextPrompt(4, 16), tmp_path / "prompts.safetensors"
    save_prompts(path, prompt, {"method": "CoOp"})
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + int(share * (len(content) - start))] ^= bit
    path.write_bytes(content)
    with pytest.raises(ValueError, match="prompts.safetensors is damaged|not finite"):
        load_prompts(path)


def test_files_of_earlier_versions_have_no_checksum(tmp_path):
    prompt, path = TextPrompt(4, 16), tmp_path / "prompts.safetensors"
    save_prompts(path, prompt, {"method": "CoOp"})
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert len(metadata.pop("checksum")) == 32
    metadata["method"] = "KgCoOp"  # metadata may be changed
    save_file({"ctx": prompt.ctx.detach() + 1}, path, metadata)
    loaded, found = load_prompts(path)
    assert found == {"method": "KgCoOp"}
    assert torch.equal(loaded.ctx, prompt.ctx + 1)
    with pytest.raises(ValueError, match="'checksum' is taken"):
        save_prompts(path, prompt, {"checksum": "0"})


def test_files_without_prompts(tmp_path):
    path = tmp_path / "prompts.safetensors"
    with pytest.raises(FileNotFoundError, match="no prompts at"):
        load_prompts(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_prompts(path)
    save_file({"ctx": torch.zeros(2, 3)}, path)
    with pytest.raises(
        ValueError, match="holds no prompt: its metadata lacks 'config'"
    ):
        load_prompts(path)
    config = '{"kind": "text", "n_ctx": 4, "width": 3}'
    save_file({"ctx": torch.zeros(2, 3)}, path, metadata={"config": config})
    with pytest.raises(
        ValueError, match="prompts.safetensors: .*ctx has n_ctx 2, not 4"
    ):
        load_prompts(path)
