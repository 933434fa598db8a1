"""F1 averaged over classes: scikit-learn's, its derivative, and the bootstrap against resampling by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from entries import lines_source
from sklearn.metrics import f1_score
from test_significance_cells import GRID, reading

import synthetic
from stiltsweep import catalog
from stiltsweep.errors import UserError
from stiltsweep.evaluation import _majority
from stiltsweep.files import digest_file, read_json, write_json, write_record
from stiltsweep.metrics import FITTING, METRICS, metric
from stiltsweep.resampling.draws import Counts
from stiltsweep.resampling.strata import stratify
from stiltsweep.significance import influence
from stiltsweep.significance.bootstrap import arm_draws

LABELS = ("a", "b", "c", "never")
NAMES = [("macro_f1", "macro"), ("weighted_f1", "weighted")]


def drawn(rng: np.random.Generator, n: int) -> tuple[list[str], list[str]]:
    gold = rng.choice(LABELS[:3], n, p=[0.7, 0.2, 0.1])
    return gold.tolist(), np.where(rng.random(n) < 0.6, gold, rng.choice(LABELS[:3], n)).tolist()


def counted(name: str, gold: list[str], predicted: list[str]) -> np.ndarray:
    rule = metric(name, LABELS)
    return np.array([rule.statistics({"label": g}, p, "en") for g, p in zip(gold, predicted, strict=True)])


@pytest.mark.parametrize(("name", "average"), NAMES)
def test_it_is_scikit_learns(name: str, average: str) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 50, 300):
        for _ in range(20):
            gold, predicted = drawn(rng, n)
            found = metric(name, LABELS).score(counted(name, gold, predicted).sum(axis=0))
            assert found == pytest.approx(100 * f1_score(gold, predicted, average=average, zero_division=0))


@pytest.mark.parametrize(("name", "average"), NAMES)
def test_the_derivative_is_that_of_the_score(name: str, average: str) -> None:
    rule = metric(name, LABELS)
    assert rule.curve
    sums = counted(name, *drawn(np.random.default_rng(1), 200)).sum(axis=0)
    slope = rule.curve.gradient(sums)
    for at in np.flatnonzero(sums):
        step = np.zeros(len(sums))
        step[at] = 1e-5 * sums[at]
        expected = (rule.score(sums + step) - rule.score(sums - step)) / (2 * step[at])
        assert slope[at] == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert slope @ sums == pytest.approx(0, abs=1e-9)  # as many of everything changes nothing


def write(folder: Path, name: str) -> dict[tuple[str, int, str], tuple[list[str], list[str]]]:
    """Turn the cells of a synthetic sweep into cells of a metric over classes; return their labels."""
    rng = np.random.default_rng(5)
    truth: dict[str, list[str]] = {}
    made = {}
    for path in synthetic.write_sweep(folder, n=90, **GRID):
        cell = read_json(path)
        code = cell["language"]
        truth.setdefault(code, drawn(rng, 90)[0])
        gold = truth[code]
        predicted = np.where(rng.random(90) < 0.6, gold, rng.choice(LABELS[:3], 90)).tolist()
        values = counted(name, gold, predicted)
        columns = {f"{name}.{column}": values[:, i] for i, column in enumerate(metric(name, LABELS).columns)}
        ids = pq.read_table(path.with_suffix(".parquet"))["id"]
        pq.write_table(pa.table({"id": ids, **columns}), path.with_suffix(".parquet"))
        score = 100 * f1_score(gold, predicted, average=name.split("_")[0], zero_division=0)
        digests = cell["digests"] | {"statistics": digest_file(path.with_suffix(".parquet"))}
        write_record(path, cell | {"metric": name, "metrics": {name: score}, "score": score, "digests": digests})
        made[cell["intermediate"], cell["seed"], code] = gold, predicted
    return made


@pytest.mark.parametrize(("name", "average"), NAMES)
def test_the_bootstrap_resamples_it_exactly(tmp_path: Path, name: str, average: str) -> None:
    """Every draw is what scikit-learn says of the drawn examples; contributions have the draws' variance."""
    made = write(tmp_path, name)
    statistics = reading(tmp_path)
    strata = stratify(statistics.ids)
    found = arm_draws(statistics, strata, resamples=400, seed=3, chunk=64)["pairs"]
    (stratum,) = strata
    counts = Counts(3, stratum.digest, len(stratum.ids)).take(400).astype(int)
    for language in (0, 3):
        code = statistics.languages[language]
        for draw in (0, 1, 399):
            scores = []
            for seed in statistics.seeds["pairs"]:
                gold, predicted = (np.repeat(np.array(texts), counts[draw]) for texts in made["pairs", seed, code])
                scores.append(100 * f1_score(gold, predicted, average=average, zero_division=0))
            assert found[language, draw] == pytest.approx(np.mean(scores))
        u = influence.arm(statistics, strata, "pairs").mean[code]
        assert u.sum() == pytest.approx(0, abs=1e-6)
        assert np.sqrt((u**2).sum()) == pytest.approx(found[language].std(), rel=0.25)


def test_the_majority_class() -> None:
    assert _majority([{"label": label} for label in "abbab"]) == 60


def test_every_metric_fits_some_kind_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    assert {name for names in FITTING.values() for name in names} == set(METRICS)
    about: dict[str, Any] = {"kind": "classification", "labels": ["a", "b"], "metrics": ["span_f1"]}
    about |= {"description": "A task of tests.", "licence": "MIT", "source": lines_source(), "languages": {"en": {}}}
    write_json(tmp_path / "target" / "mine.yaml", about)  # JSON is YAML
    with pytest.raises(UserError, match=r"metrics: metric 'span_f1' does not fit .*: accuracy, macro_f1, weighted_f1"):
        catalog.read([tmp_path])
    for name, why in (("pearson_r", "labels that are numbers"), ("spearman", "of ranks")):
        with pytest.raises(UserError, match=why):
            metric(name)
