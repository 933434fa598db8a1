"""The rows of typology's tables; header, types and reader follow from these classes."""

from __future__ import annotations

from dataclasses import dataclass

from ..significance.comparison import columns

ALL = "all"
"""All targets, all arms or all models together."""
LANGUAGES, LINEAGES = "languages", "lineages+languages"
"""Which random effects a model has: languages alone, or lineages and languages within them."""
MEAN = "mean"
"""The term that is the mean of the types."""
MAIN = "as labelled"
"""The labelling of languages.csv itself; the others are those of `significance.sensitivity`."""


@dataclass(frozen=True)
class Omnibus:
    """One row of omnibus.csv: do the types differ, of one model, target and arm, or pooled."""

    model: str
    target: str
    intermediate: str
    labelling: str
    random: str
    """`languages`, types dealt out over languages; `lineages+languages`, over lineages, which are kept together."""
    status: str
    """`ok` or `n/a`."""
    reason: str
    p: float | None
    """Of the permutation test."""
    p_holm: float | None
    """Within the model, labelling and random effects, over targets and arms; of rows pooled over targets, over arms; of
    those pooled over arms, over targets; of all targets and arms together the p itself."""
    flips: bool
    """Whether the conclusion (after Holm) is another than under the main labelling."""
    permutations: int
    exact: bool
    """Whether these are all there are."""
    f: float | None
    df: int
    """Of the types; one less than there are."""
    df_residual: int
    p_f: float | None
    """Of the F test, Knapp and Hartung's where there is one observation a language."""
    tau: float | None
    """Standard deviation between languages of one type, lineages included, in points."""
    tau_without: float | None
    """The same in the model without types."""
    explained: float | None
    """By how much of tau squared the types lessen it, in %."""
    i2: float | None
    """Share of tau squared in the variance of a lift, in %."""
    n_types: int
    n_languages: int
    n_lineages: int
    n_observations: int
    languages: tuple[str, ...]
    relabelled: tuple[str, ...]

    def significant(self, alpha: float) -> bool:
        """Whether the types differ at level `alpha`, after Holm's correction."""
        return self.p_holm is not None and self.p_holm < alpha


@dataclass(frozen=True)
class Term:
    """One row of types.csv or predictors.csv: a type's difference from the mean, the mean, or a slope."""

    model: str
    target: str
    intermediate: str
    labelling: str
    random: str
    specification: str
    """What the lift is regressed on."""
    term: str
    """A type, `mean` (of the types), or a predictor."""
    status: str
    reason: str
    estimate: float | None
    """Of a type, its mean lift less the mean of all types, in points; of a predictor, points per unit."""
    standard_error: float | None
    df: int
    ci_low: float | None
    ci_high: float | None
    p: float | None
    p_holm: float | None
    """Within the model, labelling, random effects and specification, over targets, arms and terms; of pooled rows over
    those pooled alike (see omnibus.csv) and the terms, and of predictors over all predictors."""
    p_permutation: float | None
    """Of a predictor by itself, dealt out over the languages."""
    lift: float | None
    """Of a type, its mean lift."""
    lift_low: float | None
    lift_high: float | None
    prediction_low: float | None
    """Prediction interval for the lift of another language (of the type)."""
    prediction_high: float | None
    tau: float | None
    n_languages: int
    n_lineages: int
    languages: tuple[str, ...]
    """Of a type, its own; else all."""

    def significant(self, alpha: float) -> bool:
        """Whether it differs from 0 at level `alpha`, after Holm's correction."""
        return self.p_holm is not None and self.p_holm < alpha


OMNIBUS = columns(Omnibus)
TERMS = columns(Term)
