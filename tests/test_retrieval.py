"""Retrieval and mining: exact search, margins, thresholds, metrics against other formulas, training, files as published."""

from __future__ import annotations

import itertools
import json
import random
import runpy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import tiny
from stiltsweep import catalog, prediction
from stiltsweep.errors import UserError
from stiltsweep.evaluation import evaluate
from stiltsweep.files import read_json
from stiltsweep.kinds import Limits, Representation, form, retrieval
from stiltsweep.kinds.mining import best_threshold, mine
from stiltsweep.kinds.search import nearest
from stiltsweep.layout import Cell
from stiltsweep.metrics import metric
from stiltsweep.metrics.ranking import REVERSE
from stiltsweep.models.batches import Dense, Example, Input, collate
from stiltsweep.models.load import Source, build
from stiltsweep.models.task_model import TaskModel
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.prediction import predict
from stiltsweep.records import Meta, read_rows, write_rows
from stiltsweep.settings import PredictionSettings, TrainingSettings
from stiltsweep.sources import files
from stiltsweep.sources.files.mewslix import marked
from stiltsweep.sources.files.sentences import joined, spans
from stiltsweep.training import loop

ROOT = Path(__file__).parents[1]
REPRESENTATION = Representation("mean", 1, "mean", "")
LIMITS = Limits(max_length=32, stride=4, max_target_length=16)


def make(source: Source, kind: str = "retrieval", metrics: Sequence[str] = ("mrr_at_20",)):
    about = Meta("t", "de", kind, [], list(metrics), {}, "0", "none")
    tokenizer = Tokenizer.from_directory(source.base)
    return form(about, tokenizer, interface=source.interface, limits=LIMITS, representation=REPRESENTATION)


def row(side: str, identity: str, text: str = "x", gold=(), split: str = "test") -> dict[str, Any]:
    return {"id": identity, "split": split, "side": side, "text": text, "gold": list(gold)}


# Exact search


def by_sorting(queries: np.ndarray, candidates: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """All products at once, sorted by product and then index."""
    products = queries.astype("d") @ candidates.T.astype("d")
    order = np.stack([np.lexsort((np.arange(len(candidates)), -scores))[:depth] for scores in products])
    return np.take_along_axis(products, order, 1), order


@pytest.mark.parametrize("high", [1, 2, 4, 50])
def test_search_is_exact_with_ties_and_however_it_is_cut(high: int) -> None:
    """Small whole numbers have exact products, many of them equal (with `high` 1: all)."""
    rng = np.random.default_rng(high)
    for chunk, block, depth in itertools.product((7, 100), (1, 9, 64), (1, 4, 90)):
        queries, candidates = (rng.integers(0, high, size=(n, 3)).astype("f") for n in (23, 64))
        scores, found = nearest(queries, candidates, depth, chunk=chunk, block=block)
        expected_scores, expected = by_sorting(queries, candidates, depth)
        assert found.tolist() == expected.tolist(), (chunk, block, depth)
        assert scores.tolist() == expected_scores.tolist()
        assert scores.mean(1) == pytest.approx(expected_scores.mean(1))


def test_search_finds_candidates_in_the_worst_order_and_takes_a_list_of_vectors() -> None:
    candidates = np.arange(1000, dtype="f")[:, None]  # every block is better than all before
    scores, found = nearest(np.ones((2, 1), "f"), list(candidates), 3, block=10)
    assert found.tolist() == [[999, 998, 997]] * 2
    assert scores.tolist() == [[999, 998, 997]] * 2


def test_search_of_real_vectors_agrees_with_double_precision() -> None:
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(50, 16)).astype("f"), rng.normal(size=(400, 16)).astype("f")
    for block in (37, 1000):
        scores, found = nearest(queries, candidates, 5, block=block)
        expected_scores, expected = by_sorting(queries, candidates, 5)
        assert np.array_equal(found, expected)
        assert scores == pytest.approx(expected_scores, rel=1e-5)


# Mining


