"""Does the lift differ from zero? Paired bootstrap over examples and seeds, per language, group, contrast and over all.

    statistics = read(results, model, target, intermediates=..., seeds=..., languages=...)
    rows = compare(resample(statistics, Settings()), estimands(statistics.languages, groups, "family"))

docs/statistics.md says what is resampled, what is held fixed, and why.
"""

from . import components, controls, joint, runs, targets
from .analysis import compare
from .cells import Statistics, read
from .comparison import COLUMNS, Comparison
from .estimands import Estimand, estimands
from .joint import Joint
from .resampled import LEVELS, Settings, resample

__all__ = [
    "COLUMNS",
    "LEVELS",
    "Comparison",
    "Estimand",
    "Joint",
    "Settings",
    "Statistics",
    "compare",
    "components",
    "controls",
    "estimands",
    "joint",
    "read",
    "resample",
    "runs",
    "targets",
]
