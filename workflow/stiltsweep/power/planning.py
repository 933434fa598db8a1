"""What a sweep can see, and what it would need: for every target, and for the difference between types of languages."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..arms import BASELINE
from ..significance.controls import is_control
from ..significance.corrections import alpha as level_of
from ..sweep import Sweep
from ..typology.levels import lineages as lineages_of
from . import sources
from .lineages import stand
from .sources import Known, Variances
from .tests import (
    MOST,
    Design,
    LiftTest,
    TypesTest,
    balanced,
    changed,
    language_variance,
    least,
    pooled_variance,
    smallest,
)

AXES = ("seeds", "languages", "examples")
"""What there can be more of."""
FEWEST_SEEDS = 2


@dataclass(frozen=True)
class Seen:
    """What a test can see as configured."""

    smallest: float | None
    """Points found as often as is wanted, after correction; None where even 100 are not."""
    single: float | None
    """The same before correction."""
    doubled: Mapping[str, float | None]
    """`seeds`, `languages` or `examples` -> the smallest, after correction, with twice as many of it."""

    @property
    def worth_most(self) -> str:
        """What it helps most to double; empty where nothing is seen either way."""
        known = {name: value for name, value in self.doubled.items() if value is not None}
        return min(known, key=lambda name: known[name]) if known else ""


@dataclass(frozen=True)
class Effect:
    """One size of effect."""

    points: float
    power: float
    """As configured, after correction."""
    needed: Mapping[str, int | None]
    """`seeds`, `languages` (of types: of each type) or `examples` needed if the other two stay; None: never enough."""


@dataclass(frozen=True)
class Question:
    """One test: of the lift on a target, or of types of languages."""

    name: str
    """The target; of types `all targets and arms`, or a target."""
    design: Design
    tests: int
    """Corrected together."""
    seen: Seen
    effects: list[Effect]
    source: str
    absent: str = ""
    """Why there is no such test; empty where there is."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of types: type -> its languages."""
    lineages: float | None = None
    """Of all targets and arms: how often a type that lies apart by the smallest difference is found with lineages kept
    together as well."""


@dataclass(frozen=True)
class Power:
    """What `snakemake power` says."""

    title: str
    wanted: float
    """Share of effects that are to be found."""
    alpha: float
    lifts: list[Question]
    types: list[Question]
    shared: float
    shared_source: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def make(sweep: Sweep) -> Power:
    """Work out what a sweep can see: of every target's lift, of types on a target, and of types over all of them."""
    settings = sweep.config["power"]
    alpha = level_of(float(sweep.config["significance"]["confidence"]))
    variances = known(sweep)
    pairs = [(target, arm) for target in sweep.languages for arm in _arms(sweep, target)]
    # Holm runs over what is tested, controls and arms that hold a target's data among it; types are asked of the rest.
    tested = sum(arm != BASELINE for target in sweep.languages for arm in sweep.arms_of(target)) * len(sweep.models)
    wanted, effects = float(settings["power"]), [float(value) for value in settings["effects"]]
    lifts, types = [], []
    for target in sweep.languages:
        if not _arms(sweep, target) or not _transfer(sweep, target):
            continue
        about = variances.targets[target]
        design = _design(sweep, target, about)
        lifts.append(_lift(target, about, design, alpha, tested, wanted, effects))
        types.append(_types(sweep, target, about, design, alpha, len(pairs), wanted, effects))
    if len(pairs) > 1:
        types.insert(0, _pooled(sweep, variances, alpha, wanted, effects))
    return Power(sweep.config["title"], wanted, alpha, lifts, types, variances.shared, variances.shared_source)


