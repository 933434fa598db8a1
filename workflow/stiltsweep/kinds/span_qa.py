"""Extractive question answering: a span of the context, by character offsets; long contexts are windowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..cuts import Cut
from ..metrics.answers import pad_punctuation
from ..models.batches import Batch, Example, moved
from ..records import Row
from .base import Form, Layout, windows
from .placing import as_in
from .text2text import TextForm, fill

MAX_ANSWER = 160
"""Longest answer in characters of the context, whatever the tokenizer.

The SQuAD and XTREME scripts have 30 tokens, which in bytes is a ceiling by script: 60% of XQuAD's Thai answers and 45%
of the Russian ones are longer than 30 bytes. At most 0.3% of the answers of an XQuAD language are longer than 160
characters.
"""
_MINUS = -1e9


class SpanForm(Form):
    """A start and an end score per token of (question, context window); the first position stands for no answer.

    The answer is the best of all spans of at most `MAX_ANSWER` characters of all windows. The published scripts look
    for it among the pairs of the 20 best starts and 20 best ends of a window, and take a start only from the window
    that shows it with the most context; here a span that two windows hold counts with its higher score.
    """

    @property
    def outputs(self) -> int:
        """Start and end."""
        return 2

    def learn_options(self, rows: Sequence[Row]) -> None:
        """Remember whether training had questions without answers; only then may a prediction be empty."""
        self.options["unanswerable"] = any(not row["answers"] for row in rows)

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per window of the context.

        `align` is, per window, (position of its first context piece, character offsets of its pieces, none
        wide where a piece is white space). `labels` are, per window, the (start, end) positions of the first gold
        answer, (0, 0) where it is not in the window.
        """
        layout = Layout(self.tokenizer)
        questions = self.tokenizer.pieces([row["question"] for row in rows])
        contexts = self.tokenizer.pieces([row["context"] for row in rows])
        examples = []
        for number, row in enumerate(rows):
            half = self.limits.max_length // 2
            question = questions[number].ids[: min(half, self.limits.max_question_length or half)]
            pieces = contexts[number]
            visible = [(a, b) if row["context"][a:b].strip() else (a, a) for a, b in pieces.offsets]
            room = self.limits.max_length - layout.room_two - len(question)
            inputs, align, labels = [], [], []
            gold = _gold_pieces(row, pieces.offsets) if training else None
            for start, end in windows(len(pieces.ids), room, self.limits.stride, self.limits.window_step):
                one = layout.two(question, pieces.ids[start:end])
                inputs.append(one)
                align.append((one.second, visible[start:end]))
                whole = gold is not None and start <= gold[0] and gold[1] < end
                labels.append(
                    (one.second + gold[0] - start, one.second + gold[1] - start) if whole and gold else (0, 0)
                )
            if training and row["answers"] and gold is None:
                continue
            # An answer that no window holds whole is learnt as none in each of them.
            answer = gold[1] - gold[0] + 1 if gold else 0
            cut = Cut(
                len(questions[number].ids) + len(pieces.ids),
                len(questions[number].ids) - len(question),
                answer,
                0 if any(label != (0, 0) for label in labels) else answer,
            )
            examples.append(Example(number, inputs, labels=labels if training else None, align=align, cut=cut))
        return examples

    def weight(self, example: Example) -> float:
        """One term per window."""
        return float(len(example.inputs))

    def _layers(self, width: int, dropout: float) -> nn.Module:
        """As RobertaForQuestionAnswering."""
        return nn.Linear(width, self.outputs)

    def _logits(self, model: Any, batch: Batch) -> Tensor:
        """Return (B, L, 2), very low outside the context and the first position."""
        allowed_BL = torch.zeros(batch.mask_BL.shape, dtype=torch.bool)
        allowed_BL[:, 0] = True
        at = 0
        for example in batch.examples:
            for first, offsets in example.align:
                allowed_BL[at, first : first + len(offsets)] = True
                at += 1
        logits: Tensor = model.head(model.hidden(batch)).float()
        return logits.masked_fill(~moved(allowed_BL, logits.device)[..., None], _MINUS)

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed mean of the start's and the end's cross-entropy.

        Under the published heads the softmax ranges over the question too. (There it ranges over the padding as well,
        so that the loss depends on how long a batch is padded; that is left out.)
        """
        if self.published_head:
            logits_BL2 = model.head(model.hidden(batch)).float().masked_fill(~batch.mask_BL.bool()[..., None], _MINUS)
        else:
            logits_BL2 = self._logits(model, batch)
        flat = [window for example in batch.examples for window in example.labels]
        starts_B, ends_B = moved(torch.tensor(flat), logits_BL2.device).T
        start = functional.cross_entropy(logits_BL2[..., 0], starts_B, reduction="sum")
        end = functional.cross_entropy(logits_BL2[..., 1], ends_B, reduction="sum")
        return (start + end) / 2

    def predict(self, model: Any, batch: Batch) -> list[list[tuple[float, int, int, float]]]:
        """Return per window (score, start, end, score of no answer); positions count the window's context pieces."""
        logits_BL2 = self._logits(model, batch)
        null_B = logits_BL2[:, 0].sum(-1)
        logits_BL2 = logits_BL2.clone()
        logits_BL2[:, 0] = _MINUS
        starts_BL, ends_BL = logits_BL2[..., 0], logits_BL2[..., 1]
        firsts_BL = torch.arange(starts_BL.shape[1], device=starts_BL.device).repeat(len(starts_BL), 1)
        lasts_BL = firsts_BL - 1
        shown = (window for example in batch.examples for window in example.align)
        for number, (first, offsets) in enumerate(shown):
            ending, last = (torch.from_numpy(first + of) for of in within_reach(offsets))
            firsts_BL[number, first : first + len(offsets)] = ending
            lasts_BL[number, first : first + len(offsets)] = last
        ending_BL, where_BL = best_within(ends_BL, firsts_BL, lasts_BL)
        best_B, start_B = (starts_BL + ending_BL).max(-1)
        width_B = where_BL.gather(1, start_B[:, None])[:, 0] - start_B
        numbers = list(zip(best_B.tolist(), start_B.tolist(), width_B.tolist(), null_B.tolist(), strict=True))
        predictions = []
        at = 0
        for example in batch.examples:
            part: list[tuple[float, int, int, float]] = []
            for score, start, width, null in numbers[at : at + len(example.inputs)]:
                first = example.align[len(part)][0]
                part.append((score, start - first, start - first + width, null))
            at += len(example.inputs)
            predictions.append(part)
        return predictions

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[Any]) -> list[str]:
        """Return the text of the best span over all windows; empty where having no answer scores higher."""
        predictions = []
        for row, example, parts in zip(rows, examples, raw, strict=True):
            window = max(range(len(parts)), key=lambda w: parts[w][0])
            score, start, end, _ = parts[window]
            if score <= _MINUS:  # a context without a single character to point at
                predictions.append("")
                continue
            # The score of no answer is the least over windows: every window has to deny it (SQuAD 2.0's scripts).
            if self.options.get("unanswerable") and min(part[3] for part in parts) > score:
                predictions.append("")
                continue
            offsets = example.align[window][1]
            predictions.append(row["context"][offsets[start][0] : offsets[end][1]].strip())
        return predictions


