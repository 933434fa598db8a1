"""The engine against scipy and statsmodels, its invariances, planted effects, and small null simulations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import synthetic
from stiltsweep.errors import UserError
from stiltsweep.metrics import METRICS
from stiltsweep.resampling import strata as strata_module
from stiltsweep.resampling.clusters import units
from stiltsweep.resampling.draws import Counts, Signs, t_scale
from stiltsweep.resampling.intervals import bca, detectable, p_value, percentile, within
from stiltsweep.resampling.strata import stratify
from stiltsweep.significance import COLUMNS, Settings, Statistics, compare, controls, estimands, resample
from stiltsweep.significance import influence as influence_module
from stiltsweep.significance.analysis import settle
from stiltsweep.significance.bootstrap import arm_draws, exact
from stiltsweep.significance.corrections import alpha, benjamini_hochberg, holm
from stiltsweep.significance.estimands import weights
from stiltsweep.significance.seeds import component, excess

CODES = ("a", "b", "c", "d")
FAMILIES = {"family": {"x": ["a", "b"], "y": ["c", "d"], "z": []}}


def sweep(parallel="full", n=120, seeds=3, lifts=None, k=0, arms=("none", "i"), codes=CODES, **options) -> Statistics:
    rng = np.random.default_rng([k, 7])
    ids = {code: sorted(synthetic.example_ids(code, n, parallel, k)) for code in codes}
    expected = {(arm, code): 60.0 + (lifts or {}).get((arm, code), 0.0) for arm in arms for code in codes}
    return synthetic.statistics(synthetic.answers(rng, ids, expected, range(seeds), **options), ids)


def run(statistics, groups=FAMILIES, chunk=None, **settings):
    settings = {"resamples": 400} | settings
    return compare(
        resample(statistics, Settings(**settings), chunk=chunk), estimands(statistics.languages, groups, "family")
    )


def row(rows, scope, group, intermediate="i"):
    return next(r for r in rows if (r["scope"], r["group"], r["intermediate"]) == (scope, group, intermediate))


# Against independent implementations


def test_examples_agree_with_scipy_bootstrap():
    """Same statistic, paired on examples: estimate exactly, error and both intervals within Monte-Carlo error."""
    rng = np.random.default_rng(3)
    n = 150
    tp, size = rng.integers(0, 3, n), rng.integers(1, 5, n)
    base, arm = (np.stack([2.0 * tp + rng.integers(0, 2, n), size + tp + 1.0], axis=1) for _ in range(2))
    statistics = Statistics(
        model="m",
        target="t",
        metric="span_f1",
        languages=("a",),
        seeds={"none": (0,), "i": (0,)},
        held={"none": frozenset("a"), "i": frozenset("a")},
        ids={"a": tuple(f"{i:04d}" for i in range(n))},
        values={("none", 0, "a"): base, ("i", 0, "a"): arm},
    )
    found = row(run(statistics, {"family": {"x": ["a"]}}, resamples=20_000, resampling="examples"), "language", "a")

    def lift(*data, axis=-1):
        an, ad, bn, bd = data
        return 100 * (an.sum(axis) / ad.sum(axis) - bn.sum(axis) / bd.sum(axis))

    data = (*arm.T, *base.T)
    for method, prefix in (("percentile", "ci"), ("BCa", "bca")):
        expected = stats.bootstrap(
            data, lift, paired=True, vectorized=True, n_resamples=20_000, method=method, rng=np.random.default_rng(1)
        )  # type: ignore[call-overload] # its stubs know no method that is a variable
        tolerance = 4 * expected.standard_error * 2.7 / np.sqrt(20_000)  # a 2.5% quantile's error is 2.7 sd / sqrt(R)
        assert found[f"{prefix}_low"] == pytest.approx(expected.confidence_interval.low, abs=tolerance)
        assert found[f"{prefix}_high"] == pytest.approx(expected.confidence_interval.high, abs=tolerance)
    assert found["lift"] == pytest.approx(lift(*data), abs=1e-9)
    assert found["detectable_lift"] == pytest.approx((1.959964 + 0.841621) * expected.standard_error, rel=0.03)


def test_sign_flips_agree_with_scipy_permutation_test():
    statistics = sweep(seeds=1, n=60, lifts={("i", "a"): 12.0})
    found = row(run(statistics, resamples=20_000), "language", "a")
    scores = [statistics.values[arm, 0, "a"][:, 0] for arm in ("i", "none")]
    expected = stats.permutation_test(
        scores,
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).pvalue
    assert found["p_signflip"] == pytest.approx(expected, abs=float(4 * np.sqrt(expected / 20_000) + 1e-4))


@pytest.mark.parametrize("size", [0, 1, 2, 7, 50])
def test_corrections_equal_statsmodels(size):
    p = np.random.default_rng(size).random(size) ** 3
    p[: size // 3] = p[0] if size else 0.0  # ties
    if not size:
        assert holm([]).size == benjamini_hochberg([]).size == 0
        return
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], rtol=0, atol=1e-12)


def test_holm_worked_by_hand_on_unsorted_p():
    assert holm([0.3, 0.01, 0.02]).tolist() == pytest.approx([0.3, 0.03, 0.04])
    assert benjamini_hochberg([0.3, 0.01, 0.02]).tolist() == pytest.approx([0.3, 0.03, 0.03])


def test_contributions_are_the_jackknife():
    """Delete one example, score again: the infinitesimal jackknife agrees to the order of 1/n."""
    rng = np.random.default_rng(0)
    n = 400
    values = np.stack([rng.integers(0, 3, n) * 2.0, rng.integers(2, 6, n)], axis=1)
    ids = {"a": [f"{i:04d}" for i in range(n)]}
    statistics = synthetic.statistics({("none", 0, "a"): values[:, 0]}, ids)
    statistics = dataclasses.replace(statistics, values={("none", 0, "a"): values})
    found = influence_module.arm(statistics, stratify(ids), "none").mean["a"]
    full = 100 * values[:, 0].sum() / values[:, 1].sum()
    without = 100 * (values[:, 0].sum() - values[:, 0]) / (values[:, 1].sum() - values[:, 1])
    np.testing.assert_allclose(found, (full - without), rtol=0.03, atol=1e-3)
    assert abs(found.sum()) < 1e-9


def test_noise_is_the_variance_that_examples_give_a_run():
    """The analytic run x example mean square against a brute-force bootstrap of each run's own deviation."""
    statistics = sweep(seeds=4, n=300)
    strata = stratify(statistics.ids)
    maps = weights(estimands(CODES, FAMILIES, "family")[:1], CODES)
    noise = (maps @ influence_module.arm(statistics, strata, "i").noise @ maps.T)[0, 0]
    rng = np.random.default_rng(0)
    scores = np.array([[statistics.values["i", s, c][:, 0] for c in CODES] for s in range(4)]).mean(axis=1)
    counts = rng.multinomial(300, np.full(300, 1 / 300), size=4000) / 300
    drawn = 100 * counts @ (scores - scores.mean(axis=0)).T  # (resamples, runs) deviations from the runs' mean
    assert noise == pytest.approx(drawn.var(axis=0).sum() / 3, rel=0.1)


