"""Measure prediction: examples per second against transformers' usual ways on the same weights.

  labels     closed answers of a text-to-text model: the loss of every (example, label) pair by `model(..., labels=...)`
  answers    open answers of a text-to-text model: `generate`, greedily, sentinels forbidden
  spans      question answering with an encoder: BertForQuestionAnswering, and the same search for the best span
  embedding  retrieval: mean-pooled vectors, as e5's model card computes them
  search     exact nearest neighbours of 1,000,000 candidates against FAISS's flat index (pip install faiss-cpu)

The peers read the same token ids in the order of the data, in batches of 8 (`Trainer.predict`'s own size; 32 for
embedding, sentence-transformers'; --batch 1 is what transformers' pipelines do unless told otherwise), padded to their
longest, with transformers' defaults otherwise, and have to predict the same. The text-to-text model has mT5's
architecture, mt5-small's width and depth, 8,192 pieces and random weights.

Example:
  python benchmarks/prediction.py
  python benchmarks/prediction.py labels answers --size nano
  python benchmarks/prediction.py search --candidates 1000000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from measuring import ROOT, prepared, take_turns, timed, write

from stiltsweep import catalog
from stiltsweep.files import write_record
from stiltsweep.kinds import Form, Limits, Representation, form
from stiltsweep.models import pretrain
from stiltsweep.models.batches import Example, collate
from stiltsweep.models.device import choose
from stiltsweep.models.fetch import describe
from stiltsweep.models.load import Source, build, vocabulary
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import run
from stiltsweep.records import Row, read_meta, read_rows

LANGUAGES = {"intent": ("en", "de", "zh"), "qa": ("en", "de", "zh"), "retrieval": ("de", "zh")}
REPRESENTATION = Representation("mean", -1, "mean", "query: ")
LIMITS = Limits(128, 32, 16)
EMBEDDED, TOKENS = 32, 4096
SIZES = {
    "small": {"d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": 8, "num_heads": 6},
    "nano": {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
}
"""Of the text-to-text model: mt5-small's width and depth, or mt5-nano's."""

TURNS, SIZE, BATCH = 3, "small", 8

Batches = list[tuple[list[Example], torch.Tensor, torch.Tensor]]


class Case:
    """A model of this project and the test examples of a task in some languages."""

    def __init__(self, work: Path, task: str, start: Path) -> None:
        source = Source.read(start)
        choose("fp32", source.model_type, 1)
        tokenizer = Tokenizer.from_directory(source.base)
        self.rows: list[Row] = []
        for language in LANGUAGES[task]:
            path = work / f"data/{task}/{language}.parquet"
            self.rows += [{**row, "id": f"{language}/{row['id']}"} for row in read_rows(path, "test")]
        meta = read_meta(path)
        self.form: Form = form(
            meta, tokenizer, interface=source.interface, limits=LIMITS, representation=REPRESENTATION
        )
        self.examples = self.form.encode(self.rows, training=False)
        kept = vocabulary(source, [(self.form, self.examples)], prune=source.interface == "encoder")
        self.model: TaskModel = build(source, self.form, kept=kept, seed=0, dropout=0.0).eval()
        self.whole: TaskModel = build(source, self.form, kept=None, seed=0, dropout=0.0).eval()

    def ours(self) -> list[Any]:
        """Return raw outputs as prediction does."""
        return run(self.model, self.examples, TOKENS)

    def batches(self, size: int) -> Batches:
        """Return the peer's batches: in the order of the data, padded to their longest."""
        parts = [self.examples[at : at + size] for at in range(0, len(self.examples), size)]
        made = [(part, collate(part, self.whole.dense, torch.device("cpu"), token_types=False)) for part in parts]
        return [(part, batch.ids_BL, batch.mask_BL) for part, batch in made]


def labels(work: Path) -> dict[str, Any]:
    """Score labels by one forward pass per batch of pairs."""
    case = Case(work, TASKS["labels"], _text2text(work))

    @torch.inference_mode()
    def peer() -> list[int]:
        pairs = [(e, choice) for e in case.examples for choice in e.align]
        scores = []
        for at in range(0, len(pairs), BATCH):
            part = pairs[at : at + BATCH]
            batch = collate([e for e, _ in part], case.whole.dense, torch.device("cpu"), token_types=False)
            longest = max(len(choice) for _, choice in part)
            wanted = torch.tensor([[*choice, *[-100] * (longest - len(choice))] for _, choice in part])
            logits = case.whole.backbone(input_ids=batch.ids_BL, attention_mask=batch.mask_BL, labels=wanted).logits
            losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
            scores += (-losses.sum(1)).tolist()
        counts = len(case.examples[0].align)
        return [int(np.argmax(scores[at : at + counts])) for at in range(0, len(scores), counts)]

    return _compared("labels", case, peer)