def test_margins_worked_by_hand() -> None:
    """Candidates are unit axes, so a query's coordinates are its cosines. Two neighbours."""
    queries = np.array([[0.9, 0.6, 0.3], [0.8, 0.72, 0.1]], "f")
    # Means of the two nearest: queries 0.75 and 0.76; candidates 0.85, 0.66 and 0.2.
    # Margins: (0, 0) 0.9 / 0.8, (1, 0) 0.8 / 0.805, (1, 1) 0.72 / 0.71, (0, 2) 0.3 / 0.475.
    found = mine(queries, np.eye(3, dtype="f"), 2)
    assert [(pair.query, pair.candidate) for pair in found] == [(0, 0), (1, 1)]  # 1's nearest is 0, its margin at 1
    assert [pair.score for pair in found] == pytest.approx([0.9 / 0.8, 0.72 / 0.71])


def test_a_candidate_proposes_too() -> None:
    queries = np.array([[0.9, 0.8], [0.85, 0.1]], "f")
    # One neighbour: both queries propose candidate 0 (margins 1 and 0.85 / 0.875); candidate 1 proposes query 0
    # (0.8 / 0.85). Taken in order: (0, 0), then (1, 0) and (0, 1) have a taken side.
    assert [(p.query, p.candidate) for p in mine(queries, np.eye(2, dtype="f"), 1)] == [(0, 0)]
    queries = np.array([[0.9, 0.8], [0.95, 0.1]], "f")
    # (1, 0): 1; (0, 0): 0.9 / 0.925 = 0.973; (0, 1): 0.8 / 0.85 = 0.941, which only candidate 1 proposes.
    found = mine(queries, np.eye(2, dtype="f"), 1)
    assert [(p.query, p.candidate) for p in found] == [(1, 0), (0, 1)]
    assert [p.score for p in found] == pytest.approx([1.0, 0.8 / 0.85])


def dense_mining(queries: np.ndarray, candidates: np.ndarray, k: int) -> list[tuple[int, int]]:
    """The same by whole matrices and repeated search for the best proposal that is left."""
    s = queries.astype("d") @ candidates.T.astype("d")
    rows, columns = s.shape
    near_q = np.sort(s, 1)[:, ::-1][:, :k].mean(1)
    near_c = np.sort(s, 0)[::-1][:k].mean(0)
    margin = s / (near_q[:, None] / 2 + near_c[None, :] / 2)
    of_query = s >= np.sort(s, 1)[:, -min(k, columns)][:, None]
    of_candidate = s >= np.sort(s, 0)[-min(k, rows)][None, :]
    proposed = np.full_like(margin, -np.inf)
    for i in range(rows):
        j = int(np.where(of_query[i], margin[i], -np.inf).argmax())
        proposed[i, j] = margin[i, j]
    for j in range(columns):
        i = int(np.where(of_candidate[:, j], margin[:, j], -np.inf).argmax())
        proposed[i, j] = margin[i, j]
    found = []
    while np.isfinite(proposed).any():
        i, j = np.unravel_index(proposed.argmax(), proposed.shape)
        found.append((int(i), int(j)))
        proposed[i], proposed[:, j] = -np.inf, -np.inf
    return found


def test_mining_agrees_with_whole_matrices() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        n, m, k = rng.integers(1, 30), rng.integers(1, 30), int(rng.integers(1, 6))
        # All coordinates are positive, and so are the cosines: no score is dropped for its sign.
        queries, candidates = (rng.random((size, 5)).astype("f") for size in (n, m))
        queries, candidates = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, candidates))
        assert [(p.query, p.candidate) for p in mine(queries, candidates, k)] == dense_mining(queries, candidates, k)


def f1_of(scores: list[float], right: list[bool], gold: int, threshold: float) -> float:
    """XTREME's `bucc_optimize`, whose rounding decides between thresholds that are equally good."""
    taken = [r for s, r in zip(scores, right) if s >= threshold]
    precision, recall = sum(taken) / len(taken), sum(taken) / gold
    return 2 * precision * recall / (precision + recall) if sum(taken) else 0.0


def test_the_threshold_is_the_best_of_all_on_generated_cases() -> None:
    rng = random.Random(0)
    for _ in range(200):
        n = rng.randint(1, 12)
        scores = sorted((rng.choice([1.0, 1.1, 1.2, 1.3, rng.random()]) for _ in range(n)), reverse=True)
        right = [rng.random() < 0.5 for _ in range(n)]
        gold = sum(right) + rng.randint(0, 4)
        if not any(right):
            assert best_threshold(scores, right, gold) == 0.0
            continue
        found = best_threshold(scores, right, gold)
        best = max(f1_of(scores, right, gold, s) for s in scores)
        assert f1_of(scores, right, gold, found) == pytest.approx(best)
        # The highest of the best, half-way to the next score.
        first = max(s for s in scores if f1_of(scores, right, gold, s) == best)
        below = [s for s in scores if s < first]
        assert found == pytest.approx((first + below[0]) / 2 if below else first)