def test_detectable_lift_is_found_as_often_as_it_says():
    shares = (np.arange(200_000) + 0.5) / 200_000
    assert detectable(2.0 * stats.norm.ppf(shares)[None], 0.95)[0] == pytest.approx(2.0 * 2.80158, rel=1e-3)
    df = 4.0
    size = float(detectable(stats.t(df).ppf(shares)[None], 0.95)[0])
    power = stats.nct(df, size).sf(stats.t(df).isf(0.025))
    assert power == pytest.approx(0.8, abs=0.03)


# Draws


def test_draws_do_not_depend_on_how_they_are_taken():
    for stream in (Counts, Signs):
        whole = stream(5, "ids", 37).take(50)
        pieces = stream(5, "ids", 37)
        np.testing.assert_array_equal(whole, np.concatenate([pieces.take(k) for k in (1, 2, 30, 17)]))
        assert not np.array_equal(whole, stream(6, "ids", 37).take(50))
        assert not np.array_equal(whole, stream(5, "other ids", 37).take(50))
    assert (Counts(0, "x", 37).take(9).sum(axis=1) == 37).all()
    assert abs(Signs(0, "x", 10_000).take(1).mean() - 0.5) < 0.02


def test_draws_of_counts_are_multinomial():
    counts = Counts(1, "x", 20).take(20_000).astype(float)
    assert counts.mean() == 1.0
    assert counts.var(axis=0).mean() == pytest.approx(1 - 1 / 20, rel=0.02)
    assert np.corrcoef(counts[:, 0], counts[:, 1])[0, 1] == pytest.approx(-1 / 19, abs=0.02)


def test_t_scale_gives_students_t():
    z = np.random.default_rng(0).standard_normal(200_000)
    for df in (2.0, 4.5):
        drawn = z * t_scale(3, "runs", df, z.size)
        assert np.quantile(drawn, 0.975) == pytest.approx(stats.t(df).isf(0.025), rel=0.03)
    assert (t_scale(3, "runs", np.inf, 5) == 1).all()


