"""Very many tasks: open files, memory and computations do not grow with their number,
and bounds change no number.
"""

import os
import sys
import zipfile
from collections import Counter

import pytest
import torch
from run_files import prompt_in, read, same

import datasets.multitask
import toolkit.common.archives
import trainers.evaluation
import trainers.features.store
from scripts.benchmarks.many_tasks import (
    class_names,
    name_of,
    register_suite,
    write_suite,
)
from trainers.engine import context
from trainers.engine.run import Run, check_run, execute
from trainers.engine.run_dir import Action

TASKS, CLASSES = 200, 3
ALL = ",".join(map(name_of, range(TASKS)))
ONE_EPOCH = ("OPTIM.MAX_EPOCH", 1)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Yield the data root of many tasks of three classes, which are registered."""
    from dassl.data.datasets import DATASET_REGISTRY

    root = tmp_path_factory.mktemp("many")
    write_suite(root, TASKS, CLASSES)
    classes = register_suite(TASKS)
    yield root
    for cls in classes:
        del DATASET_REGISTRY._obj_map[cls.name]


@pytest.fixture
def many(build, suite):
    """Return a function that builds a trainer on all tasks, or on some."""

    def make(name: str, *opts, tasks: int = TASKS, **options):
        some = ",".join(map(name_of, range(tasks)))
        return build(name, some, "DATASET.ROOT", suite, *opts, shots=1, **options)

    return make


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Return the paths of the images that are decoded."""
    paths, original = [], datasets.multitask.read_image
    monkeypatch.setattr(
        datasets.multitask,
        "read_image",
        lambda path, *others: (paths.append(path), original(path))[1],
    )
    return paths


@pytest.fixture
def directories(monkeypatch) -> Counter:
    """Return a counter of readings of each zip's directory; none is known at first."""
    read_of, original = Counter(), zipfile.ZipFile._RealGetContents

    def counted(self):
        # not a checkpoint, which is a zip, too
        if isinstance(self.fp, toolkit.common.archives._File):
            read_of[self.fp.name] += 1
        return original(self)

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", counted)
    monkeypatch.setattr(toolkit.common.archives, "_archives", {})
    return read_of


