"""Languages as units: against metafor, brute force, simulation and invariances."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import synthetic
from stiltsweep import significance
from stiltsweep.catalog import BUILT_IN
from stiltsweep.errors import UserError
from stiltsweep.languages import Languages
from stiltsweep.significance import Joint, Statistics, resample
from stiltsweep.significance.joint import joint
from stiltsweep.typology import Settings, compare_types, levels, permutation, predictors, regress
from stiltsweep.typology.mixed import Confounded, fit
from stiltsweep.typology.models import Problem, Typed, omnibus, slope_terms, type_terms
from stiltsweep.typology.observations import Observations
from stiltsweep.typology.tables import LANGUAGES, LINEAGES

ROOT = Path(__file__).resolve().parents[1]

CODES = ("a", "b", "c", "d")


def sweep(rng: np.random.Generator, *, sd: float, n: int = 120, seeds: int = 5) -> Statistics:
    """Make a sweep of parallel data without lifts, runs of one arm differing alike in all languages."""
    ids = {code: [f"{i:04d}" for i in range(n)] for code in CODES}
    expected = {(arm, code): 60.0 for arm in ("none", "i", "j") for code in CODES}
    return synthetic.statistics(synthetic.answers(rng, ids, expected, range(seeds), seed_sd=sd), ids)


def test_covariance_of_lifts_is_what_sweeps_have():
    """Over many sweeps the lifts vary together as each sweep says they do."""
    rng = np.random.default_rng(3)
    for arms, sd in ((("i",), 0.0), (("i", "j"), 4.0)):
        found = [joint(resample(sweep(rng, sd=sd), significance.Settings(resamples=200)), arms) for _ in range(80)]
        said = np.mean([one.covariance for one in found], axis=0)
        had = np.cov(np.stack([one.lifts for one in found]).T)
        assert np.isclose(np.trace(said), np.trace(had), rtol=0.3), (arms, sd)
        assert np.isclose(said.sum(), had.sum(), rtol=0.45), (arms, sd)
        assert np.linalg.eigvalsh(found[0].covariance)[0] > -1e-9


def test_joint_lifts_read_back():
    one = joint(resample(sweep(np.random.default_rng(0), sd=1.0), significance.Settings(resamples=200)), ("i",))
    again = Joint.read(one.document())
    assert again.languages == CODES
    np.testing.assert_allclose(again.covariance, one.covariance, atol=1e-9)


# metafor 3.8-1 under R 4.2; every number below was printed by the call beside it.

BCG_Y = [-0.889311, -1.585389, -1.348073, -1.441551, -0.217547, -0.786116, -1.620898, 0.011952, -0.469418]
BCG_Y += [-1.371345, -0.339359, 0.445913, -0.017314]
BCG_V = [0.325585, 0.194581, 0.415368, 0.020010, 0.051210, 0.006906, 0.223017, 0.003962, 0.056434, 0.073025]
BCG_V += [0.012412, 0.532506, 0.071405]
LATITUDE = [44, 55, 42, 52, 13, 44, 19, 13, 27, 42, 18, 33, 33]
ALLOCATION = "rrrraarrrssss"  # random, alternate, systematic


def indicators(labels):
    names = sorted(set(labels))
    return np.array([[float(label == name) for name in names] for label in labels])


def close(found, said):
    np.testing.assert_allclose(np.ravel(found), np.ravel(said), rtol=1e-4, atol=2e-6)


def errors(found, *, scaled):
    p = found.X.shape[1]
    return np.sqrt(np.diag(found.combined(np.eye(p), scaled=scaled)[1]))


def test_metafor_bcg_mean_and_slope():
    """dat <- escalc(measure="RR", ai=tpos, bi=tneg, ci=cpos, di=cneg, data=dat.bcg)."""
    y, S = np.array(BCG_Y), np.diag(BCG_V)
    alone = {"study": np.arange(13)}
    # m <- rma(yi, vi, data=dat, test="knha"); m$tau2; m$b; m$se; m$I2; predict(m)
    mean = fit(y, np.ones((13, 1)), S, alone)
    close(
        [*mean.sigma2, *mean.b, *errors(mean, scaled=True), mean.heterogeneity],
        [0.313243, -0.714532, 0.180792, 92.221386],
    )
    reach = stats.t.ppf(0.975, 12) * np.sqrt(errors(mean, scaled=True)[0] ** 2 + mean.sigma2[0])
    close([mean.b[0] - reach, mean.b[0] + reach], [-1.996017, 0.566952])
    # rma(yi, vi, mods=~ablat, data=dat, test="knha")
    slope = fit(y, np.stack([np.ones(13), LATITUDE], axis=1), S, alone)
    close([*slope.sigma2, *slope.b], [0.076355, 0.251464, -0.029102])
    close(errors(slope, scaled=True), [0.283930, 0.008202])
    f = slope.wald(np.array([[0.0, 1.0]]), scaled=True)
    close([f, stats.f.sf(f, 1, 11), slope.heterogeneity], [12.590546, 0.004566, 68.393131])
    close(100 * (1 - slope.sigma2 / mean.sigma2), [75.624478])  # R2


def test_metafor_bcg_types():
    """rma(yi, vi, mods=~alloc-1, test="knha"), and with an intercept for QM."""
    found = fit(np.array(BCG_Y), indicators(ALLOCATION), np.diag(BCG_V), {"study": np.arange(13)})
    close([*found.sigma2, *found.b], [0.361503, -0.517956, -0.965774, -0.428918])
    close(errors(found, scaled=True), [0.421947, 0.255585, 0.329897])
    f = found.wald(np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]]), scaled=True)
    close([f, stats.f.sf(f, 2, 10)], [0.966220, 0.413384])


DISTRICT = np.repeat(np.arange(11), [4, 4, 3, 4, 4, 11, 3, 8, 6, 5, 4])
SCHOOL_Y = """-0.18 -0.22 0.23 -0.3 0.13 -0.26 0.19 0.32 0.45 0.38 0.29 0.16 0.65 0.36 0.6 0.08 0.04 0.19 -0.06 -0.18 0 0
-0.28 -0.04 -0.3 0.07 0 0.05 -0.08 -0.09 0.3 0.98 1.19 -0.07 -0.05 -0.01 0.02 -0.03 0 0.01 -0.1 0.5 0.66 0.2 0 0.05 0.07
-0.52 0.7 -0.03 0.27 -0.34 0.12 0.61 0.04 -0.05"""
SCHOOL_V = """0.118 0.118 0.144 0.144 0.014 0.014 0.015 0.024 0.023 0.043 0.012 0.02 0.004 0.004 0.007 0.019 0.007 0.005 0.004
0.02 0.018 0.019 0.022 0.02 0.021 0.006 0.007 0.007 0.007 0.007 0.015 0.011 0.01 0.001 0.001 0.001 0.001 0.001 0.001 0.001
0.001 0.01 0.011 0.01 0.009 0.013 0.013 0.031 0.031 0.03 0.03 0.03 0.087 0.082 0.067 0.067"""
YEAR = np.repeat([1976, 1989, 1994, 1976, 1997, 1976, 1997, 2000, 1995, 1994], [4, 4, 3, 4, 4, 11, 11, 11, 2, 2])


def test_metafor_schools_in_districts():
    """rma.mv(yi, vi, random=~1|district/school, data=dat.konstantopoulos2011), two nested effects."""
    y, v = np.array(SCHOOL_Y.split(), dtype=float), np.array(SCHOOL_V.split(), dtype=float)
    nested = {"district": DISTRICT, "school": np.arange(56)}
    found = fit(y, np.ones((56, 1)), np.diag(v), nested)
    close(found.sigma2, [0.065061944, 0.032736517])
    close([*found.b, *errors(found, scaled=False), found.log_likelihood], [0.184713, 0.084556, -7.958724])
    # rma.mv(yi, vi, mods=~I(year-mean(year)), random=~1|district/school, test="t")
    slope = fit(y, np.stack([np.ones(56), YEAR - YEAR.mean()], axis=1), np.diag(v), nested)
    close(slope.sigma2, [0.072265591, 0.032650196])
    close([*slope.b, *errors(slope, scaled=False)], [0.178347, 0.005312, 0.089137, 0.009436])


def test_metafor_two_outcomes_with_known_covariance():
    """V <- vcalc(vi=1, cluster=author, rvars=c(v1i,v2i), data=dat.berkey1998).

    rma.mv(yi, V, mods=~outcome-1, random=~1|trial/outcome, data=dat.berkey1998, test="t").
    """
    y = np.array([0.47, -0.32, 0.20, -0.60, 0.40, -0.12, 0.26, -0.31, 0.56, -0.39])
    blocks = [(0.0075, 0.0030, 0.0077), (0.0057, 0.0009, 0.0008), (0.0021, 0.0007, 0.0014)]
    blocks += [(0.0029, 0.0009, 0.0015), (0.0148, 0.0072, 0.0304)]
    V = np.zeros((10, 10))
    for k, (a, b, c) in enumerate(blocks):
        V[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[a, b], [b, c]]
    found = fit(y, indicators(["p", "a"] * 5), V, {"trial": np.repeat(np.arange(5), 2), "outcome": np.arange(10)})
    close(found.sigma2, [0.013236815, 0.011783601])
    close([*found.b, *errors(found, scaled=False)], [-0.337961, 0.363594, 0.078179, 0.078762])


def test_metafor_languages_in_two_targets_with_full_covariance():
    """rma.mv(y, S, mods=~ty-1+tg, random=list(~1|lang,~1|id), test="t", method="REML"), tg in contr.sum."""
    S = np.zeros((12, 12))
    S[:6, :6], S[6:, 6:] = 0.1, 0.2
    np.fill_diagonal(S, [0.5, 0.4, 0.6, 0.5, 0.7, 0.4, 0.9, 0.8, 1.0, 0.9, 0.7, 0.6])
    y = [1.2, 0.4, 2.1, -0.3, -1.1, 0.2, 2.9, 1.6, 3.5, 1.0, 0.1, -0.4]
    blocks = [
        Joint(tuple("abcdef"), np.array(y[:6]), S[:6, :6]),
        Joint(tuple("abcdeg"), np.array(y[6:]), S[6:, 6:]),
    ]
    observed = Observations.of(blocks, "abcdefg")
    assert observed.languages == tuple("abcdefg")
    X = np.concatenate([indicators("xxxyyyy")[observed.language], observed.intercepts], axis=1)
    found = fit(observed.y, X, observed.S, observed.components(None))
    np.testing.assert_allclose(found.sigma2, [0.39751447, 0.0], rtol=1e-4, atol=1e-6)
    close(found.b, [1.855767, -0.063188, -0.548349])
    close(errors(found, scaled=False), [0.543092, 0.500343, 0.349479])
    close(found.log_likelihood, -9.949595)


def test_metafor_slope_with_full_covariance():
    """rma.mv(y2, 0.15+diag(v), mods=~x, random=~1|i, test="t", method="REML"), x centred."""
    x = np.array([1.5, 2.5, 4.5, 4.5, 6.5, 0.5, 2.5, 4.5, 6.5, 8.5])
    y = np.array([0.3, -0.5, 1.9, 0.7, 2.4, -1.0, 1.6, 0.2, 3.3, 1.9])
    S = 0.15 + np.diag([0.3, 0.5, 0.2, 0.6, 0.4, 0.3, 0.8, 0.2, 0.5, 0.4])
    found = fit(y, np.stack([np.ones(10), x - x.mean()], axis=1), S, {"language": np.arange(10)})
    close([*found.sigma2, *found.b, *errors(found, scaled=False)], [0.44785957, 1.034774, 0.418464, 0.483156, 0.121804])
    error, reach = errors(found, scaled=False), stats.t.ppf(0.975, 8)
    close([found.b - reach * error, found.b + reach * error], [-0.079385, 0.137585, 2.148933, 0.699344])


def test_metafor_given_cases():
    """Three sets with the covariance of real and made-up lifts, and what metafor says of them (where the file is)."""
    path = ROOT.parent / "shared" / "cases" / "metafor.json"
    if not path.is_file():
        pytest.skip("the cases are not beside this checkout")
    for name, case in json.loads(path.read_text()).items():
        said, y, S = case["metafor"], np.array(case["lift"]), np.array(case["covariance"])
        X, alone = indicators(case["family"]), {"language": np.arange(len(y))}
        contrasts = np.eye(4)[1:] - np.eye(4)[0]
        types = fit(y, X, S, alone)
        np.testing.assert_allclose(types.sigma2, said["mv_types"]["tau2"], rtol=1e-4, atol=1e-6, err_msg=name)
        close([*types.b, *errors(types, scaled=False)], [*said["mv_types"]["b"], *said["mv_types"]["se"]])
        close(types.log_likelihood, said["mv_types"]["logLik"])
        close(types.wald(contrasts, scaled=False), said["mv_omnibus"]["QM"])
        mean = fit(y, np.ones((len(y), 1)), S, alone)
        reach = stats.t.ppf(0.975, mean.df) * np.sqrt(errors(mean, scaled=False) ** 2 + mean.sigma2)
        close([*mean.sigma2, *mean.b, *(mean.b - reach)], [said["mv_mean"][key] for key in ("tau2", "b", "pi_lb")])
        one = fit(y, X, np.diag(np.diag(S)), alone)
        close(one.wald(contrasts, scaled=True), said["uni_knha"]["QM"])
        if "mv_lineage" in said:
            lineage = np.unique(case["genealogy"], return_inverse=True)[1]
            found = fit(y, X, S, {"lineage": lineage, **alone})
            np.testing.assert_allclose(found.sigma2, said["mv_lineage"]["sigma2"], rtol=1e-4, atol=1e-5)
            close(found.wald(contrasts, scaled=False), said["mv_lineage"]["QM"])


# Permutations.


def brute_force(y, S, labels, tau2):
    """Return the share of all orders of the labels whose generalised sum of squares is as large, by least squares."""
    root = np.linalg.cholesky(np.linalg.inv(S + tau2 * np.eye(len(y)))).T

    def explained(order):
        rest = []
        for X in (np.ones((len(y), 1)), indicators(order)):
            rest.append(np.linalg.lstsq(root @ X, root @ y, rcond=None)[1][0])
        return rest[0] - rest[1]

    orders = sorted(set(itertools.permutations(labels)))
    observed = explained(labels)
    return np.mean([explained(order) >= observed - 1e-9 for order in orders]), len(orders)


def test_permutations_against_all_orders_by_least_squares():
    rng = np.random.default_rng(0)
    for labels in ("aabbc", "aaabbb", "abcc"):
        k = len(labels)
        A = rng.normal(size=(k, k))
        S, y = A @ A.T / k + 0.3 * np.eye(k), rng.normal(size=k) * 2
        null = fit(y, np.ones((k, 1)), S, {"language": np.arange(k)})
        numbers = [sorted(set(labels)).index(label) for label in labels]
        found = permutation.types(permutation.Reduced.of(null, np.arange(k)), numbers, np.arange(k), most=10**4, seed=0)
        p, orders = brute_force(y, S, labels, null.sigma2[0])
        assert (found.p, found.deals, found.exact) == (pytest.approx(p), orders, True)
        drawn = permutation.types(permutation.Reduced.of(null, np.arange(k)), numbers, np.arange(k), most=3, seed=0)
        assert (drawn.deals, drawn.exact) == (4, False)


# What is asked of a sweep.


def documents(lifts, S, languages):
    one = Joint(tuple(languages), np.array(lifts), np.array(S))
    joint = {"arms": {"i": one.document()}, "mean": one.document()}
    return [{"model": "m", "target": "t", "joint": joint}]


def of_targets(held: dict[str, list[str]], seed: int = 0) -> list[dict[str, Any]]:
    """Tests of a model on targets with languages of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for target, codes in held.items():
        lifts = Joint(tuple(codes), rng.normal(1.0, 1.0, len(codes)), 0.05 * np.eye(len(codes)))
        joint = {"arms": {"i": lifts.document()}, "mean": lifts.document()}
        found.append({"model": "m", "target": target, "joint": joint})
    return found


