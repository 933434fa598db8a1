"""Languages as units: against metafor, brute force, simulation and invariances."""

from __future__ import annotations

import numpy as np

import synthetic
from stiltsweep.significance import Joint, Settings, joint, resample

CODES = ("a", "b", "c", "d")


def sweep(rng: np.random.Generator, *, sd: float, n: int = 120, seeds: int = 5) -> synthetic.Statistics:
    """Make a sweep of parallel data without lifts, runs of one arm differing alike in all languages."""
    ids = {code: [f"{i:04d}" for i in range(n)] for code in CODES}
    expected = {(arm, code): 60.0 for arm in ("none", "i", "j") for code in CODES}
    return synthetic.statistics(synthetic.answers(rng, ids, expected, range(seeds), seed_sd=sd), ids)


def test_covariance_of_lifts_is_what_sweeps_have():
    """Over many sweeps the lifts vary together as each sweep says they do."""
    rng = np.random.default_rng(3)
    for arms, sd in ((("i",), 0.0), (("i",), 4.0), (("i", "j"), 4.0)):
        found = [joint(resample(sweep(rng, sd=sd), Settings(resamples=200)), arms) for _ in range(150)]
        said = np.mean([one.covariance for one in found], axis=0)
        had = np.cov(np.stack([one.lifts for one in found]).T)
        assert np.isclose(np.trace(said), np.trace(had), rtol=0.25), (arms, sd)
        assert np.isclose(said.sum(), had.sum(), rtol=0.35), (arms, sd)
        assert np.linalg.eigvalsh(found[0].covariance)[0] > -1e-9


def test_joint_lifts_read_back():
    one = joint(resample(sweep(np.random.default_rng(0), sd=1.0), Settings(resamples=200)), ("i",))
    again = Joint.read(one.document())
    assert again.languages == CODES
    np.testing.assert_allclose(again.covariance, one.covariance, atol=1e-9)
