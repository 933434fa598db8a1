"""What jobs compute and need: floating-point operations, memory, time and disk, from the sizes in the catalogue.

Operations by the rule of 6 per parameter and token for training and 2 for a forward pass, embeddings not counted
(Kaplan et al. 2020, Scaling Laws for Neural Language Models, arXiv:2001.08361). These are estimates for plans and for
requests to a cluster; no number of a result depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .catalog import Model, Task
from .jobs import Jobs
from .languages import SOURCE_LANGUAGE
from .settings import TrainingSettings

TOKENS = {
    "classification": 48,
    "multiple_choice": 192,
    "tagging": 32,
    "span_qa": 256,
    "retrieval": 24,
    "mining": 24,
    "word_features": 32,
}
"""Rough mean of tokens per example of the published tasks, for catalogue entries without `tokens` of their own."""
CORPUS_TOKENS = 30
"""The same of a corpus that a model is made from here: messages of user interfaces, with their corrupted spans."""
EXAMPLES = 10_000
"""Examples of a task whose catalogue entry states no number."""
GENERATION = 8
"""Writing an answer piece by piece keeps a processor this many times less busy than reading."""
CPU_TERAFLOPS = 0.05
"""Sustained by one core in 32-bit training."""
STARTUP_SECONDS = 20
"""Python, torch and the weights, before the first update, on a cluster's node."""
BASE_MB = 3000
"""Python with torch and CUDA's context."""
MARGIN = 3
"""Time asked for over time expected: a limit that is hit costs a try, a generous one a little priority."""
MINIMUM_MINUTES = 15


@dataclass(frozen=True)
class Size:
    """A model's parameters."""

    parameters: int
    dense: int
    """Without embeddings."""

    @classmethod
    def of(cls, model: Model) -> Size:
        """Derive from width and depth: 12 h^2 for an encoder layer and 16 h^2 for a decoder layer (cross-attention)."""
        about = model.definition
        per_layer = 28 if model.interface == "text2text" else 12
        parameters = int(about["parameters"])
        return cls(parameters, min(parameters, per_layer * int(about["layers"]) * int(about["hidden_size"]) ** 2))


@dataclass(frozen=True)
class Need:
    """What one job computes and occupies."""

    flops: float
    memory_mb: int
    """Of the host; the first try."""
    checkpoint_bytes: int = 0
    """Weights it leaves."""


