"""Arms: what an entry of a configuration's `intermediates` stands for.

An arm is a task of the catalogue or `multi_task`, followed by variants of its training, each after a plus sign:

  mnli+translated       the same task in translated copies instead of English
  mnli+shuffled_labels  a control: the same texts, labels permuted
  mnli+mlm              masked language modelling (or span corruption) on plain text mixed in
  mnli+steps_matched    a control: no intermediate task; the target's own training goes on for as many updates more
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .catalog import Catalog, Task
from .errors import UserError, nearest
from .languages import ENGLISH

BASELINE = "none"
"""The arm without an intermediate task."""
MULTI_TASK = "multi_task"
STEPS_MATCHED = "steps_matched"
SHUFFLED_LABELS = "shuffled_labels"
VARIANTS = ("translated", SHUFFLED_LABELS, "mlm", STEPS_MATCHED)
"""In the order in which a name holds them, so that every arm has one name."""


@dataclass(frozen=True)
class Part:
    """One task of an arm's mixture."""

    task: str
    languages: tuple[str, ...]
    """Languages of its training rows."""
    rate: float | None = None
    """Its share of the updates; None: by its number of examples, as `cap` and `temperature` say."""


@dataclass(frozen=True)
class Arm:
    """A baseline, an intermediate training, or a control."""

    name: str
    parts: tuple[Part, ...] = ()
    """What the intermediate stage trains on; empty for the baseline."""
    matches: str | None = None
    """The arm whose number of updates a target's own training is continued for; there is no intermediate stage then."""
    cap: int = 0
    temperature: float = 1.0
    shuffle_labels: bool = False

    @property
    def stage(self) -> str | None:
        """Name of the arm whose intermediate checkpoint targets start from; None: they start from the model."""
        return self.name if self.parts and self.matches is None else None

    @property
    def plain(self) -> bool:
        """Whether it is one task in English, trained on as it is."""
        return (
            len(self.parts) == 1
            and self.matches is None
            and not self.shuffle_labels
            and self.parts[0].languages == (ENGLISH,)
        )

    def mixture(self, catalog: Catalog, dev_language: str = ENGLISH) -> dict[str, Any]:
        """Return what `train.py --mixture` reads; the state that is kept is chosen in `dev_language`."""
        return {
            "tasks": {
                part.task: {
                    "languages": list(part.languages),
                    "rate": part.rate,
                    "chance": catalog.task(part.task).definition["chance"],
                }
                for part in self.parts
            },
            "cap": self.cap,
            "temperature": self.temperature,
            "shuffle_labels": self.shuffle_labels,
            "dev_language": dev_language,
        }

    def describe(self, catalog: Catalog) -> str:
        """Return one sentence for plan and report."""
        if self.matches:
            return f"Control: no intermediate task; the target's training makes as many more updates as {self.matches}."
        scored = [part for part in self.parts if part.rate is None]
        if not scored:
            return "Baseline: no intermediate task."
        if len(scored) > 1:
            text = f"Trained together on {', '.join(part.task for part in scored)}."
        else:
            text = str(catalog.intermediates[scored[0].task].definition["description"])
        if languages := sorted({code for part in scored for code in part.languages} - {ENGLISH}):
            text += f" Trained in {', '.join(languages)}."
        if self.shuffle_labels:
            text += " Control: its labels are permuted among the training examples."
        for part in self.parts:
            if part.rate is not None:
                text += f" A share of {part.rate:g} of the updates is language modelling on {part.task}."
        return text


def parse(names: Sequence[str], settings: Mapping[str, Any], catalog: Catalog, where: str) -> dict[str, Arm]:
    """Return the arms of a configuration by name, the baseline first.

    An arm that another one is matched to is there as well, after those that were named.

    Args:
      names: the configuration's `intermediates`.
      settings: its `arms`.
      catalog: the catalogue.
      where: file and key, for error texts.

    Raises:
      UserError: an unknown task or variant, variants out of order, or a variant its task cannot have.
    """
    single = [name for name in names if name in catalog.intermediates and catalog.intermediates[name].kind != "text"]
    arms = {BASELINE: Arm(BASELINE)}
    for name in names:
        if name != BASELINE:
            arms[name] = _arm(name, settings, catalog, single, where)
    for name in [arm.matches for arm in arms.values() if arm.matches]:
        arms.setdefault(name, _arm(name, settings, catalog, single, where))
    return arms