XNLI = ["ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"]
TABLE = Languages.read([BUILT_IN / "languages.csv"])


def rows_of(lifts, languages=XNLI, seed=0):
    found = levels(documents(lifts, 0.2 * np.eye(len(lifts)) + 0.1, languages))
    return compare_types(found, TABLE, "family", Settings(permutations=199, seed=seed))


def one(rows, **names):
    (row,) = [row for row in rows if all(row[key] == value for key, value in names.items())]
    return row


PAIR = {"model": "m", "target": "t", "intermediate": "i", "labelling": "as labelled"}


def test_lifts_that_tie_within_types_say_nothing_of_chance() -> None:
    """Counts of few examples tie; with no residual at all F is whatever rounding makes of 0 / 0, and p is 0."""
    languages = ["de", "fi", "tr"]
    lifts = [-4.0, 2.0, 2.0]
    S = 0.2 * np.eye(3) + 0.1
    found = levels(documents(lifts, S, languages))
    tests, terms = compare_types(found, TABLE, "family", Settings(permutations=199))
    told = one(tests, random=LANGUAGES, **PAIR)
    assert told["status"] == "n/a" and "nothing is left to tell chance by" in told["reason"] and told["p_f"] is None
    reasons = {row["reason"] for row in terms if row["random"] == LANGUAGES and row["labelling"] == "as labelled"}
    assert all("nothing is left to tell chance by" in reason for reason in reasons)
    line = predictors.Predictor("a line", dict(zip(languages, lifts, strict=True)))
    rows = regress(found, TABLE, "family", [line], {}, Settings(permutations=199))
    row = one(rows, random=LANGUAGES, specification="a line", **PAIR)
    assert row["status"] == "n/a" and "nothing is left to tell chance by" in row["reason"]
    # A tie of two among more languages is no such thing.
    wider = levels(documents([-4.0, -3.0, 2.0, 2.0], 0.2 * np.eye(4) + 0.1, ["de", "ru", "fi", "tr"]))
    tests, _ = compare_types(wider, TABLE, "family", Settings(permutations=199))
    f = one(tests, random=LANGUAGES, **PAIR)["f"]
    assert f is not None and 1.0 < f < 1000.0


