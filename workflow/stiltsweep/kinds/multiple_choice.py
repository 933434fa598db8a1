"""Multiple choice: which of several texts fits a context (and question)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..cuts import Cut
from ..models.batches import Batch, Example
from ..records import Row
from .base import Form, Layout, pool, shorten
from .text2text import TextForm, fill


def _prompt(row: Row) -> str:
    return row["context"] if row["question"] is None else f"{row['context']} {row['question']}"


class MultipleChoiceForm(Form):
    """One score per (prompt, choice) pair, a softmax over the choices of a row (as jiant and the XTREME scripts do)."""

    @property
    def outputs(self) -> int:
        """One score."""
        return 1

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per choice. Where a pair is too long the context is cut, then the question, a choice last."""
        layout = Layout(self.tokenizer)
        room = self.limits.max_length - layout.room_two
        prompts = self.tokenizer.pieces([_prompt(row) for row in rows])
        choices = iter(self.tokenizer.pieces([choice for row in rows for choice in row["choices"]]))
        examples = []
        for number, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            inputs, pieces = [], 0
            for choice in (next(choices).ids for _ in row["choices"]):
                left = shorten(prompt, max(0, room - len(choice)), [(0, len(row["context"]))])
                inputs.append(layout.two(left, choice[:room]))
                pieces += len(prompt.ids) + len(choice)
            lost = pieces - sum(len(one.ids) - layout.room_two for one in inputs)
            examples.append(Example(number, inputs, labels=row["label"] if training else None, cut=Cut(pieces, lost)))
        return examples

    def weight(self, example: Example) -> float:
        """One term per row."""
        return 1.0

    def _log_probabilities(self, model: Any, batch: Batch) -> list[Tensor]:
        scores_B = model.head(pool(model.hidden(batch), batch.mask_BL, self.representation.pooling))[:, 0].float()
        parts = scores_B.split([len(example.inputs) for example in batch.examples])
        return [part.log_softmax(-1) for part in parts]

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed cross-entropy over each row's own choices."""
        log_probabilities = self._log_probabilities(model, batch)
        return -torch.stack([f[e.labels] for f, e in zip(log_probabilities, batch.examples, strict=True)]).sum()

    def predict(self, model: Any, batch: Batch) -> list[int]:
        """Return the index of the best choice."""
        return [int(of_row.argmax()) for of_row in self._log_probabilities(model, batch)]

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[int]) -> list[int]:
        """Return indices of choices."""
        return list(raw)


class MultipleChoiceText(TextForm):
    """The choices listed and numbered; the number is chosen by likelihood."""

    def source(self, row: Row) -> str:
        """Fill the task's template and list the choices after it."""
        template = self.meta.text2text.get("template", f"{self.meta.task}: {{context}} {{question}}")
        return f"{fill(template, row)} {self._listed(row)}"

    def _listed(self, row: Row) -> str:
        return " ".join(f"choice{number}: {choice}" for number, choice in enumerate(row["choices"], start=1))

    def gives_way(self, row: Row, source: str) -> list[tuple[int, int]]:
        """Cut the context, then whatever else stands before the choices."""
        start = source.find(row["context"])
        context = [(start, start + len(row["context"]))] if start >= 0 else []
        return [*context, (0, len(source) - len(self._listed(row)))]

    def target(self, row: Row) -> str:
        """Return the number of the right choice, counted from 1."""
        return str(row["label"] + 1)

    def choices(self, row: Row) -> list[str]:
        """Return the numbers of the choices."""
        return [str(number) for number in range(1, len(row["choices"]) + 1)]

    def chosen(self, row: Row, index: int) -> int:
        """Return the index of a choice."""
        return index
