"""One training run, from prepared data and starting weights to a checkpoint; killed at any moment, it goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import __version__, cuts
from .. import identity as identities
from ..errors import Interrupted, UserError
from ..files import digest, digest_file, read_record, remove_leftovers, write_json, write_record, write_text
from ..kinds import Limits, Representation, form
from ..lock import Held, lock
from ..metrics import compared, metric
from ..models import frozen, unpadded
from ..models.batches import Batch, Example
from ..models.device import Device, choose, repeatable
from ..models.directory import WEIGHTS
from ..models.load import Source, build, save_checkpoint, trainable, vocabulary
from ..models.task_model import TaskModel
from ..models.tensors import HEAD
from ..models.tokenizer import Tokenizer
from ..prediction import run as predict_examples
from ..records import read_meta
from ..settings import ACTIVATION_BYTES, GPU_LOGITS, MICRO_BATCH_TOKENS, TrainingSettings
from . import optimizer as optimizers
from . import tracking
from .mixture import Choice, Mixture, Task, choices, load, sampling
from .plan import derived_seed, evaluation_points, learning_rate_factor, rows
from .processes import Team
from .state import StateFolder, Tries, load_optimizer, optimizer_tensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What decides the result of a training run."""

    start: Path
    """model.json or the checkpoint.json of the stage before."""
    data: Sequence[Path]
    """Prepared data: one file, or those of a mixture's tasks and languages."""
    output: Path
    """The checkpoint.json to write, last of all."""
    settings: TrainingSettings
    representation: Representation
    seed: int
    prune: bool
    """Keep only the embedding rows the data needs."""
    chance: float
    """Dev score, in points, of a run that learned nothing; a mixture states it per task."""
    identity: Mapping[str, Any]
    """Names of the run (stage, model, intermediate, target), for the record."""
    mixture: Mixture | None = None
    """Tasks to train on together; None: the one task of the data."""
    more_updates: Path | None = None
    """checkpoint.json of a run whose number of updates this one makes in addition to its own."""
    keep_head: bool = False
    """Go on with the head of the checkpoint it starts from, where that was of the same kind, one without labels."""
    save_minutes: float | None = None
    """Minutes between saves of the state; None: those of the settings. No number depends on it."""
    gradient_checkpointing: bool = False
    """Compute activations again on the way back instead of keeping them: slower, less memory, the same numbers."""
    cuda_graphs: bool = True
    """Replay passes as graphs of a GPU, where it can: faster, the same numbers."""
    share: int = 1
    """Jobs that share the GPU; each may fill its part of the memory."""
    tracking: str | None = None
    """Where to send losses and dev scores meanwhile (`training.tracking`); None: nowhere."""


@dataclass
class _Progress:
    """What a run carries from update to update besides weights and optimizer; all of it is saved."""

    update: int = 0
    tokens: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_score: float = -math.inf
    best_update: int = 0
    best_parts: dict[str, float] = field(default_factory=dict)
    """The best state's score on each scored task."""
    stale: int = 0
    """Evaluations since the best one."""
    seconds: float = 0.0
    """Wall time of all tries."""


class _Batch(NamedTuple):
    """What one update learns from."""

    task: int
    epoch_seed: int
    examples: list[int]
    """Indices of the task's examples."""


class _Work(NamedTuple):
    """One update, cut into micro-batches that the model reads."""

    batch: _Batch
    tokens: int
    longest: int
    """Tokens of the longest input."""
    weight: float
    """What the summed loss is divided by."""
    parts: Iterable[tuple[Batch, float]]
    """This process's micro-batches, each with the factor of its loss."""


def train(run: Run, threads: int = 1) -> None:
    """Train, keep the state with the best dev score, and write the checkpoint.

    A restart finds the training state beside the output and goes on from there; on the CPU the result is the same,
    byte for byte, as that of an undisturbed run. A second copy of a run waits for the first and leaves its result.
    Called in each of several processes (see `processes`), it trains one model with all of them.

    Raises:
      UserError: bad data or settings, a loss that is not finite, or a disk that is full.
      Interrupted: SIGTERM, SIGINT or SIGUSR1 arrived.
    """
    team = Team()
    with contextlib.ExitStack() as stack:
        held = None
        if team.first:
            held = stack.enter_context(lock(run.output.parent / "state"))
            states = run.output.parent / "state"
            for folder in (run.output.parent, states, *states.glob("*/")):
                remove_leftovers(folder)
        team.wait()
        tries = Tries(run.output.parent / "state" / "tries.json")
        while not _try(run, tries, held, threads, team):
            pass
        team.leave()


