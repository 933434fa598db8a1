"""The loss of a large output layer in parts: torch's own, whole, is the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

import tiny
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.models import output_layer
from stiltsweep.models.batches import collate
from stiltsweep.models.load import Source, build
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.records import read_meta, read_rows


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_loss_and_gradients_are_those_of_the_whole(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vectors = torch.randn(37, 8, requires_grad=True)
    weight = torch.randn(500, 8, requires_grad=True)
    labels = torch.randint(0, 500, (37,))
    labels[::5] = -100
    whole = functional.cross_entropy(vectors @ weight.T, labels, ignore_index=-100, reduction="sum")
    expected = torch.autograd.grad(whole / 3, [vectors, weight])
    monkeypatch.setattr(output_layer, "MOST_LOGITS", rows * 500)
    found = output_layer.cross_entropy(vectors, weight, labels, -100)
    assert torch.allclose(found, whole, rtol=1e-6)
    for ours, theirs in zip(torch.autograd.grad(found / 3, [vectors, weight]), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_batch_without_labels_has_no_loss() -> None:
    vectors, weight = torch.randn(3, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    loss = output_layer.cross_entropy(vectors, weight, torch.full((3,), -100), -100)
    loss.backward()
    assert loss == 0 and not vectors.grad.any() and not weight.grad.any()  # type: ignore[union-attr]


def test_a_models_loss_is_the_same_in_parts(
    text_model: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every parameter's gradient, and the layer is back in its place."""
    data = tiny.classification(tmp_path, train=6, dev=4, test=4)
    tokenizer = Tokenizer.from_directory(text_model.base)
    representation = Representation("mean", -1, "mean", "")
    kind = form(
        read_meta(data["en"]),
        tokenizer,
        interface="text2text",
        limits=Limits(60, 8, 16),
        representation=representation,
    )
    examples = kind.encode(read_rows(data["en"], "train"), training=True)
    found = []
    for most in (1 << 40, 1000):
        monkeypatch.setattr(output_layer, "MOST_LOGITS", most)
        model = build(text_model, kind, kept=None, seed=0, dropout=0.0)
        loss = model(collate(examples, model.dense, torch.device("cpu"), token_types=False))
        loss.backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert "backbone.lm_head.weight" in gradients or text_model.about["output_embedding"] is None
        found.append((loss.item(), gradients))
    (whole, expected), (parts, gradients) = found
    assert parts == pytest.approx(whole, rel=1e-6) and gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, expected[name], atol=1e-5), name
