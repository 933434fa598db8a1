"""Classification of one text or a pair into a closed set of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..cuts import Cut
from ..models.batches import Batch, Example, moved
from ..records import Row
from .base import Form, Layout, cut_pair, pool
from .text2text import TextForm, fill


class ClassificationForm(Form):
    """A softmax over labels on the pooled representation."""

    @property
    def outputs(self) -> int:
        """One output per label."""
        return len(self.meta.labels)

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per row; a text that is too long is cut, of a pair the longer first."""
        layout = Layout(self.tokenizer)
        index = {label: i for i, label in enumerate(self.meta.labels)}
        first = self.tokenizer.pieces([row["text_a"] for row in rows])
        second = self.tokenizer.pieces([row["text_b"] or "" for row in rows])
        examples = []
        for number, row in enumerate(rows):
            ids = first[number].ids
            if row["text_b"] is None:
                pieces, room = len(ids), layout.room_one
                one = layout.one(ids[: self.limits.max_length - room])
            else:
                pieces, room = len(ids) + len(second[number].ids), layout.room_two
                one = layout.two(*cut_pair(ids, second[number].ids, self.limits.max_length - room))
            cut = Cut(pieces, pieces + room - len(one.ids))
            examples.append(Example(number, [one], labels=index[row["label"]] if training else None, cut=cut))
        return examples

    def weight(self, example: Example) -> float:
        """One term per example."""
        return 1.0

    def _logits(self, model: Any, batch: Batch) -> Tensor:
        hidden_BLH = model.hidden(batch)
        logits: Tensor = model.head(pool(hidden_BLH, batch.mask_BL, self.representation.pooling))
        return logits

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed cross-entropy."""
        labels_B = moved(torch.tensor([example.labels for example in batch.examples]), batch.ids_BL.device)
        return functional.cross_entropy(self._logits(model, batch).float(), labels_B, reduction="sum")

    def predict(self, model: Any, batch: Batch) -> list[int]:
        """Return the index of the best label."""
        best: list[int] = self._logits(model, batch).argmax(-1).tolist()
        return best

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[int]) -> list[str]:
        """Return labels."""
        return [self.meta.labels[index] for index in raw]


class ClassificationText(TextForm):
    """The label as text, chosen by likelihood among all labels."""

    def source(self, row: Row) -> str:
        """Fill the task's template, or write the columns one after the other."""
        template = self.meta.text2text.get("template")
        if template is None:
            pair = "" if row["text_b"] is None else " sentence2: {text_b}"
            template = f"{self.meta.task} sentence1: {{text_a}}{pair}"
        return fill(template, row)

    def target(self, row: Row) -> str:
        """Return the label's text."""
        return self._label_text(row["label"])

    def choices(self, row: Row) -> list[str]:
        """Return the texts of all labels, in their order."""
        return [self._label_text(label) for label in self.meta.labels]

    def _label_text(self, label: str) -> str:
        return str(self.meta.text2text.get("targets", {}).get(label, label))

    def chosen(self, row: Row, index: int) -> str:
        """Return the label of a choice."""
        return self.meta.labels[index]
