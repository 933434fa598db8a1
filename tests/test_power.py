"""What a sweep can see: against simulation, closed forms, and invariances; and the command."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import synthetic
from stiltsweep.config import resolve
from stiltsweep.power import planning, sources, text
from stiltsweep.power.lineages import stand
from stiltsweep.power.tests import Design, LiftTest, TypesTest, _kept, least, pooled_variance, smallest
from stiltsweep.significance import Settings, Statistics, compare, components, estimands, read, resample
from stiltsweep.significance.components import Components
from stiltsweep.sweep import Sweep

ROOT = Path(__file__).resolve().parents[1]
CODES = ("a", "b", "c", "d")


def parts(**values: float) -> Components:
    return Components(**{**dict.fromkeys(Components.__dataclass_fields__, 0.0), **values})


def test_a_lift_without_runs_variance_is_a_z_test():
    """Runs that differ by nothing leave the textbook's normal power."""
    test = LiftTest(parts(examples_common=400.0), Design(100, 3, 5), 0.05)
    for lift in (0.0, 2.0, 5.6):
        normal = stats.norm.sf(1.959964 - lift / 2.0) + stats.norm.cdf(-1.959964 - lift / 2.0)
        assert test.power(lift) == pytest.approx(normal, abs=1e-6)
    assert smallest(test.power, 0.8) == pytest.approx(2.0 * (1.959964 + 0.841621), abs=2e-3)


def test_a_lift_of_runs_alone_is_a_paired_t_test():
    """Without examples' variance: the power of the t test on differences, a noncentral t."""
    for runs in (3, 6):
        test = LiftTest(parts(runs_common=3.0), Design(1e9, runs, 5), 0.05)
        lift = 4.0
        critical = stats.t.ppf(0.975, runs - 1)
        apart = lift / np.sqrt(3.0 / runs)
        exact = stats.nct.sf(critical, runs - 1, apart) + stats.nct.cdf(-critical, runs - 1, apart)
        assert test.power(lift) == pytest.approx(exact, abs=0.01)


def test_types_are_an_f_test():
    """The power of the one-way analysis of variance, which G*Power prints as 0.8 for f = 0.4, four groups of 18."""
    sizes = (18, 18, 18, 18)
    # f is the standard deviation of the means over that within: one type d above three others has d sqrt(3) / 4.
    difference = 0.4 * 4.0 / np.sqrt(3.0)
    assert TypesTest(sizes, 1.0, 0.05).power(difference) == pytest.approx(0.8, abs=0.02)
    assert TypesTest(sizes, 1.0, 0.05).power(0.0) == pytest.approx(0.05, abs=1e-6)
    assert "too few" in TypesTest((2, 2), 1.0, 0.05).absent
    # XNLI's types: of one, two, eight and three languages.
    assert TypesTest((2, 8, 1, 3), 1.0, 0.05).findable == [0, 1, 3]
    assert TypesTest((2, 8, 1, 3), 1.0, 0.05 / 8).findable == [1, 3]
    assert TypesTest((1, 1, 1), 1.0, 0.05).absent


def test_types_dealt_out_find_what_is_promised():
    """Power of the permutation test of types, by a loop of its own: labels shuffled, and F of each shuffle."""
    sizes, alpha = (5, 1, 4, 2), 0.05 / 8
    test = TypesTest(sizes, 4.0, alpha)
    apart = smallest(test.power, 0.8)
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(4), sizes)
    shuffles = np.array([rng.permutation(labels) for _ in range(2_000)])
    hits = []
    for sweep in range(400):
        chosen = test.findable[sweep % len(test.findable)]
        y = rng.normal(0.0, 2.0, 12) + apart * (labels == chosen)

        def between(deals: np.ndarray, y: np.ndarray = y) -> np.ndarray:
            means = [((deals == kind) * y).sum(axis=1) / size for kind, size in enumerate(sizes)]
            return np.asarray(sum(size * (mean - y.mean()) ** 2 for size, mean in zip(sizes, means, strict=True)))

        p = (1 + np.count_nonzero(between(shuffles) >= between(labels[None])[0] - 1e-9)) / (len(shuffles) + 1)
        hits.append(p < alpha)
    assert np.mean(hits) == pytest.approx(0.8, abs=0.06)  # 0.02 of it is chance
    # The F test alone would find it more often than the labels do.
    assert _kept(sizes, alpha) < 1.0
    assert _kept((12, 12, 12, 12), alpha) == 1.0


