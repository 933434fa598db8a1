"""Files in upstream formats: each format by hand-worked cases, the columns mapping, its errors, and published data."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from stiltsweep import catalog, records, sources
from stiltsweep.catalog import Task
from stiltsweep.errors import UserError
from stiltsweep.schema import descriptions, load
from stiltsweep.sources import files, hub, parts

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("STILTSWEEP_DATA", REPOSITORY.parent / "shared" / "data"))
published = pytest.mark.skipif(
    not (DATA / "udpos").is_dir(), reason=f"the published data are not at {DATA}; set STILTSWEEP_DATA to their folder"
)


def task(kind: str, source: dict[str, Any], languages: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A task's YAML as the catalogue hands it on; one test split unless said otherwise."""
    languages = languages or {"en": {"test": 1}}
    return {"kind": kind, "source": {"type": "files", **source}, "languages": languages, **more}


def rows(definition: dict[str, Any], root: Path, language: str = "en") -> list[dict[str, Any]]:
    """All records of a language without their place."""
    definition = copy.deepcopy(definition)
    definition["source"].setdefault("root", str(root))
    found = list(files.read(definition, language))
    assert all(row.pop("place") for row in found)
    return found


def table(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


# ---- CoNLL-U

SPANISH = """# newdoc id = d1
# sent_id = s1
# text = Vámonos al mar.
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\tvm\t_\t0\troot\t_\t_
2\tnos\tyo\tPRON\tpp\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\tsp\t_\t5\tcase\t_\t_
4\tel\tel\tDET\tda\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\tnc\t_\t1\tobl\t_\tSpaceAfter=No
5.1\tazul\tazul\tADJ\tj\t_\t_\t_\t5:amod\t_
6\t.\t.\tPUNCT\tfp\t_\t1\tpunct\t_\tSpacesAfter=\\n|SpaceAfter=No

"""


def conllu(**more: Any) -> dict[str, Any]:
    return task("tagging", {"format": "conllu", "splits": {"test": "es.conllu"}, **more})


def test_conllu_syntactic_words(tmp_path):
    table(tmp_path, "es.conllu", SPANISH)
    (row,) = rows(conllu(), tmp_path)
    assert row["id"] == "s1"
    assert row["split"] == "test"
    assert row["tokens"] == ["Vamos", "nos", "a", "el", "mar", "."]
    assert row["tags"] == ["VERB", "PRON", "ADP", "DET", "NOUN", "PUNCT"]
    # Inside a multi-word token there is no space; after its last word there is the token's.
    assert row["space_after"] == [False, True, False, True, False, False]


def test_conllu_fused_tokens_take_the_tag_nearest_to_the_root_then_by_precedence(tmp_path):
    table(tmp_path, "es.conllu", SPANISH)
    (row,) = rows(conllu(words="fused"), tmp_path)
    assert row["tokens"] == ["Vámonos", "al", "mar", "."]
    # Vamos is the head of nos; a and el both hang on mar, and ADP stands before DET.
    assert row["tags"] == ["VERB", "ADP", "NOUN", "PUNCT"]
    assert row["space_after"] == [True, True, False, False]
    (row,) = rows(conllu(words="fused", precedence=["DET", "ADP"]), tmp_path)
    assert row["tags"] == ["VERB", "DET", "NOUN", "PUNCT"]


ENGLISH = """# sent_id = 1
1-2\tI'm\t_\t_\t_\t_\t_\t_\t_\t_
1\tI\tI\tPRON\t_\t_\t3\tnsubj\t{first}\t_
2\t'm\tbe\tAUX\t_\t_\t3\taux\t3:aux\t_
3\tgoing\tgo\tVERB\t_\t_\t0\troot\t0:root\t_
4\tto\tto\tPART\t_\t_\t5\tmark\t5:mark\t_
5\tleave\tleave\tVERB\t_\t_\t3\txcomp\t3:xcomp\t_

"""


@pytest.mark.parametrize(("first", "tag"), [("_", "PRON"), ("3:nsubj", "PRON"), ("3:nsubj|5:nsubj", "AUX")])
def test_conllu_enhanced_dependencies_are_edges_as_in_xtremes_conversion(tmp_path, first: str, tag: str) -> None:
    """What its conllu_to_conll.py says of each; see benchmarks/parity.py."""
    table(tmp_path, "es.conllu", ENGLISH.format(first=first))
    assert rows(conllu(words="fused"), tmp_path)[0]["tags"][0] == tag


def test_conllu_lists_of_single_languages_and_blanks_as_in_xtreme(tmp_path) -> None:
    # A noun and an adverb that hang on the same word: the noun by the general list; Italian's has no noun.
    text = "# sent_id = 1\n1-2\tx\u200cy z\t_\t_\t_\t_\t_\t_\t_\t_\n1\tx\t_\tNOUN\t_\t_\t3\t_\t_\t_\n2\ty\t_\tADV\t_\t_\t3\t_\t_\t_\n3\tv\t_\tVERB\t_\t_\t0\t_\t_\t_\n"
    for code, tag in (("de", "NOUN"), ("it", "ADV")):
        table(tmp_path, f"{code}.conllu", text)
        made = conllu(words="fused", splits={"test": f"{code}.conllu"}, blanks="drop")
        made["languages"] = {code: {"test": 1}}
        (row,) = rows(made, tmp_path, code)
        assert (row["tags"], row["tokens"]) == ([tag, "VERB"], ["xyz", "v"])


@pytest.mark.parametrize("words", ["syntactic", "fused"])
@pytest.mark.parametrize("ranges", ["1-3,2-3", "1-3,1-2", "0-1", "2-1", "1-2,1-2", "4-2", "1-9,2-3", "2-9", "00-02"])
def test_conllu_ranges_that_are_none_are_refused(tmp_path: Path, words: str, ranges: str) -> None:
    """Nested, crossed, turned round or beyond the words: they doubled words or ended with an error of Python."""
    lines = []
    for number in range(1, 4):
        for span in ranges.split(","):
            if max(1, int(span.split("-")[0])) == number or (number == 3 and int(span.split("-")[0]) > 3):
                lines.append(f"{span}\tw\t_\t_\t_\t_\t_\t_\t_\t_")
        lines.append(f"{number}\tw{number}\t_\tNOUN\t_\t_\t{number - 1}\tdep\t_\t_")
    table(tmp_path, "es.conllu", "# sent_id = s\n" + "\n".join(lines) + "\n\n")
    with pytest.raises(UserError, match="multi-word token"):
        rows(conllu(words=words), tmp_path)


def test_conllu_odd_trees_have_features(tmp_path: Path) -> None:
    """Two roots, heads in a circle, a range around an empty node, no features: each row is made."""
    text = """# sent_id = s
1-2\tdel\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\t_\tADP\t_\t_\t2\tdep\t_\t_
1.1\tx\t_\t_\t_\t_\t_\t_\t_\t_
2\tel\t_\tDET\t_\tGender=Masc\t1\tdep\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\t_\tADP\t_\t_\t0\troot\t_\t_
4\tel\t_\tDET\t_\t_\t0\troot\t_\t_

"""
    table(tmp_path, "es.conllu", text)
    definition = task("word_features", {"format": "conllu", "splits": {"test": "es.conllu"}, "words": "fused"})
    (row,) = rows(definition, tmp_path)
    assert (row["tokens"], row["features"], row["contracted"]) == (["del", "al"], ["_", "_"], [True, True])


def test_conllu_other_columns_and_comments(tmp_path):
    table(tmp_path, "es.conllu", SPANISH)
    (row,) = rows(conllu(columns={"tags": "xpos", "id": {"template": "{$file}/{newdoc id}/{sent_id}"}}), tmp_path)
    assert row["tags"] == ["vm", "pp", "sp", "da", "nc", "fp"]
    assert row["id"] == "es/d1/s1"


def test_conllu_words_with_spaces_arabic_and_no_final_newline(tmp_path):
    text = "# sent_id = 1\n1\thải quan\t_\tNOUN\t_\t_\t0\t_\t_\t_\n\n# sent_id = 2\r\n1\tكتب\t_\tVERB\t_\t_\t0\t_\t_\t_"
    table(tmp_path, "es.conllu", b"\xef\xbb\xbf" + text.encode())
    assert [row["tokens"] for row in rows(conllu(), tmp_path)] == [["hải quan"], ["كتب"]]


def test_conllu_sentences_without_text_are_dropped_as_xtreme_does_if_asked(tmp_path):
    def sentence(name: str, *forms: str) -> str:
        words = (f"{i}\t{form}\t_\tX\t_\t_\t0\t_\t_\t_\n" for i, form in enumerate(forms, start=1))
        return f"# sent_id = {name}\n{''.join(words)}\n"

    table(
        tmp_path,
        "es.conllu",
        sentence("all", "_", "_") + sentence("but one", "_", "a") + sentence("two", "_", "a", "b"),
    )
    assert [row["id"] for row in rows(conllu(hidden="drop"), tmp_path)] == ["two"]
    assert len(rows(conllu(), tmp_path)) == 3


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1\tVamos\tVERB", "line 5: 3 columns between tabs; CoNLL-U has 10"),
        ("2\tVamos\tir\tVERB\tvm\t_\t0\troot\t_\t_", "line 5: word 2 stands where word 1 should"),
        ("one\tVamos\tir\tVERB\tvm\t_\t0\troot\t_\t_", "line 5: 'one' is no CoNLL-U word number"),
    ],
)
def test_conllu_faults_name_file_and_line(tmp_path, line, sentence):
    lines = SPANISH.split("\n")
    lines[4] = line
    table(tmp_path, "es.conllu", "\n".join(lines))
    with pytest.raises(UserError, match=r"es\.conllu, " + sentence):
        rows(conllu(), tmp_path)


