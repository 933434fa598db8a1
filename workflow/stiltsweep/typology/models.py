"""Types of languages, and numbers about them, as predictors of the lift: fits, tests and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import permutation
from .mixed import Confounded, Fit, fit
from .observations import Observations
from .tables import LANGUAGES, MEAN

Array = NDArray[np.float64]
Row = dict[str, Any]

ESTIMATED = ("estimate", "standard_error", "ci_low", "ci_high")
"""Columns in the unit of an estimate: points, or points for one of a number."""
_FEWEST_DEALS = 20
"""With fewer deals no p can reach 0.05."""


_SINGULAR = 1e-6
"""Least eigenvalue of the lifts' covariance, of its largest variance, that is taken for more than rounding: what is
known a thousand times as well as the rest would weigh for all of it."""

_UNWEIGHED = "resamples and languages give the same lifts, but for what all languages share: they cannot be weighed"
_EXACT = 1e-12
"""Mean square of the weighted residuals below which there are none: what is left is rounding."""
_UNVARIED = "lifts are exactly what types or numbers make of them: nothing is left to tell chance by"
_ALIKE = "within targets languages do not differ in it: it cannot be told from what targets differ in"
_UNTOLD = "the lineages at hand do not tell what varies between lineages from what varies within them"


class Undetermined(Exception):
    """The model does not say how lifts are to be weighed; the text says why."""


@dataclass(frozen=True)
class Settings:
    """How to test."""

    permutations: int = 10_000
    """Random deals where there are more than these."""
    seed: int = 0
    confidence: float = 0.95


@dataclass(frozen=True)
class Problem:
    """Lifts, and what the random effects are."""

    observations: Observations
    random: str
    """See `tables`."""
    lineages: Mapping[str, str]
    """Language -> lineage."""

    @property
    def names(self) -> list[str]:
        """(languages,) lineages."""
        return [self.lineages[code] for code in self.observations.languages]

    @property
    def units(self) -> int:
        """What degrees of freedom are counted in: languages, or lineages where these are a random effect."""
        return len(self.observations.languages) if self.random == LANGUAGES else len(set(self.names))

    @property
    def absent(self) -> str:
        """Why there is nothing to fit with these random effects; empty where there is."""
        languages = len(self.observations.languages)
        if self.random != LANGUAGES:
            if not all(self.names):
                lacking = [c for c, name in zip(self.observations.languages, self.names, strict=True) if not name]
                return f"languages.csv has no genealogy of {' '.join(lacking)}"
            if self.units == languages:
                return f"each of {languages} languages is of a lineage of its own: lineages add nothing to languages"
        return ""

    def fitted(self, X: Array) -> Fit:
        """Fit with (languages, p) regressors, besides an intercept for every block but the last.

        Raises:
          Undetermined: some lifts have no error at all; or targets have other languages each, and leave nothing.
        """
        o = self.observations
        design = np.concatenate([X[o.language], o.intercepts], axis=1)
        lifts, coefficients = design.shape
        if lifts <= coefficients:
            raise Undetermined(f"{lifts} lifts: too few for {coefficients} coefficients, of which each target has one")
        if _rank(design / np.linalg.norm(design, axis=0)) < coefficients:
            raise Undetermined(_ALIKE)
        try:
            fitted = fit(o.y, design, o.S, o.components(None if self.random == LANGUAGES else self.lineages))
        except np.linalg.LinAlgError:
            raise Undetermined(_UNWEIGHED) from None
        except Confounded:
            raise Undetermined(_UNTOLD) from None
        if float(np.linalg.eigvalsh(fitted.V)[0]) < _SINGULAR * float(fitted.V.diagonal().max()):
            raise Undetermined(_UNWEIGHED)
        return fitted

    def told(self, X: Array) -> Fit:
        """Fit as `fitted` does, to test: residuals have to say what chance does.

        Raises:
          Undetermined: see `fitted`; or there are none (few languages whose lifts are counts of few examples can tie).
        """
        fitted = self.fitted(X)
        if self.scaled(fitted) and fitted.knapp_hartung < _EXACT:
            raise Undetermined(_UNVARIED)
        return fitted

    @cached_property
    def null(self) -> Fit:
        """The fit without types or numbers."""
        return self.fitted(np.ones((len(self.observations.languages), 1)))

    def left(self, X: Array, fitted: Fit) -> int:
        """Return the degrees of freedom that (languages, p) regressors leave.

        A target's own mean takes none where every language is in all targets, and one where it is in this one alone.
        """
        return min(self.units - len(X.T), fitted.df)

    def scaled(self, fitted: Fit) -> bool:
        """Whether Knapp and Hartung's factor is used: it is made for one observation a language."""
        return "observation" not in fitted.names


