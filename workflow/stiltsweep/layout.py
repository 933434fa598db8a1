"""Where everything lies below the results folder: names -> path, and path -> names. Nothing else spells these paths.

The rules take their patterns from here too, so a place is moved by changing one line of `PLACES`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .errors import UserError

_RUN = "{model}/{intermediate}/{target}/seed{seed}"

PLACES = {
    # What stands first is looked for first: the fixed names of a folder before those of its languages.
    "data": "data/{task}/{language}.parquet",
    "data_record": "data/{task}/{language}.json",
    "model": "models/{model}/model.json",
    "intermediate": "intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json",
    "finetune": "finetune/{model}/{intermediate}/{training}/seed{seed}/checkpoint.json",
    "predictions": f"predictions/{_RUN}/predictions.json",
    "prediction": f"predictions/{_RUN}/{{language}}.json",
    "cell": f"cells/{_RUN}/{{language}}.json",
    "statistics": f"cells/{_RUN}/{{language}}.parquet",
    "probes": "probes/probes.csv",
    "probe": "probes/{checkpoint}/{task}.json",
    "lift": "significance/lift.csv",
    "lift_parquet": "significance/lift.parquet",
    "controls": "significance/controls.csv",
    "runs": "significance/runs.csv",
    "sensitivity": "significance/sensitivity.csv",
    "benchmarks": "significance/benchmarks.csv",
    "published": "significance/published.csv",
    "tests": "significance/{model}/{target}.json",
    "omnibus": "typology/omnibus.csv",
    "types": "typology/types.csv",
    "predictors": "typology/predictors.csv",
    "failure_rates": "behaviour/failures.csv",
    "failing_examples": "behaviour/examples.json",
    "measures": "measures/{model}/{target}.json",
    "attributes": "measures/{model}/{target}.parquet",
    "bucket_contrasts": "diagnosis/{model}/{target}.contrasts.csv",
    "buckets": "diagnosis/{model}/{target}.csv",
    "submission": "submission/index.json",
    "page": "report/index.html",
    "headline": "report/headline.txt",
    "description": "report/run.json",
    "figures": "report/figures",
    "tables": "report/tables",
    "plan": "plan/plan.json",
    "plan_page": "plan/plan.md",
    "power": "power/power.json",
    "power_page": "power/power.md",
}
"""Place -> its path below the results folder, names in braces."""
FOLDERS = frozenset({path.partition("/")[0] for path in PLACES.values()} | {"logs", "benchmarks"})
"""Folders of a results folder."""

JOB_NAMES = {
    "prepare": "{task}/{language}",
    "fetch": "{model}",
    "pretrain": "{model}",
    "intermediate": "{model}/{intermediate}/seed{seed}",
    "finetune": "{model}/{intermediate}/{training}/seed{seed}",
    "predict": _RUN,
    "evaluate": f"{_RUN}/{{language}}",
    "probe": "{checkpoint}/{task}",
    "discard": "{checkpoint}",
    "significance": "{model}/{target}",
    "measure": "{model}/{target}",
    "diagnose": "{model}/{target}",
    **dict.fromkeys(("probes", "lift", "typology", "behaviour", "describe", "scores", "submission", "report"), ""),
}
"""Rule -> its jobs in the folders of logs and benchmarks, below one of the rule's name; empty for a rule of one job."""


@dataclass(frozen=True, order=True)
class Cell:
    """One model, intermediate, target, seed and language."""

    model: str
    intermediate: str
    target: str
    seed: int
    language: str


class Place(NamedTuple):
    """What a path stands for."""

    place: str
    """A key of `PLACES`."""
    names: dict[str, str]
    """As the path spells them, a seed too."""