def test_deals_that_give_a_target_one_type_are_counted() -> None:
    """Of XNLI's and PAN-X's languages some deals make a type what all languages of one target are: nothing new."""
    owners = {"t": ["ar", "de", "vi", "tr"], "u": ["fi", "ru"]}
    made = of_targets(owners, seed=2)
    tests, _ = compare_types(levels(made), TABLE, "family", Settings(permutations=9999))
    pooled = one(tests, random=LANGUAGES, model="m", target="all", intermediate="all", labelling="as labelled")
    assert pooled["status"] == "ok" and pooled["exact"] and pooled["n_languages"] == 6
    # By hand: the residual sum of squares of a least-squares fit of every deal, with the model's own weights.
    problem = Problem(Observations.of([Joint.read(one["joint"]["mean"]) for one in made], dict.fromkeys([*owners["t"], *owners["u"]], "x")),
                      LANGUAGES, {})  # fmt: skip
    null, o = problem.null, problem.observations
    root = np.linalg.cholesky(null.weights).T
    labels = [TABLE.value(code, "family") for code in o.languages]
    left = []
    for deal in sorted(set(itertools.permutations(labels))):
        dummies = np.array([[float(label == name) for name in sorted(set(labels))] for label in deal])
        X = root @ np.concatenate([dummies[o.language], o.intercepts], axis=1)
        left.append(
            (
                float(np.square(root @ o.y - X @ np.linalg.lstsq(X, root @ o.y, rcond=None)[0]).sum()),
                deal == tuple(labels),
            )
        )
    (observed,) = [value for value, own in left if own]
    assert pooled["permutations"] == len(left)
    assert pooled["p"] == pytest.approx(np.mean([value <= observed * (1.0 + 1e-9) for value, _ in left]))
    # Types that go with the targets themselves cannot be told.
    made = of_targets({"t": ["de", "ru", "es"], "u": ["fi", "tr", "hu"]})
    tests, terms = compare_types(levels(made), TABLE, "family", Settings(permutations=199))
    for rows in (tests, terms):
        told = [
            row for row in rows if (row["target"], row["random"], row["labelling"]) == ("all", LANGUAGES, "as labelled")
        ]
        assert told and all(
            row["status"] == "n/a" and "within targets languages do not differ" in row["reason"] for row in told
        )


