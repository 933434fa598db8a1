"""The grid of cells: what a configuration asks for, what is left out and why, and where everything lies on disk."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .arms import BASELINE, Arm
from .catalog import BUILT_IN, Catalog
from .config import resolve_arms
from .errors import UserError
from .files import canonical, digest, read_json
from .languages import SOURCE_LANGUAGE
from .records import SIDED, UNPREPARED
from .settings import Stage, TrainingSettings, overlay, resolve, resolve_mixture
from .sources import templates


@dataclass(frozen=True, order=True)
class Cell:
    """One model, intermediate, target, seed and language."""

    model: str
    intermediate: str
    target: str
    seed: int
    language: str


@dataclass(frozen=True)
class Omitted:
    """A target's language, or an arm's target, that the configuration names and the sweep leaves out."""

    target: str
    language: str
    """Empty: all of them."""
    reason: str
    intermediate: str = ""
    """Empty: all of them."""


@dataclass(frozen=True)
class Probed:
    """A checkpoint that is probed."""

    stage: str
    """`pretrained`, `intermediate` or `target`."""
    model: str
    intermediate: str
    training: str
    """What a target checkpoint was trained on; empty for the other stages."""
    seed: int | None
    """None for the pretrained model."""
    record: str
    """Its model.json or checkpoint.json."""


FAILURES = "failures.json"
"""Beside an index of predictions: languages that could not be predicted (see `evaluation`)."""


class Sweep:
    """A checked configuration and its catalogue, seen as a grid."""

    def __init__(self, config: Mapping[str, Any], catalog: Catalog) -> None:
        self.config = config
        self.catalog = catalog
        self.results = str(config["results"])
        self.models: list[str] = list(config["models"])
        self.arms: dict[str, Arm] = resolve_arms(config, catalog)
        # The baseline comes first, whatever the order in the file: tables and plans read from it.
        self.intermediates: list[str] = [name for name in self.arms if name in config["intermediates"]]
        self.seeds: list[int] = list(config["seeds"])
        # How often a state is saved reaches the jobs another way (see settings.SAVE_MINUTES).
        self._overrides = {key: value for key, value in config["training"].items() if key != "save_minutes"}
        self._failures: set[str] | None = None
        self._templates: dict[tuple[str, str], list[str]] = {}

    @cached_property
    def languages(self) -> dict[str, list[str]]:
        """Target -> languages that are built, in the configuration's order."""
        left_out = {(o.target, o.language) for o in self.omitted if o.language}
        return {
            target: [language for language in wanted if (target, language) not in left_out]
            for target, wanted in self.config["targets"].items()
        }

    @cached_property
    def omitted(self) -> list[Omitted]:
        """Languages below `minimum_examples` by the catalogue's counts (an unstated count is trusted), and targets that
        are not trained on in arms that continue a target's training.
        """
        minimum = self.config["minimum_examples"]
        found = []
        for target, wanted in self.config["targets"].items():
            for language in wanted:
                count = self.catalog.targets[target].languages[language].get("test")
                if count is not None and count < minimum:
                    found.append(Omitted(target, language, f"{count} test examples, fewer than {minimum}"))
            left_out = set(self.intermediates) - set(self.arms_of(target))
            reason = "no training of its own that could go on"
            found += [Omitted(target, "", reason, arm) for arm in self.intermediates if arm in left_out]
        return found

    def arms_of(self, target: str) -> list[str]:
        """Return the arms a target is built in, the baseline first."""
        return [arm for arm in self.intermediates if self.trained(target) or not self.arms[arm].matches]

    def cells(self, model: str | None = None, target: str | None = None) -> Iterator[Cell]:
        """Every cell, or one model's or target's, in the order of comparison."""
        grid = self.languages if target is None else {target: self.languages[target]}
        arms = {target: set(self.arms_of(target)) for target in grid}
        for one in self.models if model is None else [model]:
            for intermediate in self.intermediates:
                for name, languages in grid.items():
                    if intermediate not in arms[name]:
                        continue
                    for seed in self.seeds:
                        for language in languages:
                            yield Cell(one, intermediate, name, seed, language)

    def trained(self, target: str) -> bool:
        """Whether a target is trained on; the others are predicted straight from the intermediate checkpoint."""
        return bool(self.catalog.targets[target].train_on)

    def contaminated(self, intermediate: str, target: str) -> bool:
        """Whether an arm's intermediate stage sees the target's training or test data."""
        arm = self.arms[intermediate]
        return arm.stage is not None and any(
            target in self.catalog.intermediates[part.task].definition["contaminates"] for part in arm.parts
        )

    @cached_property
    def stages(self) -> list[str]:
        """Arms that are trained in an intermediate stage, those included that others only count the updates of."""
        return [arm.name for arm in self.arms.values() if arm.stage]

    @cached_property
    def trainings(self) -> dict[str, list[str]]:
        """Name of a target-stage training -> tasks trained on so far, its own one last.

        Targets that are trained on the same tasks share it.
        """
        # Names of tasks hold no plus sign.
        return {name: name.split("+") for target in self.languages for name in self.catalog.targets[target].trainings}

    @cached_property
    def _last_trainings(self) -> set[str]:
        """Trainings that predict a target."""
        return {self.catalog.targets[target].trainings[-1] for target in self.languages if self.trained(target)}

    @cached_property
    def tasks(self) -> list[str]:
        """Every task whose data the sweep needs."""
        trained = [task for tasks in self.trainings.values() for task in tasks]
        mixed = [part.task for arm in self.arms.values() for part in arm.parts]
        return list(dict.fromkeys([*mixed, *trained, *self.languages]))

    @cached_property
    def probe_tasks(self) -> dict[str, list[str]]:
        """Probing task -> languages that are probed."""
        wanted = self.config["probes"].get("languages")
        return {
            task: [code for code in self.catalog.probes[task].languages if wanted is None or code in wanted]
            for task in self.config["probes"]["tasks"]
        }

    @cached_property
    def probed(self) -> dict[str, Probed]:
        """Folder of every checkpoint that is probed, below the results -> what it is; empty without probing tasks."""
        found = []
        for model in self.models:
            found.append(Probed("pretrained", model, BASELINE, "", None, self.start(model, BASELINE, 0)))
            for arm in self.intermediates:
                for seed in self.seeds:
                    if self.arms[arm].stage:
                        found.append(Probed("intermediate", model, arm, "", seed, self.start(model, arm, seed)))
                    for training in self._trainings_of(arm):
                        record = self.finetuned(model, arm, training, seed)
                        found.append(Probed("target", model, arm, training, seed, record))
        stages = self.config["probes"]["stages"] if self.probe_tasks else ()
        return {str(Path(one.record).parent.relative_to(self.results)): one for one in found if one.stage in stages}

    def _trainings_of(self, arm: str) -> list[str]:
        """Return the trainings that predict the targets of an arm."""
        targets = [target for target in self.languages if self.trained(target) and arm in self.arms_of(target)]
        return list(dict.fromkeys(self.catalog.targets[target].trainings[-1] for target in targets))

    # Where things lie. The rules spell the same paths as patterns; a test holds the two together.

    def data(self, task: str, language: str) -> str:
        """Return the prepared data of a task in a language."""
        return f"{self.results}/data/{task}/{language}.parquet"

    def prediction_data(self, target: str) -> list[str]:
        """Return the prepared data that the predictions of a target wait for.

        Those of every language, but for languages that could not be prepared when it was tried last, by the same
        definition. They are tried again beside the predictions of the others, and predicted once their data are there.
        """
        everything = [self.data(target, language) for language in self.languages[target]]
        return [path for path in everything if path not in self._unprepared]

    @cached_property
    def _unprepared(self) -> set[str]:
        # Looked up once, so that it is the same for all jobs of a run.
        found = set()
        for target, languages in self.languages.items():
            notes = {note.stem: note for note in Path(self.data_folder(target)).glob(f"*{UNPREPARED}")}
            for language in notes.keys() & languages:
                path = self.data(target, language)
                if not Path(path).is_file() and self._still_holds(notes[language], target, language):
                    found.add(path)
        return found

    def _still_holds(self, note: Path, task: str, language: str) -> bool:
        """Whether the definition that could not be prepared is the one of now."""
        try:
            return bool(read_json(note)["definition"] == digest(self.task_definition(task, language)))
        except (UserError, KeyError, TypeError):
            return False

    def intermediate_data(self, intermediate: str) -> list[str]:
        """Return the prepared data an arm's intermediate stage reads: development data are English."""
        found = []
        for part in self.arms[intermediate].parts:
            offered = self.catalog.intermediates[part.task].languages
            source = [SOURCE_LANGUAGE] if "dev" in offered.get(SOURCE_LANGUAGE, {}) else []
            found += [self.data(part.task, code) for code in dict.fromkeys([*source, *part.languages])]
        return found

    def start(self, model: str, intermediate: str, seed: int | str) -> str:
        """Return the checkpoint targets start from: the model itself where there is no intermediate stage."""
        if not self.arms[intermediate].stage:
            return f"{self.results}/models/{model}/model.json"
        return self._intermediate(model, intermediate, seed)

    def training_start(self, model: str, intermediate: str, training: str, seed: int | str) -> str:
        """Return the checkpoint a target-stage training starts from: its first task's, where it has two."""
        before = training.rpartition("+")[0]
        return self.finetuned(model, intermediate, before, seed) if before else self.start(model, intermediate, seed)

    def matched(self, model: str, intermediate: str, training: str, seed: int | str) -> list[str]:
        """Return the intermediate checkpoint (if any) whose updates a target-stage training makes in addition.

        Of a chain of trainings only the last one goes on; the ones before it have no target of their own.
        """
        matches = self.arms[intermediate].matches
        if not matches or training not in self._last_trainings:
            return []
        return [self._intermediate(model, matches, seed)]

    def checkpoint(self, model: str, intermediate: str, target: str, seed: int | str) -> str:
        """Return the checkpoint that predicts a target."""
        if not self.trained(target):
            return self.start(model, intermediate, seed)
        return self.finetuned(model, intermediate, self.catalog.targets[target].trainings[-1], seed)

    def predictions(self, model: str, intermediate: str, target: str, seed: int | str) -> str:
        """Return the index of a checkpoint's predictions of a target."""
        return f"{self.results}/predictions/{model}/{intermediate}/{target}/seed{seed}/predictions.json"

    def failures(self, model: str, intermediate: str, target: str, seed: int | str) -> list[str]:
        """Return the file that says that a language could not be predicted and is to be tried again, if any."""
        path = f"{self.predictions(model, intermediate, target, seed).rpartition('/')[0]}/{FAILURES}"
        there = Path(path).is_file() if self._failures is None else path in self._failures
        return [path] if there else []

    def look(self) -> None:
        """Look once at what lies on disk and decides inputs, so that no input function of thousands of jobs does.

        A process that runs one job of a cluster does without and looks for that job only.
        """
        self._unprepared  # noqa: B018 (kept by looking)
        for target, languages in self.languages.items():
            for language in languages:
                self.templates(target, language)
        folder = Path(self.results) / "predictions"
        self._failures = {str(path) for path in folder.glob(f"*/*/*/*/{FAILURES}")}

    def probe(self, checkpoint: str, task: str) -> str:
        """Return the probes of a checkpoint, which is named by its folder below the results."""
        return f"{self.results}/probes/{checkpoint}/{task}.json"

    def probe_files(self) -> list[str]:
        """Return the probes of all checkpoints."""
        return [self.probe(checkpoint, task) for checkpoint in self.probed for task in self.probe_tasks]

    def _intermediate(self, model: str, intermediate: str, seed: int | str) -> str:
        return f"{self.results}/intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json"

    def finetuned(self, model: str, intermediate: str, training: str, seed: int | str) -> str:
        """Return the checkpoint of a target-stage training."""
        return f"{self.results}/finetune/{model}/{intermediate}/{training}/seed{seed}/checkpoint.json"

    def cell(self, cell: Cell) -> str:
        """Return the file of a cell."""
        return cell_path(self.results, cell)

    def cell_files(self, model: str | None = None, target: str | None = None) -> list[str]:
        """Return the files of all cells, or of one model's or target's."""
        return [cell_path(self.results, cell) for cell in self.cells(model, target)]

    def data_folder(self, task: str) -> str:
        """Return the folder of a task's prepared data."""
        return f"{self.results}/data/{task}"

    def family(self, language: str) -> str:
        """Return a language's family under the configured grouping, empty if it has none."""
        return self.catalog.languages.value(language, self.config["families"])

    # What rules pass to scripts. Canonical JSON, so that equal settings are equal text and nothing reruns for nothing;
    # and only what the stage uses, so that an edit reruns what it changes and no more.

    def definition(self, task: str, language: str) -> str:
        """Return what decides the data of a task in a language, as JSON (no other language's digest)."""
        return canonical(self.task_definition(task, language))

    def task_definition(self, task: str, language: str) -> dict[str, Any]:
        """Return what `definition` writes as JSON."""
        definition = {key: v for key, v in self.catalog.task(task).definition.items() if key not in _NOT_DATA}
        # Readers look at which splits the other languages have, never at what is in them.
        definition["languages"] = {
            code: {key: value for key, value in about.items() if code == language or key != "sha256"}
            for code, about in definition["languages"].items()
        }
        if "data_root" in self.config and definition["source"]["type"] == "files":
            definition["source"] = {"root": self.config["data_root"], **definition["source"]}
        if definition["source"]["type"] == "templates":
            definition["source"] = {**definition["source"], "root": _portable(definition["source"]["root"])}
        return definition

    def templates(self, task: str, language: str) -> list[str]:
        """Return the files of templates that a task in a language is filled in from, if it is."""
        if (task, language) not in self._templates:
            definition = self.task_definition(task, language)
            templated = definition["source"]["type"] == "templates"
            found = templates.paths(definition, language) if templated else []
            self._templates[task, language] = list(map(str, found))
        return self._templates[task, language]

    @cached_property
    def behavioural(self) -> list[str]:
        """Targets whose examples test capabilities, so that failures are counted by capability."""
        return [target for target in self.languages if self.catalog.targets[target].definition["capabilities"]]

    @cached_property
    def behaviour_files(self) -> list[str]:
        """Failure rates and failing examples, if the sweep has behavioural tests."""
        return [f"{self.results}/behaviour/{name}" for name in ("failures.csv", "examples.json") if self.behavioural]

    def reviews(self, target: str) -> dict[str, str]:
        """Return which languages of a target's templates a native speaker has checked: `native` or `needed`."""
        definition = self.catalog.targets[target].definition
        return templates.reviews(definition) if definition["source"]["type"] == "templates" else {}

    def model_definition(self, model: str) -> str:
        """Return what decides a model's weights and tokenizer, as JSON."""
        definition = self.catalog.models[model].definition
        return canonical({key: v for key, v in definition.items() if key not in _NOT_WEIGHTS})

    def intermediate_arguments(self, model: str, intermediate: str) -> str:
        """Return the arguments of `train.py` for an arm's intermediate stage, quoted for a shell."""
        arm = self.arms[intermediate]
        identity = {"model": model, "intermediate": intermediate, "target": None}
        arguments = self._training_arguments(model, self.intermediate_training(model, intermediate), identity)
        if arm.plain:
            task = self.catalog.intermediates[arm.parts[0].task]
            return shlex.join([*arguments, "--chance", str(task.definition["chance"])])
        return shlex.join([*arguments, "--mixture", canonical(arm.mixture(self.catalog))])

    def intermediate_training(self, model: str, intermediate: str) -> TrainingSettings:
        """Return the resolved training settings of a model in an arm's intermediate stage."""
        scored = [part.task for part in self.arms[intermediate].parts if part.rate is None]
        if len(scored) == 1:
            return self.training("intermediate", model, scored[0])
        tasks = [self.catalog.intermediates[task] for task in scored]
        own = self.config["arms"]["multi_task"]["training"]
        return resolve_mixture(self.catalog.models[model], tasks, self._overrides, own)

    def target_arguments(self, model: str, intermediate: str, training: str) -> str:
        """Return the arguments of `train.py` for a target-stage training, quoted for a shell."""
        *before, task = self.trainings[training]
        identity = {"model": model, "intermediate": intermediate, "target": training}
        arguments = self._training_arguments(model, self.training("target", model, task), identity)
        arguments += ["--chance", str(self.catalog.task(task).definition["chance"])]
        # The official recipes of two stages go on with the first one's head.
        return shlex.join([*arguments, "--keep-head"] if before else arguments)

    def _training_arguments(self, model: str, settings: TrainingSettings, identity: Mapping[str, Any]) -> list[str]:
        definition = self.catalog.models[model].definition
        return [
            *("--settings", canonical(settings.to_json())),
            *("--representation", canonical(_representation(definition))),
            *("--identity", canonical(identity)),
            *(["--prune"] if definition["vocabulary"].get("prune") else []),
        ]

    def training(self, stage: Stage, model: str, task: str) -> TrainingSettings:
        """Return the resolved training settings of a model on a task."""
        return resolve(stage, self.catalog.models[model], self.catalog.task(task), self._overrides)

    def pretraining(self, model: str) -> str:
        """Return the settings of `pretrain.py` as JSON: the model's own training settings, its number of updates."""
        definition = self.catalog.models[model].definition
        layers = [{**definition["training"], **self._overrides}]
        updates = definition["source"]["updates"]
        # Enough epochs for any number of updates: that number alone ends the run.
        return canonical(overlay("pretrain", *layers, {"max_updates": updates, "epochs": float(updates)}).to_json())

    def models_from(self, *types: str) -> list[str]:
        """Return the models whose source is of one of these types."""
        return [model for model in self.models if self.catalog.models[model].definition["source"]["type"] in types]

    def prediction(self, model: str, target: str) -> str:
        """Return the settings of `predict.py` as JSON."""
        definition = self.catalog.models[model].definition
        trained = self.training("target", model, target)
        return canonical(
            {
                **{key: getattr(trained, key) for key in ("max_length", "stride", "max_target_length", "precision")},
                "batch_tokens": self.config["prediction"]["batch_tokens"],
                "prune": bool(definition["vocabulary"].get("prune")),
                "representation": _representation(definition),
            }
        )

    def measured(self, target: str) -> list[str]:
        """Return the languages a target's texts are measured in: its own, and English, to compare with."""
        about = self.catalog.targets[target].languages.get(SOURCE_LANGUAGE)
        # A language of which nothing is stated is trusted to have test data.
        english = [SOURCE_LANGUAGE] if about is not None and ("test" in about or not about) else []
        return list(dict.fromkeys([*english, *self.languages[target]]))

    def segmentations(self, target: str) -> dict[str, str]:
        """Return language -> file of morpheme boundaries, as far as a user supplies them for a target."""
        supplied: Mapping[str, str] = self.config["segmentations"]
        return {language: supplied[language] for language in self.measured(target) if language in supplied}

    @property
    def measure_files(self) -> list[str]:
        """Measures of every model's tokenizer on every target."""
        return [f"{self.results}/measures/{model}/{target}.json" for model in self.models for target in self.languages]

    @property
    def diagnosis_files(self) -> list[str]:
        """Lifts by bucket of every model and target, unless they are switched off."""
        if not self.config["diagnosis"]["attributes"]:
            return []
        return [f"{self.results}/diagnosis/{model}/{target}.csv" for model in self.models for target in self.languages]

    def measure_arguments(self, target: str) -> str:
        """Return the arguments of `measure.py` that come from configuration and catalogue, quoted for a shell."""
        task = self.catalog.targets[target]
        arguments = ["--languages", *self.measured(target)]
        # Where English is no language of the task, it is what is searched.
        if task.kind in SIDED and SOURCE_LANGUAGE not in task.languages:
            arguments.append("--candidates-english")
        named = [f"{language}={path}" for language, path in self.segmentations(target).items()]
        return shlex.join([*arguments, *(["--segmentations", *named] if named else [])])

    def probe_identity(self, checkpoint: str, task: str) -> str:
        """Return what a probed checkpoint is, for the record, as JSON."""
        names = {key: value for key, value in asdict(self.probed[checkpoint]).items() if key != "record"}
        return canonical({**names, "task": task})

    def probe_settings(self) -> str:
        """Return the settings of `probe.py` as JSON."""
        probes = self.config["probes"]
        settings = {key: probes[key] for key in ("features", "pooling", "sentences", "words", "minimum")}
        return canonical({**settings, "batch_tokens": self.config["prediction"]["batch_tokens"]})

    def probe_families(self) -> str:
        """Return the family of every language that is probed, empty where it has none, as JSON."""
        codes = sorted({code for languages in self.probe_tasks.values() for code in languages})
        return canonical({code: self.family(code) for code in codes})

    def significance_arguments(self, target: str) -> str:
        """Return the arguments of `significance.py` that come from the configuration, quoted for a shell."""
        groupings = self.config["significance"]["groupings"]
        return shlex.join([*self._testing_arguments(target), *(["--groupings", *groupings] if groupings else [])])

    def diagnosis_arguments(self, target: str) -> str:
        """Return the arguments of `diagnose.py` that come from the configuration, quoted for a shell."""
        settings = self.config["diagnosis"]
        arguments = [*self._testing_arguments(target), "--attributes", *settings["attributes"]]
        return shlex.join([*arguments, "--buckets", str(settings["buckets"]), "--minimum", str(settings["minimum"])])

    def _testing_arguments(self, target: str) -> list[str]:
        settings = self.config["significance"]
        arguments = ["--intermediates", *self.arms_of(target), "--seeds", *map(str, self.seeds)]
        arguments += ["--languages", *self.languages[target], "--families", self.config["families"]]
        for key in ("resamples", "seed", "confidence", "resampling"):
            arguments += [f"--{key}", str(settings[key])]
        arguments += ["--failed-intermediates", settings["failed_intermediates"]]
        return [*arguments, *(["--allow-missing"] if settings["allow_missing"] else [])]

    def behaviour_arguments(self) -> str:
        """Return the arguments of `behaviour.py`, quoted for a shell."""
        tests = {}
        for target in self.behavioural:
            reviews, languages = self.reviews(target), self.languages[target]
            known = {language: reviews[language] for language in languages if language in reviews}
            tests[target] = {"intermediates": self.arms_of(target), "languages": languages, "review": known}
        arguments = ["--models", *self.models, "--seeds", *map(str, self.seeds), "--tests", canonical(tests)]
        return shlex.join([*arguments, "--confidence", str(self.config["significance"]["confidence"])])


_NOT_DATA = {
    "description",
    "citation",
    "notes",
    "provenance",
    "training",
    "contaminates",
    "chance",
    "benchmarks",
    "train_on",
    "capabilities",
    "tokens",
}
_NOT_WEIGHTS = {
    "description",
    "citation",
    "notes",
    "provenance",
    "licence",
    "pooling",
    "retrieval",
    "vocabulary",
    "training",
}


def _representation(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {"pooling": definition["pooling"], "retrieval": definition["retrieval"]}


def _portable(folder: str) -> str:
    """Name a folder of the built-in catalogue from the one that rules run in, so that a moved checkout is the same."""
    path = Path(folder)
    return str("workflow/catalog" / path.relative_to(BUILT_IN)) if path.is_relative_to(BUILT_IN) else folder


def cell_path(results: str, cell: Cell) -> str:
    """Return the file of a cell below a results folder."""
    return f"{results}/cells/{cell.model}/{cell.intermediate}/{cell.target}/seed{cell.seed}/{cell.language}.json"


__all__ = ["BASELINE", "FAILURES", "SOURCE_LANGUAGE", "Cell", "Omitted", "Probed", "Sweep", "cell_path"]
