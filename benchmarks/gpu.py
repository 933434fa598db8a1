"""Measure this project's own training loop and its own prediction on a GPU, against transformers, in minutes.

Weights are random, in the real shapes with the real vocabularies, and made on the device; nothing is read from a disk
or a hub. Examples are random ids of realistic lengths, so no tokenizer is needed. Everything else is the project's own:
the forms of the kinds with their losses, the trainer that `loop._try` makes, the optimizer, and `prediction.run`. The
peer is transformers' `Trainer` on the class it has for the kind, with the whole vocabulary, and its `generate`.

  peak        the rate of a plain bf16 product of 8192 x 8192 on this card
  agreement   losses and gradients without padding, and replayed as graphs, against those of padded texts
  training    real tokens a second, the share of the peak, memory and the host's work, at several batches
  causal      the same of a causal language model, by adapters (LoRA) and by its weights
  generation  answers a second, written piece by piece; and labels scored in one pass
  prediction  an encoder's real tokens a second
  repeatable  whether two trainings that are alike leave the same bytes, and what that costs
  cells       a small model trained and scored on GPU and CPU, in 16 and 32 bits: how far the scores are apart
  share       1, 2 and 4 trainings at once on the card: real tokens a second of all together, and their memory

A section that fails says so in the results and the next one goes on. Results are written after every measurement. When
the time is up, what was not measured is left out. `--rehearse` goes through all of it on the CPU, in toy sizes.

Example:
  python benchmarks/gpu.py --minutes 8 --output results/bench/gpu
  python benchmarks/gpu.py --rehearse --output /tmp/rehearsal
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from measuring import ROOT, peer_rows
from torch import nn

from stiltsweep.files import write_json, write_text
from stiltsweep.interfaces import INTERFACES
from stiltsweep.kinds import Form, Limits, Representation, form
from stiltsweep.models import unpadded
from stiltsweep.models.batches import Dense, Example, Input
from stiltsweep.models.device import DEVICE, Device, autocast, choose
from stiltsweep.models.load import Source, kept_ids, trainable
from stiltsweep.models.task_model import TaskModel
from stiltsweep.prediction import run as predict_examples
from stiltsweep.records import Meta
from stiltsweep.settings import PredictionSettings, TrainingSettings, overlay
from stiltsweep.training import loop
from stiltsweep.training.mixture import Part, Task
from stiltsweep.training.processes import Team
from stiltsweep.training.state import StateFolder

PUBLISHED_PEAK = 989e12
"""bf16 operations a second, dense (NVIDIA's data sheets of the H100 SXM and the H200)."""
REPRESENTATION = Representation("mean", -1, "mean", "")
DISTINCT = 30_000
"""Pieces that a job keeps of XLM-R's 250,002, about: the sweep keeps those of its own texts."""
DISTANCES = 256
"""Buckets of mDeBERTa's distances, in each direction."""
BYTES = 4.5
"""Bytes of a sub-word, as in `resources.BYTES`."""
PREDICTION_TOKENS, MORE_TOKENS = 4096, 65_536
"""Of a batch of prediction: the configuration's default, and more, to see what that leaves on a GPU."""
PEER_BATCH = 8
"""`Trainer.predict`'s own size of a batch."""


# ----------------------------------------------------------------------------------------------------------- the cases


@dataclass(frozen=True)
class Shape:
    """A published model: its class and the sizes in its config.json; parameters as in the catalogue."""

    kind: str
    """transformers' name of the architecture: xlm-roberta, deberta-v2, mt5, t5 or qwen3."""
    parameters: int
    sizes: dict[str, int]

    @property
    def interface(self) -> str:
        """How it is used."""
        return {"xlm-roberta": "encoder", "deberta-v2": "encoder", "qwen3": "causal"}.get(self.kind, "text2text")

    @property
    def writes(self) -> bool:
        """Whether it writes text."""
        return self.interface != "encoder"

    def config(self, vocabulary: int | None = None) -> Any:
        """Return the configuration, with dropout as published, perhaps of a smaller vocabulary."""
        sizes: dict[str, Any] = {**self.sizes, **({} if vocabulary is None else {"vocab_size": vocabulary})}
        ends: dict[str, Any]
        if self.kind == "xlm-roberta":
            ends = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
            return transformers.XLMRobertaConfig(
                **sizes, **ends, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
            )
        if self.kind == "deberta-v2":  # as mDeBERTa v3's config.json
            ends = {"pad_token_id": 1, "type_vocab_size": 0, "layer_norm_eps": 1e-7, "position_biased_input": False}
            ends |= {"relative_attention": True, "max_relative_positions": -1, "position_buckets": DISTANCES}
            ends |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"]}
            return transformers.DebertaV2Config(**sizes, **ends)
        if self.kind == "qwen3":
            return transformers.Qwen3Config(**sizes, tie_word_embeddings=True, pad_token_id=0, eos_token_id=1)
        made: Any = transformers.MT5Config if self.kind == "mt5" else transformers.T5Config
        return made(
            **sizes, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0, pad_token_id=0
        )

    @property
    def width(self) -> int:
        """Width of hidden states."""
        return self.sizes.get("hidden_size", 0) or self.sizes["d_model"]

    @property
    def definition(self) -> dict[str, Any]:
        """What the catalogue says of it, for the plan's estimate of memory."""
        vocabulary = {"size": self.sizes["vocab_size"], "prune": True} if self.writes else {"prune": True}
        return {
            "interface": self.interface,
            "parameters": self.parameters,
            "layers": self.sizes.get("num_hidden_layers", 0) or self.sizes["num_layers"],
            "decoder_layers": self.sizes.get("num_decoder_layers", 0),
            "hidden_size": self.width,
            "vocabulary": vocabulary,
        }

    def work(self, read: np.ndarray[Any, Any], written: np.ndarray[Any, Any]) -> float:
        """Return the operations of one forward pass over sequences of these lengths, padding and embeddings left out.

        2 for each weight that a real token passes, and 4 L of the width for attention over L tokens, in every layer.
        DeBERTa compares each token with the embeddings of all distances too, as query and as key. A decoder reads the
        input's tokens too, by the keys and values of its cross-attention. Small heads are left out, the output layer
        over the vocabulary is not. Training is three times as much.
        """
        size = self.sizes
        read, written = read.astype(float), written.astype(float)
        if self.interface == "causal":
            wide, head, layers = self.width, size["head_dim"], size["num_hidden_layers"]
            inner, shared = size["num_attention_heads"] * head, size["num_key_value_heads"] * head
            weights = 2 * wide * (inner + shared) + 3 * wide * size["intermediate_size"]
            whole = read + written
            passed = layers * (2 * weights * whole.sum() + 2 * inner * (whole**2).sum())
            return float(passed + 2 * wide * size["vocab_size"] * written.sum())
        if not self.writes:
            wide, layers = self.width, size["num_hidden_layers"]
            weights = 4 * wide**2 + 2 * wide * size["intermediate_size"]
            compared = 2 * 2 * 2 * DISTANCES * wide if self.kind == "deberta-v2" else 0
            return float(layers * ((2 * weights + compared) * read.sum() + 4 * wide * (read**2).sum()))
        inner, wide = size["num_heads"] * size["d_kv"], size["d_model"]
        square, feed = wide * inner, 3 * wide * size["d_ff"]
        encoder = size["num_layers"] * (2 * (4 * square + feed) * read.sum() + 4 * inner * (read**2).sum())
        decoder = size["num_decoder_layers"] * (
            2 * (6 * square + feed) * written.sum()
            + 2 * 2 * square * read.sum()
            + 4 * inner * ((written**2).sum() + (read * written).sum())
        )
        return float(encoder + decoder + 2 * wide * size["vocab_size"] * written.sum())


def _encoder(kind: str, parameters: int, vocabulary: int, width: int, layers: int, heads: int) -> Shape:
    sizes = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return Shape(kind, parameters, {**sizes, "intermediate_size": 4 * width})


def _t5(
    kind: str, parameters: int, vocabulary: int, width: int, feed: int, layers: tuple[int, int], heads: int
) -> Shape:
    sizes = {"vocab_size": vocabulary, "d_model": width, "d_kv": 64, "d_ff": feed, "num_heads": heads}
    return Shape(kind, parameters, {**sizes, "num_layers": layers[0], "num_decoder_layers": layers[1]})


SHAPES = {
    "xlm-r base": _encoder("xlm-roberta", 277_453_056, 250_002, 768, 12, 12),
    "xlm-r large": _encoder("xlm-roberta", 558_840_832, 250_002, 1024, 24, 16),
    "mdeberta base": _encoder("deberta-v2", 278_218_752, 251_000, 768, 12, 12),
    "mt5-small": _t5("mt5", 300_176_768, 250_112, 512, 1024, (8, 8), 6),
    "mt5-base": _t5("mt5", 582_401_280, 250_112, 768, 2048, (12, 12), 12),
    "byt5-small": _t5("t5", 299_637_760, 384, 1472, 3584, (12, 4), 6),
    "qwen3-0.6b": Shape(
        "qwen3",
        596_049_920,
        {
            "vocab_size": 151_936,
            "hidden_size": 1024,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 3072,
        },
    ),
}


def _toy(shape: Shape) -> Shape:
    """Return a shape small enough for a rehearsal on one core."""
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}
    small |= {"num_key_value_heads": 1, "head_dim": 16}
    small |= {"vocab_size": min(shape.sizes["vocab_size"], 2_000)}
    return replace(shape, parameters=300_000, sizes={key: small[key] for key in shape.sizes})