def test_no_effect_is_found_as_often_as_it_should_be():
    """Lifts of XNLI's languages without any effect of type: no type is found more often than 5% of the time."""
    rng = np.random.default_rng(5)
    types = {code: TABLE.value(code, "family") for code in XNLI}
    lineages = {code: TABLE.value(code, "genealogy") for code in XNLI}
    hits = {"p": 0, "p_f": 0, "introflexive": 0, "fusional": 0, "kept": 0}
    repeats, settings = 80, Settings(permutations=199)
    for _ in range(repeats):
        lifts = rng.normal(0.0, 2.0, 14) + rng.normal(0.0, 1.0)
        observed = Observations.of([Joint(tuple(XNLI), lifts, 0.2 * np.eye(14) + 0.1)], types)
        alone, kept = (Typed(Problem(observed, random, lineages), types) for random in (LANGUAGES, LINEAGES))
        found = omnibus(alone, settings)
        hits["p"] += found["p"] < 0.05
        hits["p_f"] += found["p_f"] < 0.05
        hits["kept"] += omnibus(kept, settings)["p"] < 0.05
        for row in type_terms(alone, None, settings):
            if row["term"] in hits:
                hits[row["term"]] += row["p"] < 0.05
    assert max(hits.values()) < stats.binom.ppf(0.9995, repeats, 0.05), hits