def _try(whole: Run, tries: Tries, held: Held | None, threads: int, team: Team) -> bool:
    """Train with the next seed; return whether that was the last try: it learned, or no more are asked for."""
    run, settings = whole, whole.settings
    source = Source.read(run.start)
    source.check_length(settings.max_length)
    more = 0 if run.more_updates is None else int(read_record(run.more_updates, keys=("updates",))["updates"])
    decisive = _decisive(whole, source, more)
    made_from = identities.of(decisive)
    identity = made_from[identities.IDENTITY]
    if _made_before(run.output, identity):
        log.info("%s: already there, made with the same settings from the same data and weights", run.output)
        return True
    source.check()
    chosen = choices(run.data, run.mixture, chance=run.chance)
    tries.begin(identity)
    run = replace(whole, seed=tries.seed(whole.seed))
    device = choose(settings.precision, source.model_type, threads)
    tasks = _load(run, source, chosen)
    behind = settings.max_target_length if any(task.form.answers_behind for task in tasks) else 0
    source.check_length(settings.max_length, behind)
    encoded = [(task.form, chain(task.examples, task.dev_examples)) for task in tasks]
    kept = vocabulary(source, encoded, prune=run.prune)
    torch.manual_seed(derived_seed(run.seed, "build"))
    first, *others = tasks
    head_seed = derived_seed(run.seed, "head", *first.seed_parts)
    head_from = source.checkpoint if run.keep_head and _continues(source, first) else None
    model = build(source, first.form, kept=kept, seed=head_seed, dropout=settings.dropout, head_from=head_from)
    for task in others:
        model.add_task(task.form, seed=derived_seed(run.seed, "head", *task.seed_parts))
    names = [
        name
        for name, _ in trainable(
            model,
            freeze_embeddings=settings.freeze_embeddings,
            freeze_layers=settings.freeze_layers,
            adapters=settings.lora,
            seed=derived_seed(run.seed, "adapters"),
        )
    ]
    state = StateFolder(run.output.parent / "state", identities.one_try(decisive, run.seed))
    trainer = _Trainer(run, source, model, names, tasks, device, held, state, more, team)
    with _stop_signals() as stop:
        trainer.go(stop)
    # What is only asked answers alike under every seed.
    if not trainer.learned and trainer.total and len(tries.scores) < settings.retry_collapsed:
        if team.first:
            trainer.state.forget()
        team.wait()
        tries.add(trainer.progress.best_score)
        log.warning("dev %.2f is chance level: once more with another seed", trainer.progress.best_score)
        return False
    weights = team.state(model)
    if held is None:
        return True
    held.check()
    digests = save_checkpoint(run.output.parent, model, source, names, weights)
    progress = trainer.progress
    write_text(
        run.output.parent / "history.jsonl",
        "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in progress.history),
    )
    write_json(run.output.parent / "timing.json", trainer.timing())
    parent = source.trained or {}
    checkpoint = {
        **run.identity,
        **made_from,
        "recipe": identities.recipe(decisive, source.record.get("recipe", source.record["weights_sha256"])),
        "seed": whole.seed,
        **tries.describe(run.seed),
        "base": os.path.relpath(source.base, run.output.parent),
        "parent_sha256": source.weights_sha256,
        **digests,
        **trainer.describe(),
        "interface": source.interface,
        "settings": settings.to_json(),
        "vocabulary": {"pruned": kept is not None, "pieces": len(kept) if kept is not None else None},
        "updates": progress.update,
        "tokens": progress.tokens,
        "total_updates": progress.update + parent.get("total_updates", 0),
        "total_tokens": progress.tokens + parent.get("total_tokens", 0),
        "learned": trainer.learned,
        "failed_stages": source.failed_stages,
        "precision": device.precision,
        # Where it is not what the settings say or a CPU takes: by a GPU's memory, or where memory ran out.
        **({"micro_batch_tokens": trainer.budget} if trainer.budget != trainer.usual else {}),
        **({} if trainer.repeatable else {"repeatable": False}),
        "versions": versions(),
    }
    write_record(run.output.with_name(_FINISHED), checkpoint)
    write_record(run.output, checkpoint)
    trainer.state.clear()
    log.info("done: dev %.2f after update %d", progress.best_score, progress.best_update)
    return True


