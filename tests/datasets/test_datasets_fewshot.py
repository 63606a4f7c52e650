import json
import random
from collections import Counter

import pytest

from datasets import few_shot as fewshot
from datasets.task import Sample, Task


def images(*labels):
    return [
        Sample(f"/data/{i}.png", tuple(label), f"{i}.png")
        for i, label in enumerate(labels)
    ]


def keys(samples):
    return [int(sample.key.removesuffix(".png")) for sample in samples]


def walked_in_this_order(seed, *labels):
    """Return images that the shuffle by `seed` puts into the given order, so that a
    case can be computed by hand.
    """
    positions = list(range(len(labels)))
    random.Random(seed).shuffle(positions)
    samples = images(*labels)
    manifest = [None] * len(samples)
    for sample, position in zip(samples, positions, strict=True):
        manifest[position] = sample
    return manifest


def oracle(labels, num_classes, n, seed):
    """Return the sample by ELEVATER's rule in the plainest form: counters recomputed
    from the kept images.
    """
    order = list(range(len(labels)))
    random.Random(seed).shuffle(order)
    kept = []
    for i in order:
        seen = Counter(label for j in kept for label in labels[j])
        if len(labels[i]) == 0:
            if sum(len(labels[j]) == 0 for j in kept) < n:
                kept.append(i)
            continue
        amounts = sorted(seen[label] for label in labels[i])
        if amounts[0] < n:
            if 2 * amounts[0] <= n or 2 * amounts[-1] <= 3 * n:
                kept.append(i)
            seen = Counter(label for j in kept for label in labels[j])
            if all(seen[label] >= n for label in range(num_classes)):
                return kept
    return kept


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 17])
@pytest.mark.parametrize("shots", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_sample_agrees_with_the_oracle(kind, shots, seed):
    generator = random.Random(f"{kind}{shots}{seed}")
    if kind == "multiclass":
        labels = [(generator.choice((0, 0, 0, 1, 1, 2, 3)),) for _ in range(90)]
    else:
        labels = [
            tuple(sorted(generator.sample(range(6), generator.randrange(4))))
            for _ in range(90)
        ]
    expected = oracle(labels, 6, shots, seed)
    assert keys(fewshot.sample(images(*labels), 6, shots, seed)) == expected
    assert expected  # the case is not void


def test_multiclass_takes_the_first_images_of_each_class_in_shuffled_order():
    samples = images(*[(i % 2,) for i in range(12)])
    drawn = fewshot.sample(samples, 2, 2, seed=1)
    order = list(range(12))
    random.Random(1).shuffle(order)
    assert order == [7, 11, 0, 8, 5, 6, 3, 10, 4, 1, 9, 2]  # Python's Mersenne Twister
    assert keys(drawn) == [7, 11, 0, 8]
    assert keys(fewshot.sample(samples, 2, 2, seed=-1)) == keys(drawn)


def test_multilabel_by_hand():
    samples = walked_in_this_order(5, [0], [0, 1], [0], [0, 1], [0, 2], [0, 2], [2])
    # counters: 100, 210, skip (0 is full), 320 (rarest 1 <= 2/2), 421, 522: all full,
    # so image 6 is never seen
    assert keys(fewshot.sample(samples, 3, 2, seed=5)) == [0, 1, 3, 4, 5]


@pytest.mark.parametrize(("singles", "dropped"), [(4, True), (3, False)])
def test_an_image_of_an_overfull_class_is_dropped_beyond_one_and_a_half_times_the_shots(
    singles, dropped
):
    samples = walked_in_this_order(
        9, *[[0]] * singles, [0, 1], [0, 1], [0, 1], [0, 1], [1], [1]
    )
    drawn = keys(fewshot.sample(samples, 2, 4, seed=9))
    # before the fourth pair: class 0 has singles + 3 images (limit 6), class 1 has 3
    # (more than half of 4)
    pair = singles + 3
    assert (pair not in drawn) == dropped
    assert drawn == [i for i in range(singles + 4)][: pair + (not dropped)] + (
        [pair + 1] if dropped else []
    )


def test_negatives_are_kept_up_to_the_shots_and_only_until_the_stop():
    samples = walked_in_this_order(3, [], [0], [], [], [1], [0], [1], [])
    assert keys(fewshot.sample(samples, 2, 1, seed=3)) == [0, 1, 4]
    assert keys(fewshot.sample(samples, 2, 2, seed=3)) == [0, 1, 2, 4, 5, 6]


def test_a_class_that_is_too_small_gives_all_it_has():
    samples = images(*[[0]] * 10, [1], [1])
    assert Counter(s.label for s in fewshot.sample(samples, 2, 5, seed=0)) == {
        0: 5,
        1: 2,
    }


def test_sampling_leaves_the_global_generator_and_its_input_alone():
    samples = images([0], [1], [0], [1])
    random.seed(4)
    state, before = random.getstate(), list(samples)
    fewshot.sample(samples, 2, 1, 0)
    fewshot.sample_per_class(samples, samples, 1, 0, "t")
    assert random.getstate() == state and samples == before


@pytest.mark.parametrize(
    ("count", "train", "val"),
    [(5, 4, 1), (20, 16, 4), (2, 1, 1), (1, 0, 1), (6, 4, 2), (10, 8, 2)],
)
def test_carve_out_counts(count, train, val):
    samples = images(*[[i % 3] for i in range(3 * count)])
    left, right = fewshot.split_val(samples, 3, "multiclass")
    assert Counter(s.label for s in left) == (
        {i: train for i in range(3)} if train else {}
    )
    assert Counter(s.label for s in right) == {i: val for i in range(3)}
    assert keys(right) == list(range(3 * val))  # the first of each class, in order
    assert keys(left) == list(range(3 * val, 3 * count))


def test_carve_out_of_multilabel_images_by_hand():
    samples = images([1], [0, 1], [0], [], [1, 2], [2], [1], [1], [1])
    # wanted: one of class 0, two of class 1, one of class 2 class 0 takes image 1,
    # which is also of class 1; class 1 takes image 0; class 2 takes image 4
    train, val = fewshot.split_val(samples, 3, "multilabel")
    assert keys(val) == [0, 1, 4]
    assert keys(train) == [2, 3, 5, 6, 7, 8]


def test_carve_out_leaves_negatives_in_train():
    train, val = fewshot.split_val(images([], [0], []), 1, "multiclass")
    assert keys(train) == [0, 2] and keys(val) == [1]


def test_sample_elevater():
    samples = images(*[[i % 4] for i in range(100)])
    train, val = fewshot.sample_elevater(samples, 4, "multiclass", 5, 2)
    drawn = fewshot.sample(samples, 4, 5, 2)
    assert (len(train), len(val)) == (16, 4)
    assert sorted(keys([*train, *val])) == sorted(keys(drawn))
    assert keys(train) == [k for k in keys(drawn) if k not in keys(val)]
    train, val = fewshot.sample_elevater(samples, 4, "multiclass", 1, 2)
    assert train == val and train is not val and len(train) == 4
    train, val = fewshot.sample_elevater(samples, 4, "multiclass", -1, 2)
    assert (keys(val), len(train)) == (list(range(20)), 80)
    assert fewshot.sample_elevater(samples, 4, "multiclass", 0, 2) == ([], [])
    with pytest.raises(ValueError, match="NUM_SHOTS .*is -3"):
        fewshot.sample_elevater(samples, 4, "multiclass", -3, 2)


def test_sample_per_class():
    train = images(*[[i % 3] for i in range(40)])
    val = images(*[[i % 3] for i in range(17)])
    few, few_val = fewshot.sample_per_class(train, val, 5, 7, "pets")
    assert Counter(s.label for s in few) == {0: 5, 1: 5, 2: 5}
    assert Counter(s.label for s in few_val) == {0: 4, 1: 4, 2: 4}
    assert [s.label for s in few] == [0] * 5 + [1] * 5 + [2] * 5
    assert len(fewshot.sample_per_class(train, val, 2, 7, "pets")[1]) == 6
    assert (
        len(fewshot.sample_per_class(train, val, 14, 7, "pets")[0])
        == 40 - 14 - 13 - 13 + 14 + 26
    )
    assert fewshot.sample_per_class(train, val, 5, 7, "pets") == (few, few_val)
    assert fewshot.sample_per_class(train, val, 5, 7, "cars") != (few, few_val)
    assert fewshot.sample_per_class(train, val, 5, 8, "pets") != (few, few_val)
    assert fewshot.sample_per_class(train, val, -1, 7, "pets") == (train, val)
    assert fewshot.sample_per_class(train, val, 0, 7, "pets") == ([], [])


class Stub(Task):
    name = "stub"


def test_record_is_written_and_replayed(tmp_path):
    pool, test = images(*[[i % 2] for i in range(20)]), images([0])
    task = Stub(["a", "b"], *fewshot.sample_elevater(pool, 2, "multiclass", 5, 1), test)
    path = tmp_path / "fewshot" / "stub.json"
    fewshot.write_record(path, task, 5, 1)
    record = json.loads(path.read_text())
    assert list(record) == ["task", "shots", "seed", "train", "val"]
    assert record["task"] == "stub" and record["shots"] == 5 and record["seed"] == 1
    assert record == fewshot.to_record(task, 5, 1) and "/data" not in path.read_text()
    assert fewshot.replay(record, pool) == (task.train_x, task.val)
    assert fewshot.replay(record, task.train_x, task.val) == (task.train_x, task.val)


def test_replay_names_what_is_missing():
    with pytest.raises(ValueError, match="names 9.png"):
        fewshot.replay(
            {"task": "t", "train": ["0.png", "9.png"], "val": []}, images([0])
        )
    with pytest.raises(ValueError, match="no list 'val'"):
        fewshot.replay({"task": "t", "train": []}, images([0]))