def test_a_type_within_one_lineage_is_not_told_from_it():
    _, terms = rows_of(np.random.default_rng(0).normal(size=14))
    for name, lineage in (("introflexive", "Afro-Asiatic"), ("fusional", "Indo-European")):
        row = one(terms, random="lineages+languages", term=name, **PAIR)
        assert (row["status"], row["p"], row["estimate"]) == ("n/a", None, None)
        assert lineage in row["reason"]
    assert one(terms, random="lineages+languages", term="isolating", **PAIR)["p"] is not None


def test_a_planted_difference_is_found_and_put_where_it_is():
    types = [TABLE.value(code, "family") for code in XNLI]
    lifts = [6.0 * (kind == "isolating") + 1.2 * (i % 3) for i, kind in enumerate(types)]
    tests, terms = rows_of(lifts)
    assert one(tests, random="languages", **PAIR)["p_holm"] < 0.05
    found = {row["term"]: row for row in terms if row["random"] == "languages" and row["target"] == "t"
             and row["intermediate"] == "i" and row["labelling"] == "as labelled"}  # fmt: skip
    assert found["isolating"]["ci_low"] > 2.0
    assert found["isolating"]["lift"] == pytest.approx(7.0, abs=1.2)
    assert found["isolating"]["prediction_low"] < found["isolating"]["lift_low"] - 0.1
    means = [found[kind]["lift"] for kind in set(types)]
    assert found["mean"]["lift"] == pytest.approx(np.mean(means))
    assert found["isolating"]["estimate"] == pytest.approx(found["isolating"]["lift"] - np.mean(means))


def test_what_cannot_be_asked_says_why():
    for languages, why in (("fi hu tr", "every language is agglutinative"), ("fi de", "nothing is left")):
        tests, terms = rows_of([0.0] * len(languages.split()), languages.split())
        assert {row["status"] for row in tests + terms} == {"n/a"}
        assert all(row["reason"] for row in tests + terms)
        assert why in one(tests, random="languages", **PAIR)["reason"]
    few, _ = rows_of([0.1, 0.2, 1.0, 1.4], ["fi", "tr", "de", "ar"])
    assert "ways to deal" in one(few, random="languages", **PAIR)["reason"] or few[0]["p"] is None


def test_lifts_without_any_error():
    """A target that every run solves whole is left out of what is pooled; a language of it that does not weigh is named."""
    rng = np.random.default_rng(3)
    types, lineages = ({code: TABLE.value(code, column) for code in XNLI} for column in ("family", "genealogy"))
    usual = Joint(tuple(XNLI), rng.normal(size=14), 0.2 * np.eye(14) + 0.1)
    solved = Joint(tuple(XNLI), np.zeros(14), np.zeros((14, 14)))
    alone = Typed(Problem(Observations.of([solved], types), LANGUAGES, lineages), types)
    found = omnibus(alone, Settings(permutations=199))
    assert (found["status"], found["n_languages"]) == ("n/a", 0)
    assert found["reason"] == "no language has a lift that differs between resamples"
    assert {row["reason"] for row in type_terms(alone, None, Settings())} == {found["reason"]}
    both, one_alone = (
        omnibus(Typed(Problem(Observations.of(blocks, types), LANGUAGES, lineages), types), Settings(permutations=199))
        for blocks in ([usual, solved], [usual])
    )
    assert both == one_alone
    # Lifts of two languages are exact: they weigh as the surest of the others, and all languages are compared.
    lifts = rng.normal(size=14)
    errors = np.diag([0.0, 0.0, 0.2, *[0.4] * 11])
    exact, least = (
        omnibus(
            Typed(Problem(Observations.of([Joint(tuple(XNLI), lifts, S)], types), LANGUAGES, lineages), types),
            Settings(permutations=199),
        )
        for S in (errors, np.diag([0.2, 0.2, 0.2, *[0.4] * 11]))
    )
    assert exact == least
    assert exact["status"] == "ok"
    # Errors that all languages share, and lifts that differ by nothing: there are no weights.
    shared = Observations.of([Joint(tuple(XNLI), np.ones(14), np.full((14, 14), 0.2))], types)
    found = omnibus(Typed(Problem(shared, LANGUAGES, lineages), types), Settings(permutations=199))
    assert (found["status"], found["reason"].startswith("resamples and languages give the same lifts")) == ("n/a", True)
    sizes = {code: float(number) for number, code in enumerate(XNLI)}
    row = slope_terms(Problem(shared, LANGUAGES, lineages), "number", sizes, None, Settings())
    assert (row["status"], row["reason"]) == ("n/a", found["reason"])