def test_variance_of_a_lift_over_several_targets():
    """By hand where every target has the same languages; and what targets with few languages add, and do not."""
    types = dict(zip("abcdef", "xxxyyy", strict=True))
    both = {code: ["s", "t"] for code in types}
    assert pooled_variance({"s": (2.0, 3.0), "t": (2.0, 3.0)}, both, types) == pytest.approx(2.0 + 3.0 / 2)
    # Nothing in common and unequal errors: the better known target counts more.
    assert pooled_variance({"s": (0.0, 1.0), "t": (0.0, 4.0)}, both, types) == pytest.approx(1.0 / (1.0 + 0.25))
    alone = pooled_variance({"s": (2.0, 3.0)}, {code: ["s"] for code in types}, types)
    assert alone == pytest.approx(5.0)
    # A language that is a target's only one is compared with nothing there.
    more = {code: ["s", "t"] if code == "a" else ["s"] for code in types}
    assert pooled_variance({"s": (2.0, 3.0), "t": (2.0, 3.0)}, more, types) == pytest.approx(5.0)
    some = pooled_variance({"s": (2.0, 3.0), "t": (2.0, 3.0)}, {**both, "f": ["s"]}, types)
    assert 3.5 < some < 5.0
    # Each target has one type alone.
    apart = {code: ["s"] if name == "x" else ["t"] for code, name in types.items()}
    never = pooled_variance({"s": (2.0, 3.0), "t": (2.0, 3.0)}, apart, types)
    assert never == np.inf and smallest(TypesTest((3, 3), never, 0.05).power, 0.8) is None
    assert pooled_variance({"s": (0.0, 0.0)}, {code: ["s"] for code in types}, types) == 0.0


def test_lineages_kept_together_find_less() -> None:
    codes = [f"{number:02d}" for number in range(12)]
    types = {code: "xyz"[number % 3] for number, code in enumerate(codes)}
    asked = (["x", "y", "z"], (1.0, 0.5), 4.0, 0.05)
    # Three lineages of each type, of one or two languages: all of an x's languages are found apart as often as not.
    lineages = {code: f"{types[code]}{number // 3 % 3}" for number, code in enumerate(codes)}
    share = stand(types, lineages, *asked)
    assert share is not None and 0.3 < share < 1.0
    # A lineage a language adds nothing, and there is no such test; nor where each type is one lineage.
    assert stand(types, {code: code for code in codes}, *asked) is None
    assert stand(types, types, *asked) is None


def test_more_is_more_power():
    some = parts(examples_own=100.0, agreement_own=500.0, runs_common=2.0, runs_own=3.0, examples_common=50.0)

    def at(**more: Any) -> float:
        return LiftTest(some, dataclasses.replace(Design(100, 3, 8), **more), 0.01).power(3.0)

    assert at(seeds=4) > at()
    assert at(seeds=12, examples=10_000) > at(seeds=12)
    assert at(seeds=12, languages=64) > at(seeds=12)
    assert least(lambda n: at(seeds=n), 0.8, 2, 100) == next(n for n in range(2, 101) if at(seeds=n) >= 0.8)
    assert least(lambda n: 0.0, 0.8, 2, 100) is None


def sweep(seed: int, lift: float, n: int, seeds: int) -> Statistics:
    ids = {code: [f"{i:04d}" for i in range(n)] for code in CODES}
    expected = {(arm, code): 60.0 + lift * (arm == "i") for arm in ("none", "i") for code in CODES}
    answers = synthetic.answers(
        np.random.default_rng([seed, n]), ids, expected, range(seeds), seed_sd=1.0, paired=0.5, steady=0.2
    )
    return synthetic.statistics(answers, ids)


