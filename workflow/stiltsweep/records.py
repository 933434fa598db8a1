"""Prepared data: one Parquet file per task and language, one schema per kind of task, and checks on every row.

Beside each Parquet file stands a small JSON file with what the rest of the pipeline needs to know about it (`Meta`), so
that no later stage has to read the catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError, remake
from .facts import KINDS, SIDED
from .facts import Row as Row
from .files import canonical, check_digest, digest_file, read_record, replacing, write_record
from .identity import metrics_of

if TYPE_CHECKING:
    import pyarrow as pa

UNPREPARED = ".failed"
"""Suffix of the note that lies in a prepared file's place when it could not be made: the definition, and why."""

SPLITS = ("train", "dev", "test")

CLUSTER = "cluster"
"""Column of what an example shares with others of its language (a premise, a paragraph, a template): tests draw
clusters. Every kind may have it; it decides no prediction and no score, so it is not in the digest of the rows."""
_BATCH_ROWS = 20_000


@dataclass(frozen=True)
class Meta:
    """What a prepared file is: written beside it, read by every later stage."""

    task: str
    language: str
    kind: str
    labels: list[str]
    """Every label of the task in its fixed order (classification, tagging); empty for the other kinds."""
    metrics: list[str]
    """Names of metrics; the first is the task's score."""
    counts: dict[str, int]
    """Examples per split; for retrieval and mining the queries, candidates are not counted."""
    sha256: str
    """Digest of the rows themselves (see `write_rows`), independent of the Parquet library's version."""
    parallel: str
    """`full`, `partial` or `none`: whether an id means the same example in every language."""
    source: dict[str, Any] = field(default_factory=dict)
    """Where the rows came from: type, package versions or revision, licence."""
    text2text: dict[str, Any] = field(default_factory=dict)
    """How the kind is written as text for text-to-text models."""
    file_sha256: str = ""
    """Digest of the Parquet file, by which a damaged or swapped one is told."""

    def metrics_of(self, interface: str) -> list[str]:
        """Return the names of the metrics on an interface: `text2text.metrics` where the task states them."""
        return metrics_of(vars(self), interface)


def schema(kind: str) -> pa.Schema:
    """Return the Arrow schema of a kind."""
    import pyarrow as pa

    struct = pa.struct([("text", pa.string()), ("start", pa.int32())])
    types = {
        "string": pa.string(),
        "int32": pa.int32(),
        "list<string>": pa.list_(pa.string()),
        "list<bool>": pa.list_(pa.bool_()),
        "list<struct<text: string, start: int32>>": pa.list_(struct),
    }
    fields = [pa.field("id", pa.string(), nullable=False), pa.field("split", pa.string(), nullable=False)]
    for name, spec in {**KINDS[kind].columns, CLUSTER: "string?"}.items():
        fields.append(pa.field(name, types[spec.rstrip("?")], nullable=spec.endswith("?")))
    return pa.schema(fields)


def meta_path(path: str | Path) -> Path:
    """Return the path of the JSON file beside a prepared Parquet file."""
    return Path(path).with_suffix(".json")


def read_meta(path: str | Path) -> Meta:
    """Read what a prepared file says of itself.

    Raises:
      UserError: the record is missing, damaged or was changed.
    """
    record = read_record(meta_path(path), rebuild=remake(path), keys=[one.name for one in fields(Meta)])
    return Meta(**{one.name: record[one.name] for one in fields(Meta)})


def data_of(path: str | Path, task: str | None, language: str) -> Meta:
    """Read what a prepared file says of itself, and check that it is that task (None: any) in that language.

    Raises:
      UserError: it is not; or see `read_meta`.
    """
    meta = read_meta(path)
    if meta.language != language or task not in (None, meta.task):
        wanted = language if task is None else f"{task} in {language}"
        raise UserError(
            f"{path}: holds {meta.task} in {meta.language}, not {wanted}; was it put in another's place? "
            f"Rebuild it with: {remake(path)}"
        )
    return meta


_seen: set[tuple[str, int, int]] = set()
"""Files that this process has compared with their records: path, size and time."""


def _check_file(path: str | Path) -> None:
    """Compare a prepared file with the digest that its record holds.

    Raises:
      UserError: they differ.
    """
    try:
        about = Path(path).stat()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Rebuild it with: {remake(path)}") from None
    key = (str(path), about.st_size, about.st_mtime_ns)
    if key not in _seen:
        check_digest(path, read_meta(path).file_sha256, remake(path))
        _seen.add(key)