def _decisive(run: Run, source: Source, more: int) -> identities.Decisive:
    """Return what decides the checkpoint, `more` updates included."""
    metas = [read_meta(path) for path in run.data]
    return identities.trained(
        names=run.identity,
        seed=run.seed,
        settings=run.settings.to_json(),
        representation=asdict(run.representation),
        prune=run.prune,
        keep_head=run.keep_head,
        # As it comes back from JSON, without tuples.
        mixture=json.loads(json.dumps(asdict(run.mixture))) if run.mixture else None,
        chance=run.chance,
        more_updates=more,
        start=source.record,
        base=source.about,
        data={f"{meta.task}/{meta.language}": asdict(meta) for meta in metas},
    )


def _load(run: Run, source: Source, chosen: Sequence[Choice]) -> list[Task]:
    """Read and encode the data."""
    settings = run.settings
    tokenizer = Tokenizer.from_directory(source.base)
    limits = Limits.of(settings.to_json())
    shuffles = run.mixture is not None and run.mixture.shuffle_labels
    tasks = []
    for choice in chosen:
        made = form(
            choice.meta,
            tokenizer,
            interface=source.interface,
            limits=limits,
            representation=run.representation,
        )
        if settings.head != "linear" and source.interface == "encoder":
            made.options["head"] = settings.head
        shuffled = derived_seed(run.seed, "labels", *choice.seed_parts) if shuffles else None
        tasks.append(load(choice, made, shuffled=shuffled))
    return tasks


def _continues(source: Source, task: Task) -> bool:
    """Whether the head of the checkpoint that a run starts from means the same in its own task."""
    trained = source.trained or {}
    alike = trained.get("form_options", {}).get("head") == task.form.options.get("head")
    return "head_sha256" in trained and trained["kind"] == task.meta.kind and not task.meta.labels and alike


_FINISHED = "finished.json"
"""A copy of checkpoint.json that Snakemake does not know of."""


def _made_before(output: Path, identity: str) -> bool:
    """Put the checkpoint of a finished run back; return whether there is one.

    Snakemake deletes checkpoint.json when it starts a job, also that of a copy which its controller did not see finish.
    """
    try:
        checkpoint = read_record(output.with_name(_FINISHED))
        digests = {WEIGHTS: checkpoint["weights_sha256"], HEAD: checkpoint.get("head_sha256")}
        if checkpoint[identities.IDENTITY] != identity:
            return False
        if any(sha256 and digest_file(output.with_name(name)) != sha256 for name, sha256 in digests.items()):
            return False
    except (UserError, OSError, KeyError, TypeError):
        return False
    write_record(output, checkpoint)
    return True


def versions() -> dict[str, str]:
    """Return the versions that decide numbers."""
    import accelerate
    import tokenizers
    import transformers

    return {
        "stiltsweep": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "accelerate": accelerate.__version__,
    }


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect stop signals in a list that the loop looks at between updates."""
    caught: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.signal(number, lambda number, _: caught.append(number)) for number in signals]
    try:
        yield caught
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


_MEMORY_SHARE = 0.7
"""Of a card's memory that a micro-batch may fill: the activations of a token are an estimate."""


_WORTH_CAPTURING = 300
"""Updates of a run from which on its passes are captured as graphs; every shape costs as much as some updates."""


