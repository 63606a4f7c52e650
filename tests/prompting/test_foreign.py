"""Prompts of CoOp, CoCoOp and the reference MVLPT: read from their checkpoints, written
as ours, and written back.
"""

import logging
import shlex

import numpy as np
import pytest
import torch

from prompting import (
    AnchoredPrompt,
    HeadPrompt,
    IVLPPrompt,
    MaPLePrompt,
    MMRLPPPrompt,
    MMRLPrompt,
    PromptedCLIP,
    TCPPrompt,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    load_prompts,
    save_prompts,
)
from prompting.__main__ import main
from prompting.checkpoints.foreign import (
    checkpoint_path,
    convert,
    position_in,
    read_checkpoint,
    read_prompt,
)
from prompting.checkpoints.reference import (
    prompt_from_reference,
    to_reference,
)
from tests.prompting.foreign_files import (
    TEXT,
    Attack,
    foreign_state,
    prompt_of,
    write_foreign,
)
from tests.prompting.tiny import random_images, tiny_clip
from toolkit.common.unpickle import read

METHODS = {"CoOp": "text", "VPT": "visual", "VPT-shallow": "visual", "UPT": "unified"}
BUFFERS = ("token_prefix", "token_suffix")


@pytest.mark.parametrize("old", [False, True], ids=["new names", "old names"])
@pytest.mark.parametrize("half", [True, False], ids=["fp16", "fp32"])
@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_becomes_ours_and_the_references_again(
    tmp_path, method, half, old
):
    stored = foreign_state(method, half, old)
    source = write_foreign(tmp_path / "run", stored)
    convert(source, tmp_path / "ours.safetensors", "end" if method == "CoOp" else None)
    prompt, metadata = load_prompts(tmp_path / "ours.safetensors")
    assert prompt.kind == METHODS[method]
    assert metadata == {"epoch": 50, "val_result": 71.5}
    assert all(value.dtype == torch.float32 for value in prompt.state_dict().values())
    model = PromptedCLIP(tiny_clip(), prompt)
    assert torch.isfinite(model(random_images(), ["cat", "dog"])).all()

    convert(tmp_path / "ours.safetensors", tmp_path / "back.pth.tar")
    back = torch.load(tmp_path / "back.pth.tar", weights_only=True)
    assert (back["epoch"], back["val_result"]) == (50, 71.5)
    expected = {
        name.replace("upt_proj", "mvlpt_proj"): v
        for name, v in stored.items()
        if name not in BUFFERS
    }
    if not old:
        assert set(back["state_dict"]) == {
            name for name in stored if name not in BUFFERS
        }
    assert back["state_dict"].keys() == expected.keys()
    assert all(
        torch.equal(back["state_dict"][name], value.float())
        for name, value in expected.items()
    )


def test_the_references_names(tmp_path):
    shapes = {
        name: tuple(value.shape)
        for name, value in to_reference(prompt_of("UPT")).items()
    }
    assert shapes.pop("mvlpt_proj.resblocks.0.attn.in_proj_weight") == (144, 48)
    assert {name for name in shapes if "resblocks" in name} == {
        f"mvlpt_proj.resblocks.0.{part}"
        for part in (
            "attn.in_proj_bias",
            "ln_1.weight",
            "ln_1.bias",
            "ln_2.weight",
            "ln_2.bias",
        )
        + tuple(
            f"{layer}.{k}"
            for layer in ("attn.out_proj", "mlp.c_fc", "mlp.c_proj")
            for k in ("weight", "bias")
        )
    }
    assert {
        name: shape for name, shape in shapes.items() if "resblocks" not in name
    } == {
        "ctx": (4, 32),
        "vpt_embeddings": (1, 4, 64),
        "vpt_embeddings_deep": (1, 4, 64),
        "mvlpt_proj_ctx_coop_pre.weight": (48, 32),
        "mvlpt_proj_ctx_coop_pre.bias": (48,),
        "mvlpt_proj_ctx_coop_post.weight": (32, 48),
        "mvlpt_proj_ctx_coop_post.bias": (32,),
        "mvlpt_proj_ctx_vpt_pre.weight": (48, 64),
        "mvlpt_proj_ctx_vpt_pre.bias": (48,),
        "mvlpt_proj_ctx_vpt_post.weight": (64, 48),
        "mvlpt_proj_ctx_vpt_post.bias": (64,),
    }