def angle(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], "f")


def test_mining_tunes_on_dev_drops_what_stands_twice_and_predicts_test_alone(encoder: Source) -> None:
    """Vectors are given; cosines of right pairs are 1, of others 0 or nearly so."""
    plan = [
        # split, side, id, text, gold, angle
        ("dev", "query", "d1", "eins", ["e1"], 0), ("dev", "query", "d2", "zwei", [], 50),
        ("dev", "candidate", "e1", "one", [], 0), ("dev", "candidate", "e2", "two", [], 90),
        ("test", "query", "d1", "drei", ["e3"], 0), ("test", "query", "d2", "doppelt", ["e4"], 88),
        ("test", "query", "d3", "doppelt", [], 88), ("test", "query", "d4", "allein", [], 40),
        ("test", "candidate", "e3", "three", [], 1), ("test", "candidate", "e4", "double", [], 88),
    ]  # fmt: skip
    rows = [row(side, identity, text, gold, split) for split, side, identity, text, gold, _ in plan]
    kind = make(encoder, "mining")
    assert kind.splits == ("dev", "test")
    found = kind.decode(rows, [], [angle(degrees) for *_, degrees in plan])
    assert found[:4] == [None] * 4
    assert found[8:] == [None] * 2
    assert found[4][0] == "e3"
    assert found[5] == found[6] == []  # "doppelt" stands twice
    assert found[7] == []
    rows[6]["text"] = "einmal"
    again = kind.decode(rows, [], [angle(degrees if i != 6 else 45) for i, (*_, degrees) in enumerate(plan)])
    assert [found and found[0] for found in again[4:8]] == ["e3", "e4", [], []]
    with pytest.raises(UserError, match="threshold on dev"):
        kind.decode(rows[4:], [], [angle(degrees) for *_, degrees in plan[4:]])


# Both ways round, as XTREME asks of Tatoeba


def test_the_other_way_round_is_xtremes_search_of_tatoeba(encoder: Source) -> None:
    """`similarity_search` adds the language's unit vectors to faiss's IndexFlatL2 and searches it with English ones."""
    names = ["retrieval_accuracy", REVERSE]
    kind = make(encoder, metrics=names)
    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(50):
        n = int(rng.integers(2, 40))
        english = rng.normal(size=(n, 6)).astype("f")
        foreign = (english + rng.normal(size=(n, 6)) * 0.7).astype("f")
        for vectors in (english, foreign):
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = {}
        for name, index_of, asking in ((names[0], english, foreign), (names[1], foreign, english)):
            index = faiss.IndexFlatL2(6)
            index.add(index_of)
            scores[name] = 100 * float((index.search(asking, 1)[1][:, 0] == np.arange(n)).mean())
        rows = [row("query", str(i), gold=[str(i)]) for i in range(n)] + [row("candidate", str(i)) for i in range(n)]
        found = kind.decode(rows, [], [*foreign, *english])
        assert found[n:] == [None] * n
        for name, expected in scores.items():
            rule = metric(name)
            sums = np.sum([rule.statistics(r, f, "de") for r, f in zip(rows[:n], found[:n], strict=True)], axis=0)
            assert float(rule.score(sums)) == pytest.approx(expected)
        differ += len(set(scores.values())) == 2
    assert differ > 25


def test_a_candidate_asks_for_each_query_it_is_right_for(encoder: Source) -> None:
    kind = make(encoder, metrics=[REVERSE])
    rows = [
        row("query", "q", gold=["a", "b"]), row("query", "r", gold=["b"]),
        row("candidate", "a"), row("candidate", "b"), row("candidate", "c"),
    ]  # fmt: skip
    found = kind.decode(rows, [], [angle(degrees) for degrees in (0, 50, 30, 40, 20)])
    assert found[0] == {"candidates": ["c", "a", "b"], "queries": [["r", False], ["r", True]]}
    assert found[1] == {"candidates": ["b", "a", "c"], "queries": [["r", True]]}
    assert metric(REVERSE).statistics(rows[0], found[0], "en") == (2.0, 1.0)
    assert metric("retrieval_accuracy").statistics(rows[0], found[0], "en") == (1.0, 0.0)
    assert metric("mrr_at_20").statistics(rows[0], found[0], "en") == (1.0, 0.5)
    assert metric("map_at_20").statistics(rows[0], found[0], "en") == (1.0, pytest.approx((1 / 2 + 2 / 3) / 2))


