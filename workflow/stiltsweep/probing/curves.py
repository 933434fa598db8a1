"""Probes summed up: curves over layers, where they peak, and what training gained; in points, without torch.

Means are taken over the features of a language first, then over languages, then over seeds, so that a language counts
as one however many features it has. Checkpoints of a model are asked for the same words, so they can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from ..languages import ENGLISH
from .table import Probe

ALL = "all"
"""All languages but the source together."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Checkpoint:
    """What a curve is of; seeds are averaged over."""

    model: str
    stage: str
    intermediate: str
    training: str
    """Of a target checkpoint, else empty."""

    @classmethod
    def of(cls, probe: Probe) -> Checkpoint:
        """Return whose probe it is."""
        return cls(probe.model, probe.stage, probe.intermediate, probe.training)

    @property
    def reference(self) -> Checkpoint:
        """What its training is compared with: the pretrained model, or of a target checkpoint the baseline's."""
        if self.stage == "target":
            return Checkpoint(self.model, "target", "none", self.training)
        return Checkpoint(self.model, "pretrained", "none", "")


@dataclass(frozen=True)
class Curve:
    """A mean over languages, layer by layer."""

    checkpoint: Checkpoint
    task: str
    pooling: str
    group: str
    """A family, `all`, or a language's code."""
    feature: str
    """A feature's name; empty for the mean over features."""
    layers: tuple[float, ...]
    """From the embeddings' output on."""
    languages: tuple[str, ...]

    @property
    def peak(self) -> int:
        """The layer with the highest value, the lowest of equals."""
        return max(range(len(self.layers)), key=lambda layer: (self.layers[layer], -layer))

    @property
    def height(self) -> float:
        """The value there."""
        return self.layers[self.peak]


@dataclass(frozen=True)
class Gain:
    """What the training behind a checkpoint changed in one language: points over its reference's, layer by layer."""

    checkpoint: Checkpoint
    task: str
    pooling: str
    language: str
    family: str
    layers: tuple[float, ...]
    at_peak: float
    """At the layer at which the reference is highest: what was known best, and is known better or worse now."""
    last: float
    """At the last layer, which heads read."""

    @property
    def mean(self) -> float:
        """Over all layers."""
        return fmean(self.layers)


def curves(
    probes: Iterable[Probe],
    value: str = "accuracy",
    *,
    by: str = "family",
    features: bool = False,
    source: str = ENGLISH,
) -> list[Curve]:
    """Return the curves of every checkpoint, task and pooling.

    Args:
      probes: rows of probes.csv.
      value: a column in points or bits; where it is empty (`form_accuracy` without words) a feature is left out of
        its language.
      by: `family` (and `all`; without the source language and languages of no family), or `language`.
      features: one curve for every feature instead of their mean.
      source: the language that targets are trained in, for `family`.
    """
    groups: dict[tuple[Checkpoint, str, str, str, str], list[Probe]] = {}
    for probe in probes:
        if getattr(probe, value) is None:
            continue
        for group in _groups(probe, by, source):
            key = (Checkpoint.of(probe), probe.task, probe.pooling, group, probe.feature if features else "")
            groups.setdefault(key, []).append(probe)
    return [
        Curve(*key, _layers(mine, value), tuple(sorted({probe.language for probe in mine})))
        for key, mine in groups.items()
    ]


def gains(probes: Iterable[Probe], value: str = "accuracy") -> list[Gain]:
    """Return what every checkpoint gained over its reference (`Checkpoint.reference`) in every language.

    References themselves, and checkpoints whose reference was not probed, are left out.
    """
    rows = list(probes)
    families = {probe.language: probe.family for probe in rows}
    known = {(c.checkpoint, c.task, c.pooling, c.group): c for c in curves(rows, value, by="language")}
    made = []
    for (checkpoint, task, pooling, language), curve in known.items():
        reference = known.get((checkpoint.reference, task, pooling, language))
        if reference is None or checkpoint == checkpoint.reference:
            continue
        layers = tuple(mine - its for mine, its in zip(curve.layers, reference.layers, strict=True))
        made.append(
            Gain(checkpoint, task, pooling, language, families[language], layers, layers[reference.peak], layers[-1])
        )
    return made


def _groups(probe: Probe, by: str, source: str) -> Sequence[str]:
    if by == "language":
        return [probe.language]
    if probe.language == source:
        return []
    return [probe.family, ALL] if probe.family else [ALL]


def _layers(probes: Sequence[Probe], value: str) -> tuple[float, ...]:
    layers: dict[int, list[Probe]] = _by(probes, lambda probe: probe.layer)
    return tuple(_mean(layers[layer], value) for layer in sorted(layers))


def _mean(probes: Sequence[Probe], value: str) -> float:
    """Average over features, then languages, then seeds."""
    seeds = _by(probes, lambda probe: probe.seed).values()
    return fmean(
        fmean(
            fmean(getattr(probe, value) for probe in mine) for mine in _by(run, lambda probe: probe.language).values()
        )
        for run in seeds
    )


def _by(probes: Iterable[Probe], key: Callable[[Probe], Key]) -> dict[Key, list[Probe]]:
    groups: dict[Key, list[Probe]] = {}
    for probe in probes:
        groups.setdefault(key(probe), []).append(probe)
    return groups
