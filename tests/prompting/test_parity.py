"""Logits and gradients of the reference implementation on a small random CLIP
(data/reference_small.npz).
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from prompting import PromptedCLIP, load_backbone, prompt_from_reference
from prompting.checkpoints.reference import rename
from tests.prompting.reference_data import CASES, openai_state, reference

POSITION = {"coop_end_4": "end", "coop_middle_6": "middle"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_file(openai_state(), path)
    return load_backbone(str(path))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("savings", [True, False])
def test_logits_and_gradients(backbone, case, savings):
    data = reference()
    learned = {
        key: torch.from_numpy(value)
        for key, value in data.items()
        if key.startswith(f"{case}/prompt/")
    }
    learned = {key.rsplit("/", 1)[1]: value for key, value in learned.items()}
    prompt = prompt_from_reference(learned, POSITION.get(case, "middle"), patch_size=8)
    model = PromptedCLIP(
        backbone.clip,
        prompt,
        backbone.tokenizer,
        trim_padding=savings,
        share_prefix=savings,
    ).train()

    logits = model(
        torch.from_numpy(data["images"]), [str(name) for name in data["classnames"]]
    )
    loss = F.cross_entropy(logits, torch.from_numpy(data["labels"]))
    loss.backward()

    np.testing.assert_allclose(
        logits.detach().numpy(), data[f"{case}/logits"], rtol=0, atol=1e-4
    )
    assert loss.item() == pytest.approx(float(data[f"{case}/loss"]), abs=1e-5)
    gradients = dict(prompt.named_parameters())
    expected = rename(
        {name: torch.from_numpy(data[f"{case}/grad/{name}"]) for name in learned}
    )
    assert set(gradients) == set(expected)
    for name, gradient in expected.items():
        error = (gradients[name].grad - gradient).norm() / gradient.norm()
        assert error < 1e-4, name


def test_backbone_is_exact_float32(backbone):
    state = backbone.clip.state_dict()
    for name, value in openai_state().items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], value), name
    assert backbone.clip.visual.transformer.resblocks[0].attn.num_heads == 1
    assert backbone.preprocessing.size == 32