@dataclass(frozen=True)
class Layout:
    """The paths below one results folder."""

    results: str

    def pattern(self, place: str) -> str:
        """Return a place's path with its names left in braces, as a rule's output wants it."""
        return f"{self.results}/{PLACES[place]}"

    def path(self, place: str, **names: str | int) -> str:
        """Return the path of a place.

        Args:
          place: a key of `PLACES`.
          names: one for each in its braces.
        """
        return f"{self.results}/{PLACES[place].format_map(names)}"

    def place(self, path: str | Path) -> Place | None:
        """Return what a path stands for, None if it is not one of this folder's places."""
        below = str(path).removeprefix(f"{self.results}/")
        if below == str(path):
            return None
        for place, pattern in _patterns().items():
            if match := pattern.fullmatch(below):
                return Place(place, match.groupdict())
        return None

    def log(self, rule: str, **names: str | int) -> str:
        """Return the log of a job; without names, the pattern of the rule's logs."""
        return self._job("logs", rule, "log", names)

    def benchmark(self, rule: str, **names: str | int) -> str:
        """Return Snakemake's measurements of a job; without names, the pattern of the rule's."""
        return self._job("benchmarks", rule, "jsonl", names)

    def _job(self, folder: str, rule: str, suffix: str, names: dict[str, str | int]) -> str:
        below = JOB_NAMES[rule].format_map(names) if names else JOB_NAMES[rule]
        return f"{self.results}/{folder}/{rule}{'/' if below else ''}{below}.{suffix}"

    def folder(self, place: str) -> str:
        """Return the folder below the results that holds every file of a place, such as `cells`."""
        return f"{self.results}/{PLACES[place].partition('/')[0]}"

    # The places that are asked for most, by arguments that a type checker knows.

    def data(self, task: str, language: str) -> str:
        """Return the prepared data of a task in a language."""
        return self.path("data", task=task, language=language)

    def data_folder(self, task: str) -> str:
        """Return the folder of a task's prepared data."""
        return self.data(task, "").rpartition("/")[0]

    def model(self, model: str) -> str:
        """Return the record of a model as it was fetched or made, beside its weights."""
        return self.path("model", model=model)

    def intermediate(self, model: str, intermediate: str, seed: int | str) -> str:
        """Return the checkpoint of an arm's intermediate stage."""
        return self.path("intermediate", model=model, intermediate=intermediate, seed=seed)

    def finetuned(self, model: str, intermediate: str, training: str, seed: int | str) -> str:
        """Return the checkpoint of a target-stage training."""
        return self.path("finetune", model=model, intermediate=intermediate, training=training, seed=seed)

    def predictions(self, model: str, intermediate: str, target: str, seed: int | str) -> str:
        """Return the index of a checkpoint's predictions of a target."""
        return self.path("predictions", model=model, intermediate=intermediate, target=target, seed=seed)

    def prediction(self, cell: Cell) -> str:
        """Return the predictions of one language, which lie beside their index."""
        return self.path("prediction", **vars(cell))

    def cell(self, cell: Cell) -> str:
        """Return the file of a cell."""
        return self.path("cell", **vars(cell))

    def cell_of(self, path: str | Path) -> Cell:
        """Return the cell whose file a path is.

        Raises:
          UserError: no cell lies there.
        """
        at = self.place(path)
        if at is None or at.place != "cell":
            raise UserError(f"{path}: no cell lies there; cells lie at {self.pattern('cell')}.")
        names = at.names
        return Cell(names["model"], names["intermediate"], names["target"], int(names["seed"]), names["language"])

    def probe(self, checkpoint: str, task: str) -> str:
        """Return the probes of a checkpoint, which is named by its folder below the results."""
        return self.path("probe", checkpoint=checkpoint, task=task)

    def checkpoint_name(self, record: str) -> str:
        """Return the name of a checkpoint or model by its record: its folder below the results."""
        return str(Path(record).parent.relative_to(self.results))


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """Return the places' paths as expressions: a name holds no slash, but that of a checkpoint, which is a folder."""
    holes = {"seed": r"(?P<seed>\d+)", "checkpoint": r"(?P<checkpoint>.+)"}

    def expression(pattern: str) -> re.Pattern[str]:
        parts = re.split(r"\{(\w+)\}", pattern)
        names = [holes.get(part, f"(?P<{part}>[^/]+)") if i % 2 else re.escape(part) for i, part in enumerate(parts)]
        return re.compile("".join(names))

    return {place: expression(pattern) for place, pattern in PLACES.items()}
