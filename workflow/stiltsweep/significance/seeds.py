"""The runs' share of the uncertainty: few seeds, shared by all languages, crossed with the examples.

A run (one seed of one arm) is scored on the same examples as every other, so its score varies for two reasons: the
training that the seed stands for, and chance agreement of this training with these examples (the interaction). The
second is in the bootstrap over examples already; counted again it would make three seeds look worse than they are
(resampling both factors of a crossed design overstates the variance: McCullagh 2000, Bernoulli 6:285; Owen 2007, Annals
of Applied Statistics 1:386). So the variance between runs is taken as in the analysis of variance of a crossed design,
mean square between runs less mean square of the interaction, never below zero, and added to the examples' variance.

Drawing the S runs with replacement would understate their variance by 1/S. Rao & Wu (1988, JASA 83:231) rescale such
draws; here the same end is reached by continuous weights: run s of an arm gets the weight 1/S + g_s / sqrt(S (S - 1)),
g standard normal and independent, so that the conditional variance of the mean is the unbiased s^2 / S. Weights that
take few values (draws of 2 out of 3) give a distribution of a handful of points; hence continuous ones, as is advised
for bootstraps over few clusters (Webb 2023, Canadian Journal of Economics 56:839). The variance itself is known from
few runs only, so draws are stretched from normal to Student's t, with Satterthwaite's degrees of freedom (1946,
Biometrics Bulletin 2:110), as in Welch's test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .draws import t_scale

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Component:
    """One set of exchangeable units (the runs of an arm, the languages of a family) in a mean."""

    deviations: Array
    """(units, estimands): multiplied by standard normal draws they give draws of the mean's deviation."""
    variance: Array
    """(estimands,) of the mean, beyond what other components hold."""
    total: Array
    """(estimands,) of the mean, with what other components hold: the degrees of freedom are reckoned from it. Zero
    where nothing is left beyond the others: what is not added cannot be uncertain."""
    degrees: Array
    """(estimands,) units less one."""


def component(values: Array, noise: Array) -> Component:
    """Return the component of a mean over few units.

    Args:
      values: (units, estimands), units at least 2.
      noise: (estimands,) expected share of the units' sample variance that another component holds already.
    """
    units = len(values)
    centred = values - values.mean(axis=0)
    square = (centred**2).sum(axis=0) / (units - 1)
    # Runs that do not vary (an untouched model) differ by rounding alone.
    square = np.where(square < 1e-18, 0.0, square)
    own = np.maximum(0.0, square - noise)
    with np.errstate(invalid="ignore", divide="ignore"):
        shrink = np.where(square > 0.0, np.sqrt(own / square), 0.0)
    deviations = centred * shrink / np.sqrt(units * (units - 1))
    return Component(
        deviations, own / units, np.where(own > 0.0, square / units, 0.0), np.full(len(square), units - 1.0)
    )


def degrees_of_freedom(variance: Array, components: Sequence[Component]) -> Array:
    """Return Satterthwaite's degrees of freedom of a total variance (estimands,); infinite where no unit varies.

    They are at least the fewest of any component; less can only come of systems that answer alike, where the examples'
    variance is smaller than the interaction in it.
    """
    uncertainty, fewest = np.zeros_like(variance), np.full_like(variance, np.inf)
    for part in components:
        uncertainty += part.total**2 / part.degrees
        fewest = np.where(part.total > 0.0, np.minimum(fewest, part.degrees), fewest)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(uncertainty > 0.0, np.maximum(variance**2 / uncertainty, fewest), np.inf)


def stretch(draws: Array, degrees: Array, seed: int) -> Array:
    """Stretch (estimands, resamples) draws from normal to t; each row by its own degrees of freedom."""
    return np.stack([row * t_scale(seed, float(df), len(row)) for row, df in zip(draws, degrees, strict=True)])
