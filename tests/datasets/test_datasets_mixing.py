from collections import Counter

import numpy as np
import pytest

from datasets.mixing import MixingSampler


def tasks_of(batches, sizes):
    edges = np.cumsum(sizes)
    return [
        [int(np.searchsorted(edges, index, side="right")) for index in batch]
        for batch in batches
    ]


def shares(batches, sizes):
    counts = Counter(task for batch in tasks_of(batches, sizes) for task in batch)
    return [counts[task] for task in range(len(sizes))]


def test_proportional_shows_every_image_once():
    sampler = MixingSampler([5, 0, 17, 2], 4, drop_last=False)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 6
    assert sorted(index for batch in batches for index in batch) == list(range(24))
    # one image is dropped
    assert [len(batch) for batch in MixingSampler([5, 20], 4, drop_last=True)] == [
        4
    ] * 6
    assert any(len(set(tasks)) > 1 for tasks in tasks_of(batches, [5, 0, 17, 2]))


@pytest.mark.parametrize(
    ("images", "batches"),
    [(50, [32, 18]), (95, [32, 32, 31]), (33, [32, 1]), (64, [32, 32])],
)
def test_the_short_last_batch_is_kept(images, batches):
    assert [len(batch) for batch in MixingSampler([images], 32)] == batches
    assert [len(batch) for batch in MixingSampler([images], 32, drop_last=True)] == [
        32
    ] * (images // 32)


@pytest.mark.parametrize("homogeneous", [False, True])
@pytest.mark.parametrize("mixing", ["proportional", "uniform", "temperature"])
def test_order_is_a_function_of_seed_and_epoch(mixing, homogeneous):
    def order(seed, epoch, warm_up=0):
        sampler = MixingSampler(
            [9, 30, 14], 4, mixing, homogeneous=homogeneous, seed=seed
        )
        for earlier in range(warm_up):
            sampler.set_epoch(earlier)
            list(sampler)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 3) == order(1, 3, warm_up=2)
    assert order(1, 3) != order(1, 2) and order(1, 3) != order(2, 3)
    assert order(-1, 0)  # an unseeded run's seed works too


def test_order_is_pinned():
    assert list(MixingSampler([3, 5], 4, seed=1)) == [[5, 0, 1, 4], [2, 6, 3, 7]]


def test_uniform_gives_every_task_the_same_share():
    sizes = [10, 300, 90, 0]
    sampler = MixingSampler(sizes, 8, "uniform", seed=3)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 50 and {len(batch) for batch in batches} == {
        8
    }
    assert shares(batches, sizes) == pytest.approx([133, 133, 133, 0], abs=1)
    small = Counter(index for batch in batches for index in batch if index < 10)
    # shuffled passes over the task
    assert set(small) == set(range(10)) and set(small.values()) <= {13, 14}


def test_temperature_flattens_the_proportions():
    sizes = [100, 400, 1600]
    batches = list(MixingSampler(sizes, 7, "temperature", temperature=2.0))
    assert shares(batches, sizes) == pytest.approx([300, 600, 1200], abs=1)
    batches = list(MixingSampler(sizes, 7, "temperature", temperature=1.0))
    assert shares(batches, sizes) == pytest.approx(sizes, abs=1)
    batches = list(MixingSampler(sizes, 7, "temperature", temperature=1e9))
    assert shares(batches, sizes) == pytest.approx([700] * 3, abs=1)


def test_homogeneous_batches_are_from_one_task():
    sizes = [10, 3, 64, 0]
    sampler = MixingSampler(sizes, 8, homogeneous=True, drop_last=True)
    batches = list(sampler)
    # a task smaller than a batch has its short batch
    assert len(batches) == len(sampler) == 1 + 1 + 8
    assert all(len(set(tasks)) == 1 for tasks in tasks_of(batches, sizes))
    assert (
        len({index for batch in batches for index in batch})
        == sum(map(len, batches))
        == 8 + 3 + 64
    )
    whole = list(MixingSampler(sizes, 8, homogeneous=True))
    assert sorted(index for batch in whole for index in batch) == list(range(77))


def test_homogeneous_uniform_gives_every_task_the_same_number_of_batches():
    sizes = [10, 3, 64, 0, 90]
    sampler = MixingSampler(
        sizes, 8, "uniform", homogeneous=True, seed=5, drop_last=True
    )
    total = Counter()
    for epoch in range(40):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) == 21
        counts = Counter(tasks[0] for tasks in tasks_of(batches, sizes))
        assert set(counts.values()) <= {5, 6}
        assert all(len(set(batch)) == len(batch) for batch in batches)
        total += counts
    assert (
        all(abs(total[task] - 210) < 25 for task in (0, 1, 2, 4))
        and sum(total.values()) == 840
    )


def test_rare_tasks_come_up_even_where_an_epoch_has_fewer_batches_than_tasks():
    sampler = MixingSampler([1] * 20 + [5], 5, "uniform", homogeneous=False)
    seen = set()
    for epoch in range(60):
        sampler.set_epoch(epoch)
        seen |= {index for batch in sampler for index in batch}
    assert set(range(20)) <= seen


def test_the_only_batch_is_kept_even_if_short():
    assert list(map(len, MixingSampler([2, 1], 8))) == [3]
    assert list(map(len, MixingSampler([2, 1], 8, "uniform"))) == [3]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="nearest.*'proportional'"):
        MixingSampler([1], 1, "proportionate")
    with pytest.raises(ValueError, match="batch size 0"):
        MixingSampler([1], 0)
    with pytest.raises(ValueError, match="temperature 0"):
        MixingSampler([1], 1, "temperature", temperature=0)
    with pytest.raises(ValueError, match="no training images"):
        MixingSampler([0, 0], 1)