# ---- IOB


def iob(**more: Any) -> dict[str, Any]:
    return task("tagging", {"format": "iob", "splits": {"test": "ner.txt"}, **more})


def test_iob_two_columns_with_a_number_sign_as_token_and_document_breaks(tmp_path):
    table(tmp_path, "ner.txt", "-DOCSTART- -X- O O\n\n# O\n1 O\n\n\nẸ̀kọ́ B-ORG\nÀjàdí I-ORG\n")
    assert [(row["id"], row["tokens"], row["tags"]) for row in rows(iob(), tmp_path)] == [
        ("0", ["#", "1"], ["O", "O"]),
        ("1", ["Ẹ̀kọ́", "Àjàdí"], ["B-ORG", "I-ORG"]),
    ]


def test_iob_universal_ner_columns_with_comments_and_tokens_with_spaces(tmp_path):
    text = (
        "# sent_id = a-1\n# text = x\n1\tNew York\tB-LOC\t-\tann\n2\t#\tO\t-\t-\n\n# id 77 domain=en\n1\tb\tO\t-\t-\n"
    )
    table(tmp_path, "ner.txt", text)
    settings = {"comments": True, "token_field": 2, "tag_field": -3}
    (first, second) = rows(iob(**settings, columns={"id": "$row"}), tmp_path)
    assert (first["tokens"], first["tags"]) == (["New York", "#"], ["B-LOC", "O"])
    assert second["tokens"] == ["b"]
    with pytest.raises(UserError, match=r"line 7: id: no upstream column 'sent_id'; there are: id, tokens, tags"):
        rows(iob(**settings, columns={"id": "sent_id"}), tmp_path)


def test_iob1_and_iobes_become_iob2(tmp_path):
    # IOB1: B- only where an entity follows another of its type directly.
    table(tmp_path, "ner.txt", "a I-PER\nb I-PER\nc B-PER\nd I-LOC\ne O\nf I-LOC\n")
    assert rows(iob(scheme="iob1"), tmp_path)[0]["tags"] == ["B-PER", "I-PER", "B-PER", "B-LOC", "O", "B-LOC"]
    table(tmp_path, "ner.txt", "a S-PER\nb B-LOC\nc I-LOC\nd E-LOC\ne O\n")
    assert rows(iob(scheme="iobes"), tmp_path)[0]["tags"] == ["B-PER", "B-LOC", "I-LOC", "I-LOC", "O"]