def test_components_that_any_split_fits_are_refused():
    """Eight languages of seven lineages in four types, of which two are one of the two related languages' alone."""
    types = dict(zip("abcdefgh", "12334444", strict=True))
    lineages = dict(zip("abcdefgh", "11345678", strict=True))
    rng = np.random.default_rng(1)
    S, y = 0.3 * np.eye(8) + 0.2, rng.normal(size=8)
    X = np.eye(4)[[int(types[code]) - 1 for code in "abcdefgh"]]
    related = np.array([[float(lineages[a] == lineages[b]) for b in "abcdefgh"] for a in "abcdefgh"])

    def likelihood(of_lineages: float, of_languages: float) -> float:
        V = S + of_lineages * related + of_languages * np.eye(8)
        W = np.linalg.inv(V)
        P = W - W @ X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W
        dets = [np.linalg.slogdet(matrix)[1] for matrix in (V, X.T @ W @ X)]
        return float(-0.5 * (sum(dets) + y @ P @ y))

    assert likelihood(0.5, 0.1) == pytest.approx(likelihood(0.1, 0.5), abs=1e-12)
    observed = Observations.of([Joint(tuple("abcdefgh"), y, S)], types)
    typed = Typed(Problem(observed, LINEAGES, lineages), types)
    with pytest.raises(Confounded):
        fit(y, X, S, observed.components(lineages))
    found = omnibus(typed, Settings(permutations=199))
    assert (found["status"], found["p"], "do not tell" in found["reason"]) == ("n/a", None, True)
    assert {row["status"] for row in type_terms(typed, None, Settings())} == {"n/a"}
    # Without types the related languages are told from the others.
    assert fit(y, np.ones((8, 1)), S, observed.components(lineages)).names == ("lineage", "language")


def test_the_highest_likelihood_is_where_its_slope_is_zero():
    """Several blocks, lineages and languages, by the slope that differences of the likelihood show."""
    rng = np.random.default_rng(4)
    codes, lineages = "abcdefghij", dict(zip("abcdefghij", "0011223344", strict=True))
    own = rng.normal(size=10) + np.repeat(rng.normal(size=5), 2)
    blocks = [Joint(tuple(codes), own + rng.normal(size=10), 0.2 * np.eye(10) + 0.1) for _ in range(4)]
    o = Observations.of(blocks, codes)
    X = np.concatenate([np.ones((40, 1)), o.intercepts], axis=1)
    found = fit(o.y, X, o.S, o.components(lineages))
    assert (found.sigma2 > 0.0).all()
    K = np.linalg.qr(X, mode="complete")[0][:, X.shape[1] :]
    parts = [K.T @ np.eye(int(at.max()) + 1)[at] for at in o.components(lineages).values()]

    def likelihood(sigma2: np.ndarray) -> float:
        V = K.T @ o.S @ K + sum(s * part @ part.T for s, part in zip(sigma2, parts, strict=True))
        return -0.5 * float(np.linalg.slogdet(V)[1] + (K.T @ o.y) @ np.linalg.solve(V, K.T @ o.y))

    for k, s in enumerate(found.sigma2):
        step = np.eye(3)[k] * s * 1e-4
        slope = (likelihood(found.sigma2 + step) - likelihood(found.sigma2 - step)) / 2e-4
        assert slope == pytest.approx(0.0, abs=1e-7)


def test_a_column_of_ones_own_is_a_predictor(tmp_path: Path) -> None:
    """Numbers are those of the column, by its name, for the languages that have one; Grambank's are there anyway."""
    own = tmp_path / "languages.csv"
    own.write_text("language,name,distance\nde,German,0.25\nfi,Finnish,\nzh,,1e-1\n", encoding="utf-8")
    table = Languages.read([BUILT_IN / "languages.csv", own])
    found = {one.name: one.values("m") for one in predictors.of_languages(table, ["distance", "cc100_gib"])}
    assert found["distance"] == {"de": 0.25, "zh": 0.1}
    assert found["cc100_gib"]["de"] == 66.6
    # Read off the authors' table by hand: Mandarin 0.04918, Finnish 0.36885, Polish 0.56557; German has no score.
    fusion = found["fusion (Grambank)"]
    assert (fusion["zh"], fusion["fi"], fusion["pl"]) == (0.049, 0.369, 0.566) and "de" not in fusion
    assert [one.name for one in predictors.of_languages(table, ["grambank_fusion"])].count("fusion (Grambank)") == 1
    own.write_text("language,distance\nde,near\n", encoding="utf-8")
    for text in ("near", "1,5", "1e400", "nan", "5%", "1_000", "1 000", "-inf", "0x10"):
        own.write_text(f'language,distance\nde,"{text}"\n', encoding="utf-8")
        with pytest.raises(UserError, match=f"'distance' of languages.csv has '{text}' for 'de', which is no number"):
            Languages.read([own]).numbers("distance")