def read_rows(path: str | Path, split: str | None = None, *, candidates: bool = True) -> list[Row]:
    """Read one split (or all) of a prepared file, in file order.

    Args:
      path: the Parquet file.
      split: the split; None reads all.
      candidates: also read the candidates of retrieval and mining, of which there may be a million.

    Raises:
      UserError: the file is missing, not readable as Parquet, or not the one its record is of.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_file(path)
    try:
        # Not read_table with a filter: that imports and starts Arrow's data set engine, which costs more than the rows.
        with pq.ParquetFile(path) as file:
            rows: list[Row] = [
                row if row.get(CLUSTER, "") is not None else _without(row, CLUSTER)
                for batch in file.iter_batches(use_threads=False)
                for row in (batch.to_pylist() if _wanted(batch, split, candidates) else ())
                if (split is None or row["split"] == split) and (candidates or row.get("side") != "candidate")
            ]
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not readable ({reason}). Rebuild it with: {remake(path)}") from None
    return rows


def _wanted(batch: pa.RecordBatch, split: str | None, candidates: bool) -> bool:
    """Tell from one column of a batch whether any of its rows may be wanted, before all become Python objects."""
    if split is not None and split not in batch.column("split").to_pylist():
        return False
    return candidates or "side" not in batch.schema.names or "query" in batch.column("side").to_pylist()


def text_and_spans(row: Row) -> tuple[str, list[tuple[int, int]]]:
    """Rebuild a tagging row's sentence from its tokens; return it and each token's (start, end) in code points."""
    spaces = row.get("space_after") or [True] * len(row["tokens"])
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    at = 0
    for token, space in zip(row["tokens"], spaces, strict=True):
        spans.append((at, at + len(token)))
        parts.append(token + " " * bool(space))
        at += len(parts[-1])
    return "".join(parts).rstrip(" "), spans


def write_rows(
    path: str | Path,
    kind: str,
    rows: Iterable[Row],
    about: Mapping[str, Any],
    *,
    labels: list[str],
    expected: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Meta:
    """Check and stream rows into a Parquet file, then write its `Meta` beside it.

    Memory is bounded by a batch of rows plus one id per row. Nothing is left behind if a row is refused.

    Args:
      path: the Parquet file.
      kind: one of `facts.KINDS`.
      rows: examples in their final order, splits contiguous.
      about: task, language, metrics, parallel, source, text2text (see `Meta`).
      labels: every allowed label (classification, tagging); empty for the other kinds.
      expected: counts per split and `sha256` as the catalogue states them; only those stated are checked.
      identity: what the record says of what the rows were made from (see `identity.of`).

    Raises:
      UserError: a row breaks a rule of its kind, or the whole differs from what the catalogue expects; the text names
        task, language, row and rule.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = schema(kind)
    where = f"{about['task']}/{about['language']}"
    content = sha256()
    counts: Counter[str] = Counter()
    with replacing(path) as temporary:
        with pq.ParquetWriter(temporary, target, compression="zstd") as writer:
            for batch in _batches(_checked(rows, kind, labels, where)):
                for row in batch:
                    content.update(canonical(_without(row, CLUSTER)).encode("utf-8") + b"\n")
                    if kind not in SIDED or row["side"] == "query":
                        counts[row["split"]] += 1
                writer.write_table(pa.Table.from_pylist(batch, schema=target))
        if not counts:
            raise UserError(f"{where}: no examples. Check the source's file, split and column names.")
        _compare(where, {**counts, "sha256": content.hexdigest()}, expected or {})
    meta = Meta(
        kind=kind,
        labels=labels,
        counts=dict(counts),
        sha256=content.hexdigest(),
        file_sha256=digest_file(path),
        **about,
    )
    write_record(meta_path(path), {**asdict(meta), **(identity or {})})
    return meta


def _without(row: Row, name: str) -> Row:
    return {key: value for key, value in row.items() if key != name}


_DIGEST = "the rows' digest"


def _compare(where: str, held: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    faults = [
        f"{_DIGEST if key == 'sha256' else f'the number of {key} examples'} is {held.get(key)}, the "
        f"catalogue expects {value}"
        for key, value in expected.items()
        if held.get(key) != value
    ]
    if faults:
        raise UserError(
            f"{where}: {'; '.join(faults)}. The source has changed (another version or revision?): install the pinned "
            "one, or check the data and update the task's YAML."
        )


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _checked(rows: Iterable[Row], kind: str, labels: list[str], where: str) -> Iterator[Row]:
    """Yield the rows with exactly the schema's columns, refusing the first one that breaks a rule."""
    names = ("id", "split", *KINDS[kind].columns, CLUSTER)
    known = set(labels)
    seen: set[tuple[str, str]] = set()
    answers: dict[str, Counter[Any]] = {}
    candidates: dict[str, set[str]] = {}
    wanted: list[tuple[str, str, str]] = []
    for number, row in enumerate(rows, start=1):
        # Readers of files say where a row stands; its number here is second best.
        place = row.get("place") or f"row {number}"
        fault = _fault(row, kind, known)
        if fault:
            raise UserError(f"{where}: {place} (id {row.get('id')!r}): {fault}.")
        key = (row["split"], row["id"] if kind not in SIDED else f"{row['side']}\t{row['id']}")
        if key in seen:
            raise UserError(f"{where}: {place}: id {row['id']!r} occurs twice in split {row['split']!r}.")
        seen.add(key)
        if (told := KINDS[kind].answers) is not None:
            answers.setdefault(row["split"], Counter()).update(told(row))
        if kind in SIDED:
            if row["side"] == "candidate":
                candidates.setdefault(row["split"], set()).add(row["id"])
            wanted.extend((row["split"], row["id"], gold) for gold in row["gold"])
        yield {name: row.get(name) for name in names}
    for split, counter in answers.items():
        # Official test files hide their answers as one constant label; scoring against it looks plausible.
        if len(counter) == 1 and counter.total() >= 20:
            raise UserError(
                f"{where}: all {counter.total()} answers of split {split!r} are {next(iter(counter))!r}: "
                "they look hidden. Use a labelled copy."
            )
    hidden = candidates.keys() - {split for split, _, _ in wanted} if kind == "mining" else ()
    for split in sorted(hidden):
        raise UserError(f"{where}: no query of split {split!r} has a gold id: they look hidden. Use a labelled copy.")
    for split, query, gold in wanted:
        if gold not in candidates.get(split, set()):
            raise UserError(f"{where}: query {query!r} names the candidate {gold!r}, which split {split!r} lacks.")


def _fault(row: Row, kind: str, labels: set[str]) -> str:
    """Return the rule a row breaks, or an empty string."""
    for name in ("id", "split", *(c for c, spec in KINDS[kind].columns.items() if not spec.endswith("?"))):
        if row.get(name) is None:
            return f"{name} is missing"
    if row["split"] not in SPLITS:
        return f"split is {row['split']!r}, allowed: {', '.join(SPLITS)}"
    return KINDS[kind].fault(row, labels)
