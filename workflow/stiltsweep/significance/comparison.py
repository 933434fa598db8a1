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
    """`all`, `group`, `contrast` or `language`; see `estimands`."""
    grouping: str
    group: str
    status: str
    """`ok` or `n/a`."""
    reason: str
    """Why a row is n/a, or with what reservation it was tested."""
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
    p_signflip: float | None
    detectable_lift: float | None
    resampling: str
    n_languages: int
    n_examples: int
    n_seeds: int
    languages: tuple[str, ...]
    examples_ci_low: float | None
    examples_ci_high: float | None
    examples_p: float | None
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


def columns(kind: type) -> tuple[str, ...]:
    """Return the header of a table whose rows are of a dataclass."""
    return tuple(field.name for field in fields(kind))


COLUMNS = columns(Comparison)
"""The columns of lift.csv."""