def test_iob_prefix_of_panx_and_middle_columns_of_conll2003(tmp_path):
    table(tmp_path, "ner.txt", "en:Bob\tB-PER\nen:en:x\tO\n")
    assert rows(iob(token_prefix="{language}:"), tmp_path)[0]["tokens"] == ["Bob", "en:x"]
    with pytest.raises(UserError, match=r"line 1: token 'en:Bob' does not begin with the prefix 'de:'"):
        rows(iob(token_prefix="de:"), tmp_path)
    table(tmp_path, "ner.txt", "EU NNP I-NP I-ORG\n")
    assert rows(iob(scheme="iob1"), tmp_path)[0]["tags"] == ["B-ORG"]


def test_plain_tags_are_ccg_supertags_and_parts_of_speech(tmp_path):
    table(tmp_path, "ner.txt", "Mary\tN\nsleeps\tS[dcl]\\NP\n")
    assert rows(iob(scheme="plain"), tmp_path)[0]["tags"] == ["N", "S[dcl]\\NP"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("word", "line 3: 1 columns, column 1 is asked for"),
        ("word B_PER", "line 3: 'B_PER' is no iob2 tag"),
        ("S-PER word", "line 3: 'word' is no iob2 tag"),
    ],
)
def test_iob_faults_name_file_and_line(tmp_path, line, sentence):
    table(tmp_path, "ner.txt", f"a O\n\n{line}\n")
    with pytest.raises(UserError, match=r"ner\.txt, " + sentence):
        rows(iob(), tmp_path)


# ---- SQuAD


def squad(context: str, *answers: tuple[str, int], **question: Any) -> str:
    qa = {"id": "q1", "question": "?", "answers": [{"text": t, "answer_start": s} for t, s in answers], **question}
    return json.dumps({"version": "2", "data": [{"title": "T", "paragraphs": [{"context": context, "qas": [qa]}]}]})


SQUAD = {"format": "squad", "splits": {"test": "q.json"}}


def test_squad_offsets_count_code_points(tmp_path):
    # 🙂 is two UTF-16 units and four bytes, é here two code points.
    context = "\ufeff🙂 e\u0301 สีเขียว"
    table(tmp_path, "q.json", squad(context, ("สีเขียว", 6), ("เขียว", 8), is_impossible=False))
    (row,) = rows(task("span_qa", SQUAD), tmp_path)
    assert row["answers"] == [{"text": "สีเขียว", "start": 6}, {"text": "เขียว", "start": 8}]
    assert (row["id"], row["question"], row["context"]) == ("q1", "?", context)


def test_squad2_question_without_an_answer(tmp_path):
    table(tmp_path, "q.json", squad("abc", is_impossible=True, plausible_answers=[{"text": "a", "answer_start": 0}]))
    assert rows(task("span_qa", SQUAD), tmp_path)[0]["answers"] == []
    kept = task("span_qa", {**SQUAD, "keep": {"is_impossible": {"is": False}}})
    assert rows(kept, tmp_path) == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (("เขียว", 9), r"'เขียว' is not at offset 9 of the context; the nearest occurrence is at 8"),
        (("เขียว", -5), r".* is not at offset -5 of the context; the nearest occurrence is at 8"),
        (("แดง", 8), r".* the context does not hold it"),
        (("", 0), r"an answer's text is empty"),
    ],
)
def test_squad_shifted_and_blanked_answers_are_refused_with_file_and_question(tmp_path, answer, sentence):
    table(tmp_path, "q.json", squad("🙂 e\u0301 xสีเขียว", answer))
    with pytest.raises(UserError, match=r"q\.json, question 1: answers: " + sentence):
        rows(task("span_qa", SQUAD), tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"data": [', r"q\.json: not JSON \("),
        ('{"dta": []}', r"q\.json: the document lacks the list 'data'"),
        ('{"data": [{"paragraphs": [{"context": "c"}]}]}', r"q\.json: data\[0\]\.paragraphs\[0\] lacks the list 'qas'"),
        (
            '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "1", "questoin": "?"}]}]}]}',
            r"question 1: question: ",
        ),
    ],
)
def test_squad_faults(tmp_path, text, sentence):
    table(tmp_path, "q.json", text)
    with pytest.raises(UserError, match=sentence):
        rows(task("span_qa", SQUAD), tmp_path)


# ---- TSV, CSV, JSON lines, Parquet, parallel lines

NLI = {"id": "id", "text_a": "a", "text_b": "b", "label": {"column": "y", "map": {0: "yes", 1: "no"}}}


