"""What the stages beside the cells found out: tokenisation, lifts by bucket, probes, failures of behavioural tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from ..behaviour import Failures
from ..files import read_json
from ..layout import Layout
from ..probing import curves, table
from ..significance.buckets import BucketLift
from ..significance.table import read_csv
from .run import Run


@dataclass(frozen=True)
class Measured:
    """Each part is empty where the sweep has no such stage."""

    tokenization: Mapping[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    """(model, target, language) -> measures of its test texts."""
    buckets: list[BucketLift] = field(default_factory=list)
    contrasts: list[BucketLift] = field(default_factory=list)
    """Differences of lift between families, by bucket."""
    probes: list[table.Probe] = field(default_factory=list)
    failures: list[Failures] = field(default_factory=list)

    @classmethod
    def read(cls, run: Run, layout: Layout) -> Measured:
        """Read what there is of the run's models and targets.

        Raises:
          UserError: a file is not readable.
        """
        pairs = [(model, target) for model in run.models for target in run.targets]

        def of_pairs(place: str) -> list[BucketLift]:
            paths = (Path(layout.path(place, model=model, target=target)) for model, target in pairs)
            return [row for path in paths for row in read_csv(path, BucketLift, optional=True)]

        return cls(
            tokenization={
                (model, target, language): measures
                for model, target in pairs
                if (path := Path(layout.path("measures", model=model, target=target))).is_file()
                for language, measures in read_json(path)["languages"].items()
            },
            buckets=of_pairs("buckets"),
            contrasts=of_pairs("bucket_contrasts"),
            probes=table.read(probes) if (probes := Path(layout.path("probes"))).is_file() else [],
            failures=read_csv(layout.path("failure_rates"), Failures, optional=True),
        )

    @cached_property
    def probe_gains(self) -> Mapping[tuple[str, str, str], float]:
        """(model, intermediate, language) -> points a probe gained by the intermediate stage, mean over layers.

        The mean over probing tasks and poolings.
        """
        means: dict[tuple[str, str, str], list[float]] = {}
        for gain in curves.gains(self.probes):
            if gain.checkpoint.stage == "intermediate":
                key = (gain.checkpoint.model, gain.checkpoint.intermediate, gain.language)
                means.setdefault(key, []).append(gain.mean)
        return {key: fmean(values) for key, values in means.items()}
