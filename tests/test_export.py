"""Exported models: opened by transformers alone, they say what this project predicted with the same weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import transformers

import tiny
from stiltsweep.errors import UserError
from stiltsweep.export import export
from stiltsweep.kinds import Limits, Representation
from stiltsweep.prediction import predict
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.training import loop


def trained(folder: Path, pooling: str, head: str) -> tuple[Path, list[str], list[str]]:
    """Train a tiny classifier and predict German; return its checkpoint, the texts and what was predicted."""
    tiny.encoder(folder / "model")
    tiny.classification(folder / "data")
    representation = Representation(pooling, -1, "mean", "")
    output = folder / "run" / "checkpoint.json"
    loop.train(
        loop.Run(
            start=folder / "model" / "model.json",
            data=[folder / "data" / "en.parquet"],
            output=output,
            settings=TrainingSettings(
                epochs=8,
                batch_size=8,
                learning_rate=1e-3,
                head_learning_rate=5e-3,
                max_length=32,
                dropout=0.0,
                head=head,
            ),
            representation=representation,
            seed=0,
            prune=True,
            chance=25.0,
            identity={"representation": {"pooling": pooling}},
        )
    )
    settings = PredictionSettings(Limits(32, 4, 8), representation, 64, prune=True)
    data = folder / "data" / "de.parquet"
    predict(output, {"de": data}, folder / "run" / "predictions.json", settings, identity={})
    rows = [row for row in pq.read_table(data).to_pylist() if row["split"] == "test"]
    return output, [row["text_a"] for row in rows], json.loads((folder / "run" / "de.json").read_text())["predictions"]


def test_a_class_of_transformers(tmp_path: Path) -> None:
    """The published head on the first token is BertForSequenceClassification, pooler and all."""
    checkpoint, texts, predicted = trained(tmp_path, "first", "roberta")
    made = export(checkpoint, tmp_path / "mine")
    assert made.auto_class == "AutoModelForSequenceClassification"
    tokenizer = transformers.AutoTokenizer.from_pretrained(made.folder)
    model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
        made.folder, output_loading_info=True
    )
    assert not loading["missing_keys"]
    with torch.inference_mode():
        best = model.eval()(**tokenizer(texts, return_tensors="pt", padding=True)).logits.argmax(-1).tolist()
    assert [model.config.id2label[number] for number in best] == predicted
    assert len(set(predicted)) > 1
    with pytest.raises(UserError, match="something already"):
        export(checkpoint, made.folder)


def test_the_lines_of_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A linear head on the mean has no class there: the card's own lines put encoder and head together."""
    checkpoint, texts, predicted = trained(tmp_path, "mean", "linear")
    made = export(checkpoint, tmp_path / "mine")
    assert made.auto_class == "AutoModel"
    (lines,) = re.findall(r"```python\n(.*?)```", (made.folder / "README.md").read_text(), re.DOTALL)
    assert lines.count("\n") <= 11
    exec(lines.replace("FOLDER", str(made.folder)).replace('["a text"]', repr(texts)), {})
    assert capsys.readouterr().out.strip().splitlines()[-1] == str(predicted)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    tiny.encoder(tmp_path / "model")
    with pytest.raises(UserError, match="not a checkpoint"):
        export(tmp_path / "model" / "model.json", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