def _arm(name: str, settings: Mapping[str, Any], catalog: Catalog, single: Sequence[str], where: str) -> Arm:
    base, *variants = name.split("+")
    if name != base:
        where = f"{where}: {name}"
    _check_variants(variants, where)
    if variants[-1:] == [STEPS_MATCHED]:
        matched = _arm("+".join([base, *variants[:-1]]), settings, catalog, single, where)
        return Arm(name, matched.parts, matches=matched.name)
    tasks = [catalog.intermediates[task] for task in _tasks(base, settings["multi_task"], catalog, single, where)]
    shuffled = SHUFFLED_LABELS in variants
    if shuffled and any(task.kind == "text" for task in tasks):
        raise UserError(f"{where}: plain text has no labels to shuffle.")
    parts = [Part(task.name, _languages(task, "translated" in variants, settings, where)) for task in tasks]
    if "mlm" in variants:
        parts.append(_text_part(settings["mlm"], catalog, where))
        if parts[-1].task in {part.task for part in parts[:-1]}:
            raise UserError(f"{where}: {parts[-1].task!r} is what is mixed in already; drop +mlm.")
    sampling = settings["multi_task"]
    # Of one task the share is 1, whatever these say: an edit of them is none of its business.
    several = sum(part.rate is None for part in parts) > 1
    cap, temperature = (sampling["cap"], sampling["temperature"]) if several else (1, 1.0)
    return Arm(name, tuple(parts), cap=cap, temperature=temperature, shuffle_labels=shuffled)


def _check_variants(variants: Sequence[str], where: str) -> None:
    for variant in variants:
        if variant not in VARIANTS:
            raise UserError(
                f"{where}: variant {variant!r} is unknown; known: {', '.join(VARIANTS)}.{nearest(variant, VARIANTS)}"
            )
    ordered = [variant for variant in VARIANTS if variant in variants]
    if list(variants) != ordered:
        raise UserError(f"{where}: write each variant once and in this order: {'+'.join(ordered)}.")


def _tasks(
    base: str, multi_task: Mapping[str, Any], catalog: Catalog, single: Sequence[str], where: str
) -> Sequence[str]:
    known = [*catalog.intermediates, MULTI_TASK]
    if base != MULTI_TASK:
        if base not in known:
            raise UserError(f"{where}: {base!r} is unknown; known: {', '.join(sorted(known))}.{nearest(base, known)}")
        return [base]
    tasks: Sequence[str] = multi_task.get("tasks") or single
    for task in tasks:
        if task not in catalog.intermediates:
            hint = nearest(task, catalog.intermediates)
            raise UserError(f"arms.multi_task.tasks: {task!r} is not an intermediate task of the catalogue.{hint}")
    if len(tasks) < 2:
        raise UserError(
            f"{where}: {MULTI_TASK} needs at least two tasks. Name them under arms.multi_task.tasks, or list single "
            "tasks in intermediates."
        )
    return tasks


def _languages(task: Task, translated: bool, settings: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the languages of a task's training rows in an arm."""
    if task.kind == "text":
        return _text_languages(task, settings["mlm"], where)
    if not translated:
        return (ENGLISH,)
    offered = [code for code, about in task.languages.items() if "train" in about and code != ENGLISH]
    wanted = settings["translated"].get("languages", offered)
    _offered(wanted, [*offered, ENGLISH], task, f"{where}: arms.translated.languages")
    if not wanted:
        raise UserError(f"{where}: {task.name} has training data in English only. Give its YAML translated copies.")
    return tuple(wanted)


def _text_part(mlm: Mapping[str, Any], catalog: Catalog, where: str) -> Part:
    name = mlm["text"]
    if name not in catalog.intermediates or catalog.intermediates[name].kind != "text":
        known = [task.name for task in catalog.intermediates.values() if task.kind == "text"]
        raise UserError(f"{where}: arms.mlm.text: {name!r} is not a task of kind text; known: {', '.join(known)}.")
    task = catalog.intermediates[name]
    return Part(name, _text_languages(task, mlm, where), mlm["rate"])


def _text_languages(task: Task, mlm: Mapping[str, Any], where: str) -> tuple[str, ...]:
    offered = [code for code, about in task.languages.items() if "train" in about]
    wanted = mlm.get("languages", offered)
    _offered(wanted, offered, task, f"{where}: arms.mlm.languages")
    return tuple(wanted)


def _offered(wanted: Iterable[str], offered: Sequence[str], task: Task, where: str) -> None:
    for code in wanted:
        if code not in offered:
            raise UserError(
                f"{where}: {task.name} has no training data in {code!r}; it has: {', '.join(offered)}."
                f"{nearest(str(code), offered)}"
            )