def _rank(columns: Array) -> int:
    """Return the rank of columns of length 1."""
    return int(np.linalg.matrix_rank(columns, tol=1e-6))


def spread(fitted: Fit) -> float:
    """Return tau squared: the variance between languages, their lineages' included, of what blocks have in common."""
    return float(sum(v for name, v in zip(fitted.names, fitted.sigma2, strict=True) if name != "observation"))


def share(fitted: Fit) -> float | None:
    """Return the share of tau squared in the variance of a typical lift, in %; None where a sampling error is 0.

    Of several blocks, what a language has in one alone is in the variance and not in tau squared.
    """
    total = float(fitted.sigma2.sum())
    whole = fitted.heterogeneity
    return whole * spread(fitted) / total if whole and total > 0.0 else whole


@dataclass(frozen=True)
class Typed:
    """A problem with a type for every language."""

    problem: Problem
    types: Mapping[str, str]

    @property
    def labels(self) -> list[str]:
        """(languages,)."""
        return [self.types[code] for code in self.problem.observations.languages]

    @property
    def names(self) -> list[str]:
        """Of the types, sorted."""
        return sorted(set(self.labels))

    @property
    def absent(self) -> str:
        """Why types cannot be compared; empty where they can."""
        if not self.problem.observations.languages:
            return "no language has a lift that differs between resamples"
        if len(self.names) < 2:
            return f"every language is {self.names[0]}: there is no other type to compare with"
        if self.problem.absent:
            return self.problem.absent
        kind = "languages" if self.problem.random == LANGUAGES else "lineages"
        if self.problem.units <= len(self.names):
            return f"{self.problem.units} {kind} of {len(self.names)} types: nothing is left to tell chance by"
        return ""

    def of_type(self, name: str) -> list[str]:
        """Return the languages of a type."""
        pairs = zip(self.problem.observations.languages, self.labels, strict=True)
        return [code for code, label in pairs if label == name]

    @property
    def dummies(self) -> Array:
        """(languages, types)."""
        return np.array([[float(label == name) for name in self.names] for label in self.labels])

    @cached_property
    def fit(self) -> Fit:
        """The fit with types."""
        return self.problem.told(self.dummies)

    @property
    def blocks(self) -> NDArray[np.intp]:
        """(languages,) what a deal moves as one."""
        if self.problem.random == LANGUAGES:
            return np.arange(len(self.labels))
        pairs = [f"{a}\t{b}" for a, b in zip(self.problem.names, self.labels, strict=True)]
        return np.asarray(np.unique(pairs, return_inverse=True)[1])