def nli(form: str, name: str, **more: Any) -> dict[str, Any]:
    return task(
        "classification", {"format": form, "columns": NLI, "splits": {"test": name}, **more}, labels=["yes", "no"]
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_tsv_keeps_quotes_and_strange_line_separators(tmp_path, ending):
    lines = ["id\ta\tb\ty", '7\t"Oui"\tun \u2028 deux \x85 trois\t0', '8\t5\'10" tall\t"\t1', ""]
    table(tmp_path, "x.tsv", ending.join(lines))
    first, second = rows(nli("tsv", "x.tsv"), tmp_path)
    assert first == {
        "id": "7",
        "split": "test",
        "text_a": '"Oui"',
        "text_b": "un \u2028 deux \x85 trois",
        "label": "yes",
    }
    assert (second["text_a"], second["text_b"], second["label"]) == ("5'10\" tall", '"', "no")


def test_csv_with_and_without_quotes(tmp_path):
    table(tmp_path, "x.csv", 'id,a,b,y\n1,"one, ""two""\nthree",b,0\n2,c,d,1\n')
    first, second = rows(nli("csv", "x.csv"), tmp_path)
    assert first["text_a"] == 'one, "two"\nthree'
    assert second["id"] == "2"
    table(tmp_path, "y.csv", 'id,a,b,y\n1,"one,b,0\n')
    assert rows(nli("csv", "y.csv", quotes=False), tmp_path)[0]["text_a"] == '"one'
    with pytest.raises(UserError, match=r"y\.csv, line 2: .*quotes: false"):
        rows(nli("csv", "y.csv"), tmp_path)


def test_csv_takes_fields_longer_than_the_module_likes(tmp_path):
    table(tmp_path, "x.csv", f"id,a,b,y\n1,{'x' * 200_000},b,0\n")
    assert len(rows(nli("csv", "x.csv"), tmp_path)[0]["text_a"]) == 200_000


def test_tables_without_a_header_name_their_fields(tmp_path):
    table(tmp_path, "x.tsv", "1\tα\tβ\t0\n")
    assert rows(nli("tsv", "x.tsv", fields=["id", "a", "b", "y"]), tmp_path)[0]["text_a"] == "α"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"id\ta\tb\ty\n1\ta\tb\t0\n2\ta\t0\n", r"x\.tsv, line 3: 3 columns, expected 4 \(id, a, b, y\)"),
        (b"id\ta\ta\ty\n", r"line 1: a column name occurs twice"),
        (b"id\ta\tb\ty\n1\t\xff\tb\t0\n", r"x\.tsv, line 2: not UTF-8"),
        (b"id\ta\tB\ty\n1\ta\tb\t0\n", r"x\.tsv, line 2: text_b: no upstream column 'b'; there are: id, a, B, y"),
        (b"id\ta\tb\ty\n1\ta\tb\t2\n", r"x\.tsv, line 2: label: value '2' has no entry in the map; it has: 0, 1"),
    ],
)
def test_tsv_faults_name_file_and_line(tmp_path, content, sentence):
    table(tmp_path, "x.tsv", content)
    with pytest.raises(UserError, match=sentence):
        rows(nli("tsv", "x.tsv"), tmp_path)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"id": 1', r"x\.jsonl, line 3: not JSON \("),
        ("[1]", r"x\.jsonl, line 3: '\[1\]' is not a JSON object"),
        ('{"id": 2, "a": "c", "y": 0}', r"line 3: text_b: no upstream column 'b'"),
        ('{"id": 2.5, "a": "c", "b": "d", "y": 0}', r"line 3: id: 2.5 is not text"),
        ('{"id": 2, "a": null, "b": "d", "y": 0}', r"line 3: text_a: None is not text"),
    ],
)
def test_jsonl_faults_name_file_and_line(tmp_path, line, sentence):
    table(tmp_path, "x.jsonl", f'{{"id": 1, "a": "p", "b": null, "y": "0"}}\n\n{line}\n')
    with pytest.raises(UserError, match=sentence):
        rows(nli("jsonl", "x.jsonl"), tmp_path)


def test_parquet_and_globs_in_sorted_order(tmp_path):
    for number in (1, 0):
        content = {"id": [f"{number}"], "a": ["ก"], "b": ["ข"], "y": [number]}
        pq.write_table(pa.table(content), tmp_path / f"test-0000{number}-of-00002.parquet")
    assert [row["id"] for row in rows(nli("parquet", "test-*.parquet"), tmp_path)] == ["0", "1"]
    table(tmp_path, "test-00002.parquet", b"PAR1")
    with pytest.raises(UserError, match=r"test-00002\.parquet: not readable as Parquet"):
        rows(nli("parquet", "test-*.parquet"), tmp_path)


def test_parallel_lines_make_queries_and_candidates(tmp_path):
    table(tmp_path, "t.swh-eng.swh", "Habari.\nNdiyo\u2028.\n")
    table(tmp_path, "t.swh-eng.eng", "Hello.\nYes.")
    path = ["t.{iso639_3}-eng.{iso639_3}", "t.{iso639_3}-eng.eng"]
    definition = task("retrieval", {"format": "lines", "splits": {"test": {"path": path}}}, {"sw": {"test": 2}})
    assert rows(definition, tmp_path, "sw") == [
        {"id": "0", "split": "test", "side": "query", "text": "Habari.", "gold": ["0"]},
        {"id": "0", "split": "test", "side": "candidate", "text": "Hello.", "gold": []},
        {"id": "1", "split": "test", "side": "query", "text": "Ndiyo\u2028.", "gold": ["1"]},
        {"id": "1", "split": "test", "side": "candidate", "text": "Yes.", "gold": []},
    ]
    table(tmp_path, "t.swh-eng.eng", "Hello.\n")
    with pytest.raises(UserError, match=r"t\.swh-eng\.eng: ends after line 1, but belongs line by line to .*swh"):
        rows(definition, tmp_path, "sw")


# ---- The columns mapping


def one(kind: str, columns: dict[str, Any], row: dict[str, Any], tmp_path: Path, **more: Any) -> dict[str, Any]:
    table(tmp_path, "x.jsonl", json.dumps(row) + "\n")
    (found,) = rows(
        task(kind, {"format": "jsonl", "columns": columns, "splits": {"test": "x.jsonl"}, **more}), tmp_path
    )
    return found


def test_hellaswag_joins_context_and_ending(tmp_path):
    row = {
        "ind": 4,
        "ctx_a": "A man sits.",
        "ctx_b": "he",
        "endings": ["runs.", "sleeps."],
        "label": "1",
        "split": "val",
    }
    columns = {
        "id": "ind",
        "context": "ctx_a",
        "choices": [{"template": "{ctx_b} {endings.0}"}, {"template": "{ctx_b} {endings.1}"}],
        "label": "label",
    }
    found = one("multiple_choice", columns, row, tmp_path)
    assert (found["choices"], found["label"], found["id"], found["split"]) == (
        ["he runs.", "he sleeps."],
        1,
        "4",
        "test",
    )
    assert one("multiple_choice", columns, row | {"ctx_b": ""}, tmp_path)["choices"] == ["runs.", "sleeps."]


def test_commonsense_qa_reads_letters_and_nested_choices(tmp_path):
    row = {"id": "x", "question": "Where?", "choices": {"label": ["A", "B"], "text": ["bank", "sea"]}, "answerKey": "B"}
    columns: dict[str, Any] = {"id": "id", "context": "question", "choices": "choices.text"}
    columns |= {"label": {"column": "answerKey", "map": {"A": 0, "B": 1}}}
    found = one("multiple_choice", columns, row, tmp_path)
    assert (found["choices"], found["label"]) == (["bank", "sea"], 1)
    assert found.get("question") is None


