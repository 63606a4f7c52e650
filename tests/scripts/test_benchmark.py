"""The steps that are compared compute the same: their gradients are equal, so a ratio
of times means something.
"""

import json
import shlex

import pytest
import torch

from scripts.benchmarks import steps as benchmark_steps
from scripts.benchmarks import training as benchmark
from scripts.benchmarks.steps import (
    naive_step,
    our_step,
    prompt_of,
    random_clip,
    source_names,
)


@pytest.mark.parametrize("method", ["CoOp", "VPT", "UPT", "MaPLe", "PromptSRC"])
@pytest.mark.parametrize("position", ["front", "middle", "end"])
def test_our_step_and_the_naive_one_have_the_same_gradients(method, position):
    torch.manual_seed(0)
    clip = random_clip("pocket")
    names = [*source_names(24), "Mexican hairless dog"]
    prompt = prompt_of(method, clip, 4, position)
    images, labels = torch.randn(3, 3, 48, 48), torch.tensor([0, 24, 7])
    autocast = benchmark_steps.autocast_of("cpu", "fp32")
    gradients = []
    for make in (naive_step, our_step):  # ours changes the prompt after its gradients
        make(
            clip,
            prompt,
            images,
            labels,
            names,
            autocast,
            benchmark_steps.WEIGHTS.get(method),
        )()
        gradients.append(
            [p.grad.clone() for p in prompt.parameters() if p.grad is not None]
        )
    assert len(gradients[0]) == len(gradients[1]) > 0
    for naive, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(
            ours, naive, atol=1e-5 * naive.abs().max().item(), rtol=1e-4
        )


def test_the_floor_is_the_prompted_tower_of_ours():
    torch.manual_seed(0)
    clip = random_clip("pocket")
    prompt = prompt_of("VPT", clip, 4, "-")
    images = torch.randn(2, 3, 48, 48)
    tower = benchmark_steps.prompted_tower(
        clip.visual, images, prompt.contexts().visual.unsqueeze(1)
    )
    ours = benchmark_steps.PromptedCLIP(clip, prompt).encode_images(images)
    torch.testing.assert_close(
        torch.nn.functional.normalize(tower, dim=-1), ours, atol=1e-5, rtol=0
    )


def test_source_names():
    assert len(source_names(2191)) == 2191
    assert source_names(1000)[0] == "tench" and len(set(source_names(1000))) > 990
    with pytest.raises(ValueError, match="2191 classes"):
        source_names(2192)


def test_the_command_writes_table_and_json(tmp_path, monkeypatch, capsys):
    command = (
        "benchmark --architecture pocket --methods VPT --classes 3 --n-ctx 2 --rounds 1 "
        f"--batch-size 2 --baseline --precision bf16 --output-dir {tmp_path}"
    )
    monkeypatch.setattr("sys.argv", shlex.split(command))
    assert benchmark.main() == 0
    (result,) = json.loads((tmp_path / "benchmark.json").read_text())["results"]
    assert result["precision"] == "bf16" and result["classes"] == 3
    assert result["ratio"] == pytest.approx(
        result["step_seconds"] / result["floor_seconds"], rel=0.05
    )
    assert result["naive_seconds"] > 0 and result["peak_gigabytes"] > 0.1
    assert (
        "| VPT | 3 |" in (tmp_path / "benchmark.md").read_text()
        and "| VPT | 3 |" in capsys.readouterr().out
    )
