"""Probes: words and splits by hand, planted and absent features, vectors against single passes, tables and curves."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import entries
import numpy as np
import pytest
import threadpoolctl
import torch
import yaml
from running import snakemake

import tiny
from stiltsweep import config, feats, keep, records
from stiltsweep.errors import UserError
from stiltsweep.files import read_json, write_json
from stiltsweep.jobs import Jobs
from stiltsweep.models.batches import Example, collate
from stiltsweep.models.load import Source, build, vocabulary
from stiltsweep.models.tokenizer import Tokenizer
from stiltsweep.probing import curves, job, linear, representations, table, words
from stiltsweep.probing.table import Probe
from stiltsweep.resampling.draws import Counts
from stiltsweep.resources import Needs
from stiltsweep.sources import files
from stiltsweep.sources.columns import Columns, RowError
from stiltsweep.sweep import Sweep

ROOT = Path(__file__).parents[1]
SELECTION = words.Selection(("Case", "Number"), 400, 2000, 20, 10, 5)


# Features


def test_feats_by_hand() -> None:
    assert feats.parse("_") == {}
    assert feats.parse("Case=Acc,Dat|Gender=Masc|Number[psor]=Sing|Person=1") == {
        "Case": "Acc,Dat",
        "Gender": "Masc",
        "Number[psor]": "Sing",
        "Person": "1",
    }


@pytest.mark.parametrize(
    "text", ["", "Case", "Case=", "=Nom", "case=Nom", "Case=Nom|", "Case=Nom|Case=Acc", "{'Case': 'Nom'}"]
)
def test_what_is_not_written_as_feats_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Name=Value"):
        feats.parse(text)
    row = {"id": "1", "split": "test", "tokens": ["a"], "features": [text], "place": "x.conllu, line 3"}
    with pytest.raises(UserError, match=r"t/fi: x\.conllu, line 3 \(id '1'\): features: "):
        records.write_rows(tmp_path / "x.parquet", "word_features", [row], tiny.about("t", "fi", []), labels=[])


# Vámonos is vamos (let us go) and nos (us); al is a (to) and el (the), neither of which is below the other.
SPANISH = """# sent_id = s1
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\tMood=Imp|Number=Plur\t0\troot\t_\t_
2\tnos\tyo\tPRON\t_\tCase=Acc,Dat|Number=Plur\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\tDefinite=Def|Number=Sing\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\t_\tGender=Masc|Number=Sing\t1\tobl\t_\tSpaceAfter=No
5.1\tazul\tazul\tADJ\t_\tNumber=Sing\t_\t_\t5:amod\t_
6\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_