def test_promised_is_had():
    """Components of small sweeps promise the power of larger ones, within what 60 sweeps can tell of it."""
    settings = Settings(resamples=200)
    found = [components.components(resample(sweep(k, 0.0, 60, 3), settings), ["i"]) for k in range(40)]
    known = components.mean([one[0] for one in found if one])
    test = LiftTest(known, Design(120, 4, len(CODES)), 0.05)
    lift = smallest(test.power, 0.8)
    assert lift is not None
    hits = []
    for k in range(60):
        drawn = resample(sweep(1000 + k, lift, 120, 4), settings)
        (row,) = compare(drawn, estimands(CODES, {"family": {"x": list(CODES)}}, "family")[:1])
        hits.append(row["p"] < 0.05)
    assert 0.8 - 0.16 < np.mean(hits) < 0.8 + 0.16


def test_of_the_default_sweep(tmp_path):
    """Before anything has run: packaged variances, every target, the verdict's question first."""
    settings, catalog = resolve(
        {
            "models": ["e5-small"],
            "intermediates": ["none", "reply-choice", "name-typing"],
            "targets": {"intent": ["en", "de", "ru", "fi", "hu", "zh", "vi"]},
        },
        "here",
    )
    made = Sweep({**settings, "results": str(tmp_path / "results"), "seeds": [0, 1, 2, 3]}, catalog)
    found = planning.make(made)
    assert [one.name for one in found.lifts] == ["intent"]
    assert all("config.yaml: topic (accuracy)" in one.source for one in found.lifts)
    assert set(found.types[0].sizes) == {"agglutinative", "fusional", "isolating"}
    seen = found.lifts[0].seen
    assert seen.smallest is not None and seen.single is not None and seen.single <= seen.smallest
    assert all(value is not None and value <= seen.smallest for value in seen.doubled.values())
    page = text.page(found)
    # Two arms on one target are one question about types.
    assert found.types[0].name == "all targets and arms"
    if found.types[0].lineages is not None:
        assert "both do in about" in page
    assert "Worth most here" in page and "nan" not in page
    one = planning.make(Sweep({**made.config, "seeds": [0]}, catalog))
    assert "one seed" in one.lifts[0].absent


def test_lifts_are_corrected_for_all_that_is_tested(tmp_path: Path) -> None:
    """A control's lift is in Holm's family, and in no test of types."""
    settings, catalog = resolve(
        {
            "models": ["e5-small"],
            "intermediates": ["none", "reply-choice", "reply-choice+steps_matched"],
            "targets": {"intent": ["en", "de", "ru", "fi", "hu", "zh", "vi"]},
        },
        "here",
    )
    found = planning.make(Sweep({**settings, "results": str(tmp_path / "results"), "seeds": [0, 1, 2]}, catalog))
    arms, seeds, codes = ("none", "pairs", "pairs+steps_matched"), (0, 1, 2), ("en", "de", "fi")
    synthetic.write_sweep(tmp_path, intermediates=arms, seeds=seeds, languages=codes, n=40)
    statistics = read(tmp_path, "tiny", "intent", intermediates=arms, seeds=seeds, languages=codes)
    asked = estimands(statistics.languages, {"family": {}}, "family")
    rows = compare(resample(statistics, Settings(resamples=200)), asked)
    smallest_p = min((row for row in rows if row["scope"] == "all"), key=lambda row: row["p"])
    assert round(smallest_p["p_holm"] / smallest_p["p"]) == found.lifts[0].tests == 2
    assert found.types[0].tests == 1


def test_packaged_kinds_have_both_rows():
    found, share, source = sources.packaged()
    assert {"classification", "tagging", "span_qa", "retrieval"} <= set(found)
    assert 0.0 <= share <= 1.0 and source == "sweeps/commands.yaml"
    other = sources.anything(found.values())
    assert other.arm.runs_common == pytest.approx(np.mean([one.arm.runs_common for one in found.values()]))


def test_targets_of_one_type_each_have_a_reason(tmp_path: Path) -> None:
    """What is never seen is said why, and not to be seen with more of anything."""
    settings, catalog = resolve(
        {
            "models": ["e5-small"],
            "intermediates": ["none", "reply-choice"],
            "targets": {"intent": ["de", "ru", "es", "el", "pl"], "slots": ["hu", "fi", "tr", "ko", "eu"]},
        },
        "here",
    )
    found = planning.make(Sweep({**settings, "results": str(tmp_path / "results"), "seeds": [0, 1]}, catalog))
    assert found.types[0].seen.smallest is None
    assert "all targets and arms: all languages of a target are of one type, which is not told from" in text.page(found)