@pytest.mark.parametrize("unit", [1e-300, 1e-9, 1e-3, 1.0, 1e9, 1e20, 1e300])
def test_a_predictor_has_any_unit(unit: float) -> None:
    """Speakers or shares, and numbers no one would write: the test is the same, and the slope is never written as 0."""
    rng = np.random.default_rng(0)
    lifts, numbers = rng.normal(1.0, 1.0, len(XNLI)), rng.normal(5.0, 1.0, len(XNLI))
    found = levels(documents(list(lifts), 0.05 * np.eye(len(XNLI)), XNLI))
    own = [predictors.Predictor("own", dict(zip(XNLI, unit * numbers, strict=True)))]
    for specification in ("own", "own + log10 size in CC-100"):
        for random in (LANGUAGES, LINEAGES):
            plain = [predictors.Predictor("own", dict(zip(XNLI, numbers, strict=True)))]
            row, known = (
                one(
                    regress(found, TABLE, "family", said, predictors.sizes(TABLE, {"m": "cc100"}), Settings(99)),
                    random=random,
                    specification=specification,
                    **PAIR,
                )
                for said in (own, plain)
            )
            assert row["status"] == "ok" and row["p"] == pytest.approx(known["p"], abs=1e-7)
            assert row["p_permutation"] == known["p_permutation"]
            for name in ("estimate", "standard_error", "ci_low", "ci_high"):
                assert row[name] * unit == pytest.approx(known[name], rel=1e-4), name


def test_a_predictor_that_is_the_same_but_for_rounding_is_refused() -> None:
    """0.1 in every language has a mean that is not 0.1, and what is left of it is no number about languages."""
    lifts = list(np.random.default_rng(0).normal(1.0, 1.0, len(XNLI)))
    found = levels(documents(lifts, 0.05 * np.eye(len(XNLI)), XNLI))
    own = [predictors.Predictor(f"{v}", dict.fromkeys(XNLI, v)) for v in (0.1, 0.7, 1e9 + 0.3, 0.0)]
    for row in regress(found, TABLE, "family", own, {}, Settings(permutations=99)):
        assert row["status"] == "n/a" and ("do not tell it" in row["reason"] or "lineage" in row["reason"])


def test_a_small_p_is_not_written_as_0() -> None:
    codes = list(TABLE.rows)[:40]
    numbers = np.arange(40.0)
    lifts = list(numbers + 1e-3 * np.random.default_rng(0).normal(size=40))
    rows = regress(
        levels(documents(lifts, 1e-6 * np.eye(40), codes)),
        TABLE,
        "family",
        [predictors.Predictor("own", dict(zip(codes, numbers, strict=True)))],
        {},
        Settings(permutations=99),
    )
    row = one(rows, random=LANGUAGES, specification="own", **PAIR)
    assert 0.0 < row["p"] < 1e-20 and 0.0 < row["p_holm"] < 1e-20


def test_predictors_of_one_name_are_told_apart() -> None:
    """A user's column may be called what a predictor is shown as, and what stands between two in a regression's name."""
    lifts = list(np.random.default_rng(0).normal(1.0, 1.0, len(XNLI)))
    found = levels(documents(lifts, 0.05 * np.eye(len(XNLI)), XNLI))
    numbers = [
        predictors.Predictor(name, {code: float(i) for i, code in enumerate(XNLI)})
        for name in ("Latin script", "types", "a + b")
    ]
    named = predictors.apart([*numbers, *predictors.of_languages(TABLE)], ["types"])
    assert [one.name for one in named][:3] == ["Latin script (column)", "types (column)", "a + b"]
    rows = regress(found, TABLE, "family", named, {}, Settings(permutations=99))
    alone = [row for row in rows if row["random"] == LANGUAGES and row["target"] == "t" and row["intermediate"] == "i"]
    # All are corrected together, since none stands beside another.
    assert max(row["p_holm"] for row in alone if row["p"]) <= 1.0
    smallest = min((row for row in alone if row["p"] is not None), key=lambda row: row["p"])
    assert smallest["p_holm"] == pytest.approx(min(1.0, smallest["p"] * sum(r["p"] is not None for r in alone)))


def test_slope_on_a_number_is_found():
    """Lift made of the size of the model's own corpus alone."""
    sizes = predictors.sizes(TABLE, {"m": "cc100"})
    codes = [code for code in XNLI if code in sizes["m"].values("m")]
    lifts = [3.0 * sizes["m"].values("m")[code] + 0.05 * (i % 4) for i, code in enumerate(codes)]
    found = levels(documents(lifts, 0.05 * np.eye(len(codes)), codes))
    numbers = [*predictors.of_languages(TABLE), predictors.Predictor("constant", dict.fromkeys(codes, 1.0))]
    rows = regress(found, TABLE, "family", numbers, sizes, Settings(permutations=999))
    row = one(rows, random="languages", specification="log10 size in CC-100", **PAIR)
    assert row["estimate"] == pytest.approx(3.0, abs=0.1)
    assert row["p"] < 0.001 and row["p_permutation"] <= 0.002
    constant = one(rows, random="languages", specification="constant", **PAIR)
    assert constant["status"] == "n/a" and "do not tell it" in constant["reason"]
    latin = one(rows, random="languages", specification="Latin script", **PAIR)
    assert latin["status"] == "ok" and latin["n_languages"] == len(codes) and latin["p"] > 0.01
    kinds = [row for row in rows if row["specification"] == "types + log10 size in CC-100" and row["random"] == "languages"
             and row["target"] == "t" and row["intermediate"] == "i"]  # fmt: skip
    assert all(abs(row["estimate"]) < 0.3 for row in kinds if row["term"] != "mean")