"""


def test_words_of_treebanks_with_multi_word_tokens_and_empty_nodes(tmp_path: Path) -> None:
    (tmp_path / "es.conllu").write_text(SPANISH)
    source = {"type": "files", "root": str(tmp_path), "format": "conllu", "splits": {"test": "es.conllu"}}
    definition: dict[str, Any] = {"kind": "word_features", "source": source, "languages": {"es": {"test": 1}}}
    (row,) = files.read(definition, "es")
    assert row["tokens"] == ["Vamos", "nos", "a", "el", "mar", "."]
    assert row["features"] == [
        *("Mood=Imp|Number=Plur", "Case=Acc,Dat|Number=Plur", "_", "Definite=Def|Number=Sing"),
        *("Gender=Masc|Number=Sing", "_"),
    ]
    assert row["contracted"] == [True, True, True, True, False, False]
    source["words"] = "fused"
    (row,) = files.read(definition, "es")
    assert records.text_and_spans(row)[0] == "Vámonos al mar."
    # nos is the object of vamos and keeps its case to itself; al has what el says.
    assert row["features"] == ["Mood=Imp|Number=Plur", "Definite=Def|Number=Sing", "Gender=Masc|Number=Sing", "_"]
    assert row["contracted"] == [True, True, False, False]


def fused(folder: Path, *words: str) -> str:
    """Return the features of a multi-word token; a word is features, head and relation, then come a noun and a verb."""
    parts = [*(word.split() for word in words), ["Case=Dat", f"{len(words) + 2}", "obl"], ["_", "0", "root"]]
    lines = [f"1-{len(words)}\tx" + "\t_" * 8]
    lines += [f"{n}\tx\tx\tX\t_\t{known}\t{head}\t{rel}\t_\t_" for n, (known, head, rel) in enumerate(parts, 1)]
    (folder / "x.conllu").write_text("# sent_id = 1\n" + "\n".join(lines) + "\n\n")
    source = {"type": "files", "root": str(folder), "format": "conllu", "splits": {"test": "x.conllu"}}
    definition = {"kind": "word_features", "source": {**source, "words": "fused"}, "languages": {"de": {"test": 1}}}
    (row,) = files.read(definition, "de")
    assert row["tokens"] == ["x", "x", "x"] and row["features"][1:] == ["Case=Dat", "_"]
    assert row["contracted"] == [True, False, False]
    return str(row["features"][0])


@pytest.mark.parametrize(
    ("words", "features"),
    [
        # im: in and dem, both of the noun after them.
        (("_ 3 case", "Case=Dat|Definite=Def|Gender=Masc|Number=Sing|PronType=Art 3 det"), "Case=Dat|Definite=Def|Gender=Masc|Number=Sing|PronType=Art"),
        # I'm: what both say alike stands once.
        (("Case=Nom|Number=Sing|Person=1 4 nsubj", "Mood=Ind|Number=Sing|Person=1 4 aux"), "Case=Nom|Mood=Ind|Number=Sing|Person=1"),
        # Two as near to the root that do not agree: the number is left out.
        (("Case=Nom|Number=Sing 4 nsubj", "Number=Plur|Tense=Past 4 aux"), "Case=Nom|Tense=Past"),
        # Turkish üstündeler: the copula adds tense, and does not change the number of the word it belongs to.
        (("Case=Loc|Number=Sing|Number[psor]=Sing 0 root", "Number=Plur|Tense=Pres 1 cop"), "Case=Loc|Number=Sing|Number[psor]=Sing|Tense=Pres"),
        # Hebrew: the article of a noun, with a subtype of its relation; the pronoun behind a noun is its possessor.
        (("Definite=Def 2 det:def", "Gender=Fem|Number=Sing 4 obj"), "Definite=Def|Gender=Fem|Number=Sing"),
        (("Gender=Fem|Number=Sing 4 obj", "_ 3 case:gen", "Gender=Masc|Number=Sing|Person=3 1 nmod:poss"), "Gender=Fem|Number=Sing"),
        # A preposition of a pronoun: the case of what governs adds to it, whichever is first.
        (("AdpType=Prep 2 case", "Number=Sing|Person=3 4 obl"), "AdpType=Prep|Number=Sing|Person=3"),
        (("_ 3 case", "_ 3 det"), "_"),
        # What is not written as features comes whole, for the record's check to refuse.
        (("Case=Nom 4 nsubj", "mood=Ind 4 aux"), "mood=Ind"),
    ],
)  # fmt: skip
def test_a_multi_word_token_has_the_features_of_its_words(
    tmp_path: Path, words: tuple[str, ...], features: str
) -> None:
    assert fused(tmp_path, *words) == features


def test_contracted_words_are_counted() -> None:
    rows = [{"contracted": [True, False, True]}, {"contracted": [False, True]}, {}]
    asked = [words.Word(0, 0), words.Word(0, 1), words.Word(1, 1)]
    assert words.count_contracted(asked, rows) == 2 and words.count_contracted([], rows) == 0
    # The hub's rows do not say.
    assert words.count_contracted([*asked, words.Word(2, 0)], rows) is None


def test_space_after_out_of_misc() -> None:
    spec = {"id": "i", "tokens": "t", "features": {"column": "f", "map": {"": "_"}, "others": "keep"}}
    mapping = Columns("word_features", {**spec, "space_after": {"column": "m", "lacks": "SpaceAfter=No"}}, "p")
    row = {
        "i": "1",
        "t": ["a", "b", "c"],
        "f": ["Case=Nom", None, "_"],
        "m": ["SpaceAfter=No", None, "Gloss=x|SpaceAfter=No"],
    }
    (found,) = mapping.records(row)
    assert (found["features"], found["space_after"]) == (["Case=Nom", "_", "_"], [False, True, False])
    with pytest.raises(UserError, match=r"p\.columns\.space_after\.lacks: .*Name the item alone"):
        Columns("word_features", {**spec, "space_after": {"column": "m", "lacks": ""}}, "p")
    with pytest.raises(RowError, match="no upstream column 'm'"):
        mapping.records({key: value for key, value in row.items() if key != "m"})


# Choosing words

STEMS = [a + b + c for a in "ktpsvm" for b in "aeiou" for c in "lnr"]


def sentences(count: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """Sentences of made-up nouns: -n is accusative, -ssa inessive; some of two, some of five words, and a full stop."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        tokens, features = [], []
        for _ in range(rng.choice([2, 5])):
            ending, case = rng.choice([("", "Nom"), ("n", "Acc"), ("ssa", "Ine")])
            stem = rng.choice(STEMS)
            tokens.append((stem if rng.random() < 0.8 else stem.capitalize()) + ending)
            features.append(f"Case={case}|Number={rng.choice(['Sing', 'Plur'])}")
        found.append(
            {
                "id": f"s{number}",
                "split": "test",
                "tokens": [*tokens, "."],
                "features": [*features, "_"],
                "space_after": [True] * (len(tokens) - 1) + [False, True],
            }
        )
    return found


def choose(rows: list[dict[str, Any]], selection: words.Selection = SELECTION) -> words.Language:
    chosen = words.choose_sentences(rows, selection.sentences)
    return words.choose_words(chosen, selection, [[True] * len(row["tokens"]) for row in chosen])


def tokens_of(language: words.Language, examples: words.Examples) -> list[str]:
    found = [language.words[at] for at in examples.words]
    return [language.sentences[word.sentence]["tokens"][word.place] for word in found]


def ids_of(language: words.Language, examples: words.Examples) -> set[str]:
    return {language.sentences[language.words[at].sentence]["id"] for at in examples.words}


def test_held_out_sentences_and_forms_are_held_out() -> None:
    language = choose(sentences())
    assert [feature.name for feature in language.features] == ["Case", "Number"]
    case = language.features[0]
    assert case.values == ("Acc", "Ine", "Nom")
    trained = {words.form(token) for token in tokens_of(language, case.train)}
    assert trained.isdisjoint(words.form(token) for token in tokens_of(language, case.unseen))
    for held_out in (case.test, case.unseen):
        assert ids_of(language, case.train).isdisjoint(ids_of(language, held_out))
    # The sets share no word, and are about as large as they should be.
    assert len(case.train.words) + len(case.test.words) + len(case.unseen.words) == len(language.words)
    share = sum(words.sentence_is_held_out(row["id"]) for row in language.sentences) / 300
    assert 0.22 < share < 0.38
    share = len(case.unseen.words) / (len(case.unseen.words) + len(case.test.words))
    assert 0.1 < share < 0.3
    labels = [case.values[label] for label in case.test.labels]
    endings = {"ssa": "Ine", "n": "Acc"}
    for token, label in zip(tokens_of(language, case.test), labels, strict=True):
        suffix = "ssa" if token.endswith("ssa") else "n" if len(token) == 4 and token.endswith("n") else ""
        assert label == endings.get(suffix, "Nom")


def test_the_choice_depends_on_ids_and_forms_alone() -> None:
    rows = sentences()
    shuffled = rows[:]
    random.Random(1).shuffle(shuffled)
    one, two = choose(rows), choose(shuffled)
    assert one.sentences == two.sentences and one.words == two.words
    for mine, its in zip(one.features, two.features, strict=True):
        assert np.array_equal(mine.train.words, its.train.words) and np.array_equal(
            mine.train.control, its.train.control
        )
    # Fewer sentences are some of the same, on the same side.
    fewer = choose(rows, replace(SELECTION, sentences=100))
    assert ids_of(fewer, fewer.features[0].train) <= ids_of(one, one.features[0].train)


