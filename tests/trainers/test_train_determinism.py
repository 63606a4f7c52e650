"""The same command gives the same bits, and results name their origin."""

import json
import re
import subprocess

import pytest
import torch
from run_files import prompt_in, same

from datasets import build_task
from trainers.engine import provenance
from trainers.engine.config import differences, load, with_overrides

TWO = "--dataset toy-shapes,toy-pets --shots 3"
AUGMENTED = (
    "INPUT.TRANSFORMS \"['random_resized_crop', 'random_flip', 'normalize']\" "
    "DATALOADER.TEST.BATCH_SIZE 2 TRAINER.MVLPT.VPT.DROPOUT 0.3"
)


@pytest.mark.parametrize("trainer", ["MVPT", "MUPT", "MCoOp"])
@pytest.mark.long
def test_the_number_of_loader_workers_changes_nothing(main, tmp_path, trainer):
    prompts = []
    for workers in (0, 1, 2):
        out = tmp_path / str(workers)
        command = f"--trainer {trainer} {TWO} --output-dir {out} {AUGMENTED}"
        assert main(f"{command} DATALOADER.NUM_WORKERS {workers}") == 0
        prompts.append(prompt_in(out))
        (record, *_) = json.loads((out / "results.json").read_text())
    assert same(prompts[0], prompts[1]) and same(prompts[0], prompts[2])


def test_an_augmented_image_differs_from_epoch_to_epoch(started, root):
    trainer = started(
        "MVPT", "toy-shapes", "INPUT.TRANSFORMS", "['random_resized_crop', 'normalize']"
    )
    images = trainer.train_loader_x.dataset
    seen = []
    for epoch in (0, 1, 0):
        images.set_epoch(epoch)
        seen.append(images[4]["img"])
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])
    assert not torch.equal(images[4]["img"], images[5]["img"])


def test_the_same_command_gives_the_same_files(main, tmp_path):
    for name in ("one", "other"):
        command = (
            "--trainer MUPT --source toy-pets --dataset toy-shapes,toy-scenes --shots 3"
        )
        assert main(f"{command} --deterministic --output-dir {tmp_path}/{name}") == 0
        assert torch.are_deterministic_algorithms_enabled()
    assert (
        main(
            f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {tmp_path}/third"
        )
        == 0
    )
    assert not torch.are_deterministic_algorithms_enabled()
    names = {
        str(path.relative_to(tmp_path / "one"))
        for path in (tmp_path / "one").rglob("*")
        if path.is_file()
    }
    names = {
        name for name in names if "log.txt" not in name and "tensorboard" not in name
    }
    assert len(names) > 20
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (
            tmp_path / "other" / name
        ).read_bytes(), name


def test_a_record_names_versions_commit_and_data(main, tmp_path):
    assert (
        main(
            f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {tmp_path}/out"
        )
        == 0
    )
    (record,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (
        all(record["versions"].values())
        and {"python", "open_clip_torch", "numpy"} <= record["versions"].keys()
    )
    command = ["git", "-C", provenance.__file__.rpartition("/")[0], "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert record["commit"].removesuffix("-dirty") == (
        done.stdout.strip() if done.returncode == 0 else ""
    )
    assert re.fullmatch(r"[0-9a-f]{16}", record["data"]) and re.fullmatch(
        r"[0-9a-f]{16}", record["drawn"]
    )


def test_the_fingerprint_of_data_follows_images_labels_and_names(build, root, tmp_path):
    cfg = build("CoOp", "toy-shapes", shots=3).cfg
    task = build_task(cfg, "toy-shapes")
    assert provenance.of_data(task) == provenance.of_data(build_task(cfg, "toy-shapes"))
    other = build_task(
        with_overrides(cfg, DATASET__RANDOM_SEED_SAMPLING=5), "toy-shapes"
    )
    assert provenance.of_tasks([task])["drawn"] != provenance.of_tasks([other])["drawn"]
    assert provenance.of_data(task) != provenance.of_data(other)
    same_lists = build_task(cfg, "toy-shapes")
    same_lists._classnames[0] = "dog"
    assert (
        provenance.of_tasks([task])["drawn"]
        != provenance.of_tasks([same_lists])["drawn"]
    )


def test_a_configuration_of_an_earlier_version_lacks_keys_and_is_the_same(
    main, tmp_path
):
    assert (
        main(
            f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {tmp_path}/out"
        )
        == 0
    )
    path = tmp_path / "out" / "config.yaml"
    whole = load(path)
    path.write_text(re.sub(r"\n *DETERMINISTIC: \w+", "", path.read_text()))
    assert (
        "DETERMINISTIC" not in load(path).TRAIN and differences(load(path), whole) == []
    )
    assert differences(
        load(path), with_overrides(whole, TRAIN__DETERMINISTIC=True)
    ) == ["TRAIN.DETERMINISTIC"]