@pytest.mark.parametrize("parallel", ["full", "partial", "none"])
def test_result_does_not_depend_on_order_or_chunks(parallel):
    statistics = sweep(parallel)
    expected = run(statistics)
    assert run(statistics, chunk=7) == expected
    assert run(statistics, chunk=1000) == expected
    turned = dataclasses.replace(
        statistics,
        seeds=dict([*statistics.seeds.items()][::-1]),
        ids=dict([*statistics.ids.items()][::-1]),
        values=dict([*statistics.values.items()][::-1]),
    )
    assert run(turned) == expected


def test_fractions_sum_exactly_in_any_order():
    rng = np.random.default_rng(0)
    matrix = exact(rng.random((20_000, 3)))
    assert np.abs(matrix - np.random.default_rng(0).random((20_000, 3))).max() < 1e-11
    shuffled = rng.permutation(matrix, axis=0)
    assert (np.add.accumulate(matrix)[-1] == np.add.accumulate(shuffled)[-1]).all()
    assert exact(np.ones((10, 1)) * 3).dtype == np.float32


def test_one_draw_serves_languages_that_share_ids_and_only_those():
    """Two languages with the same answers: the same scores in every resample if the ids are shared, and not if not."""
    answers = np.random.default_rng(0).random(50) < 0.5
    right = {("none", 0, code): answers for code in "ab"}
    shared = {code: [f"{i:02d}" for i in range(50)] for code in "ab"}
    own = {code: [f"{code}{i:02d}" for i in range(50)] for code in "ab"}
    for ids, equal in ((shared, True), (own, False)):
        statistics = synthetic.statistics(right, ids)
        drawn = arm_draws(statistics, stratify(ids), resamples=30, seed=0)["none"]
        assert np.array_equal(drawn[0], drawn[1]) is equal


def test_strata_of_partly_parallel_data(monkeypatch):
    ids = {"a": ["1", "2", "3"], "b": ["2", "3"], "c": ["3", "9"]}
    (pool,) = stratify(ids)  # all of them are small
    assert pool.ids == ("1", "2", "3", "9")
    assert pool.spread("c", np.array([5.0, 7.0])).tolist() == [0, 0, 5, 7]
    assert (pool.count(["a", "b"]), pool.count(["c"]), pool.count(["d"])) == (3, 2, 0)
    monkeypatch.setattr(strata_module, "SMALLEST", 1)
    found = stratify(ids)
    assert {tuple(stratum.rows): stratum.ids for stratum in found} == {
        ("a",): ("1",),
        ("a", "b"): ("2",),
        ("a", "b", "c"): ("3",),
        ("c",): ("9",),
    }
    assert next(s for s in found if s.ids == ("3",)).rows["b"].tolist() == [1]


def test_adding_a_language_or_an_intermediate_leaves_the_others_alone():
    wide = sweep(arms=("none", "i", "j"), codes=(*CODES, "e"))
    narrow = dataclasses.replace(
        wide,
        languages=CODES,
        seeds={arm: wide.seeds[arm] for arm in ("none", "i")},
        held={arm: frozenset(CODES) for arm in ("none", "i")},
        ids={code: wide.ids[code] for code in CODES},
    )
    for group in CODES:
        one, other = row(run(wide), "language", group), row(run(narrow), "language", group)
        assert {k: v for k, v in one.items() if "holm" not in k} == {k: v for k, v in other.items() if "holm" not in k}


# What must hold of any test


@pytest.mark.parametrize("resampling", ["examples", "examples+seeds"])
def test_swapping_the_systems_turns_the_signs(resampling):
    """The same draws stand behind both directions, so intervals mirror and p-values are equal."""
    statistics = sweep(lifts={("i", "a"): 6.0})
    swap = {"none": "i", "i": "none"}
    swapped = dataclasses.replace(
        statistics, values={(swap[arm], s, code): v for (arm, s, code), v in statistics.values.items()}
    )
    for one, other in zip(run(statistics, resampling=resampling), run(swapped, resampling=resampling), strict=True):
        if one["status"] == "ok":
            assert one["lift"] == pytest.approx(-other["lift"], abs=1e-9)
            assert one["examples_p"] == other["examples_p"]
            assert one["p_signflip"] == other["p_signflip"]
            assert one["examples_ci_low"] == pytest.approx(-other["examples_ci_high"], abs=1e-6)
            # Runs have their own draws by name, so with seeds the mirror holds to Monte-Carlo error.
            assert one["p"] == pytest.approx(other["p"], abs=0.1)


