"""One row of lift.csv. The table's header, the types of its columns and its reader all follow from this class."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Comparison:
    """An arm against the baseline over one group of languages, or one group's lift against another's.

    Scores, lifts and intervals are in points; a value that could not be had is None.
    """

    model: str
    target: str
    metric: str
    intermediate: str
    scope: str
    """`all`, `group`, `contrast` or `language`, see `estimands`; or `targets`, the mean over all targets."""
    grouping: str
    group: str
    """A value of the grouping, or two of them with ` - ` between."""
    first_group: str
    """Of a contrast: the group whose lift the other's is taken from; else empty."""
    second_group: str
    status: str
    """`ok` or `n/a`."""
    reason: str
    """Why a row is n/a, or with what reservation it was tested."""
    conclusion: str
    """After correction: `helped` or `hurt` (of a contrast `higher` or `lower`), `no more than the margin` of
    `significance.margin` points either way, or `not settled`; empty where nothing was tested."""
    baseline_score: float | None
    score: float | None
    lift: float | None
    ci_low: float | None
    ci_high: float | None
    bca_low: float | None
    bca_high: float | None
    p: float | None
    p_holm: float | None
    p_bh: float | None
    p_fitted: bool
    """Whether p lies in the tail that draws do not reach; see `resampling.tails`."""
    p_margin: float | None
    """Of the two one-sided tests that the lift is less than `significance.margin` either way."""
    p_margin_holm: float | None
    p_signflip: float | None
    detectable_lift: float | None
    """Smallest true lift that is found with 80% power, before correction, and after it."""
    detectable_lift_holm: float | None
    resampling: str
    n_languages: int
    n_examples: int
    n_clusters: int
    """What is drawn: clusters of examples, or the examples where the data name no clusters."""
    n_seeds: int
    languages: tuple[str, ...]
    examples_ci_low: float | None
    examples_ci_high: float | None
    examples_p: float | None
    examples_se: float | None
    """Standard error of the lift from the examples alone."""
    runs_se: float | None
    """What the runs add to it (at the level of languages: runs and languages), with `runs_degrees` of freedom."""
    runs_degrees: float | None
    seed_correlation: float | None
    """Correlation of the two arms' runs of the same seed; None where there are fewer than three (of two it is 1 or -1,
    whatever they are), or they do not vary."""
    missing: tuple[str, ...]
    """Cells and runs that should have been in the row, as paths below cells/."""
    contaminated: bool

    @property
    def tested(self) -> bool:
        """Whether there is a lift and a corrected p to speak of."""
        return self.status == "ok" and self.lift is not None and self.p_holm is not None

    def significant(self, alpha: float) -> bool:
        """Whether the lift differs from zero after Holm's correction at level `alpha`."""
        return self.tested and self.p_holm is not None and self.p_holm < alpha


HELPED, HURT, WITHIN, OPEN = "helped", "hurt", "no more than the margin", "not settled"
HIGHER, LOWER = "higher", "lower"
"""What `Comparison.conclusion` says."""


def columns(kind: type) -> tuple[str, ...]:
    """Return the header of a table whose rows are of a dataclass."""
    return tuple(field.name for field in fields(kind))


COLUMNS = columns(Comparison)
"""The columns of lift.csv."""
