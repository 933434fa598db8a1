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
from .interfaces import writes
from .jobs import Jobs
from .settings import ACTIVATION_BYTES, GPU_LOGITS, MICRO_BATCH_TOKENS, TrainingSettings


@dataclass(frozen=True)
class Cost:
    """What an example of a kind costs, roughly."""

    tokens: int
    """Mean of tokens per example of the published tasks, for catalogue entries without `tokens` of their own."""
    written: int = 0
    """The same of answers that are written as text; 0 where none are."""
    closed: bool = False
    """Whether answers are of a closed set, which a model that writes text weighs in one pass."""
    long: bool = False
    """Whether encoders read all of a text, however long: in windows, or as a sequence for each answer."""


COSTS = {
    "classification": Cost(48, 4, closed=True),
    "multiple_choice": Cost(192, 8, closed=True, long=True),
    "tagging": Cost(32, 40),
    "span_qa": Cost(256, 8, long=True),
    "retrieval": Cost(24),
    "mining": Cost(24),
    "word_features": Cost(32),
    "text": Cost(0),
    "generation": Cost(512, 48),
}
"""Kind -> costs. Plain text fills max_length, and `_CORRUPTED` of it is written."""
_CORRUPTED = 0.2
_CHOICES = 3
"""Answers of a closed set, all of which a prediction weighs."""
BYTES = 4.5
"""Bytes of an English sub-word, so how many times more pieces a model on bytes has; other scripts up to twice that."""
_BYTE_PIECES = 512
"""A vocabulary of at most as many pieces is one of bytes."""
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
    """Without embeddings and output layer."""
    decoder: int = 0
    """Of the dense ones, those of the decoder."""
    output: int = 0
    """Of the layer that scores every piece of the vocabulary; the embedding has as many more."""

    adapted: int = 0
    """What LoRA trains with adapters of rank 1, about."""

    @classmethod
    def of(cls, model: Model) -> Size:
        """Derive from width and depth: 12 h^2 for an encoder layer and 16 h^2 for a decoder layer (cross-attention).

        Where the size of the vocabulary is known, what it takes of the parameters is subtracted instead: it may be most
        of them. A causal model reads and writes with the same layers, and most have the embedding for output layer.
        """
        about = model.definition
        parameters, layers, width = int(about["parameters"]), int(about["layers"]), int(about["hidden_size"])
        # Of an attention's four matrices 8 h, of a feed-forward of width 4 h 10 h.
        adapted = 18 * layers * width
        if model.interface != "text2text":
            table = int(about["vocabulary"].get("size", 0)) * width
            dense = parameters - table if 0 < table < parameters else 12 * layers * width**2
            output = table if writes(model.interface) else 0
            return cls(parameters, min(parameters, dense), output=output, adapted=adapted)
        above = int(about.get("decoder_layers", layers))
        pieces = about["vocabulary"].get("size")
        dense = parameters - 2 * int(pieces) * width if pieces else (12 * layers + 16 * above) * width**2
        dense = max(1, min(parameters, dense))
        decoder = round(dense * 16 * above / (12 * layers + 16 * above))
        return cls(parameters, dense, decoder, (parameters - dense) // 2, adapted + 26 * above * width)

    @property
    def encoder(self) -> int:
        """Of the dense ones, those that read."""
        return self.dense - self.decoder

    @property
    def writing(self) -> int:
        """Of the dense ones, those that write: the decoder's, or all where there is none."""
        return self.decoder or self.dense


@dataclass(frozen=True)
class Need:
    """What one job computes and occupies."""

    flops: float
    memory_mb: int
    """Of the host; the first try."""
    checkpoint_bytes: int = 0
    """Weights it leaves."""
    gpu_mb: int = 0
    """Of the device of each of its processes, were there one."""


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

    @property
    def card(self) -> tuple[str, float]:
        """Return the kind of GPU that plans are made for, and its memory in GB."""
        name = str(self.sweep.config["resources"]["card"])
        return name, float(name.rpartition("-")[2])

    def gpu_gigabytes(self, rule: str, wildcards: Mapping[str, Any]) -> float:
        """Return the memory that a job needs of each of its GPUs; GPUs that share a training share all of it."""
        return self.need(rule, wildcards).gpu_mb / self._processes(rule) / 1e3

    def _pretrain(self, model: str) -> Need:
        definition = self.sweep.catalog.models[model].definition
        settings = TrainingSettings(max_updates=int(definition["source"]["updates"]))
        tokens = settings.batch_size * CORPUS_TOKENS * int(definition["source"]["updates"])
        return self._trained(model, settings, tokens, _CORRUPTED)

    def _intermediate(self, model: str, intermediate: str) -> Need:
        settings = self.jobs.intermediate_training(model, intermediate)
        parts = [self.sweep.catalog.intermediates[part.task] for part in self.sweep.arms[intermediate].parts]
        written = max(answer_share(task) for task in parts)
        return self._trained(model, settings, self._intermediate_tokens(model, intermediate, settings), written)

    def _intermediate_tokens(self, model: str, intermediate: str, settings: TrainingSettings) -> float:
        arm = self.sweep.arms[intermediate]
        catalog = self.sweep.catalog
        parts = [part for part in arm.parts if part.rate is None]
        counts = [_count(catalog.intermediates[part.task], part.languages, "train") for part in parts]
        if len(parts) > 1:
            counts = [min(count, arm.cap) for count in counts]
        share = [count / max(1, sum(counts)) for count in counts]
        about = catalog.models[model]
        means = [tokens_per_example(catalog.intermediates[part.task], settings.max_length, about) for part in parts]
        mean = sum(part * one for part, one in zip(share, means, strict=True))
        examples = _examples(sum(counts), mean, settings)
        tokens = examples * mean
        # Text is mixed in on top: its share of all updates.
        texts = [(part.rate, catalog.intermediates[part.task]) for part in arm.parts if part.rate is not None]
        alone = 1 - sum(rate for rate, _ in texts)
        return tokens + sum(
            examples * rate / alone * tokens_per_example(text, settings.max_length, about) for rate, text in texts
        )

    def _finetune(self, model: str, intermediate: str, training: str) -> Need:
        task = self.sweep.catalog.task(self.sweep.trainings[training][-1])
        settings = self.jobs.training("target", model, task.name)
        mean = tokens_per_example(task, settings.max_length, self.sweep.catalog.models[model])
        tokens = mean * _examples(_count(task, self.sweep.sources, "train"), mean, settings)
        if self.sweep.matched(model, intermediate, training, 0):
            matched = self.sweep.arms[intermediate].matches or ""
            before = self.jobs.intermediate_training(model, matched)
            # As many updates more, but on this task; tokens of an update are about those of the other's.
            updates = self._intermediate_tokens(model, matched, before) / (before.batch_tokens or before.batch_size)
            tokens += updates * (settings.batch_tokens or settings.batch_size)
        return self._trained(model, settings, tokens, answer_share(task))

    def _predict(self, model: str, target: str) -> Need:
        about, task = self.sweep.catalog.models[model], self.sweep.catalog.targets[target]
        size = Size.of(about)
        settings = self.jobs.training("target", model, target)
        mean = tokens_per_example(task, settings.max_length, about)
        tokens = _count(task, self.sweep.languages[target], "test") * mean
        memory = host_megabytes(size.parameters, 0)
        read = self.sweep.config["prediction"]["batch_tokens"]
        if self.sweep.shots:
            shots = self.sweep.config["shots"]
            seen = mean * shots["examples"] * shots["epochs"] * len(self.sweep.languages[target])
            trained = self._trained(model, settings, seen, answer_share(task))
        else:
            trained = Need(0.0, 0)
        if not writes(about.interface):
            return _both(Need(2 * size.dense * tokens, memory, gpu_mb=_gpu(size, about, read, 0, 0)), trained)
        # A closed set of answers is weighed in one pass, an open answer written piece by piece.
        times = _CHOICES if COSTS[task.kind].closed else GENERATION
        written = tokens * answer_share(task) * times
        work = 2 * (size.encoder * tokens + (size.writing + size.output) * written)
        gpu = _gpu(size, about, read, read * answer_share(task) * _CHOICES, 0)
        return _both(Need(work, memory, gpu_mb=gpu), trained)

    def _probe(self, checkpoint: str, task: str) -> Need:
        model = self.sweep.probed[checkpoint].model
        about, probes = self.sweep.catalog.models[model], self.sweep.config["probes"]
        size = Size.of(about)
        width, layers = int(about.definition["hidden_size"]), int(about.definition["layers"]) + 1
        languages, poolings = len(self.sweep.probe_tasks[task]), len(probes["pooling"])
        read = 2 * size.dense * languages * probes["sentences"] * COSTS[self.sweep.catalog.probes[task].kind].tokens
        # Of every probe the products of the words' vectors with each other; not every language has every feature.
        fitted = languages * len(probes["features"]) / 2 * layers * poolings * 2 * probes["words"] * width**2
        # Vectors of one language: about a dozen words of a sentence have a feature.
        held = 4 * poolings * layers * 12 * probes["sentences"] * width
        gpu = _gpu(size, about, self.sweep.config["prediction"]["batch_tokens"], 0, 0)
        return Need(read + fitted, host_megabytes(size.parameters, 0) + math.ceil(held / 1e6), gpu_mb=gpu)

    def _trained(self, model: str, settings: TrainingSettings, tokens: float, written: float) -> Need:
        """Return what a training needs.

        Args:
          model: its name.
          settings: its settings.
          tokens: pieces that it reads in all.
          written: pieces of answers for each that is read, where answers are text.
        """
        about = self.sweep.catalog.models[model]
        size = Size.of(about)
        # Frozen layers are passed forward only.
        dense = size.dense * max(0.0, 1 - settings.freeze_layers / int(about.definition["layers"]))
        answers = writes(about.interface)
        # Models that write text keep their whole vocabulary, whatever the catalogue says of others.
        pruned = bool(about.definition["vocabulary"].get("prune")) and not answers
        table = size.parameters - size.dense
        rows = 0 if pruned else size.output if settings.freeze_embeddings else table
        learnt = round(dense) + rows
        # The way back is twice the way there; past weights that stay as they are, it is as long as that.
        back = 4
        if settings.lora is not None:
            learnt, back = round(size.adapted * int(settings.lora["rank"]) * dense / size.dense), 2
        if answers:
            passed = size.encoder * tokens + (size.writing + size.output) * tokens * written
            trained = passed - (size.dense - dense) * tokens
            flops = 2 * passed + back * trained
        else:
            flops = tokens * (2 * size.dense + back * dense)
        read = settings.micro_batch_tokens or MICRO_BATCH_TOKENS
        sparing = self.sweep.config["resources"]["gradient_checkpointing"]
        states = 4 + (8 if settings.optimizer == "adamw" else 0)
        held = _gpu(
            size, about, read, read * written if answers else 0, learnt * states, whole=not pruned, sparing=sparing
        )
        return Need(flops, host_megabytes(size.parameters, learnt), 4 * learnt, held)


_NAMES = {
    "pretrain": ("model",),
    "intermediate": ("model", "intermediate"),
    "finetune": ("model", "intermediate", "training"),
    "predict": ("model", "target"),
    "probe": ("checkpoint", "task"),
}


def _both(one: Need, other: Need) -> Need:
    """Return what a job needs that does one thing and then another, and leaves no weights."""
    memory, gpu = (max(getattr(one, key), getattr(other, key)) for key in ("memory_mb", "gpu_mb"))
    return Need(one.flops + other.flops, memory, gpu_mb=gpu)


def tokens_per_example(task: Task, max_length: int, model: Model) -> int:
    """Return the rough mean of tokens per example of a task; plain text that says nothing of it fills max_length.

    Models on bytes have more of each text, up to what they read of it.
    """
    size = model.definition["vocabulary"].get("size")
    pieces = BYTES if size and int(size) <= _BYTE_PIECES else 1.0
    if "tokens" in task.definition:
        return min(int(task.definition["tokens"] * pieces), max(max_length, int(task.definition["tokens"])))
    if task.kind == "text":
        return max_length
    cost = COSTS[task.kind]
    # Long texts are cut into windows or cut off; answers to choose from are sequences of their own.
    if cost.long and model.interface == "encoder":
        return int(cost.tokens * pieces)
    return min(int(cost.tokens * pieces), max_length)


def answer_share(task: Task) -> float:
    """Return pieces of an answer written as text for each piece that is read of the example."""
    if task.kind == "text":
        return _CORRUPTED
    return COSTS[task.kind].written / COSTS[task.kind].tokens


def _count(task: Task, languages: Iterable[str], split: str) -> int:
    return sum(int(task.languages.get(code, {}).get(split, EXAMPLES)) for code in languages)


def _examples(count: int, mean: float, settings: TrainingSettings) -> float:
    """Return how many examples, of a mean number of tokens, a run sees, repetitions included."""
    if settings.batch_tokens and settings.max_updates:
        return settings.max_updates * settings.batch_tokens / mean
    seen = settings.epochs * count
    return seen if settings.max_updates is None else min(seen, settings.max_updates * settings.batch_size)


def _gpu(
    size: Size,
    model: Model,
    read: float,
    written: float,
    states: float,
    *,
    whole: bool = True,
    sparing: bool = False,
) -> int:
    """Return megabytes of a device.

    Activations are those that were measured on a GPU (docs/performance.md); Korthikanti et al. (2022, arXiv:2205.05198)
    count 34 h bytes a layer and token in 16 bits, and norms, residuals and dropouts are in 32 here.

    Args:
      size, model: the model.
      read, written: pieces of one forward pass that the encoder and the decoder see.
      states: bytes of gradients and of the optimizer; 0 in prediction, which keeps no activations.
      whole: whether all embeddings are there.
      sparing: whether activations are computed again on the way back.
    """
    width, layers = int(model.definition["hidden_size"]), int(model.definition["layers"])
    weights = 4 * (size.parameters if whole else size.dense)
    kept = 1 if sparing or not states else layers
    activations = (read + written) * width * (ACTIVATION_BYTES * kept + (8 * layers if sparing else 0))
    # Scores of the vocabulary, in 16 bits, in 32, and the gradient of them.
    logits = min(written * size.output / width, GPU_LOGITS) * 12
    return math.ceil((weights + states + activations + logits) / 1e6) + 1500


def host_megabytes(parameters: int, learnt: int) -> int:
    """Return megabytes: the weights twice while they are loaded; gradients, two moments and a state being saved."""
    return BASE_MB + math.ceil((8 * parameters + 16 * learnt) / 1e6)