def known(sweep: Sweep) -> Known:
    """Return variances for every target: from its own tests, from this sweep's on targets of its kind, or packaged."""
    types = {code: sweep.family(code) for codes in sweep.languages.values() for code in codes}
    types = {code: name for code, name in types.items() if name and code != sweep.source}
    tests = sources.tested(Path(path) for path in sweep.test_files)
    packaged, share, share_source = sources.packaged()
    of_kind: dict[str, list[Mapping[str, Any]]] = {}
    for target, documents in tests.items():
        of_kind.setdefault(sweep.catalog.targets[target].kind, []).extend(documents)
    of_target = {}
    for target in sweep.languages:
        kind = sweep.catalog.targets[target].kind
        if target in tests:
            of_target[target] = sources.of_documents(tests[target], types, kind, "its own tests in this sweep")
        elif kind in of_kind:
            names = sorted({document["target"] for document in of_kind[kind]})
            of_target[target] = sources.of_documents(
                of_kind[kind], types, kind, f"this sweep's tests of {', '.join(names)}"
            )
        elif kind in packaged:
            of_target[target] = packaged[kind]
        else:
            of_target[target] = sources.anything(packaged.values())
    one_model = [own for model in sweep.models if len(own := _of_model(tests, model)) > 1]
    if one_model:
        share, share_source = sources.shared(one_model[0], types), "this sweep's tests"
    return Known(of_target, share, share_source)


def _of_model(tests: Mapping[str, list[Mapping[str, Any]]], model: str) -> list[Mapping[str, Any]]:
    return [one for documents in tests.values() for one in documents if one["model"] == model and one["joint"]["mean"]]


def _arms(sweep: Sweep, target: str) -> list[str]:
    """Return the arms that are asked about on a target."""
    arms = [arm for arm in sweep.arms_of(target) if arm != BASELINE and not is_control(arm)]
    return [arm for arm in arms if not sweep.contaminated(arm, target)]


def _transfer(sweep: Sweep, target: str) -> list[str]:
    return [code for code in sweep.languages[target] if code != sweep.source]


def _design(sweep: Sweep, target: str, about: Variances) -> Design:
    task = sweep.catalog.targets[target]
    codes = _transfer(sweep, target)
    stated = [count for code in codes if (count := task.languages[code].get("test")) is not None]
    examples = sum(stated) / len(stated) if stated else about.examples
    return Design(examples, len(sweep.seeds), len(codes), bool(sweep.config["significance"]["pair_seeds"]))


def _sizes(sweep: Sweep, codes: list[str]) -> dict[str, int]:
    return dict(sorted(Counter(name for code in codes if (name := sweep.family(code))).items()))


def _lift(
    target: str, about: Variances, design: Design, alpha: float, tests: int, wanted: float, effects: list[float]
) -> Question:
    if design.seeds < FEWEST_SEEDS:
        absent = "one seed: its tests take the trained models as given, whatever other seeds would do"
        return Question(target, design, tests, Seen(None, None, {}), [], about.source, absent)

    def power(one: Design, level: float) -> Callable[[float], float]:
        return LiftTest(about.arm, one, level).power

    return _asked(target, design, tests, about.source, power, alpha, wanted, effects)


def _asked(
    name: str,
    design: Design,
    tests: int,
    source: str,
    power: Callable[[Design, float], Callable[[float], float]],
    alpha: float,
    wanted: float,
    effects: list[float],
) -> Question:
    """Ask a test what it sees, and what it needs; `power` makes the test of a design at a level."""
    level = alpha / tests
    now = power(design, level)
    doubled = {axis: changed(design, axis, 2 * getattr(design, axis)) for axis in AXES}
    seen = Seen(
        smallest(now, wanted),
        smallest(power(design, alpha), wanted),
        {axis: smallest(power(one, level), wanted) for axis, one in doubled.items()},
    )

    def needed(axis: str, points: float) -> int | None:
        def of(value: int) -> float:
            return power(changed(design, axis, value), level)(points)

        return least(of, wanted, FEWEST_SEEDS if axis == "seeds" else 1, MOST[axis])

    judged = [Effect(points, now(points), {axis: needed(axis, points) for axis in AXES}) for points in effects]
    return Question(name, design, tests, seen, judged, source)


