"""What a run trains on: one task or a mixture, each task with its data, its form, and its part of the updates."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cuts import describe
from ..errors import UserError
from ..kinds import Form, shuffle_labels
from ..models.batches import Example
from ..records import Meta, Row, read_meta, read_rows
from ..settings import TrainingSettings
from .plan import Sampling, derived_seed, epoch_batches, learned, packed_batches

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One task of a mixture, as it is asked for."""

    languages: tuple[str, ...]
    """Languages of the training rows."""
    rate: float | None
    """Share of the updates; such a task is not scored. None: by the number of examples."""
    chance: float
    """Dev score, in points, of a run that learned nothing."""


@dataclass(frozen=True)
class Mixture:
    """Tasks to train on together; `plan.Sampling` says in which proportions."""

    tasks: Mapping[str, Part]
    cap: int
    temperature: float
    shuffle_labels: bool
    dev_language: str
    """The language whose development data choose the state that is kept."""

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Mixture:
        """Read the JSON a rule passes.

        Raises:
          UserError: the rates leave nothing to the tasks without one, or there is no such task.
        """
        tasks = {
            name: Part(tuple(about["languages"]), about["rate"], about["chance"])
            for name, about in value["tasks"].items()
        }
        rates = [part.rate for part in tasks.values() if part.rate is not None]
        if len(rates) == len(tasks) or sum(rates) >= 1:
            raise UserError(f"mixture: the rates {rates} must sum to less than 1, and one task must have none.")
        return cls(tasks, value["cap"], value["temperature"], value["shuffle_labels"], value["dev_language"])


@dataclass(frozen=True)
class Choice:
    """What a run reads of one task, known from what its prepared files say of themselves."""

    meta: Meta
    """Of its English data, where there are such."""
    part: Part
    files: Mapping[str, Path]
    """Language -> prepared data."""
    dev_languages: Sequence[str]
    """Empty for a task with a rate."""
    digests: dict[str, str]
    """Language -> digest of its data."""
    seed_parts: tuple[str, ...]
    """What tells its seeds from those of the run's other tasks."""


@dataclass(frozen=True)
class Task(Choice):
    """One task of a run, ready to be trained on."""

    form: Form
    rows: int
    """Training rows, those that nothing can be learnt from included."""
    examples: list[Example]
    dev_rows: list[Row]
    """Empty for a task with a rate."""
    dev_examples: list[Example]
    cut: dict[str, int]
    """What is cut of the training examples (see `cuts`)."""

    @property
    def scored(self) -> bool:
        """Whether its dev score counts."""
        return self.part.rate is None

    def batches(self, batch_size: int, seed: int) -> Iterator[tuple[int, list[int]]]:
        """Yield (epoch's seed, indices of examples) without end; a run's seed decides all of them."""
        lengths = [example.length for example in self.examples]
        order = derived_seed(seed, "order", *self.seed_parts)
        epoch = 0
        while True:
            epoch_seed = derived_seed(seed, "epoch", *self.seed_parts, epoch)
            for batch in epoch_batches(lengths, batch_size, order, epoch):
                yield epoch_seed, batch
            epoch += 1

    def packed(self, settings: TrainingSettings, seed: int) -> Iterator[tuple[int, list[int]]]:
        """Yield (update's seed, indices of examples) without end, for batches in tokens."""
        sizes = [(sum(len(one.ids) for one in example.inputs), len(example.target)) for example in self.examples]
        order = derived_seed(seed, "order", *self.seed_parts)
        for number, batch in enumerate(packed_batches(sizes, settings, order)):
            yield derived_seed(seed, "batch", *self.seed_parts, number), batch

    def learned(self, score: float) -> bool:
        """Return whether a dev score is above the task's chance level."""
        return learned(score, self.part.chance, len(self.dev_rows))

    def to_json(self, proportion: float, score: float | None) -> dict[str, Any]:
        """Return what a checkpoint says of one of its tasks."""
        return {
            "kind": self.meta.kind,
            "languages": list(self.part.languages),
            "rate": self.part.rate,
            "chance": self.part.chance,
            "proportion": proportion,
            "examples": len(self.examples),
            "dropped_examples": self.rows - len(self.examples),
            "cut": self.cut,
            "data_sha256": self.digests,
            "dev": None if score is None else {"metric": self.form.metric, "score": score},
        }


