"""The same tests under other labels, because the labels are disputed.

A grouping column G of languages.csv may come with G_confidence (high, medium, low) and G_alternative (another label).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..languages import Languages
from .comparison import COLUMNS as LIFT_COLUMNS
from .comparison import Comparison
from .corrections import alpha as level_of

Groups = dict[str, list[str]]


@dataclass(frozen=True)
class Relabelled(Comparison):
    """One row of sensitivity.csv: a test under other labels of the languages, beside the same test as it was made."""

    variant: str
    relabelled: tuple[str, ...]
    """Languages left out or labelled otherwise."""
    main_lift: float | None
    main_p_holm: float | None
    flips: bool
    """Whether one of the two is significant and the other is not, or with another sign."""


LACKS = ("p_bh",)
"""Columns of lift.csv that sensitivity.csv has not: nothing is corrected over all variants."""
COLUMNS = (
    *("variant", "relabelled"),
    *(column for column in LIFT_COLUMNS if column not in LACKS),
    *("main_lift", "main_p_holm", "flips"),
)
"""The columns of sensitivity.csv."""

VARIANTS = ("without-low-confidence", "low-confidence-relabelled", "all-relabelled")


def variants(table: Languages, grouping: str, languages: Sequence[str]) -> dict[str, tuple[Groups, list[str]]]:
    """Return other groupings of the same languages.

    Args:
      table: the languages.
      grouping: the column, for one `family`.
      languages: the target's transfer languages.

    Returns:
      Variant -> (groups, languages left out or relabelled); variants that change nothing are left out.
        without-low-confidence: languages with a label of low confidence are left out;
        low-confidence-relabelled: these languages get their alternative label;
        all-relabelled: every language that has an alternative label gets it.
    """
    groups = table.groups(grouping, languages)
    confidence, alternative = f"{grouping}_confidence", f"{grouping}_alternative"
    low = _where(table, confidence, languages, {"low"})
    other = {code: table.value(code, alternative) for code in languages} if alternative in table.columns else {}
    other = {code: label for code, label in other.items() if label}
    labellings = {
        VARIANTS[0]: (_relabelled(groups, dict.fromkeys(low, "")), low),
        VARIANTS[1]: (_relabelled(groups, {c: other[c] for c in low if c in other}), [c for c in low if c in other]),
        VARIANTS[2]: (_relabelled(groups, other), sorted(other)),
    }
    return {name: (changed, codes) for name, (changed, codes) in labellings.items() if codes and changed != groups}


def _where(table: Languages, column: str, languages: Sequence[str], wanted: set[str]) -> list[str]:
    if column not in table.columns:
        return []
    return [code for code in languages if table.value(code, column) in wanted]


def _relabelled(groups: Mapping[str, Sequence[str]], labels: Mapping[str, str]) -> Groups:
    """Move languages to other groups; an empty label leaves a language out, a new label makes a group."""
    moved = {group: [code for code in codes if code not in labels] for group, codes in groups.items()}
    for code, label in labels.items():
        if label:
            moved.setdefault(label, []).append(code)
    return {group: sorted(moved[group]) for group in sorted(moved)}


def compared(documents: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Set every test under other labels beside the main one.

    A conclusion flips when the corrected test is significant under one labelling and not under the other, or is under
    both with opposite signs. A group that only one labelling has cannot flip; its columns of the main result are empty.

    Args:
      documents: what scripts/significance.py wrote.

    Returns:
      One row per variant and comparison, with the keys of `COLUMNS`.
    """
    rows = []
    for document in documents:
        alpha = level_of(document["settings"]["confidence"])
        main = {_place(row): row for row in document["rows"]}
        for row in document["sensitivity"]:
            # Contrasts are named in alphabetical order, so a group keeps its side under every labelling.
            other = main.get(_place(row), {})
            added = {"main_lift": other.get("lift"), "main_p_holm": other.get("p_holm")}
            rows.append(row | added | {"flips": _conclusion(row, alpha) != _conclusion(other, alpha)})
            if row["p_holm"] is None or added["main_p_holm"] is None:
                rows[-1]["flips"] = False
    return rows


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    # Two groupings may share the name of a group: a column of one's own that has a value "fusional", too.
    return row["intermediate"], row["scope"], row["grouping"], row["group"]


def _conclusion(row: Mapping[str, Any], alpha: float) -> int:
    """Return 1 or -1 for a significant gain or loss, 0 for neither."""
    p, lift = row.get("p_holm"), row.get("lift")
    if p is None or lift is None or p >= alpha:
        return 0
    return 1 if lift > 0 else -1
