"""Evaluation through the whole command: a checkpoint, a prompt's folder and ELEVATER's
files give the model's probabilities.
"""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from prompting import load_backbone
from tests.prompting import oracle
from trainers.methods.cocoop import CustomCLIP, PromptLearner

SHAPE = (64, 2, 8, 32, 64, 2, 16)  # as `oracle.random_state` takes it
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]  # CLIP's own
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
COOP, VPT = "TRAINER.MVLPT.COOP.N_CTX 4", "TRAINER.MVLPT.VPT.N_CTX 3"
THETA = "TRAINER.MVLPT.PROJECT_METHOD per-token TRAINER.MVLPT.PROJECT_DIM 32"
METHODS = {  # trainer -> the case of `oracle.random_prompt`, its keys
    "CoOp": ("middle", f"{COOP} TRAINER.COOP.CLASS_TOKEN_POSITION middle"),
    "VPT": ("deep", VPT),
    "UPT": ("unified", f"{COOP} {VPT} {THETA}"),
}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """Return a data root with CIFAR-10 in ELEVATER's layout, and its test images."""
    root, rng, test = tmp_path_factory.mktemp("root"), np.random.default_rng(0), []
    folder = root / "classification" / "cifar_10_20211007"
    folder.mkdir(parents=True)
    for split, name, count in (("train", "train.zip", 20), ("test", "val.zip", 13)):
        lines = []
        with zipfile.ZipFile(folder / name, "w") as archive:
            for i in range(count):
                coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                image = Image.fromarray(coarse).resize(
                    (50 + i, 40), Image.Resampling.BICUBIC
                )
                stream = io.BytesIO()
                image.save(stream, "PNG")
                archive.writestr(f"{split}/{i}.png", stream.getvalue())
                lines.append(f"{name}@{split}/{i}.png {i % 10}")
                if split == "test":
                    test.append(image)
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "labels.txt").write_text("\n".join(CLASSES) + "\n")
    return root, test


@pytest.mark.parametrize("method", METHODS)
def test_evaluation_gives_the_probabilities_of_the_model(main, tmp_path, cifar, method):
    root, images = cifar
    case, keys = METHODS[method]
    state, (prompt, position) = (
        oracle.random_state(*SHAPE),
        oracle.random_prompt(case, SHAPE),
    )
    save_file(state, tmp_path / "clip.safetensors")
    (tmp_path / "source" / "prompt_learner").mkdir(parents=True)
    buffers = {
        "token_prefix": torch.zeros(10, 1, 64),
        "token_suffix": torch.zeros(10, 72, 64),
    }
    content = {"state_dict": prompt | buffers, "epoch": 2}
    torch.save(content, tmp_path / "source" / "prompt_learner" / "model-best.pth.tar")

    flags = f"--eval-only --trainer {method} --dataset cifar-10 --shots 1 --seed 1"
    folders = f"--backbone {tmp_path}/clip.safetensors --model-dir {tmp_path}/source"
    assert main(f"{flags} {folders} --output-dir {tmp_path}/out {keys}", data=root) == 0

    squashed = [image.resize((32, 32), Image.Resampling.BICUBIC) for image in images]
    pixels = torch.stack(
        [torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in squashed]
    )
    wanted = oracle.logits(
        state, prompt, (pixels - MEAN) / STD, CLASSES, position
    ).softmax(1)
    got = json.loads(
        (tmp_path / "out" / "predictions" / "seed1_cifar-10.json").read_text()
    )["predictions"][0]
    torch.testing.assert_close(torch.tensor(got), wanted, rtol=0, atol=1e-5)


def test_a_prompt_learned_on_other_crops_is_told(main, tmp_path, cifar, capsys):
    flags = "--trainer CoOp --dataset cifar-10 --shots 1 --seed 1 --backbone pocket"
    squash, crop = (f"--output-dir {tmp_path}/{name}" for name in ("squash", "crop"))
    last = "TEST.FINAL_MODEL last_step OPTIM.MAX_EPOCH 1"
    assert main(f"{flags} {squash} {last}", data=cifar[0]) == 0
    again = f"{flags} --eval-only --model-dir {tmp_path}/squash"
    assert main(f"{again} --output-dir {tmp_path}/same {last}", data=cifar[0]) == 0
    assert "another preprocessing" not in (tmp_path / "same" / "log.txt").read_text()
    capsys.readouterr()
    assert main(f"{again} {crop} {last} DATASET.CENTER_CROP True", data=cifar[0]) == 2
    assert (
        "trained with DATASET.CENTER_CROP False, but True is given"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "crop").exists()


@pytest.mark.parametrize(
    "shape", [SHAPE, (128, 3, 16, 48, 128, 2, 32), (192, 2, 14, 28, 128, 3, 24)]
)
def test_cocoop(tmp_path, shape):
    """Compare CoCoOp, with a context for each image, moved by the net's output for its
    features.
    """
    state = oracle.random_state(*shape)
    save_file(state, tmp_path / "clip.safetensors")
    learner = PromptLearner(4, shape[4], shape[6])
    model = CustomCLIP(
        load_backbone(str(tmp_path / "clip.safetensors")), learner, CLASSES[:3]
    )
    images, labels = torch.randn(2, 3, shape[3], shape[3]), torch.tensor([2, 0])
    for parameter in learner.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    features, tensors = (
        oracle.image_features(state, images, []),
        learner.state_dict(keep_vars=True),
    )
    rows = []
    for feature in features:
        activations = torch.relu(
            tensors["meta_net.linear1.weight"] @ feature
            + tensors["meta_net.linear1.bias"]
        )
        shift = (
            tensors["meta_net.linear2.weight"] @ activations
            + tensors["meta_net.linear2.bias"]
        )
        rows.append(
            oracle.text_features(state, CLASSES[:3], tensors["ctx"] + shift, "end")
            @ feature
        )
    wanted, got = state["logit_scale"].exp() * torch.stack(rows), model(images)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)
    one, two = (
        torch.autograd.grad(
            torch.nn.functional.cross_entropy(logits, labels), list(tensors.values())
        )
        for logits in (got, wanted)
    )
    for mine, other in zip(one, two, strict=True):
        assert (mine - other).norm() <= 1e-4 * other.norm()
