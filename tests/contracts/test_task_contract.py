"""The contract of every data set, also of a user's: pytest tests/contracts --task NAME
--root DATA [--import FILE].
"""

import pytest

import datasets
from toolkit.common import images


@pytest.fixture
def build(request, task_name):
    """Build the data set with some shots, and other keys of DATASET."""
    from dassl.config import get_cfg_default

    def make(shots, **keys):
        cfg = get_cfg_default()
        cfg.DATASET.ROOT = request.config.getoption("root")
        cfg.DATASET.NUM_SHOTS = shots
        cfg.DATASET.RANDOM_SEED_SAMPLING = 1
        for key, value in keys.items():
            cfg.DATASET[key] = value
        return datasets.build_task(cfg, task_name)

    return make


def test_labels_names_and_images_agree(build, task_name):
    task = build(-1)
    assert task.name == datasets.task_name(task_name)
    assert len(task.classnames) == task.num_classes == len(set(task.classnames)) >= 2
    assert task.test and all("{}" in template for template in task.templates)
    for split in (task.train_x, task.val or [], task.test):
        for sample in split:
            assert all(0 <= label < task.num_classes for label in sample.labels)
        for sample in split[:2]:
            assert images.read_image(sample.impath).size[0] > 0


def test_no_test_image_is_trained_on(build):
    task = build(-1)
    assert not {sample.key for sample in task.test} & {
        sample.key for sample in task.train_x
    }


def test_a_seed_samples_the_same_images(build):
    first, again = build(2), build(2)
    assert first.train_x == again.train_x and first.train_x
    assert build(0).train_x == []


def test_base_and_new_classes_are_all_classes(build):
    task = build(-1)
    if task.label_kind == "multilabel":
        pytest.skip("classes of a multilabel task can't be parted")
    base, new = build(-1, SUBSAMPLE_CLASSES="base"), build(-1, SUBSAMPLE_CLASSES="new")
    assert [*base.classnames, *new.classnames] == task.classnames
    assert len(base.classnames) == (task.num_classes + 1) // 2
    assert len(base.test) + len(new.test) == len(task.test)
