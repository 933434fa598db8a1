"""Making a model from nothing: initial weights and vocabulary, span corruption on a corpus, a canonical directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from .. import identity
from ..catalog import Model
from ..errors import UserError
from ..files import digest_file, read_record, replacing, write_record
from ..kinds import Representation
from ..models.fetch import WEIGHTS, fetch
from ..models.load import Source, weights
from ..models.tensors import CHECKPOINT_FILE, save_tensors
from ..models.tokenizer import CONFIG, FILE, INDEX, MODEL_FILE
from ..records import Row, write_rows
from ..settings import TrainingSettings
from ..sources.package import corpora
from .loop import Run, train

_DEV_EVERY = 20
"""Every 20th text is kept from training and scored."""


def pretrain(
    model: Model,
    output: Path,
    settings: TrainingSettings,
    threads: int = 1,
    **computing: Any,
) -> None:
    """Write the canonical directory of a model with `source: {type: pretrain}`; killed and started again, it goes on.

    Args:
      model: its source names corpus, vocabulary size, architecture, seed and number of updates.
      output: model.json, written last.
      settings: of training; `max_updates` is the source's number of updates.
      threads: CPU threads.
      computing: fields of `Run` that say how it computes.

    Raises:
      UserError: see `fetch` and `train`.
    """
    folder = output.parent
    initial = folder / "initial"
    if not _fits(initial / MODEL_FILE, model):
        fetch(model, initial)
    source = model.definition["source"]
    corpus = folder / "corpus.parquet"
    about = {
        "task": f"{model.name}-corpus",
        "language": "mul",
        "metrics": ["reconstruction_accuracy"],
        "parallel": "none",
        "source": {"type": "package", **corpora.origin({"source": source["corpus"]})},
        "text2text": {},
    }
    write_rows(corpus, "text", _rows(source["corpus"]), about, labels=[])
    checkpoint = folder / "pretrain" / CHECKPOINT_FILE
    train(
        Run(
            start=initial / MODEL_FILE,
            data=[corpus],
            output=checkpoint,
            settings=settings,
            representation=Representation("mean", -1, "mean", ""),
            seed=source["seed"],
            prune=False,
            chance=0.0,
            identity={"stage": "pretrain", "model": model.name},
            **computing,
        ),
        threads,
    )
    trained = Source.read(checkpoint)
    for name in ("config.json", FILE, CONFIG, INDEX):
        if (initial / name).is_file():
            with replacing(folder / name) as temporary:
                shutil.copyfile(initial / name, temporary)
    with safe_open(initial / WEIGHTS, "pt") as handle:
        names = list(handle.keys())
    whole = weights(trained, None)
    if sorted(whole) != sorted(names):
        raise UserError(f"{checkpoint}: holds other tensors than {initial / WEIGHTS}. Delete {folder} and try again.")
    save_tensors(folder / WEIGHTS, {name: whole[name].contiguous() for name in names})
    facts = read_record(initial / MODEL_FILE)
    done = read_record(checkpoint)
    facts |= identity.of(identity.pretrained(model.name, model.definition, settings.to_json()))
    facts["config_sha256"] = digest_file(folder / "config.json")
    facts["weights_sha256"] = digest_file(folder / WEIGHTS)
    facts["checks"] = {"updates": done["updates"], "tokens": done["tokens"], "dev": done["dev"]}
    write_record(output, facts)


def _fits(record: Path, model: Model) -> bool:
    """Whether the initial model lies there already, made from this definition by this code."""
    try:
        return not identity.differences(read_record(record), identity.fetched(model.name, model.definition, []))
    except UserError:
        return False


def _rows(corpus: dict[str, object]) -> Iterator[Row]:
    """Yield the corpus as rows, dev behind train; a text that two languages share keeps its first place."""
    texts = list(dict.fromkeys(corpora.texts(corpus)))
    for split, wanted in (("train", False), ("dev", True)):
        for number, text in enumerate(texts):
            if (number % _DEV_EVERY == 0) == wanted:
                yield {"id": str(number), "split": split, "text": text}
