"""What the resolved settings of a sweep say that a reader of its plan should know before the first job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..jobs import Jobs
from ..resources import EXAMPLES, Needs
from ..settings import TrainingSettings
from ..training.plan import total_updates, warmup_updates


def of(needs: Needs) -> list[str]:
    """Return the remarks on a sweep's recipes, trainings, memory and sources, one sentence each."""
    return [
        *_recipes(needs.jobs),
        *_adapters(needs.jobs),
        *_warmups(needs.jobs),
        *_memory(needs),
        *_unpinned(needs.jobs),
    ]


def _memory(needs: Needs) -> Iterator[str]:
    """Yield each model's largest training on a GPU, where it takes much of the card."""
    sweep = needs.sweep
    card, whole = needs.card
    share = int(sweep.config["resources"]["share"])
    there = whole / share
    part = f" for each of {share} jobs" if share > 1 else ""
    for model in sweep.models:
        jobs = [("intermediate", {"model": model, "intermediate": arm}) for arm in sweep.stages]
        jobs += [("predict", {"model": model, "target": target}) for target in sweep.languages]
        jobs += [
            ("finetune", {"model": model, "intermediate": arm, "training": training})
            for arm in sweep.intermediates
            for training in sweep.trainings
        ]
        if not needs.gpus or not jobs:
            continue
        most, rule, names = max(((needs.gpu_gigabytes(*job), *job) for job in jobs), key=lambda job: job[0])
        what = " on ".join(names[key] for key in ("model", "intermediate", "training", "target") if key in names)
        if most > there:
            count = -(-int(most * needs.training_gpus) // int(there)) if rule != "predict" else 0
            way = (
                f"Set resources: {{gpus: {max(2, count)}}}, which share it, or {{gradient_checkpointing: true}}"
                if count and share == 1
                else "Leave share out"
                if share > 1
                else "A prediction is one process"
            )
            yield (
                f"{model}: {rule} {what} needs about {most:.0f} GB of a GPU, and resources.card: {card} has "
                f"{there:.0f}{part}. {way}; or name a larger card."
            )
        elif most > there / _WORTH_SAYING:
            held = f"{card} has {there:.0f}{part}"
            yield f"{model}: at most about {most:.0f} GB of a GPU's memory ({rule} {what}); {held}."


_WORTH_SAYING = 2
"""A training that takes less of a card than one part in as many is not mentioned."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def _unpinned(jobs: Jobs) -> Iterator[str]:
    """Yield the repositories whose revision is a name that can move."""
    sweep, catalog = jobs.sweep, jobs.catalog
    sources = [catalog.models[model].definition["source"] for model in sweep.models]
    sources += [catalog.task(name).definition["source"] for name in [*sweep.tasks, *sweep.probe_tasks]]
    revisions = dict(revision for source in sources if source["type"] == "hub" for revision in _revisions(source))
    moving = [f"{repo} ({revision})" for repo, revision in revisions.items() if not _COMMIT.fullmatch(revision)]
    if moving:
        yield (
            f"not pinned to a commit: {', '.join(moving)}. What the name means is looked up when it is read, and "
            "recorded."
        )


def _revisions(value: Any) -> Iterator[tuple[str, str]]:
    """Yield repositories and revisions anywhere in a source."""
    if isinstance(value, list):
        for item in value:
            yield from _revisions(item)
    elif isinstance(value, dict):
        if "revision" in value and (repo := value.get("dataset") or value.get("repo")):
            yield str(repo), str(value["revision"])
        for item in value.values():
            yield from _revisions(item)


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


def _adapters(jobs: Jobs) -> Iterator[str]:
    """Yield the models that are trained by low-rank adapters."""
    for model in jobs.sweep.models:
        if told := jobs.adapters(model):
            yield f"{model}: training is by low-rank adapters, LoRA ({told}); training: {{lora: null}} trains weights."


def _warmups(jobs: Jobs) -> Iterator[str]:
    """Yield trainings that end before their warm-up does."""
    sweep = jobs.sweep
    for model in sweep.models:
        for tasks in sweep.trainings.values():
            settings = jobs.training("target", model, tasks[-1])
            about = sweep.catalog.task(tasks[-1]).languages
            count = sum(int(about.get(code, {}).get("train", EXAMPLES)) for code in sweep.sources)
            yield from _short(f"{model} on {tasks[-1]}", settings, count)
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
    if warmup > total > 0:
        last = total - 1 if settings.warmup_from_zero else total
        yield (
            f"{what}: the warm-up of {warmup:g} updates is longer than the run of {total}, so that the learning rate "
            f"ends at {settings.learning_rate * last / warmup:.2g} and never reaches {settings.learning_rate:.2g}."
        )


__all__ = ["of"]