def _room(model: TaskModel, device: Device, trained: Mapping[str, Tensor], share: int) -> int:
    """Return the tokens of a micro-batch that fit on a GPU beside weights, gradients, two moments and an output layer.

    Of a card that several jobs share, each has its part.

    By what the card has, not by what is free of it: dropout is drawn by micro-batch, so their size decides numbers.
    """
    config = model.backbone.config
    held = (
        12 * GPU_LOGITS + 4 * sum(p.numel() for p in model.parameters()) + 12 * sum(p.numel() for p in trained.values())
    )
    memory = torch.cuda.get_device_properties(device.torch).total_memory / share
    return int((_MEMORY_SHARE * memory - held) / (ACTIVATION_BYTES * config.hidden_size * config.num_hidden_layers))


class _Trainer:
    """The loop over updates."""

    def __init__(
        self,
        run: Run,
        source: Source,
        model: TaskModel,
        names: Sequence[str],
        tasks: list[Task],
        device: Device,
        held: Held | None,
        state: StateFolder,
        more: int,
        team: Team,
    ) -> None:
        from accelerate import Accelerator

        settings = run.settings
        self.run, self.tasks, self.settings, self.device, self.held = run, tasks, settings, device, held
        self.state, self.more, self.team = state, more, team
        self.save_seconds = 60 * (settings.save_minutes if run.save_minutes is None else run.save_minutes)
        self.sampling = sampling(tasks, run.mixture)
        self.total = self.sampling.updates(settings) + self.more
        # Labels that mean nothing leave nothing to select by: such a run keeps its last state.
        self.selects = run.mixture is None or not run.mixture.shuffle_labels
        self.patience = settings.patience if self.selects and run.more_updates is None else None
        self.evaluations = set(evaluation_points(self.total, settings.evaluations))
        watched = run.tracking if team.first else None
        self.accelerator = Accelerator(
            mixed_precision=device.mixed_precision,
            cpu=device.torch.type == "cpu",
            log_with=watched,
            project_dir=tracking.folder(run.output) if watched else None,
        )
        # On a GPU texts are read without padding; what is left of it on a CPU, `frozen` and small batches take care of.
        alone = device.torch.type == "cuda" and team.size == 1
        sparing, replays = run.gradient_checkpointing, run.cuda_graphs and self.total >= _WORTH_CAPTURING
        if not (alone and unpadded.attach(model, captured=replays, sparing=sparing, share=run.share)) and sparing:
            model.backbone.activation_checkpointing_enable()
        team.shard(model, device.torch)
        parameters = dict(model.backbone.named_parameters())
        named = [(name, parameters[name]) for name in names]
        optimizer = optimizers.build(named, model.heads, settings, team)
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        if team.size == 1:
            frozen.share(model, source, names, device.precision, self._met_again())
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        # The parameters training changes: what the best state copies and the training state saves.
        self.trained: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.best: dict[str, Tensor] = {}
        self.usual = settings.micro_batch_tokens or MICRO_BATCH_TOKENS
        by_card = _room(model, device, self.trained, run.share) if alone and settings.micro_batch_tokens is None else 0
        self.budget = max(self.usual, by_card)
        self.repeatable = True
        """Whether nothing was computed so far that a GPU computes otherwise each time."""
        self.progress = _Progress()
        place = "/".join(run.output.parent.parts[-5:])
        self.tracker = tracking.Tracker(
            self.accelerator, watched, place, {**run.identity, **settings.to_json(), "seed": run.seed}
        )

    def _met_again(self) -> list[Example]:
        """Return the training examples that every epoch meets as they are, if there is a whole epoch to come."""
        seen = self.total * self.settings.batch_size
        same = [task.examples for task in self.tasks if task.form.drawn(task.examples[0], 0) is task.examples[0]]
        return list(chain.from_iterable(same)) if seen >= sum(map(len, same)) else []

    def go(self, stop: list[int]) -> None:
        """Run all updates that are left and leave the model in its best state."""
        self._restore()
        progress, began, saved = self.progress, time.monotonic(), time.monotonic()
        before = progress.seconds
        self.model.train()
        with contextlib.closing(self.tracker):
            self._updates(stop, before, began, saved)
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(self.best[name])

    def _updates(self, stop: list[int], before: float, began: float, saved: float) -> None:
        progress = self.progress
        if not self.total and not progress.history:
            self._evaluate()
        for work in self.ahead(islice(self._batches(), progress.update, self.total)):
            if self.patience is not None and progress.stale >= self.patience:
                log.info("stop early: no better dev score in %d evaluations", progress.stale)
                break
            self.update(work)
            progress.update += 1
            if progress.update in self.evaluations:
                self._evaluate()
            progress.seconds = before + time.monotonic() - began
            signalled = self.team.any(stop[0] if stop else 0)
            if signalled or self.team.any(time.monotonic() - saved >= self.save_seconds):
                self._save()
                saved = time.monotonic()
                if signalled:
                    raise Interrupted(f"signal {signalled} after update {progress.update}; the training state is saved")

    def _batches(self) -> Iterator[_Batch]:
        """Yield what each update learns from: a task is drawn, and its own next batch taken."""
        settings, seed = self.settings, self.run.seed
        packed = settings.batch_tokens is not None
        streams = [
            task.packed(settings, seed) if packed else task.batches(settings.batch_size, seed) for task in self.tasks
        ]
        for task in self.sampling.draws(derived_seed(self.run.seed, "tasks")):
            yield _Batch(task, *next(streams[task]))

    def ahead(self, batches: Iterable[_Batch]) -> Iterator[_Work]:
        """Prepare updates; where a GPU computes, each while it is busy with the one before."""
        if self.device.torch.type != "cuda":
            yield from map(self._prepared, batches)
            return
        with ThreadPoolExecutor(1) as thread:
            made = (thread.submit(self._prepared, batch, whole=True) for batch in batches)
            coming = next(made, None)
            while coming is not None:
                work, coming = coming.result(), next(made, None)
                yield work

    def _prepared(self, batch: _Batch, *, whole: bool = False) -> _Work:
        """Draw, weigh and cut the examples of an update; make its micro-batches now, or one by one as they are used."""
        model, task = self.model, self.tasks[batch.task]
        drawn = (task.form.drawn(task.examples[i], batch.epoch_seed) for i in batch.examples)
        examples = sorted(drawn, key=lambda e: (e.length, e.row))
        weight = sum(task.form.weight(example) for example in examples)
        if self.settings.loss_denominator == "slots" and task.form.writes:
            weight = float(rows(self.settings) * self.settings.max_target_length)
        longest = examples[-1].length
        budget = self.team.budget(self.budget, longest)
        cut = self.team.deal(list(task.form.micro_batches(examples, budget, padded=model.unpadded is None)))

        def made() -> Iterator[tuple[Batch, float]]:
            return ((model.collate(part, self.device.torch), factor) for part, factor in cut)

        parts: Iterable[tuple[Batch, float]] = made()
        tokens = sum(len(one.ids) for i in batch.examples for one in task.examples[i].inputs)
        if whole:
            with contextlib.suppress(torch.OutOfMemoryError):  # then as they are used, where that is answered
                parts = list(made())
        return _Work(batch, tokens, longest, weight, parts)

    def update(self, work: _Work) -> None:
        """Make one optimizer step from one global batch, in as many micro-batches as memory asks for."""
        progress, settings, batch = self.progress, self.settings, work.batch
        factor = learning_rate_factor(progress.update, self.total, settings)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        while True:
            try:
                with repeatable(self.device, wanted=self.repeatable):
                    loss_0 = self._gradients(work)
                break
            except torch.OutOfMemoryError:
                if self.team.size > 1:
                    raise UserError(
                        f"{self.run.output}: out of memory on {self.device.name}, one of {self.team.size}, in update "
                        f"{progress.update + 1}. Lower micro_batch_tokens ({self.budget}) or max_length."
                    ) from None
                self.optimizer.zero_grad(set_to_none=True)
                if self.model.replays:
                    self.model.unpadded.captured = None
                    torch.cuda.empty_cache()
                    log.warning("out of memory: without graphs from here on, which hold some")
                    work = self._prepared(batch)
                    continue
                torch.cuda.empty_cache()
                self.budget //= 2
                if self.budget < work.longest:
                    raise UserError(
                        f"{self.run.output}: out of memory on {self.device.name} in update {progress.update + 1}, with "
                        f"an example of {work.longest} tokens alone. Lower max_length, or take a smaller model or a "
                        "larger GPU."
                    ) from None
                log.warning("out of memory: micro-batches of %d tokens from here on", self.budget)
                work = self._prepared(batch)
            except RuntimeError as error:
                if "deterministic" not in str(error) or not self.repeatable:
                    raise
                self.optimizer.zero_grad(set_to_none=False)
                self.repeatable = False
                log.warning("another training will not give the same bytes: %s", str(error).splitlines()[0])
                work = self._prepared(batch)
        limit = settings.clip_norm or math.inf
        norm_0 = self.team.whole(self.accelerator.clip_grad_norm_(list(self.trained.values()), limit))
        # The one time that an update waits for the device.
        loss, norm = torch.stack([loss_0, norm_0.to(loss_0.dtype)]).tolist()
        loss = self.team.sum(loss)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"{self.run.output}: the loss is {loss} and the gradient's norm {norm} in update {progress.update + 1} "
                f"at learning rate {settings.learning_rate * factor:.3g}. Nothing was changed by it; the last good "
                f"state is {self.state.newest() or 'the start'}. Lower the learning rate, or use bf16 or fp32; then "
                f"delete {self.state.folder} to start anew."
            )
        self.optimizer.step()
        # Graphs add to gradients that stay where they are.
        self.optimizer.zero_grad(set_to_none=not self.model.replays)
        progress.tokens += work.tokens
        entry = {"update": progress.update + 1, "loss": loss, "gradient_norm": norm, "learning_rate_factor": factor}
        named = {} if len(self.tasks) == 1 else {"task": self.tasks[batch.task].meta.task}
        progress.history.append({**entry, **named})
        self.tracker.update(progress.update + 1, entry, work.tokens)

    def _gradients(self, work: _Work) -> Tensor:
        """Accumulate the gradient of the batch's mean loss and return this process's part of that loss.

        Every micro-batch's summed loss is divided by the weight of the whole batch (or by a constant), so the gradient
        does not depend on how the batch is cut.
        """
        self.model.use(work.batch.task)
        # Dropout depends on seed and update alone, so a resumed run draws the same; every process its own.
        own = () if self.team.first else (self.team.rank,)
        torch.manual_seed(derived_seed(self.run.seed, "update", self.progress.update, *own))
        total_0 = torch.zeros((), dtype=self.device.widest, device=self.device.torch)
        for part, factor in work.parts:
            loss = self.model(part) / work.weight
            self.accelerator.backward(loss if factor == 1 else loss * factor)
            total_0 += loss.detach() * bool(factor)
            del loss, part
        return total_0

    def _evaluate(self) -> None:
        """Score dev, the mean over the scored tasks, and keep the state if it is the best so far; a tie keeps the
        earlier one.
        """
        progress = self.progress
        # Every process scores everything, for each layer is in pieces; the first one's word counts.
        scores = self.team.agree(
            {task.meta.task: self._score(number) for number, task in enumerate(self.tasks) if task.scored}
        )
        score = sum(scores.values()) / len(scores)
        entry: dict[str, Any] = {"update": progress.update, "dev": score, "metric": self._metric}
        progress.history.append(entry if len(self.tasks) == 1 else {**entry, "tasks": scores})
        log.info("update %d of %d: dev %s %.2f", progress.update, self.total, self._metric, score)
        self.tracker.evaluated(progress.update, self._metric, scores)
        if score > progress.best_score or not self.selects:
            progress.best_score, progress.best_update, progress.stale = score, progress.update, 0
            progress.best_parts = scores
            self.best = {name: tensor.detach().clone() for name, tensor in self.trained.items()}
        else:
            progress.stale += 1

    @property
    def _metric(self) -> str:
        """Name of the dev score."""
        metrics = {task.form.metric for task in self.tasks if task.scored}
        return metrics.pop() if len(metrics) == 1 else "mean of " + ", ".join(sorted(metrics))

    def _score(self, number: int) -> float:
        """Return a task's dev score in points."""
        task = self.tasks[number]
        self.model.use(number)
        with self.accelerator.autocast(), self.team.together(self.model):
            raw = predict_examples(self.model, task.dev_examples, self.usual)
        predictions = task.form.decode(task.dev_rows, task.dev_examples, raw)
        main = metric(task.form.metric, task.meta.labels)
        sums = np.sum(
            [
                main.statistics(
                    *compared(row, prediction, kind=task.meta.kind, writes=task.form.writes), task.meta.language
                )
                for row, prediction in zip(task.dev_rows, predictions, strict=True)
                if prediction is not None  # the candidates of retrieval
            ],
            axis=0,
        )
        return float(np.nan_to_num(main.score(sums)))

    @property
    def learned(self) -> bool:
        """Whether a scored task is above its chance level; a run on shuffled labels is not expected to be."""
        scores = self.progress.best_parts
        return not self.selects or any(task.learned(scores[task.meta.task]) for task in self.tasks if task.scored)

    def describe(self) -> dict[str, Any]:
        """Return what the checkpoint says of its data, its tasks and its dev score."""
        progress, tasks = self.progress, self.tasks
        alone = tasks[0] if len(tasks) == 1 else None
        whole = alone is not None and len(alone.digests) == 1
        chances = [task.part.chance for task in tasks if task.scored]
        about = {
            "task": alone.meta.task if alone else None,
            "kind": alone.meta.kind if alone else None,
            "labels": alone.meta.labels if alone else None,
            "form_options": alone.form.options if alone else {},
            "data_sha256": next(iter(tasks[0].digests.values())) if whole else digest([t.digests for t in tasks]),
            "examples": sum(len(task.examples) for task in tasks),
            "dropped_examples": sum(task.rows - len(task.examples) for task in tasks),
            "cut": cuts.added(task.cut for task in tasks),
            "dev": {"metric": self._metric, "score": progress.best_score, "update": progress.best_update},
            "chance": sum(chances) / len(chances),
        }
        if self.run.mixture is not None:
            proportions = zip(tasks, self.sampling.proportions(), strict=True)
            about["mixture"] = {
                "cap": self.sampling.cap,
                "temperature": self.sampling.temperature,
                "tasks": {
                    task.meta.task: task.to_json(proportion, progress.best_parts.get(task.meta.task))
                    for task, proportion in proportions
                },
            }
        if self.run.more_updates is not None:
            about["more_updates"] = self.more
        if not self.selects:
            about["note"] = "labels shuffled"
        return about

    def _save(self) -> None:
        tensors, values = optimizer_tensors(self.optimizer, self.team)
        for prefix, group in (("model.", self.trained), ("best.", self.best)):
            for name, tensor in group.items():
                tensors[prefix + name] = self.team.whole(tensor.detach()).cpu().contiguous()
        if self.held is None:
            return
        self.held.check()
        progress = self.progress
        about = {
            **values,
            "progress": {**vars(progress), "best_score": progress.best_score if self.best else None},
            "budget": self.budget,
        }
        self.state.save(progress.update, tensors, about)
        log.info("training state saved after update %d", progress.update)

    def _restore(self) -> None:
        saved = self.state.load()
        if saved is None:
            return
        update, tensors, values = saved
        progress = values["progress"]
        # JSON has no infinity: the score of a run not yet evaluated is saved as null.
        best_score = -math.inf if progress["best_score"] is None else progress["best_score"]
        self.progress = _Progress(**{**progress, "best_score": best_score})
        self.budget = values["budget"]
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(self.team.cut(tensors["model." + name], parameter))
        self.best = {
            name: self.team.cut(tensors["best." + name].to(self.device.torch), parameter)
            for name, parameter in self.trained.items()
            if "best." + name in tensors
        }
        load_optimizer(self.optimizer, tensors, values, self.team)
        log.info("resumed after update %d of %d", update, self.total)

    def timing(self) -> dict[str, Any]:
        """Return what the run cost; not part of the checkpoint, since it differs from run to run."""
        seconds = self.progress.seconds
        return {
            "seconds": round(seconds, 3),
            "tokens": self.progress.tokens,
            "tokens_per_second": round(self.progress.tokens / max(seconds, 1e-9), 1),
            "peak_memory_mb": self.device.peak_memory_mb(),
            "device": self.device.name,
            "precision": self.device.precision,
            "micro_batch_tokens": self.budget,
            **({"processes": self.team.size} if self.team.size > 1 else {}),
        }


__all__ = ["Interrupted", "Run", "train", "versions"]
