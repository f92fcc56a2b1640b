"""The statistics behind "A is better than B": known answers, scipy's, and rates of error.

Rates are of simulated users as a recommender has them: most values are 0, the others skewed, and
systems tend to succeed with the same users.
"""

from dataclasses import astuple, replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.evidence import significance
from pipeline.evidence.significance import compare, holm

Floats = NDArray[np.float64]

SIGNS = list(product((1, -1), repeat=4))


def column(*values: float) -> Floats:
    return np.array(values, np.float64)[:, None]


def ndcg(generator: np.random.Generator, users: int, systems: int, better: float = 0.0) -> Floats:
    """NDCG@10 (users, systems), of two seeds: equal systems, but for the first's odds of a hit.

    A user's one relevant item is found with the user's own chance; half of the time a system
    repeats what all share.
    """
    shape = (2, users, systems)
    chance = generator.beta(0.6, 1.8, (1, users, 1))
    gains = np.append(0.0, 1 / np.log2(np.arange(1, 11) + 1))
    more = better * (np.arange(systems) == 0)
    own = generator.random(shape) < chance * (1 + more * (1 - chance))
    common = generator.random((2, users, 1)) < chance
    repeats = generator.random(shape) < 0.5
    ranks = np.where(repeats, generator.integers(1, 11, (2, users, 1)), 0)
    ranks = np.where(repeats, ranks, generator.integers(1, 11, shape))
    return gains[np.where(repeats, common, own) * ranks].mean(0)


def pairs(users: int, count: int, better: float = 0.0) -> Floats:
    """Differences (users, count) of pairs of systems that share only their users' chances."""
    generator = np.random.default_rng(7)
    drawn = (ndcg(generator, users, 2, better) for _ in range(count))
    return np.stack([first - second for first, second in (values.T for values in drawn)], 1)


def several(rate: float, trials: int) -> float:
    """Three standard errors of a share of `trials`."""
    return 3 * float(np.sqrt(rate * (1 - rate) / trials))


@pytest.fixture(scope="module")
def equal() -> Floats:
    """1,000 pairs of equal systems over 200 users."""
    return pairs(200, 1000)


def test_simulated_values_are_like_a_recommenders() -> None:
    values = ndcg(np.random.default_rng(0), 2000, 2)
    assert 0.4 < (values == 0).mean() < 0.8
    assert stats.skew(values[:, 0]) > 1
    assert 0.3 < np.corrcoef(values.T)[0, 1] < 0.9


# --- Holm ---


def test_holm_by_hand() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 may not come before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_holm_takes_only_p_values(p: float) -> None:
    with pytest.raises(ValueError, match="p-values lie in"):
        holm([0.1, p])


def test_a_family_is_what_is_compared_at_once() -> None:
    together = compare(pairs(50, 6, better=0.8))
    assert [c.adjusted for c in together] == holm([c.sign_flip for c in together])
    (alone,) = compare(pairs(50, 6, better=0.8)[:, :1])
    assert alone.adjusted == alone.sign_flip
    assert replace(alone, adjusted=together[0].adjusted) == together[0]


# --- sign flips ---


def test_sign_flips_of_few_users_are_enumerated() -> None:
    # As far as 5 - 1 + 3 + 2 = 9: itself, 5 + 1 + 3 + 2 = 11, and both turned round.
    assert compare(column(0.5, -0.1, 0.3, 0.2))[0].sign_flip == 4 / 16
    assert compare(column(0.1, 0.2, 0.3))[0].sign_flip == 2 / 8


def test_ties_count_though_floats_round() -> None:
    tenths = (1, 2, -3, 6)  # in floats, 0.1 + 0.2 - 0.3 is not 0
    sums = [sum(s * v for s, v in zip(signs, tenths, strict=True)) for signs in SIGNS]
    expected = sum(abs(total) >= 6 for total in sums) / 16
    assert compare(column(*tenths) / 10)[0].sign_flip == expected
    whole = np.random.default_rng(0).integers(-3, 5, (40, 1)).astype(float)
    wholes, shares, thirds = compare(np.hstack([whole, whole / 10, whole / 3]))
    assert wholes.sign_flip == shares.sign_flip == thirds.sign_flip


