"""The grid of cells: what a configuration asks for, what starts from what, what is left out and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .arms import BASELINE, Arm
from .catalog import DEV, OURS, Catalog, Recipe
from .config import resolve_arms
from .facts import SIDED
from .languages import ENGLISH
from .layout import Cell, Layout
from .records import SPLITS


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


class Sweep:
    """A checked configuration and its catalogue, seen as a grid."""

    def __init__(self, config: Mapping[str, Any], catalog: Catalog) -> None:
        self.config = config
        self.catalog = catalog
        self.layout = Layout(str(config["results"]))
        self.models: list[str] = list(config["models"])
        self.arms: dict[str, Arm] = resolve_arms(config, catalog)
        # The baseline comes first, whatever the order in the file: tables and plans read from it.
        self.intermediates: list[str] = [name for name in self.arms if name in config["intermediates"]]
        self.seeds: list[int] = list(config["seeds"])

    @property
    def sources(self) -> list[str]:
        """Languages that targets are trained in; the first one's development data choose the state that is kept."""
        return list(self.config["source_language"])

    @property
    def source(self) -> str:
        """The language that lifts transfer from: none of the transfer languages."""
        return self.sources[0]

    @property
    def shots(self) -> int:
        """Examples of each other language that a model is trained on before it predicts there."""
        return int(self.config["shots"]["examples"])

    def splits(self, task: str, language: str) -> list[str]:
        """Return the splits of a task in a language that the sweep reads, of those that the catalogue counts.

        A target's other languages have training data in vain, unless they are a source or give shots.
        """
        about = self.catalog.task(task)
        offered = [split for split in SPLITS if split in about.languages[language]]
        if language in self.sources:
            return offered
        usual = about.usual_splits(language)
        shots = offered[:1] if self.shots and about.role == "target" else []
        return [split for split in offered if split in usual or split in shots]

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
        omitted = []
        for target, wanted in self.config["targets"].items():
            for language in wanted:
                count = self.catalog.targets[target].languages[language].get("test")
                if count is not None and count < minimum:
                    omitted.append(Omitted(target, language, f"{count} test examples, fewer than {minimum}"))
            left_out = set(self.intermediates) - set(self.arms_of(target))
            reason = "no training of its own that could go on"
            omitted += [Omitted(target, "", reason, arm) for arm in self.intermediates if arm in left_out]
        for name in self.config.get("without", []):
            as_target = name in self.catalog.targets
            omitted.append(Omitted(name if as_target else "", "", "named by `without`", "" if as_target else name))
        return omitted

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
        return list(dict.fromkeys([*mixed, *trained, *self.languages, *self._layer_tasks]))

    def recipe(self, model: str) -> Recipe | None:
        """Return the recipe of a model, None where its own and the tasks' settings are all."""
        return self.catalog.recipes.get(self.config["recipe"].get(self.catalog.models[model].interface, OURS))

    def retrieval(self, model: str, target: str) -> dict[str, Any]:
        """Return which representation of a model a target compares: the model's own, or what its recipe says."""
        recipe = self.recipe(model)
        return {
            **self.catalog.models[model].definition["retrieval"],
            **(recipe.retrieval(model, target) if recipe else {}),
        }

    def layer_task(self, model: str, target: str) -> str | None:
        """Return the task whose English dev data choose the layer that a target compares; None: nothing is chosen.

        A target that is trained on compares the last layer, which training shapes.
        """
        chosen = self.retrieval(model, target)
        if self.catalog.targets[target].kind not in SIDED or self.trained(target) or chosen["layer"] != DEV:
            return None
        return str(chosen["dev_task"])

    @cached_property
    def _layer_tasks(self) -> list[str]:
        tasks = (self.layer_task(model, target) for model in self.models for target in self.languages)
        return [task for task in tasks if task is not None]

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
        checkpoints = []
        for model in self.models:
            checkpoints.append(Probed("pretrained", model, BASELINE, "", None, self.start(model, BASELINE, 0)))
            for arm in self.intermediates:
                for seed in self.seeds:
                    if self.arms[arm].stage:
                        checkpoints.append(Probed("intermediate", model, arm, "", seed, self.start(model, arm, seed)))
                    for training in self._trainings_of(arm):
                        record = self.layout.finetuned(model, arm, training, seed)
                        checkpoints.append(Probed("target", model, arm, training, seed, record))
        stages = self.config["probes"]["stages"] if self.probe_tasks else ()
        return {self.layout.checkpoint_name(one.record): one for one in checkpoints if one.stage in stages}

    def _trainings_of(self, arm: str) -> list[str]:
        """Return the trainings that predict the targets of an arm."""
        targets = [target for target in self.languages if self.trained(target) and arm in self.arms_of(target)]
        return list(dict.fromkeys(self.catalog.targets[target].trainings[-1] for target in targets))

    def intermediate_data(self, intermediate: str) -> list[str]:
        """Return the prepared data an arm's intermediate stage reads: development data are English."""
        paths = []
        for part in self.arms[intermediate].parts:
            offered = self.catalog.intermediates[part.task].languages
            source = [ENGLISH] if "dev" in offered.get(ENGLISH, {}) else []
            paths += [self.layout.data(part.task, code) for code in dict.fromkeys([*source, *part.languages])]
        return paths

    def training_data(self, training: str) -> list[str]:
        """Return the prepared data that the last part of a target-stage training reads."""
        return [self.layout.data(self.trainings[training][-1], code) for code in self.sources]

    def start(self, model: str, intermediate: str, seed: int | str) -> str:
        """Return the checkpoint targets start from: the model itself where there is no intermediate stage."""
        if not self.arms[intermediate].stage:
            return self.layout.model(model)
        return self.layout.intermediate(model, intermediate, seed)

    def training_start(self, model: str, intermediate: str, training: str, seed: int | str) -> str:
        """Return the checkpoint a target-stage training starts from: its first task's, where it has two."""
        before = training.rpartition("+")[0]
        return (
            self.layout.finetuned(model, intermediate, before, seed)
            if before
            else self.start(model, intermediate, seed)
        )

    def matched(self, model: str, intermediate: str, training: str, seed: int | str) -> list[str]:
        """Return the intermediate checkpoint (if any) whose updates a target-stage training makes in addition.

        Of a chain of trainings only the last one goes on; the ones before it have no target of their own.
        """
        matches = self.arms[intermediate].matches
        if not matches or training not in self._last_trainings:
            return []
        return [self.layout.intermediate(model, matches, seed)]

    def checkpoint(self, model: str, intermediate: str, target: str, seed: int | str) -> str:
        """Return the checkpoint that predicts a target."""
        if not self.trained(target):
            return self.start(model, intermediate, seed)
        return self.layout.finetuned(model, intermediate, self.catalog.targets[target].trainings[-1], seed)

    def probe_files(self) -> list[str]:
        """Return the probes of all checkpoints."""
        return [self.layout.probe(checkpoint, task) for checkpoint in self.probed for task in self.probe_tasks]

    def cell_files(self, model: str | None = None, target: str | None = None) -> list[str]:
        """Return the files of all cells, or of one model's or target's."""
        return [self.layout.cell(cell) for cell in self.cells(model, target)]

    def family(self, language: str) -> str:
        """Return a language's family under the configured grouping, empty if it has none."""
        return self.catalog.languages.value(language, self.config["families"])

    @cached_property
    def behavioural(self) -> list[str]:
        """Targets whose examples test capabilities, so that failures are counted by capability."""
        return [target for target in self.languages if self.catalog.targets[target].definition["capabilities"]]

    @cached_property
    def behaviour_files(self) -> list[str]:
        """Failure rates and failing examples, if the sweep has behavioural tests."""
        return [self.layout.path(place) for place in ("failure_rates", "failing_examples") if self.behavioural]

    def models_from(self, *types: str) -> list[str]:
        """Return the models whose source is of one of these types."""
        return [model for model in self.models if self.catalog.models[model].definition["source"]["type"] in types]

    def measured(self, target: str) -> list[str]:
        """Return the languages a target's texts are measured in: its own, and English, to compare with."""
        about = self.catalog.targets[target].languages.get(ENGLISH)
        # A language of which nothing is stated is trusted to have test data.
        english = [ENGLISH] if about is not None and ("test" in about or not about) else []
        return list(dict.fromkeys([*english, *self.languages[target]]))

    def segmentations(self, target: str) -> dict[str, str]:
        """Return language -> file of morpheme boundaries, as far as a user supplies them for a target."""
        supplied: Mapping[str, str] = self.config["segmentations"]
        return {language: supplied[language] for language in self.measured(target) if language in supplied}

    @property
    def measure_files(self) -> list[str]:
        """Measures of every model's tokenizer on every target."""
        return self._by_pair("measures")

    @property
    def corpora(self) -> list[str]:
        """`model=corpus` of every model whose pre-training corpus languages.csv has the sizes of."""
        about = {model: self.catalog.models[model].definition.get("pretraining_corpus") for model in self.models}
        return [f"{model}={corpus}" for model, corpus in about.items() if corpus]

    @property
    def diagnosis_files(self) -> list[str]:
        """Lifts by bucket of every model and target, unless they are switched off."""
        if not self.config["diagnosis"]["attributes"]:
            return []
        return self._by_pair("buckets")

    @property
    def test_files(self) -> list[str]:
        """Tests of every model and target."""
        return self._by_pair("tests")

    def _by_pair(self, place: str) -> list[str]:
        pairs = [(model, target) for model in self.models for target in self.languages]
        return [self.layout.path(place, model=model, target=target) for model, target in pairs]