def test_equal_systems_are_not_different():
    statistics = sweep()
    same = {(arm, s, c): statistics.values["none", s, c] for arm, s, c in statistics.values}
    for found in run(dataclasses.replace(statistics, values=same)):
        if found["status"] == "ok":
            assert (found["lift"], found["p"], found["p_signflip"], found["examples_p"]) == (0, 1, 1, 1)


def test_a_planted_lift_is_found_where_it_is():
    statistics = sweep(n=600, lifts={("i", "a"): 12.0, ("i", "b"): 12.0}, seed_sd=0.8)
    rows = run(statistics, resamples=2000)
    assert row(rows, "group", "x")["p_holm"] < 0.05
    assert row(rows, "contrast", "x - y")["p_holm"] < 0.05
    assert row(rows, "group", "y")["p_holm"] > 0.05
    found = row(rows, "group", "x")
    assert found["ci_low"] < 12.0 < found["ci_high"]
    assert found["p"] > 0


def test_a_baseline_without_variation_works():
    """Retrieval from the untouched model: every seed of the baseline is the same run."""
    statistics = sweep(constant=("none",), seed_sd=6.0, seeds=5)
    found = row(run(statistics), "all", "all")
    assert found["status"] == "ok"
    assert found["ci_high"] - found["ci_low"] > found["examples_ci_high"] - found["examples_ci_low"]


def test_one_seed_is_tested_on_examples_and_says_so():
    found = row(run(sweep(seeds=1)), "all", "all")
    assert (found["resampling"], found["n_seeds"]) == ("examples", 1)
    assert "one seed" in found["reason"]
    assert (found["p"], found["ci_low"]) == (found["examples_p"], found["examples_ci_low"])


def test_paired_seeds_take_the_common_part_of_runs_out():
    statistics = sweep(seed_sd=0.0, n=400, seeds=4)
    common = np.random.default_rng(0).random((4, 400)) < np.array([0.0, 0.25, 0.5, 0.75])[:, None]
    values = {(a, s, c): np.maximum(v, np.stack([common[s], v[:, 1]], 1)) for (a, s, c), v in statistics.values.items()}
    statistics = dataclasses.replace(statistics, values=values)
    paired, apart = (row(run(statistics, pair_seeds=pair), "all", "all") for pair in (True, False))
    assert paired["lift"] == apart["lift"]
    assert paired["ci_high"] - paired["ci_low"] < 0.5 * (apart["ci_high"] - apart["ci_low"])


# Runs: pairs, few, one


def runs_of(scores: dict[str, list[float]], n: int = 400) -> Statistics:
    """One language whose arms' runs answer given shares of the examples rightly: (arm -> runs -> share a run)."""
    ids = {"a": [f"{i:04d}" for i in range(n)]}
    right = {}
    for arm, runs in scores.items():
        for seed, share in enumerate(runs):
            right[arm, seed, "a"] = np.arange(n) < round(share * n)
    return synthetic.statistics(right, ids)


def only(statistics, **settings):
    return run(statistics, {"family": {"x": ["a"]}}, **settings)[0]


@pytest.mark.parametrize(("n", "wrong"), [(60, [(0, 0)]), (60, [(2, 7)]), (150, [(1, 3)]), (41, [(0, 40), (1, 40)])])
@pytest.mark.parametrize("pair", [True, False])
def test_runs_that_differ_in_one_example_add_nothing(n, wrong, pair):
    """Ties within rounding are ties: p is that of the examples alone, and no interval ends at -7.6e-08."""
    right = {(arm, s, "a"): np.ones(n) for arm in ("none", "i") for s in range(3)}
    for seed, example in wrong:
        right["i", seed, "a"][example] = 0.0
    found = only(synthetic.statistics(right, {"a": [f"{i:03d}" for i in range(n)]}), pair_seeds=pair, resamples=2000)
    assert (found["p"], found["ci_low"]) == (found["examples_p"], found["examples_ci_low"])
    assert found["ci_high"] == 0.0
    assert found["runs_se"] == 0.0
    assert not found["p_fitted"]