def test_answers_as_lists_side_by_side_or_as_a_list_of_mappings(tmp_path):
    columns: dict[str, Any] = {"id": "id", "context": "c", "question": "q"}
    columns |= {"answers": {"text": "answers.text", "start": "answers.answer_start"}}
    expected = [{"text": "b", "start": 1}, {"text": "bc", "start": 1}]
    row: dict[str, Any] = {"id": "x", "c": "abc", "q": "?", "answers": {"text": ["b", "bc"], "answer_start": [1, 1]}}
    assert one("span_qa", columns, row, tmp_path)["answers"] == expected
    row["answers"] = [{"text": "b", "answer_start": 1}, {"text": "bc", "answer_start": 1}]
    assert one("span_qa", columns, row, tmp_path)["answers"] == expected
    row["answers"] = {"text": ["b"], "answer_start": []}
    with pytest.raises(UserError, match="answers: 1 texts but 0 starts"):
        one("span_qa", columns, row, tmp_path)
    columns["answers"] = {"text": "t", "start": "s"}
    assert one("span_qa", columns, row | {"t": "b", "s": "1"}, tmp_path)["answers"] == expected[:1]


def test_tags_by_number_and_partial_maps(tmp_path):
    columns = {"id": "$row", "tokens": "tokens", "tags": {"column": "ner", "map": ["O", "B-PER", "I-PER"]}}
    row = {"tokens": ["a", "b"], "ner": [2, 0]}
    assert one("tagging", columns, row, tmp_path)["tags"] == ["I-PER", "O"]
    with pytest.raises(UserError, match=r"tags: value 3 has no entry"):
        one("tagging", columns, row | {"ner": [3, 0]}, tmp_path)
    columns["tags"] = {"column": "ner", "map": {"DATE": "O"}, "others": "keep"}
    assert one("tagging", columns, row | {"ner": ["DATE", "PER"]}, tmp_path)["tags"] == ["O", "PER"]


def test_constants_booleans_and_row_facts(tmp_path):
    columns = {
        "id": {"template": "snli-{$row}-{$language}-{$name}"},
        "text_a": "a",
        "label": {"column": "y", "map": {True: "yes", False: "no"}},
        "text_b": {"value": "So?"},
    }
    found = one("classification", columns, {"a": "x", "y": True}, tmp_path, names={"en": "eng"})
    assert (found["id"], found["label"], found["text_b"]) == ("snli-0-en-eng", "yes", "So?")
    assert one("classification", columns, {"a": "x", "y": "false"}, tmp_path)["label"] == "no"
    columns["label"] = "y"
    with pytest.raises(UserError, match="label: True is not text"):
        one("classification", columns, {"a": "x", "y": True}, tmp_path)


def test_a_column_whose_name_has_a_dot_wins_over_the_path(tmp_path):
    columns = {"id": "$row", "text_a": "a.b", "label": {"value": "yes"}}
    assert one("classification", columns, {"a.b": "flat", "a": {"b": "nested"}}, tmp_path)["text_a"] == "flat"
    assert one("classification", columns, {"a": {"b": "nested"}}, tmp_path)["text_a"] == "nested"
    with pytest.raises(UserError, match=r"no upstream column 'a\.b'; there are: bb\. Did you mean 'bb'\?"):
        one("classification", columns, {"a": {"bb": "nested"}}, tmp_path)


