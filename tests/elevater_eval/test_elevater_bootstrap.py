"""The paired tests against enumeration, scipy and the metrics themselves on images that
repeat.
"""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from elevater_eval import bootstrap, metrics
from elevater_eval.bootstrap import statistic_of
from elevater_eval.comparison import SMALLEST_P, sign_flip_p


@pytest.mark.parametrize(
    ("worse", "better"),
    [(0, 0), (0, 1), (3, 9), (5, 5), (40, 70), (1, 30), (900, 1010)],
)
def test_one_seed_is_mcnemar(worse, better):
    differences = np.repeat([-1, 1, 0], [worse, better, 50])
    count = worse + better
    expected = binomtest(min(worse, better), count, 0.5).pvalue if count else 1.0
    assert sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)
    assert sign_flip_p(-differences) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_several_seeds_are_all_sign_flips(seed):
    differences = np.random.default_rng(seed).integers(-3, 4, size=10)
    sums = [abs(np.dot(signs, differences)) for signs in product([-1, 1], repeat=10)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()))
    assert sign_flip_p(differences) == pytest.approx(expected, rel=1e-9)


def test_a_large_difference_on_many_images_has_a_tiny_p():
    differences = np.random.default_rng(0).choice(
        [-3, -2, -1, 0, 1, 2, 3], size=30_000, p=[0.05] * 3 + [0.7] + [0.05] * 3
    )
    assert 0.01 < sign_flip_p(differences) <= 1
    assert sign_flip_p(np.abs(differences)) == SMALLEST_P
    differences[:500] = 3
    z = abs(differences.sum()) / np.sqrt((differences**2).sum())
    assert 5 < z < 10 and sign_flip_p(differences) == pytest.approx(
        2 * norm.sf(z), rel=0.05
    )


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
    mean_ap = statistic_of("11point_mAP", targets, scores)
    auc = statistic_of("roc_auc", labels, scores[:, :2])
    two = scores[:, :2]
    for counts in [np.ones(60, int), *(drawn(rng, 60) for _ in range(10))]:
        again = np.repeat(np.arange(60), counts)
        assert mean_ap(counts) == pytest.approx(
            metrics.eleven_point_map(targets[again], scores[again]), abs=1e-12
        )
        assert auc(counts) == pytest.approx(
            metrics.roc_auc(labels[again], two[again]), abs=1e-12
        )


def test_draws_without_a_positive_are_drawn_again():
    auc = statistic_of(
        "roc_auc", np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    )
    assert np.isnan(auc(np.array([2, 1, 0]))) and np.isnan(auc(np.array([0, 0, 3])))
    values = bootstrap.resample(auc, 3, 200, np.random.default_rng(0))
    assert len(values) == 200 and set(values.tolist()) <= {0.0, 0.5, 1.0, 1 / 3, 2 / 3}
    no_positive = statistic_of("11point_mAP", np.zeros((3, 2), int), np.ones((3, 2)))
    assert np.isnan(no_positive(np.ones(3, int)))


@pytest.mark.parametrize("groups", [1, 4])
def test_resampled_means_are_those_of_draws_of_images(groups):
    rng = np.random.default_rng(3)
    group = rng.integers(groups, size=300)
    differences = rng.integers(-2, 3, size=300) + (group == 0)

    def direct(counts):
        sums, sizes = (
            np.bincount(group, counts * differences),
            np.bincount(group, counts),
        )
        return np.mean(sums / sizes)

    expected = np.array([direct(drawn(rng, 300)) for _ in range(4000)])
    found = bootstrap.resample_means(differences, group, 4000, rng)
    assert found.mean() == pytest.approx(
        expected.mean(), abs=4 * expected.std() / np.sqrt(2000)
    )
    assert found.std() == pytest.approx(expected.std(), rel=0.06)


def test_p_of_a_bootstrap():
    assert bootstrap.p_value(np.full(999, 0.1)) == 2 / 1000
    assert bootstrap.p_value(np.zeros(999)) == 1.0
    assert bootstrap.p_value(np.repeat([-1.0, 1.0], [24, 975])) == pytest.approx(
        50 / 1000
    )
    assert bootstrap.interval(np.arange(1001)) == (25.0, 975.0)


def test_a_metric_that_no_sample_defines_is_an_error():
    with pytest.raises(
        ValueError, match="not defined on most samples of the 3 test images"
    ):
        bootstrap.resample(lambda counts: float("nan"), 3, 20, np.random.default_rng(0))


def test_interval_of_a_mean_is_that_of_scipy():
    from scipy.stats import bootstrap as scipy_bootstrap

    values = np.random.default_rng(1).normal(size=40)
    low, high = bootstrap.mean_interval(values)
    assert (low, high) == bootstrap.mean_interval(values)
    expected = scipy_bootstrap(
        (values,), np.mean, method="percentile", rng=0
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.02) and high == pytest.approx(
        expected.high, abs=0.02
    )
