"""Tagging: one tag per token; tokens and sub-words are aligned by character offsets, so any script works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..cuts import Cut
from ..metrics.spans import chunks
from ..models.batches import Batch, Example, moved
from ..records import Row, text_and_spans
from .base import Form, Layout, windows
from .placing import locate
from .text2text import TextForm, fill

OUTSIDE = "O"


def first_pieces(spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each token the first sub-word that overlaps it, or -1 where the tokenizer kept nothing of it.

    Both sequences are in text order; a sub-word may cover several tokens (Chinese), a token several sub-words.
    """
    firsts = []
    piece = 0
    for start, end in spans:
        while piece < len(offsets) and offsets[piece][1] <= start:
            piece += 1
        # Pieces of width zero (a lone leading-space mark) stand for no character.
        ahead = piece
        while ahead < len(offsets) and offsets[ahead][0] < end and offsets[ahead][0] == offsets[ahead][1]:
            ahead += 1
        firsts.append(ahead if ahead < len(offsets) and offsets[ahead][0] < end else -1)
    return firsts


class TaggingForm(Form):
    """A softmax over tags on the first sub-word of each token; long sentences are windowed, no token is lost."""

    @property
    def outputs(self) -> int:
        """One output per tag."""
        return len(self.meta.labels)

    def encode(self, rows: Sequence[Row], *, training: bool) -> list[Example]:
        """One input per window.

        `align` is, per window, the (token, position) pairs it decides: each token is decided by the window that gives
        it the most context. `labels` are (position, tag index) pairs per window. Two tokens that begin in one sub-word
        share its position; only the first of them is learnt from.
        """
        layout = Layout(self.tokenizer)
        index = {label: i for i, label in enumerate(self.meta.labels)}
        sentences = [text_and_spans(row) for row in rows]
        encoded = self.tokenizer.pieces([text for text, _ in sentences])
        examples = []
        for number, (row, (_, spans), pieces) in enumerate(zip(rows, sentences, encoded, strict=True)):
            firsts = first_pieces(spans, pieces.offsets)
            cuts = windows(len(pieces.ids), self.limits.max_length - layout.room_one, self.limits.stride)
            align: list[list[tuple[int, int]]] = [[] for _ in cuts]
            for token, piece in enumerate(firsts):
                if piece >= 0:
                    home = max(
                        (w for w, (start, end) in enumerate(cuts) if start <= piece < end),
                        key=lambda w: min(piece - cuts[w][0], cuts[w][1] - 1 - piece),
                    )
                    align[home].append((token, layout.first_start + piece - cuts[home][0]))
            inputs = [layout.one(pieces.ids[start:end]) for start, end in cuts]
            cut = Cut(len(pieces.ids), words=len(firsts), words_lost=firsts.count(-1))
            if not training:
                examples.append(Example(number, inputs, align=align, cut=cut))
                continue
            learnt = [list({position: token for token, position in reversed(w)}.items())[::-1] for w in align]
            labels = [[(position, index[row["tags"][token]]) for position, token in w] for w in learnt]
            if any(labels):
                examples.append(Example(number, inputs, labels=labels, align=align, cut=cut))
        return examples

    def _layers(self, width: int, dropout: float) -> nn.Module:
        """As RobertaForTokenClassification."""
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, self.outputs))

    def weight(self, example: Example) -> float:
        """One term per labelled token."""
        return float(sum(map(len, example.labels)))

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """Summed cross-entropy over labelled tokens; only their positions reach the head."""
        flat = [window for example in batch.examples for window in example.labels]
        where = [(b, position, label) for b, window in enumerate(flat) for position, label in window]
        rows, positions, labels = moved(torch.tensor(where), batch.ids_BL.device).T
        logits = model.head(model.hidden(batch)[rows, positions]).float()
        return functional.cross_entropy(logits, labels, reduction="sum")

    def predict(self, model: Any, batch: Batch) -> list[list[tuple[int, int]]]:
        """Return (token, tag index) pairs per example."""
        tags_BL = model.head(model.hidden(batch)).argmax(-1).tolist()
        predictions = []
        at = 0
        for example in batch.examples:
            pairs = [
                (token, tags_BL[at + w][position])
                for w, window in enumerate(example.align)
                for token, position in window
            ]
            at += len(example.inputs)
            predictions.append(pairs)
        return predictions

    def decode(self, rows: Sequence[Row], examples: Sequence[Example], raw: Sequence[Any]) -> list[list[str]]:
        """Return one tag per token; a token the tokenizer dropped is outside, also where no tag says that: an error."""
        predictions = []
        for row, example, pairs in zip(rows, examples, raw, strict=True):
            tags = [OUTSIDE] * len(row["tokens"])
            for token, index in pairs:
                tags[token] = self.meta.labels[index]
            where = {token: (w, position) for w, window in enumerate(example.align) for token, position in window}
            for token in range(1, len(tags)):
                # Tokens inside one sub-word share its tag: after the first, a beginning is a continuation.
                shared = token in where and where.get(token - 1) == where[token]
                if shared and tags[token].startswith("B-") and "I-" + tags[token][2:] in self.meta.labels:
                    tags[token] = "I-" + tags[token][2:]
            predictions.append(tags)
        return predictions