def answers(work: Path) -> dict[str, Any]:
    """Generate answers."""
    case = Case(work, TASKS["answers"], _text2text(work))

    @torch.inference_mode()
    def peer() -> list[list[int]]:
        forbidden = [[i] for i in case.whole.forbidden]
        found: list[list[int]] = []
        for _, ids, mask in case.batches(BATCH):
            out = case.whole.backbone.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=LIMITS.max_target_length,
                do_sample=False,
                bad_words_ids=forbidden or None,
            )
            special = {case.whole.dense_pad, case.whole.eos}
            found += [[i for i in row if i not in special] for row in out.tolist()]
        return found

    return _compared("answers", case, peer, of_ours=lambda raw: [one.ids for one in raw])


def spans(work: Path) -> dict[str, Any]:
    """Find spans with an encoder."""
    case = Case(work, TASKS["spans"], work / "models/e5-small/model.json")
    peer_model = transformers.BertForQuestionAnswering.from_pretrained(work / "models/e5-small").eval()
    head = case.model.head
    assert head is not None
    peer_model.qa_outputs.load_state_dict(head.state_dict())

    @torch.inference_mode()
    def peer() -> list[Any]:
        raw = []
        for part, ids, mask in case.batches(BATCH):
            out = peer_model(input_ids=ids, attention_mask=mask)
            logits = torch.stack([out.start_logits, out.end_logits], -1)
            # The search itself is the same, as a head that has its logits already.
            raw += case.form.predict(_Known(logits), collate(part, case.whole.dense, ids.device, token_types=False))
        return raw

    def decoded(raw: Sequence[Any]) -> list[Any]:
        return case.form.decode(case.rows, case.examples, raw)

    return _compared("spans", case, lambda: decoded(peer()), of_ours=decoded)


class _Known:
    """Stands in for a model whose logits are known."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits

    def hidden(self, _: Any) -> torch.Tensor:
        """Return the logits."""
        return self.logits

    def head(self, logits: torch.Tensor) -> torch.Tensor:
        """Return them again."""
        return logits


def embedding(work: Path) -> dict[str, Any]:
    """Embed queries and candidates."""
    case = Case(work, TASKS["embedding"], work / "models/e5-small/model.json")
    peer_model = transformers.AutoModel.from_pretrained(work / "models/e5-small").eval()

    @torch.inference_mode()
    def peer() -> list[Any]:
        found: list[Any] = []
        for _, ids, mask in case.batches(EMBEDDED):
            hidden = peer_model(input_ids=ids, attention_mask=mask).last_hidden_state
            hidden = hidden.masked_fill(~mask[..., None].bool(), 0.0)
            pooled = hidden.sum(1) / mask.sum(1)[..., None]
            found += list(torch.nn.functional.normalize(pooled, dim=1).numpy())
        return found

    def nearest(raw: Sequence[Any]) -> list[Any]:
        # Further down, candidates are so close that the last bit decides.
        return [found and found[0] for found in case.form.decode(case.rows, case.examples, raw)]

    return _compared("embedding", case, lambda: nearest(peer()), of_ours=nearest)


def _compared(
    name: str, case: Case, peer: Callable[[], list[Any]], of_ours: Callable[[Sequence[Any]], list[Any]] = list
) -> dict[str, Any]:
    """Run both sides in turns and compare what they predict."""
    same = [a == b for a, b in zip(of_ours(case.ours()), peer(), strict=True)]
    seconds = take_turns({"ours": lambda: timed(lambda: of_ours(case.ours())), "peer": lambda: timed(peer)}, TURNS)
    count = len(case.examples)
    return {
        "what": name,
        "examples": count,
        "ours, examples/s": round(count / seconds["ours"][0], 1),
        "transformers, examples/s": round(count / seconds["peer"][0], 1),
        "ratio": round(seconds["peer"][0] / seconds["ours"][0], 2),
        "ratio of wall": round(seconds["peer"][1] / seconds["ours"][1], 2),
        "same predictions": f"{sum(same)} of {count}",
    }


def _text2text(work: Path) -> Path:
    """Make the text-to-text model, once."""
    path = work / f"models/mt5-{SIZE}-random/model.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        source = catalog.read([]).models["mt5-nano"].definition["source"]
        facts = pretrain.write(
            {**source, "architecture": {**SIZES[SIZE], "dropout_rate": 0.0}}, path.parent, "text2text"
        )
        write_record(path, {"name": "random", "interface": "text2text", **describe(path.parent), **facts})
    return path


WIDTH, QUERIES, DEPTH = 384, 256, 10
_SEARCH = """
import resource, sys, time
import numpy as np
side, folder, depth = sys.argv[1], sys.argv[2], int(sys.argv[3])
queries = np.load(folder + "/queries.npy")
candidates = np.load(folder + "/candidates.npy", mmap_mode="r")
if side == "ours":
    sys.path.insert(0, sys.argv[4])
    import torch
    from stiltsweep.kinds.search import nearest
    torch.set_num_threads(1)
