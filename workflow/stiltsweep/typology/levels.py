"""Everything that is asked of a sweep: every model, target and arm by itself, and pooled."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..languages import Languages
from ..significance import Joint
from ..significance.corrections import alpha, holm
from ..significance.sensitivity import variants
from .models import ESTIMATED, Problem, Row, Settings, Typed, omnibus, slope_terms, type_terms
from .observations import Observations
from .predictors import Predictor
from .tables import ALL, LANGUAGES, LINEAGES, MAIN, OMNIBUS, TERMS

GENEALOGY = "genealogy"
RANDOM = (LANGUAGES, LINEAGES)
TYPES = "types"


@dataclass(frozen=True)
class Level:
    """Lifts that are looked at together."""

    model: str
    target: str
    intermediate: str
    blocks: tuple[Joint, ...]

    @property
    def key(self) -> Row:
        return {"model": self.model, "target": self.target, "intermediate": self.intermediate}

    @property
    def pooled(self) -> bool:
        return ALL in (self.model, self.target, self.intermediate)

    @property
    def languages(self) -> set[str]:
        return {code for block in self.blocks for code in block.languages}


def levels(documents: Iterable[Mapping[str, Any]]) -> list[Level]:
    """Return what can be asked of a sweep.

    Args:
      documents: what scripts/significance.py wrote. Controls, and arms that hold the target's data, are not in them.

    Returns:
      Of every model: each target and arm; each target over its arms; each arm over the targets; all targets and arms.
      Of several models also all of them together.
    """
    asked: list[Level] = []
    means: list[Joint] = []
    documents = list(documents)
    models = list(dict.fromkeys(one["model"] for one in documents))
    for model in models:
        own = [one for one in documents if one["model"] == model]
        arms: dict[str, list[Joint]] = {}
        over_arms: list[Joint] = []
        for document in own:
            for arm, said in document["joint"]["arms"].items():
                one = Joint.read(said)
                arms.setdefault(arm, []).append(one)
                asked.append(Level(model, document["target"], arm, (one,)))
            over_arms.append(Joint.read(document["joint"]["mean"]))
            asked.append(Level(model, document["target"], ALL, (over_arms[-1],)))
        asked += [Level(model, ALL, arm, tuple(blocks)) for arm, blocks in arms.items()]
        asked.append(Level(model, ALL, ALL, tuple(over_arms)))
        means += over_arms
    if len(models) > 1:
        asked.append(Level(ALL, ALL, ALL, tuple(means)))
    return asked


@dataclass(frozen=True)
class Labelling:
    """Types of languages under one labelling."""

    name: str
    types: Mapping[str, str]
    relabelled: tuple[str, ...] = ()


def labellings(table: Languages, grouping: str, languages: Iterable[str]) -> list[Labelling]:
    """Return the labels of languages.csv and the other labellings of `significance.sensitivity`."""
    codes = sorted(set(languages))

    def types(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
        return {code: group for group, members in groups.items() for code in members}

    made = [Labelling(MAIN, types(table.groups(grouping, codes)))]
    for name, (groups, changed) in variants(table, grouping, codes).items():
        made.append(Labelling(name, types(groups), tuple(changed)))
    return made


def lineages(table: Languages, languages: Iterable[str]) -> dict[str, str]:
    """Return language -> lineage; empty where languages.csv says none."""
    known = GENEALOGY in table.columns
    return {code: table.value(code, GENEALOGY) if known else "" for code in languages}


class _Problems:
    """Problems of levels, each made once, so that what is fitted without types or predictors is fitted once."""

    def __init__(self, families: Mapping[str, str]) -> None:
        self._families = families
        self._made: dict[tuple[str, str, str, str, frozenset[str]], Problem] = {}

    def of(self, level: Level, known: Collection[str], random: str) -> Problem:
        """Return the problem of a level's languages that are `known`."""
        kept = level.languages.intersection(known)
        key = (level.model, level.target, level.intermediate, random, frozenset(kept))
        if key not in self._made:
            self._made[key] = Problem(Observations.of(level.blocks, kept), random, self._families)
        return self._made[key]