# Metrics on generated cases


def test_ranking_metrics_agree_with_other_formulas_on_generated_cases() -> None:
    rng = random.Random(0)
    for _ in range(250):
        order = [str(i) for i in rng.sample(range(60), rng.randint(1, 40))]
        gold = {str(i) for i in rng.sample(range(60), rng.choice([1, 2, 11, 25, 40]))}
        right = np.array([candidate in gold for candidate in order[:20]], dtype=float)
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        ap = float((precision * right).sum()) / (len(gold) if len(gold) < 20 else 20)
        rr = max((1 / (rank + 1) for rank in range(len(right)) if right[rank]), default=0.0)
        about = {"gold": sorted(gold)}
        assert metric("map_at_20").statistics(about, order, "en") == (1.0, pytest.approx(ap))
        assert metric("mrr_at_20").statistics(about, order, "en") == (1.0, rr)
        assert metric("retrieval_accuracy").statistics(about, order, "en") == (1.0, right[0])


def test_bucc_f1_is_that_of_sets_of_pairs_on_generated_cases() -> None:
    """evaluate.py of XTREME compares the set of predicted pairs with the set of gold pairs."""
    rng = random.Random(0)
    rule = metric("bucc_f1")
    for _ in range(250):
        queries = [f"q{i}" for i in range(rng.randint(1, 30))]
        gold = {q: rng.sample("abcdef", rng.choice([0, 0, 1, 1, 2])) for q in queries}
        if not any(gold.values()):
            gold["q0"] = ["a"]
        predicted = {q: rng.choice([[], [rng.choice("abcdef"), 1.1]]) for q in queries}
        labels = {(q, c) for q, found in gold.items() for c in found}
        predictions = {(q, p[0]) for q, p in predicted.items() if p}
        correct = len(labels & predictions)
        expected = 0.0
        if correct:
            precision, recall = correct / len(predictions), correct / len(labels)
            expected = 100 * 2 * precision * recall / (precision + recall)
        sums = np.sum([rule.statistics({"gold": gold[q]}, predicted[q], "de") for q in queries], axis=0)
        assert float(rule.score(sums)) == pytest.approx(expected)


# Training


WORDS = {
    "kitchen": "Küche", "bedroom": "Schlafzimmer", "garage": "Garage", "office": "Büro",
    "light": "Licht", "lamp": "Lampe", "time": "spät", "warm": "warm",
}  # fmt: skip
FILLERS = ["turn on", "turn off", "what is", "how"]


def translations(folder: Path, languages: list[str], train: int = 64, dev: int = 16) -> dict[str, Path]:
    """Write a task that can only be solved by learning which words belong together; candidates are shared."""
    pairs = [f"{a} {b}" for a, b in itertools.product(list(WORDS)[:4], list(WORDS)[4:])]
    found = {}
    for language in languages:
        rows = []
        for split, count in [("train", train), ("dev", dev)] * (language == "en") + [("test", 16)]:
            for number in range(count):
                pair = pairs[number % 16]
                text = f"{FILLERS[(number // 16 + number) % 4]} {pair} {language if language != 'en' else ''}".strip()
                rows.append(row("query", f"{number}", text, [pair], split))
            for pair in pairs:
                text = " ".join(WORDS[word] for word in pair.split())
                rows.append(row("candidate", pair, text, split=split))
        found[language] = folder / f"{language}.parquet"
        about = tiny.about("pairs", language, ["retrieval_accuracy"], parallel="full")
        write_rows(found[language], "retrieval", rows, about, labels=[])
    return found