def omnibus(typed: Typed, settings: Settings) -> Row:
    """Test whether the types differ; the result has the columns of `tables.Omnibus` that do not name the row."""
    from scipy import stats

    problem, o = typed.problem, typed.problem.observations
    row: Row = {
        **dict.fromkeys(("p", "p_holm", "f", "p_f", "tau", "tau_without", "explained", "i2")),
        "status": "n/a",
        "reason": typed.absent,
        "flips": False,
        "permutations": 0,
        "exact": False,
        "df": 0,
        "df_residual": 0,
        "n_types": len(typed.names),
        "n_languages": len(o.languages),
        "n_lineages": len(set(problem.names) - {""}),
        "n_observations": len(o.y),
        "languages": o.languages,
    }
    if typed.absent:
        return row
    kinds = len(typed.names)
    try:
        null, fitted = problem.null, typed.fit
    except Undetermined as error:
        return row | {"reason": str(error)}
    contrasts = np.eye(kinds, fitted.X.shape[1])[1:] - np.eye(kinds, fitted.X.shape[1])[0]
    f = fitted.wald(contrasts, scaled=problem.scaled(fitted))
    df = problem.left(typed.dummies, fitted)
    number = {name: place for place, name in enumerate(typed.names)}
    dealt = permutation.types(
        permutation.Reduced.of(null, o.language),
        [number[label] for label in typed.labels],
        typed.blocks,
        most=settings.permutations,
        seed=settings.seed,
    )
    before, after = spread(null), spread(fitted)
    row |= {
        "status": "ok",
        "p": dealt.p,
        "permutations": dealt.deals,
        "exact": dealt.exact,
        "f": f,
        "df": kinds - 1,
        "df_residual": df,
        "p_f": float(stats.f.sf(f, kinds - 1, df)),
        "tau": math.sqrt(after),
        "tau_without": math.sqrt(before),
        "explained": None if before <= 1e-9 else 100.0 * max(0.0, 1.0 - after / before),
        "i2": share(fitted),
    }
    if dealt.deals < _FEWEST_DEALS:
        reason = f"only {dealt.deals} ways to deal the types out: p cannot be below {1.0 / dealt.deals:.2f}"
        row |= {"status": "n/a", "reason": reason, "p": None}
    return row


def type_terms(typed: Typed, covariate: Mapping[str, float] | None, settings: Settings) -> list[Row]:
    """Return the mean of the types and every type's difference from it.

    Args:
      typed: lifts and types.
      covariate: language -> a number that is held fixed at its mean; None for none.
      settings: see `Settings`.

    Returns:
      Rows with the columns of `tables.Term` that do not name the regression.
    """
    o = typed.problem.observations

    def empty(reason: str) -> list[Row]:
        return [
            _empty(typed.problem) | {"term": name, "languages": _of(typed, name), "reason": reason}
            for name in _names(typed)
        ]

    if typed.absent:
        return empty(typed.absent)
    kinds = len(typed.names)
    columns = [typed.dummies]
    if covariate is not None:
        values = np.array([covariate[code] for code in o.languages])
        columns.append((values - values.mean())[:, None])
    X = np.concatenate(columns, axis=1)
    if reason := _untold(X, typed.problem, "types"):
        return empty(reason)
    try:
        fitted = typed.fit if covariate is None else typed.problem.told(X)
    except Undetermined as error:
        return empty(str(error))
    p = fitted.X.shape[1]
    mean = np.zeros((1, p))
    mean[0, :kinds] = 1.0 / kinds
    df = typed.problem.left(X, fitted)
    level = np.eye(kinds, p)
    rows = [_tested(typed.problem, fitted, mean, mean, df, settings) | {"term": MEAN, "languages": o.languages}]
    # Of the mean it is no question whether it is 0: that is what the first question's tests are for.
    rows[0] |= {"p": None}
    for place, name in enumerate(typed.names):
        row = _tested(typed.problem, fitted, level[[place]] - mean, level[[place]], df, settings)
        row |= {"term": name, "languages": tuple(typed.of_type(name))}
        lineages = {typed.problem.lineages[code] for code in typed.of_type(name)}
        if typed.problem.random != LANGUAGES and len(lineages) == 1:
            why = f"all its languages are {lineages.pop()}: the type cannot be told from the lineage"
            row |= {**_BLANK, "status": "n/a", "reason": why}
        rows.append(row)
    return rows


def slope_terms(
    problem: Problem,
    name: str,
    values: Mapping[str, float],
    covariate: tuple[str, Mapping[str, float]] | None,
    settings: Settings,
) -> Row:
    """Return the slope on a number about languages, as `type_terms` does.

    Args:
      problem: lifts of languages that all have the number.
      name: of the number.
      values: language -> the number.
      covariate: another, by name, that is held fixed; None for none.
      settings: see `Settings`.
    """
    o = problem.observations
    own, unit = _centred(values, o.languages)
    columns = [np.ones(len(own)), own]
    if covariate is not None:
        columns.append(_centred(covariate[1], o.languages)[0])
    X = np.stack(columns, axis=1)
    row = _empty(problem) | {"term": name, "languages": o.languages}
    reason = problem.absent or _untold(X, problem, name)
    if reason:
        return row | {"reason": reason}
    try:
        fitted = problem.told(X)
        null = problem.null if covariate is None and problem.random == LANGUAGES else None
    except Undetermined as error:
        return row | {"reason": str(error)}
    L = np.zeros((1, fitted.X.shape[1]))
    L[0, 1] = 1.0
    row |= _tested(problem, fitted, L, None, problem.left(X, fitted), settings)
    row |= {key: row[key] / unit for key in ESTIMATED}
    if null is not None:
        reduced = permutation.Reduced.of(null, o.language)
        row["p_permutation"] = permutation.number(reduced, own, most=settings.permutations, seed=settings.seed).p
    return row


