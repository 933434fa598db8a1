"""Running a kind's text form on a decoder alone (a causal language model), and learning plain text with it.

A row is a prompt, which its answer continues: the question's text, a line that asks for the answer, and the answer with
the piece that ends it. Only the answer's pieces are learnt. Closed sets of answers are weighed by likelihood: all
answers of a row stand behind its prompt in one sequence, each seeing the prompt and itself, numbered as if it stood
there alone, so the prompt is read once. Open answers are written greedily, with prompts padded on their left.

Shape letters: B rows, P sequences of a prompt and several answers, T places of one, N places whose next piece counts,
C all answers of all rows, H width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..cuts import Cut
from ..errors import UserError
from ..models import output_layer
from ..models.batches import Batch, Example, Input, in_parts, moved
from ..models.tokenizer import Pieces
from ..records import Row
from .base import Form
from .text2text import TextToText

ASK = "\nAnswer:"
"""Between a question and its answer, where no chat template is asked for."""
_SOME = "a"
"""Stands for what is before a text that is no beginning."""
_LEAST = 4
"""Pieces of a question; where even so many have no room, every question would be the same."""
_PACK, _MOST_PAIRS = 512, 1 << 22
"""Pieces of answers behind one prompt; pairs of places that attention looks at in one pass."""


class CausalText(TextToText):
    """A kind's text form on a causal language model."""

    answers_behind = True

    @property
    def end(self) -> int:
        """The id that ends an answer.

        Raises:
          UserError: no piece ends the model's texts.
        """
        end = self.tokenizer.special["eos"]
        if end is None:
            raise UserError("the model's tokenizer names no eos_token, so no answer would end. Name one there.")
        own = self.tokenizer.chat_end if self.representation.chat else None
        return end if own is None else own

    @property
    def around(self) -> tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]:
        """The ids before and after a question, and before and after an answer.

        Raises:
          UserError: a chat template is asked for, and the model has none; or see `end`.
        """
        end = self.end
        if not self.representation.chat:
            before = self.tokenizer.special_layout(pair=False)[0]
            return (before, self.tokenizer.behind(_SOME, [ASK])[0].ids), ((), (end,))
        if self.tokenizer.chat is None:
            raise UserError("chat: true, and the model's directory has no chat template. Leave chat out.")
        asks, answers = (text.rstrip(" ") for text in self.tokenizer.chat)
        asked, answered = self.tokenizer.pieces([asks])[0].ids, self.tokenizer.behind(_SOME, [answers])[0].ids
        return (asked, answered), ((), (end,))

    def questions(self, texts: Sequence[str]) -> list[Pieces]:
        """Segment questions; in a chat template they are no beginning."""
        if not self.representation.chat or self.tokenizer.chat is None:
            return self.tokenizer.pieces(texts)
        return self._behind(self.tokenizer.chat[0], texts)

    def answers(self, texts: Sequence[str]) -> list[Pieces]:
        """Segment answers as one line each; behind the line that asks for it, it begins with a space."""
        lines = [" ".join(text.splitlines()) for text in texts]
        if not self.representation.chat or self.tokenizer.chat is None:
            return self._behind(f"{ASK} ", lines)
        after = self.tokenizer.chat[1]
        # Where no white space ends a template, words begin as the tokenizer has them begin (Llama 2, Mistral).
        return self._behind(after, lines) if after[-1:].isspace() else self.tokenizer.pieces(lines)

    def _behind(self, before: str, texts: Sequence[str]) -> list[Pieces]:
        """Segment texts behind another, whose last spaces go with the words that follow them."""
        kept = before.rstrip(" ")
        spaces = before[len(kept) :]
        pieces = self.tokenizer.behind(kept, [spaces + text for text in texts])
        room = len(spaces)
        return [replace(one, offsets=[(max(0, a - room), max(0, b - room)) for a, b in one.offsets]) for one in pieces]

    def answered(self, written: str) -> str:
        """Return the first line, whatever a model that was not trained for it writes on."""
        lines = written.strip().splitlines()
        return lines[0] if lines else ""

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per row: the prompt and, in training, the answer behind it, which is also its `target`.

        Raises:
          UserError: what stands around a question leaves no room for one; see `around`.
        """
        taken = sum(map(len, self.around[0]))
        if self.limits.max_length - taken < _LEAST:
            raise UserError(
                f"training.max_length: {self.limits.max_length} pieces, and {taken} of them stand around every question"
                f"{' (chat: true, the template)' if self.representation.chat else ''}: too few are left for what is "
                f"asked. Set max_length: {self.limits.max_length + taken}, for example."
            )
        examples = super().encode(rows, training=training)
        if not training:
            return examples
        return [
            replace(example, inputs=[Input([*example.inputs[0].ids, *example.target])]) if example.target else example
            for example in examples
        ]

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed cross-entropy over the pieces of answers."""
        return _loss(model, batch)

    def generated(self, model: Any, batch: Batch) -> list[Any]:
        """Return what was written behind each prompt."""
        prompts = [example.inputs[0].ids for example in batch.examples]
        written: list[Any] = model.continue_texts(prompts, self.limits.max_target_length, batch.ids_BL.device, self.end)
        return written

    def likelihoods(self, model: Any, batch: Batch) -> Tensor:
        """Return the log-likelihoods (C,) of all answers of all rows."""
        parts: list[tuple[list[int], list[list[int]]]] = [
            (example.inputs[0].ids, answers)
            for example in batch.examples
            for answers in in_parts(example.align, len, _PACK)
        ]
        longest = max(len(prompt) + sum(map(len, answers)) for prompt, answers in parts)
        most = max(1, _MOST_PAIRS // longest**2)
        likelihoods = [
            self._part(model, parts[at : at + most], batch.ids_BL.device) for at in range(0, len(parts), most)
        ]
        return torch.cat(likelihoods)

    def _part(
        self, model: Any, parts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], device: torch.device
    ) -> Tensor:
        """Return the log-likelihoods of answers, each behind its prompt, in one pass."""
        # An answer's last piece is never read, only written.
        width = max(len(prompt) + sum(len(answer) - 1 for answer in answers) for prompt, answers in parts)
        ids = np.full((len(parts), width), model.dense_pad, dtype=np.int64)
        places = np.zeros_like(ids)
        texts = np.full_like(ids, -1)  # 0: the prompt; 1, 2, ..: the answers; -1: nothing
        where: list[tuple[int, int]] = []
        pieces: list[int] = []
        owners: list[int] = []
        count = 0
        for row, (prompt, answers) in enumerate(parts):
            at = len(prompt)
            ids[row, :at], places[row, :at], texts[row, :at] = model.dense.of(prompt), np.arange(at), 0
            for number, answer in enumerate(answers, start=1):
                dense, end = model.dense.of(answer), at + len(answer) - 1
                ids[row, at:end], texts[row, at:end] = dense[:-1], number
                places[row, at:end] = len(prompt) + np.arange(end - at)
                where += [(row, len(prompt) - 1), *((row, place) for place in range(at, end))]
                pieces += dense.tolist()
                owners += [count] * len(answer)
                count, at = count + 1, end
        ids_PT, places_PT, texts_PT = (moved(torch.from_numpy(of), device) for of in (ids, places, texts))
        states_PTH = model.branched(ids_PT, places_PT, texts_PT)
        rows_N, at_N = moved(torch.tensor(where), device).unbind(1)
        vectors_NH = states_PTH[rows_N, at_N]
        labels_N = moved(torch.tensor(pieces), device)
        found_C = torch.zeros(count)
        for part in _parts(model, len(pieces)):
            logits_NV = model.backbone.lm_head(vectors_NH[part]).float()
            losses = functional.cross_entropy(logits_NV, labels_N[part], reduction="none")
            found_C.index_add_(0, torch.tensor(owners[part]), -losses.cpu())
        return found_C

    def sentinels(self, raw: Sequence[Any]) -> int | None:
        """Return None: these models have none."""
        return None


