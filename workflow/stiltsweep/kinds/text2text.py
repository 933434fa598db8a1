"""Running a kind's text form on a sequence-to-sequence model; `causal` runs it on a decoder alone.

Closed sets of answers are scored by likelihood: one pass of the encoder, one of the decoder over all choices of a row.
Open answers are generated greedily with a key-value cache, sentinels forbidden; the answers that would have held one
are counted.

Shape letters: B rows, P packs of choices, C all choices of all rows, T output positions, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..cuts import Cut
from ..errors import UserError
from ..models import output_layer
from ..models.batches import Batch, Example, Input, Places, in_parts, moved, rounded_up
from ..models.task_model import Generated
from ..models.tokenizer import Pieces, Tokenizer
from ..records import Meta, Row
from ..settings import Limits, Representation
from .base import Form, shorten

_IGNORED = -100
_MOST_LOGITS = 1 << 27
"""Logits the decoder makes at once when it scores choices: half a gigabyte of them."""
_PACK, _MOST_PAIRS = 128, 1 << 22
"""Positions of choices in one sequence, for its attention grows with their square; pairs of positions at once."""


def fill(template: str, row: Mapping[str, Any], *, strip: bool = True) -> str:
    """Fill a template's {columns} from a row; a missing text is empty. White space at the ends goes, unless told
    otherwise.

    Raises:
      UserError: the template names a column the row lacks.
    """
    try:
        filled = template.format_map({key: "" if value is None else value for key, value in row.items()})
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"text2text.template {template!r}: {error} is not a column; columns: {', '.join(row)}."
        ) from None
    return filled.strip() if strip else filled


class TextForm(ABC):
    """How a kind's rows are written as text and predictions read back."""

    def __init__(self, meta: Meta) -> None:
        self.meta = meta

    @abstractmethod
    def source(self, row: Row) -> str:
        """Return the input text."""

    @abstractmethod
    def target(self, row: Row) -> str:
        """Return the output text to learn."""

    def gives_way(self, row: Row, source: str) -> list[tuple[int, int]]:
        """Return which parts of a text that is too long are cut first, [start, end); none: it is cut at its end."""
        return []

    def words(self, row: Row) -> int:
        """Return the number of words that a tag is to be written for; 0 where the answer is no tags."""
        return 0

    def unread(self, row: Row, source: str, end: int) -> int:
        """Return how many of these words an input text that ends at `end` lacks."""
        return 0

    def unwritten(self, row: Row, prediction: Any) -> int:
        """Return how many of these words a prediction has no tag for."""
        return 0

    def choices(self, row: Row) -> list[str] | None:
        """Return the texts of a closed set of answers; None: the answer is open."""
        return None

    def chosen(self, row: Row, index: int) -> Any:
        """Return the prediction for the choice of an index."""
        raise NotImplementedError(f"{type(self).__name__} has no closed set of answers")

    def parse(self, row: Row, text: str) -> Any:
        """Return the prediction an open answer's text stands for."""
        raise NotImplementedError(f"{type(self).__name__} has no open answers")


