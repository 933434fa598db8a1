"""Every metric beside the code that published it: random cases, and XTREME's own mock submission."""

from __future__ import annotations

import abc
import ast
import random
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from measuring import byte_tokenizer
from sklearn.metrics import f1_score

from stiltsweep import catalog
from stiltsweep.kinds import Limits, Representation, form
from stiltsweep.kinds.classification import ClassificationText
from stiltsweep.kinds.span_qa import SpanText
from stiltsweep.kinds.tagging import TaggingText
from stiltsweep.metrics import METRICS, metric
from stiltsweep.metrics.answers import pad_punctuation
from stiltsweep.metrics.ranking import REVERSE
from stiltsweep.metrics.spans import chunks
from stiltsweep.records import Meta
from upstream import official

CLOSE = 1e-9
"""Points: what floating point leaves between two ways of adding."""


class Agreement(NamedTuple):
    """One line of the table."""

    metric: str
    oracle: str
    cases: int
    differences: int
    reason: str = ""


def _pair(ours: str, theirs: str) -> str:
    return f"`{ours}` against {theirs}"


def summed(name: str, pairs: Sequence[tuple[Mapping[str, Any], Any]], language: str = "en") -> np.ndarray:
    """Return the summed statistics of (row, prediction) pairs."""
    rule = metric(name)
    statistics = [rule.statistics(row, one, language) for row, one in pairs]
    return np.asarray(np.sum(statistics, axis=0, dtype=np.float64))


def score(name: str, pairs: Sequence[tuple[Mapping[str, Any], Any]], language: str = "en") -> float:
    """Return our score, 0 where nothing is counted (as the scripts have it)."""
    return float(np.nan_to_num(METRICS[name].score(summed(name, pairs, language))))


def _differ(ours: Sequence[float], theirs: Sequence[float]) -> int:
    return sum(abs(a - b) > CLOSE for a, b in zip(ours, theirs, strict=True))


# Classes


