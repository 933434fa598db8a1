"""What every job's result is expected to be made from, compared with what is recorded of it.

The expectation comes from the configuration, the catalogue and the records of the job's inputs; neither weights nor
rows are read. Both sides, the job that writes a record and this plan, ask the same functions (see `identity`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from .. import identity
from ..errors import UserError
from ..files import SEAL, digest_file, read_record
from ..identity import Decisive, Record
from ..jobs import Jobs
from ..languages import ENGLISH
from ..settings import PredictionSettings, Representation
from .graph import TABLED, Job

ALWAYS = TABLED | {"evaluate"}
"""Rules whose outputs are there to be read: one that is missing is made again. Data, weights and predictions may be
deleted once all that is made from them is there."""
_RECORDED = {"prepare": 1}
"""Which of a rule's outputs is its record, where that is not the first one and none lies beside it."""


_ANEW = ("submission",)
"""Rules whose outputs are copies of others in another form, for which nobody keeps a record."""


class Expected:
    """Compares jobs with what lies in the results folder. Ask in the order of `graph.jobs`: makers before readers."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._sweep = jobs.sweep
        self._layout = jobs.layout
        self._root = Path(jobs.layout.results)
        self._records: dict[str, Record | None] = {}
        self.restated: dict[str, Record] = {}
        """Records of prepared data, by path, that say what the catalogue no longer says, as they are to be."""
        self._of: Mapping[str, Callable[[Job], Decisive]] = {
            "prepare": self._prepare,
            "fetch": self._fetch,
            "pretrain": self._pretrain,
            "intermediate": self._train,
            "finetune": self._train,
            "evaluate": self._evaluate,
        }

    def reason(self, job: Job) -> str | None:
        """Return why a job's outputs, which are all there, are not what is asked for; None if they are.

        Raises:
          UserError: what is asked for cannot be known.
        """
        if job.rule in _ANEW:
            return "it is written anew whenever it is asked for"
        path = self._record_of(job)
        if path is None:
            return None
        record = self._record(path)
        wanted = "languages" if job.rule == "predict" else identity.DECISIVE
        if record is None or wanted not in record:
            return f"{path} is damaged, or of another version"
        if job.rule == "predict":
            return self._unpredicted(job, record)
        if job.rule in TABLED:
            try:
                identity.made(Path(job.outputs[0]))
            except UserError as error:
                return str(error).partition(". ")[0]
        if differing := identity.differences(record, self.decisive(job)):
            return f"made from something else: {', '.join(differing[:4])}" + (" ..." if len(differing) > 4 else "")
        if job.rule == "prepare":
            return self._recounted(job, record)
        if job.rule == "evaluate" and digest_file(job.outputs[1]) != record["digests"]["statistics"]:
            return f"{job.outputs[1]} is not what was written there"
        return None

    def decisive(self, job: Job) -> Decisive:
        """Return what decides a job's result; of predictions see `languages`."""
        return self._tabled(job) if job.rule in TABLED else self._of[job.rule](job)

    def languages(self, job: Job) -> dict[str, Decisive]:
        """Return what decides the predictions of every language of a job."""
        names = job.wildcards
        model, target = names["model"], names["target"]
        settings = PredictionSettings.of(self._jobs.prediction_settings(model, target)).to_json()
        start = self._record(self._sweep.checkpoint(model, names["intermediate"], target, names["seed"]))
        base = self._base(model)
        task = self._sweep.layer_task(model, target)
        layer_data = None if task is None else self._meta(task, ENGLISH)
        return {
            language: identity.predicted(
                settings=settings,
                start=start,
                base=base,
                meta=self._meta(target, language),
                layer_data=layer_data,
                seed=int(names["seed"]),
            )
            for language in self._sweep.languages[target]
            # One that could not be prepared is none of the job's inputs (see `Jobs.prediction_data`).
            if self._layout.data(target, language) in job.inputs
        }

    def _record_of(self, job: Job) -> str | None:
        if job.rule in TABLED:
            return str(identity.record_path(job.outputs[0]))
        return job.outputs[_RECORDED.get(job.rule, 0)] if job.rule in (*self._of, "predict") else None

    def _record(self, path: str) -> Record | None:
        """Return a record, None if it is gone or damaged."""
        if path not in self._records:
            try:
                self._records[path] = read_record(path)
            except (UserError, OSError):
                self._records[path] = None
        return self._records[path]

    def _recounted(self, job: Job, record: Record) -> str | None:
        """Return which counts of data are not those that the catalogue states.

        What their record merely carries on (metrics, how they are written as text) is from here on as it is stated now:
        no row depends on it, so no job runs for it. `restated` holds such records for whoever may write.
        """
        task, language = job.wildcards["task"], job.wildcards["language"]
        definition = self._jobs.task_definition(task, language)
        if wrong := identity.counted(record, definition["languages"][language]):
            return f"the catalogue expects other data: {', '.join(wrong)}"
        now = identity.said(record, definition)
        if now[SEAL] != record[SEAL]:
            path = job.outputs[_RECORDED["prepare"]]
            self.restated[path] = self._records[path] = now
        return None

    def _prepare(self, job: Job) -> Decisive:
        task, language = job.wildcards["task"], job.wildcards["language"]
        definition = self._jobs.task_definition(task, language)
        try:
            return identity.prepared(task, language, definition, self._jobs.read_files(task, language))
        except (UserError, OSError):
            # The user's files are not here (any more): what was made of them stands.
            return identity.prepared(task, language, definition, None)

    def _fetch(self, job: Job) -> Decisive:
        model = self._sweep.catalog.models[job.wildcards["model"]]
        definition = self._jobs.weights_definition(model.name)
        try:
            return identity.fetched(model.name, definition, identity.model_files(definition["source"]))
        except OSError:
            return identity.fetched(model.name, definition, None)

    def _pretrain(self, job: Job) -> Decisive:
        model = job.wildcards["model"]
        return identity.pretrained(model, self._jobs.weights_definition(model), self._jobs.pretraining(model).to_json())

    def _base(self, model: str) -> Record | None:
        return self._record(self._layout.model(model))

    def _meta(self, task: str, language: str) -> Record | None:
        return self._record(str(Path(self._layout.data(task, language)).with_suffix(".json")))

    def _train(self, job: Job) -> Decisive:
        sweep, names = self._sweep, job.wildcards
        model, arm = names["model"], names["intermediate"]
        if job.rule == "intermediate":
            run = self._jobs.intermediate_run(model, arm)
            start = self._layout.model(model)
            matched: list[str] = []
        else:
            run = self._jobs.target_run(model, arm, names["training"])
            start = sweep.training_start(model, arm, names["training"], names["seed"])
            matched = sweep.matched(model, arm, names["training"], names["seed"])
        more: int | None = 0
        for path in matched:
            record = self._record(path)
            more = None if record is None else int(record["updates"])
        data = {}
        for path in job.inputs:
            if path.endswith(".parquet"):
                task, language = Path(path).parent.name, Path(path).stem
                data[f"{task}/{language}"] = self._record(str(Path(path).with_suffix(".json")))
        return identity.trained(
            names={"stage": "intermediate" if job.rule == "intermediate" else "target", **run["identity"]},
            seed=int(names["seed"]),
            settings=run["settings"],
            representation=asdict(Representation.of(run["representation"])),
            prune=run["prune"],
            keep_head=run["keep_head"],
            mixture=run["mixture"],
            chance=run["chance"],
            more_updates=more,
            start=self._record(start),
            base=self._base(model),
            data=data,
        )

    def _unpredicted(self, job: Job, record: Record) -> str | None:
        """Return which languages of a checkpoint's predictions are not there, or made from something else."""
        predicted: Mapping[str, Record] = record["languages"]
        for language, expected in self.languages(job).items():
            if "error" in predicted.get(language, {"error": ""}):
                return f"{language} is not predicted yet"
            if changed := identity.differences(predicted[language], expected):
                return f"made from something else: {', '.join(changed[:4])}"
        return None

    def _evaluate(self, job: Job) -> Decisive:
        names = job.wildcards
        index = self._layout.predictions(*(names[key] for key in ("model", "intermediate", "target", "seed")))
        return identity.scored(
            names={**names, "seed": int(names["seed"])},
            index=self._record(index),
            meta=self._meta(names["target"], names["language"]),
            family=self._sweep.family(names["language"]),
            contaminated=self._sweep.contaminated(names["intermediate"], names["target"]),
        )

    def _tabled(self, job: Job) -> Decisive:
        known: dict[str, str] = {}
        for path in job.inputs:
            if path.endswith(".json") and (record := self._records.get(path)) is not None:
                known[path] = str(record[SEAL])
        return identity.tabled(job.rule, job.arguments, identity.inputs(self._root, job.inputs, known))
