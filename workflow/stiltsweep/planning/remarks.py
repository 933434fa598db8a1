"""What the resolved settings of a sweep say that a reader of its plan should know before the first job."""

from __future__ import annotations

from collections.abc import Iterator

from ..jobs import Jobs
from ..languages import SOURCE_LANGUAGE
from ..resources import EXAMPLES
from ..settings import TrainingSettings
from ..training.plan import total_updates, warmup_updates


def of(jobs: Jobs) -> list[str]:
    """Return the remarks on a sweep's recipes and trainings, one sentence each."""
    return [*_recipes(jobs), *_warmups(jobs)]


def _recipes(jobs: Jobs) -> Iterator[str]:
    """Yield each model's recipe, and the tasks that it says nothing of."""
    sweep = jobs.sweep
    trained = [tasks[-1] for tasks in sweep.trainings.values()]
    mixed = [part.task for arm in sweep.arms.values() for part in arm.parts]
    tasks = dict.fromkeys([*mixed, *trained])
    for model in sweep.models:
        recipe = jobs.recipe(model)
        if recipe is None:
            continue
        unknown = [task for task in tasks if not recipe.knows(task)]
        rest = (
            f" It says nothing of {', '.join(unknown)}: their own settings, under its general ones." if unknown else ""
        )
        yield f"{model}: recipe {recipe.name}.{rest}"


def _warmups(jobs: Jobs) -> Iterator[str]:
    """Yield trainings that end before their warm-up does."""
    sweep = jobs.sweep
    for model in sweep.models:
        for tasks in sweep.trainings.values():
            settings = jobs.training("target", model, tasks[-1])
            count = sweep.catalog.task(tasks[-1]).languages.get(SOURCE_LANGUAGE, {}).get("train", EXAMPLES)
            yield from _short(f"{model} on {tasks[-1]}", settings, int(count))
        for arm in sweep.stages:
            parts = [part for part in sweep.arms[arm].parts if part.rate is None]
            counts = [
                int(sweep.catalog.intermediates[part.task].languages.get(code, {}).get("train", EXAMPLES))
                for part in parts
                for code in part.languages
            ]
            settings = jobs.intermediate_training(model, arm)
            yield from _short(f"{model} on the intermediate {arm}", settings, sum(counts))


def _short(what: str, settings: TrainingSettings, examples: int) -> Iterator[str]:
    total = total_updates(examples, settings)
    warmup = warmup_updates(total, settings)
    if warmup > total:
        last = total - 1 if settings.warmup_from_zero else total
        yield (
            f"{what}: the warm-up of {warmup:g} updates is longer than the run of {total}, so that the learning rate "
            f"ends at {settings.learning_rate * last / warmup:.2g} and never reaches {settings.learning_rate:.2g}."
        )


__all__ = ["of"]