def test_a_seed_averaged_file(tmp_path):
    """Read a file of avg_ckpt.py: no optimiser, a numpy mean."""
    states = [foreign_state("UPT", half=False) for _ in range(3)]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0)
        for name in states[0]
    }
    path = tmp_path / "prompt_learner" / "model.pth.tar-200"
    path.parent.mkdir()
    torch.save(
        {"state_dict": mean, "epoch": 200, "val_result": np.mean([70.0, 71.0, 72.0])},
        path,
    )
    checkpoint = read_checkpoint(path)
    assert (
        checkpoint.epoch,
        checkpoint.val_result,
        checkpoint.foreign,
        checkpoint.per_token,
    ) == (
        200,
        71.0,
        True,
        True,
    )
    assert torch.equal(checkpoint.state["ctx"], mean["ctx"])
    prompt, _ = read_prompt(tmp_path)
    assert isinstance(prompt, UnifiedPrompt) and prompt.theta == "per-token"


@pytest.mark.parametrize("method", ["CoCoOp", "MVLPT-CoCoOp"])
def test_cocoops_context(tmp_path, caplog, method):
    stored = foreign_state(method)
    write_foreign(tmp_path, stored)
    with caplog.at_level(logging.WARNING):
        prompt, _ = read_prompt(tmp_path)
    assert "is read without meta_net.linear1.weight" in caplog.text
    assert torch.equal(prompt.ctx, stored.get("ctx", stored.get("cocoop_ctx")).float())
    checkpoint = read_checkpoint(checkpoint_path(tmp_path))
    assert set(checkpoint.state) == {"ctx"} | {
        f"meta_net.{n}.{k}" for n in ("linear1", "linear2") for k in ("weight", "bias")
    }


def test_class_specific_contexts(tmp_path):
    stored = foreign_state("CoOp", classes=3)
    convert(
        write_foreign(tmp_path, stored),
        tmp_path / "a.safetensors",
        "end",
        metadata={"classes": {"t": ["a", "b", "c"]}},
    )
    prompt, metadata = load_prompts(tmp_path / "a.safetensors")
    assert prompt.config()["classes"] == 3 and metadata["classes"] == {
        "t": ["a", "b", "c"]
    }
    assert torch.equal(prompt.ctx, stored["ctx"].float())


def test_nothing_in_a_checkpoint_runs(tmp_path):
    marker = tmp_path / "ran"
    path = write_foreign(
        tmp_path, foreign_state("CoOp"), scheduler={"successor": Attack(marker)}
    )
    torch.load(path, weights_only=False)
    assert marker.is_dir(), "the file does what it is meant to prove"
    marker.rmdir()
    convert(path, tmp_path / "a.safetensors", "end")
    assert (
        main(shlex.split(f"convert {tmp_path} {tmp_path}/b.safetensors --position end"))
        == 0
    )
    assert not marker.exists() and (tmp_path / "b.safetensors").is_file()


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("out/caltech101/CoOp/rn50_16shots/nctx16_cscFalse_ctpend/seed1", "end"),
        ("out/nctx4_cscTrue_ctpfront/seed1/prompt_learner/model.pth.tar-50", "front"),
        ("out/a,b/UPT/vit_b16_20shots/nctx16_csc_ctp/seed1", None),
        ("out/ctpending/seed1", None),
    ],
)
def test_the_position_in_a_path(path, position):
    assert position_in(path) == position


def test_the_position_of_a_converted_prompt(tmp_path):
    folder = tmp_path / "nctx4_cscFalse_ctpend" / "seed1"
    write_foreign(folder, foreign_state("CoOp"))
    write_foreign(tmp_path / "other", foreign_state("CoOp"))
    assert read_prompt(folder)[0].position == "end"
    with pytest.raises(
        ValueError, match="tell where the class name is; give the position"
    ):
        read_prompt(tmp_path / "other")
    assert read_prompt(tmp_path / "other", position="middle")[0].position == "middle"
    assert read_prompt(folder, position="front")[0].position == "front"


