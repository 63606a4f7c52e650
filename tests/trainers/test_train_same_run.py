"""Which runs are the same: content and labels count, keys that change no bit do not;
and the runs that are refused before writing.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

COOP = "--trainer CoOp --shots 2"


def write_images(
    folder: Path, suffix: str, shade: int = 0, classes: tuple[str, ...] = ("a", "b")
) -> None:
    """Write uncompressed images, whose sizes in bytes do not depend on their content."""
    for label, name in enumerate(classes):
        for split in ("train", "test"):
            for k in range(4):
                path = folder / split / name / f"{k}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full(
                    (32, 32, 3), 60 * label + 10 * k + shade, dtype=np.uint8
                )
                Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".tif"])
def test_images_that_keep_their_size_are_other_images(main, tmp_path, capsys, suffix):
    write_images(tmp_path / "p", suffix)
    argv = f"{COOP} --dataset folder:{tmp_path}/p --output-dir {tmp_path}/out"
    assert main(argv) == 0 and main(argv) == 0
    assert "reused" in capsys.readouterr().out
    sizes = {
        path: path.stat().st_size
        for path in (tmp_path / "p").rglob("*")
        if path.is_file()
    }
    write_images(tmp_path / "p", suffix, shade=100)
    assert all(path.stat().st_size == size for path, size in sizes.items())
    assert main(argv) == 2
    assert "it differs in the images of p" in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting",
    ["templates: a sketch of a {}", "metric: mean-per-class", "crop: squash", "names: {a: cat, b: dog}"],
)  # fmt: skip
def test_other_settings_of_the_data_are_another_run(main, tmp_path, capsys, setting):
    write_images(tmp_path / "p", ".png")
    argv = f"--trainer ZeroshotCLIP --dataset folder:{tmp_path}/p "
    argv += f"--output-dir {tmp_path}/out"
    assert main(argv) == 0
    (tmp_path / "p.yaml").write_text(setting)
    assert main(argv) == 2
    what = "the templates, the crop or the metric of a task"
    if setting.startswith("names"):
        what = "the images of p, or their labels"
    assert f"it differs in {what}" in capsys.readouterr().err
    assert main(f"{argv} --overwrite") == 0
    [record] = json.loads((tmp_path / "out/results.json").read_text())
    metric = setting.partition("metric: ")[2]
    assert record["metric"] == (metric or "accuracy")
    (tmp_path / "p.yaml").write_text(f"{setting}\nname: p\n")
    assert main(argv) == 0
    assert "reused" in capsys.readouterr().out


@pytest.mark.parametrize("split", ["test", "train"])
def test_other_labels_are_other_data(main, tmp_path, capsys, split):
    write_images(tmp_path / "p", ".png")
    rows = []
    for path in sorted((tmp_path / "p").rglob("*.png")):
        rows.append(
            [str(path.relative_to(tmp_path)), path.parent.name, path.parent.parent.name]
        )

    def write_table() -> None:
        lines = ["path,label,split", *(",".join(row) for row in rows)]
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")

    write_table()
    argv = f"{COOP} --dataset csv:{tmp_path}/t.csv --output-dir {tmp_path}/out"
    assert main(argv) == 0
    for row in rows:
        if row[2] == split:
            row[1] = {"a": "b", "b": "a"}[row[1]]
    write_table()
    capsys.readouterr()
    assert main(argv) == 2
    assert "it differs in the images of t, or their labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DATALOADER.NUM_WORKERS", 1),
        ("TRAIN.PRINT_FREQ", 3),
        ("VERBOSE", False),
        ("DATASET.ALLOW_OUTSIDE", True),
    ],
)
def test_keys_that_change_no_bit_are_the_same_run(main, tmp_path, capsys, key, value):
    argv = f"{COOP} --dataset toy-marks --output-dir {tmp_path}/out"
    assert main(argv) == 0
    assert main(f"{argv} {key} {value}") == 0
    assert "reused" in capsys.readouterr().out
    assert main(f"{argv} {key} {value} OPTIM.LR 0.125") == 2
    message = capsys.readouterr().err
    assert "it differs in OPTIM.LR:" in message


def test_a_run_that_dropped_the_last_batch_is_another(main, tmp_path, capsys):
    argv = f"{COOP} --dataset toy-marks --output-dir {tmp_path}/out"
    assert main(argv) == 0
    config = tmp_path / "out" / "config.yaml"
    content = yaml.safe_load(config.read_text())
    assert content["DATALOADER"]["TRAIN_X"].pop("DROP_LAST") is False
    config.write_text(yaml.safe_dump(content))
    (tmp_path / "out" / "manifest.json").unlink()  # as an earlier version left it
    assert main(argv) == 2
    assert "DATALOADER.TRAIN_X.DROP_LAST" in capsys.readouterr().err


@pytest.mark.parametrize(("drop", "steps", "images"), [(False, 2, 3), (True, 1, 2)])
def test_the_last_batch_is_trained_on(started, drop, steps, images):
    key = ("DATALOADER.TRAIN_X.BATCH_SIZE", 2, "DATALOADER.TRAIN_X.DROP_LAST", drop)
    trainer = started("CoOp", "toy-shapes", *key, shots=2)  # three images
    assert len(trainer.train_loader_x) == steps
    assert sum(len(batch["labels"]) for batch in trainer.train_loader_x) == images


def test_results_name_the_machine(main, tmp_path):
    assert main(f"{COOP} --dataset toy-marks --output-dir {tmp_path}/out") == 0
    (record,) = json.loads((tmp_path / "out" / "results.json").read_text())
    machine = record["machine"]
    assert machine["cpu"] and machine["threads"] == torch.get_num_threads()
    assert (machine["processes"], machine["device"]) == (1, "cpu")


@pytest.mark.parametrize("name", [".", "..", "t" * 240])
def test_names_that_cannot_be_files(refuse, tmp_path, name):
    write_images(tmp_path / "p", ".png")
    (tmp_path / "p.yaml").write_text(f"name: '{name}'\n")
    message = refuse(f"{COOP} --dataset folder:{tmp_path}/p")
    assert "can't be the name of a task" in message and not (tmp_path / "out").exists()


@pytest.mark.parametrize("trainer", ["CoOp", "VPT", "ZeroshotCLIP"])
@pytest.mark.parametrize("name", ["word " * 45 + "end", "x" * 240])
def test_class_names_that_are_too_long_leave_no_folder(refuse, tmp_path, trainer, name):
    write_images(tmp_path / "p", ".png", classes=("a", name))
    message = refuse(f"--trainer {trainer} --shots 2 --dataset folder:{tmp_path}/p")
    assert (
        name.strip() in message
        and "tokens" in message
        and not (tmp_path / "out").exists()
    )


def test_overwriting_follows_a_link(main, tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    argv = f"{COOP} --dataset toy-marks --output-dir {link}"
    real.mkdir()
    link.symlink_to(real)
    assert main(argv) == 0
    before = (real / "results.json").stat().st_mtime_ns
    assert main(f"{argv} --overwrite OPTIM.LRR 1") == 2
    assert link.is_symlink() and (real / "results.json").stat().st_mtime_ns == before
    assert main(f"{argv} --overwrite OPTIM.LR 0.25") == 0
    assert link.is_symlink() and "LR: 0.25" in (real / "config.yaml").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}