def test_one_run_takes_its_spread_from_the_other_arm():
    """The variance of a mean of one run and one of three, with one estimate of the variance of a run."""
    shares = [0.5, 0.56, 0.62]
    apart = only(runs_of({"none": shares, "i": shares}), pair_seeds=False)
    lent = only(runs_of({"none": shares, "i": [0.6]}))
    turned = only(runs_of({"none": [0.6], "i": shares}))
    excess = apart["runs_se"] ** 2 / 2 * 3  # of one run
    for found in (lent, turned):
        assert found["runs_se"] ** 2 == pytest.approx(excess * (1 + 1 / 3), rel=1e-6)
        assert found["runs_degrees"] == 2.0
        assert found["resampling"] == "examples+seeds"
        assert found["ci_high"] - found["ci_low"] > apart["ci_high"] - apart["ci_low"]
    assert "one run of i: how much its runs differ is taken from none" in lent["reason"]


def test_one_run_is_not_tested_where_nothing_shows_how_much_runs_differ():
    untouched = only(runs_of({"none": [0.6, 0.6, 0.6], "i": [0.5]}))
    assert (untouched["status"], untouched["p"], untouched["conclusion"]) == ("n/a", None, "")
    assert "the runs of none do not vary" in untouched["reason"]
    assert untouched["lift"] == pytest.approx(-10.0)
    one = runs_of({"none": [0.6], "i": [0.5]})
    assert only(one)["resampling"] == "examples"
    asked_for_three = only(dataclasses.replace(one, planned=3))
    assert asked_for_three["p"] is None
    assert "one run of each arm" in asked_for_three["reason"]


def test_arms_with_other_seeds_are_not_paired():
    statistics = runs_of({"none": [0.5, 0.55, 0.6], "i": [0.5, 0.55]})
    found = only(statistics)
    assert "not paired" in found["reason"]
    assert found["p"] == only(statistics, pair_seeds=False)["p"]


def test_the_measured_correlation_of_pairs():
    one, other = [0.5, 0.56, 0.61, 0.58], [0.4, 0.47, 0.5, 0.49]
    found = only(runs_of({"none": one, "i": other}, 1000))
    assert found["seed_correlation"] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-6)
    assert only(runs_of({"none": [0.5, 0.5, 0.5], "i": [0.4, 0.5, 0.45]}))["seed_correlation"] is None
    # Two points lie on a line, whatever they are.
    assert only(runs_of({"none": [0.5, 0.6], "i": [0.4, 0.5]}))["seed_correlation"] is None


# Clusters of examples


def test_a_unit_is_what_no_cluster_of_any_language_cuts_through():
    ids = {"a": ["1", "2", "3", "4"], "b": ["2", "3", "9"], "c": ["4"]}
    found = units(ids, {"a": ["x", "x", "y", "z"], "b": ["p", "p", "q"]})
    assert found["a"][0] == ("1", "4")  # 1 and 2 by x, 2 and 3 by p
    assert found["a"][1].tolist() == [0, 0, 0, 1]
    assert found["b"][0] == ("1", "9")
    assert found["b"][1].tolist() == [0, 0, 1]
    assert found["c"][0] == ("4",)


def test_clusters_are_drawn_whole():
    """Examples of clusters against clusters that somebody summed up before: the same test, but for what is counted."""
    statistics = sweep(n=300, lifts={("i", "a"): 4.0})
    name = {i: f"{int(i[3:]) // 5:03d}" for i in statistics.ids["a"]}
    clusters = {code: tuple(name[i] for i in own) for code, own in statistics.ids.items()}
    place = np.array([sorted(set(name.values())).index(name[i]) for i in statistics.ids["a"]])
    summed = {
        k: np.stack([np.bincount(place, c) for c in v.T], axis=1, dtype=np.float64)
        for k, v in statistics.values.items()
    }
    firsts = tuple(statistics.ids["a"][::5])
    before = dataclasses.replace(statistics, ids=dict.fromkeys(CODES, firsts), values=summed)
    once, again = run(dataclasses.replace(statistics, clusters=clusters)), run(before)
    for one, other in zip(once, again, strict=True):
        assert {k: v for k, v in one.items() if k != "n_examples"} == {
            k: v for k, v in other.items() if k != "n_examples"
        }
    assert (once[0]["n_examples"], once[0]["n_clusters"]) == (300, 60)
    few = run(dataclasses.replace(statistics, clusters={c: tuple(n[:2] for n in own) for c, own in clusters.items()}))
    assert few[0]["reason"].startswith("6 clusters of examples")
    alone = run(dataclasses.replace(statistics, clusters=statistics.ids))
    assert alone == run(statistics)


# Many tests, and no effect