def test_an_example_is_a_query_and_each_right_candidate(encoder: Source) -> None:
    rows = [
        row("query", "q", "what time", ["a", "b"]), row("query", "r", "how warm", ["b"]),
        row("candidate", "a", "Licht"), row("candidate", "b", "Lampe"), row("candidate", "c", "Garage"),
    ]  # fmt: skip
    kind = make(encoder)
    examples = kind.encode(rows, training=True)
    plain = kind.encode(rows, training=False)
    assert [(e.row, e.labels, sorted(e.align)) for e in examples] == [
        (0, "a", ["a", "b"]),
        (0, "b", ["a", "b"]),
        (1, "b", ["b"]),
    ]
    assert [one.ids for one in examples[1].inputs] == [plain[0].inputs[0].ids, plain[3].inputs[0].ids]
    # However little memory: the other pairs of the update are what a pair is told from.
    assert [len(part) for part in kind.micro_batches(examples, 1)] == [3]


def test_the_loss_is_the_softmax_over_the_updates_candidates(encoder: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        row("query", "q", "what time", ["a", "b"]), row("query", "r", "how warm is the office", ["c"]),
        row("candidate", "a", "Licht"), row("candidate", "b", "Lampe im Schlafzimmer"), row("candidate", "c", "x y"),
    ]  # fmt: skip
    kind = make(encoder)
    kind.learn_options(rows)
    examples = kind.encode(rows, training=True)
    losses, gradients = [], []
    for piece in (10_000, 16, 1):  # how much is computed at once changes nothing
        monkeypatch.setattr(retrieval, "_PIECE", piece)
        model = build(encoder, kind, kept=None, seed=0, dropout=0.0)
        loss = kind.loss(model, collate(examples, model.dense, torch.device("cpu"), token_types=False))
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
    for gradient in gradients[1:]:
        assert torch.allclose(gradient, gradients[0], atol=1e-4 * float(gradients[0].abs().max()))
    vectors = np.stack(prediction.run(model, kind.encode(rows, training=False), 10_000)).astype("d")
    queries, candidates = vectors[[0, 0, 1]], vectors[[2, 3, 4]]
    logits = 100 * queries @ candidates.T
    logits[0, 1] = logits[1, 0] = -np.inf  # both are right for the first query: neither is the other's negative
    expected = sum(np.log(np.exp(logits[i] - logits[i, i]).sum()) for i in range(3))
    assert losses[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("interface", ["encoder", "text2text"])
def test_training_learns_what_belongs_together(tmp_path: Path, interface: str) -> None:
    texts = [*tiny.SENTENCES, *(f"{f} {w} {g}" for f in FILLERS for w, g in WORDS.items())]
    start = getattr(tiny, interface)(tmp_path / "model", texts=texts)
    data = translations(tmp_path / "data", ["en", "de"])
    settings = {
        "batch_tokens": 512,
        "prune": True,
        "max_length": 32,
        "stride": 4,
        "max_target_length": 8,
        "precision": "fp32",
    }
    settings |= {"representation": {"pooling": "mean", "retrieval": {"layer": 1, "pooling": "mean", "prefix": ""}}}
    run = loop.Run(
        start=start,
        data=[data["en"]],
        output=tmp_path / "out" / "checkpoint.json",
        settings=TrainingSettings(
            epochs=15, batch_size=16, learning_rate=3e-3, max_length=32, dropout=0.0, evaluations=1
        ),
        representation=REPRESENTATION,
        seed=0,
        prune=True,
        chance=0.0,
        identity={},
    )
    loop.train(run)
    about = read_json(run.output)
    assert about["form_options"] == {"layer": -1}
    assert about["dev"]["score"] >= 60  # of sixteen candidates; by chance 6
    scores = {}
    for name, model in (("before", start), ("after", run.output)):
        index = tmp_path / name / "predictions.json"
        predict(model, data, index, PredictionSettings.of(settings), identity={})
        cell = Cell("tiny", "none", "pairs", 0, "de")
        scores[name] = evaluate(cell, data["de"], index, tmp_path / name / "cell.json", family="", contaminated=False)
    assert scores["after"] > scores["before"] + 30


# Which layer


@pytest.mark.parametrize(("model", "layers"), [("xlm-roberta-large", 24), ("mbert", 12), ("xlm-roberta-base", 12)])
def test_vectors_of_the_published_layers_are_those_of_xtremes_own_function(model: str, layers: int) -> None:
    """XTREME drops the embeddings before it counts layers; see benchmarks/upstream/retrieval_layer.py."""
    made = runpy.run_path(str(ROOT / "benchmarks/upstream/retrieval_layer.py"))
    (published,) = (one for one in read_json(ROOT / "tests/data/retrieval_layer.json") if one["layers"] == layers)
    definition = catalog.read().models[model].definition
    assert definition["layers"] == layers
    source: Any = SimpleNamespace(about={"special": {"pad": 0, "eos": None}, "token_types": False})
    nothing: Any = None
    network = TaskModel(made["encoder"](layers), source, Dense(None, 0)).eval()
    reads = retrieval.RetrievalForm(
        Meta("t", "de", "retrieval", [], ["mrr_at_20"], {}, "0", "none"), nothing, LIMITS, Representation.of(definition)
    )
    examples = [Example(number, [Input([1, *ids, 2])]) for number, ids in enumerate(made["SENTENCES"])]
    with torch.inference_mode():
        vectors = reads.predict(network, collate(examples, network.dense, torch.device("cpu"), token_types=False))
    expected = np.array(published["vectors"], dtype=np.float32)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(np.stack(vectors) - unit).max() < 1e-6


# The way through the pipeline


def settings() -> PredictionSettings:
    return PredictionSettings(LIMITS, REPRESENTATION, 512, True, "fp32")


def test_shared_candidates_are_computed_once_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = tiny.encoder(tmp_path / "model")
    data = translations(tmp_path / "data", ["de", "fi", "ar"])
    sizes = []
    run = prediction.run

    def counted(model: Any, examples: Any, tokens: int) -> Any:
        sizes.append(len(examples))
        return run(model, examples, tokens)

    monkeypatch.setattr(prediction, "run", counted)
    predict(start, data, tmp_path / "out" / "predictions.json", settings(), identity={})
    assert sizes == [16, 16, 16, 16]  # three languages' queries, and the candidates once
    for language, path in data.items():
        predict(start, {language: path}, tmp_path / language / "predictions.json", settings(), identity={})
        together = read_json(tmp_path / "out" / f"{language}.json")
        assert together == read_json(tmp_path / language / f"{language}.json")
        assert together["ids"] == [str(i) for i in range(16)]
        assert all(len(found) == 16 and len(set(found)) == 16 for found in together["predictions"])


def test_mining_from_files_to_a_cell(tmp_path: Path) -> None:
    """Pairs are the same sentence twice, distractors other sentences: found without any training."""
    folder = tmp_path / "bucc2018" / "de-en"
    folder.mkdir(parents=True)
    for split, texts in (("sample", tiny.SENTENCES[:8]), ("training", tiny.SENTENCES[4:])):
        half = len(texts) // 2
        mine_, theirs = texts[: half + 2], texts[:half] + texts[half + 2 :]
        (folder / f"de-en.{split}.de").write_text("".join(f"de-{i}\t{t}\n" for i, t in enumerate(mine_)))
        (folder / f"de-en.{split}.en").write_text("".join(f"en-{i}\t{t}\n" for i, t in enumerate(theirs)))
        (folder / f"de-en.{split}.gold").write_text("".join(f"de-{i}\ten-{i}\n" for i in range(half)))
    definition = {**catalog.read().targets["bucc2018"].definition, "languages": {"de": {"dev": 6, "test": 8}}}
    definition = {**definition, "source": {**definition["source"], "root": str(tmp_path)}}
    data = tmp_path / "de.parquet"
    rows = list(files.read(definition, "de"))
    about = tiny.about("bucc2018", "de", ["bucc_f1"])
    meta = write_rows(data, "mining", rows, about, labels=[], expected={"dev": 6, "test": 8})
    assert meta.counts == {"dev": 6, "test": 8}
    start, index = tiny.encoder(tmp_path / "model"), tmp_path / "out" / "predictions.json"
    predict(start, {"de": data}, index, settings(), identity={})
    found = read_json(tmp_path / "out" / "de.json")
    assert found["ids"] == [f"de-{i}" for i in range(8)]
    assert [p[0] if p else None for p in found["predictions"][:6]] == [f"en-{i}" for i in range(6)]
    output = tmp_path / "cell.json"
    evaluate(Cell("tiny", "none", "bucc2018", 0, "de"), data, index, output, family="", contaminated=False)
    table = pq.read_table(output.with_suffix(".parquet")).to_pydict()
    wrong = sum(bool(p) for p in found["predictions"][6:])
    assert sum(table["bucc_f1.tp"]) == 6
    assert sum(table["bucc_f1.fp"]) == wrong
    assert read_json(output)["score"] == pytest.approx(100 * 12 / (12 + wrong))
    with pytest.raises(UserError, match="no query of split 'test' has a gold id"):
        hidden = [{**r, "gold": []} if r["split"] == "test" else r for r in rows]
        write_rows(data, "mining", hidden, about, labels=[])


def test_candidates_need_not_be_read(tmp_path: Path) -> None:
    path = translations(tmp_path, ["en"])["en"]
    assert len(read_rows(path, "test")) == 32
    assert [r["side"] for r in read_rows(path, "test", candidates=False)] == ["query"] * 16
    assert len(read_rows(path, candidates=False)) == 64 + 16 + 16


# Files as published


def test_bitext_names_file_and_line(tmp_path: Path) -> None:
    for name, text in (("de", "a\teins\nb zwei\n"), ("en", "x\tone\n"), ("gold", "a\tx\n")):
        (tmp_path / name).write_text(text)
    read = files.FORMATS["bitext"].rows
    paths = [tmp_path / name for name in ("de", "en", "gold")]
    with pytest.raises(UserError, match=r"de, line 2: 'b zwei' is not two columns"):
        list(read(paths, {}))
    paths[0].write_text("a\teins\nb\tzwei\twei\n")
    assert [r["gold"] for _, r in read(paths, {})] == [["x"], [], []]
    paths[2].write_text("c\tx\n")
    with pytest.raises(UserError, match=r"gold: the query 'c' is not in"):
        list(read(paths, {}))


def test_sentences_of_english() -> None:
    text = 'Dr. J. Smith came. "Who?" asked Mr. Jones of the U.S. army! In 1990 (No. 3) it cost 3.5 dollars.'
    assert [text[a:b] for a, b in spans(text)] == [
        "Dr. J. Smith came.",
        '"Who?" asked Mr. Jones of the U.S. army!',
        "In 1990 (No. 3) it cost 3.5 dollars.",
    ]
    assert spans("") == [(0, 0)]
    for given in (text, *tiny.SENTENCES):
        assert "".join("".join(given[a:b] for a, b in spans(given)).split()) == "".join(given.split())


def test_questions_find_their_sentence_and_share_it(tmp_path: Path) -> None:
    context = "Rome is old. It has hills."
    questions = [("1", "How old?", 8, "old"), ("2", "What is old?", 0, "Rome"), ("3", "What has it?", 20, "hills")]
    qas = [{"id": i, "question": q, "answers": [{"text": a, "answer_start": s}]} for i, q, s, a in questions]
    (tmp_path / "train.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}))
    part = {"format": "squad_sentences", "path": "train.json"}
    source = {
        "type": "files",
        "root": str(tmp_path),
        "splits": {"train": {**part, "take": 2}, "dev": {**part, "skip": 2}},
    }
    definition = {"kind": "retrieval", "languages": {"en": {"train": 2, "dev": 1}}, "source": source}
    found = [(r["split"], r["side"], r["id"], r["text"], r["gold"]) for r in files.read(definition, "en")]
    assert found == [
        ("train", "query", "1", "How old?", ["1_0"]),
        ("train", "candidate", "1_0", f"Rome is old.{context}", []),
        ("train", "query", "2", "What is old?", ["1_0"]),
        ("dev", "query", "3", "What has it?", ["1_1"]),
        ("dev", "candidate", "1_1", f"It has hills.{context}", []),
    ]


def test_a_sentence_and_its_paragraph_are_joined_as_xtreme_r_does() -> None:
    assert joined("It has\nhills.", "Rome is old. It has\nhills.") == "It hashills.Rome is old. It hashills."


def test_the_sentences_of_all_languages_are_the_pool(tmp_path: Path) -> None:
    for language, context, breaks, start in (
        ("en", "Rome is old. It has hills.", [[0, 12], [13, 26]], 20),
        ("de", "Rom hat Hügel.", [[0, 14]], 8),
    ):
        answers = [{"text": context[start : start + 5], "answer_start": start}]
        paragraph = {"context": context, "sentence_breaks": breaks}
        qas = [{"id": "q", "question": f"{language}?", "answers": answers}]
        (tmp_path / f"{language}.json").write_text(json.dumps({"data": [{"paragraphs": [{**paragraph, "qas": qas}]}]}))
    paths = [tmp_path / "de.json", tmp_path / "de.json", tmp_path / "en.json"]
    read = files.FORMATS["xquad_r"].rows
    assert [(r["side"], r["id"], r["text"], r["gold"]) for _, r in read(paths, {})] == [
        ("query", "q", "de?", ["de_1_0", "en_1_1"]),
        ("candidate", "de_1_0", "Rom hat Hügel.Rom hat Hügel.", []),
        ("candidate", "en_1_0", "Rome is old.Rome is old. It has hills.", []),
        ("candidate", "en_1_1", "It has hills.Rome is old. It has hills.", []),
    ]
    assert len({number for number, _ in read(paths, {})}) == 4
    paths[0].write_text(paths[0].read_text().replace('"answer_start": 8', '"answer_start": 99'))
    with pytest.raises(UserError, match=r"question 1: no sentence holds the answer of question 'q'"):
        list(read(paths, {}))


def test_mentions_entities_and_pairs(tmp_path: Path) -> None:
    text = "One.\nThe {old} verdict for Smith came. Two."
    context = {"language": "en", "text": text, "sentence_spans": [{"start": 0, "end": 4}, {"start": 5, "end": 38}]}
    span = {"start": 27, "end": 32, "text": "Smith"}
    assert marked(context, span) == "Smith: The (old) verdict for { Smith } came."
    mention = {"example_id": "m1", "entity_id": "Q1", "mention_span": span}
    description = "Smith is.\n A smith. Rest"
    entity = {
        "entity_id": "Q1",
        "description": description,
        "sentence_spans": [{"start": 0, "end": 9}, {"start": 11, "end": 19}],
    }
    lines: dict[str, list[dict[str, Any]]] = {
        "wikinews_mentions-test": [
            {"context": context, "mentions": [mention]},
            {"context": {**context, "language": "de"}, "mentions": []},
        ],
        "candidate_set_entities": [entity, {**entity, "entity_id": "Q2"}],
        "wikipedia_pairs-train": [{"contextual_mention": {"context": context, "mention": mention}, "entity": entity}]
        * 2,
        "wikipedia_pairs-dev": [{"contextual_mention": {"context": context, "mention": mention}, "entity": entity}],
    }
    (tmp_path / "mewslix").mkdir()
    for name, values in lines.items():
        (tmp_path / "mewslix" / f"{name}.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    definition = catalog.read().targets["mewslix"].definition
    definition = {**definition, "source": {**definition["source"], "root": str(tmp_path)}}
    marked_text, entity_text = "Smith: The (old) verdict for { Smith } came.", "Smith is. A smith."
    assert [(r["split"], r["side"], r["id"], r["text"], r["gold"]) for r in files.read(definition, "en")] == [
        ("train", "query", "0", marked_text, ["Q1"]),
        ("train", "candidate", "Q1", entity_text, []),
        ("train", "query", "1", marked_text, ["Q1"]),
        ("dev", "query", "0", marked_text, ["Q1"]),
        ("dev", "candidate", "Q1", entity_text, []),
        ("test", "query", "m1", marked_text, ["Q1"]),
        ("test", "candidate", "Q1", entity_text, []),
        ("test", "candidate", "Q2", entity_text, []),
    ]
    with pytest.raises(UserError, match=r"line 1: 'entity_id' is missing; this is no line of Mewsli-X"):
        path = tmp_path / "x.jsonl"
        path.write_text("{}\n")
        list(files.FORMATS["mewslix"].rows(path, {}))


@pytest.mark.parametrize(
    ("name", "languages", "kind"),
    [("bucc2018", 4, "mining"), ("lareqa", 11, "retrieval"), ("mewslix", 11, "retrieval")],
)
def test_the_catalogue_reads_all_languages_of_its_benchmark(name: str, languages: int, kind: str) -> None:
    task = catalog.read().targets[name]
    assert task.kind == kind
    assert [len(found) for found in task.benchmarks.values()] == [languages]
    assert set(next(iter(task.benchmarks.values()))) == set(task.languages)
    files.check(task.definition)