@dataclass(frozen=True)
class Lengths:
    """How many pieces the examples of a task have: log-normal, since so lengths of texts are, about."""

    kind: str
    mean: float
    spread: float
    """Deviation of the logarithm."""
    most: int
    """Where they are cut: the settings' max_length of the published recipes."""
    answer: float = 0.0
    """Mean pieces of an answer written as text, its end included."""
    labels: int = 0
    examples: int = 8192

    def bytes(self) -> Lengths:
        """Return the same texts in bytes, for ByT5: cut at its own lengths, 2,048 and 512."""
        return replace(self, mean=self.mean * BYTES, most=4 * self.most, answer=self.answer * BYTES, examples=1024)


LENGTHS = {
    # Means of XLM-R's pieces as the published data have them, specials included; `resources.TOKENS` has rougher and
    # larger numbers (48 for classification, 32 for tagging, 256 for question answering), with room for other tasks.
    "XNLI": Lengths("classification", 34, 0.5, 128, labels=3),
    "PAN-X": Lengths("tagging", 14, 0.5, 128, labels=7),
    # Windows of 384, as in XTREME's scripts.
    "SQuAD": Lengths("span_qa", 190, 0.4, 384, examples=4096),
    # mT5's form `question: ... context: ...`, cut at 512 here (its recipe has 1,024), and short answers.
    "QA": Lengths("span_qa", 210, 0.4, 512, answer=5, examples=4096),
    # The same for labels written as text.
    "XNLI text": Lengths("classification", 42, 0.5, 128, answer=2, labels=3),
}


def _lognormal(rng: np.random.Generator, mean: float, spread: float, count: int) -> np.ndarray[Any, Any]:
    return rng.lognormal(np.log(mean) - spread**2 / 2, spread, count).round().astype(int)


class Invented(Source):
    """A model that lies nowhere."""

    @property
    def model_type(self) -> str:
        """Transformers' name of the architecture."""
        return str(self.about["model_type"])