@pytest.mark.parametrize("seed_sd", [0.0, 2.0])
def test_a_fitted_tail_is_what_many_more_draws_say(seed_sd):
    """A million draws against what a thousand and the tail say; and where draws suffice, nothing is fitted."""
    statistics = sweep(n=150, lifts={("i", code): 13.0 for code in CODES}, seed_sd=seed_sd, seeds=5)
    few, many = (run(statistics, resamples=resamples, pair_seeds=False) for resamples in (1000, 300_000))
    pairs = [(a, b) for a, b in zip(few, many, strict=True) if a["p_fitted"]]
    assert len(pairs) > 2
    for guess, known in pairs:
        if not known["p_fitted"]:
            assert 0.4 < guess["p"] / known["p"] < 2.5
    assert all(r["p"] >= 10 / 1001 for r in few if r["p"] is not None and not r["p_fitted"])


def test_many_tests_can_be_significant():
    """528 tests: 10,000 draws alone would leave the smallest p at .0001, above .05 / 528."""
    statistics = sweep(n=500, lifts={("i", code): 15.0 for code in CODES})
    found = row(run(statistics, resamples=2000, resampling="examples"), "all", "all")
    rows = [dict(found) for _ in range(528)]
    settle(rows, 0.95)
    assert rows[0]["p_holm"] < 0.05
    assert rows[0]["p_fitted"]
    assert rows[0]["conclusion"] == "helped"
    # What could be seen after correction is larger than before, by the critical values' difference.
    z = stats.norm.isf(0.025 / 528) - stats.norm.isf(0.025)
    further = rows[0]["detectable_lift_holm"] - rows[0]["detectable_lift"]
    assert further == pytest.approx(z * rows[0]["examples_se"], rel=1e-3)


def test_no_more_than_the_margin_is_two_one_sided_tests():
    """Against Schuirmann's two t-tests on the same normal deviations."""
    rng = np.random.default_rng(5)
    for estimate, margin in ((0.3, 1.0), (-0.8, 1.0), (0.1, 2.0), (1.4, 1.0)):
        draws = 0.4 * rng.standard_normal((1, 200_000))
        found = within(np.array([estimate]), draws, margin)[0]
        expected = max(stats.norm.cdf((estimate - margin) / 0.4), stats.norm.sf((estimate + margin) / 0.4))
        assert found == pytest.approx(expected, abs=0.004)


def test_conclusions():
    statistics = sweep(n=400, seeds=5, correlation=0.9, shared=0.02, steady=0.02)
    same = {key: statistics.values["none", *key[1:]] for key in statistics.values}
    found = row(run(dataclasses.replace(statistics, values=same)), "all", "all")
    assert found["conclusion"] == "no more than the margin"
    assert row(run(sweep(n=60)), "all", "all")["conclusion"] == "not settled"
    worse = run(sweep(n=600, lifts={("i", "a"): -15.0, ("i", "b"): -15.0}, seed_sd=0.5), resamples=2000)
    assert row(worse, "group", "x")["conclusion"] == "hurt"
    assert row(worse, "contrast", "x - y")["conclusion"] == "lower"
    assert (row(worse, "contrast", "x - y")["first_group"], row(worse, "contrast", "x - y")["second_group"]) == (
        "x",
        "y",
    )


def test_empty_families_are_not_numbers():
    rows = run(sweep())
    for scope, group in (("group", "z"), ("contrast", "x - z"), ("contrast", "y - z")):
        found = row(rows, scope, group)
        assert found["status"] == "n/a"
        assert "z" in found["reason"]
        assert all(found[c] is None for c in ("lift", "p", "p_holm", "ci_low", "detectable_lift", "examples_p"))
        assert found["n_languages"] == 0
    assert list(rows[0]) == list(COLUMNS)


def test_lift_is_the_mean_over_languages_of_the_mean_over_seeds():
    statistics = sweep("none", lifts={("i", "c"): 10.0})

    def score(arm, code):
        return np.mean([100 * statistics.values[arm, s, code][:, 0].mean() for s in range(3)])

    lifts = {code: score("i", code) - score("none", code) for code in CODES}
    rows = run(statistics)
    x, y = (lifts["a"] + lifts["b"]) / 2, (lifts["c"] + lifts["d"]) / 2
    assert row(rows, "group", "x")["lift"] == pytest.approx(x)
    assert row(rows, "contrast", "x - y")["lift"] == pytest.approx(x - y)
    assert row(rows, "all", "all")["lift"] == pytest.approx(np.mean(list(lifts.values())))
    assert row(rows, "all", "all")["n_examples"] == 4 * 120
    assert row(rows, "language", "c")["n_examples"] == 120


def test_holm_is_within_scope_and_grouping():
    rows = run(sweep(arms=("none", "i", "j")))
    groups = [r for r in rows if r["scope"] == "group" and r["p"] is not None]
    assert len(groups) == 4
    np.testing.assert_allclose([r["p_holm"] for r in groups], holm([r["p"] for r in groups]), atol=1e-8)


