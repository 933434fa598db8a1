"""What training added to a probe: known answers, frozen layers, a null simulation; intervals that are never of width 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from stiltsweep.comparing import _verdict
from stiltsweep.probing import gaining, linear
from stiltsweep.probing.table import COLUMNS, Probe


def probe(**values: object) -> Probe:
    about: dict[str, Any] = dict.fromkeys(COLUMNS, 0) | {
        "model": "m",
        "stage": "pretrained",
        "intermediate": "none",
        "training": "",
        "seed": None,
        "task": "t",
        "feature": "Case",
        "pooling": "mean",
        "family": "agglutinative",
        "form_accuracy": None,
    }
    return Probe(**(about | values))


def probes(gains: np.ndarray, *, frozen: float = 50.0) -> list[Probe]:
    """Make a layer that training left alone, and one that gained (runs, languages) points over 60."""
    found = []
    for place, code in enumerate("abcdefgh"[: gains.shape[1]]):
        about = {"language": code, "family": "agglutinative" if place % 2 else "fusional"}
        found += [probe(layer=0, accuracy=frozen, **about), probe(layer=1, accuracy=60.0, **about)]
        for seed, run in enumerate(gains):
            after = {"stage": "intermediate", "intermediate": "i", "seed": seed, **about}
            found += [probe(layer=0, accuracy=frozen, **after), probe(layer=1, accuracy=60.0 + run[place], **after)]
    return found


def test_with_one_run_it_is_a_t_test_over_languages_without_frozen_layers():
    gains = np.array([[1.0, 2.0, 4.0, 3.0, 0.5]])
    found = {row.group: row for row in gaining.mean_gains(probes(gains), 0.95)}
    both = found["all"]
    assert (both.gain, both.layers, both.n_languages, both.n_seeds) == (pytest.approx(2.1), 1, 5, 1)
    exact = stats.ttest_1samp(gains[0], 0.0)
    assert both.p == pytest.approx(exact.pvalue)
    assert (both.ci_low, both.ci_high) == pytest.approx(tuple(exact.confidence_interval(0.95)))
    assert found["agglutinative"].p is None and found["agglutinative"].n_languages == 2
    assert gaining.mean_gains(probes(np.zeros((2, 4))), 0.95) == []


def test_runs_that_differ_widen_the_interval():
    same = np.array([[1.0, 2.0, 3.0, 4.0]] * 3)
    apart = same + np.array([[-3.0], [0.0], [3.0]])
    (alike, *_), (wider, *_) = (gaining.mean_gains(probes(gains), 0.95) for gains in (same, apart))
    assert alike.gain == wider.gain == pytest.approx(2.5)
    widths = []
    for one in (alike, wider):
        assert one.ci_low is not None and one.ci_high is not None
        widths.append(one.ci_high - one.ci_low)
    assert widths[1] > 2.0 * widths[0]


def test_nulls_are_rarely_found():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(2000):
        gains = rng.normal(size=(3, 1)) + rng.normal(size=(1, 8)) + rng.normal(size=(3, 8))
        p = gaining.tested(gains, 0.95)[3]
        hits.append(p is not None and p < 0.05)
    assert 0.02 < np.mean(hits) < 0.08


def test_intervals_have_a_width_where_all_answers_are_alike():
    """Wilson's and Newcombe's intervals as statsmodels has them, over sentences."""
    hits, control = np.ones((1, 40)), np.ones((1, 40))
    sentences, names = np.repeat(np.arange(20), 2), [f"s{i}" for i in range(20)]
    accuracy, selectivity = linear.intervals(hits, control, sentences, names)
    np.testing.assert_allclose(accuracy[0] / 100, proportion_confint(20, 20, method="wilson"), atol=1e-12)
    both = confint_proportions_2indep(20, 20, 20, 20, method="newcomb", compare="diff")
    np.testing.assert_allclose(selectivity[0] / 100, both, atol=1e-12)
    accuracy, _ = linear.intervals(0.0 * hits, control, sentences, names)
    np.testing.assert_allclose(accuracy[0] / 100, proportion_confint(0, 20, method="wilson"), atol=1e-12)


def test_gains_that_are_the_same_but_for_rounding_say_nothing_of_chance() -> None:
    """Three times 0.1 has a mean that is not 0.1: p was 1e-32."""
    for gains in (np.full((1, 3), 0.1), np.full((2, 3), 0.1), np.array([[83.3 - 50.0, 66.6 - 33.3, 43.3 - 10.0]])):
        estimate, *rest = gaining.tested(gains, 0.95)
        assert estimate == pytest.approx(gains[0, 0]) and rest == [None, None, None]


def test_scores_that_are_the_same_but_for_rounding_are_within_seeds() -> None:
    third = 0.1 + 0.2
    assert _verdict([0.3, third], [third, third], third - 0.3, 0.95) == (0.0, "within seeds")
    assert _verdict([50.0, 50.0], [51.0, 51.0], 1.0, 0.95) == (0.0, "beyond seeds")