def classes(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Accuracy against XTREME's, the averages of F1 against scikit-learn's."""
    xtreme = official.functions(folder / "xtreme/evaluate.py", ["accuracy"])
    ours: dict[str, list[float]] = {"accuracy": [], "macro_f1": [], "weighted_f1": []}
    theirs: dict[str, list[float]] = {name: [] for name in ours}
    for _ in range(500):
        labels = [f"l{n}" for n in range(rng.randint(2, 8))]
        gold = [rng.choice(labels) for _ in range(rng.randint(1, 40))]
        found = [rng.choice([one, rng.choice(labels)]) for one in gold]
        pairs = [({"label": one}, other) for one, other in zip(gold, found, strict=True)]
        ours["accuracy"].append(score("accuracy", pairs))
        theirs["accuracy"].append(xtreme.accuracy(gold, found)["accuracy"])
        for name in ("macro_f1", "weighted_f1"):
            rule = metric(name, labels)
            sums = np.sum([rule.statistics(row, one, "en") for row, one in pairs], axis=0)
            ours[name].append(float(rule.score(sums)))
            theirs[name].append(100 * f1_score(gold, found, average=name[:-3], zero_division=0))
    for name, oracle in (
        ("accuracy", "XTREME's evaluate.py"),
        ("macro_f1", "scikit-learn"),
        ("weighted_f1", "scikit-learn"),
    ):
        yield Agreement(f"`{name}`", oracle, len(ours[name]), _differ(ours[name], theirs[name]))


# Tags

UPOS = [
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "INTJ",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SCONJ",
    "SYM",
    "VERB",
    "X",
]
LIKE_POSITIONS = [
    "B",
    "I",
    "E",
    "S",
    "O",
    "BANANA",
    "IN",
    "EX",
    "OTHER",
    "_",
    ".",
    ",",
    "-LRB-",
    "WP$",
    "NOUN-x",
    "I-PER",
    "B-PER",
    "S-PER",
    "E-PER",
    "O-O",
    "B-",
    "E-",
]
NAMES = ["O", *(f"{position}-{kind}" for position in "BIES" for kind in ("PER", "LOC", "ORG"))]
HYPHENS = ["O", "B-art-film", "I-art-film", "B-film", "I-film", "B-car-film", "I-car-film"]
_SEQEVAL = """
from seqeval.metrics import accuracy_score, f1_score
answer = [[100 * f1_score(*one), 100 * accuracy_score(*one)] for one in job]
"""


def _corpora(tags: Sequence[str], number: int, rng: random.Random) -> list[tuple[list[list[str]], list[list[str]]]]:
    found = []
    for _ in range(number):
        gold = [[rng.choice(tags) for _ in range(rng.randint(1, 12))] for _ in range(rng.randint(1, 5))]
        found.append((gold, [[rng.choice([tag, rng.choice(tags)]) for tag in one] for one in gold]))
    return found


def tags(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Chunks against both versions of seqeval, each corpus a case."""
    old, new = "seqeval 0.0.12 (XTREME's)", "seqeval 1.2.2"
    without = "1.2.2 takes a bare tag's first letter off: CCONJ and SCONJ are one type to it"
    hyphens = "the type of `B-art-film` is `film` in 0.0.12, `art-film` here and in 1.2.2"
    sets = [
        ("bare tags, the 17 of UD", UPOS, (old, ""), (new, without)),
        ("bare tags that begin with B, I, E, S, O", [*UPOS, *LIKE_POSITIONS], (old, ""), (new, without)),
        ("IOB2 and IOBES, sequences that no annotator wrote among them", NAMES, (old, ""), (new, "")),
        ("types with a hyphen", HYPHENS, (old, hyphens), (new, "")),
    ]
    exact, total = 0, 0
    for what, known, *oracles in sets:
        corpora = _corpora(known, 3000, rng)
        pairs = [[({"tags": a}, b) for a, b in zip(*corpus, strict=True)] for corpus in corpora]
        ours = [score("span_f1", one) for one in pairs]
        for oracle, reason in oracles:
            version = official.asked(_SEQEVAL, corpora, *([folder / "seqeval-0.0.12"] if oracle == old else []))
            yield Agreement(f"`span_f1`, {what}", oracle, len(ours), _differ(ours, [f1 for f1, _ in version]), reason)
        exact += _differ([score("token_accuracy", one) for one in pairs], [one for _, one in version])
        total += len(pairs)
    yield Agreement("`token_accuracy`", f"{new}'s accuracy_score", total, exact)


def names(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Typed strings against mT5's span_f1, each corpus of written sentences a case."""
    theirs = official.mt5_metrics(folder)
    for words, reason in (
        (["Ada", "Paris", "von", "U.S.", "灯", "9"], ""),
        (["Ada", "Paris", "12:30", "a:b", "灯"], "mT5's drops strings whose text holds a colon, from both sides"),
    ):
        differences, cases = 0, 2000
        for _ in range(cases):
            pairs, gold, written = [], [], []
            for _ in range(rng.randint(1, 4)):
                tokens = [rng.choice(words) for _ in range(rng.randint(1, 8))]
                made = [[_tagging(rng, len(tokens)), tokens] for _ in range(2)]
                rows = [{"tokens": tokens, "tags": one, "space_after": None} for one, tokens in made]
                texts = [_TEXT.target(row) for row in rows]
                gold.append(texts[0])
                written.append(rng.choice([*texts, texts[1].replace("PER", "LOC"), "no names"]))
                pairs.append((rows[0], _TEXT.parse(rows[0], written[-1])))
            expected = 100 * theirs.span_f1(gold, written)["span_f1"]
            # mT5's adds 1e-13 to every denominator.
            differences += abs(score("surface_f1", pairs) - expected) > 1e-6
        what = "`surface_f1`, strings with a colon" if reason else "`surface_f1`"
        yield Agreement(what, "multilingual-t5's span_f1", cases, differences, reason)


def _meta(kind: str, labels: Sequence[str] = (), metrics: Sequence[str] = ("span_f1",), **text: Any) -> Meta:
    return Meta("task", "xx", kind, list(labels), list(metrics), {}, "", "none", text2text=text)


_TEXT = TaggingText(_meta("tagging", ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))


def _tagging(rng: random.Random, length: int) -> list[str]:
    found: list[str] = []
    while len(found) < length:
        kind, width = rng.choice(["PER", "LOC", "", ""]), rng.randint(1, 3)
        found += [f"B-{kind}", *[f"I-{kind}"] * (width - 1)] if kind else ["O"]
    return found[:length]


# Answers

_WORDS = {
    "en": "the a an The light A. U.S. kitchen, x-y 1,000 “quoted” I'm",
    "es": "el la Los un luz cocina ¿qué? niño, 3.5 unas",
    "de": "der die Das ein Küche, Licht-schalter groß eines 1.000",
    "vi": "của là những đèn bếp, cái chiếc nhà Việt",
    "ar": "ال الضوء في المطبخ، قال للضوء ٣ هل؟ ال، والمطبخ",
    "hi": "रसोई की बत्ती, है। क्या? १२ और",
    "zh": "灯 厨房的灯， 打开 《书》 ABC 3号 的",
    "th": "เปิดไฟ ใน ห้องครัว ๓ ฯลฯ",
    "ru": "свет на кухне, «да» 5-й ёж",
    "tr": "Işık İstanbul'da mutfak, IŞIK iyi",
}
_SPACES = [" ", " ", " ", "", "  ", "\t", "\u00a0", "\u3000", "\n", "\u200b"]


def _answer(language: str, rng: random.Random) -> str:
    words = _WORDS[language].split()
    parts = (rng.choice(words) + rng.choice(_SPACES) for _ in range(rng.randint(0, 5)))
    made = "".join(parts) + rng.choice(["", "", ".", "!", "—"])
    return rng.choice([made, made, made.upper(), unicodedata.normalize("NFD", made)])


def answers(folder: Path, rng: random.Random, each: int = 1000) -> Iterator[Agreement]:
    """Exact match and F1 of single answers, each a case, against the scripts of SQuAD, MLQA, T5 and mT5."""
    squad = official.module("third_party.evaluate_squad", folder / "xtreme")
    mlqa = official.module("third_party.evaluate_mlqa", folder / "xtreme")
    t5, mt5 = official.t5_answers(folder), official.mt5_metrics(folder)
    found: dict[tuple[str, str], list[int]] = {}
    for language in _WORDS:
        cases = []
        for _ in range(each):
            golds = [_answer(language, rng) for _ in range(rng.randint(1, 3))]
            cases.append((golds, rng.choice([*golds, _answer(language, rng), f"{golds[0]} {_answer(language, rng)}"])))
        ours = {rules: _scored(rules, cases, language) for rules in ("squad", "mlqa")}
        oracles: dict[tuple[str, str], list[tuple[float, float]]] = {
            ("squad", "XTREME's evaluate_squad.py"): [_official(squad.evaluate, *case) for case in cases],
            ("squad", "T5's qa_utils"): [
                _two(t5.qa_metrics([list(map(t5.normalize_squad, golds))], [t5.normalize_squad(one)]), "em")
                for golds, one in cases
            ],
        }
        if language in mlqa.WHITESPACE_LANGS + mlqa.MIXED_SEGMENTATION_LANGS:
            oracles["mlqa", "XTREME's evaluate_mlqa.py"] = [_official(mlqa.evaluate, *case, language) for case in cases]
            # mT5's builds the set of punctuation anew at every call.
            at_once = [_two(mt5.mlqa([golds for golds, _ in cases], [one for _, one in cases], lang=language), "em")]
            count = found.setdefault(("`mlqa_em`, `mlqa_f1`, sets of answers", "multilingual-t5's mlqa"), [0, 0])
            means = (fmean(em for em, _ in ours["mlqa"]), fmean(f1 for _, f1 in ours["mlqa"]))
            count[0] += 2
            count[1] += sum(abs(a - b) > 1e-6 for a, b in zip(means, at_once[0], strict=True))
        for (rules, oracle), theirs in oracles.items():
            count = found.setdefault((f"`{rules}_em`, `{rules}_f1`, `{rules}_mean`", oracle), [0, 0])
            for mine, one in zip(ours[rules], theirs, strict=True):
                count[0] += 1
                count[1] += max(abs(mine[0] - one[0]), abs(mine[1] - one[1])) > CLOSE
    for (what, oracle), (cases_, differences) in found.items():
        yield Agreement(what, oracle, cases_, differences)
    yield Agreement(
        "`mlqa_*` in other languages than en es hi vi de ar zh", "evaluate_mlqa.py", 0, 0,
        "the script stops there; here such a language has no articles",
    )  # fmt: skip
    yield Agreement("`neutral_em`, `neutral_f1`", "none: they are ours", 0, 0, "for comparing languages")


def _scored(rules: str, cases: Sequence[tuple[list[str], str]], language: str) -> list[tuple[float, float]]:
    """Return exact match and F1 of each case, and check that the mean of both is their mean."""
    found = []
    for golds, written in cases:
        row = {"answers": [{"text": text} for text in golds]}
        of = {part: METRICS[f"{rules}_{part}"].statistics(row, written, language) for part in ("em", "f1", "mean")}
        right = of["mean"] == (1.0, of["em"][1], of["f1"][1])
        found.append((100 * of["em"][1], 100 * of["f1"][1] if right else -1.0))
    return found


def _two(scores: Mapping[str, float], exact: str) -> tuple[float, float]:
    return float(scores[exact]), float(scores["f1"])


def _official(evaluate: Callable[..., Any], golds: Sequence[str], written: str, *more: str) -> tuple[float, float]:
    question = {"id": "q", "answers": [{"text": text} for text in golds]}
    return _two(evaluate([{"paragraphs": [{"qas": [question]}]}], {"q": written}, *more), "exact_match")


# Search


def ranks(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Ranked candidates of a query against the functions of LAReQA and Mewsli-X."""
    lareqa = official.module("utils_lareqa", folder / "xtreme/third_party")
    mewslix = official.module("third_party.utils_mewslix", folder / "xtreme")
    average, reciprocal, cases = 0, 0, 4000
    for _ in range(cases):
        ranked = [f"c{n}" for n in rng.sample(range(40), rng.randint(1, 40))]
        gold = [f"c{n}" for n in rng.sample(range(40), rng.randint(1, 30))]
        expected = 100 * lareqa.average_precision_at_k(gold, ranked, 20)
        average += abs(score("map_at_20", [({"gold": gold}, ranked)]) - expected) > CLOSE
        expected = 100 * mewslix.evaluate({"q": gold[:1]}, {"q": ranked}, k=20)
        reciprocal += abs(score("mrr_at_20", [({"gold": gold[:1]}, ranked)]) - expected) > CLOSE
    yield Agreement("`map_at_20`", "XTREME-R's utils_lareqa", cases, average)
    yield Agreement("`mrr_at_20`", "XTREME-R's utils_mewslix", cases, reciprocal)


def _search(kind: str, metrics: Sequence[str]) -> Any:
    nothing: Any = SimpleNamespace()
    limits, how = Limits(8, 2, 8), Representation("mean", -1, "mean", "")
    return form(_meta(kind, metrics=metrics), nothing, interface="encoder", limits=limits, representation=how)


def _units(rng: np.random.Generator, number: int, width: int) -> np.ndarray:
    made = rng.normal(size=(number, width)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True))


def tatoeba(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Nearest sentences of random vectors, each list of sentences a case; XTREME asks with English."""
    theirs = official.module("utils_retrieve", folder / "xtreme/third_party")
    accuracy = official.functions(folder / "xtreme/evaluate.py", ["accuracy"]).accuracy
    kind = _search("retrieval", [REVERSE, "retrieval_accuracy"])
    differences, other, cases = 0, 0, 400
    for case in range(cases):
        draws = np.random.default_rng(case)
        number = rng.randint(2, 30)
        foreign = _units(draws, number, 6)
        english = foreign + 0.5 * _units(draws, number, 6)
        english /= np.linalg.norm(english, axis=1, keepdims=True)
        rows = [
            *({"id": f"q{n}", "side": "query", "gold": [f"c{n}"]} for n in range(number)),
            *({"id": f"c{n}", "side": "candidate", "gold": []} for n in range(number)),
        ]
        found = kind.decode(rows, [], [*foreign, *english])[:number]
        pairs = list(zip(rows, found, strict=False))
        for name, order in ((REVERSE, (foreign, english)), ("retrieval_accuracy", (english, foreign))):
            nearest = theirs.similarity_search(*(one.copy() for one in order), 6, normalize=True)[:, 0].tolist()
            wrong = abs(score(name, pairs) - accuracy(list(range(number)), nearest)["accuracy"]) > CLOSE
            differences, other = differences + wrong * (name == REVERSE), other + wrong * (name != REVERSE)
    yield Agreement(f"`{REVERSE}`", "XTREME's similarity_search, English asks", cases, differences)
    yield Agreement("`retrieval_accuracy`", "the same, the language asks", cases, other)


def bucc(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Mined pairs of random vectors and repeated sentences, each pair of corpora a case."""
    theirs = official.module("utils_retrieve", folder / "xtreme/third_party")
    kind = _search("mining", ["bucc_f1"])
    differences, cases = 0, 150
    for case in range(cases):
        draws = np.random.default_rng(case)
        scores = {}
        rows: list[dict[str, Any]] = []
        vectors: list[np.ndarray] = []
        with tempfile.TemporaryDirectory() as temporary, official.silent():
            threshold = None
            for split in ("dev", "test"):
                made = _two_corpora(split, draws, rng)
                rows += made[0]
                vectors += made[1]
                files = _bucc_files(Path(temporary) / split, *made)
                sides = [
                    np.stack([v for row, v in zip(*made, strict=True) if row["side"] == side])
                    for side in ("query", "candidate")
                ]
                theirs.mine_bitext(*sides, files["src"], files["tgt"], files["found"])
                result = theirs.bucc_eval(
                    files["found"], files["gold"], files["src"], files["tgt"], files["src.id"], files["tgt.id"], None,
                    threshold,
                ) if split == "dev" else _at(theirs, files, threshold)  # fmt: skip
                threshold = threshold if threshold is not None else result["best-threshold"]
                scores[split] = result["F1"]
        found = kind.decode(rows, [], vectors)
        pairs = [(row, one) for row, one in zip(rows, found, strict=True) if row["split"] == "test" and one is not None]
        differences += abs(score("bucc_f1", pairs) - scores["test"]) > CLOSE
    yield Agreement(
        "`bucc_f1`, with mining and the threshold of dev", "XTREME's mine_bitext and bucc_eval", cases, differences
    )


def _two_corpora(
    split: str, draws: np.random.Generator, rng: random.Random
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return rows and vectors of sentences, a third of them with a translation, some said twice."""
    rows: list[dict[str, Any]] = []
    vectors: list[np.ndarray] = []
    queries = _units(draws, 40, 8)
    for n in range(40):
        again = rows[-1] if rows and rng.random() < 0.1 else None
        rows.append(
            {
                "id": f"q{n}",
                "side": "query",
                "split": split,
                "text": f"q {split} {n}",
                "gold": [f"c{n}"] if n < 16 else [],
            }
        )
        vectors.append(vectors[-1] if again else queries[n])
        if again:
            rows[-1]["text"] = again["text"]
    for n in range(50):
        vector = queries[n] + 0.6 * _units(draws, 1, 8)[0] if n < 16 else _units(draws, 1, 8)[0]
        vectors.append(vector / np.linalg.norm(vector))
        rows.append({"id": f"c{n}", "side": "candidate", "split": split, "text": f"c {split} {n}", "gold": []})
    return rows, [np.asarray(one, dtype=np.float32) for one in vectors]


def _bucc_files(folder: Path, rows: Sequence[Mapping[str, Any]], vectors: Sequence[Any]) -> dict[str, str]:
    folder.mkdir()
    texts = {"src": [], "tgt": [], "src.id": [], "tgt.id": [], "gold": []}  # type: dict[str, list[str]]
    for row in rows:
        side = "src" if row["side"] == "query" else "tgt"
        texts[side].append(row["text"])
        texts[f"{side}.id"].append(row["id"])
        texts["gold"] += [f"{row['id']}\t{one}" for one in row["gold"]]
    for name, lines in texts.items():
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return {name: str(folder / name) for name in (*texts, "found")}


def _at(theirs: Any, files: Mapping[str, str], threshold: float | None) -> dict[str, float]:
    """Return the F1 of pairs at dev's threshold, by XTREME's own reader and evaluate.py's rule."""
    found = theirs.read_candidate2score(files["found"], files["src"], files["tgt"], files["src.id"], files["tgt.id"])
    pairs = set(theirs.bucc_extract(found, threshold, None))
    gold = set(Path(files["gold"]).read_text(encoding="utf-8").splitlines())
    hits = len(gold & pairs)
    return {"F1": 100 * 2 * hits / (len(gold) + len(pairs)) if hits else 0.0}


# What models read and write


_POOL = [chr(n) for n in range(0x20, 0x3000) if chr(n).isprintable() or chr(n).isspace()]
_POOL += list(" \t\n\u00a0\u200b\u3000\ufeff，。！灯ไฟ\u0e33é_9") * 60


def _any(rng: random.Random) -> str:
    return "".join(rng.choice(_POOL) for _ in range(rng.randint(1, 30)))


def texts(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Inputs and targets of text-to-text models, of random characters, against multilingual-t5's preprocessors."""
    theirs = official.mt5_preprocessors(folder)
    oracle = "multilingual-t5's preprocessors, RE2"
    everything = catalog.read()
    xnli, panx, xquad = (everything.task(name).definition["text2text"] for name in ("xnli", "panx", "xquad"))
    labels = list(everything.task("xnli").definition["labels"])
    wrong, cases = {"padded punctuation": 0, "XQuAD's": 0, "WikiANN's": 0, "XNLI's": 0}, 4000
    for _ in range(cases):
        a, b, c = (_any(rng) for _ in range(3))
        wrong["padded punctuation"] += pad_punctuation(a) != theirs._pad_punctuation(a)
        question = {"context": a, "question": b, "answers": [{"text": c, "start": 0}], "id": "q"}
        (made,) = theirs.xquad(official.Dataset([{**question, "answers": {"text": [c]}}])).examples
        form_ = SpanText(_meta("span_qa", metrics=["squad_f1"], **xquad))
        wrong["XQuAD's"] += (form_.source(question), form_.target(question)) != (made["inputs"], made["targets"])
        tokens = [word for word in " ".join((a, b)).split() if ":" not in word] or ["x"]
        tags = _tagging(rng, len(tokens))
        row = {"tokens": tokens, "tags": tags, "space_after": None}
        named = TaggingText(_meta("tagging", _TEXT.meta.labels, **panx))
        spans = [f"{kind}: {' '.join(tokens[i : j + 1])}" for kind, i, j in chunks(tags)] or ["None"]
        (made,) = theirs.wikiann(official.Dataset([{**row, "spans": spans, "langs": []}])).examples
        wrong["WikiANN's"] += (named.source(row), named.target(row)) != (made["inputs"], made["targets"])
        pair = {"text_a": a.strip(), "text_b": b.strip() or "-", "label": rng.choice(labels)}
        known = {"premise": pair["text_a"], "hypothesis": pair["text_b"], "label": labels.index(pair["label"])}
        (made,) = theirs.process_mnli(official.Dataset([known])).examples
        classified = ClassificationText(_meta("classification", labels, ["accuracy"], **xnli))
        wrong["XNLI's"] += (classified.source(pair), classified.target(pair)) != (made["inputs"], made["targets"])
    for what, differences in wrong.items():
        yield Agreement(f"what text-to-text models read and write: {what}", oracle, cases, differences)


def sentinels(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Ids of ByT5's sentinels against T5's rule on seqio's vocabulary of bytes."""
    words = official.functions(
        folder / "seqio/seqio/vocabularies.py", ["Vocabulary", "ByteVocabulary"], abc=abc, tf=None
    ).ByteVocabulary()
    first = official.functions(folder / "t5/t5/data/preprocessors.py", ["sentinel_id"]).sentinel_id(words)
    with tempfile.TemporaryDirectory() as temporary:
        ours = byte_tokenizer(Path(temporary)).sentinels
    differences = sum(one != first - n for n, one in enumerate(ours))
    yield Agreement("ByT5's sentinels", "T5's sentinel_id on seqio's ByteVocabulary", len(ours), differences)


# XTREME's mock submission

_OVERALL = """
import evaluate
answer = [evaluate.evaluate(*one) for one in job]
"""
_READ = """
import evaluate
answer = [evaluate.READER_FUNCTION[task](path) for task, path in job]
"""
_R_ALONE = ("xnli", "mlqa", "tydiqa", "mewslix")
"""Tasks of XTREME-R for whose languages the mock submission has files."""


def mock(folder: Path) -> Iterator[Agreement]:
    """Every number that evaluate.py gives XTREME's mock submission: languages, averages, groups, the overall score."""
    data = folder / "xtreme/mock_test_data"
    paths = folder / "seqeval-0.0.12", folder / "xtreme"
    with tempfile.TemporaryDirectory() as temporary:
        fewer = Path(temporary)
        for side in ("predictions", "labels"):
            (fewer / side).mkdir()
            for task in _R_ALONE:
                (fewer / side / task).symlink_to((data / side / task).resolve())
        jobs = [
            [str(root / "predictions"), str(root / "labels"), version]
            for root, version in ((data.resolve(), "xtreme"), (fewer, "xtreme-r"))
        ]
        answer = official.asked(_OVERALL, jobs, *paths)
        numbers = differences = 0
        for (overall, detailed), (_, _, version) in zip(answer, jobs, strict=True):
            ours, groups = {}, _groups(folder, version)
            for task, scores in detailed.items():
                ours[task] = _ours(data, task, list(next(iter(scores.values()))), paths)
                for name, expected in scores.items():
                    for code, one in (expected if isinstance(expected, dict) else {"": expected}).items():
                        mine = ours[task][name][code] if code else ours[task][name]
                        numbers, differences = numbers + 1, differences + int(abs(mine - one) > CLOSE)
            for name, expected in overall.items():
                members = list(ours) if name == "all_task" else groups[name]
                mine = fmean(ours[task]["avg_metric"] for task in members)
                numbers, differences = numbers + 1, differences + int(abs(mine - expected) > CLOSE)
    yield Agreement("all of XTREME's mock submission", "XTREME's evaluate.py, seqeval 0.0.12", numbers, differences)


def _groups(folder: Path, version: str) -> dict[str, list[str]]:
    name = {"xtreme": "XTREME_GROUP2TASK", "xtreme-r": "XTREME_R_GROUP2TASK"}[version]
    tree = ast.parse((folder / "xtreme/evaluate.py").read_text("utf-8"))
    found: dict[str, list[str]] = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
    )
    return found


def _ours(data: Path, task: str, codes: Sequence[str], paths: Sequence[Path]) -> dict[str, Any]:
    """Return of one task what evaluate.py returns, by our metrics alone."""
    found: dict[str, Any] = {}
    suffix = next((data / "labels" / task).iterdir()).suffix
    job = [
        [task, str(data / side / task / f"test-{code}{suffix}")] for code in codes for side in ("labels", "predictions")
    ]
    read = iter(official.asked(_READ, job, *paths))
    for code in codes:
        for name, value in _language(task, next(read), next(read), code).items():
            found.setdefault(name, {})[code] = value
    averages = {f"avg_{name}": fmean(values.values()) for name, values in found.items()}
    main = ["avg_exact_match", "avg_f1"] if "exact_match" in found else [f"avg_{next(iter(found))}"]
    return {**found, **averages, "avg_metric": fmean(averages[name] for name in main)}


def _language(task: str, gold: Any, predicted: Any, code: str) -> dict[str, float]:
    if task in ("pawsx", "xnli"):
        return {"accuracy": score("accuracy", [({"label": a}, b) for a, b in zip(gold, predicted, strict=True)])}
    if task == "tatoeba":
        queries = [[b, a == b] for a, b in zip(gold, predicted, strict=True)]
        return {"accuracy": score(REVERSE, [({}, {"candidates": [], "queries": [one]}) for one in queries])}
    if task in ("udpos", "panx", "bucc2018"):
        name = "bucc_f1" if task == "bucc2018" else "span_f1"
        if task == "bucc2018":
            right, found = (dict(line.split("\t") for line in lines) for lines in (gold, predicted))
            asked = [*right, *(one for one in found if one not in right)]
            pairs: list[Any] = [
                ({"gold": [right[q]] if q in right else []}, [found[q], 1.0] if q in found else []) for q in asked
            ]
        else:
            pairs = [({"tags": a}, b) for a, b in zip(gold, predicted, strict=True)]
        hits, wrong, lost = summed(name, pairs)
        precision = 100 * hits / (hits + wrong) if hits else 0.0
        return {"f1": score(name, pairs), "precision": precision, "recall": 100 * hits / (hits + lost) if hits else 0.0}
    if task == "mewslix":
        return {"map@20": score("mrr_at_20", [({"gold": gold[one]}, predicted.get(one, [])) for one in gold])}
    rules = "mlqa" if task == "mlqa" else "squad"
    questions = [qa for article in gold for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    pairs = [(qa, predicted[qa["id"]]) for qa in questions]
    return {"exact_match": score(f"{rules}_em", pairs, code), "f1": score(f"{rules}_f1", pairs, code)}


CHECKS: dict[str, tuple[Callable[..., Iterator[Agreement]], tuple[str, ...]]] = {
    "classes": (classes, ("xtreme",)),
    "tags": (tags, ("seqeval-0.0.12",)),
    "names": (names, ("multilingual-t5", "t5")),
    "answers": (answers, ("xtreme", "multilingual-t5", "t5")),
    "ranks": (ranks, ("xtreme",)),
    "tatoeba": (tatoeba, ("xtreme",)),
    "bucc": (bucc, ("xtreme",)),
    "texts": (texts, ("multilingual-t5", "re2")),
    "sentinels": (sentinels, ("t5", "seqio")),
    "mock": (lambda folder, rng: mock(folder), ("xtreme", "seqeval-0.0.12")),
}
"""Part -> what makes its lines, and what has to be there for it."""
