"""The paired tests against enumeration, scipy and the metrics themselves on images that repeat."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from elevater_eval import metrics, paired


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (0, 1), (3, 9), (5, 5), (40, 70), (1, 30), (900, 1010)])
def test_one_seed_is_mcnemar(worse, better):
    differences = np.repeat([-1, 1, 0], [worse, better, 50])
    count = worse + better
    expected = binomtest(min(worse, better), count, 0.5).pvalue if count else 1.0
    assert paired.sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)
    assert paired.sign_flip_p(-differences) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_several_seeds_are_all_sign_flips(seed):
    differences = np.random.default_rng(seed).integers(-3, 4, size=10)
    sums = [abs(np.dot(signs, differences)) for signs in product([-1, 1], repeat=10)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()))
    assert paired.sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)


def test_a_large_difference_on_many_images_has_a_tiny_p():
    differences = np.random.default_rng(0).choice(
        [-3, -2, -1, 0, 1, 2, 3], size=30_000, p=[0.05] * 3 + [0.7] + [0.05] * 3
    )
    assert 0.01 < paired.sign_flip_p(differences) <= 1
    assert paired.sign_flip_p(np.abs(differences)) == paired.SMALLEST_P
    differences[:500] = 3
    z = abs(differences.sum()) / np.sqrt((differences**2).sum())
    assert 5 < z < 10 and paired.sign_flip_p(differences) == pytest.approx(2 * norm.sf(z), rel=0.05)


def drawn(rng, images):
    return np.bincount(rng.integers(images, size=images), minlength=images)


@pytest.mark.parametrize("decimals", [1, 6])  # with and without ties
@pytest.mark.parametrize("seed", range(4))
def test_statistics_of_draws_are_the_metrics_of_repeated_images(seed, decimals):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.dirichlet(np.ones(5), size=60), decimals)
    targets = (rng.random((60, 5)) < 0.25).astype(int)
    targets[:, 3] = np.arange(60) == 7  # a class that some draws miss
    labels = rng.integers(2, size=60)
    mean_ap = paired.eleven_point_map_of(targets, scores)
    auc = paired.roc_auc_of(labels, scores[:, 1])
    two = scores[:, :2]
    for counts in [np.ones(60, int), *(drawn(rng, 60) for _ in range(10))]:
        again = np.repeat(np.arange(60), counts)
        assert mean_ap(counts) == pytest.approx(metrics.eleven_point_map(targets[again], scores[again]), abs=1e-12)
        assert auc(counts) == pytest.approx(metrics.roc_auc(labels[again], two[again]), abs=1e-12)


def test_draws_without_a_positive_are_drawn_again():
    auc = paired.roc_auc_of(np.array([0, 0, 1]), np.array([0.1, 0.9, 0.5]))
    assert np.isnan(auc(np.array([2, 1, 0]))) and np.isnan(auc(np.array([0, 0, 3])))
    values = paired.resampled(auc, 3, 200, np.random.default_rng(0))
    assert len(values) == 200 and set(values.tolist()) <= {0.0, 0.5, 1.0, 1 / 3, 2 / 3}
    no_positive = paired.eleven_point_map_of(np.zeros((3, 2), int), np.ones((3, 2)))
    assert np.isnan(no_positive(np.ones(3, int)))


@pytest.mark.parametrize("groups", [1, 4])
def test_resampled_means_are_those_of_draws_of_images(groups):
    rng = np.random.default_rng(3)
    group = rng.integers(groups, size=300)
    differences = rng.integers(-2, 3, size=300) + (group == 0)

    def direct(counts):
        sums, sizes = np.bincount(group, counts * differences), np.bincount(group, counts)
        return np.mean(sums / sizes)

    expected = np.array([direct(drawn(rng, 300)) for _ in range(4000)])
    found = paired.resampled_means(differences, group, 4000, rng)
    assert found.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / np.sqrt(2000))
    assert found.std() == pytest.approx(expected.std(), rel=0.06)


def test_p_of_a_bootstrap():
    assert paired.bootstrap_p(np.full(999, 0.1)) == 2 / 1000
    assert paired.bootstrap_p(np.zeros(999)) == 1.0
    assert paired.bootstrap_p(np.repeat([-1.0, 1.0], [24, 975])) == pytest.approx(50 / 1000)
    assert paired.interval(np.arange(1001)) == (25.0, 975.0)
