"""Terms that keep a prompt near frozen features: their values by hand, in mixed
batches, and in whole runs.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from prompting import IVLPPrompt, MaPLePrompt, TextPrompt, load_prompts
from prompting.checkpoints.reference import to_reference
from tests.prompting.foreign_files import write_foreign
from trainers import losses

SINGLE, SEVERAL = "toy-shapes", "toy-shapes,toy-scenes,toy-pets"


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


class Model:
    """Logits at a scale of 10."""

    def logits(self, images, classes):
        return 10 * images @ classes.T


def outputs(sizes: list[int], groups: list[int]) -> losses.Outputs:
    torch.manual_seed(0)
    batch, classes = len(groups), sum(sizes)
    starts = torch.tensor(sizes).cumsum(0) - torch.tensor(sizes)
    labels = starts[torch.tensor(groups)][:, None]
    frozen = [(unit(batch, 6), unit(classes, 6))]
    arguments = (labels, torch.tensor(groups), torch.tensor(sizes), frozen)
    return losses.build_outputs(Model(), unit(batch, 6), unit(classes, 6), *arguments)


def test_the_terms_of_one_task_are_the_published_ones():
    found = outputs([4], [0, 0, 0])
    (frozen,) = found.anchors
    values = losses.terms(found, list(losses.TERMS))
    log_p, log_q = found.logits.log_softmax(1), frozen.logits.log_softmax(1)
    expected = {
        "text_cosine": 1 - (found.classes * frozen.classes).sum(-1).mean(),
        "text_l1": (found.classes - frozen.classes).abs().mean(),
        "image_l1": (found.images - frozen.images).abs().mean(),
        "kl": (log_q.exp() * (log_q - log_p)).sum() / (3 * 4),
    }
    for name, value in expected.items():
        assert values[name].item() == pytest.approx(value.item(), abs=1e-9), name
    weights = {"text_l1": 25.0, "kl": 2.0}
    total = losses.cross_entropy(found) + 25 * expected["text_l1"] + 2 * expected["kl"]
    assert losses.total(found, weights).item() == pytest.approx(total.item())
    entropy = (
        -((frozen.logits / 3).softmax(1) * (found.logits / 3).log_softmax(1))
        .sum(1)
        .mean()
    )
    assert losses.distillation(found, 3.0).item() == pytest.approx(9 * entropy.item())


def test_terms_of_a_mixed_batch_are_the_mean_over_its_images():
    sizes, groups = [3, 2, 4], [0, 2, 2, 1, 2]
    found = outputs(sizes, groups)
    (frozen,) = found.anchors
    values = losses.terms(found, list(losses.TERMS)) | {
        "entropy": losses.cross_entropy(found)
    }
    each = {name: [] for name in values}
    starts = torch.tensor(sizes).cumsum(0) - torch.tensor(sizes)
    for row, group in enumerate(groups):
        columns = slice(starts[group], starts[group] + sizes[group])
        classes, chosen = found.classes[columns], frozen.classes[columns]
        arguments = (
            torch.zeros(1, 1, dtype=torch.int64),
            torch.tensor([0]),
            torch.tensor([sizes[group]]),
        )
        one = losses.build_outputs(
            Model(),
            found.images[row : row + 1],
            classes,
            *arguments,
            [(frozen.images[row : row + 1], chosen)],
        )
        for name, value in (
            losses.terms(one, list(losses.TERMS))
            | {"entropy": losses.cross_entropy(one)}
        ).items():
            each[name].append(value.item())
    for name, value in values.items():
        assert value.item() == pytest.approx(sum(each[name]) / len(groups), abs=1e-6), (
            name
        )


def test_projected_gradients():
    gradient, general = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 4.0])
    assert losses.project_gradient(gradient, general).tolist() == [1.0, 0.0]
    assert losses.project_gradient(gradient, general, 0.5).tolist() == [1.0, -1.0]
    assert losses.project_gradient(gradient, -general).tolist() == [1.0, -2.0]
    assert losses.project_gradient(gradient, torch.zeros(2)).tolist() == [1.0, -2.0]


def test_gaussian_weights_and_the_average():
    weights = losses.gaussian_weights(4, 2.0, 1.0)
    density = [math.exp(-((epoch - 2) ** 2) / 2) for epoch in (1, 2, 3, 4)]
    assert weights.tolist() == pytest.approx(
        [value / sum(density) for value in density]
    )
    assert losses.gaussian_weights(3, 500.0, 0.1).tolist() == [0.0, 0.0, 1.0]
    prompt, average = torch.nn.Linear(2, 1), losses.GaussianAverage(3, 1.0, 2.0)
    states = []
    for epoch in range(3):
        torch.nn.init.normal_(prompt.weight)
        states.append(prompt.weight.detach().clone())
        average.add(prompt, epoch)
        again = losses.GaussianAverage(3, 1.0, 2.0)
        again.load_state_dict(average.state_dict())
        average = again
    average.load_into(prompt)
    expected = sum(
        weight * state for weight, state in zip(average.weights, states, strict=True)
    )
    torch.testing.assert_close(prompt.weight, expected.float())


# -- in trainers -------------------------------------------------------------------------------------------------------


def first_batch(trainer) -> dict:
    trainer._prepare_training()
    trainer.set_model_mode("train")
    return next(iter(trainer.train_loader_x))


@pytest.mark.parametrize(
    "name", ["MPromptSRC", "MMaPLe", "MVPT", "MUPT", "MCoOp", "MSoftCPT"]
)
@pytest.mark.parametrize("to", ["zero_shot", "source", "both"])
def test_every_method_can_stay_near_an_anchor(build, main, tmp_path, name, to):
    start = ""
    if to != "zero_shot":
        start = tmp_path / "start"
        assert (
            main(f"--trainer {name} --dataset toy-pets --shots 2 --output-dir {start}")
            == 0
        )
    keys = {"TO": to, "TEXT_COSINE": 1.0, "TEXT_L1": 1.0, "IMAGE_L1": 1.0, "KL": 1.0}
    opts = " ".join(f"TRAINER.ANCHOR.{key} {value}" for key, value in keys.items())
    out = tmp_path / "run"
    arguments = f"--trainer {name} --dataset {SEVERAL} --shots 2 --output-dir {out}"
    if start:
        arguments += f" --model-dir {start}"
    assert main(f"{arguments} {opts}") == 0
    assert load_prompts(out / "prompts.safetensors")[0] is not None


def test_frozen_features_are_those_of_plain_clip_and_computed_once(build, monkeypatch):
    trainer = build("MPromptSRC", SEVERAL)
    batch = first_batch(trainer)
    trainer.outputs(batch)
    encoder, calls = trainer.store.encoder, []
    original = type(encoder).encode_images
    monkeypatch.setattr(
        type(encoder),
        "encode_images",
        lambda self, *args: calls.append(self) or original(self, *args),
    )
    found = trainer.outputs(batch)
    assert encoder not in calls
    expected = original(encoder, batch["img"])
    torch.testing.assert_close(found.anchors[0].images, expected, atol=1e-6, rtol=0)
    first = trainer.anchors[0].classes([0])
    assert torch.equal(trainer.anchors[0].classes([0, 1])[: len(first)], first)


@pytest.mark.parametrize(
    "opts",
    [
        "INPUT.TRANSFORMS \"['random_flip', 'normalize']\"",
        "MULTITASK.LABEL_SPACE union",
        "DATALOADER.TRAIN_X.BATCH_SIZE 1",
        "TRAINER.MVLPT.PREC bf16",
    ],
)
@pytest.mark.parametrize("name", ["MPromptSRC", "MKgCoOp", "MProGrad"])
def test_anchored_methods_take_every_setting(main, tmp_path, name, opts):
    out = tmp_path / "run"
    assert (
        main(
            f"--trainer {name} --dataset {SEVERAL} --shots 2 --output-dir {out} {opts}"
        )
        == 0
    )


def test_frozen_features_of_augmented_images_are_of_the_same_views(build):
    trainer = build(
        "MPromptSRC",
        SEVERAL,
        "INPUT.TRANSFORMS",
        "['random_resized_crop', 'normalize']",
    )
    batch = first_batch(trainer)
    expected = trainer.store.encoder.encode_images(batch["img"])
    torch.testing.assert_close(trainer.outputs(batch).anchors[0].images, expected)


def test_a_prompt_that_did_not_move_is_at_its_source(main, build, tmp_path):
    start = tmp_path / "start"
    assert (
        main(f"--trainer MVPT --dataset toy-pets --shots 2 --output-dir {start}") == 0
    )
    from trainers.engine.context import RunContext

    cfg = build(
        "MVPT", SINGLE, "TRAINER.ANCHOR.TO", "source", "TRAINER.ANCHOR.IMAGE_L1", 1.0
    ).cfg
    trainer = type(build("MVPT", SINGLE))(cfg, RunContext(start=str(start)))
    found = trainer.outputs(first_batch(trainer))
    values = losses.terms(found, ["image_l1", "kl"])
    assert values["image_l1"].item() < 1e-6 and abs(values["kl"].item()) < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--trainer IVLP TRAINER.IVLP.PROMPT_DEPTH_TEXT 3",
            "PROMPT_DEPTH_TEXT is 3; the tower has 2",
        ),
        (
            "--trainer PromptSRC TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION 9",
            "PROMPT_DEPTH_VISION is 9",
        ),
        (
            "--trainer MaPLe TRAINER.MAPLE.PROMPT_DEPTH 0",
            "TRAINER.MAPLE.PROMPT_DEPTH is 0",
        ),
        (
            "--trainer MaPLe --backbone RN50",
            "MaPLe needs a vision transformer",
        ),
        (
            "--trainer IVLP --backbone RN50",
            "IVLP needs a vision transformer",
        ),
        (
            "--trainer PromptSRC TRAINER.PROMPTSRC.GPA_STD 0",
            "TRAINER.PROMPTSRC.GPA_STD is 0.0",
        ),
        (
            "--trainer MMRL TRAINER.MMRL.REP_LAYERS '[2, 3]'",
            "TRAINER.MMRL.REP_LAYERS is [2, 3]; the towers have layers 1 to 2",
        ),
        (
            "--trainer MMRLPP TRAINER.MMRLPP.REP_RANK 0",
            "TRAINER.MMRLPP.REP_RANK is 0",
        ),
        ("--trainer MMRL TRAINER.MMRL.ALPHA 2", "TRAINER.MMRL.ALPHA is 2"),
        (
            "--trainer MMRL --backbone RN50",
            "MMRL needs a vision transformer",
        ),
        ("--trainer TCP TRAINER.TCP.BLOCK 2", "TRAINER.TCP.BLOCK is 2"),
        (
            "--trainer SoftCPT TRAINER.SOFTCPT.TASK_N_CTX 0",
            "TRAINER.SOFTCPT.TASK_N_CTX is 0; it is from 1 to",
        ),
        (
            "--trainer SoftCPT TRAINER.SOFTCPT.TASK_N_CTX 74",
            "'toy-shapes' with 74 context vectors takes 80 tokens",
        ),
        ("--trainer MaPLe TRAINER.MAPLE.N_CTX 0", "TRAINER.MAPLE.N_CTX is 0"),
        (
            "--trainer CoOp TRAINER.ANCHOR.TO source",
            "there is no source prompt",
        ),
        ("--trainer CoOp TRAINER.ANCHOR.TO sources", "nearest: source"),
        ("--trainer KgCoOp TRAINER.KGCOOP.WEIGHT 3", "'TRAINER.KGCOOP.W"),
    ],
)
def test_wrong_input_is_one_message(main, tmp_path, capsys, arguments, message):
    out = tmp_path / "run"
    data = f"--dataset {SINGLE} --shots 3 --output-dir {out}"
    assert main(f"{data} {arguments}") == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not out.exists()


@pytest.mark.parametrize("name", ["MaPLe", "PromptSRC", "KgCoOp"])
def test_a_released_checkpoint_is_a_start(main, tmp_path, name, capsys):
    prompt = {
        "MaPLe": MaPLePrompt(2, 32, 64, 2),
        "PromptSRC": IVLPPrompt(4, 32, 2, 4, 64, 2),
        "KgCoOp": TextPrompt(4, 32, position="end"),
    }[name]
    state = to_reference(prompt)
    if name == "KgCoOp":
        state |= {
            "bias_vectors": torch.zeros(1, 512),
            "meta_net.linear1.weight": torch.zeros(4, 16),
        }
    else:
        state |= {
            "image_encoder.conv1.weight": torch.zeros(3),
            "prompt_learner.token_suffix": torch.zeros(2, 70, 32),
        }
    folder = tmp_path / "released"
    write_foreign(folder, state)
    data = f"--dataset {SINGLE} --shots 2 --output-dir"
    assert (
        main(f"--trainer {name} --eval-only --model-dir {folder} {data} {tmp_path}/run")
        == 0
    )
    found = load_prompts(tmp_path / "run" / "prompts.safetensors")[0].state_dict()
    assert all(
        torch.equal(value, found[key]) for key, value in prompt.state_dict().items()
    )
    capsys.readouterr()
    assert (
        main(f"--trainer VPT --eval-only --model-dir {folder} {data} {tmp_path}/other")
        == 2
    )
    error = capsys.readouterr().err
    assert "does not fit this 'visual' prompt" in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["MPromptSRC", "MKgCoOp"])
def test_two_stages_near_the_source(main, tmp_path, name):
    out = tmp_path / "run"
    arguments = (
        f"--trainer {name} --source toy-shapes,toy-pets --dataset toy-marks --shots 2"
    )
    assert main(f"{arguments} --output-dir {out} TRAINER.ANCHOR.TO both") == 0
    assert (out / "submission.zip").is_file()
