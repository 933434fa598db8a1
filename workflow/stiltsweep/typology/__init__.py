"""Does the lift depend on morphology? Languages are the units: a meta-regression of their lifts.

    asked = levels(documents of scripts/significance.py)
    tests, terms = compare_types(asked, table, "family", Settings())

docs/statistics.md says what the model is, and what was measured of it.
"""

from . import predictors
from .levels import compare_types, levels, regress
from .models import Settings
from .tables import OMNIBUS, TERMS, Omnibus, Term

__all__ = [
    "OMNIBUS",
    "TERMS",
    "Omnibus",
    "Settings",
    "Term",
    "compare_types",
    "levels",
    "predictors",
    "regress",
]