def _types(
    sweep: Sweep,
    target: str,
    about: Variances,
    design: Design,
    alpha: float,
    tests: int,
    wanted: float,
    effects: list[float],
) -> Question:
    """Ask of the types on one target, corrected over the targets and arms of a model."""

    def variance(one: Design) -> float:
        return language_variance(about.arm, one, about.tau2)

    sizes = _sizes(sweep, _transfer(sweep, target))
    return _of_types(target, sizes, design, tests, about.source, variance, alpha, wanted, effects)


def _pooled(sweep: Sweep, variances: Known, alpha: float, wanted: float, effects: list[float]) -> Question:
    """Ask of the types over all targets and arms, which is one question: the verdict's."""
    targets = [target for target in sweep.languages if _arms(sweep, target) and _transfer(sweep, target)]
    designs = {target: _design(sweep, target, variances.targets[target]) for target in targets}
    codes = sorted({code for target in targets for code in _transfer(sweep, target)})
    types = {code: name for code in codes if (name := sweep.family(code))}
    held = {code: [target for target in targets if code in sweep.languages[target]] for code in types}
    mean = sum(one.examples for one in designs.values()) / len(designs)
    first = designs[targets[0]]
    whole = replace(first, examples=mean, languages=len(codes))

    def variance(one: Design, between: float = 1.0) -> float:
        # What a language has in all targets stays; the rest, and the errors, are averaged over its targets.
        parts = {}
        for target in targets:
            about = variances.targets[target]
            own = replace(one, examples=designs[target].examples * one.examples / mean)
            apart = language_variance(about.arms, own, between * (1.0 - variances.shared) * about.tau2)
            parts[target] = (between * variances.shared * about.tau2, apart)
        return pooled_variance(parts, held, types)

    source = "; ".join(dict.fromkeys(variances.targets[target].source for target in targets))
    sizes = _sizes(sweep, codes)
    asked = _of_types("all targets and arms", sizes, whole, 1, source, variance, alpha, wanted, effects)
    at_hand, error = variance(whole), variance(whole, 0.0)
    if not asked.absent and math.isinf(at_hand):
        asked = replace(asked, absent="all languages of a target are of one type, which is not told from the target")
    if asked.seen.smallest is None:
        return asked
    lineages = lineages_of(sweep.catalog.languages, types)
    findable = [list(sizes)[place] for place in TypesTest(tuple(sizes.values()), 1.0, alpha).findable]
    kept = stand(types, lineages, findable, (max(0.0, at_hand - error), error), asked.seen.smallest, alpha)
    return replace(asked, lineages=kept)


def _of_types(
    name: str,
    sizes: dict[str, int],
    design: Design,
    tests: int,
    source: str,
    variance: Callable[[Design], float],
    alpha: float,
    wanted: float,
    effects: list[float],
) -> Question:
    """Ask a test of types: with more languages, each type has as many times as many."""
    kinds = len(sizes)
    absent = "" if design.seeds >= FEWEST_SEEDS else "one seed: how much runs differ enters with two"
    test = TypesTest(tuple(sizes.values()), 1.0, alpha / tests)
    absent = absent or test.absent
    lost = [kind for place, kind in enumerate(sizes) if place not in test.findable]
    if not absent and lost:
        absent = f"of {', '.join(lost)} are too few languages: at this level no difference of theirs would be found"
    if kinds < 2 or design.seeds < FEWEST_SEEDS:
        return Question(name, design, tests, Seen(None, None, {}), [], source, absent, sizes)

    def power(one: Design, level: float) -> Callable[[float], float]:
        times = one.languages / design.languages
        held = tuple(max(1, round(size * times)) for size in sizes.values())
        return TypesTest(held, variance(one), level).power

    asked = _asked(name, design, tests, source, power, alpha, wanted, effects)

    at_hand = variance(design)

    def each(points: float) -> int | None:
        def of(value: int) -> float:
            return TypesTest(balanced(kinds, value), at_hand, alpha / tests).power(points)

        return least(of, wanted, 1, MOST["languages"])

    judged = [replace(one, needed={**one.needed, "languages": each(one.points)}) for one in asked.effects]
    return replace(asked, effects=judged, absent=absent, sizes=sizes)
