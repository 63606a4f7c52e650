"""One contract for all trainers: the tensors that they learn, those that they do not
change, the files of a run, evaluation, resume, two stages and prediction.
"""

import io
import json
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny_world
import torch
from dassl.engine import TRAINER_REGISTRY
from PIL import Image
from run_files import prompt_in, read, same

import prompting.predict
from elevater_eval import metrics, read_predictions
from prompting import load_prompts
from prompting.model import PromptedCLIP
from trainers.engine import resume
from trainers.engine.config import is_native, trainer_class

SINGLE, SEVERAL = "toy-shapes", "toy-shapes,toy-scenes,toy-pets"
CTX = {"ctx": (4, 32)}
TOKENS = {"embeddings": (1, 2, 64), "embeddings_deep": (1, 2, 64)}
BLOCK = {
    "ln_1.weight": (48,),
    "ln_1.bias": (48,),
    "ln_2.weight": (48,),
    "ln_2.bias": (48,),
    "attn.in_proj_weight": (144, 48),
    "attn.in_proj_bias": (144,),
    "attn.out_proj.weight": (48, 48),
    "attn.out_proj.bias": (48,),
    "mlp.c_fc.weight": (192, 48),
    "mlp.c_fc.bias": (192,),
    "mlp.c_proj.weight": (48, 192),
    "mlp.c_proj.bias": (48,),
}
UNIFIED = {
    "text.ctx": (4, 32),
    "visual.embeddings": (1, 2, 64),
    "visual.embeddings_deep": (1, 2, 64),
    "text_pre.weight": (48, 32),
    "text_pre.bias": (48,),
    "text_post.weight": (32, 48),
    "text_post.bias": (32,),
    "visual_pre.weight": (48, 64),
    "visual_pre.bias": (48,),
    "visual_post.weight": (64, 48),
    "visual_post.bias": (64,),
    **{f"mixer.resblocks.0.{name}": shape for name, shape in BLOCK.items()},
}
DEEP = {"text": (2, 4, 32), "visual": (2, 4, 64)}
COUPLED = {"text": (2, 2, 32)}
for layer in range(2):
    COUPLED |= {
        f"projections.{layer}.weight": (64, 32),
        f"projections.{layer}.bias": (64,),
    }
ANCHORED = {f"base.{name}": shape for name, shape in TOKENS.items()}
CLASS_AWARE = {
    "ctx": (4, 32),
    "class_map.linear1.weight": (4, 16),
    "class_map.linear1.bias": (4,),
    "class_map.linear2.weight": (128, 4),
    "class_map.linear2.bias": (128,),
}
TASK_AWARE = {"task_ctx": (4, 32), "projection": (16, 4 * 32)}
REPRESENTED = {"tokens": (2, 8), "projection": (64, 16)}
LOW_RANK = {"tokens": (2, 8), "projection_a": (64, 3), "projection_b": (3, 16)}
for tower, width in (("text", 32), ("image", 64)):
    LOW_RANK[f"{tower}_maps.weight"] = (width, 8)
    for layer in range(2):
        REPRESENTED |= {
            f"{tower}_maps.{layer}.weight": (width, 8),
            f"{tower}_maps.{layer}.bias": (width,),
        }
        LOW_RANK |= {
            f"{tower}_maps.A.{layer}": (width, 2),
            f"{tower}_maps.B.{layer}": (2, 8),
            f"{tower}_maps.bias.{layer}": (width,),
        }
LINEAR = {"class_offsets": (3, 16), "bias": (3,)}
LEARNED = {
    "ZeroshotCLIP": {},
    "CoOp": CTX,
    "VPT": TOKENS,
    "UPT": UNIFIED,
    "MCoOp": CTX,
    "MVPT": TOKENS,
    "MUPT": UNIFIED,
    "MVLPT": UNIFIED,
    "KgCoOp": CTX,
    "MKgCoOp": CTX,
    "ProGrad": CTX,
    "MProGrad": CTX,
    "IVLP": DEEP,
    "MIVLP": DEEP,
    "MaPLe": COUPLED,
    "MMaPLe": COUPLED,
    "PromptSRC": DEEP,
    "MPromptSRC": DEEP,
    "TCP": CLASS_AWARE,
    "MTCP": CLASS_AWARE,
    "SoftCPT": TASK_AWARE,
    "MSoftCPT": TASK_AWARE,
    "MMRL": REPRESENTED,
    "MMMRL": REPRESENTED,
    "MMRLPP": LOW_RANK,
    "MMMRLPP": LOW_RANK,
    "APT": ANCHORED | {"class_offsets": (3, 16)},
    "MAPT": ANCHORED,
    "LinearProbe": LINEAR,
    "GDA": LINEAR,
    "CLAP": {"class_offsets": (3, 16)},
}
METRICS = {
    "toy-shapes": "accuracy",
    "toy-scenes": "11point_mAP",
    "toy-pets": "accuracy",
}
ROWS = {"toy-shapes": (9, 3), "toy-scenes": (8, 4), "toy-pets": (9, 3)}