def test_languages_are_resampled_in_groups_of_five_and_more():
    codes = tuple("abcdefg")
    lifts = {("i", code): 3.0 * k for k, code in enumerate(codes)}
    statistics = sweep(codes=codes, lifts=lifts, n=300)
    groups = {"family": {"x": list("abcde"), "y": ["f", "g"]}}
    fixed = row(run(statistics, groups), "group", "x")
    rows = run(statistics, groups, resampling="examples+seeds+languages")
    drawn, small = row(rows, "group", "x"), row(rows, "group", "y")
    assert drawn["ci_high"] - drawn["ci_low"] > 1.3 * (fixed["ci_high"] - fixed["ci_low"])
    assert small["status"] == "n/a"
    assert "at least 5" in small["reason"]
    assert small["p"] is None
    assert small["lift"] is not None
    assert row(rows, "contrast", "x - y")["status"] == "n/a"
    assert row(rows, "language", "a")["resampling"] == "examples+seeds"


def test_scores_without_value_are_named_not_counted():
    """An F1 of 0/0 in one language: that language is n/a, and the group's mean is over the others."""
    statistics = sweep()
    values = dict(statistics.values) | {("i", s, "a"): np.zeros((120, 2)) for s in range(3)}
    rows = run(dataclasses.replace(statistics, values=values))
    assert row(rows, "language", "a")["status"] == "n/a"
    assert row(rows, "group", "x")["languages"] == "b"
    assert row(rows, "group", "x")["lift"] == row(rows, "language", "b")["lift"]


def test_resamples_without_value_count_as_extreme_or_stop_the_test():
    statistics = sweep(n=120, seeds=1)
    for counted, status in ((1, "n/a"), (6, "ok")):
        below = np.zeros(120)
        below[:counted] = 2.0
        values = {(a, s, c): np.stack([below * v[:, 0], below], 1) for (a, s, c), v in statistics.values.items()}
        found = row(run(dataclasses.replace(statistics, values=values)), "language", "a")
        assert found["status"] == status
        assert "resamples leave nothing to score" in found["reason"]
        assert (found["p"] is None) == (status == "n/a")


def test_settings_refuse_nonsense():
    for wrong in ({"resampling": "seeds"}, {"resamples": 10}, {"confidence": 95}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            Settings(**wrong)


def test_quantities_worked_by_hand():
    estimate = np.array([2.0])
    deviations = np.array([[-3.0, -1.0, 0.0, 1.0, 2.0]])
    assert p_value(estimate, deviations)[0] == 3 / 6  # |-3| and |2| reach 2: a tie counts
    assert p_value(estimate, deviations, 1)[0] == 4 / 6
    assert percentile(estimate, deviations, 0.5).tolist() == [[1.0, 3.0]]
    uncorrected = bca(estimate, np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]]), np.zeros(1), 0.5)
    np.testing.assert_allclose(uncorrected, [[1.0, 3.0]])
    assert np.isnan(bca(estimate, np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), np.zeros(1), 0.5)).all()


def test_seed_component_worked_by_hand():
    """Runs at 1, 2, 3: variance 1, of which 0.25 is examples' noise; three runs, so both over 3."""
    part = component(np.array([[1.0], [2.0], [3.0]]), np.array([0.25]))
    assert part.variance[0] == pytest.approx(1 / 3)
    one = excess([part])
    assert (one.variance[0], one.degrees[0]) == (pytest.approx(0.75 / 3), 2)
    assert one.scale[0] == pytest.approx(np.sqrt(0.75))
    # A second arm with variance 3: together 4/3, degrees (1 + 3)^2 / (1/4 + 9/4) - 2.
    both = excess([part, component(np.array([[-np.sqrt(3)], [0.0], [np.sqrt(3)]]), np.array([0.25]))])
    assert both.degrees[0] == pytest.approx(4.4)
    drowned = component(np.array([[1.0], [2.0], [3.0]]), np.array([2.0]))
    assert (excess([drowned]).variance[0], excess([drowned]).degrees[0]) == (0, np.inf)
    # What one arm lacks to its noise is taken from the other: runs at 0 and 3 have variance 4.5.
    other = component(np.array([[0.0], [3.0]]), np.array([0.25]))
    assert excess([drowned, other]).variance[0] == pytest.approx((1.0 - 2.0) / 3 + (4.5 - 0.25) / 2)


