"""Span corruption: mT5's pre-training task on plain text. Spans of pieces give way to sentinels and are to be written.

Source: Raffel et al. 2020 (T5), section 3.1.4, as mT5 uses it: 15% of the pieces, spans of 3 pieces in the mean; ByT5's
are of 20 bytes (Xue et al. 2022, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..cuts import Cut
from ..files import digest
from ..models.batches import Batch, Example
from ..models.tokenizer import Tokenizer
from ..records import Meta, Row
from ..settings import Limits, Representation
from .base import Form, Layout
from .text2text import TextToText

DENSITY = 0.15
MEAN_SPAN, MEAN_SPAN_BYTES = 3.0, 20.0


def corrupted_spans(length: int, rng: np.random.Generator, mean: float = MEAN_SPAN) -> list[tuple[int, int]]:
    """Choose spans of a text of `length` pieces: (start, end), in order, never touching, never all of the text.

    Args:
      length: of the text.
      rng: draws them.
      mean: length of a span, in pieces.
    """
    if length < 3:
        return []
    noise = min(max(1, round(length * DENSITY)), length - 1)
    count = min(max(1, round(noise / mean)), noise, length - noise)
    lengths = _parts(noise, count, rng)
    gaps = _parts(length - noise, count, rng)
    spans = []
    at = 0
    for gap, size in zip(gaps, lengths, strict=True):
        spans.append((at + gap, at + gap + size))
        at += gap + size
    return spans


def _parts(total: int, count: int, rng: np.random.Generator) -> list[int]:
    """Split `total` into `count` parts of at least 1, all splits equally likely."""
    cuts = np.sort(rng.choice(total - 1, size=count - 1, replace=False)) + 1 if count > 1 else np.array([], dtype=int)
    edges = [0, *map(int, cuts), total]
    return [end - start for start, end in pairwise(edges)]


class SpanCorruption(TextToText):
    """Plain text with holes; the prediction is how many pieces of the holes were right, given those before."""

    def __init__(self, meta: Meta, tokenizer: Tokenizer, limits: Limits, representation: Representation) -> None:
        Form.__init__(self, meta, tokenizer, limits, representation)

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per row, its holes drawn from the row's id alone; texts of fewer than 3 pieces are left out."""
        layout = Layout(self.tokenizer)
        sentinels = self.tokenizer.sentinels
        mean = MEAN_SPAN_BYTES if self.tokenizer.is_bytes else MEAN_SPAN
        room = self.limits.max_length - layout.room_one
        examples = []
        for number, (row, segmented) in enumerate(
            zip(rows, self.tokenizer.pieces([row["text"] for row in rows]), strict=True)
        ):
            ids = segmented.ids[:room]
            rng = np.random.default_rng(int(digest(["span corruption", row["id"]])[:16], 16))
            spans = corrupted_spans(len(ids), rng, mean)[: len(sentinels)]
            if training and not spans:
                continue
            source: list[int] = []
            target: list[int] = []
            at = 0
            for sentinel, (start, end) in zip(sentinels, spans, strict=False):
                source += [*ids[at:start], sentinel]
                target += [sentinel, *ids[start:end]]
                at = end
            source += ids[at:]
            kept = target[: self.limits.max_target_length]
            cut = Cut(len(segmented.ids), len(segmented.ids) - len(ids), len(target), len(target) - len(kept))
            examples.append(Example(number, [layout.one(source)], target=layout.one(kept).ids, cut=cut))
        return examples

    def predict(self, model: Any, batch: Batch) -> list[tuple[int, int]]:
        """Return (pieces, right ones) per example, every piece predicted from the right ones before it."""
        inputs_BT, labels_BT, _ = self._targets(model, [[e.target] for e in batch.examples], batch.ids_BL.device)
        best_BT = model.decode(model.encode(batch), batch.mask_BL, inputs_BT).argmax(-1)
        right_BT = (best_BT == labels_BT) & (labels_BT >= 0)
        return list(zip((labels_BT >= 0).sum(-1).tolist(), right_BT.sum(-1).tolist(), strict=True))

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[Any]) -> list[Any]:
        """Return the counts as they are."""
        return list(raw)