def test_which_checkpoint_of_a_folder(tmp_path):
    for epoch in (5, 50, 100):
        write_foreign(tmp_path, foreign_state("CoOp"), epoch, f"model.pth.tar-{epoch}")
    write_foreign(tmp_path, foreign_state("CoOp"), 7, "model.pth.tar-9.backup")
    assert read_prompt(tmp_path, "end")[1]["epoch"] == 100
    assert read_prompt(tmp_path, "end", load_epoch=5)[1]["epoch"] == 5
    write_foreign(tmp_path, foreign_state("CoOp"), 50)
    assert read_prompt(tmp_path, "end")[1]["epoch"] == 50
    with pytest.raises(
        FileNotFoundError, match="model.pth.tar-6; there are .*model.pth.tar-50"
    ):
        read_prompt(tmp_path, load_epoch=6)
    with pytest.raises(FileNotFoundError, match="no checkpoint .*model-best"):
        read_prompt(tmp_path / "prompt_learner")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state dict"),
        ({"state_dict": {}}, "holds no state dict"),
        ({"state_dict": {"ctx": 3}}, "ctx in its state dict is no tensor"),
        (
            {"state_dict": {"ctx": torch.zeros(1).expand(1000, 1000)}},
            "ctx claims more values",
        ),
        (
            {"state_dict": {"ctx": torch.zeros(2, 3), "cocoop_ctx": torch.zeros(2, 3)}},
            "both ctx and cocoop_ctx",
        ),
        (
            {"state_dict": {"ctx": torch.zeros(2, 3), "vpt_other": torch.zeros(1)}},
            "not the names.*vpt_other",
        ),
        (
            {"state_dict": {"token_prefix": torch.zeros(1)}},
            "neither ctx nor vpt_embeddings",
        ),
        ({"state_dict": {"embeddings": torch.zeros(1, 2, 3)}}, "give the run's folder"),
        (
            {"state_dict": {"token_prefix": torch.zeros(1), "ctx": torch.zeros(3)}},
            r"ctx has the shape \(3,\); its axes are 2 or 3",
        ),
        (
            {"state_dict": {"ctx": torch.zeros(1, 2, 3, 4)}},
            r"ctx has the shape \(1, 2, 3, 4\); its axes are 2 or 3",
        ),
        (
            {"state_dict": {"vpt_embeddings": torch.zeros(2, 3)}},
            r"embeddings has the shape \(2, 3\); its axes are 3",
        ),
        (
            {"state_dict": {f"token_prefix{k}": torch.zeros(1) for k in range(9)}},
            "not the names.*token_prefix4 and 4 more",
        ),
    ],
)
def test_what_is_no_prompt(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth.tar")
    with pytest.raises(ValueError, match=f"a.pth.tar.*{message}"):
        read_prompt(tmp_path / "a.pth.tar")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"theta": "attention"}, "attend to all others"),
        ({"theta": "mlp"}, "can't be an mlp"),
        ({"theta": "per-token", "layers": 2}, "one block; this prompt's has 2"),
    ],
)
def test_what_the_reference_would_compute_differently(tmp_path, changes, message):
    other = prompt_of("UPT")
    save_prompts(
        tmp_path / "a.safetensors",
        UnifiedPrompt(other.text, other.visual, 48, **changes),
    )
    with pytest.raises(ValueError, match=f"a.safetensors.*{message}"):
        convert(tmp_path / "a.safetensors", tmp_path / "a.pth.tar")
    assert not (tmp_path / "a.pth.tar").exists()


def test_convert_on_the_command_line(tmp_path, capsys):
    write_foreign(tmp_path, foreign_state("CoOp"))
    out = tmp_path / "a.safetensors"
    arguments = (
        f"{tmp_path} {out} --position end --backbone ViT-B/16 --classes 'cat, dog'"
    )
    assert main(shlex.split(f"convert {arguments}")) == 0
    assert (
        capsys.readouterr().out
        == f"{out}: a text prompt of 4 vectors, {TEXT} wide, class name at the end\n"
    )
    prompt, metadata = load_prompts(out)
    assert prompt.position == "end"
    assert metadata["backbone"] == "ViT-B/16" and metadata["classes"] == {
        "converted": ["cat", "dog"]
    }
    assert main(shlex.split(f"convert {out} {tmp_path}/model.pth.tar-50")) == 0
    assert set(read(tmp_path / "model.pth.tar-50")["state_dict"]) == {"ctx"}
    capsys.readouterr()
    for wrong in (
        f"{out} {tmp_path}/a.onnx",
        f"{tmp_path}/none {out}",
    ):
        assert main(shlex.split(f"convert {wrong}")) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (
            TextPrompt(4, 8, classes=3),
            "a text prompt of 4 vectors, 8 wide, a set for each of 3 classes",
        ),
        (
            prompt_of("VPT"),
            "a deep visual prompt in 2 layers of 4 vectors, 64 wide",
        ),
        (
            prompt_from_reference(to_reference(prompt_of("UPT"))),
            "a unified prompt: a text prompt of 4 vectors, 32 wide, a deep visual prompt "
            "in 2 layers of 4 vectors, 64 wide, θ per-token",
        ),
        (
            IVLPPrompt(4, 8, 3, 2, 16, 1),
            "an IVLP prompt of 4 text vectors in 3 layers and 2 visual vectors in 1",
        ),
        (MaPLePrompt(2, 8, 16, 3), "a MaPLe prompt of 2 vectors in 3 layers"),
        (
            TCPPrompt(4, 8, 16, 1),
            "a TCP prompt of 4 vectors and a map of class features before block 1",
        ),
        (
            MMRLPrompt(5, 4, 8, 16, 12, [5, 6], 0.7),
            "an MMRL prompt of 5 vectors, 4 wide, mapped into both towers before "
            "blocks 5, 6",
        ),
        (
            MMRLPPPrompt(5, 4, 8, 16, 12, [0], 0.7, 0.9, 2, 3),
            "an MMRL++ prompt of 5 vectors, 4 wide, mapped into both towers before "
            "blocks 0",
        ),
        (HeadPrompt(3, 12), "a head for 3 classes, 12 wide, with biases"),
        (HeadPrompt(3, 12, bias=False), "a head for 3 classes, 12 wide"),
        (
            AnchoredPrompt(VisualPrompt(2, 16, 1, 8), 3, 12),
            "a shallow visual prompt of 2 vectors, 16 wide, interpolated with zero-shot "
            "CLIP, and offsets of 3 classes",
        ),
    ],
)
def test_prompts_in_words(prompt, words):
    assert prompt.describe() == words


