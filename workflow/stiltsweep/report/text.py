"""How numbers and lists are written in the report's sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"


def points(value: float | None, digits: int = 1) -> str:
    """Write a score: one decimal, a true minus sign, `n/a` for None."""
    if value is None:
        return "n/a"
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:.{digits}f}".replace("-", MINUS)


def lift(value: float | None, digits: int = 1) -> str:
    """Write a lift: as a score, with its sign unless it rounds to zero."""
    if value is None:
        return "n/a"
    return ("+" if round(value, digits) > 0 else "") + points(value, digits)


def slope(value: float | None) -> str:
    """Write points for one unit, which may be anything from a share to a speaker: three figures, with the sign."""
    if value is None:
        return "n/a"
    return f"{value:+.3g}".replace("-", MINUS) if value else "0"


def interval(low: float | None, high: float | None) -> str:
    """Write an interval of lifts."""
    return "n/a" if low is None or high is None else f"[{points(low)}, {points(high)}]"


def probability(value: float | None) -> str:
    """Write a p value: three decimals, `<0.001` below, `n/a` for None."""
    if value is None:
        return "n/a"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float | None) -> str:
    """Write a p value as a clause: `p = 0.012` or `p < 0.001`."""
    text = probability(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def percent(value: float) -> str:
    """Write a share as per cent without needless decimals."""
    return f"{100 * value:.4g}%"


def span(values: Sequence[float], digits: int = 1) -> str:
    """Write the range of some numbers: `1.2 to 3.4`, or one number if both ends are written alike."""
    low, high = (f"{v:.{digits}f}" for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number with its noun: `1 seed`, `3 seeds`, `12,000 examples`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def counts(numbers: Sequence[int], noun: str) -> str:
    """Write the range of some counts with their noun: `3 seeds`, `9 to 12 languages`."""
    low, high = min(numbers), max(numbers)
    return count(low, noun) if low == high else f"{low:,} to {high:,} {noun}s"


def listed(items: Sequence[str]) -> str:
    """Join with commas and a final `and`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def seconds(value: float) -> str:
    """Write a duration in the unit a person would use."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