def test_rows_filter_folds_skip_and_take_count_after_keep(tmp_path):
    lines = [{"id": f"{i}", "a": "t", "b": "u", "y": i % 2, "g": "-1" if i % 5 == 0 else "x"} for i in range(20)]
    table(tmp_path, "x.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    keep = {"g": {"is_not": [-1]}}
    kept = [f"{i}" for i in range(20) if i % 5]

    def ids(**more: Any) -> list[str]:
        return [row["id"] for row in rows(nli("jsonl", "x.jsonl", keep=keep, **more), tmp_path)]

    assert ids() == kept
    assert ids(skip=3) == kept[3:]
    assert ids(skip=3, take=4) == kept[3:7]
    assert ids(take=4) == kept[:4]
    folds = [ids(folds={"of": 4, "take": take}) for take in ([0, 1, 2], [3])]
    assert folds[1] == kept[3::4]
    assert sorted(folds[0] + folds[1], key=int) == kept


def test_tydiqa_reads_the_language_out_of_the_id(tmp_path):
    lines = [
        {"id": f"{name}-{i}", "c": "abc", "q": "?", "answers": {"text": ["b"], "answer_start": [1]}}
        for i, name in enumerate(["english", "arabic", "english", "englishx", "telugu"])
    ]
    table(tmp_path, "train.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    columns: dict[str, Any] = {"id": "id", "context": "c", "question": "q"}
    columns |= {"answers": {"text": "answers.text", "start": "answers.answer_start"}}
    definition = task(
        "span_qa",
        {
            "format": "jsonl",
            "columns": columns,
            "names": {"en": "english", "ar": "arabic", "te": "telugu"},
            "keep": {"id": {"prefix": "{name}-"}},
            "splits": {"train": "train.jsonl", "test": "train.jsonl"},
        },
        {"en": {"train": 2}, "ar": {"test": 1}, "te": {"test": 1}},
    )
    assert [row["id"] for row in rows(definition, tmp_path, "en")] == ["english-0", "english-2"]
    assert [(row["id"], row["split"]) for row in rows(definition, tmp_path, "ar")] == [("arabic-1", "test")]


def test_several_parts_several_names_and_parts_of_some_languages(tmp_path):
    """ANLI+ is three data sets in two shapes; a language of UD is several treebanks."""
    for name in ("snli", "mnli"):
        table(tmp_path, f"{name}.tsv", f"id\ta\tb\ty\n1\t{name}\tb\t0\n")
    table(tmp_path, "anli.jsonl", '{"uid": "u", "a": "anli", "b": "b", "y": "e"}\n')
    source = {
        "format": "tsv",
        "columns": NLI | {"id": {"template": "{$file}-{id}"}},
        "names": {"en": ["snli", "mnli"]},
        "splits": {
            "train": [
                "{name}.tsv",
                {"format": "jsonl", "path": "anli.jsonl", "columns": NLI | {"id": "uid", "label": {"value": "yes"}}},
            ],
            "test": [{"path": "snli.tsv", "only": ["de"]}, {"path": "mnli.tsv", "except": ["de"]}],
        },
    }
    definition = task("classification", source, {"en": {"train": 3, "test": 1}, "de": {"test": 1}, "fr": {"test": 1}})
    found = rows(definition, tmp_path)
    assert [(row["id"], row["split"]) for row in found] == [
        ("snli-1", "train"),
        ("mnli-1", "train"),
        ("u", "train"),
        ("mnli-1", "test"),
    ]
    assert [row["text_a"] for row in rows(definition, tmp_path, "de")] == ["snli"]
    assert [row["text_a"] for row in rows(definition, tmp_path, "fr")] == ["mnli"]
    listed = files.paths({**definition, "source": {**definition["source"], "root": str(tmp_path)}}, "en")
    assert [path.name for path in listed] == ["snli.tsv", "mnli.tsv", "anli.jsonl"]


# ---- Errors of the YAML


def test_every_key_is_described_and_documented():
    text = (REPOSITORY / "docs" / "sources.md").read_text(encoding="utf-8")
    for schema in ("source", "source_files", "source_hub"):
        for key, about in descriptions(load(schema)):
            assert about.get("description"), f"{schema}: {key}"
            assert f"`{key.rpartition('.')[2]}`" in text, f"docs/sources.md lacks {key}"


def test_every_example_of_the_documentation_is_a_valid_source():
    text = (REPOSITORY / "docs" / "sources.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)]
    kinds = ("classification", "tagging", "retrieval", "span_qa")
    for example, kind in zip(examples, kinds, strict=True):
        splits = dict.fromkeys(example["source"]["splits"], 1)
        complete = {"kind": kind, "languages": {"en": splits}} | example
        (files if example["source"]["type"] == "files" else hub).check(complete)


GOOD = {"format": "jsonl", "columns": NLI, "splits": {"test": "x.jsonl"}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"formt": "tsv"}, r"source: unknown key 'formt'; .*Did you mean 'format'\?"),
        ({"format": "jsnl"}, r"source\.splits\.test: format: 'jsnl' is not allowed; .*Did you mean 'jsonl'\?"),
        ({"splits": {"tset": "x"}}, r"splits: unknown key 'tset'; .*Did you mean 'test'\?"),
        ({"splits": None}, r"splits: None is not of type object"),
        ({"splits": {"test": {"pth": "x"}}}, r"source\.splits\.test: unknown key 'pth'; .*Did you mean 'path'\?"),
        ({"splits": {"test": ["a", {"root": "x"}]}}, r"source\.splits\.test\[1\]: unknown key 'root'"),
        ({"splits": {"test": {}}}, r"the key 'path' is missing"),
        ({"splits": {"test": 3}}, r"3 is neither a path nor a mapping"),
        ({"words": "fused"}, r"the format 'jsonl' has no option 'words'; it has: none"),
        ({"format": "tsv", "field": ["a"]}, r"unknown key 'field'; .*Did you mean 'fields'\?"),
        ({"format": "lines"}, r"test\.path: the format 'lines' reads a list of files"),
        ({"splits": {"test": {"path": ["a", "b"]}}}, r"test\.path: the format 'jsonl' reads one file"),
        ({"splits": {"dev": "x.jsonl"}}, r"languages\.en: split 'test' is counted, but source\.splits reads none"),
        ({"splits": {"test": {"path": "x", "except": ["en"]}}}, r"split 'test' is counted, but"),
        ({"splits": {"test": "{lang}.jsonl"}}, r"unknown placeholder \{lang\} in .*Did you mean 'language'\?"),
        ({"keep": {"y": {"isnt": 3}}}, r"keep\.y: unknown key 'isnt'; known: is, is_not, prefix"),
        ({"take": 0}, r"take: 0 is less than"),
        ({"columns": NLI | {"text": "a"}}, r"columns: a classification record has no column 'text'; .*mean 'text_b'\?"),
        ({"columns": {"id": "id", "text_a": "a"}}, r"columns: 'label' is missing"),
        ({"columns": NLI | {"label": {"colum": "y"}}}, r"columns\.label: unknown key 'colum'; .*mean 'column'\?"),
        ({"columns": NLI | {"label": {"column": "y", "value": 1}}}, r"exactly one of column, template and value"),
        ({"columns": NLI | {"label": {"column": "y", "map": {}}}}, r"label\.map: \{\} is neither"),
        ({"columns": NLI | {"label": {"column": "y", "others": "keep"}}}, r"label\.others: 'keep' is not allowed"),
        ({"columns": NLI | {"label": 3}}, r"label: 3 is neither a column name, a list nor a mapping"),
        ({"columns": NLI | {"label": {"template": 3}}}, r"label\.template: 3 is not text"),
    ],
)
def test_a_wrong_source_is_refused_before_any_file_is_read(changes, sentence):
    definition = task("classification", {**GOOD, **changes})
    with pytest.raises(UserError, match=sentence):
        files.check(definition)


def test_retrieval_takes_a_pair_or_its_own_columns_and_span_qa_both_keys_of_an_answer():
    columns = {"id": "id", "side": {"value": "query"}, "text": "t", "gold": ["g"]}
    files.check(task("retrieval", {**GOOD, "columns": columns}))
    with pytest.raises(UserError, match=r"a retrieval record has no column 'query'"):
        files.check(task("retrieval", {**GOOD, "columns": columns | {"query": "q"}}))
    columns = {"id": "id", "context": "c", "question": "q", "answers": {"text": "t"}}
    with pytest.raises(UserError, match=r"exactly the keys text and start"):
        files.check(task("span_qa", {**GOOD, "columns": columns}))