def test_caps_and_minimums() -> None:
    rows = sentences()
    assert len(choose(rows, replace(SELECTION, words=50)).features[0].train.words) == 50
    found = choose(rows, replace(SELECTION, features=("Case", "Tense"), minimum_train=5000))
    n = len(choose(rows).features[0].train.words)
    assert found.skipped == {"Case": f"{n} words to train on, fewer than 5000", "Tense": "no word has it"}
    assert not found.features and not found.words
    assert choose(rows, replace(SELECTION, minimum_class=10**6)).skipped["Number"].startswith("fewer than two values")
    for row in rows[:1]:
        row["features"][0] = "Case=Abe"
    assert "Abe" not in choose(rows).features[0].values


def test_words_the_model_does_not_see_are_left_out() -> None:
    rows = words.choose_sentences(sentences(), 400)
    seen = [[place > 0 for place in range(len(row["tokens"]))] for row in rows]
    assert {word.place for word in words.choose_words(rows, SELECTION, seen).words} == {1, 2, 3, 4}


def test_control_labels_are_one_a_form_drawn_from_the_distribution_of_the_labels() -> None:
    tokens = [f"w{number}" for number in range(4000)]
    labels = words.control_labels([*tokens, *(token.upper() for token in tokens)], "Case", [70, 20, 10])
    assert labels[:4000] == labels[4000:]
    share = [labels.count(label) / len(labels) for label in range(3)]
    assert np.allclose(share, [0.7, 0.2, 0.1], atol=0.03)
    assert labels[:4000] != words.control_labels(tokens, "Number", [70, 20, 10])


# Probes of made-up vectors

WIDTH = 24


def made_up(rows: list[dict[str, Any]], plant: str) -> tuple[words.Language, np.ndarray[Any, Any]]:
    """Return three layers of noise, the middle one with something added: the feature, the form, or nothing."""
    language = choose(rows)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, len(language.words), WIDTH)).astype(np.float32)
    directions: dict[str, Any] = {}
    for at, word in enumerate(language.words):
        row = language.sentences[word.sentence]
        case = feats.parse(row["features"][word.place])["Case"]
        what = {"feature": case, "form": words.form(row["tokens"][word.place])}.get(plant)
        if what:
            vectors[1, at] += directions.setdefault(what, 3 * rng.normal(size=WIDTH))
    return language, vectors


def test_a_planted_feature_is_found_at_its_layer_and_nowhere_else() -> None:
    language, vectors = made_up(sentences(), "feature")
    scores = linear.score(vectors, language.features[0], language)
    chance = linear.majority(language.features[0])
    assert [score.layer for score in scores] == [0, 1, 2]
    assert scores[1].accuracy > 99 and scores[1].form_accuracy > 99  # type: ignore[operator]
    assert scores[1].selectivity > 45 and scores[1].selectivity_low > 40
    for layer in (0, 2):
        assert abs(scores[layer].accuracy - chance) < 10
        assert scores[layer].ci_low < scores[layer].accuracy < scores[layer].ci_high
        assert abs(scores[layer].selectivity) < 10
        assert scores[layer].selectivity_low < 0 < scores[layer].selectivity_high
    # Bits, of those that the values cost.
    cost = linear.entropy(language.features[0])
    assert 1.5 < cost < 1.6 and 0.95 * cost < scores[1].information < cost
    assert max(abs(scores[layer].information) for layer in (0, 2)) < 0.15
    # Number is drawn at random, so there is nothing to find at any layer.
    assert max(score.accuracy for score in linear.score(vectors, language.features[1], language)) < 62


def test_a_label_a_form_is_remembered_and_not_found() -> None:
    """Vectors that tell forms apart and nothing else: the random labels are as easy, and unseen forms a guess."""
    rows = sentences()
    labels = dict(zip(STEMS, random.Random(5).choices(["Nom", "Acc"], k=len(STEMS)), strict=True))
    for row in rows:
        row["tokens"] = [token[:3] for token in row["tokens"]]
        row["features"] = [f"Case={labels[t.casefold()]}" if t.casefold() in labels else "_" for t in row["tokens"]]
    language, vectors = made_up(rows, "form")
    score = linear.score(vectors, language.features[0], language)[1]
    assert score.accuracy > linear.majority(language.features[0]) + 5
    assert abs(score.selectivity) < 12
    assert score.form_accuracy is not None and score.form_accuracy < 70


def test_a_list_of_forms_by_hand() -> None:
    """Each form's commonest value in training; unknown forms and ties get what is commonest of all."""
    tokens = ["ab", "AB", "ab", "cd", "cd", "ef", "gh", "gh"]
    values = ["Nom", "Nom", "Acc", "Acc", "Nom", "Nom", "Acc", "Acc"]
    held_out = [("ab", "Nom"), ("cd", "Nom"), ("cd", "Acc"), ("zz", "Acc"), ("zz", "Nom"), ("gh", "Acc")]
    spread = [*zip(tokens, values, strict=True), *held_out]
    rows = [{"id": "0", "tokens": [token for token, _ in spread], "features": [], "split": "test"}]
    labels = np.array([["Acc", "Nom"].index(value) for _, value in spread], dtype=np.intp)
    at = np.arange(len(spread))
    train, test = (words.Examples(at[part], labels[part], labels[part]) for part in (slice(0, 8), slice(8, None)))
    feature = words.Feature("Case", ("Acc", "Nom"), train, test, test)
    language = words.Language(rows, [words.Word(0, place) for place in range(len(spread))], [feature], {})
    # Nom and Acc are four each, so what is commonest of all is Acc, the first: cd (a tie) and zz are Acc; ab is Nom.
    assert linear.lexicon(feature, language) == pytest.approx(100 * 4 / 6)


