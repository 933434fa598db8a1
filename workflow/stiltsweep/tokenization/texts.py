"""The texts of an example, by kind: its own, the pair it consists of, its gold spans."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..metrics.spans import chunks
from ..records import Row, text_and_spans
from .words import Span


@dataclass(frozen=True)
class Texts:
    """What of an example can be measured."""

    own: tuple[str, ...]
    """Texts in the example's language, in a fixed order per kind; of retrieval the query."""
    tokens: tuple[Span, ...] | None = None
    """Of tagging: the data's tokens, as spans of the one text."""
    pair: tuple[str, str] | None = None
    """Two texts that a model has to relate: premise and hypothesis, question and context, query and right candidate."""
    answers: tuple[Span, ...] = field(default=())
    """Gold answer or names, as spans of the last of `own`."""
    label: str | None = None
    question: str | None = None


def of(row: Row, kind: str, candidates: Mapping[str, str]) -> Texts:
    """Return the texts of a prepared row.

    Args:
      row: of a target's data; of retrieval and mining a query.
      kind: the task's.
      candidates: id -> text of the right candidates (see `gold`); empty for other kinds.
    """
    return _KINDS[kind](row, candidates)


def _classification(row: Row, candidates: Mapping[str, str]) -> Texts:
    other = row["text_b"]
    own = (row["text_a"],) if other is None else (row["text_a"], other)
    return Texts(own, pair=None if other is None else (row["text_a"], other), label=row["label"])


def _multiple_choice(row: Row, candidates: Mapping[str, str]) -> Texts:
    question = () if row["question"] is None else (row["question"],)
    return Texts((row["context"], *question, *row["choices"]))


def _tagging(row: Row, candidates: Mapping[str, str]) -> Texts:
    text, spans = text_and_spans(row)
    # Parts of speech are no spans.
    named = any(tag[:2] in ("B-", "I-") for tag in row["tags"])
    names = chunks(row["tags"]) if named else ()
    return Texts((text,), tuple(spans), answers=tuple((spans[a][0], spans[b][1]) for _, a, b in names))


def _span_qa(row: Row, candidates: Mapping[str, str]) -> Texts:
    question, context = row["question"], row["context"]
    # Of several gold answers the first.
    answers = tuple((gold["start"], gold["start"] + len(gold["text"])) for gold in row["answers"][:1])
    return Texts((question, context), pair=(question, context), answers=answers, question=question)


def _generation(row: Row, candidates: Mapping[str, str]) -> Texts:
    return Texts((row["text"],), pair=(row["text"], row["references"][0]))


def _sided(row: Row, candidates: Mapping[str, str]) -> Texts:
    right = next((candidates[name] for name in row["gold"][:1] if name in candidates), None)
    return Texts((row["text"],), pair=None if right is None else (row["text"], right))


_KINDS: dict[str, Callable[[Row, Mapping[str, str]], Texts]] = {
    "classification": _classification,
    "multiple_choice": _multiple_choice,
    "tagging": _tagging,
    "span_qa": _span_qa,
    "retrieval": _sided,
    "mining": _sided,
    "generation": _generation,
}


def gold(path: Path, wanted: Collection[str]) -> dict[str, str]:
    """Return id -> text of some candidates of a retrieval task's test data, of which there may be a million."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    texts: dict[str, str] = {}
    ids = pa.array(sorted(wanted), pa.string())
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["id", "split", "side", "text"], use_threads=False):
            here = pc.and_(pc.equal(batch.column("side"), "candidate"), pc.equal(batch.column("split"), "test"))
            kept = batch.filter(pc.and_(here, pc.is_in(batch.column("id"), value_set=ids)))
            texts.update(zip(kept.column("id").to_pylist(), kept.column("text").to_pylist(), strict=True))
    return texts
