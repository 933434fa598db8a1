"""The runs' share of the uncertainty: few seeds, shared by all languages, crossed with the examples.

A run (one seed of one arm) is scored on the same examples as every other, so its score varies for two reasons: the
training that the seed stands for, and chance agreement of this training with these examples (the interaction). The
second is in the bootstrap over examples already; counted again it would make three seeds look worse than they are
(resampling both factors of a crossed design overstates the variance: McCullagh 2000, Bernoulli 6:285; Owen 2007, Annals
of Applied Statistics 1:386). So the variance between runs is taken as in the analysis of variance of a crossed design,
mean square between runs less mean square of the interaction, and added to the examples' variance. The excess of both
arms together is never below zero; cutting off each arm's by itself would overstate their sum where runs differ by the
interaction alone.

Drawing the S runs with replacement would understate their variance by 1/S. Rao & Wu (1988, JASA 83:231) rescale such
draws; here the same end is reached by continuous weights: run s of an arm gets the weight 1/S + g_s / sqrt(S (S - 1)),
g standard normal and independent, so that the conditional variance of the mean is the unbiased s^2 / S. Weights that
take few values (draws of 2 out of 3) give a distribution of a handful of points; hence continuous ones, as is advised
for bootstraps over few clusters (Webb 2023, Canadian Journal of Economics 56:839). This variance is known from few runs
only, so the runs' draws are stretched from normal to Student's t, with the degrees of freedom of Welch's test (1947,
Biometrika 34:28). His formula estimates squared variances without bias; Satterthwaite's (1946, Biometrics Bulletin
2:110) does not, which with three runs an arm makes too few degrees of freedom. The examples' draws are not stretched:
their variance comes from hundreds. The sum of the two is what Cochran & Cox (1950, Experimental Designs, Wiley) weight
critical values for: each variance goes with its own t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..resampling.draws import t_scale

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """One set of exchangeable units (the runs of an arm, the languages of a family) in a mean."""

    deviations: Array
    """(units, estimands): multiplied by standard normal draws they give draws of the mean's deviation."""
    noise: Array
    """(estimands,) of the mean's variance, what another component holds already."""
    degrees: Array
    """(estimands,) units less one."""

    @property
    def variance(self) -> Array:
        """(estimands,) of the mean, with what the other component holds."""
        return np.asarray((self.deviations**2).sum(axis=0))


def component(values: Array, noise: Array) -> Component:
    """Return the component of a mean over few units.

    Args:
      values: (units, estimands), units at least 2.
      noise: (estimands,) expected share of the units' sample variance that another component holds already.
    """
    units = len(values)
    deviations = (values - values.mean(axis=0)) / np.sqrt(units * (units - 1))
    # Runs that do not vary (an untouched model) differ by rounding alone.
    deviations[np.abs(deviations) < 1e-9] = 0.0
    return Component(deviations, noise / units, np.full(values.shape[1], units - 1.0))


_ROUNDING = 1e-9
"""Share of a variance."""


def lent(of: Component) -> Component:
    """Return the component of the difference between an arm's mean and one run of another arm that varies alike.

    One run shows nothing of its arm's spread, so the arm with several lends its own: the variance of a run is that of
    the mean times their number, and both are the same estimate, on the same degrees of freedom.
    """
    runs = len(of.deviations)
    return Component(of.deviations * np.sqrt(1.0 + runs), of.noise * (1.0 + runs), of.degrees)


@dataclass(frozen=True)
class Excess:
    """What some components add together to the variance that holds their noise."""

    variance: Array
    """(estimands,), never below zero."""
    scale: Array
    """(estimands,) factor from the components' deviations to their excess."""
    degrees: Array
    """(estimands,) Welch's degrees of freedom; infinite where nothing is added."""


def excess(components: Sequence[Component]) -> Excess:
    """Add up the components of one kind: the runs of both arms, or the languages of both groups."""
    total = np.sum([part.variance for part in components], axis=0)
    added = np.maximum(0.0, total - np.sum([part.noise for part in components], axis=0))
    # Runs that differ by their agreement with examples alone (one of them in one example) add nothing; rounding would.
    added[added <= _ROUNDING * total] = 0.0
    # The square of a variance estimated on d degrees of freedom is expected to be (d + 2) / d of the variance's square.
    uncertainty = np.sum([part.variance**2 / (part.degrees + 2.0) for part in components], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(added > 0.0, np.sqrt(added / total), 0.0)
        degrees = np.where(added > 0.0, total**2 / uncertainty - 2.0, np.inf)
    return Excess(added, scale, degrees)


def draw(components: Sequence[Component], multipliers: Sequence[Array], seed: int, kind: str) -> tuple[Array, Excess]:
    """Draw what the components of one kind add.

    Args:
      components: see `excess`.
      multipliers: for each of them (units, resamples) standard normal draws.
      seed, kind: of the draws that stretch normal to t.

    Returns:
      (estimands, resamples) deviations, and what they are draws of.
    """
    added = excess(components)
    spread = np.sum([part.deviations.T @ normal for part, normal in zip(components, multipliers, strict=True)], axis=0)
    scales = [t_scale(seed, kind, float(degrees), spread.shape[1]) for degrees in added.degrees]
    return spread * added.scale[:, None] * np.stack(scales), added