def test_the_list_of_forms_is_what_a_loop_finds() -> None:
    language, _ = made_up(sentences(), "nothing")
    feature = language.features[0]
    tokens = [language.sentences[word.sentence]["tokens"][word.place].casefold() for word in language.words]
    commonest = Counter(feature.train.labels.tolist())
    right = 0
    for at, label in zip(feature.test.words, feature.test.labels, strict=True):
        own = Counter(
            known
            for place, known in zip(feature.train.words, feature.train.labels.tolist(), strict=True)
            if tokens[place] == tokens[at]
        )
        right += max(range(len(feature.values)), key=lambda v: (own[v], commonest[v], -v)) == label
    assert linear.lexicon(feature, language) == pytest.approx(100 * right / len(feature.test.labels))


def test_words_that_share_a_piece_are_counted() -> None:
    pieces = [(0, 2), (2, 3), (2, 4), (4, 5), (0, 0), (5, 6), (5, 6)]
    encoded = representations.Encoded(Example(0, []), pieces)
    assert [encoded.shares(place) for place in range(7)] == [False, True, True, False, False, True, True]


def test_the_probe_is_scikit_learns_ridge_classifier() -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    language, vectors = made_up(sentences(120), "feature")
    feature = language.features[0]
    for layer in vectors:
        scaler = StandardScaler().fit(layer[feature.train.words].astype(np.float64))
        other = RidgeClassifier(alpha=linear.PENALTY * len(feature.train.words))
        answers = linear._answers(layer, feature)
        for name, found in (("labels", answers.test), ("control", answers.control)):
            other.fit(scaler.transform(layer[feature.train.words]), getattr(feature.train, name))
            right = other.predict(scaler.transform(layer[feature.test.words])) == getattr(feature.test, name)
            assert (found == right).mean() > 0.99  # of a tie rounding may decide


def outputs_of(X: Any, labels: Any, values: int) -> tuple[Any, Any, Any, Any]:
    """Train least squares on half of some words; return what `linear.information` takes of the others."""
    from sklearn.linear_model import Ridge

    n = len(X) // 2
    fitted = Ridge(alpha=1.0).fit(X[:n], linear._indicators(labels[:n], values).astype(np.float64))
    shares = np.bincount(labels[:n], minlength=values) / n
    return fitted.predict(X[n:]), labels[n:], shares, np.arange(n) % 2 == 0


@pytest.mark.parametrize(("apart", "rare"), [(0.0, 0.5), (0.0, 0.1), (0.5, 0.5), (1.0, 0.2), (1.0, 0.05), (3.0, 0.5)])
def test_information_of_a_distribution_whose_information_is_known(apart: float, rare: float) -> None:
    """Two normals, of which the log odds are linear, so that the family holds the truth; integrated by scipy."""
    from scipy import integrate, stats

    def density(x: float) -> float:
        one, other = stats.norm.pdf(x, apart), stats.norm.pdf(x, -apart)
        mixed = rare * one + (1 - rare) * other
        return float(rare * one * np.log2(one / mixed) + (1 - rare) * other * np.log2(other / mixed))

    known = integrate.quad(density, -10, 10, limit=200)[0]
    rng = np.random.default_rng(11)
    labels = (rng.random(16_000) < rare).astype(np.intp)
    X = rng.normal(size=(16_000, 10))
    X[:, 0] += apart * (2 * labels - 1)
    assert linear.information(*outputs_of(X, labels, 2)) == pytest.approx(known, abs=0.025)