@pytest.mark.parametrize("users", [9, 13, 14, 200])
def test_sign_flips_as_scipys(users: int) -> None:
    values = np.random.default_rng(users).gamma(0.5, size=users) - 0.38
    expected = stats.permutation_test(
        (values, np.zeros(users)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    ).pvalue
    exact = 2**users <= 10_000
    error = 1e-12 if exact else 2**0.5 * several(expected, 10_000)
    assert compare(values[:, None])[0].sign_flip == pytest.approx(expected, abs=error)


def test_a_sampled_p_is_never_zero() -> None:
    assert compare(np.full((100, 1), 0.1), resamples=999)[0].sign_flip == 1 / 1000


# --- t, effect, shares ---


def test_t_as_scipys_and_effect_by_hand() -> None:
    values = ndcg(np.random.default_rng(3), 300, 4)
    found = compare(values[:, 1:] - values[:, :1])
    expected = stats.ttest_rel(values[:, 1:], values[:, :1])
    np.testing.assert_allclose([c.t for c in found], expected.pvalue, rtol=1e-7)
    np.testing.assert_allclose(
        [c.effect for c in found], expected.statistic / np.sqrt(300), rtol=1e-7
    )
    (c,) = compare(column(0.1, 0.3, -0.1, 0.0, 0.2))
    assert c.users == 5
    assert c.difference == pytest.approx(0.1)
    assert c.effect == pytest.approx(0.1 / np.sqrt(0.1 / 4))
    assert (c.gain, c.loss) == (0.6, 0.2)


def test_rounding_is_neither_gain_nor_loss() -> None:
    noise = 0.1 + 0.2 - 0.3
    assert noise != 0
    (c,) = compare(column(*[noise, -noise] * 20, 0.5))
    assert (c.gain, c.loss) == (1 / 41, 0.0)


# --- the interval ---


@pytest.mark.parametrize("seed", range(3))
def test_interval_as_scipys(seed: int) -> None:
    values = np.random.default_rng(seed).gamma(0.3, size=60)
    (c,) = compare(values[:, None])
    ends = [
        stats.bootstrap(
            (values,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(r)
        ).confidence_interval
        for r in range(8)
    ]
    for end, theirs in zip((c.low, c.high), np.transpose(ends), strict=True):
        # One draw of ours against the mean of eight of theirs.
        assert abs(end - theirs.mean()) < 4 * theirs.std(ddof=1)
    # Skewed to the right, the interval reaches further up than a symmetric one does.
    assert c.high - c.difference > 1.2 * (c.difference - c.low)


def test_interval_mirrors_its_data() -> None:
    values = np.random.default_rng(5).gamma(0.3, size=(60, 1))
    up, down = compare(np.hstack([values, -values]))
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low), abs=1e-12)
    assert (down.t, down.sign_flip) == (up.t, up.sign_flip)


# --- degenerate data ---


@pytest.mark.parametrize("users", [1, 2, 12, 500])
def test_no_difference(users: int) -> None:
    (c,) = compare(np.zeros((users, 1)))
    assert astuple(c) == (users, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, None, 0.0, 0.0)


def test_one_user_decides_nothing() -> None:
    (c,) = compare(column(-0.25))
    assert astuple(c) == (1, -0.25, -0.25, -0.25, 1.0, 1.0, 1.0, None, 0.0, 1.0)


def test_two_users() -> None:
    (c,) = compare(column(0.1, 0.3))
    assert c.t == pytest.approx(stats.ttest_1samp([0.1, 0.3], 0).pvalue)
    assert c.sign_flip == 0.5
    # A quarter of the samples each is 0.1 or 0.3 alone.
    assert (c.low, c.high) == pytest.approx((0.1, 0.3))