@pytest.mark.parametrize("metric", ["accuracy", "span_f1"])
def test_metrics_reduce_to_ratios(metric):
    """The engine's score of a cell is the metric's own."""
    found = METRICS[metric]
    statistics = np.random.default_rng(0).integers(0, 3, (50, len(found.columns))).astype(float)
    above, below = found.reduced(statistics).sum(axis=0)
    assert 100 * above / below == pytest.approx(found.score(statistics.sum(axis=0)))


# Arms against their controls


def test_arms_are_paired_with_their_controls():
    arms = ("a", "b", "a+shuffled_labels", "a+mlm", "a+mlm+steps_matched", "a+steps_matched", "c+steps_matched")
    assert controls.pairs(arms) == [
        ("a", "a+shuffled_labels"),
        ("a+mlm", "a"),
        ("a+mlm", "a+mlm+steps_matched"),
        ("a", "a+steps_matched"),
    ]


def test_control_is_the_difference_of_two_lifts():
    """The baseline cancels: the same test as with the control in the baseline's place."""
    arms = ("none", "i", "i+steps_matched")
    statistics = sweep(arms=arms, lifts={("i", code): 9.0 for code in CODES})
    found = estimands(CODES, FAMILIES, "family")[:3]
    pairs = controls.pairs(arms[1:])
    resampled = resample(statistics, Settings(resamples=400), pairs)
    made = controls.compared(resampled, found, pairs)
    assert {(r["intermediate"], r["against"]) for r in made} == {("i", "i+steps_matched")}
    assert set(made[0]) == set(controls.COLUMNS)
    lifts = {(r["intermediate"], r["group"]): r["lift"] for r in compare(resampled, found)}
    name = {"none": "gone", "i": "i", "i+steps_matched": "none"}
    turned = dataclasses.replace(
        statistics,
        seeds={name[a]: s for a, s in statistics.seeds.items()},
        held={name[a]: h for a, h in statistics.held.items()},
        values={(name[a], s, c): v for (a, s, c), v in statistics.values.items()},
    )
    for one in made:
        assert one["lift"] == pytest.approx(lifts["i", one["group"]] - lifts["i+steps_matched", one["group"]])
        other = row(run(turned), one["scope"], one["group"])
        for column in ("baseline_score", "score", "lift", "examples_p", "examples_ci_low", "p_signflip"):
            assert one[column] == other[column]


# Small simulations; the large ones are in benchmarks/bootstrap.py


def rejections(level, parallel, repeats, column, *, own_ids=False, **options):
    """Return the share of null sweeps whose mean lift over all languages comes out significant at 0.05."""
    hits = 0
    found = estimands(CODES, FAMILIES, "family")[:1]
    for k in range(repeats):
        statistics = sweep(parallel, n=80, k=k, **options)
        if own_ids:
            ids = {code: tuple(f"{code}{i}" for i in held) for code, held in statistics.ids.items()}
            statistics = dataclasses.replace(statistics, ids=ids)
        rows = compare(resample(statistics, Settings(199, k, 0.95, level)), found)
        hits += rows[0][column] < 0.05
    return hits / repeats


def test_null_sweeps_are_rarely_significant_and_examples_alone_are_not_enough():
    options = {"seed_sd": 4.0, "seeds": 3}
    assert rejections("examples+seeds", "full", 150, "p", **options) < 0.1
    assert rejections("examples+seeds", "full", 150, "examples_p", **options) > 0.15


def test_ignoring_shared_ids_is_wrong():
    options = {"seed_sd": 0.0, "shared": 0.4, "correlation": 0.4, "seeds": 1}
    assert rejections("examples", "full", 150, "p", **options) < 0.11
    assert rejections("examples", "full", 150, "p", own_ids=True, **options) > 0.15


@pytest.mark.parametrize(("confidence", "p"), [(0.95, 0.05), (0.9, 0.1), (0.99, 0.01), (0.999, 0.001)])
def test_a_p_of_exactly_the_level_is_not_below_it(confidence, p):
    """1 - 0.95 is above 0.05 in binary, and 1 - 0.9 below 0.1; 999 draws give a p of either."""
    row = dict.fromkeys(COLUMNS) | {"scope": "all", "grouping": "all", "lift": 1.0, "p_margin": p}
    row |= {"examples_se": 0.5, "runs_se": 0.0, "detectable_lift": 1.0}
    at, below = dict(row, p=p), dict(row, p=p - 1e-6)
    settle([at], confidence)
    settle([below], confidence)
    assert (at["conclusion"], below["conclusion"]) == ("not settled", "helped")
    assert alpha(confidence) == p