else:
    try:
        import faiss
    except ImportError:
        sys.exit("error: search compares with FAISS, which is not installed. Hint: pip install faiss-cpu")
    faiss.omp_set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cpu, wall = time.process_time(), time.perf_counter()
if side == "ours":
    scores, found = nearest(queries, candidates, depth)
else:
    index = faiss.IndexFlatIP(queries.shape[1])
    for first in range(0, len(candidates), 65536):
        index.add(np.ascontiguousarray(candidates[first : first + 65536]))
    scores, found = index.search(queries, depth)
print(time.process_time() - cpu, time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
np.save(folder + f"/{side}.npy", found)
np.save(folder + f"/{side}.scores.npy", scores)
"""


def search(candidates: int) -> list[dict[str, Any]]:
    """Search in processes of their own, whose peak of memory is theirs; candidates lie in a file."""
    rng = np.random.default_rng(0)
    found: dict[str, list[list[float]]] = {"ours": [], "FAISS": []}
    with tempfile.TemporaryDirectory() as folder:
        stored = np.lib.format.open_memmap(
            f"{folder}/candidates.npy", "w+", dtype=np.float32, shape=(candidates, WIDTH)
        )
        for first in range(0, candidates, 65536):
            part = rng.standard_normal((min(65536, candidates - first), WIDTH), dtype=np.float32)
            stored[first : first + 65536] = part / np.linalg.norm(part, axis=1, keepdims=True)
        stored.flush()
        del stored
        queries = rng.standard_normal((QUERIES, WIDTH), dtype=np.float32)
        np.save(f"{folder}/queries.npy", queries / np.linalg.norm(queries, axis=1, keepdims=True))
        for _ in range(TURNS):
            for side, times in found.items():
                command = [sys.executable, "-c", _SEARCH, side, folder, str(DEPTH), str(ROOT / "workflow")]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                times.append([float(text) for text in done.stdout.split()])
        ours, theirs = (np.load(f"{folder}/{side}.npy") for side in found)
        apart = np.abs(np.load(f"{folder}/ours.scores.npy") - np.load(f"{folder}/FAISS.scores.npy")).max()
    median = {side: np.median(np.array(times), axis=0) for side, times in found.items()}
    return [
        {
            "candidates": candidates,
            "queries": QUERIES,
            "ours, s": round(median["ours"][0], 2),
            "FAISS, s": round(median["FAISS"][0], 2),
            "ratio": round(median["FAISS"][0] / median["ours"][0], 2),
            "ratio of wall": round(median["FAISS"][1] / median["ours"][1], 2),
            "ours, peak GiB": round(median["ours"][2], 2),
            "FAISS, peak GiB": round(median["FAISS"][2], 2),
            "same neighbours": f"{int((ours == theirs).all(1).sum())} of {QUERIES}",
            "largest difference of a product": f"{apart:.1e}",
        }
    ]


PARTS = {"labels": labels, "answers": answers, "spans": spans, "embedding": embedding}
TASKS = {"labels": "intent", "answers": "qa", "spans": "qa", "embedding": "retrieval"}
"""Part -> what it reads."""


def main() -> None:
    """Measure, print and write."""
    global TURNS, SIZE, BATCH
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}, search; all of them if none is named")
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--size", choices=SIZES, default=SIZE, help="of the text-to-text model")
    parser.add_argument("--batch", type=int, default=BATCH, help="of the peers, but for embedding")
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--results", type=Path, default=Path("results/commands"), help="of sweeps/commands.yaml")
    parser.add_argument("--output", type=Path, default=Path("results/bench/prediction.json"))
    arguments = parser.parse_args()
    TURNS, SIZE, BATCH = arguments.turns, arguments.size, arguments.batch
    transformers.logging.set_verbosity_error()
    asked = arguments.parts or [*PARTS, "search"]
    if unknown := set(asked) - {*PARTS, "search"}:
        parser.error(f"unknown part {sorted(unknown)[0]!r}")
    found: dict[str, Any] = {"transformers": [], "FAISS": []}
    if set(asked) & set(PARTS):
        tasks = dict.fromkeys(TASKS[name] for name in asked if name in PARTS)
        data = [f"data/{task}/{language}.parquet" for task in tasks for language in LANGUAGES[task]]
        work = prepared(arguments.results, ["models/e5-small/model.json", *data])
        for name in asked:
            if name in PARTS:
                found["transformers"].append(PARTS[name](work))
                print(json.dumps(found["transformers"][-1]), flush=True)
    if "search" in asked:
        found["FAISS"] = search(arguments.candidates)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    write(arguments.output, "Prediction, measured", found)


if __name__ == "__main__":
    main()