def test_a_language_must_count_its_splits_and_codes_must_be_known(tmp_path):
    with pytest.raises(UserError, match=r"languages\.en: no split is counted.*\{test: 1000\}"):
        files.check(task("classification", GOOD, {"en": {"sha256": "0" * 64}}))
    definition = task("classification", {**GOOD, "splits": {"test": "{iso639_3}.jsonl"}}, {"tlh": {"test": 1}})
    with pytest.raises(UserError, match=r"no code for language 'tlh'"):
        files.check(definition)


def test_the_data_folder_comes_from_the_yaml_then_from_what_is_told(tmp_path):
    line = '{"id": 1, "a": "%s", "b": "b", "y": 0}\n'
    table(tmp_path, "here/x.jsonl", line % "here")
    table(tmp_path, "there/x.jsonl", line % "there")
    with pytest.raises(UserError, match=r"the data folder is unknown. Set data_root"):
        files.read(task("classification", GOOD), "en")
    told = str(tmp_path / "there")
    assert next(files.read(parts.rooted(task("classification", GOOD), told), "en"))["text_a"] == "there"
    definition = task("classification", {**GOOD, "root": str(tmp_path / "here")})
    row = next(files.read(parts.rooted(definition, told), "en"))
    assert row["text_a"] == "here"
    assert row["place"] == f"{tmp_path / 'here' / 'x.jsonl'}, line 1"


@pytest.mark.parametrize("path", ["../secret.jsonl", "/etc/passwd", "a/../../*.jsonl", "{language}/../../x.jsonl"])
def test_paths_stay_below_the_data_folder(tmp_path, path):
    table(tmp_path, "secret.jsonl", "{}\n")
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="leaves the folder"):
        rows(task("classification", {**GOOD, "splits": {"test": path}}), tmp_path / "data")


def test_missing_files_are_named_at_once(tmp_path):
    for path in ("no/{language}.jsonl", "no/*.jsonl"):
        definition = task("classification", {**GOOD, "root": str(tmp_path), "splits": {"test": path}})
        with pytest.raises(
            UserError, match=r"source\.splits\.test: no file .*/no/(en|\*)\.jsonl\. Put the published file"
        ):
            files.read(definition, "en")


def test_origin_names_files_but_no_folder_of_this_machine(tmp_path):
    definition = task("classification", {**GOOD, "root": str(tmp_path)})
    found = files.origin(definition)
    assert found == {"type": "files", "splits": {"test": [{"format": "jsonl", "path": "x.jsonl"}]}}


# ---- Streaming