class Needs:
    """Needs of a sweep's jobs, by rule and wildcards."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sweep = sweep = jobs.sweep
        self.training_gpus: int = sweep.config["resources"]["gpus"]
        """GPUs of one training job."""
        self.gpus = min(1, self.training_gpus)
        """GPUs of one job of another kind."""
        self._known: dict[tuple[str, ...], Need] = {}

    @cached_property
    def flops_per_second(self) -> float:
        """Speed that requests are made for."""
        return 1e12 * (float(self.sweep.config["resources"]["teraflops"]) if self.gpus else CPU_TERAFLOPS)

    def need(self, rule: str, wildcards: Mapping[str, Any]) -> Need:
        """Return what a job of a rule needs; rules without a model need next to nothing.

        Args:
          rule: pretrain, intermediate, finetune, predict or probe; of any other rule nothing is known.
          wildcards: the job's, as Snakemake gives them.
        """
        names = _NAMES.get(rule)
        if names is None:
            return Need(0.0, BASE_MB)
        key = (rule, *(str(wildcards[name]) for name in names))
        if key not in self._known:
            self._known[key] = getattr(self, f"_{rule}")(*key[1:])
        return self._known[key]

    def parameters(self, model: str) -> int:
        """Return a model's number of parameters."""
        return Size.of(self.sweep.catalog.models[model]).parameters

    def memory_mb(self, rule: str, wildcards: Mapping[str, Any], attempt: int = 1) -> int:
        """Return the host memory to ask for; every further try gets as much again."""
        return self.need(rule, wildcards).memory_mb * self._processes(rule) * attempt

    def _processes(self, rule: str) -> int:
        """Return how many processes share a job's work; each reads the whole model before it keeps its piece."""
        return max(1, self.training_gpus) if rule in ("intermediate", "finetune") else 1

    def minutes(self, rule: str, wildcards: Mapping[str, Any], attempt: int = 1) -> int:
        """Return the time limit to ask for; every further try, which goes on from the last one, gets as much again."""
        speed = self.flops_per_second * self._processes(rule)
        seconds = STARTUP_SECONDS + self.need(rule, wildcards).flops / speed
        return max(MINIMUM_MINUTES, math.ceil(MARGIN * seconds / 60)) * attempt

    def _pretrain(self, model: str) -> Need:
        definition = self.sweep.catalog.models[model].definition
        settings = TrainingSettings(max_updates=int(definition["source"]["updates"]))
        tokens = settings.batch_size * CORPUS_TOKENS * int(definition["source"]["updates"])
        return self._trained(model, settings, tokens)

    def _intermediate(self, model: str, intermediate: str) -> Need:
        settings = self.jobs.intermediate_training(model, intermediate)
        return self._trained(model, settings, self._intermediate_tokens(intermediate, settings))

    def _intermediate_tokens(self, intermediate: str, settings: TrainingSettings) -> float:
        arm = self.sweep.arms[intermediate]
        catalog = self.sweep.catalog
        parts = [part for part in arm.parts if part.rate is None]
        counts = [_count(catalog.intermediates[part.task], part.languages, "train") for part in parts]
        if len(parts) > 1:
            counts = [min(count, arm.cap) for count in counts]
        share = [count / max(1, sum(counts)) for count in counts]
        means = [tokens_per_example(catalog.intermediates[part.task], settings.max_length) for part in parts]
        mean = sum(part * one for part, one in zip(share, means, strict=True))
        examples = _examples(sum(counts), mean, settings)
        tokens = examples * mean
        # Text is mixed in on top: its share of all updates.
        texts = [(part.rate, catalog.intermediates[part.task]) for part in arm.parts if part.rate is not None]
        alone = 1 - sum(rate for rate, _ in texts)
        return tokens + sum(
            examples * rate / alone * tokens_per_example(text, settings.max_length) for rate, text in texts
        )

    def _finetune(self, model: str, intermediate: str, training: str) -> Need:
        task = self.sweep.catalog.task(self.sweep.trainings[training][-1])
        settings = self.jobs.training("target", model, task.name)
        mean = tokens_per_example(task, settings.max_length)
        tokens = mean * _examples(_count(task, [SOURCE_LANGUAGE], "train"), mean, settings)
        if self.sweep.matched(model, intermediate, training, 0):
            matched = self.sweep.arms[intermediate].matches or ""
            before = self.jobs.intermediate_training(model, matched)
            # As many updates more, but on this task; tokens of an update are about those of the other's.
            updates = self._intermediate_tokens(matched, before) / (before.batch_tokens or before.batch_size)
            tokens += updates * (settings.batch_tokens or settings.batch_size)
        return self._trained(model, settings, tokens)

    def _predict(self, model: str, target: str) -> Need:
        about, task = self.sweep.catalog.models[model], self.sweep.catalog.targets[target]
        size = Size.of(about)
        settings = self.jobs.training("target", model, target)
        tokens = _count(task, self.sweep.languages[target], "test") * tokens_per_example(task, settings.max_length)
        work = 2 * size.dense * tokens * (GENERATION if about.interface == "text2text" else 1)
        return Need(work, _memory(size.parameters, 0))

    def _probe(self, checkpoint: str, task: str) -> Need:
        model = self.sweep.probed[checkpoint].model
        about, probes = self.sweep.catalog.models[model], self.sweep.config["probes"]
        size = Size.of(about)
        width, layers = int(about.definition["hidden_size"]), int(about.definition["layers"]) + 1
        languages, poolings = len(self.sweep.probe_tasks[task]), len(probes["pooling"])
        read = 2 * size.dense * languages * probes["sentences"] * TOKENS[self.sweep.catalog.probes[task].kind]
        # Of every probe the products of the words' vectors with each other; not every language has every feature.
        fitted = languages * len(probes["features"]) / 2 * layers * poolings * 2 * probes["words"] * width**2
        # Vectors of one language: about a dozen words of a sentence have a feature.
        held = 4 * poolings * layers * 12 * probes["sentences"] * width
        return Need(read + fitted, _memory(size.parameters, 0) + math.ceil(held / 1e6))

    def _trained(self, model: str, settings: TrainingSettings, tokens: float) -> Need:
        about = self.sweep.catalog.models[model]
        size = Size.of(about)
        # Frozen layers are passed forward only.
        dense = size.dense * max(0.0, 1 - settings.freeze_layers / int(about.definition["layers"]))
        pruned = bool(about.definition["vocabulary"].get("prune"))
        rows = 0 if pruned or settings.freeze_embeddings else size.parameters - size.dense
        learnt = round(dense) + rows
        return Need(tokens * (2 * size.dense + 4 * dense), _memory(size.parameters, learnt), 4 * learnt)


_NAMES = {
    "pretrain": ("model",),
    "intermediate": ("model", "intermediate"),
    "finetune": ("model", "intermediate", "training"),
    "predict": ("model", "target"),
    "probe": ("checkpoint", "task"),
}


def tokens_per_example(task: Task, max_length: int) -> int:
    """Return the rough mean of tokens per example of a task; plain text that says nothing of it fills max_length."""
    if "tokens" in task.definition:
        return int(task.definition["tokens"])
    if task.kind == "text":
        return max_length
    # Long texts are cut into windows or cut off; answers to choose from are sequences of their own.
    return TOKENS[task.kind] if task.kind in ("span_qa", "multiple_choice") else min(TOKENS[task.kind], max_length)


def _count(task: Task, languages: Iterable[str], split: str) -> int:
    return sum(int(task.languages.get(code, {}).get(split, EXAMPLES)) for code in languages)


def _examples(count: int, mean: float, settings: TrainingSettings) -> float:
    """Return how many examples, of a mean number of tokens, a run sees, repetitions included."""
    if settings.batch_tokens and settings.max_updates:
        return settings.max_updates * settings.batch_tokens / mean
    seen = settings.epochs * count
    return seen if settings.max_updates is None else min(seen, settings.max_updates * settings.batch_size)


def _memory(parameters: int, learnt: int) -> int:
    """Return megabytes: the weights twice while they are loaded; gradients, two moments and a state being saved."""
    return BASE_MB + math.ceil((8 * parameters + 16 * learnt) / 1e6)