def open_zips() -> int:
    """Return the number of zips that this process has open."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{number}").endswith(".zip")
        except OSError:  # the folder's own, which is closed
            continue
    return found


def test_no_two_classes_have_the_same_name():
    names = [name for task in range(1000) for name in class_names(task)]
    assert len(set(names)) == 100_000


@pytest.mark.parametrize("name", ["MCoOp", "MVPT"])
def test_a_start_decodes_no_image_and_reads_the_directory_of_a_zip_once(
    many, decoded, directories, name
):
    trainer = many(name)
    trainer._prepare_training()
    # none of those that a test before has read
    assert decoded == [] and set(directories.values()) <= {1}
    assert len(trainer.sets["train"]) == len(trainer.sets["test"]) == TASKS * CLASSES


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells which files are open"
)
def test_few_zips_are_open_and_the_directory_of_each_is_read_once(
    many, directories, monkeypatch
):
    trainer = many("MVPT", *ONE_EPOCH)
    most, original = [], type(trainer).forward_backward
    monkeypatch.setattr(
        type(trainer),
        "forward_backward",
        lambda self, batch: (most.append(open_zips()), original(self, batch))[1],
    )
    trainer.train()
    assert 32 < max(most) <= toolkit.common.archives.OPEN < TASKS
    assert open_zips() <= toolkit.common.archives.OPEN
    assert len(directories) == 2 * TASKS and set(directories.values()) == {1}


def test_token_sequences_are_bounded_and_every_name_is_encoded_once(many, monkeypatch):
    trainer = many("MCoOp", "OPTIM.MAX_EPOCH", 3, tasks=40)
    names, tokenizer = [], type(trainer.model.tokenizer)
    original = tokenizer.encode
    monkeypatch.setattr(
        tokenizer,
        "encode",
        lambda self, text: (names.append(text), original(self, text))[1],
    )
    monkeypatch.setattr("prompting.tokens._name_tokens", {})
    kept = trainer.model._tokens
    kept.capacity, sizes, step = 60, [], type(trainer).forward_backward
    monkeypatch.setattr(
        type(trainer),
        "forward_backward",
        lambda self, batch: (sizes.append(kept.size), step(self, batch))[1],
    )
    trainer.train()
    assert 30 < max(sizes) <= 60
    # alone and with the period
    assert len(names) == len(set(names)) == 2 * 40 * CLASSES


def test_bounds_change_no_number(many, monkeypatch, tmp_path):
    for name in ("MCoOp", "MUPT"):
        prompts = []
        for bound in (1, 100_000):
            monkeypatch.setattr(toolkit.common.archives, "OPEN", bound)
            trainer = many(name, *ONE_EPOCH, tasks=20, out=tmp_path / f"{name}{bound}")
            trainer.model._tokens.capacity = bound
            trainer.train()
            prompts.append(trainer.model.prompt.state_dict())
        assert same(*prompts)


def test_features_of_images_wait_for_the_first_batch_of_their_task(many, decoded):
    trainers.features.store.get_backbone.cache_clear()
    trainer = many("MCoOp", "MULTITASK.HOMOGENEOUS", True, *ONE_EPOCH)
    trainer.before_train()
    batches = iter(trainer.train_loader_x)
    first = next(batches)
    (task,) = set(first["task"].tolist())
    assert {path.split("/")[-3] for path in decoded} == {name_of(task)} and len(
        decoded
    ) == CLASSES
    whole = trainer.store.features(trainer.sets["train"], in_files=False)
    rows = trainer.sets["train"].rows(task)
    assert sorted(first["img"].tolist()) == sorted(
        whole[rows.start : rows.stop].tolist()
    )
    trainer.bar.close()
    trainer.close_writer()


def test_only_the_task_that_counts_is_encoded(many, decoded, tmp_path):
    alone = many("MVPT", tasks=1, out=tmp_path / "alone").predict("test")
    assert len(decoded) == CLASSES
    several = many(
        "MVPT",
        "DATASET.MULTITASK_EVALKEY",
        name_of(0),
        tasks=5,
        out=tmp_path / "several",
    ).predict("test")
    assert len(decoded) == 2 * CLASSES
    assert several.keys() == alone.keys() and torch.allclose(
        several[name_of(0)], alone[name_of(0)], atol=1e-6
    )


def test_images_are_kept_only_where_they_are_needed_again(many):
    text = many("MCoOp", *ONE_EPOCH, tasks=3)
    assert not any(dataset._cache for dataset in text.sets.values())
    visual = many("MVPT", *ONE_EPOCH, tasks=3)
    row = visual.sets["train"][0]["img"]
    assert visual.sets["train"]._cache.get(0) is not None
    visual.train()
    assert (
        visual.sets["train"]._cache.get(0) is None
        and visual.sets["val"]._cache.get(0) is None
    )
    assert torch.equal(visual.sets["train"][0]["img"], row)


def test_names_may_be_listed_in_a_file(main, suite, refuse, tmp_path):
    (tmp_path / "names.txt").write_text(f"{name_of(1)}\n\n{name_of(2)}\n")
    out, names = tmp_path / "listed", f"{name_of(0)},@{tmp_path / 'names.txt'}"
    assert (
        main(
            f"--trainer MVPT --dataset {names} --shots 1 --output-dir {out} OPTIM.MAX_EPOCH 1",
            data=suite,
        )
        == 0
    )
    assert [record["task"] for record in read(out / "results.json")] == [
        name_of(task) for task in range(3)
    ]
    assert str(tmp_path) not in (out / "config.yaml").read_text()
    assert "--dataset: no file" in refuse("--trainer MVPT --dataset @nowhere.txt")


def test_a_run_reads_its_tasks_once(main, suite, monkeypatch, tmp_path):
    built, original = [], context.build_task
    monkeypatch.setattr(
        context,
        "build_task",
        lambda cfg, name: (built.append(name), original(cfg, name))[1],
    )
    out = tmp_path / "out"
    argv = f"--trainer MVPT --dataset {ALL} --shots 1 --output-dir {out}"
    assert main(f"{argv} OPTIM.MAX_EPOCH 1", data=suite) == 0
    assert built == ALL.split(",")
    assert [record["task"] for record in read(out / "results.json")] == built
    assert (
        len(list((out / "fewshot").iterdir()))
        == len(list((out / "predictions").iterdir()))
        == TASKS
    )
    assert len((out / "log.txt").read_text()) < 20_000 + 100 * TASKS


def test_a_checked_run_learns_the_same_prompt(many, tmp_path):
    configured = many("MUPT", tasks=3, out=tmp_path / "unchecked").cfg
    execute(Run(configured))
    configured = many("MUPT", tasks=3, out=tmp_path / "checked").cfg
    run, tasks = Run(configured), context.TaskPool()
    assert check_run(run, tasks) is Action.RUN
    torch.manual_seed(99)  # other steps before the run
    execute(run, tasks)
    assert same(prompt_in(tmp_path / "unchecked"), prompt_in(tmp_path / "checked"))


@pytest.mark.parametrize(
    ("budget", "kept"), [(30, [True, True]), (14, [True, False]), (10, [False, True])]
)
def test_training_and_validation_images_share_the_cache_budget(
    started, monkeypatch, budget, kept
):
    """Use 12 training and 3 validation images of 32 pixels; `budget` counts images."""
    import trainers.evaluation

    monkeypatch.setattr(trainers.evaluation, "CACHE_BUDGET", budget * 3 * 32 * 32)
    trainer = started("VPT", "toy-shapes", shots=5)
    train, val = trainer.sets["train"], trainer.sets["val"]
    assert [len(train), len(val)] == [12, 3]
    assert [bool(train.image_bytes), bool(val.image_bytes)] == kept