class CausalLanguage(Form):
    """Plain text, every piece from those before it; the prediction is how many were the likeliest.

    Of an example all pieces but the first are its `target`.
    """

    writes = True

    @property
    def outputs(self) -> int:
        """The model's own output layer is the head."""
        return 0

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per row, cut at the longest length; in training without texts that have nothing to learn."""
        before, _ = self.tokenizer.special_layout(pair=False)
        end = self.tokenizer.special["eos"]
        after = () if end is None else (end,)
        room = self.limits.max_length - len(before) - len(after)
        examples = []
        for number, pieces in enumerate(self.tokenizer.pieces([row["text"] for row in rows])):
            ids = [*before, *pieces.ids[:room], *after]
            cut = Cut(len(pieces.ids), max(0, len(pieces.ids) - room))
            if len(ids) > 1 or not training:
                examples.append(Example(number, [Input(ids)], target=ids[1:], cut=cut))
        return examples

    def weight(self, example: Example) -> float:
        """One term per piece."""
        return float(len(example.target))

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed cross-entropy over all pieces."""
        return _loss(model, batch)

    def predict(self, model: Any, batch: Batch) -> list[Any]:
        """Return (pieces, right ones) per example, every piece predicted from the right ones before it."""
        vectors_NH, labels_N = _learnt(model, batch)
        right: list[bool] = []
        for part in _parts(model, len(labels_N)):
            right += (model.backbone.lm_head(vectors_NH[part]).argmax(-1) == labels_N[part]).tolist()
        counts: list[Any] = []
        at = 0
        for example in batch.examples:
            end = at + len(example.target)
            counts.append((end - at, sum(right[at:end])))
            at = end
        return counts

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[Any]) -> list[Any]:
        """Return the counts as they are."""
        return list(raw)


def _parts(model: Any, count: int) -> list[slice]:
    """Cut so many places into parts whose scores of all pieces can be held at once."""
    size = max(1, output_layer.MOST_LOGITS // len(model.backbone.lm_head.weight))
    return [slice(at, at + size) for at in range(0, count, size)]


def _loss(model: Any, batch: Batch) -> Tensor:
    vectors_NH, labels_N = _learnt(model, batch)
    return output_layer.cross_entropy(vectors_NH, model.backbone.lm_head.weight, labels_N)


def _learnt(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return what the output layer reads (N, H) where it is to write, and what it is to write there (N,).

    The targets of examples are the ends of their inputs.
    """
    rows: list[int] = []
    places: list[int] = []
    labels: list[int] = []
    for row, example in enumerate(batch.examples):
        end, count = len(example.inputs[0].ids), len(example.target)
        rows += [row] * count
        places += range(end - count - 1, end - 1)
        labels += model.dense.of(example.target).tolist()
    rows_N, places_N, labels_N = moved(torch.tensor([rows, places, labels]), batch.ids_BL.device)
    return model.hidden(batch)[rows_N, places_N], labels_N


__all__ = ["CausalLanguage", "CausalText"]