def test_information_beside_the_cross_entropy_of_logistic_regression() -> None:
    """Four values, of which one is rare: least squares says less of rare ones, so it is a lower bound, by a tenth here."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(4)
    labels = rng.choice(4, size=8_000, p=[0.5, 0.3, 0.15, 0.05])
    X = rng.normal(size=(8_000, 20)) + rng.normal(size=(4, 20))[labels] * 0.4
    outputs, asked, shares, half = outputs_of(X, labels, 4)
    chances = LogisticRegression(max_iter=1000).fit(X[:4000], labels[:4000]).predict_proba(X[4000:])
    theirs = np.log2(chances[np.arange(4000), asked] / shares[asked]).mean()
    found = linear.information(outputs, asked, shares, half)
    assert 0.88 * theirs < found < 1.01 * theirs and theirs > 0.8


def test_weights_of_information_are_those_of_the_highest_likelihood() -> None:
    from scipy import optimize, special

    rng = np.random.default_rng(2)
    for values, n in ((2, 50), (3, 400), (3, 1)):
        labels = rng.integers(values, size=n)
        outputs = rng.normal(size=(n, values)) + 1.5 * np.eye(values)[labels]
        shares = np.arange(1.0, values + 1) / np.arange(1.0, values + 1).sum()
        wanted = np.eye(values)[labels] * n / (n + 1) + shares / (n + 1)

        def loss(at: Any, outputs: Any = outputs, shares: Any = shares, wanted: Any = wanted) -> float:
            tilted = at[0] * np.log(shares) + at[1] * outputs
            return float(special.logsumexp(tilted, axis=1).sum() - (wanted * tilted).sum())

        best = optimize.minimize(loss, [1.0, 0.0]).fun
        assert loss(linear._weights(outputs, labels, shares)) == pytest.approx(best, abs=1e-5)
    # Of nothing, nothing is learnt; of values as common as each other the first number says nothing.
    assert linear._weights(np.zeros((0, 2)), np.zeros(0, dtype=np.intp), np.array([0.3, 0.7])) == (1.0, 0.0)
    assert np.isfinite(linear._weights(np.eye(2), np.array([0, 1]), np.array([0.5, 0.5]))).all()


def test_information_of_a_probe_that_is_always_right_is_nearly_all_there_is() -> None:
    labels = np.arange(200) % 2
    outputs, half = np.eye(2)[labels] * 2.0 - 1.0, np.arange(200) % 4 < 2
    assert 0.9 < linear.information(outputs, labels, np.array([0.5, 0.5]), half) < 1.0


def test_intervals_by_a_loop_over_the_same_draws() -> None:
    rng = np.random.default_rng(3)
    owners = np.sort(rng.integers(40, size=200))
    hits, control = (rng.random((2, 200)) < 0.7).astype(float), (rng.random((2, 200)) < 0.5).astype(float)
    names = [f"s{number}" for number in range(40)]
    accuracy, selectivity = linear.intervals(hits, control, owners, names)
    present = np.unique(owners)
    digest = sha256("\n".join(names[number] for number in present).encode()).hexdigest()
    for row in range(2):
        drawn: list[tuple[float, float]] = []
        for counts in Counts(0, digest, len(present)).take(linear.RESAMPLES):
            weights = counts[np.searchsorted(present, owners)]
            drawn.append(
                (np.average(hits[row], weights=weights), np.average(hits[row] - control[row], weights=weights))
            )
        expected = 100 * np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
        assert np.allclose(accuracy[row], expected[:, 0]) and np.allclose(selectivity[row], expected[:, 1])


def test_words_of_a_sentence_count_as_one_where_they_are_right_together() -> None:
    owners = np.repeat(np.arange(50), 10)
    alone = (np.random.default_rng(0).random((1, 500)) < 0.5).astype(float)
    together = np.repeat((np.random.default_rng(0).random((1, 50)) < 0.5).astype(float), 10, axis=1)
    names = [str(number) for number in range(50)]
    narrow, wide = (np.ptp(linear.intervals(values, values, owners, names)[0]) for values in (alone, together))
    assert wide > 2 * narrow  # sqrt(10) times in expectation


# Vectors of words


def test_sub_words_of_words_by_hand() -> None:
    # "ab cd": _ab, c, d; then a piece over two words, and a word nothing is left of.
    assert representations.word_pieces([(0, 2), (3, 5)], [(0, 2), (3, 4), (4, 5)]) == [(0, 1), (1, 3)]
    assert representations.word_pieces([(0, 1), (1, 3), (3, 4)], [(0, 3), (3, 4)]) == [(0, 1), (0, 1), (1, 2)]
    assert representations.word_pieces([(0, 1), (2, 3), (4, 5)], [(0, 1), (4, 4), (4, 5)]) == [(0, 1), (0, 0), (2, 3)]


def model_of(source: Source, encoded: list[representations.Encoded], prune: bool = True) -> Any:
    reading = representations.Reading()
    kept = vocabulary(source, [(reading, [one.example for one in encoded])], prune=prune)
    return build(source, reading, kept=kept, seed=0, dropout=0.0).eval()


def treebank() -> list[dict[str, Any]]:
    """The sentences that the tiny tokenizers know, in several scripts, as words."""
    rows = []
    for number, text in enumerate(tiny.SENTENCES):
        spaced = " " in text
        tokens = text.split() if spaced else [text[at : at + 2] for at in range(0, len(text), 2)]
        rows.append({"id": f"{number}", "split": "test", "tokens": tokens, "features": ["_"] * len(tokens)} | {"space_after": [spaced] * len(tokens)})  # fmt: skip
    return rows


@pytest.mark.parametrize("kind", ["encoder", "text_model"])
def test_vectors_are_those_of_single_passes(kind: str, request: pytest.FixtureRequest) -> None:
    source: Source = request.getfixturevalue(kind)
    tokenizer = Tokenizer.from_directory(source.base)
    rows = treebank()
    encoded = representations.encode(rows, tokenizer, 100)
    wanted = [words.Word(s, t) for s, row in enumerate(rows) for t in range(len(row["tokens"])) if encoded[s].seen[t]]
    assert len(wanted) > 60
    found = representations.vectors(model_of(source, encoded), encoded, wanted, ("first", "last", "mean"), 200)
    model = model_of(source, encoded, prune=False)
    for at, word in enumerate(wanted):
        one = encoded[word.sentence]
        batch = collate([one.example], model.dense, torch.device("cpu"), token_types=model.token_types)
        with torch.inference_mode():
            states = torch.stack(list(model.layers(batch)))[:, 0].numpy()
            last = model.hidden(batch)[0].numpy()
        assert len(states) == 3 and np.allclose(states[-1], last, atol=1e-5)  # the embeddings and two layers
        first, end = one.pieces[word.place]
        expected = {"first": states[:, first], "last": states[:, end - 1], "mean": states[:, first:end].mean(1)}
        for how, value in expected.items():
            assert np.allclose(found[how][:, at], value, atol=1e-4), (how, word)
    # The pieces of a word spell it.
    spelt = [tokenizer.decode(encoded[w.sentence].example.inputs[0].ids[slice(*encoded[w.sentence].pieces[w.place])]).replace(" ", "") for w in wanted]  # fmt: skip
    spaced = [rows[w.sentence]["tokens"][w.place] for w in wanted if " " in tiny.SENTENCES[w.sentence]]
    assert [text for text, w in zip(spelt, wanted, strict=True) if " " in tiny.SENTENCES[w.sentence]] == spaced


@pytest.mark.parametrize("interface", ["encoder", "text2text"])
def test_words_of_a_byte_model_are_their_bytes(interface: str, tmp_path: Path) -> None:
    from test_model_classes import fetched

    source = Source.read(fetched(tmp_path, "byt5", interface))
    rows: list[dict[str, Any]] = [{"tokens": ["größer", "是", "ভাষা", "."], "space_after": [True, True, False, True]}]
    encoded = representations.encode(rows, Tokenizer.from_directory(source.base), 100)
    assert [end - first for first, end in encoded[0].pieces] == [len(token.encode()) for token in rows[0]["tokens"]]
    wanted = [words.Word(0, place) for place in range(4)]
    found = representations.vectors(model_of(source, encoded), encoded, wanted, ["first", "mean"], 100)
    assert found["mean"].shape == (3, 4, 16)
    assert np.array_equal(found["first"][:, 3], found["mean"][:, 3])  # a full stop is one byte
    assert not np.allclose(found["first"][:, 1], found["mean"][:, 1])


def test_words_after_the_longest_input_are_not_seen(encoder: Source) -> None:
    tokenizer = Tokenizer.from_directory(encoder.base)
    (long,) = representations.encode(treebank()[:1], tokenizer, 100)
    (cut,) = representations.encode(treebank()[:1], tokenizer, 8)
    assert len(cut.example.inputs[0].ids) <= 8 < len(long.example.inputs[0].ids)
    n = sum(cut.seen)
    assert 0 < n < len(cut.seen) and cut.seen == [True] * n + [False] * (len(cut.seen) - n)
    assert list(cut.pieces[:n]) == list(long.pieces[:n]) and max(end for _, end in cut.pieces) <= 7


# A checkpoint's job

SETTINGS = {
    "batch_tokens": 300,
    "features": ["Case", "Number"],
    "pooling": ["last", "mean"],
    "sentences": 120,
    "words": 2000,
    "minimum": {"train": 20, "test": 10, "class": 5},
}
IDENTITY = {
    "model": "tiny",
    "stage": "pretrained",
    "intermediate": "none",
    "training": "",
    "seed": None,
    "task": "nouns",
}


def prepared(folder: Path, code: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"{code}.parquet"
    records.write_rows(path, "word_features", rows, tiny.about("nouns", code, []), labels=[])
    return path


@pytest.fixture(scope="module")
def nouns(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A random encoder whose vocabulary is made of the nouns."""
    texts = [records.text_and_spans(row)[0] for row in sentences()]
    return Source.read(tiny.encoder(tmp_path_factory.mktemp("nouns"), texts=texts))


