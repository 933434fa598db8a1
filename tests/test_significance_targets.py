"""The mean lift over all targets: against the targets' own tests, brute force, and a null simulation."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

import synthetic
from stiltsweep.significance import Settings, Statistics, compare, estimands, resample, targets
from stiltsweep.significance.analysis import settle

CODES = ("a", "b", "c")
SETTINGS = Settings(resamples=999)


def made(seed: int, *, lift: float = 0.0, name: str = "", n: int = 80, sd: float = 2.0) -> Statistics:
    ids = {code: [f"{name}{i:03d}" for i in range(n)] for code in CODES}
    expected = {(arm, code): 60.0 + lift * (arm == "i") for arm in ("none", "i", "j") for code in CODES}
    answers = synthetic.answers(np.random.default_rng(seed), ids, expected, (0, 1, 2), seed_sd=sd)
    return replace(synthetic.statistics(answers, ids), target=name or "intent")


def document(statistics: Statistics, settings: Settings = SETTINGS) -> dict[str, Any]:
    drawn = resample(statistics, settings)
    rows = compare(drawn, estimands(CODES, {"family": {"x": list(CODES)}}, "family"))
    return {
        "model": statistics.model,
        "target": statistics.target,
        "settings": asdict(settings),
        "rows": rows,
        "targets": targets.parts(drawn, rows),
    }


def row_of(found: dict[str, Any], arm: str = "i") -> dict[str, Any]:
    return next(row for row in found["rows"] if row["scope"] == "all" and row["intermediate"] == arm)


def test_the_mean_of_a_target_and_its_copy_is_the_target():
    """The same examples and runs have the same draws, so nothing is averaged away.

    Of the runs' agreement with examples half is: other targets have other examples.
    """
    one = made(1, lift=4.0)
    documents = [document(one), document(replace(one, target="copy"))]
    mean, *_ = targets.means(documents)
    own = row_of(documents[0])
    assert (mean["target"], mean["scope"], mean["reason"]) == ("all", "targets", "2 targets")
    for name in ("lift", "examples_ci_low", "examples_ci_high", "examples_p", "examples_se", "runs_degrees"):
        assert abs(mean[name] - own[name]) < 1e-5, name
    assert own["runs_se"] <= mean["runs_se"] < 1.5 * own["runs_se"]


def test_examples_of_other_targets_are_drawn_apart():
    documents = [document(made(k, name=f"t{k}")) for k in range(4)]
    mean = targets.means(documents)[0]
    rows = [row_of(found) for found in documents]
    assert abs(mean["lift"] - np.mean([row["lift"] for row in rows])) < 1e-6
    expected = np.sqrt(sum(row["examples_se"] ** 2 for row in rows)) / 4
    assert abs(mean["examples_se"] / expected - 1.0) < 0.1
    assert mean["n_examples"] == 320


def test_arms_without_a_lift_there_are_named():
    documents = [document(made(k, name=f"t{k}")) for k in range(3)]
    del documents[2]["targets"]["j"]
    found = {row["intermediate"]: row for row in targets.means(documents)}
    assert found["j"]["reason"] == "2 targets; without t2" and found["i"]["reason"] == "3 targets"
    settle(list(found.values()), 0.95)
    assert all(row["p_holm"] >= row["p"] and row["conclusion"] for row in found.values())
    assert targets.means(documents[:1]) == []


def test_nulls_are_rarely_found():
    hits = []
    for k in range(20):
        documents = [document(made(100 * k + t, name=f"t{t}", n=50), Settings(resamples=199, seed=k)) for t in range(2)]
        hits += [row["p"] < 0.05 for row in targets.means(documents)]
    assert np.mean(hits) < 0.2


def test_draws_that_leave_a_target_nothing_to_score_count_as_extreme():
    """Four examples of one language hold what is counted: a draw without them is no lift of 0 in that language."""

    def few(number: int) -> Statistics:
        rng = np.random.default_rng(number)
        below = {code: np.where(np.arange(60) < (4 if code == "a" else 60), 2.0, 0.0) for code in CODES}
        values = {
            (arm, s, code): np.stack([below[code] * (rng.random(60) < share), below[code]], axis=1)
            for arm, share in (("none", 0.6), ("i", 0.75))
            for s in (0, 1, 2)
            for code in CODES
        }
        arms = ("none", "i")
        return Statistics(
            model="tiny",
            target=f"t{number}",
            metric="span_f1",
            languages=CODES,
            seeds=dict.fromkeys(arms, (0, 1, 2)),
            held=dict.fromkeys(arms, frozenset(CODES)),
            ids={code: tuple(f"{number}-{i:03d}" for i in range(60)) for code in CODES},
            values=values,
        )

    drawn = [(one := resample(few(number), SETTINGS)).drawn["i"] - one.drawn["none"] for number in (1, 2)]
    (mean,) = targets.means([document(few(number)) for number in (1, 2)])
    draws = np.mean([one.mean(axis=0) for one in drawn], axis=0)  # NaN where a language of either has no value
    lost = int(np.isnan(draws).sum())
    beyond = int((np.abs(draws[~np.isnan(draws)] - mean["lift"]) >= abs(mean["lift"]) - 1e-9).sum())
    assert lost > 10
    assert abs(mean["examples_p"] - (1 + beyond + lost) / 1000) < 1e-9
    assert mean["p"] >= mean["examples_p"]
    assert mean["reason"] == f"2 targets; {lost} of 999 resamples leave nothing to score and count as extreme"
    assert mean["status"] == "ok"
    (none,) = targets.means([document(few(number)) for number in (1, 2, 3, 4)])
    assert none["status"] == "n/a" and none["p"] is None and none["ci_low"] is None and not none["p_fitted"]
    assert none["reason"].endswith("resamples leave nothing to score") and none["lift"] is not None