# -- newer methods -----------------------------------------------------------------------------------------------------


def released_state(
    method: str, n_ctx: int = 2, words: bool = True
) -> dict[str, torch.Tensor]:
    """Return a state dict as the official code saves it: prompts, frozen weights, and
    the class names' embeddings.
    """
    if method in ("KgCoOp", "ProGrad"):
        state = {"ctx": torch.randn(n_ctx, TEXT)}
    elif method == "MaPLe":
        state = to_reference(MaPLePrompt(n_ctx, TEXT, 64, 2))
    else:
        state = to_reference(IVLPPrompt(n_ctx, TEXT, 2, 3, 64, 2))
    if method == "KgCoOp":
        state |= {
            "bias_vectors": torch.zeros(1, 512),
            "meta_net.linear1.weight": torch.zeros(4, 16),
        }
    suffix = torch.randn(3, 72, TEXT)
    if words:
        suffix[:, : 4 - n_ctx] = suffix[0, : 4 - n_ctx]
    prefix = "" if method in ("KgCoOp", "ProGrad") else "prompt_learner."
    state |= {
        f"{prefix}token_prefix": torch.randn(3, 1, TEXT),
        f"{prefix}token_suffix": suffix,
    }
    if prefix:
        frozen = (
            "image_encoder.conv1.weight",
            "text_encoder.transformer.resblocks.0.ln_1.weight",
            "logit_scale",
        )
        state |= {name: torch.randn(3) for name in frozen}
        state["prompt_learner.ZS_image_encoder.conv1.weight"] = torch.randn(3)
    return state


@pytest.mark.parametrize("method", ["KgCoOp", "ProGrad", "IVLP", "MaPLe"])
def test_released_checkpoints_become_ours_and_official_again(tmp_path, method):
    stored = released_state(method)
    folder = tmp_path / "nctx2_cscFalse_ctpend"
    convert(write_foreign(folder, stored), tmp_path / "ours.safetensors")
    prompt, _ = load_prompts(tmp_path / "ours.safetensors")
    assert (
        prompt.position == "end"
        and torch.isfinite(
            PromptedCLIP(tiny_clip(), prompt)(random_images(), ["a"])
        ).all()
    )
    assert prompt.fixed_words == ("" if method in ("KgCoOp", "ProGrad") else "of a")
    convert(tmp_path / "ours.safetensors", tmp_path / "back.pth.tar")
    back = torch.load(tmp_path / "back.pth.tar", weights_only=True)["state_dict"]
    assert all(torch.equal(value, stored[name]) for name, value in back.items())
    learned = [
        name
        for name in stored
        if "VPT" in name or "proj" in name or "compound" in name or name.endswith("ctx")
    ]
    assert sorted(back) == sorted(learned)


def test_words_that_differ_between_classes_are_the_names(tmp_path):
    path = write_foreign(tmp_path, released_state("MaPLe", words=False))
    assert read_prompt(path)[0].fixed_words == ""
    assert (
        read_prompt(write_foreign(tmp_path, released_state("IVLP", n_ctx=4)))[
            0
        ].fixed_words
        == ""
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ctx": torch.zeros(4, 8), "meta_net.linear2.weight": torch.zeros(32, 2)},
            "is TCP's",
        ),
        (
            {"representation_learner.compound_rep_tokens": torch.zeros(5, 8)},
            "is MMRL's",
        ),
        (
            {"ctx": torch.zeros(2, 8), "proj.weight": torch.zeros(6, 8)},
            "proj.bias is missing",
        ),
        (
            {
                "ctx": torch.zeros(2, 8),
                "image_encoder.VPT": torch.zeros(3, 6),
                "other": torch.zeros(1),
            },
            "other",
        ),
    ],
)
def test_released_checkpoints_of_the_wrong_kind(tmp_path, capsys, change, message):
    path = write_foreign(tmp_path, change)
    assert main(shlex.split(f"convert {path} {tmp_path}/a.safetensors")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_the_position_of_a_method_is_known(tmp_path):
    path = write_foreign(tmp_path, released_state("KgCoOp"))
    with pytest.raises(
        ValueError, match="is KgCoOp's: its class name is at the end, not at 'front'"
    ):
        read_prompt(path, position="front")