def test_a_checkpoint_is_probed_the_same_whatever_the_order_of_rows_and_the_cores(
    nouns: Source, tmp_path: Path
) -> None:
    rows, shuffled = sentences(), sentences()[::-1]
    outputs = []
    for name, given, cores in (("a", rows, 1), ("b", shuffled, 2)):
        data = {"fi": prepared(tmp_path / name, "fi", given), "vi": prepared(tmp_path / name, "vi", treebank())}
        torch.set_num_threads(cores)
        with threadpoolctl.threadpool_limits(cores):
            job.probe(nouns.base / "model.json", data, tmp_path / f"{name}.json", SETTINGS, identity=IDENTITY)
        outputs.append(read_json(tmp_path / f"{name}.json"))
    one, two = outputs
    assert one["probes"] == two["probes"] and one["skipped"] == two["skipped"] and one["data"] != two["data"]
    assert {entry["language"] for entry in one["skipped"]} == {"vi"}
    assert [(p["feature"], p["pooling"], p["layer"]) for p in one["probes"]] == [
        (feature, pooling, layer)
        for feature in ("Case", "Number")
        for pooling in ("last", "mean")
        for layer in range(3)
    ]
    # Case is in the ending, which even random embeddings tell apart; Number is nowhere.
    best = {
        feature: max(p["accuracy"] for p in one["probes"] if p["feature"] == feature) for feature in ("Case", "Number")
    }
    majority = {p["feature"]: p["majority"] for p in one["probes"]}
    assert best["Case"] > majority["Case"] + 30 and best["Number"] < majority["Number"] + 15
    # So it is with random weights, which these are; others give other numbers at every layer.
    for feature, floor, ceiling in (("Case", 30, 100), ("Number", -20, 15)):
        found = [p["random_accuracy"] - p["majority"] for p in one["probes"] if p["feature"] == feature]
        assert max(found) > floor and all(value < ceiling for value in found)
    assert any(p["random_accuracy"] != p["accuracy"] for p in one["probes"])


def test_nothing_to_probe_is_said_with_the_reasons(nouns: Source, tmp_path: Path) -> None:
    data = {"vi": prepared(tmp_path, "vi", treebank())}
    with pytest.raises(UserError, match=r"nothing to probe; vi: Case: no word has it, Number: .*probes\.features"):
        job.probe(nouns.base / "model.json", data, tmp_path / "x.json", SETTINGS, identity=IDENTITY)


# The table and its curves

CONTRACT = (
    "model,stage,intermediate,training,seed,task,language,family,feature,pooling,layer,accuracy,ci_low,ci_high,"
    "form_accuracy,control_accuracy,selectivity,majority,n_train,n_test,classes"
)


def row(accuracy: float, **more: Any) -> Probe:
    about: dict[str, Any] = {
        **IDENTITY,
        "language": "fi",
        "family": "agglutinative",
        "feature": "Case",
        "pooling": "mean",
        "layer": 0,
        "accuracy": accuracy,
        "ci_low": 0.0,
        "ci_high": 100.0,
        "form_accuracy": None,
        "control_accuracy": 50.0,
        "selectivity": accuracy - 50,
        "selectivity_low": 0.0,
        "selectivity_high": 1.0,
        "majority": 40.0,
        "n_train": 5,
        "n_test": 6,
        "n_unseen": 0,
        "lexicon_accuracy": 55.0,
        "entropy": 1.5,
        "information": 0.5,
        "n_shared": 1,
        "n_contracted": None,
        "random_accuracy": None,
        "classes": 2,
    }
    return Probe(**{**about, **more})


def test_the_table_reads_back_and_has_the_columns_agreed_on(tmp_path: Path) -> None:
    assert table.COLUMNS[: len(CONTRACT.split(","))] == tuple(CONTRACT.split(","))
    one = [{k: v for k, v in asdict(row(61.25)).items() if k not in (*IDENTITY, "family")}]
    write_json(tmp_path / "a.json", {**IDENTITY, "probes": one})
    found = table.gather([tmp_path / "a.json"], {"fi": "agglutinative"})
    table.write(tmp_path / "probes.csv", found)
    assert table.read(tmp_path / "probes.csv") == found == [row(61.25)]
    (tmp_path / "probes.csv").write_text("model,stage\n")
    with pytest.raises(UserError, match=r"probes\.csv: its columns are not those"):
        table.read(tmp_path / "probes.csv")


def layered(values: list[float], **more: Any) -> list[Probe]:
    return [row(value, layer=layer, **more) for layer, value in enumerate(values)]