def within_reach(offsets: Sequence[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each piece the first and the last one that an answer beginning with it may end with.

    The first makes the answer more than white space; the last keeps it within `MAX_ANSWER`, or is the first, if that
    piece alone is longer. Where nothing but white space follows, the last comes before the first.
    """
    starts, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    here = np.arange(len(starts))
    following = np.minimum.accumulate(np.where(ends > starts, here, len(starts))[::-1])[::-1]
    lasts = np.searchsorted(ends, starts + MAX_ANSWER, side="right") - 1
    lasts = np.where(following == here, np.maximum(lasts, here), lasts)
    return np.minimum(following, len(starts) - 1), np.where(following < len(starts), lasts, -1)


def best_within(values_BL: Tensor, firsts_BL: Tensor, lasts_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest value from a first to a last position, both (B, L), and the first position that has it.

    Maxima of 1, 2, 4, ... positions are made once, and two of them that overlap cover any reach.

    Args:
      values_BL: any numbers.
      firsts_BL, lasts_BL: for each position where to look. Where the last comes before the first, the value is very
      low.
    """
    length = values_BL.shape[1]
    here_L = torch.arange(length, device=values_BL.device)
    reach_BL = lasts_BL - firsts_BL + 1
    best_BL, where_BL = values_BL, here_L.expand_as(values_BL)
    found_BL, place_BL = torch.full_like(values_BL, 2 * _MINUS), firsts_BL.clone()
    size = 1
    while size <= int(reach_BL.max()):
        covered_BL = (reach_BL >= size) & (reach_BL < 2 * size)
        second_BL = (lasts_BL - size + 1).clamp(0, length - 1)
        one_BL, at_BL = best_BL.gather(1, firsts_BL), where_BL.gather(1, firsts_BL)
        other_BL, there_BL = best_BL.gather(1, second_BL), where_BL.gather(1, second_BL)
        later_BL = other_BL > one_BL
        found_BL = torch.where(covered_BL, torch.where(later_BL, other_BL, one_BL), found_BL)
        place_BL = torch.where(covered_BL, torch.where(later_BL, there_BL, at_BL), place_BL)
        # The maxima of twice as many positions; those that would reach beyond the end are never asked for.
        next_L = (here_L + size).clamp(max=length - 1)
        better_BL = best_BL[:, next_L] > best_BL
        where_BL = torch.where(better_BL, where_BL[:, next_L], where_BL)
        best_BL = torch.where(better_BL, best_BL[:, next_L], best_BL)
        size *= 2
    return found_BL, place_BL


def _gold_pieces(row: Row, offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first and last piece that overlap the first gold answer; None without an answer or overlap."""
    if not row["answers"]:
        return None
    start = row["answers"][0]["start"]
    end = start + len(row["answers"][0]["text"])
    inside = [i for i, (begin, stop) in enumerate(offsets) if begin < end and stop > start]
    return (inside[0], inside[-1]) if inside else None


class SpanText(TextForm):
    """mT5's form: `question: ... context: ...` to the answer's text, with spaces around punctuation in all three.

    A prediction is what the model wrote, in the form the context has it (see `placing`). It is scored as mT5 scores it
    (see `metrics.compared`).
    """

    def source(self, row: Row) -> str:
        """Fill the task's template."""
        padded = {**row, "question": pad_punctuation(row["question"]), "context": pad_punctuation(row["context"])}
        template = self.meta.text2text.get("template", "question: {question} context: {context}")
        return re.sub(" {2,}", " ", fill(template, padded, strip=False))

    def target(self, row: Row) -> str:
        """Return the first gold answer, or a word for none."""
        return pad_punctuation(row["answers"][0]["text"]) if row["answers"] else NO_ANSWER

    def parse(self, row: Row, text: str) -> str:
        """Return the answer as the context has it, or as written where the context lacks it; empty for none."""
        if text.strip() == NO_ANSWER:
            return ""
        return as_in(row["context"], text)


NO_ANSWER = "unanswerable"