class Case:
    """A model, a task and its examples."""

    def __init__(self, name: str, task: str, *, toy: bool) -> None:
        self.name, self.task, self.toy = name, task, toy
        self.shape = _toy(SHAPES[name]) if toy else SHAPES[name]
        lengths = LENGTHS[task].bytes() if name.startswith("byt5") else LENGTHS[task]
        self.lengths = replace(lengths, mean=min(lengths.mean, 20), most=32, examples=96) if toy else lengths
        self.rng = np.random.default_rng(0)
        size = self.shape.sizes["vocab_size"]
        # The last pieces are T5's sentinels and XLM-R's <mask>.
        self.sentinels = list(range(size - 100, size)) if self.shape.interface == "text2text" else []
        pool = np.arange(5, size - 100)
        if not self.shape.writes:
            pool = np.sort(self.rng.choice(pool, min(DISTINCT, len(pool) // 2), replace=False))
        self.pool = pool
        # Frequencies as those of words: the n-th is met 1 / n times as often as the first.
        self.chances = 1 / (10 + self.rng.permutation(len(pool)))
        self.chances = np.cumsum(self.chances / self.chances.sum())
        special = {"pad": 0, "eos": 1} if self.shape.writes else {"pad": 1, "bos": 0, "eos": 2, "unk": 3}
        self.about: dict[str, Any] = {
            "name": name,
            "interface": self.shape.interface,
            "special": special,
            "token_types": False,
            "sentinels": self.sentinels,
            "embedding": {"text2text": "shared.weight", "causal": "model.embed_tokens.weight"}.get(
                self.shape.interface, "embeddings.word_embeddings.weight"
            ),
            "output_embedding": "lm_head.weight" if self.shape.interface == "text2text" else None,
            "weights_sha256": "random",
        }
        self.source = Invented(Path(tempfile.gettempdir()), {**self.about, "model_type": self.shape.kind})

    def form(self, max_target_length: int = 64) -> Form:
        """Return the project's form of the kind; it encodes nothing, so of a tokenizer it has what ends an answer."""
        labels = [f"label{number}" for number in range(self.lengths.labels)]
        meta = Meta("task", "en", self.lengths.kind, labels, ["accuracy"], {}, "", "none")
        limits = Limits(self.lengths.most, 32, max_target_length)
        special: Any = SimpleNamespace(special=self.about["special"])
        return form(meta, special, interface=self.about["interface"], limits=limits, representation=REPRESENTATION)

    @cached_property
    def kept(self) -> np.ndarray[Any, Any] | None:
        """Ids that the job keeps, as the sweep does: all where text is written."""
        return None if self.shape.writes else kept_ids(self.pool.tolist(), self.source)

    def ids(self, count: int) -> list[int]:
        """Draw ids."""
        at = np.searchsorted(self.chances, self.rng.random(count))
        return list(map(int, self.pool[np.minimum(at, len(self.pool) - 1)]))

    def examples(self, count: int | None = None, *, training: bool = True) -> list[Example]:
        """Make examples; their targets are what the form's loss and `predict` read, and nothing more."""
        count = count or self.lengths.examples
        lengths = np.clip(_lognormal(self.rng, self.lengths.mean, self.lengths.spread, count), 6, self.lengths.most)
        answers = np.clip(_lognormal(self.rng, max(2, self.lengths.answer), 0.5, count), 2, 4 * 64)
        return [self._example(i, int(lengths[i]), int(answers[i]), training) for i in range(count)]

    def _example(self, row: int, length: int, answer: int, training: bool) -> Example:
        if self.shape.writes:
            example = Example(row, [Input([*self.ids(length - 1), 1])])
            if training:
                example.target = [*self.ids(answer - 1), 1]
                if self.shape.interface == "causal":
                    example.inputs = [Input([*example.inputs[0].ids, *example.target])]
            elif self.lengths.labels:
                example.align = [[int(self.pool[number]), 1] for number in range(self.lengths.labels)]
            return example
        one = Input([0, *self.ids(length - 2), 2], length // 2)
        if self.lengths.kind == "classification":
            return Example(row, [one], labels=int(self.rng.integers(self.lengths.labels)))
        if self.lengths.kind == "tagging":
            # About two pieces a word, of which the first has a tag.
            tags = [(place, int(self.rng.integers(self.lengths.labels))) for place in range(1, length - 1, 2)]
            return Example(row, [one], labels=[tags], align=[list(enumerate(place for place, _ in tags))])
        first = min(16, length // 2)
        one.second = first
        offsets = [(4 * number, 4 * number + 3) for number in range(length - 1 - first)]
        start = int(self.rng.integers(first, length - 1))
        return Example(row, [one], labels=[(start, min(start + 2, length - 2))], align=[(first, offsets)])

    def backbone(self, device: torch.device, *, kept: bool) -> Any:
        """Return what this project builds of the model, with random weights."""
        torch.manual_seed(0)
        vocabulary = len(self.kept) if kept and self.kept is not None else None
        config = self.shape.config(vocabulary)
        with torch.device(device):
            if self.shape.kind == "deberta-v2":
                return transformers.DebertaV2Model(config)
            if not self.shape.writes:
                return transformers.XLMRobertaModel(config, add_pooling_layer=False)
            if self.shape.interface == "causal":
                return transformers.Qwen3ForCausalLM(config)
            name = "MT5ForConditionalGeneration" if self.shape.kind == "mt5" else "T5ForConditionalGeneration"
            return self._untied(getattr(transformers, name)(config))

    def _untied(self, model: Any) -> Any:
        """Give a model an output layer of its own, as mT5 and ByT5 have; transformers 5 ties it whatever is said."""
        config = model.config
        model.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        config.tie_word_embeddings = False
        return model

    def model(self, device: torch.device, made: Form) -> TaskModel:
        """Return the project's model."""
        model = TaskModel(self.backbone(device, kept=True), self.source, Dense(self.kept, self.about["special"]["pad"]))
        model.add_task(made, seed=0)
        return model.to(device)

    def peer(self, device: torch.device) -> Any:
        """Return the class that transformers has for the kind, with its whole vocabulary."""
        if self.shape.writes:
            return self.backbone(device, kept=False)
        torch.manual_seed(0)
        name = {"classification": "Sequence", "tagging": "Token"}.get(self.lengths.kind)
        name = f"{name}Classification" if name else "QuestionAnswering"
        name = f"{'DebertaV2' if self.shape.kind == 'deberta-v2' else 'XLMRoberta'}For{name}"
        config = self.shape.config()
        config.num_labels = self.lengths.labels or 2
        with torch.device(device):
            return getattr(transformers, name)(config)

    def rows(self, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """Return examples as transformers' classes want them."""
        return peer_rows(examples, self.shape.interface if self.shape.writes else self.lengths.kind)


@dataclass(frozen=True)
class Padding:
    """Pads a batch of the peer's to its longest, as transformers' collators do."""

    pad: int
    left: bool = False
    """Whether padding stands before a text."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return tensors."""
        fill = {"input_ids": self.pad, "attention_mask": 0, "labels": -100}
        made = {}
        for key, first in rows[0].items():
            if not isinstance(first, list):
                made[key] = torch.tensor([row[key] for row in rows])
                continue
            array = np.full((len(rows), max(len(row[key]) for row in rows)), fill[key], dtype=np.int64)
            for number, row in enumerate(rows):
                array[number, slice(-len(row[key]), None) if self.left else slice(len(row[key]))] = row[key]
            made[key] = torch.from_numpy(array)
        return made


# ------------------------------------------------------------------------------------------------ what measuring needs


@dataclass
class Bench:
    """The card, the time that is left, and what was found."""

    output: Path
    minutes: float
    toy: bool
    compiled: bool
    command: str
    graphs: bool = True
    wanted: str = ""
    """Part of the names of what is measured."""
    began: float = field(default_factory=time.monotonic)
    found: dict[str, Any] = field(default_factory=dict)
    peak: float = 0.0
    """Measured, operations a second."""

    def __post_init__(self) -> None:
        if self.toy:
            os.environ[DEVICE] = "cpu"
        self.device = choose("auto", "xlm-roberta", 1)
        self.warm, self.quiet, self.most, self.seconds = (2, 2, 3, 0.5) if self.toy else (8, 20, 50, 4.0)

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU."""
        return self.device.torch.type == "cuda"

    def left(self) -> float:
        """Return the seconds that are left."""
        return 60 * self.minutes - (time.monotonic() - self.began)

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize()

    def clean(self) -> None:
        """Give memory back and begin anew to look for its peak; nothing of one measurement reaches the next."""
        from accelerate.state import AcceleratorState, GradientState

        gc.collect()
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
        if self.compiled:
            torch._dynamo.reset()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_mb(self) -> int:
        """Return the peak of this measurement: of the GPU what tensors took, on a CPU 0."""
        return int(torch.cuda.max_memory_allocated() / 1e6) if self.cuda else 0

    def add(self, section: str, row: dict[str, Any]) -> None:
        """Keep figures and write everything found so far."""
        self.found["sections"][section]["rows"].append(row)
        print(f"[{time.monotonic() - self.began:5.0f} s] {section}: {row}", flush=True)
        self.write()

    def failed(self, section: str, what: str) -> None:
        """Keep the traceback of the error at hand."""
        text = traceback.format_exc()
        self.found["sections"][section]["errors"].append({"what": what, "traceback": text})
        print(f"[{time.monotonic() - self.began:5.0f} s] {section}: {what} failed: {text[-700:]}", flush=True)
        self.write()

    def attempt(self, section: str, what: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Make one measurement; what goes wrong in it is noted, and the memory is given back."""
        began = time.monotonic()
        row: dict[str, Any] | None = None
        try:
            self.clean()
            row = measure()
        except torch.OutOfMemoryError:
            row = {"what": what, "note": "out of memory"}
        except Exception:
            self.failed(section, what)
        self.clean()
        if row is not None:
            self.add(section, {**row, "cost s": round(time.monotonic() - began, 1)})
        return row

    def write(self) -> None:
        """Write JSON and tables."""
        write_json(self.output / "gpu.json", self.found)
        write_text(self.output / "gpu.md", self.tables())

    def tables(self) -> str:
        """Return what was found as tables."""
        about = self.found["about"]
        lines = ["# On a GPU, measured", "", ", ".join(f"{key} {value}" for key, value in about.items()), ""]
        for name, section in self.found["sections"].items():
            lines += [f"## {name}", "", section["what"], ""]
            rows = section["rows"]
            columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("cost s", "warnings")))
            if rows:
                lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
                lines += [f"| {' | '.join(str(row.get(column, '')) for column in columns)} |" for row in rows]
            lines += [
                f"failed: {e['what']}: {e['traceback'].strip().splitlines()[-1][:300]}" for e in section["errors"]
            ]
            lines += [f"not measured, for lack of time: {', '.join(section['left'])}"] if section.get("left") else []
            lines.append("")
        return "\n".join(lines)


def _about(bench: Bench) -> dict[str, Any]:
    """Say what was measured with."""
    import accelerate

    driver = ""
    if bench.cuda:
        query = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
        try:
            driver = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            driver = "unknown"
    return {
        "card": bench.device.name,
        "driver and power limit": driver,
        "precision": bench.device.precision,
        "torch": torch.__version__,
        "CUDA": torch.version.cuda,
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": bench.command,
    }


def _peak(bench: Bench, _until: float) -> None:
    """Multiply random matrices: zeros would draw less power and be faster."""

    def measure() -> dict[str, Any]:
        size = 64 if bench.toy else 8192
        a, b = (torch.randn(size, size, device=bench.device.torch).bfloat16() for _ in range(2))
        out = torch.empty_like(a)
        times = []
        for number in range(5 if bench.toy else 60):
            if bench.cuda:
                before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                before.record()
                torch.mm(a, b, out=out)
                after.record()
                torch.cuda.synchronize()
                seconds = before.elapsed_time(after) / 1000
            else:
                at = time.perf_counter()
                torch.mm(a, b, out=out)
                seconds = time.perf_counter() - at
            if number >= 3:
                times.append(seconds)
        bench.peak = 2 * size**3 / float(np.median(times))
        return {"size": size, "TFLOP/s": round(bench.peak / 1e12, 1), "of 989": round(bench.peak / PUBLISHED_PEAK, 3)}

    bench.attempt("peak", "product", measure)


# ------------------------------------------------------------------------------------------------------------ training


@dataclass
class Pace:
    """Times updates between points at which the device has caught up: first some to warm up, then those that count."""

    bench: Bench
    warm: int
    done: int = 0
    wanted: int = 0
    """Updates that count, known after the warm-up: as many as fit into the seconds of a measurement."""
    first: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0

    def begin(self) -> None:
        """Call before the first update."""
        self.bench.synchronise()
        self.first = self.at = time.perf_counter()

    def step(self) -> bool:
        """Call after each update; return whether it was the last."""
        self.done += 1
        if self.done == self.warm - min(3, self.warm - 1):
            self.bench.synchronise()
            self.at = time.perf_counter()
        if self.done == self.warm:
            self.bench.synchronise()
            now = time.perf_counter()
            one = (now - self.at) / min(3, self.warm - 1)
            self.wanted = max(3, min(self.bench.most, int(self.bench.seconds / max(one, 1e-6))))
            self.first = now - self.first
            self.at, self.cpu = now, time.process_time()
        if self.done == self.warm + self.wanted and self.wanted:
            self.bench.synchronise()
            self.wall, self.cpu = time.perf_counter() - self.at, time.process_time() - self.cpu
            return True
        return False

    @property
    def counts(self) -> bool:
        """Whether the next update is one that counts."""
        return self.done >= self.warm

    def row(
        self, case: Case, read: np.ndarray[Any, Any], written: np.ndarray[Any, Any], *, adapters: bool = False
    ) -> dict[str, Any]:
        """Return the figures of a training that read and wrote sequences of these lengths while it counted.

        Tokens are those read and those written. The CPU's time is this process's, all threads, not that of workers.
        """
        # Past weights that stay as they are the way back is as long as the way there, else twice as long.
        rate = (2 if adapters else 3) * case.shape.work(read, written) / self.wall
        one = self.wall / self.wanted
        return {
            "tokens/s": round(float(read.sum() + written.sum()) / self.wall),
            "of peak": round(rate / self.bench.peak, 3) if self.bench.peak else None,
            "of 989": round(rate / PUBLISHED_PEAK, 3),
            "ms/update": round(1000 * one, 2),
            "CPU ms/update": round(1000 * self.cpu / self.wanted, 2),
            "updates": self.wanted,
            "tokens/update": round(float(read.sum() + written.sum()) / self.wanted),
            "MB": self.bench.peak_mb(),
            "reserved MB": int(torch.cuda.max_memory_reserved() / 1e6) if self.bench.cuda else 0,
            "warm-up s": round(self.first, 1),
            "first updates' extra s": round(self.first - self.warm * one, 1),
        }


ADAPTERS = overlay("target", INTERFACES["causal"].training).lora or {}
"""What the sweep trains of a causal model by default."""


def _settings(case: Case, batch: int, *, adapters: bool = False) -> TrainingSettings:
    """Return the settings of a training: the defaults, but with more updates than time will allow."""
    return TrainingSettings(
        batch_size=batch,
        epochs=1e6,
        max_updates=100_000,
        learning_rate=1e-5,
        max_length=case.lengths.most,
        evaluations=1,
        lora=ADAPTERS if adapters else None,
    )


def _trainer(
    case: Case,
    model: TaskModel,
    examples: list[Example],
    settings: TrainingSettings,
    device: Device,
    folder: Path,
    share: int = 1,
) -> Any:
    """Make the project's trainer as `loop._try` makes it: the one place to mend when that changes."""
    made = model.form
    task = Task(
        meta=made.meta,  # type: ignore[attr-defined]
        part=Part(("en",), None, 0.0),
        files={},
        dev_languages=(),
        digests={"en": ""},
        seed_parts=(),
        form=made,  # type: ignore[arg-type]
        rows=len(examples),
        examples=examples,
        dev_rows=[],
        dev_examples=[],
        cut={},
    )
    names = [
        name
        for name, _ in trainable(
            model,
            freeze_embeddings=settings.freeze_embeddings,
            freeze_layers=settings.freeze_layers,
            adapters=settings.lora,
        )
    ]
    run = loop.Run(
        start=folder / "model.json",
        data=[],
        output=folder / "run" / "checkpoint.json",
        settings=settings,
        representation=REPRESENTATION,
        seed=0,
        prune=True,
        chance=0.0,
        identity={},
        share=share,
    )
    state = StateFolder(folder / "state", {})
    return loop._Trainer(run, case.source, model, names, [task], device, None, state, 0, Team())


def _variant(model: TaskModel, variant: str, share: int = 1) -> None:
    """Switch a model to a way of reading its inputs; on a CPU nothing is captured.

    Args:
      model: on its device.
      variant: padded, unpadded, compiled or captured; other names are unpadded.
      share: jobs that share the card.

    Raises:
      ValueError: the model's class cannot.
    """
    model.unpadded = None
    graphs = torch.cuda.is_available() and variant in ("captured", "compiled")
    ways = {"compiled": variant == "compiled", "captured": graphs}
    if variant != "padded" and not unpadded.attach(model, **ways, share=share):
        raise ValueError(f"{type(model.backbone).__name__}: no way to go without padding")


def _ours(
    bench: Bench,
    case: Case,
    examples: list[Example],
    batch: int,
    variant: str,
    *,
    share: int = 1,
    ready: Callable[[], object] = bool,
) -> dict[str, Any]:
    """Train with this project's loop; `ready` is called when what was to be captured is, before anything is timed."""
    device = choose("auto", case.shape.kind, 1)
    settings = _settings(case, batch, adapters=variant == "adapters")
    with tempfile.TemporaryDirectory() as folder:
        model = case.model(device.torch, case.form(settings.max_target_length))
        trainer = _trainer(case, model, examples, settings, device, Path(folder), share)
        _variant(model, variant, share)
        trainer.model.train()
        pace = Pace(bench, bench.warm)
        counted: list[int] = []
        if variant == "padded":  # as it was before
            trainer.budget = trainer.usual
        works = trainer.ahead(trainer._batches())

        def update(work: Any) -> int:
            trainer.update(work)
            trainer.progress.update += 1
            return len(model.unpadded.captured.pairs) if model.unpadded and model.unpadded.captured else 0

        captures = _until_captured(bench, works, update) if variant in ("captured", "compiled") else {}
        before = captures.get("graphs", 0)
        ready()
        pace.begin()
        for work in works:
            if pace.counts:
                counted += work.batch.examples
            shapes = update(work)
            if pace.step():
                break
        works.close()
        budget = trainer.budget
    written = np.array([len(examples[i].target) for i in counted])
    read = np.array([len(examples[i].inputs[0].ids) for i in counted])
    read = read - written if case.shape.interface == "causal" else read
    row = pace.row(case, read, written, adapters=variant == "adapters")
    planned = _planned(case, settings, float(written.sum() / read.sum()))
    captures |= {"graphs of late": shapes - before} if captures else {}
    return {**row, "planned MB": planned, "micro-batch": budget, **captures}


def _until_captured(bench: Bench, works: Iterator[Any], update: Callable[[Any], int]) -> dict[str, Any]:
    """Update until some in a row captured nothing, or many were made; return what that took.

    A training captures the shapes that come back in its first updates, one after the other; this is their price.
    """
    bench.synchronise()
    began, shapes, since, done = time.perf_counter(), 0, 0, 0
    for work in works:
        now = update(work)
        since, shapes, done = since + 1 if now == shapes else 0, now, done + 1
        if since >= bench.quiet or done >= 10 * bench.quiet:
            break
    bench.synchronise()
    return {"graphs": shapes, "updates until captured": done, "s until captured": round(time.perf_counter() - began, 1)}


def _planned(case: Case, settings: TrainingSettings, written: float) -> int | str:
    """Return the megabytes of a GPU that the plan of a sweep would ask for (`resources`)."""
    try:
        from stiltsweep.catalog import Model
        from stiltsweep.resources import Needs

        needs: Any = object.__new__(Needs)
        needs.sweep = SimpleNamespace(
            catalog=SimpleNamespace(models={case.name: Model(case.name, case.shape.definition)}),
            config={"resources": {"gradient_checkpointing": False, "gpus": 1}},
        )
        return int(needs._trained(case.name, settings, 1.0, written).gpu_mb)
    except Exception as error:  # the figures of the training itself are worth more than this one
        return f"{type(error).__name__}: {error}"[:80]


def _theirs(bench: Bench, case: Case, examples: list[Example], batch: int, *, adapters: bool = False) -> dict[str, Any]:
    """Train with transformers' Trainer, perhaps by peft's adapters.

    It has what is usually done to make it fast: bf16, the fused optimizer, lengths grouped, workers that pad, pinned
    memory, and no look at the loss in between.
    """
    torch.use_deterministic_algorithms(False)
    pace = Pace(bench, bench.warm)
    lengths: list[tuple[torch.Tensor, torch.Tensor]] = []
    interface = case.shape.interface

    class Counting(transformers.Trainer):
        def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
            if pace.counts:
                read = inputs["attention_mask"].sum(1)
                written = (inputs["labels"] != -100).sum(1) if case.shape.writes else torch.zeros_like(read)
                lengths.append((read - written if interface == "causal" else read, written))
            return super().compute_loss(model, inputs, *arguments, **named)

    class Steps(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            pace.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            control.should_training_stop = pace.step()
            return control

    rows = case.rows(examples)
    # One epoch is longer than the measurement, as it is of the real data: no workers are started anew within it.
    rows *= -(-(batch * (bench.warm + bench.most + 8)) // len(rows))
    options: dict[str, Any] = {
        "max_steps": 100_000,
        "per_device_train_batch_size": batch,
        "learning_rate": 1e-5,
        "bf16": bench.device.precision == "bf16",
        "optim": "adamw_torch_fused",
        "dataloader_num_workers": 1 if bench.toy else 4,
        "dataloader_pin_memory": bench.cuda,
        "remove_unused_columns": False,
        "logging_steps": 1_000_000,
        "logging_nan_inf_filter": False,
        "train_sampling_strategy": "group_by_length",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": not bench.cuda,
    }
    with tempfile.TemporaryDirectory() as folder:
        model = case.peer(bench.device.torch)
        if adapters:
            from peft import LoraConfig, get_peft_model

            about = {"r": ADAPTERS["rank"], "lora_alpha": ADAPTERS["alpha"], "target_modules": "all-linear"}
            model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **about))
        trainer = Counting(
            model,
            transformers.TrainingArguments(output_dir=folder, **options),
            data_collator=Padding(case.about["special"]["pad"]),
            train_dataset=rows,
            callbacks=[Steps()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
        row = pace.row(
            case,
            torch.cat([read for read, _ in lengths]).cpu().numpy(),
            torch.cat([written for _, written in lengths]).cpu().numpy(),
            adapters=adapters,
        )
        del trainer
    return row


@dataclass(frozen=True)
class Job:
    """A training to measure, by each side."""

    name: str
    task: str
    batch: int
    sides: tuple[str, ...] = ("captured", "Trainer")


CAUSAL = (
    Job("qwen3-0.6b", "QA", 32, ("adapters", "Trainer and peft", "weights", "Trainer")),
    Job("qwen3-0.6b", "XNLI text", 32, ("adapters", "Trainer and peft")),
)
JOBS = (
    Job("xlm-r base", "XNLI", 32),
    Job("mt5-base", "QA", 32),
    Job("xlm-r large", "SQuAD", 32),
    Job("xlm-r large", "XNLI", 128),
    Job("xlm-r large", "SQuAD", 32, ("compiled",)),
    Job("mt5-base", "QA", 128, ("captured",)),
    Job("xlm-r base", "XNLI", 128),
    Job("xlm-r base", "XNLI", 32, ("padded", "unpadded", "compiled")),
    Job("mt5-base", "QA", 32, ("padded", "unpadded", "compiled")),
    Job("mdeberta base", "XNLI", 32, ("unpadded", "padded", "Trainer")),
    Job("mdeberta base", "SQuAD", 32, ("unpadded", "padded", "Trainer")),
    Job("xlm-r large", "XNLI", 32),
    Job("xlm-r base", "PAN-X", 32),
    Job("xlm-r base", "SQuAD", 32),
    Job("mt5-small", "QA", 32),
    Job("byt5-small", "QA", 32),
    Job("xlm-r base", "XNLI", 512),
    # A second turn of the first two: how much a repetition differs.
    Job("xlm-r base", "XNLI", 32),
    Job("mt5-base", "QA", 32),
    Job("xlm-r large", "SQuAD", 128),
    Job("xlm-r base", "PAN-X", 512),
    Job("xlm-r base", "SQuAD", 128),
    Job("mt5-small", "QA", 128),
    Job("byt5-small", "QA", 128),
    Job("xlm-r large", "XNLI", 512),
    Job("mt5-base", "QA", 512),
)
"""Published recipes train with batches of 32; by importance."""
COMPILING = 45.0
"""Seconds that have to be left for a training that is compiled."""


class Training:
    """The trainings, one after the other; what the time does not allow is taken up again when there is time left."""

    def __init__(self, section: str, jobs: Sequence[Job]) -> None:
        self.section, self.jobs = section, jobs
        self.queue = [(job, side) for job in jobs for side in job.sides]
        self.cases: dict[tuple[str, str], tuple[Case, list[Example]]] = {}
        self.longest = 0.0

    def __call__(self, bench: Bench, until: float) -> None:
        """Measure until so many seconds are left."""
        if bench.toy:
            # One of every class and kind of task.
            sides = ("padded", "captured", "Trainer") if self.jobs == JOBS else CAUSAL[0].sides
            some = {(SHAPES[j.name].kind, j.task): replace(j, batch=8, sides=sides) for j in reversed(self.jobs)}
            self.queue = [(job, side) for job in reversed(some.values()) for side in job.sides if not self.cases]
        if not bench.graphs:
            plain = ((job, "unpadded" if side == "captured" else side) for job, side in self.queue)
            self.queue = [(job, side) for job, side in plain if side != "compiled"]
        self.queue = [
            (job, side) for job, side in self.queue if bench.wanted in f"{job.name} {job.task} {job.batch} {side}"
        ]
        if not bench.compiled:
            self.queue = [(job, side) for job, side in self.queue if side != "compiled"]
        while self.queue:
            # What is compiled takes longer by minutes than what is not.
            wanted = {side: 1 if bench.toy else max(15.0, self.longest) for _, side in self.queue}
            wanted |= {"compiled": COMPILING}
            fits = [one for one in self.queue if bench.left() - until > wanted[one[1]]]
            if not fits:
                break
            job, side = fits[0]
            self.queue.remove(fits[0])
            began = time.monotonic()
            what = {"model": job.name, "task": job.task, "batch": job.batch, "side": side}
            name = f"{job.name} {job.task} {job.batch} {side}"
            bench.attempt(self.section, name, partial(self._one, bench, job, side, what))
            if side != "compiled":
                self.longest = max(self.longest, time.monotonic() - began)
        bench.found["sections"][self.section]["left"] = [f"{j.name} {j.task} {j.batch} {s}" for j, s in self.queue]

    def _one(self, bench: Bench, job: Job, side: str, what: dict[str, Any]) -> dict[str, Any]:
        case, examples = self._case(bench, job.name, job.task)
        if side.startswith("Trainer"):
            return {**what, **_theirs(bench, case, examples, job.batch, adapters=side.endswith("peft"))}
        return {**what, **_ours(bench, case, examples, job.batch, side)}

    def _case(self, bench: Bench, name: str, task: str) -> tuple[Case, list[Example]]:
        if (name, task) not in self.cases:
            case = Case(name, task, toy=bench.toy)
            self.cases[name, task] = case, case.examples()
        return self.cases[name, task]


# ---------------------------------------------------------------------------------------------------------- generation


def _ending(case: Case, backbone: Any, mean: float) -> None:
    """Make a model with random weights end its answers after `mean` pieces on average, the end included.

    By itself it never would, or would in every step. Here the output layer lets a text end by chance, in one of `mean`
    steps, whichever way it is generated. So two sides write texts of the same lengths on average, not one by one.
    """
    eos = case.about["special"]["eos"]
    generator: dict[torch.device, torch.Generator] = {}

    def draw(_module: Any, _inputs: Any, scores: torch.Tensor) -> torch.Tensor:
        if scores.device not in generator:
            generator[scores.device] = torch.Generator(scores.device).manual_seed(0)
        chances = torch.rand(scores.shape[:-1], generator=generator[scores.device], device=scores.device)
        scores[..., eos] = torch.where(chances < 1 / mean, 1e4, -1e4).to(scores.dtype)
        return scores

    backbone.lm_head.register_forward_hook(draw)


def _answered(rows: Sequence[Sequence[int]]) -> float:
    return round(float(np.mean([len(row) for row in rows])), 1)


def _generated(bench: Bench, name: str, longest: int, side: str, count: int) -> dict[str, Any]:
    """Write answers; `side` is ours, or the peer's size of a batch, perhaps with weights in 16 bits."""
    case = Case(name, "QA", toy=bench.toy)
    examples = case.examples(count, training=False)
    device = choose("auto", case.shape.kind, 1)
    model = case.model(device.torch, case.form(longest)).eval()
    _ending(case, model.backbone, case.lengths.answer)
    return _timed_answers(bench, case, model, examples, longest, side, device)


def _timed_answers(
    bench: Bench, case: Case, model: TaskModel, examples: list[Example], longest: int, side: str, device: Device
) -> dict[str, Any]:
    warm = examples[: max(8, len(examples) // 16)]
    if side.startswith("ours"):
        _variant(model, side.partition(" ")[2])

        def work(some: list[Example]) -> list[Any]:
            with autocast(device):
                return predict_examples(model, some, PREDICTION_TOKENS)
    else:
        torch.use_deterministic_algorithms(False)
        size = int(side.split()[1])
        if side.endswith("bf16"):
            # As models are often loaded for this: no casts in each step.
            model.backbone.bfloat16()
            device = Device(device.torch, "fp32")

        def work(some: list[Example]) -> list[Any]:
            return _peer_answers(case, model.backbone, device, some, size, longest)

    work(warm)
    bench.synchronise()
    began, cpu = time.perf_counter(), time.process_time()
    raw = work(examples)
    bench.synchronise()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    texts = [one.ids if hasattr(one, "ids") else one for one in raw]
    row = {
        "model": case.name,
        "task": case.task,
        "longest": longest,
        "side": side,
        "examples/s": round(len(examples) / wall, 1),
        "examples": len(examples),
        "CPU s": round(cpu, 2),
        "wall s": round(wall, 2),
        "MB": bench.peak_mb(),
    }
    if texts and isinstance(texts[0], list):
        row["mean answer"] = _answered(texts)
    return row


@torch.inference_mode()
def _peer_answers(
    case: Case, backbone: Any, device: Device, examples: list[Example], size: int, longest: int
) -> list[list[int]]:
    """Generate in batches in the order of the file, padded to their longest, with transformers' defaults otherwise."""
    causal = case.shape.interface == "causal"
    padding = Padding(0, left=causal)
    found: list[list[int]] = []
    with autocast(device):
        for at in range(0, len(examples), size):
            rows = case.rows(examples[at : at + size])
            batch = padding([{key: row[key] for key in ("input_ids", "attention_mask")} for row in rows])
            out = backbone.generate(
                **{key: value.to(device.torch) for key, value in batch.items()},
                max_new_tokens=longest,
                do_sample=False,
                suppress_tokens=case.sentinels or None,
                eos_token_id=1,
                pad_token_id=0,
                **({} if causal else {"decoder_start_token_id": 0}),
            )
            out = out[:, batch["input_ids"].shape[1] :] if causal else out
            found += [[i for i in row if i not in (0, 1)] for row in out.tolist()]
    return found


def _labelled(bench: Bench, name: str, side: str, count: int) -> dict[str, Any]:
    """Score labels; or, as the peer, write them, which takes as many steps as a label has pieces, its end included."""
    case = Case(name, "XNLI text", toy=bench.toy)
    examples = case.examples(count, training=False)
    device = choose("auto", case.shape.kind, 1)
    model = case.model(device.torch, case.form(16)).eval()
    return _timed_answers(bench, case, model, examples, 2, side, device)


def _generation(bench: Bench, until: float) -> None:
    """Ours against transformers' own."""
    count = 16 if bench.toy else 256
    work: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    names: tuple[str, ...] = ("mt5-small", "byt5-small") if bench.toy else ("mt5-base", "mt5-small", "byt5-small")
    sides = ("ours unpadded", f"generate {PEER_BATCH}")

    def answers(longest: int, sides: Sequence[str], count: int) -> None:
        for name in names:
            work.extend(
                (f"{name} {longest} {side}", partial(_generated, bench, name, longest, side, count)) for side in sides
            )

    answers(16, sides, count)
    work += [(f"mt5-base labels {side}", partial(_labelled, bench, "mt5-base", side, 4 * count)) for side in sides]
    own = ("ours padded", sides[1])
    work += [(f"qwen3 16 {side}", partial(_generated, bench, "qwen3-0.6b", 16, side, count)) for side in own]
    work += [(f"qwen3 labels {side}", partial(_labelled, bench, "qwen3-0.6b", side, 4 * count)) for side in own]
    if bench.toy:
        names = ("mt5-small",)
    answers(64, sides, count)
    # What the same peer can do with weights in 16 bits, and with larger batches.
    answers(16, (f"generate {PEER_BATCH} bf16", "generate 64"), 2 * count)
    _all(bench, "generation", work, until)
    rows = bench.found["sections"]["generation"]["rows"]
    for row in rows:
        peers = [
            one["examples/s"]
            for one in rows
            if one.get("side") == f"generate {PEER_BATCH}"
            and (one["model"], one["task"], one["longest"]) == (row.get("model"), row.get("task"), row.get("longest"))
        ]
        if peers and row["side"].startswith("ours"):
            row["ratio"] = round(row["examples/s"] / peers[0], 2)


def _all(bench: Bench, section: str, work: list[tuple[str, Callable[[], dict[str, Any]]]], until: float) -> None:
    """Make measurements while there is time."""
    longest = 1.0 if bench.toy else 12.0
    work = [(what, measure) for what, measure in work if bench.wanted in what]
    while work and bench.left() - until > longest:
        what, measure = work.pop(0)
        began = time.monotonic()
        bench.attempt(section, what, measure)
        longest = max(longest, time.monotonic() - began)
    bench.found["sections"][section]["left"] = [what for what, _ in work]


# ------------------------------------------------------------------------------------------- prediction, repeatability


def _prediction(bench: Bench, until: float) -> None:
    """An encoder reads the test examples of one language of XNLI, 5,010."""

    def measure(name: str, side: str, tokens: int) -> dict[str, Any]:
        case = Case(name, "XNLI", toy=bench.toy)
        examples = case.examples(64 if bench.toy else 5010, training=False)
        device = choose("auto", case.shape.kind, 1)
        model = case.model(device.torch, case.form()).eval()
        _variant(model, side)
        lengths = np.array([len(example.inputs[0].ids) for example in examples])
        times = []
        with autocast(device):
            for _ in range(3):
                bench.synchronise()
                began, cpu = time.perf_counter(), time.process_time()
                predict_examples(model, examples, tokens)
                bench.synchronise()
                times.append((time.perf_counter() - began, time.process_time() - cpu))
        wall, cpu = min(times[1:])
        rate = case.shape.work(lengths, np.zeros(1)) / wall
        return {
            "model": name,
            "task": case.task,
            "batch": tokens,
            "side": side,
            "tokens/s": round(float(lengths.sum()) / wall),
            "of peak": round(rate / bench.peak, 3) if bench.peak else None,
            "wall s": round(wall, 3),
            "CPU s": round(cpu, 3),
            "first s": round(times[0][0], 3),
            "MB": bench.peak_mb(),
        }

    sides = ["padded", "unpadded"]
    work: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (f"{name} {tokens} {side}", partial(measure, name, side, tokens))
        for name, tokens in (
            ("xlm-r base", PREDICTION_TOKENS),
            ("xlm-r base", MORE_TOKENS),
            ("xlm-r large", MORE_TOKENS),
        )
        for side in sides
    ]
    _all(bench, "prediction", work, until)


def _repeatable(bench: Bench, until: float) -> None:
    """Train twice alike and compare every trained number, bit by bit."""
    updates = 3 if bench.toy else 30

    def train(name: str, task: str, variant: str, fixed: str) -> tuple[list[torch.Tensor], float, list[str]]:
        case = Case(name, task, toy=bench.toy)
        examples = case.examples()
        device = choose("auto", case.shape.kind, 1)
        torch.use_deterministic_algorithms(fixed != "free", warn_only=fixed == "where there are")
        settings = _settings(case, 8 if bench.toy else 32)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = case.model(device.torch, case.form())
            trainer = _trainer(case, model, examples, settings, device, Path(folder))
            _variant(model, variant)
            trainer.model.train()
            began, tokens = 0.0, 0
            works = trainer.ahead(trainer._batches())
            for number, work in enumerate(works):
                if number == updates // 3:
                    bench.synchronise()
                    began = time.perf_counter()
                tokens += work.tokens if began else 0
                trainer.update(work)
                trainer.progress.update += 1
                if number + 1 == updates:
                    break
            bench.synchronise()
            rate = tokens / (time.perf_counter() - began)
            works.close()
        told = sorted({str(one.message)[:160] for one in caught if "determin" in str(one.message)})
        return [tensor.detach().clone() for tensor in trainer.trained.values()], rate, told

    def measure(name: str, task: str, variant: str, fixed: str) -> dict[str, Any]:
        one, _, told = train(name, task, variant, fixed)
        bench.clean()
        other, rate, _ = train(name, task, variant, fixed)
        same = [torch.equal(a.view(torch.int32), b.view(torch.int32)) for a, b in zip(one, other, strict=True)]
        furthest = max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))
        return {
            "model": name,
            "side": variant,
            "deterministic algorithms": fixed,
            "same bytes": all(same),
            "tensors that differ": same.count(False),
            "of": len(same),
            "furthest apart": furthest,
            "updates": updates,
            "tokens/s": round(rate),
            "warnings": told,
        }

    work: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (f"{name} {fixed}", partial(measure, name, task, "captured", fixed))
        for name, task in (("xlm-r base", "SQuAD"), ("mt5-small", "QA"))
        for fixed in ("only", "where there are", "free")
    ]
    _all(bench, "repeatable", work, until)


def _agreement(bench: Bench, until: float) -> None:
    """One batch through each way of reading, without dropout: loss and gradients against those of padded texts."""

    def measure(name: str, task: str, precision: str) -> dict[str, Any]:
        case = Case(name, task, toy=bench.toy)
        examples = case.examples()[:48]
        device = choose(precision, case.shape.kind, 1)
        model = case.model(device.torch, case.form(16)).train()
        module: Any
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
        row: dict[str, Any] = {"model": name, "task": task, "precision": device.precision}
        first: tuple[float, dict[str, torch.Tensor]] | None = None
        for side in ("padded", "unpadded", "captured"):
            _variant(model, side)  # where a class has no graphs, captured is unpadded again
            for part in (examples[:16], examples[16:32], examples[:16]):  # a graph is replayed with other contents
                model.zero_grad(set_to_none=side != "captured")
                with autocast(device):
                    loss = model(model.collate(part, device.torch))
                loss.backward()
                value = float(loss.detach())
                del loss
            told = value, {n: p.grad.float().clone() for n, p in model.named_parameters() if p.grad is not None}
            if first is None:
                first = told
                row["loss"] = round(first[0], 4)
                continue
            off = sum(float((told[1][n] - g).square().sum()) for n, g in first[1].items()) ** 0.5
            size = sum(float(g.square().sum()) for g in first[1].values()) ** 0.5
            row[f"{side}: loss apart"] = f"{abs(told[0] - first[0]) / abs(first[0]):.1e}"
            row[f"{side}: gradients apart"] = f"{off / size:.1e}"
        return row

    work: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (f"{name} {precision}", partial(measure, name, task, precision))
        for precision in ("auto", "fp32")
        for name, task in (("xlm-r base", "XNLI"), ("mt5-small", "QA"), ("mdeberta base", "XNLI"))
    ]
    _all(bench, "agreement", work, until)


# --------------------------------------------------------------------------------------------------------------- cells


def _cells(bench: Bench, until: float) -> None:
    """Train and score the tests' small encoder on its own small task, on every device in every precision."""
    sys.path.insert(0, str(ROOT / "tests"))
    import tiny
    from stiltsweep.files import read_json
    from stiltsweep.prediction import predict
    from stiltsweep.records import read_rows

    work = Path(tempfile.mkdtemp())
    start = tiny.encoder(work / "model")
    data = tiny.classification(work / "data", train=64 if bench.toy else 256, dev=32, test=64 if bench.toy else 400)
    answers: dict[str, dict[str, list[Any]]] = {}
    scores: dict[str, dict[str, float]] = {}

    def measure(place: str, precision: str) -> dict[str, Any]:
        name = f"{place} {precision}"
        settings = TrainingSettings(
            epochs=2 if bench.toy else 12, learning_rate=1e-3, batch_size=16, evaluations=2, precision=precision
        )
        before = os.environ.get(DEVICE)
        os.environ[DEVICE] = "cpu" if place == "CPU" else "auto"
        try:
            checkpoint = work / name.replace(" ", "-") / "train" / "checkpoint.json"
            began = time.perf_counter()
            loop.train(
                loop.Run(
                    start=start,
                    data=[data["en"]],
                    output=checkpoint,
                    settings=settings,
                    representation=REPRESENTATION,
                    seed=0,
                    prune=True,
                    chance=25.0,
                    identity={"stage": "finetune"},
                )
            )
            index = checkpoint.parent.parent / "predictions" / "index.json"
            limits = Limits(128, 32, 64)
            predict(
                checkpoint,
                data,
                index,
                PredictionSettings(limits, REPRESENTATION, 4096, True, precision),
                identity={"target": "tiny"},
            )
            seconds = time.perf_counter() - began
        finally:
            os.environ.pop(DEVICE, None)
            if before is not None:
                os.environ[DEVICE] = before
        answers[name], scores[name] = {}, {}
        row: dict[str, Any] = {"side": name, "seconds": round(seconds, 1)}
        for language, path in data.items():
            gold = {one["id"]: one["label"] for one in read_rows(path, "test")}
            found = read_json(index.with_name(f"{language}.json"))
            answers[name][language] = found["predictions"]
            right = [gold[key] == label for key, label in zip(found["ids"], found["predictions"], strict=True)]
            scores[name][language] = 100 * float(np.mean(right))
            row[f"{language} accuracy"] = round(scores[name][language], 2)
            first = next(iter(answers))
            alike = [a == b for a, b in zip(answers[first][language], found["predictions"], strict=True)]
            row[f"{language} points from {first}"] = round(scores[name][language] - scores[first][language], 2)
            row[f"{language} answers alike, %"] = round(100 * float(np.mean(alike)), 1)
        return row

    places = [("CPU", "fp32"), *([("GPU", "fp32"), ("GPU", "bf16")] if bench.cuda else []), ("CPU", "bf16")]
    _all(bench, "cells", [(f"{a} {b}", partial(measure, a, b)) for a, b in places], until)


# --------------------------------------------------------------------------------------------------------------- share


def _beside(name: str, task: str, share: int, options: tuple[Any, ...], barrier: Any, rows: Any) -> None:
    """Train in a process of its own, begin to time when all others are ready too, and report."""
    toy, graphs, seconds = options
    bench = Bench(Path(), 60.0, toy, compiled=False, command="")
    bench.seconds = seconds
    transformers.logging.set_verbosity_error()
    try:
        case = Case(name, task, toy=toy)
        side = "captured" if graphs else "unpadded"
        batch = 8 if toy else 32
        rows.put(_ours(bench, case, case.examples(), batch, side, share=share, ready=barrier.wait))
    except Exception:
        # In this order: the others then fail for the barrier, and what failed first is told.
        rows.put({"error": traceback.format_exc()})
        barrier.abort()


def _share(bench: Bench, until: float) -> None:
    """Trainings of a small model side by side on one card, as `resources: {share: 4}` has them."""
    alone: dict[str, float] = {}

    def measure(name: str, task: str, share: int) -> dict[str, Any]:
        context = torch.multiprocessing.get_context("spawn")
        barrier, rows = context.Barrier(share, timeout=240), context.Queue()
        # Longer than elsewhere: they begin together and end nearly so.
        options = bench.toy, bench.graphs, 2 * bench.seconds
        jobs = [context.Process(target=_beside, args=(name, task, share, options, barrier, rows)) for _ in range(share)]
        for job in jobs:
            job.start()
        found = [rows.get(timeout=300) for _ in jobs]
        for job in jobs:
            job.join()
        for row in found:
            if "error" in row:
                raise RuntimeError(row["error"])
        total = sum(row["tokens/s"] for row in found)
        alone.setdefault(name, total / share)
        return {
            "model": name,
            "task": task,
            "side": f"{share} at once",
            "tokens/s": total,
            "times one": round(total / alone[name], 2),
            "of 989": round(sum(row["of 989"] for row in found), 3),
            "ms/update": max(row["ms/update"] for row in found),
            "MB": sum(row["MB"] for row in found),
            "reserved MB": sum(row["reserved MB"] for row in found),
        }

    work: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (f"{name} {share} at once", partial(measure, name, task, share))
        for name, task in (("xlm-r base", "XNLI"), ("mt5-small", "QA"))
        for share in (1, 2, 4)
    ]
    _all(bench, "share", work[1:2] if bench.toy else work, until)


# ---------------------------------------------------------------------------------------------------------------- main

SECTIONS: dict[str, tuple[Callable[[Bench, float], None], float]] = {
    "peak": (_peak, 0.0),
    "agreement": (_agreement, 0.15),
    "training": (Training("training", JOBS), 0.60),
    "causal": (Training("causal", CAUSAL), 0.68),
    "generation": (_generation, 0.84),
    "prediction": (_prediction, 0.88),
    "repeatable": (_repeatable, 0.94),
    "cells": (_cells, 0.97),
    "share": (_share, 1.0),
}
"""Section -> its function, and the share of the time after which it has to be done, 0 where it takes none."""


def measure(bench: Bench, only: Sequence[str]) -> None:
    """Go through the sections; those of the trainings that there was no time for come again at the end."""
    chosen = [name for name in SECTIONS if name in only]
    bench.found["about"] = _about(bench)
    bench.found["sections"] = {
        name: {"what": (SECTIONS[name][0].__doc__ or "").strip().splitlines()[0], "rows": [], "errors": [], "left": []}
        for name in chosen
    }
    again = ["training"] if "training" in chosen else []
    for number, name in enumerate([*chosen, *again]):
        work, share = SECTIONS[name]
        last = number >= len(chosen) - 1
        until = 0.0 if last or not share else (1 - share) * 60 * bench.minutes
        began = time.monotonic()
        try:
            work(bench, until)
        except Exception:
            bench.failed(name, "the section")
        about = bench.found["sections"][name]
        about["seconds"] = round(about.get("seconds", 0.0) + time.monotonic() - began, 1)
        bench.write()


SHORT = {"tokens/s": "t/s", "of peak": "peak", "ms/update": "ms", "CPU ms/update": "CPU", "planned MB": "plan"}
SHORT |= {"first updates' extra s": "extra s", "micro-batch": "micro", "examples/s": "ex/s"}
UNTOLD = {"cost s", "warnings", "warm-up s", "reserved MB", "tokens/update", "updates", "examples", "furthest apart"}
TITLE = ("model", "task", "batch", "longest", "side")


def _lines(bench: Bench) -> Iterator[str]:
    """Yield the figures in few words: what is kept of a long run's output is its end."""
    yield ", ".join(f"{key} {value}" for key, value in bench.found["about"].items() if key != "command")
    for name, section in bench.found["sections"].items():
        yield f"-- {name} ({section.get('seconds', 0)} s)"
        for row in section["rows"]:
            title = " ".join(str(row[key]) for key in TITLE if key in row)
            told = {SHORT.get(key, key): value for key, value in row.items() if key not in {*UNTOLD, *TITLE}}
            yield f"{title}: {' '.join(f'{key} {value},' for key, value in told.items())}".strip(",")
        for error in section["errors"]:
            yield f"FAILED {error['what']}: {error['traceback'].strip().splitlines()[-1][:200]}"
        if section["left"]:
            yield f"no time for: {', '.join(section['left'])}"[:300]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all of it")
    parser.add_argument("--output", type=Path, default=Path("results/bench/gpu"), help="folder")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("--holding", default="", help="only what has this in its name, as in 'xlm-r large SQuAD'")
    parser.add_argument("--rehearse", action="store_true", help="toy sizes on the CPU; nothing is compiled")
    parser.add_argument("--no-compile", action="store_true", help="leave out what is compiled")
    parser.add_argument("--no-graphs", action="store_true", help="capture nothing, for machines where that fails")
    arguments = parser.parse_args()
    if not arguments.rehearse and not torch.cuda.is_available():
        parser.error("no GPU here; --rehearse goes through it on the CPU")
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", message=".*determinis.*")
    # What the imports left is not looked through again after every measurement.
    gc.freeze()
    arguments.output.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]])
    compiled = not (arguments.rehearse or arguments.no_compile)
    bench = Bench(arguments.output, arguments.minutes, arguments.rehearse, compiled, command)
    bench.graphs, bench.wanted = not arguments.no_graphs, arguments.holding
    measure(bench, arguments.only)
    print("\n".join(_lines(bench)), flush=True)
    sys.exit(any(section["errors"] for section in bench.found["sections"].values()))


if __name__ == "__main__":
    main()
