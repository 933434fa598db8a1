"""Lift per language regressed on family, with what family is confounded with.

Families go with genealogy, script and the amount of pre-training text. A ladder of models adds these covariates one by
one, and a second one what was measured of the model itself (tokens per word, what a probe finds in it), over all
targets and intermediates of a model, each pair of these with its own intercept; standard errors are clustered by
genealogy (languages of one lineage are not independent), with t on the number of lineages less one.
With a dozen languages this describes; it does not prove. Clustered errors over few lineages are too small (Cameron &
Miller 2015, Journal of Human Resources 50:317).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..languages import Languages

Array = NDArray[np.float64]
Row = dict[str, Any]

COLUMNS = (
    *("model", "specification", "term", "coefficient", "standard_error", "ci_low", "ci_high", "p", "reference"),
    *("r_squared", "n_rows", "n_languages", "n_clusters", "reason"),
)
"""The columns of regression.csv; coefficients in points of lift."""

FERTILITY, PROBE = "fertility", "probe accuracy"
"""Covariates that are measured, of a model in a language."""
_LADDER = ("log10 tokens", "Latin script", "Indo-European")
_SPECIFICATIONS = (*(_LADDER[:n] for n in range(len(_LADDER) + 1)), ("log10 tokens", FERTILITY), (_LADDER[0], PROBE))
_TOKENS, _SCRIPT, _GENEALOGY = "mc4_tokens_billion", "script", "genealogy"
_MIN_CLUSTERS = 3

Measured = Mapping[str, Mapping[tuple[str, str], float]]
"""Covariate (`FERTILITY`, `PROBE`) -> (model, language) -> value."""


def fit(
    rows: Sequence[Row], table: Languages, grouping: str, confidence: float = 0.95, measured: Measured | None = None
) -> list[Row]:
    """Fit the ladder for every model.

    Args:
      rows: the sweep's comparisons; those of single languages are used.
      table: the languages, with the columns of the covariates.
      grouping: the column of families.
      confidence: level of the intervals.
      measured: covariates that were measured; a regression with one of them is over the languages that have it.

    Returns:
      One row per model, specification and term, with the keys of `COLUMNS`; a specification that the languages at hand
      cannot tell from a smaller one has no coefficients and says so in `reason`.
    """
    if any(column not in table.columns for column in (_TOKENS, _SCRIPT, _GENEALOGY)):
        return []
    measured = measured or {}
    covariates: dict[str, Callable[[Row], float | None]] = {
        "log10 tokens": lambda row: math.log10(float(table.value(row["group"], _TOKENS))),
        "Latin script": lambda row: float(table.value(row["group"], _SCRIPT) == "Latn"),
        "Indo-European": lambda row: float(table.value(row["group"], _GENEALOGY) == "Indo-European"),
        FERTILITY: lambda row: measured[FERTILITY].get((row["model"], row["group"])),
        PROBE: lambda row: measured[PROBE].get((row["model"], row["group"])),
    }
    found: list[Row] = []
    for model in sorted({row["model"] for row in rows}):
        used = [
            row
            for row in rows
            if row["model"] == model
            and row["scope"] == "language"
            and row["lift"] is not None
            and table.value(row["group"], grouping)
            and table.value(row["group"], _TOKENS)
        ]
        for names in _SPECIFICATIONS:
            if measured.keys() >= {FERTILITY, PROBE}.intersection(names):
                terms = {name: covariates[name] for name in names}
                found += _fit_one(model, used, table, grouping, terms, confidence)
    return found


def _fit_one(
    model: str,
    rows: Sequence[Row],
    table: Languages,
    grouping: str,
    covariates: Mapping[str, Callable[[Row], float | None]],
    confidence: float,
) -> list[Row]:
    # statsmodels takes seconds to import, and only this function needs it.
    import statsmodels.api as sm

    values = {name: [of(row) for row in rows] for name, of in covariates.items()}
    known = [i for i in range(len(rows)) if all(column[i] is not None for column in values.values())]
    rows = [rows[i] for i in known]
    languages = [row["group"] for row in rows]
    lineages = [table.value(code, _GENEALOGY) for code in languages]
    families = [table.value(code, grouping) for code in languages]
    about: Row = dict.fromkeys(COLUMNS) | {
        "model": model,
        "specification": " + ".join(["family", *covariates]),
        "n_rows": len(rows),
        "n_languages": len(set(languages)),
        "n_clusters": len(set(lineages)),
        "reason": "",
    }
    if len(set(families)) < 2 or about["n_clusters"] < _MIN_CLUSTERS:
        few = f"{len(set(families))} families, {about['n_clusters']} lineages: too few to compare"
        return [about | {"reason": few}]
    # The family with the most languages is what the others are compared with.
    sizes = Counter(family for _, family in sorted(set(zip(languages, families, strict=True))))
    reference = max(sorted(sizes), key=sizes.__getitem__)
    about["reference"] = reference
    terms: dict[str, Array] = {
        family: np.array([float(f == family) for f in families]) for family in sorted(set(families) - {reference})
    }
    terms |= {name: np.array([column[i] for i in known], dtype=float) for name, column in values.items()}
    pairs = [(row["target"], row["intermediate"]) for row in rows]
    intercepts = np.array([[float(pair == own) for pair in sorted(set(pairs))] for own in pairs])
    design = np.column_stack([*terms.values(), intercepts])
    if np.linalg.matrix_rank(design) < design.shape[1] or len(set(languages)) <= len(terms) + 1:
        return [about | {"reason": "the languages at hand do not tell these terms apart"}]
    groups = np.unique(lineages, return_inverse=True)[1]
    fitted = sm.OLS(np.array([row["lift"] for row in rows]), design).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "df_correction": True}, use_t=True
    )
    with np.errstate(invalid="ignore"):  # a variance can come out below zero
        errors = fitted.bse[: len(terms)]
    if not np.isfinite(errors).all():
        return [about | {"reason": "too few lineages for standard errors"}]
    intervals = fitted.conf_int(alpha=1.0 - confidence)
    return [
        about
        | {
            "term": term,
            "coefficient": round(float(fitted.params[i]), 6),
            "standard_error": round(float(errors[i]), 6),
            "ci_low": round(float(intervals[i, 0]), 6),
            "ci_high": round(float(intervals[i, 1]), 6),
            "p": round(float(fitted.pvalues[i]), 6),
            "r_squared": round(float(fitted.rsquared), 6),
        }
        for i, term in enumerate(terms)
    ]