_PREPARE = r"""
import re, sys
from pathlib import Path
from stiltsweep import records, sources
from stiltsweep.catalog import Task
if int(sys.argv[2]) < 10**5:
    records._BATCH_ROWS = 1000  # so that a tenth of the rows is several batches, too
folder, count = Path(sys.argv[1]), int(sys.argv[2])
columns = {"id": "uid", "text_a": "premise", "text_b": "hypothesis"}
columns["label"] = {"column": "label", "map": ["e", "n", "c"]}
definition = {
    "kind": "classification", "licence": "none", "parallel": "none", "text2text": {}, "metrics": ["accuracy"],
    "labels": ["e", "n", "c"], "languages": {"en": {"train": count}},
    "source": {"type": "files", "root": str(folder), "format": "jsonl", "columns": columns,
               "splits": {"train": "train.jsonl"}},
}
sources.prepare(Task("anli_plus", "intermediate", definition), "en", folder / "en.parquet")
# Not getrusage: its peak is inherited from the process that started this one.
print(int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def peak_and_read(folder: Path, count: int, sentences: int) -> tuple[int, float]:
    """Prepare so many rows in a process of its own; return its peak memory and the size of the file, both in MiB."""
    premise = "A man in a blue shirt plays with a brown dog in the park while others watch. " * sentences
    with open(folder / "train.jsonl", "w", encoding="utf-8") as handle:
        for i in range(count):
            row = {
                "uid": f"{i:08x}-4c1e-9a7d-{i:012d}",
                "premise": premise,
                "hypothesis": f"Number {i}.",
                "label": i % 3,
            }
            handle.write(json.dumps(row) + "\n")
    command = [sys.executable, "-c", _PREPARE, str(folder), str(count)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "workflow")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout), (folder / "train.jsonl").stat().st_size / 2**20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(("count", "sentences"), [(30_000, 60), pytest.param(1_100_000, 8, marks=pytest.mark.slow)])
def test_preparing_streams(tmp_path, count, sentences):
    """What is read does not stay in memory: ten times the rows cost far less memory than the texts that they hold.

    Compared with a tenth of the rows in the same run, since what imports and buffers take differs from machine to
    machine. Of the small case 6 MiB of 121 stayed, of the large one 30% (one id a row, kept to find duplicates).
    """
    (before, less), (after, more) = (peak_and_read(tmp_path, n, sentences) for n in (count // 10, count))
    assert after - before < 0.5 * (more - less)


def test_links_are_followed_below_the_data_folder(tmp_path):
    """And not to anywhere else."""
    row = '{"id": 1, "a": "a", "b": "b", "y": 0}\n'
    folder = tmp_path / "all" / "mine"
    for place in (folder / "real", tmp_path / "all" / "shared", tmp_path / "outside"):
        place.mkdir(parents=True)
        (place / "x.jsonl").write_text(row)
    definition = task("classification", {**GOOD, "root": str(folder)})
    link = folder / "x.jsonl"
    link.symlink_to("real/x.jsonl")
    assert [one["id"] for one in files.read(definition, "en")] == ["1"]
    link.unlink()
    link.symlink_to(tmp_path / "all" / "shared" / "x.jsonl")
    with pytest.raises(
        UserError, match=r"is a link that leaves the folder .*/mine, to .*/shared/x\.jsonl\. Set source\.links"
    ):
        list(files.read(definition, "en"))
    # The configuration's data folder may be another than the task's own, and holds what links lead to.
    for said in (str(tmp_path / "all"), str(tmp_path / "outside")):
        below = parts.rooted(definition, said)
        assert below["source"]["root"] == str(folder)
        if said.endswith("all"):
            assert [one["id"] for one in files.read(below, "en")] == ["1"]
        else:
            with pytest.raises(UserError, match="is a link that leaves the folder"):
                list(files.read(below, "en"))
    # A folder that is itself a link, and a pattern that meets one.
    link.unlink()
    (tmp_path / "linked").symlink_to(folder / "real")
    assert list(files.read(task("classification", {**GOOD, "root": str(tmp_path / "linked")}), "en"))
    source = {**GOOD, "root": str(folder), "splits": {"test": "*/x.jsonl"}}
    (folder / "far").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link that leaves the folder"):
        list(files.read(task("classification", source), "en"))


@pytest.mark.parametrize(
    "line", ['{"id": 1, "id": 2, "a": "a", "b": "b", "y": 0}', '{"id": 1, "a": {"t": 1, "t": 2}, "b": "b", "y": 0}']
)
def test_a_key_that_stands_twice_is_refused(tmp_path, line):
    table(tmp_path, "x.jsonl", line + "\n")
    with pytest.raises(UserError, match=r"x\.jsonl, line 1: the key '(id|t)' stands twice"):
        list(files.read(task("classification", {**GOOD, "root": str(tmp_path)}), "en"))


def test_reading_one_row_does_not_read_the_file(tmp_path):
    table(tmp_path, "x.jsonl", '{"id": 1, "a": "a", "b": "b", "y": 0}\n' * 3 + "not JSON\n")
    stream = files.read(task("classification", {**GOOD, "root": str(tmp_path)}), "en")
    assert [next(stream)["id"] for _ in range(3)] == ["1"] * 3
    with pytest.raises(UserError, match="line 4"):
        next(stream)


# ---- Published data (see shared/data/README.md), through the YAML files of sweeps/files alone

CATALOG = REPOSITORY / "sweeps" / "files"
TASKS = {
    "sick_nli": 1,
    "cosmosqa_dev": 1,
    "ud_pos": 15,
    "ner": 5,
    "xquad_files": 12,
    "xcopa_files": 11,
    "tatoeba_files": 36,
    "ud_features_files": 15,
}


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    found = catalog.read([CATALOG])
    return {name: found.task(name) for name in TASKS}


def test_the_catalogue_of_published_data_is_valid_without_the_data(tasks):
    for name, count in TASKS.items():
        assert len(tasks[name].languages) == count
        files.check(tasks[name].definition)
    assert {path.stem for path in CATALOG.glob("*/*.yaml")} == set(TASKS)


@pytest.fixture(scope="module")
def prepared(tasks, tmp_path_factory):
    """(task, language) -> prepared file, each made once."""
    folder = tmp_path_factory.mktemp("prepared")

    @functools.cache
    def path(name: str, language: str) -> Path:
        output: Path = folder / name / f"{language}.parquet"
        sources.prepare(tasks[name], language, output, str(DATA))
        return output

    return path


@published
@pytest.mark.parametrize("name", TASKS)
def test_every_published_file_is_read_with_the_counts_of_the_catalogue(name, tasks, prepared):
    for language, expected in tasks[name].languages.items():
        counts = records.read_meta(prepared(name, language)).counts
        assert counts == {split: count for split, count in expected.items() if split != "sha256"}


@published
def test_published_rows_are_what_the_files_say(prepared):
    def read(name: str, language: str, split: str = "test") -> list[dict[str, Any]]:
        return records.read_rows(prepared(name, language), split)

    thai = read("xquad_files", "th")
    assert [row["id"] for row in thai] == [row["id"] for row in read("xquad_files", "en")]
    assert all(row["context"][a["start"] :].startswith(a["text"]) for row in thai for a in row["answers"])
    german, arabic = (read("ud_pos", language) for language in ("de", "ar"))
    # PUD is parallel, and its ids say so.
    assert {row["id"] for row in german} == {row["id"] for row in arabic}
    hebrew = read("ud_pos", "he")
    assert sum(len(row["tokens"]) for row in hebrew) == 12282  # 15,135 lines less 2,853 multi-word tokens
    train, dev = (read("ud_pos", "en", split) for split in ("train", "dev"))
    assert not {row["id"] for row in train} & {row["id"] for row in dev}
    swahili = read("ner", "sw")
    assert sum(tag == "B-PER" for row in swahili for tag in row["tags"]) == 1180
    assert not any("DATE" in tag for row in swahili for tag in row["tags"])
    quechua = read("xcopa_files", "qu")
    assert {row["question"] for row in quechua} == {"What was the cause?", "What was the effect?"}
    japanese = read("tatoeba_files", "ja")
    assert sum(row["side"] == "query" for row in japanese) == 1000
    published_lines = (DATA / "tatoeba" / "tatoeba.jpn-eng.jpn").read_text(encoding="utf-8").split("\n")
    assert [row["text"] for row in japanese if row["side"] == "query"] == published_lines[:1000]
    assert read("sick_nli", "en", "train")[2]["label"] == "entailment"


@published
@pytest.mark.parametrize(
    "language", ["ar", "de", "en", "es", "fi", "he", "hi", "hu", "id", "ko", "ru", "th", "tr", "zh"]
)
def test_space_after_gives_the_published_text_back(language, tasks):
    """CoNLL-U's own check: fused tokens and SpaceAfter spell the sentence; it holds the reader to both."""
    definition = copy.deepcopy(parts.rooted(tasks["ud_pos"].definition, str(DATA)))
    definition["source"]["words"] = "fused"
    texts = copy.deepcopy(definition)
    texts["source"]["columns"] = {"id": {"template": "{text}"}}
    same = 0
    total = 0
    for row, other in zip(files.read(definition, language), files.read(texts, language), strict=True):
        spelled = "".join(t + " " * s for t, s in zip(row["tokens"], row["space_after"], strict=True))
        same += "".join(spelled.split()) == "".join(other["id"].split()) and spelled.strip() == other["id"]
        total += 1
    assert same >= 0.99 * total