SEPARATOR = " $$ "
NO_NAMES = "None"
"""What mT5 writes of a sentence without names: the data set it reads (TFDS wikiann) has that for its spans."""


class TaggingText(TextForm):
    """mT5's named-entity form: `tag: sentence` to `PER: name $$ LOC: name`, in order of the sentence, or `None`.

    Where tags say nothing of spans (parts of speech, for which mT5 has no form) the output is the tags themselves, one
    per token.
    """

    @property
    def _types(self) -> set[str]:
        """Types of spans; none where every token has a tag of its own."""
        return {label[2:] for label in self.meta.labels if label[:2] in ("B-", "I-")}

    def source(self, row: Row) -> str:
        """Fill the task's template; `{text}` is the sentence."""
        return fill(self.meta.text2text.get("template", "tag: {text}"), {"text": text_and_spans(row)[0]})

    def words(self, row: Row) -> int:
        """Return the number of tokens."""
        return len(row["tokens"])

    def unread(self, row: Row, source: str, end: int) -> int:
        """Return how many tokens begin where the input has ended."""
        text, spans = text_and_spans(row)
        before = max(0, source.find(text))
        return sum(before + start >= end for start, _ in spans)

    def unwritten(self, row: Row, prediction: Any) -> int:
        """Return how many tokens lack a tag; where tags are of spans, none does."""
        return 0 if self._types else len(row["tokens"]) - len(prediction)

    def target(self, row: Row) -> str:
        """Return the typed strings of the sentence, or the tags of its tokens."""
        if not self._types:
            return " ".join(row["tags"])
        text, spans = text_and_spans(row)
        names = (f"{kind}: {text[spans[first][0] : spans[last][1]]}" for kind, first, last in chunks(row["tags"]))
        return SEPARATOR.join(names) or NO_NAMES

    def parse(self, row: Row, text: str) -> Any:
        """Read typed strings back, or tags.

        Returns:
          For spans, `spans`, the (type, text) pairs in the form the sentence has them, for mT5's own metric; and
          `tags`, which places them in the sentence left to right, for metrics that know positions. A string that is no
          whole tokens of the sentence, or a type that is not a label, has no place there. Otherwise the tags that were
          written, none for the tokens after them.
        """
        types = self._types
        if not types:
            return text.split()[: len(row["tokens"])]
        # The first colon ends the type: names may hold others.
        parts = [part.partition(":") for part in text.split(SEPARATOR)]
        pairs = []
        sentence, spans = text_and_spans(row)
        tags = [OUTSIDE] * len(spans)
        starts, ends = {start for start, _ in spans}, {end for _, end in spans}
        at = 0
        for kind, surface in ((kind.strip(), surface.strip()) for kind, colon, surface in parts if colon):
            placed = locate(sentence, surface, start=at, starts=starts, ends=ends)
            anywhere = placed or locate(sentence, surface, starts=starts, ends=ends)
            pairs.append([kind, sentence[anywhere[0] : anywhere[1]] if anywhere else surface])
            if not placed or kind not in types:
                continue
            start, at = placed
            inside = [i for i, (begin, end) in enumerate(spans) if begin < at and end > start]
            for place, token in enumerate(inside):
                tags[token] = ("B-" if place == 0 else "I-") + kind
        return {"spans": pairs, "tags": tags}