def test_all_users_gain_alike() -> None:
    (c,) = compare(np.full((10, 1), 0.3 - 0.2))
    assert c.low == c.difference == c.high == pytest.approx(0.1)
    assert (c.t, c.effect, c.gain) == (0.0, None, 1.0)
    assert c.sign_flip == 2 / 2**10


def test_nothing_compared() -> None:
    assert compare(np.zeros((5, 0))) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_missing_value_is_an_error(value: float) -> None:
    values = np.zeros((4, 2))
    values[2, 1] = value
    with pytest.raises(ValueError, match="1 users have values that are not finite, first 2"):
        compare(values)


@pytest.mark.parametrize("shape", [(0, 2), (3,)])
def test_a_wrong_shape_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        compare(np.zeros(shape))


# --- the same figures, however they are computed ---


def test_order_of_systems_matters_only_for_holm() -> None:
    values = pairs(300, 7, better=0.3)
    order = np.random.default_rng(0).permutation(7)
    found = compare(values)
    assert compare(values[:, order]) == [found[i] for i in order]
    assert compare(np.asfortranarray(values)) == found


@pytest.mark.parametrize("cells", [1, 3000, 1 << 30])
def test_same_figures_in_blocks_of_any_size(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = pairs(70, 3)
    expected = compare(values, resamples=500)
    assert compare(values, resamples=500) == expected
    monkeypatch.setattr(significance, "CELLS", cells)
    assert compare(values, resamples=500) == expected


# --- rates of error ---


def test_false_positives_and_coverage_of_equal_systems(equal: Floats) -> None:
    found = compare(equal)
    bound = several(0.05, equal.shape[1])
    assert np.mean([c.sign_flip <= 0.05 for c in found]) == pytest.approx(0.05, abs=bound)
    assert np.mean([c.t <= 0.05 for c in found]) == pytest.approx(0.05, abs=bound)
    assert np.mean([c.low <= 0 <= c.high for c in found]) == pytest.approx(0.95, abs=bound)


def test_coverage_of_skewed_values() -> None:
    # NDCG itself against a baseline that finds nothing: far from symmetric.
    generator = np.random.default_rng(11)
    truth = ndcg(generator, 1_000_000, 1).mean()
    values = np.hstack([ndcg(generator, 200, 1) for _ in range(1000)])
    covered = np.mean([c.low <= truth <= c.high for c in compare(values)])
    assert covered == pytest.approx(0.95, abs=several(0.05, 1000))


def test_family_wise_error_of_ten_comparisons() -> None:
    generator = np.random.default_rng(13)
    families = [ndcg(generator, 200, 11) for _ in range(500)]
    found = [compare(f[:, 1:] - f[:, :1], resamples=2000) for f in families]
    corrected = np.mean([any(c.adjusted <= 0.05 for c in family) for family in found])
    uncorrected = np.mean([any(c.sign_flip <= 0.05 for c in family) for family in found])
    # Comparisons with one baseline go together, so that Holm is on the safe side.
    assert 0.005 < corrected < 0.05 + several(0.05, 500)
    assert uncorrected > 0.15


def test_power_on_a_planted_difference() -> None:
    users, better = 500, 1.0
    population = pairs(1_000_000, 1, better)
    effect = population.mean() / population.std()
    limit = stats.t.ppf(0.975, users - 1)
    power = stats.nct.sf(limit, users - 1, effect * np.sqrt(users))
    assert 0.94 < power < 0.99
    found = compare(pairs(users, 500, better))
    bound = several(power, 500)
    assert np.mean([c.t <= 0.05 for c in found]) == pytest.approx(power, abs=bound)
    assert np.mean([c.sign_flip <= 0.05 for c in found]) == pytest.approx(power, abs=bound)
    assert np.mean([c.low > 0 for c in found]) > 0.9