def compare_types(
    asked: Sequence[Level], table: Languages, grouping: str, settings: Settings
) -> tuple[list[Row], list[Row]]:
    """Test every level under every labelling with both kinds of random effects.

    Returns:
      Rows of omnibus.csv and of types.csv.
    """
    codes = {code for level in asked for code in level.languages}
    problems = _Problems(lineages(table, codes))
    tests: list[Row] = []
    terms: list[Row] = []
    # Most labels are the same under every labelling: what was asked once is not asked again.
    known: dict[tuple[int, str, frozenset[tuple[str, str]]], tuple[Row, list[Row]]] = {}
    for labelling in labellings(table, grouping, codes):
        for place, level in enumerate(asked):
            types = {code: name for code, name in labelling.types.items() if code in level.languages}
            for random in RANDOM:
                key = (place, random, frozenset(types.items()))
                if key not in known:
                    typed = Typed(problems.of(level, types, random), types)
                    known[key] = omnibus(typed, settings), type_terms(typed, None, settings)
                test, rows = known[key]
                about = level.key | {"labelling": labelling.name, "random": random}
                changed = tuple(code for code in labelling.relabelled if code in level.languages)
                tests.append(about | {"relabelled": changed} | test)
                terms += [about | {"specification": TYPES, **row} for row in rows]
    _correct(tests, lambda row: (row["model"], row["labelling"], row["random"]))
    _flips(tests, alpha(settings.confidence))
    _correct(terms, lambda row: (row["model"], row["labelling"], row["random"]))
    return _finished(tests, OMNIBUS), _finished(terms, TERMS)


def regress(
    asked: Sequence[Level],
    table: Languages,
    grouping: str,
    predictors: Sequence[Predictor],
    sizes: Mapping[str, Predictor],
    settings: Settings,
) -> list[Row]:
    """Regress the lift on every number about languages, by itself and beside the size of the model's own corpus.

    Args:
      asked: see `levels`; all models together are left out, since the numbers are of one model.
      table: the languages.
      grouping: the column of types, which are also tried beside the size.
      predictors: numbers about languages.
      sizes: model -> log10 of its corpus per language.
      settings: see `Settings`.

    Returns:
      Rows of predictors.csv.
    """
    codes = {code for level in asked for code in level.languages}
    problems = _Problems(lineages(table, codes))
    types = labellings(table, grouping, codes)[0].types
    rows: list[Row] = []
    for level in asked:
        if level.model == ALL:
            continue
        size = sizes.get(level.model)
        known = size.values(level.model) if size else {}
        for random in RANDOM:
            about = level.key | {"labelling": MAIN, "random": random}
            for predictor in ([size] if size else []) + list(predictors):
                values = predictor.values(level.model)
                problem = problems.of(level, values, random)
                rows.append(
                    about
                    | {"specification": predictor.name, "beside": False}
                    | slope_terms(problem, predictor.name, values, None, settings)
                )
                if size is None or predictor is size:
                    continue
                problem = problems.of(level, values.keys() & known.keys(), random)
                row = slope_terms(problem, predictor.name, values, (size.name, known), settings)
                rows.append(about | {"specification": f"{predictor.name} + {size.name}", "beside": True} | row)
            if size:
                typed = Typed(problems.of(level, types.keys() & known.keys(), random), types)
                named = about | {"specification": f"{TYPES} + {size.name}", "beside": True}
                rows += [named | row for row in type_terms(typed, known, settings)]
    _correct(rows, lambda row: (row["model"], row["random"], row["beside"]))
    return _finished(rows, TERMS)


def _correct(rows: Sequence[Row], family: Callable[[Row], tuple[Any, ...]]) -> None:
    """Fill p_holm, within families of tests.

    What is pooled alike is corrected together: all single targets and arms; all targets over arms; all arms over
    targets; and all of a model's targets and arms, which is one question.
    """
    together: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["p"] is not None:
            pooled = (row["target"] == ALL, row["intermediate"] == ALL)
            together.setdefault((*family(row), pooled), []).append(row)
    for members in together.values():
        for row, value in zip(members, holm([row["p"] for row in members]), strict=True):
            row["p_holm"] = float(value)


def _flips(tests: Sequence[Row], alpha: float) -> None:
    def place(row: Row) -> tuple[str, ...]:
        return row["model"], row["target"], row["intermediate"], row["random"]

    main = {place(row): row["p_holm"] for row in tests if row["labelling"] == MAIN}
    for row in tests:
        before, now = main[place(row)], row["p_holm"]
        row["flips"] = before is not None and now is not None and (before < alpha) != (now < alpha)


_PS = ("p", "p_holm", "p_f", "p_permutation")


def _finished(rows: Iterable[Row], columns: Sequence[str]) -> list[Row]:
    return [{name: _plain(row, name) for name in columns} for row in rows]


def _plain(row: Row, name: str) -> Any:
    """Return what is written: nine decimals, so that the last bits of a matrix product do not show.

    More of a small p, which is never 0, and of a slope whose unit is small: six figures, or six of its standard error.
    """
    value = row[name]
    if isinstance(value, float):
        small = value if name in _PS else row["standard_error"] if name in ESTIMATED else None
        return round(value, max(9, 5 - math.floor(math.log10(small))) if small else 9)
    return " ".join(value) if isinstance(value, tuple) else value