CLASS_SPECIFIC = ("APT", "LinearProbe", "GDA", "CLAP")
BUFFERS = {"APT": {"weight": ()}, "MAPT": {"weight": ()}}  # stored, not trained

PROMPTED = [name for name in LEARNED if LEARNED[name]]
MULTITASK = [
    name for name in PROMPTED if name.startswith("M") and f"M{name}" not in LEARNED
]

every_trainer = pytest.mark.parametrize("name", LEARNED)
every_prompt = pytest.mark.parametrize("name", PROMPTED)


def tasks_of(name: str) -> list[str]:
    several = name.startswith(("M", "Z")) and name not in ("MaPLe", "MMRL", "MMRLPP")
    return (SEVERAL if several else SINGLE).split(",")


@pytest.fixture(scope="module")
def run(main, tmp_path_factory):
    """Return a function that returns the folder of a finished run of a trainer, by its
    name; each is run once.
    """
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            out = tmp_path_factory.mktemp(name) / "run"
            assert (
                main(
                    f"--trainer {name} --dataset {','.join(tasks_of(name))} "
                    f"--shots 3 --seed 1 --output-dir {out}"
                )
                == 0
            )
            folders[name] = out
        return folders[name]

    return folder


def files_below(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_trainer_of_this_project_is_here():
    names = []
    for name in TRAINER_REGISTRY.registered_names():
        cls = trainer_class(name)
        if is_native(cls) and cls.__module__.startswith("trainers."):
            names.append(name)
    assert sorted(names) == sorted(LEARNED)
    assert {name for name in PROMPTED if trainer_class(name).multitask} == set(
        MULTITASK
    )


@every_trainer
def test_a_run_leaves_exactly_the_files_of_the_interface(run, name):
    found = files_below(run(name))
    tasks = tasks_of(name)
    expected = {
        "config.yaml",
        "log.txt",
        "manifest.json",
        "results.json",
        *(f"predictions/seed1_{task}.json" for task in tasks),
        "results/predictions.csv",
        *(f"results/classes_{task}.csv" for task in tasks),
        *(
            f"results/confusion_{task}.csv"
            for task in tasks
            if METRICS[task] == "accuracy"
        ),
    }
    if LEARNED[name]:
        curves = {file for file in found if file.startswith("tensorboard/")}
        assert len(curves) == 1
        expected |= curves | {
            "prompts.safetensors",
            *(f"fewshot/{task}.json" for task in tasks),
        }
        expected |= {
            f"prompt_learner/{file}"
            for file in ("model-best.pth.tar", "model.pth.tar-2", "checkpoint")
        }
    if name in CLASS_SPECIFIC:
        expected.add("prompt_learner/classes.json")
    assert found == expected


@every_trainer
def test_the_results_are_one_record_per_task_scored_by_its_metric(run, name):
    records = json.loads((run(name) / "results.json").read_text())
    assert [record["task"] for record in records] == tasks_of(name)
    counts = {
        "num_trainable_params": sum(
            torch.Size(shape).numel() for shape in LEARNED[name].values()
        )
    }
    for record in records:
        assert record["metric"] == METRICS[record["task"]]
        assert (record["test_images"], record["classes"]) == ROWS[record["task"]]
        assert (
            record["trainer"],
            record["shots"],
            record["seed"],
            record["backbone"],
        ) == (name, 3, 1, "pocket")
        assert counts.items() <= record.items()
        assert 0.0 <= record["score"] <= 100.0


@every_trainer
def test_prediction_files_are_valid_and_give_the_stored_scores(run, root, name):
    truth = {
        "toy-shapes": [i % 3 for i in range(9)],
        "toy-pets": [i % 3 for i in range(9)],
        "toy-scenes": torch.tensor(
            [
                [1, 1, 0, 0],
                [0, 0, 1, 0],
                [0, 1, 0, 1],
                [0, 0, 0, 0],
                [1, 0, 1, 1],
                [0, 0, 0, 1],
                [0, 1, 0, 0],
                [1, 0, 0, 0],
            ]
        ),
    }
    for record in json.loads((run(name) / "results.json").read_text()):
        task = record["task"]
        path = run(name) / "predictions" / f"seed1_{task}.json"
        entry = read_predictions(path)
        assert list(json.loads(path.read_text())) == [
            "model_name",
            "dataset_name",
            "num_trainable_params",
            "num_params",
            "num_visual_params",
            "num_backbone_params",
            "n_shot",
            "rnd_seeds",
            "predictions",
        ]
        assert (entry.dataset_name, entry.n_shot, entry.rnd_seeds) == (task, 3, (1,))
        assert name in entry.model_name
        assert entry.predictions[0].shape == ROWS[task]
        assert entry.predictions[0].sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        targets = torch.as_tensor(truth[task]).numpy()
        assert record["score"] == pytest.approx(
            100 * metrics.compute(METRICS[task], targets, entry.predictions[0]),
            abs=1e-5,
        )


@every_prompt
def test_few_shot_records_name_the_drawn_images_as_the_index_does(run, root, name):
    for task in tasks_of(name):
        record = json.loads((run(name) / "fewshot" / f"{task}.json").read_text())
        assert list(record) == ["task", "shots", "seed", "train", "val"]
        assert (record["task"], record["shots"], record["seed"]) == (task, 3, 1)
        assert (
            record["train"]
            and record["val"]
            and not set(record["train"]) & set(record["val"])
        )
        if task == "toy-pets":
            assert (
                len(record["train"]) == 9 and len(record["val"]) == 6
            )  # 3 a class; no more than the 2 a class that val has
            assert all(
                (root / "pets" / "images" / key).is_file()
                for key in record["train"] + record["val"]
            )
        else:
            assert all(
                key.startswith("train.zip@train/")
                for key in record["train"] + record["val"]
            )


@every_prompt
def test_checkpoints_and_prompts_hold_the_learned_tensors(run, stubs, name):
    checkpoints = {}
    for file in ("model-best.pth.tar", "model.pth.tar-2"):
        checkpoint = torch.load(run(name) / "prompt_learner" / file, weights_only=True)
        assert {
            key: tuple(value.shape) for key, value in checkpoint["state_dict"].items()
        } == LEARNED[name] | BUFFERS.get(name, {})
        checkpoints[file] = checkpoint
    assert checkpoints["model.pth.tar-2"]["epoch"] == 2
    prompt, metadata = load_prompts(run(name) / "prompts.safetensors")
    best = checkpoints["model-best.pth.tar"]["state_dict"]
    # FINAL_MODEL is best_val
    assert all(
        torch.equal(value, best[key]) for key, value in prompt.state_dict().items()
    )
    assert (metadata["method"], metadata["backbone"], metadata["tasks"]) == (
        name,
        "pocket",
        tasks_of(name),
    )
    assert (
        metadata["preprocessing"]["size"] == 32
        and metadata["preprocessing"]["crop"] == "squash"
    )
    PromptedCLIP(stubs["pocket"].clip, prompt)  # it enters the model it was made for


@every_trainer
def test_evaluation_alone_reproduces_scores_and_predictions(run, main, tmp_path, name):
    source, out = run(name), tmp_path / "eval"
    model = f"--model-dir {source}" if LEARNED[name] else ""
    arguments = (
        f"--trainer {name} --dataset {','.join(tasks_of(name))} --shots 3 "
        f"--seed 1 --output-dir {out}"
    )
    assert main(f"{arguments} --eval-only {model}") == 0
    again, first = (
        json.loads((folder / "results.json").read_text()) for folder in (out, source)
    )
    # it says that it trained nothing
    assert [record.pop("epochs") for record in again] == [0] * len(again)
    # nor that it chose an epoch
    assert not any("val_score" in record for record in again)
    for record in [*again, *first]:
        record.pop("epochs", None), record.pop("start"), record.pop("val_score", None)
    assert again == first
    for task in tasks_of(name):
        file = f"predictions/seed1_{task}.json"
        assert (out / file).read_bytes() == (source / file).read_bytes()
    assert not (out / "prompt_learner").exists()


@every_prompt
def test_the_last_epoch_can_be_evaluated_too(run, main, tmp_path, name):
    arguments = (
        f"--trainer {name} --dataset {','.join(tasks_of(name))} --shots 3 --seed 1"
    )
    assert (
        main(
            f"{arguments} --eval-only --model-dir {run(name)} --load-epoch 2 "
            f"--output-dir {tmp_path}/last"
        )
        == 0
    )
    last, _ = load_prompts(tmp_path / "last" / "prompts.safetensors")
    stored = torch.load(
        run(name) / "prompt_learner" / "model.pth.tar-2", weights_only=True
    )["state_dict"]
    assert all(
        torch.equal(value, stored[key]) for key, value in last.state_dict().items()
    )


@pytest.mark.parametrize(
    ("name", "opts", "learned"),
    [
        *((name, "", learned) for name, learned in LEARNED.items() if learned),
        ("MVLPT", "TRAINER.MVLPT.VPT.N_CTX 0", CTX),
        ("MVLPT", "TRAINER.MVLPT.COOP.N_CTX 0", TOKENS),
        ("VPT", "TRAINER.MVLPT.VPT.DEEP False", {"embeddings": (1, 2, 64)}),
        (
            "VPT",
            "TRAINER.MVLPT.VPT.PROJECT 8",
            {
                "embeddings": (1, 2, 8),
                "embeddings_deep": (1, 2, 8),
                "proj.weight": (64, 8),
                "proj.bias": (64,),
            },
        ),
        ("CoOp", "TRAINER.MVLPT.COOP.CSC True", {"ctx": (3, 4, 32)}),
        ("CoOp", "TRAINER.MVLPT.COOP.CTX_INIT 'a photo of'", {"ctx": (3, 32)}),
        (
            "MSoftCPT",
            "TRAINER.SOFTCPT.CLASS_N_CTX 3",
            {
                "task_ctx": (4, 32),
                "class_ctx": (3, 32),
                "projection": (2 * 16, 4 * 32),
            },
        ),
        (
            "UPT",
            "TRAINER.MVLPT.PROJECT_METHOD identity",
            {
                "text.ctx": (4, 32),
                **{f"visual.{key}": shape for key, shape in TOKENS.items()},
            },
        ),
    ],
)
def test_the_prompt_alone_is_trained(build, name, opts, learned):
    trainer = build(
        name, ",".join(tasks_of(name)), "OPTIM.WEIGHT_DECAY", 0, *shlex.split(opts)
    )
    model = trainer.model
    assert {
        key: tuple(value.shape)
        for key, value in model.named_parameters()
        if value.requires_grad
    } == {f"prompt.{key}": shape for key, shape in learned.items()}
    optimised = [
        parameter
        for group in trainer.optim.param_groups
        for parameter in group["params"]
    ]
    assert sorted(map(id, optimised)) == sorted(
        id(parameter) for parameter in model.prompt.parameters()
    )

    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer.train()
    trained = torch.load(
        Path(trainer.output_dir) / "prompt_learner" / "model.pth.tar-2",
        weights_only=True,
    )["state_dict"]
    for key, value in model.state_dict().items():
        if not key.startswith("prompt."):
            assert torch.equal(value, before[key]), key
    assert {
        key for key in learned if torch.equal(trained[key], before[f"prompt.{key}"])
    } == set()
    assert not any(
        parameter.requires_grad or parameter.grad is not None
        for parameter in model.clip.parameters()
    )


def test_words_start_the_context(build, stubs):
    clip, tokenizer = stubs["pocket"].clip, stubs["pocket"].tokenizer
    trainer = build("CoOp", SINGLE, "TRAINER.MVLPT.COOP.CTX_INIT", "a_photo of")
    expected = clip.token_embedding.weight[torch.tensor(tokenizer.encode("a photo of"))]
    assert torch.equal(trainer.model.prompt.ctx, expected)


def test_a_seed_repeats_a_run_and_another_does_not(build, tmp_path):
    prompts = []
    for i, seed in enumerate((0, 0, 4)):
        trainer = build("MUPT", SEVERAL, seed=seed, out=tmp_path / str(i))
        trainer.train()
        prompts.append(
            torch.cat(
                [
                    value.flatten()
                    for value in trainer.model.prompt.state_dict().values()
                ]
            )
        )
    assert torch.equal(prompts[0], prompts[1])
    assert not torch.equal(prompts[0], prompts[2])


def test_zero_shot_averages_the_templates_of_each_task(build, stubs):
    trainer = build("ZeroshotCLIP", "toy-shapes,toy-pets")
    probabilities = trainer.predict("test")
    clip, tokenizer = stubs["pocket"].clip, stubs["pocket"].tokenizer

    def encoded(sentences):
        features = clip.encode_text(tokenizer(sentences, context_length=40))
        return features / features.norm(dim=-1, keepdim=True)

    templates = ("a drawing of a {}.", "a sketch of the {}.")
    for task, names, used in (
        ("toy-shapes", tiny_world.SHAPES, templates),
        ("toy-pets", ("persian cat", "beagle", "snake"), ("a photo of a {}.",)),
    ):
        classes = sum(
            encoded([template.format(name) for name in names]) for template in used
        )
        classes = classes / classes.norm(dim=-1, keepdim=True)
        rows = trainer.sets["test"].rows(trainer.sets["test"].names.index(task))
        images = clip.encode_image(
            torch.stack([trainer.sets["test"][row]["img"] for row in rows])
        )
        images = images / images.norm(dim=-1, keepdim=True)
        expected = (clip.logit_scale.exp() * images @ classes.T).softmax(-1)
        assert torch.allclose(probabilities[task], expected, atol=1e-6)


# -- interrupted runs, two stages, prediction ------------------------------------------


@every_prompt
def test_an_interrupted_run_is_resumed_to_the_bit(
    run, main, tmp_path, monkeypatch, name
):
    tasks = ",".join(tasks_of(name))
    words = f"--trainer {name} --dataset {tasks} --shots 3 --seed 1"
    words += f" --no-zero-shot --output-dir {tmp_path}/run"
    save = resume.save

    def save_and_stop(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resume, "save", save_and_stop)
        assert main(words) != 0
    assert not (tmp_path / "run" / "prompts.safetensors").exists()
    assert main(f"{words} --resume auto") == 0
    assert same(prompt_in(tmp_path / "run"), prompt_in(run(name)))
    last = Path("prompt_learner", "model.pth.tar-2")
    states = []
    for folder in (tmp_path / "run", run(name)):
        states.append(torch.load(folder / last, weights_only=True)["state_dict"])
    assert same(*states)


@pytest.mark.parametrize("name", MULTITASK)
def test_a_target_is_adapted_from_the_source_prompt(main, tmp_path, name):
    words = f"--trainer {name} --dataset toy-marks --shots 2"
    out, still = tmp_path / "run", tmp_path / "still"
    sources = "--source toy-shapes,toy-pets"
    assert main(f"{words} {sources} --output-dir {out}") == 0
    start = f"--model-dir {out}/source"
    assert main(f"{words} {start} --output-dir {still} OPTIM.LR 0") == 0
    source, adapted = prompt_in(out / "source"), prompt_in(out / "adapt/toy-marks")
    unmoved = prompt_in(still)
    for key in source.keys() - BUFFERS.get(name, {}).keys():
        torch.testing.assert_close(unmoved[key], source[key])
        assert not torch.equal(adapted[key], source[key]), key
    (record,) = read(out / "results.json")
    (unmoved_record,) = read(still / "results.json")
    assert unmoved_record["score"] == pytest.approx(record["source"], abs=1e-6)


def images_of(root: Path, task: str) -> list[Image.Image]:
    """Return the test images of a toy task in the order of its index."""
    if task == "toy-pets":
        splits = read(root / "pets" / "split.json")
        folder = root / "pets" / "images"
        return [Image.open(folder / path) for path, _, _ in splits["test"]]
    folder = root / "classification" / task.removeprefix("toy-")
    images = []
    with zipfile.ZipFile(folder / "test.zip") as archive:
        for line in (folder / "test.txt").read_text().splitlines():
            name = line.split()[0].partition("@")[2]
            images.append(Image.open(io.BytesIO(archive.read(name))))
    return images


@every_prompt
def test_a_stored_prompt_gives_the_predictions_of_its_run(
    run, root, stubs, monkeypatch, name
):
    monkeypatch.setattr(prompting.predict, "load_backbone", lambda *_: stubs["pocket"])
    predictor = prompting.predict.load(run(name))
    for task in tasks_of(name):
        found = predictor.probabilities(images_of(root, task), task=task)
        stored = read_predictions(run(name) / "predictions" / f"seed1_{task}.json")
        np.testing.assert_allclose(found, stored.predictions[0], rtol=0, atol=2e-5)