@pytest.mark.parametrize(
    "held",
    [
        {"s": ["de", "ru", "es", "el"], "t": ["hu", "fi", "tr", "ko"]},
        {"s": ["de"], "t": ["fi"], "u": ["ru"]},
        {"s": ["de", "es", "fi", "hu"], "t": ["ru"]},
    ],
    ids=["a type each", "a language each", "another script"],
)
def test_targets_that_do_not_share_languages_have_reasons(held: dict[str, list[str]]) -> None:
    """Every target has a mean of its own: what differs between targets alone is not told from it."""
    found = levels(of_targets(held))
    tests, terms = compare_types(found, TABLE, "family", Settings(permutations=99))
    sizes = predictors.sizes(TABLE, {"m": "cc100"})
    terms += regress(found, TABLE, "family", predictors.of_languages(TABLE), sizes, Settings(permutations=99))
    for row in [*tests, *terms]:
        assert (row["status"] == "ok") == (not row["reason"])
        if row["status"] == "ok" and row["target"] == "all" and "df_residual" in row:
            codes = row["languages"].split()
            had = [[code for code in codes if code in own] for own in held.values()]
            assert row["df_residual"] <= sum(map(len, had)) - sum(map(bool, had)) - 1
    if len(held) == 2 and len(held["t"]) == 4:
        row = one(tests, model="m", target="all", intermediate="all", random="languages", labelling="as labelled")
        assert "within targets languages do not differ" in row["reason"]


def test_deals_that_targets_explain_explain_nothing() -> None:
    """Some deals give every target one type: what they explain is 0, whatever rounding makes of 0 / 0."""
    held = {"s": ["de", "fi", "es", "hu"], "t": ["ru", "tr", "el", "ko"]}
    observed = Observations.of([Joint.read(one["joint"]["mean"]) for one in of_targets(held)], held["s"] + held["t"])
    problem = Problem(observed, LANGUAGES, {})
    reduced = permutation.Reduced.of(problem.null, observed.language)
    within = np.array([code in held["s"] for code in observed.languages], dtype=np.float64)
    other = np.array([code in ("de", "fi", "ru", "tr") for code in observed.languages], dtype=np.float64)
    confounded, told = reduced.explained(np.stack([within, other], axis=1)[:, None, :])
    assert confounded == 0.0
    assert told == pytest.approx(reduced.explained(other[:, None, None])[0]) and told > 0.0


@pytest.mark.parametrize("between", [0.0, 2.0])
def test_i2_of_several_targets_is_the_share_of_tau_squared_alone(between: float) -> None:
    """With independent errors of one variance a typical lift's variance is tau squared, the target's own part, and it."""
    rng = np.random.default_rng(3)
    codes = tuple("abcdefghij")
    types = {code: "xy"[place % 2] for place, code in enumerate(codes)}
    common = rng.normal(0.0, between, 10)
    blocks = [Joint(codes, common + rng.normal(0.0, 2.0, 10), 0.25 * np.eye(10)) for _ in range(3)]
    typed = Typed(Problem(Observations.of(blocks, types), LANGUAGES, dict(zip(codes, codes, strict=True))), types)
    found = omnibus(typed, Settings(permutations=199))
    (tau2, own) = typed.fit.sigma2
    assert own > 1.0 and found["tau"] == pytest.approx(np.sqrt(tau2))
    assert found["i2"] == pytest.approx(100.0 * tau2 / (tau2 + own + 0.25))
    assert (found["i2"] == 0.0) == (found["tau"] == 0.0) == (between == 0.0)


def test_a_language_with_too_many_draws_of_nothing_is_not_in_the_tests_of_types() -> None:
    """Two examples hold all that is counted in it: lift.csv has no test of it, and few draws have a value in all."""
    codes = tuple(f"l{place:02d}" for place in range(12))
    rng = np.random.default_rng(0)
    counted = {code: np.where(np.arange(60) < (2 if place < 9 else 60), 2.0, 0.0) for place, code in enumerate(codes)}
    values = {
        (arm, seed, code): np.stack([counted[code] * (rng.random(60) < 0.6), counted[code]], axis=1)
        for arm in ("none", "i")
        for seed in (0, 1, 2)
        for code in codes
    }
    held = dict.fromkeys(("none", "i"), frozenset(codes))
    ids = {code: tuple(f"{code}-{i:02d}" for i in range(60)) for code in codes}
    seeds = dict.fromkeys(held, (0, 1, 2))
    sparse = Statistics("tiny", "t", "span_f1", codes, seeds, held, ids, values)
    drawn = resample(sparse, significance.Settings(resamples=400))
    asked = significance.estimands(codes, {"family": {"x": list(codes)}}, "family")
    rows = [row for row in significance.compare(drawn, asked) if row["scope"] == "language"]
    assert joint(drawn, ["i"]).languages == tuple(row["group"] for row in rows if row["status"] == "ok") == codes[9:]
    everything = (drawn.drawn["i"] - drawn.drawn["none"])[9:]
    together = joint(resample(sparse, significance.Settings(resamples=400, resampling="examples")), ["i"])
    np.testing.assert_allclose(together.covariance, np.cov(everything))