def test_curves_by_hand() -> None:
    probes = [
        *layered([50, 90, 70], feature="Case"),
        *layered([70, 80, 90], feature="Number"),
        *layered([40, 60, 20], language="tr"),
        *layered([10, 20, 30], language="de", family="fusional"),
        *layered([99, 99, 99], language="en", family="fusional"),
        *layered([80, 0, 0], language="xx", family=""),
    ]
    found = {curve.group: curve for curve in curves.curves(probes)}
    # Finnish is (60, 85, 80) over its two features; Turkish counts as much.
    assert found["agglutinative"].layers == (50, 72.5, 50)
    assert (found["agglutinative"].peak, found["agglutinative"].height) == (1, 72.5)
    assert found["agglutinative"].languages == ("fi", "tr")
    assert found["fusional"].layers == (10, 20, 30)  # without English
    assert found["all"].layers == ((60 + 40 + 10 + 80) / 4, (85 + 60 + 20) / 4, (80 + 20 + 30) / 4)
    by_language = {curve.group: curve.layers for curve in curves.curves(probes, by="language")}
    assert by_language["en"] == (99, 99, 99) and by_language["fi"] == (60, 85, 80)
    single = {(c.group, c.feature): c.layers for c in curves.curves(probes, features=True)}
    assert single["agglutinative", "Number"] == (70, 80, 90) and single["agglutinative", "Case"] == (45, 75, 45)
    assert curves.curves(probes, "form_accuracy") == []
    assert curves.curves(layered([5, 5]))[0].peak == 0


def test_gains_by_hand() -> None:
    half: dict[str, Any] = {"stage": "intermediate", "intermediate": "half"}
    base: dict[str, Any] = {"stage": "target", "training": "commands", "seed": 0}
    probes = [
        *layered([50, 90, 70]),
        *layered([51, 93, 75], **half, seed=0),
        *layered([51, 91, 77], **half, seed=1),
        *layered([40, 80, 85], **base),
        *layered([40, 82, 84], **{**base, "intermediate": "half"}),
        *layered([1, 2, 3], **{**base, "training": "other", "intermediate": "half"}),  # its baseline was not probed
    ]
    found = {gain.checkpoint: gain for gain in curves.gains(probes)}
    assert len(found) == 2
    first = found[curves.Checkpoint("tiny", "intermediate", "half", "")]
    assert (first.layers, first.at_peak, first.last, first.mean) == ((1, 2, 6), 2, 6, 3)
    second = found[curves.Checkpoint("tiny", "target", "half", "commands")]
    assert (second.layers, second.at_peak, second.family) == ((0, 2, -1), -1, "agglutinative")


# Which checkpoints

BASE = {
    "models": ["e5-small"],
    "intermediates": ["none", "name-typing", "name-typing+steps_matched"],
    "targets": {"intent": ["en", "fi"], "retrieval": ["fi"]},
    "seeds": [3, 1],
    "catalog": [str(ROOT / "sweeps" / "files")],
}


def sweep(**probes: Any) -> Sweep:
    return Sweep(*config.resolve({**BASE, "probes": probes}, "c.yaml"))


def test_checkpoints_that_are_probed_are_exactly_these() -> None:
    assert sweep().probed == {} and sweep().probe_files() == []
    found = sweep(tasks=["ud_features_files"])
    assert list(found.probed) == [
        "models/e5-small",
        *(f"finetune/e5-small/none/intent/seed{seed}" for seed in (3, 1)),
        *(f"{stage}/seed{seed}" for seed in (3, 1) for stage in ("intermediate/e5-small/name-typing", "finetune/e5-small/name-typing/intent")),
        *(f"finetune/e5-small/name-typing+steps_matched/intent/seed{seed}" for seed in (3, 1)),
    ]  # fmt: skip
    assert found.probe_files()[0] == "results/probes/models/e5-small/ud_features_files.json"
    about = json.loads(Jobs(found).probe_identity("intermediate/e5-small/name-typing/seed1", "ud_features_files"))
    expected = {"stage": "intermediate", "model": "e5-small", "intermediate": "name-typing", "training": "", "seed": 1}
    assert about == {**expected, "task": "ud_features_files"}
    only = sweep(tasks=["ud_features_files"], stages=["intermediate"], languages=["fi", "tr"])
    assert len(only.probed) == 2 and only.probe_tasks == {"ud_features_files": ["fi", "tr"]}
    assert json.loads(Jobs(only).probe_families()) == {"fi": "agglutinative", "tr": "agglutinative"}


def test_weights_stay_until_they_are_probed() -> None:
    found = Sweep(*config.resolve({**BASE, "keep": "none", "probes": {"tasks": ["ud_features_files"]}}, "c.yaml"))
    users = keep.users(found)
    for folder, probed in found.probed.items():
        if probed.stage != "pretrained":
            assert found.layout.probe(folder, "ud_features_files") in users[probed.record]


def test_what_a_probe_asks_for_grows_with_what_it_does() -> None:
    names = {"checkpoint": "models/e5-small", "task": "ud_features_files"}
    whole, part = (
        Needs(Jobs(sweep(tasks=["ud_features_files"], **more))).need("probe", names)
        for more in ({}, {"languages": ["fi"], "pooling": ["mean"]})
    )
    assert whole.flops > 10 * part.flops and whole.memory_mb > part.memory_mb > 3000


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"task": []}, r"c\.yaml: probes: unknown key 'task'; known: .*Did you mean 'tasks'"),
    ({"tasks": ["ud_feature_files"]}, r"c\.yaml: probes\.tasks: 'ud_feature_files' is unknown; .*Did you mean 'ud_features_files'"),
    ({"tasks": ["ud_features_files"], "languages": ["fr"]}, r"c\.yaml: probes\.languages: 'fr' is not on offer; on offer: ar, de"),
    ({"features": ["Cases"]}, r"c\.yaml: probes\.features: 'Cases' is no feature .*Did you mean 'Case'\?"),
    ({"features": ["NUMBER"]}, r"probes\.features: 'NUMBER' is no feature .*Did you mean 'Number'\?"),
    ({"features": ["case"]}, r"probes\.features\.0: 'case' does not match"),
    ({"features": []}, r"probes\.features: \[\]"),
    ({"stages": ["pretraind"]}, r"probes\.stages\.0: 'pretraind' is not allowed; .*Did you mean 'pretrained'"),
    ({"pooling": ["max"]}, r"probes\.pooling\.0: 'max' is not allowed; allowed: first, last, mean"),
    ({"minimum": {"trian": 3}}, r"probes\.minimum: unknown key 'trian'.*Did you mean 'train'"),
    ({"sentences": 0}, r"probes\.sentences: 0"),
]  # fmt: skip