class TextToText(Form):
    """A kind's text form on a sequence-to-sequence model."""

    writes = True

    def __init__(
        self, meta: Meta, tokenizer: Tokenizer, limits: Limits, representation: Representation, *, text: TextForm
    ) -> None:
        super().__init__(meta, tokenizer, limits, representation)
        self.text = text

    @property
    def around(self) -> tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]:
        """The ids before and after what is read, and before and after what is written."""
        before, after = self.tokenizer.special_layout(pair=False)
        return (before, after), (before, after)

    def questions(self, texts: Sequence[str]) -> list[Pieces]:
        """Segment what is read, as it stands in the input."""
        return self.tokenizer.pieces(texts)

    def answers(self, texts: Sequence[str]) -> list[Pieces]:
        """Segment answers as the model writes them."""
        return self.tokenizer.pieces(texts)

    def answered(self, written: str) -> str:
        """Return what of a written text is the answer."""
        return written

    @property
    def outputs(self) -> int:
        """The model's own output layer is the head."""
        return 0

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per row; `target` in training, the ids of all choices in `align` otherwise."""
        (first, last), (begins, ends) = self.around
        room = self.limits.max_length - len(first) - len(last)
        sources = [self.text.source(row) for row in rows]
        examples = []
        for number, (row, source) in enumerate(zip(rows, self.questions(sources), strict=True)):
            ids, unread = source.ids, 0
            if len(ids) > room:
                ids = shorten(source, room, self.text.gives_way(row, sources[number]))
                unread = self.text.unread(row, sources[number], source.offsets[room - 1][1])
            cut = Cut(len(source.ids), len(source.ids) - len(ids), words=self.text.words(row), words_lost=unread)
            examples.append(Example(number, [Input([*first, *ids, *last])], cut=cut))
        if training:
            targets = self.answers([self.text.target(row) for row in rows])
            for example, answer in zip(examples, targets, strict=True):
                kept = answer.ids[: self.limits.max_target_length - len(begins) - len(ends)]
                example.target = [*begins, *kept, *ends]
                example.cut = replace(
                    example.cut, target_pieces=len(answer.ids), target_lost=len(answer.ids) - len(kept)
                )
            return examples
        known: dict[str, list[int]] = {}
        for example, row in zip(examples, rows, strict=True):
            choices = self.text.choices(row)
            if choices is not None:
                for text in choices:
                    if text not in known:
                        known[text] = [*begins, *self.answers([text])[0].ids, *ends]
                example.align = [known[text] for text in choices]
        return examples

    def used_ids(self, example: Example) -> Iterator[int]:
        """Yield the ids of input and output, those of all choices included."""
        yield from super().used_ids(example)
        for choice in example.align or ():
            yield from choice

    def weight(self, example: Example) -> float:
        """One term per output token."""
        return float(len(example.target))

    def _targets(
        self, model: Any, rows: Sequence[Sequence[Sequence[int]]], device: torch.device, width: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return decoder inputs, labels and the texts' numbers (rows, T) of one text or several after another in a row.

        Each text's labels are shifted right behind the start token. Texts are numbered over all rows; -1 is padding.
        T is that of the longest row, or a `width` that is not less.
        """
        shape = len(rows), width or max(sum(map(len, row)) for row in rows)
        inputs = np.full(shape, model.dense_pad, dtype=np.int64)
        labels = np.full(shape, _IGNORED, dtype=np.int64)
        texts = np.full(shape, -1, dtype=np.int64)
        number = 0
        for i, row in enumerate(rows):
            at = 0
            for target in row:
                dense, end = model.dense.of(target), at + len(target)
                inputs[i, at] = model.decoder_start
                inputs[i, at + 1 : end] = dense[:-1]
                labels[i, at:end] = dense
                texts[i, at:end] = number
                number, at = number + 1, end
        inputs_BT, labels_BT, texts_BT = (moved(torch.from_numpy(of), device) for of in (inputs, labels, texts))
        return inputs_BT, labels_BT, texts_BT

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed cross-entropy over output tokens."""
        device, lengths = batch.ids_BL.device, [len(example.target) for example in batch.examples]
        rounded = batch.places is not None and batch.places.real_N is not None
        width = None if batch.places is None else rounded_up(max(lengths), 1 if rounded else 8)
        inputs_BT, labels_BT, _ = self._targets(model, [[e.target] for e in batch.examples], device, width)
        if model.unpadded is not None and batch.places is not None:
            at = Places.of(lengths, inputs_BT.shape[1], device, rounded=rounded)
            vectors_NH = model.unpadded.written(batch, at.gather(inputs_BT), at)[: sum(lengths)]
            labels_N = at.gather(labels_BT)[: sum(lengths)]
            return output_layer.cross_entropy(vectors_NH, model.backbone.lm_head.weight, labels_N)
        encoded_BLH = model.encode(batch)
        if labels_BT.numel() * model.backbone.config.vocab_size > output_layer.MOST_LOGITS:
            before = model.before_scores(encoded_BLH, batch.mask_BL, inputs_BT)
            if before is not None:
                vectors_BTH, weight_VH = before
                return output_layer.cross_entropy(vectors_BTH.flatten(0, 1), weight_VH, labels_BT.flatten(), _IGNORED)
        logits_BTV = model.decode(encoded_BLH, batch.mask_BL, inputs_BT)
        return functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(), labels_BT.flatten(), ignore_index=_IGNORED, reduction="sum"
        )

    def predict(self, model: Any, batch: Batch) -> list[Any]:
        """Return the index of the likeliest choice, or what was generated."""
        if batch.examples[0].align is None:
            return self.generated(model, batch)
        likelihoods = self.likelihoods(model, batch)
        counts = [len(example.align) for example in batch.examples]
        return [int(part.argmax()) for part in likelihoods.split(counts)]

    def generated(self, model: Any, batch: Batch) -> list[Any]:
        """Return an answer for each row, as the model writes it."""
        written: list[Any] = model.generate(model.encode(batch), batch.mask_BL, self.limits.max_target_length)
        return written

    def likelihoods(self, model: Any, batch: Batch) -> Tensor:
        """Return the log-likelihoods (C,) of all choices of all rows.

        The choices of a row are one sequence of the decoder, each seeing itself alone: so the decoder projects what the
        row's text became once for all of them, and nothing is padded to the longest choice.
        """
        device, encoded_BLH = batch.ids_BL.device, model.encode(batch)
        packs = [(owner, pack) for owner, e in enumerate(batch.examples) for pack in in_parts(e.align, len, _PACK)]
        owners_P = moved(torch.tensor([owner for owner, _ in packs]), device)
        inputs_PT, labels_PT, texts_PT = self._targets(model, [pack for _, pack in packs], device)
        longest = inputs_PT.shape[1]
        logits = longest * model.backbone.config.vocab_size
        most = max(1, min(_MOST_LOGITS // logits, _MOST_PAIRS // longest**2))
        found_C = torch.zeros(sum(len(pack) for _, pack in packs))
        for start in range(0, len(packs), most):
            part = slice(start, start + most)
            logits_PTV = model.decode(
                encoded_BLH[owners_P[part]], batch.mask_BL[owners_P[part]], inputs_PT[part], texts_PT[part]
            )
            losses = functional.cross_entropy(
                logits_PTV.flatten(0, 1).float(), labels_PT[part].flatten(), ignore_index=_IGNORED, reduction="none"
            )
            owned = texts_PT[part].flatten().cpu()
            found_C.index_add_(0, owned[owned >= 0], -losses.cpu()[owned >= 0])
        return found_C

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[Any]) -> list[Any]:
        """Return predictions."""
        predictions = []
        for row, example, one in zip(rows, examples, raw, strict=True):
            if example.align is not None:
                predictions.append(self.text.chosen(row, one))
            else:
                predictions.append(self.text.parse(row, self.answered(self.tokenizer.decode(one.ids))))
        return predictions

    def cuts(
        self,
        examples: Sequence[Example],
        rows: Sequence[Row] = (),
        raw: Sequence[Any] = (),
        predictions: Sequence[Any] = (),
    ) -> dict[str, int]:
        """Count also the answers that were stopped, and the words whose tags were not written."""
        counts = super().cuts(examples)
        generated = [one for one in raw if isinstance(one, Generated)]
        if generated:
            counts |= {"answers": len(generated), "answers_cut": sum(not one.ended for one in generated)}
        if predictions and "words" in counts:
            unwritten = [self.text.unwritten(row, one) for row, one in zip(rows, predictions, strict=True)]
            lost = zip(examples, unwritten, strict=True)
            counts["words_unpredicted"] = sum(max(example.cut.words_lost, number) for example, number in lost)
        return counts

    def sentinels(self, raw: Sequence[Any]) -> int | None:
        """Count the generated answers that would have held a sentinel."""
        generated = [one.sentinel for one in raw if isinstance(one, Generated)]
        return sum(generated) if generated else None