_SAME = 1e-9
"""Relative: numbers that differ by less are the same but for rounding."""


def _centred(values: Mapping[str, float], languages: tuple[str, ...]) -> tuple[Array, float]:
    """Return (languages,) numbers less their mean, in the unit beside it, so that speakers go as well as millions."""
    numbers = np.array([values[code] for code in languages], dtype=np.float64)
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest == 0.0 or float(np.ptp(numbers / largest)) < _SAME:
        return np.zeros(len(numbers)), 1.0
    numbers /= largest
    numbers -= numbers.mean()
    unit = float(np.abs(numbers).max())
    return numbers / unit, largest * unit


_BLANK: Row = dict.fromkeys(
    (
        *(*ESTIMATED, "p", "p_holm", "p_permutation"),
        *("lift", "lift_low", "lift_high", "prediction_low", "prediction_high"),
    )
)


def _empty(problem: Problem) -> Row:
    o = problem.observations
    counts = {"n_languages": len(o.languages), "n_lineages": len(set(problem.names) - {""})}
    return {**_BLANK, **counts, "status": "n/a", "reason": "", "df": 0, "tau": None}


def _names(typed: Typed) -> list[str]:
    return [MEAN, *typed.names]


def _of(typed: Typed, name: str) -> tuple[str, ...]:
    return typed.problem.observations.languages if name == MEAN else tuple(typed.of_type(name))


def _untold(X: Array, problem: Problem, name: str) -> str:
    """Say why regressors (languages, p) cannot be told apart; empty where they can."""
    if problem.units <= X.shape[1]:
        kind = "languages" if problem.random == LANGUAGES else "lineages"
        return f"{problem.units} {kind}: too few for {X.shape[1]} coefficients"
    norms = np.linalg.norm(X, axis=0)
    if (norms == 0.0).any() or _rank(X / norms) < X.shape[1]:
        return f"{name}: the languages at hand do not tell it from the rest (it is the same in all, or goes with it)"
    if problem.random != LANGUAGES:
        # Between lineages only as much can be told as lineages differ in.
        names = np.unique(problem.names, return_inverse=True)[1]
        means = np.array([X[names == lineage].mean(axis=0) for lineage in range(int(names.max()) + 1)])
        if _rank(means / norms) < X.shape[1]:
            return f"{name}: the lineages at hand do not tell it from the rest"
    return ""


def _tested(problem: Problem, fitted: Fit, L: Array, level: Array | None, df: int, settings: Settings) -> Row:
    """Return the test of one combination L b, and of the level of a type what it is and where another language lies."""
    from scipy import stats

    scaled = problem.scaled(fitted)
    reach = float(stats.t.ppf(0.5 + settings.confidence / 2.0, df))
    (estimate,), ((variance,),) = fitted.combined(L, scaled=scaled)
    error = math.sqrt(variance)
    tau2 = spread(fitted)
    row = _empty(problem) | {
        "status": "ok",
        "estimate": float(estimate),
        "standard_error": error,
        "df": df,
        "ci_low": float(estimate) - reach * error,
        "ci_high": float(estimate) + reach * error,
        "p": float(2.0 * stats.t.sf(abs(estimate) / error, df)) if error > 0.0 else None,
        "tau": math.sqrt(tau2),
    }
    if level is not None:
        (lift,), ((variance,),) = fitted.combined(level, scaled=scaled)
        own, other = reach * math.sqrt(variance), reach * math.sqrt(variance + tau2)
        row |= {"lift": float(lift), "lift_low": float(lift) - own, "lift_high": float(lift) + own}
        row |= {"prediction_low": float(lift) - other, "prediction_high": float(lift) + other}
    return row