def sampling(tasks: Sequence[Task], mixture: Mixture | None) -> Sampling:
    """Return how the tasks of a run are drawn."""
    sizes, rates = [len(task.examples) for task in tasks], [task.part.rate for task in tasks]
    return Sampling(sizes, rates, mixture.cap if mixture else 1, mixture.temperature if mixture else 1.0)


def choices(files: Sequence[Path], mixture: Mixture | None, *, chance: float) -> list[Choice]:
    """Choose what a run reads, without reading a row.

    Training rows come from the files of the languages a mixture lists, dev rows from those of its `dev_language` (of
    plain text without it from the same files as the training rows).

    Args:
      files: prepared data; without a mixture one file, whose language does not matter.
      mixture: None for one task.
      chance: of the one task.

    Raises:
      UserError: data are missing, or do not fit together.
    """
    of_task: dict[str, dict[str, tuple[Path, Meta]]] = {}
    for path in files:
        meta = read_meta(path)
        of_task.setdefault(meta.task, {})[meta.language] = path, meta
    if mixture is None:
        if len(files) != 1:
            raise UserError(f"--data: {len(files)} files; a run without --mixture reads one.")
        ((language, about),) = next(iter(of_task.values())).items()
        return [_choice({language: about}, Part((language,), None, chance), language, ())]
    chosen = []
    for name, part in mixture.tasks.items():
        offered = of_task.get(name, {})
        missing = [language for language in part.languages if language not in offered]
        if missing:
            raise UserError(f"--data: no prepared data of {name} in {', '.join(missing)}, which --mixture asks for.")
        chosen.append(_choice(offered, part, mixture.dev_language, () if len(mixture.tasks) == 1 else (name,)))
    return chosen


def _choice(offered: Mapping[str, tuple[Path, Meta]], part: Part, source: str, seed_parts: tuple[str, ...]) -> Choice:
    """Choose from what is there of a task that is scored on its `source` language."""
    path, meta = offered.get(source) or offered[part.languages[0]]
    for other_path, other in offered.values():
        if (other.kind, other.labels, other.metrics) != (meta.kind, meta.labels, meta.metrics):
            raise UserError(f"{other_path}: kind, labels or metrics are not those of {path}. Prepare the task again.")
    dev_languages: Sequence[str] = ()
    if part.rate is None:
        # Plain text is in many languages, and perhaps not in the source language.
        there = "dev" in meta.counts and meta.language == source
        dev_languages = part.languages if meta.kind == "text" and not there else (source,)
    counts = {language: about.counts for language, (_, about) in offered.items()}
    lacking = not any("train" in counts[language] for language in part.languages) or (
        dev_languages and not any("dev" in counts.get(language, {}) for language in dev_languages)
    )
    if lacking:
        raise UserError(
            f"{path}: training needs the splits train and dev, dev in {' '.join(dev_languages)}; there are {counts}."
        )
    used = [language for language in sorted({*part.languages, *dev_languages}) if language in offered]
    return Choice(
        meta=meta,
        part=part,
        files={language: offered[language][0] for language in used},
        dev_languages=dev_languages,
        digests={language: offered[language][1].sha256 for language in used},
        seed_parts=seed_parts,
    )


def load(choice: Choice, form: Form, *, shuffled: int | None) -> Task:
    """Read and encode a task.

    Args:
      choice: what of it.
      form: the task's; it learns its options from the training rows.
      shuffled: seed to shuffle labels with, None to leave them.

    Raises:
      UserError: there is nothing to be learnt from.
    """
    files = choice.files
    train_rows = [row for language in choice.part.languages for row in read_rows(files[language], "train")]
    dev_rows = [
        row for language in choice.dev_languages if language in files for row in read_rows(files[language], "dev")
    ]
    if shuffled is not None:
        train_rows = shuffle_labels(choice.meta.kind, train_rows, shuffled)
    form.learn_options(train_rows)
    examples = form.encode(train_rows, training=True)
    if not examples:
        path = next(iter(files.values()))
        raise UserError(f"{path}: not one training example can be learnt from at max_length {form.limits.max_length}.")
    cut = form.cuts(examples)
    if told := describe(cut):
        log.warning("%s: of the training data %s", choice.meta.task, told)
    return Task(
        **vars(choice),
        form=form,
        rows=sum(row.get("side") != "candidate" for row in train_rows),
        examples=examples,
        dev_rows=dev_rows,
        dev_examples=form.encode(dev_rows, training=False) if dev_rows else [],
        cut=cut,
    )