@pytest.mark.parametrize(("probes", "sentence"), REFUSED)
def test_wrong_settings_are_one_sentence(probes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        sweep(**probes)


def test_features_of_a_language_of_its_own_are_allowed() -> None:
    assert sweep(features=["HebBinyan", "Number[psor]", "PunctType", "NumForm", "PartForm"]).probed == {}


def entry(**more: Any) -> dict[str, Any]:
    source = {"type": "files", "root": "data", "format": "conllu", "splits": {"test": "{language}.conllu"}}
    about = {"kind": "word_features", "description": "Made-up nouns.", "licence": "none", "source": source}
    return {**about, "languages": {"en": {"test": 300}, "fi": {"test": 300}}, **more}


@pytest.mark.parametrize(
    ("place", "changes", "sentence"),
    [
        ("target", {}, r"kind: tasks of kind 'word_features' stand in the folder probe/"),
        ("probe", {"kind": "tagging", "labels": ["A", "B"], "metrics": ["token_accuracy"]}, r"kind: tasks of kind"),
        ("probe", {"metrics": ["accuracy"]}, r"metrics: takes no metrics"),
        ("target", {"kind": "text"}, r"metrics: the key is missing"),
    ],
)
def test_probing_tasks_stand_in_their_folder(
    place: str, changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / place).mkdir()
    (tmp_path / place / "nouns.yaml").write_text(yaml.safe_dump(entry(**changes)))
    with pytest.raises(UserError, match=rf"{place}/nouns\.yaml: {sentence}"):
        config.resolve({**BASE, "catalog": [str(tmp_path)]})


# Through Snakemake


def conllu(rows: list[dict[str, Any]]) -> str:
    blocks = []
    for one in rows:
        lines = [
            f"{n}\t{token}\t_\tNOUN\t_\t{text}\t0\troot\t_\t{'_' if space else 'SpaceAfter=No'}"
            for n, (token, text, space) in enumerate(zip(one["tokens"], one["features"], one["space_after"]), start=1)
        ]
        blocks.append("\n".join([f"# sent_id = {one['id']}", *lines]) + "\n")
    return "\n".join(blocks) + "\n"


@pytest.mark.e2e
def test_a_sweep_with_probes(nouns: Source, tmp_path: Path) -> None:
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    shutil.copytree(nouns.base, tmp_path / "weights")
    (tmp_path / "data").mkdir()
    for code, seed in (("en", 0), ("fi", 1)):
        (tmp_path / "data" / f"{code}.conllu").write_text(conllu(sentences(seed=seed)))
    for split, count in (("train", 32), ("dev", 12), ("test", 40)):
        lines = [{"id": f"{split}{n}", "text": f"kalan talen {n}", "label": ("on", "off")[n % 2]} for n in range(count)]
        for code in ("en", "fi"):
            path = tmp_path / "data" / f"{code}.{split}.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    model = {
        "interface": "encoder",
        "description": "Two layers of random weights.",
        "licence": "none",
        "source": {"type": "files", "path": "weights"},
        "parameters": 30000,
        "hidden_size": 32,
        "layers": 2,
        "vocabulary": {"prune": True},
        "training": {"epochs": 1, "learning_rate": 5.0e-3},
    }
    task = {
        "kind": "classification",
        "description": "Two commands.",
        "licence": "none",
        "labels": ["on", "off"],
        "source": entries.lines_source(),
        "languages": {"en": {"train": 32, "dev": 12, "test": 40}, "fi": {"test": 40}},
        "metrics": ["accuracy"],
        "chance": 50,
    }
    half = {**task, "source": entries.lines_source(["train", "dev"]), "languages": {"en": {"train": 32, "dev": 12}}}
    catalogue = {"models/tiny": model, "target/commands": task, "intermediate/half": half, "probe/nouns": entry()}
    for name, value in catalogue.items():
        path = tmp_path / "catalogue" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value))
    configuration = {
        "catalog": ["catalogue"],
        "models": ["tiny"],
        "intermediates": ["none", "half"],
        "seeds": [0],
        "targets": {"commands": ["en", "fi"]},
        "keep": "none",
        "probes": {
            "tasks": ["nouns"],
            "stages": ["pretrained", "intermediate"],
            "pooling": ["last"],
            "sentences": 60,
            "minimum": {"train": 20, "test": 10},
        },
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration))

    assert re.search(r"^\| probe +\| 2 ", snakemake(tmp_path, "plan").text, re.MULTILINE)
    snakemake(tmp_path, "results/probes/probes.csv", shared=True)
    probes = table.read(tmp_path / "results" / "probes" / "probes.csv")
    assert Counter((p.stage, p.intermediate, p.training, p.seed) for p in probes) == {
        ("pretrained", "none", "", None): 2 * 2 * 3,  # languages x features x layers
        ("intermediate", "half", "", 0): 2 * 2 * 3,
    }
    assert {(p.language, p.family) for p in probes} == {("en", "fusional"), ("fi", "agglutinative")}
    assert len(curves.gains(probes)) == 2
    # Another family column changes the table alone.
    text = snakemake(tmp_path, "-n", "--config", "families=script", "--", "results/probes/probes.csv").text
    assert dict(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)) == {"probes": "1", "total": "1"}
