"""Behavioural tests: templates filled in, their faults, MultiCheckList's published form, and failure rates by hand."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import behaviour as script
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from running import snakemake

from stiltsweep import behaviour, catalog, config, preflight, sources
from stiltsweep.errors import UserError
from stiltsweep.evaluation import evaluate
from stiltsweep.files import SEAL, digest_file, read_json, write_record
from stiltsweep.identity import RUN
from stiltsweep.jobs import Jobs
from stiltsweep.layout import Cell, Layout
from stiltsweep.metrics import metric
from stiltsweep.records import read_rows, write_rows
from stiltsweep.sources import files, parts, templates
from stiltsweep.sources.templates.choice import choices
from stiltsweep.sweep import Sweep

ROOT = Path(__file__).parents[1]

# What meets what


def test_choices_worked_by_hand() -> None:
    found = choices("c", 1, {"b": "names", "a": "names", "x": "things"}, {"names": 2, "things": 2}, None)
    # Two names can meet in two orders, each with two things; items stand in the order of the placeholders' names.
    assert [one.id for one in found] == ["c/1-1-2-1", "c/1-1-2-2", "c/1-2-1-1", "c/1-2-1-2"]
    assert found[2].items == {"a": 1, "b": 0, "x": 0} and found[2].case == 0


def test_a_sample_takes_the_smallest_digests_of_each_case() -> None:
    slots, lengths = {"a": "x", "b": "x", "c": "y"}, {"x": 5, "y": 3}
    everything = [one.id for one in choices("cap", 3, slots, lengths, None)]
    assert len(everything) == len(set(everything)) == 3 * 5 * 4 * 3
    sampled = [one.id for one in choices("cap", 3, slots, lengths, 8)]
    assert [sum(one.startswith(f"cap/{case}-") for one in sampled) for case in (1, 2, 3)] == [3, 3, 2]
    by_digest = sorted(everything, key=lambda one: hashlib.sha256(one.encode()).hexdigest())
    for case, wanted in ((1, 3), (2, 3), (3, 2)):
        smallest = [one for one in by_digest if one.startswith(f"cap/{case}-")][:wanted]
        assert set(smallest) == {one for one in sampled if one.startswith(f"cap/{case}-")}
    assert sampled == sorted(sampled), "in the order of cases and items"
    assert set(sampled) <= {one.id for one in choices("cap", 3, slots, lengths, 20)}
    assert [one.id for one in choices("cap", 3, dict(reversed(slots.items())), lengths, 8)] == sampled
    # A longer list keeps the ids of what was there.
    assert set(everything) <= {one.id for one in choices("cap", 3, slots, {"x": 6, "y": 3}, None)}


def test_too_many_combinations_are_refused() -> None:
    with pytest.raises(UserError, match=r"capabilities.cap: 1,000,000 combinations .* more than 100,000"):
        choices("cap", 1, {"a": "x", "b": "y"}, {"x": 1000, "y": 1000}, 5)


# Templates filled in

SOURCE = {
    "type": "templates",
    "path": "texts/{language}.yaml",
    "capabilities": {
        "taller": {"tests": "Who of two is the taller.", "slots": {"one": "name", "two": "name"}},
    },
}
TEXTS: dict[str, dict[str, Any]] = {
    "en": {
        "review": "native",
        "slots": {"name": ["Ann", "Anna"]},
        "capabilities": {
            "taller": [{"context": "{one}? No, {two} is taller.", "question": "Who, {one}?", "answer": "{two}"}]
        },
    },
    "tr": {
        "review": "needed",
        "slots": {"name": [{"is": "Ayşe", "than": "Ayşe'den"}, {"is": "Işık", "than": "Işık'tan"}]},
        "capabilities": {
            "taller": [
                {"context": "{two} {one.than} uzun.", "question": "{one}?", "answer": ["{two}", "{one.than} uzun"]}
            ]
        },
    },
}


def task(folder: Path, texts: dict[str, Any], source: dict[str, Any] = SOURCE, **more: Any) -> catalog.Task:
    """Write a task of templates into a catalogue of one's own and read it from there."""
    about = {
        "kind": "span_qa",
        "description": "Tests of the tests.",
        "licence": "MIT",
        "source": source,
        "languages": {language: {} for language in texts},
        "metrics": ["mlqa_em"],
        "parallel": "full",
        "capabilities": True,
        **more,
    }
    target = folder / "target"
    (target / "texts").mkdir(parents=True, exist_ok=True)
    (target / "mine.yaml").write_text(yaml.safe_dump(about, allow_unicode=True))
    for language, text in texts.items():
        (target / "texts" / f"{language}.yaml").write_text(yaml.safe_dump(text, allow_unicode=True))
    return catalog.read([folder]).task("mine")


def test_rows_worked_by_hand(tmp_path: Path) -> None:
    mine = task(tmp_path, TEXTS)
    english, turkish = (list(templates.read(mine.definition, language)) for language in ("en", "tr"))
    assert [(row["id"], row["context"], row["answers"]) for row in english] == [
        # "Ann" also stands in "Anna", where a search would find it first.
        ("taller/1-1-2", "Ann? No, Anna is taller.", [{"text": "Anna", "start": 9}]),
        ("taller/1-2-1", "Anna? No, Ann is taller.", [{"text": "Ann", "start": 10}]),
    ]
    assert [row["question"] for row in english] == ["Who, Ann?", "Who, Anna?"]
    assert [(row["id"], row["context"]) for row in turkish] == [
        ("taller/1-1-2", "Işık Ayşe'den uzun."),
        ("taller/1-2-1", "Ayşe Işık'tan uzun."),
    ]
    assert turkish[0]["answers"] == [{"text": "Işık", "start": 0}, {"text": "Ayşe'den uzun", "start": 5}]
    meta = sources.prepare(mine, "tr", tmp_path / "tr.parquet")
    assert meta.counts == {"test": 2} and meta.source["capabilities"] == ["taller"]
    assert templates.reviews(mine.definition) == {"en": "native", "tr": "needed"}


def test_classification(tmp_path: Path) -> None:
    slots = {"animal": ["the dog", "the cat"]}
    case = {"text_a": "I see {animal}.", "text_b": "{animal} is here.", "label": "yes"}
    texts = {"en": {"review": "native", "slots": slots, "capabilities": {"taller": [case]}}}
    source = {**SOURCE, "capabilities": {"taller": {"tests": "Whether it is so.", "slots": {"animal": "animal"}}}}
    mine = task(tmp_path, texts, source, kind="classification", labels=["yes", "no"], metrics=["accuracy"])
    rows = list(templates.read(mine.definition, "en"))
    assert [(row["text_a"], row["text_b"], row["label"]) for row in rows] == [
        ("I see the dog.", "the dog is here.", "yes"),
        ("I see the cat.", "the cat is here.", "yes"),
    ]
    sources.prepare(mine, "en", tmp_path / "en.parquet")
    del case["text_b"]
    mine = task(tmp_path, texts, source, kind="classification", labels=["yes", "no"], metrics=["accuracy"])
    assert all("text_b" not in row for row in templates.read(mine.definition, "en"))


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the texts with one thing changed, or gone if None; the path names language and keys."""
    texts: dict[str, Any] = json.loads(json.dumps(TEXTS))
    at: Any = texts
    *before, last = path.split(".")
    for key in before:
        at = at[int(key)] if key.isdigit() else at[key]
    if value is None:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return texts


CASE = "tr.capabilities.taller.0"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (f"{CASE}.context", "{two} {oen.than}", r"tr.yaml \(tr\): capabilities.taller\[0\].context: \{oen.than\} is not .*'one'"),
        (f"{CASE}.question", "{one.then}?", r"\(tr\): capabilities.taller\[0\].question: .* form 'then' .* mean 'than'"),
        ("en.slots.name", ["Ann", "Bo", "Cy"], r"\(tr\): slots.name: has 2 words, 3 in .*en.yaml \(en\)"),
        (f"{CASE}.answer", "{two} kısa", r"taller\[0\].answer: 'Işık kısa' is not in the context .*\(id taller/1-1-2\)"),
        ("tr.capabilities.taller", [], r"tr.yaml \(tr\): capabilities.taller: \[\] should be non-empty"),
        ("tr.capabilities", {"tallr": [TEXTS["tr"]["capabilities"]["taller"][0]]}, r"capabilities.tallr: .* Did you mean 'taller'"),
        ("tr.capabilities.taller", TEXTS["tr"]["capabilities"]["taller"] * 2, r"\(tr\): capabilities.taller: has 2 cases, 1 in"),
        (f"{CASE}.contxt", "x", r"taller\[0\]: unknown key 'contxt'; .* Did you mean 'context'"),
        (f"{CASE}.answer", None, r"taller\[0\]: the key 'answer' is missing"),
        (f"{CASE}.question", ["a", "b"], r"taller\[0\].question: only an answer may be a list"),
        ("tr.slots", {"nane": ["a"]}, r"capabilities.taller: \{one\} .* list 'name', .* Did you mean 'nane'"),
        ("tr.slots.name.0", {"than": "x"}, r"\{(one|two)\} asks for the form 'is' of 'x', which has: than"),
        ("tr.review", "done", r"tr.yaml \(tr\): review: 'done' is not allowed; allowed: native, needed"),
        ("en.capabilities.taller.0.context", "{one.than} {two}", r"asks for a form of 'Ann', which is a text"),
    ],
)  # fmt: skip
def test_faults_are_one_sentence(path: str, value: Any, sentence: str, tmp_path: Path) -> None:
    mine = task(tmp_path, changed(path, value))
    with pytest.raises(UserError, match=sentence) as found:
        templates.check(mine.definition)
    assert "\n" not in str(found.value) and str(found.value).endswith((".", "?", ")"))


def test_a_placeholder_that_no_text_uses_would_make_equal_examples(tmp_path: Path) -> None:
    case = {"context": "{two} is taller.", "question": "Who?", "answer": "{two}"}
    mine = task(tmp_path, changed("en.capabilities.taller.0", case))
    with pytest.raises(UserError, match=r"en.yaml \(en\): capabilities.taller\[0\]: \{one\} occurs in none"):
        templates.check(mine.definition)


def test_a_missing_language_is_named(tmp_path: Path) -> None:
    mine = task(tmp_path, TEXTS)
    (tmp_path / "target" / "texts" / "tr.yaml").unlink()
    with pytest.raises(UserError, match=r"tr.yaml: not readable"):
        templates.check(mine.definition)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"path": "../../{language}.yaml"}, "leaves the folder"),
        ({"path": "/etc/{language}.yaml"}, "leaves the folder"),
        ({"path": "texts/{lang}.yaml"}, r"source.path: unknown placeholder in 'texts/\{lang\}.yaml'"),
        ({"root": "/"}, "unknown key 'root'"),
        ({"capabilites": {}}, "unknown key 'capabilites'.* Did you mean 'capabilities'"),
        ({"sample": 0}, "sample: 0 is less than"),
        ({"capabilities": {"a b": SOURCE["capabilities"]["taller"]}}, "'a b' does not match"),  # type: ignore[index]
    ],
)
def test_sources_are_checked(source: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        templates.check(task(tmp_path, TEXTS, {**SOURCE, **source}).definition)


def test_only_two_kinds_have_templates(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="of kind span_qa or classification, not of kind 'text'"):
        templates.check(task(tmp_path, TEXTS, kind="text", metrics=["reconstruction_accuracy"]).definition)


# Our own tests


def test_our_own_tests_are_parallel_and_ask_for_review() -> None:
    """Every answer stands where it is said to; ids, and so what is drawn, are the same in every language."""
    mine = catalog.read().task("behaviour")
    rows = {language: list(templates.read(mine.definition, language)) for language in mine.languages}
    ids = [row["id"] for row in rows["en"]]
    assert len(set(ids)) == len(ids) == 288
    for language, found in rows.items():
        assert [row["id"] for row in found] == ids, language
        assert len({(row["context"], row["question"]) for row in found}) == len(ids), f"{language}: equal examples"
        for row in found:
            assert "{" not in row["context"] + row["question"], (language, row["id"])
            for answer in row["answers"]:
                assert row["context"].startswith(answer["text"], answer["start"]), (language, row["id"])
    families = catalog.read().languages.groups("family", list(rows))
    assert len(rows) >= 10 and {len(families[name]) >= 3 for name in ("agglutinative", "fusional", "isolating")} == {
        True
    }
    assert set(templates.reviews(mine.definition).values()) == {"needed"}
    assert "native review" in mine.definition["notes"].lower()


def test_the_tests_share_the_training_of_the_questions() -> None:
    given = {"models": ["e5-small"], "intermediates": ["none"], "seeds": [0], "targets": {"qa": ["en", "fi"]}}
    alone = Sweep(*config.resolve(given))
    both = Sweep(*config.resolve({**given, "targets": {"qa": ["en", "fi"], "behaviour": ["en", "fi"]}}))
    assert list(both.trainings) == list(alone.trainings) == ["qa"]
    assert both.checkpoint("e5-small", "none", "behaviour", 0) == both.checkpoint("e5-small", "none", "qa", 0)
    assert alone.behaviour_files == [] and Jobs(alone).templates("qa", "fi") == []
    assert both.behavioural == ["behaviour"]
    assert both.behaviour_files == ["results/behaviour/failures.csv", "results/behaviour/examples.json"]
    folder = "workflow/catalog/target/behaviour"
    assert Jobs(both).templates("behaviour", "fi") == [f"{folder}/fi.yaml", f"{folder}/en.yaml"]
    # A moved checkout is the same sweep; and data do not depend on whether they are counted by capability.
    definition = Jobs(both).task_definition("behaviour", "fi")
    assert definition["source"]["root"] == "workflow/catalog/target" and "capabilities" not in definition
    assert '"review":{"en":"needed","fi":"needed"}' in Jobs(both).behaviour_arguments()
    preflight.check(both)


# MultiCheckList as it is published

HEADER = ["Field", "en", "xx", "xx-placeholders", "xx", "xx-placeholders", "yy"]
TABLE = [
    ["Name", "A is COMP than B. Who is more / less COMP?"],
    ["Capability", "Vocabulary"],
    ["Context", "{first_name} is {adj[0]} than {first_name1}.", "{first_name} mo {adj[0]} {first_name1}.", "", "", "", "{first_name}、{first_name1}。"],
    ["Question", "Who is less {adj[1]}?", "Qi {adj[1]}a?", "old, tall", "Qo {adj[1]}o?", "wise", ""],
    ["Answer", "{first_name1}", "{first_name1}", "", "", "", "{first_name1}"],
    ["Question", "Who is {adj[0]}?", "Qi mo {adj[0]}?", "", "", "", "{adj[0]}？"],
    ["Answer", "{first_name}", "{first_name}", "", "", "", "{first_name}-ga"],
    ["adj", "older, old", "mol, ol", "", "", "", "甲，乙"],
    ["adj", "taller, tall", "mot, ot", "", "", "", "丙，丁"],
    ["adj", "wiser, wise", "mow, ow", "", "", "", "戊，己"],
    ["", ""],
    ["Name", "size, shape, age, color"],
    ["Capability", "Taxonomy"],
    ["Context", "There is {obj[0]}. {obj[1]} is {p.v1} and {p.v2}.", "Es {obj[0]}. {obj[1]} {p.v1} e {p.v2}.", "", "", "", ""],
    ["Question", "What {p.p1} is {obj[1]}?", "Ke {p.p1}?", "", "", "", ""],
    ["Answer", "{p.v1}", "{p.v1}", "", "", "", ""],
    ["Question", "What {p.p2} is {obj[1]}?", "Ke {p.p2}?", "color", "Ke {p.p1}?", "size", ""],
    ["Answer", "{p.v2}", "{p.v2}", "", "", "", ""],
    ["obj", "a sofa, the sofa", "un sof, il sof", "", "", "", ""],
    ["obj", "a wall, the wall", "una mur, la mur", "", "", "", ""],
    ["color", "red", "ros", "a sofa, the sofa", "rosa", "wall", ""],
    ["color", "blue", "blu", "", "", "", ""],
    ["size", "big", "gran", "", "", "", ""],
    ["size", "small", "pico", "", "", "", ""],
    ["property", "color", "kolor", "", "", "", ""],
    ["property", "size", "tal", "", "", "", ""],
]  # fmt: skip
PEOPLE = ["Aa", "Bb", "Cc", "Dd"]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "multichecklist" / "checklist_templates.tsv"
    path.parent.mkdir()
    lines = [[*row, *[""] * (len(HEADER) - len(row))] for row in [HEADER, *TABLE]]
    path.write_bytes("\r\n".join("\t".join(row) for row in lines).encode())
    return path


def example_rows(path: Path, name: str, **settings: Any) -> list[dict[str, Any]]:
    given = {"name": name, "people": PEOPLE, "sample": 60, **settings}
    return [row for _, row in files.FORMATS["checklist"].rows(path, given)]


def test_the_published_form_of_multichecklist(published: Path) -> None:
    english, foreign = example_rows(published, "en"), example_rows(published, "xx")
    assert [row["id"] for row in english] == [
        f"{name}/{i}" for name in ("comparison", "property") for i in range(1, 61)
    ]
    by_id = {row["id"]: row for row in english}
    words = dict(zip(["older", "taller", "wiser"], ["mol", "mot", "mow"], strict=True))
    bases = dict(zip(["mol", "mot", "mow"], ["ola", "ota", "owo"], strict=True))
    seen = set()
    for row in foreign:
        same = by_id[row["id"]]
        for answer in row["answers"]:
            assert row["context"].startswith(answer["text"], answer["answer_start"])
        if row["id"].startswith("comparison"):
            # The same draw in both, word for word; and the question that goes with the adjective.
            first, _, adjective, _, second = same["context"].rstrip(".").split()
            assert row["context"] == f"{first} mo {words[adjective]} {second}."
            odd = int(row["id"].split("/")[1]) % 2
            assert row["question"] == (f"Q{bases[words[adjective]][-1].replace('a', 'i')} {bases[words[adjective]]}?" if odd else f"Qi mo {words[adjective]}?")  # fmt: skip
            assert row["answers"][0]["text"] == same["answers"][0]["text"] == (second if odd else first)
            seen.add(adjective)
        else:
            thing = "sof" if "sofa" in same["context"] else "mur"
            # Genders agree, and sentences begin with a capital.
            assert row["context"].startswith("Es un sof. Il sof " if thing == "sof" else "Es una mur. La mur ")
            assert ("ros " in row["context"] + " ") <= (thing == "sof") and ("rosa" in row["context"]) <= (
                thing == "mur"
            )
            asked, answered = row["question"], row["answers"][0]["text"]
            assert (asked == "Ke kolor?") == (answered in ("ros", "rosa", "blu")), row
    assert seen == {"older", "taller", "wiser"}
    # The question of the second property names the first where that is a size: left out, not asked wrongly.
    missing = set(by_id) - {row["id"] for row in foreign}
    assert missing and all(by_id[one]["question"].startswith("What size") for one in missing)
    assert all(int(one.split("/")[1]) % 2 == 0 and one.startswith("property") for one in missing)


def test_languages_lack_what_they_cannot_say(published: Path) -> None:
    """yy has no first question, an answer that its contexts never hold, and no second test."""
    assert example_rows(published, "yy") == []
    text = (
        published.read_text()
        .replace("{first_name}-ga", "{first_name}")
        .replace("、{first_name1}。", "{adj[0]}{first_name1}。")
    )
    published.write_text(text)
    found = example_rows(published, "yy")
    assert [row["id"] for row in found] == [f"comparison/{i}" for i in range(2, 61, 2)]
    assert all(row["question"][0] in "甲丙戊" for row in found), "lists are split at the comma of the script"


def test_draws_are_nested_and_have_two_people(published: Path) -> None:
    some, more = example_rows(published, "en", sample=7), example_rows(published, "en", sample=300)
    assert [row for row in more if int(row["id"].split("/")[1]) <= 7] == some
    contexts = [row["context"].rstrip(".").split() for row in more if row["id"].startswith("comparison")]
    pairs = {(words[0], words[4]) for words in contexts}
    assert pairs == set(itertools.permutations(PEOPLE, 2))
    assert more == example_rows(published, "en", sample=300)


def test_what_is_no_table_of_templates_is_refused(published: Path) -> None:
    with pytest.raises(UserError, match="has no language 'xz'; it has: en, xx, yy"):
        example_rows(published, "xz")
    with pytest.raises(UserError, match="people: give at least two first names"):
        example_rows(published, "xx", people=["Aa"])
    published.write_text("Field\ten\nContext\tx\n")
    with pytest.raises(UserError, match="line 2: 'Context' stands before the first Name"):
        example_rows(published, "en")
    published.write_text("id\ttext\n1\tx\n")
    with pytest.raises(UserError, match="line 1: begins with"):
        example_rows(published, "en")


def test_the_target_checklist_reads_it(published: Path) -> None:
    """Through the task itself, with the header's names made those of two of its languages."""
    published.write_text(published.read_text().replace("xx", "de").replace("yy", "zh"))
    task = catalog.read().task("checklist")
    definition = parts.rooted(task.definition, str(published.parents[1]))
    assert len(task.languages) == 49 and task.definition["capabilities"] and not task.benchmarks
    rows = list(files.read(definition, "de"))
    assert rows[0]["id"] == "comparison/1" and rows[0]["split"] == "test"
    assert {row["context"].split()[0] for row in rows if row["id"].startswith("comparison")} <= {
        *("David", "Daniel", "Adam", "Martin", "Robert", "Victor", "Oscar", "Simon")
    }
    checked = files.check(task.definition)
    assert sum(len(part.settings["only"]) for part in checked) == 49
    assert {len(part.settings["people"]) for part in checked} == {8}


# Failure rates


def wilson(failures: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    p = failures / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * (middle - half) / (1 + z * z / n), 100 * (middle + half) / (1 + z * z / n)


def write_run(results: Path, cell: Cell, outcomes: dict[str, bool], name: str = "mlqa_em") -> None:
    """Write what `behaviour` reads of a cell: its JSON and statistics, predictions and data."""
    path = Path(Layout(str(results)).cell(cell))
    first, second = metric(name).columns
    columns = {"id": list(outcomes), f"{name}.{first}": [1.0] * len(outcomes)}
    columns[f"{name}.{second}"] = [float(right) for right in outcomes.values()]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path.with_suffix(".parquet"))
    digests = {"statistics": digest_file(path.with_suffix(".parquet"))}
    write_record(path, {"metric": name, "family": "agglutinative", "digests": digests})
    folder = results / "predictions" / cell.model / cell.intermediate / cell.target / f"seed{cell.seed}"
    predictions = ["right" if right else f"wrong {one}" for one, right in outcomes.items()]
    write_record(folder / f"{cell.language}.json", {"ids": list(outcomes), "predictions": predictions})
    rows = [
        {
            "id": one,
            "split": "test",
            "context": f"right {one}",
            "question": "q?",
            "answers": [{"text": "right", "start": 0}],
        }
        for one in outcomes
    ]
    about = {"task": cell.target, "language": cell.language, "metrics": [name], "parallel": "none"}
    write_rows(results / "data" / cell.target / f"{cell.language}.parquet", "span_qa", rows, about, labels=[])


def test_failure_rates_worked_by_hand(tmp_path: Path) -> None:
    cell, later = Cell("m", "none", "t", 0, "fi"), Cell("m", "none", "t", 1, "fi")
    outcomes = {f"negation/{i}": i % 4 == 0 for i in range(40)} | {f"role/{i}": True for i in range(5)}
    write_run(tmp_path, cell, outcomes)
    write_run(tmp_path, later, outcomes)
    reviews = {"t": {"fi": "needed"}}
    negation, role, *_ = behaviour.count(tmp_path, [cell, later], reviews, 0.95)
    assert (negation.capability, negation.failures, negation.n, negation.failure_rate) == ("negation", 30, 40, 75.0)
    assert (negation.ci_low, negation.ci_high) == pytest.approx(wilson(30, 40), abs=1e-5)
    assert (role.failures, role.n, role.failure_rate, role.ci_low) == (0, 5, 0.0, 0.0)
    assert role.ci_high == pytest.approx(wilson(0, 5)[1], abs=1e-5)
    assert (negation.family, negation.review, negation.seed) == ("agglutinative", "needed", 0)
    wide = next(behaviour.count(tmp_path, [cell], {}, 0.99))
    assert wide.ci_low < negation.ci_low and wide.review == ""
    shown = list(behaviour.examples(tmp_path, [cell, later], reviews))
    assert [(one["capability"], len(one["examples"]), one["seed"]) for one in shown] == [
        ("negation", 5, 0),
        ("role", 0, 0),
    ]
    wrong = [one for one, right in outcomes.items() if not right]
    assert [one["id"] for one in shown[0]["examples"]] == [wrong[i] for i in (0, 6, 12, 18, 24)]
    first = shown[0]["examples"][0]
    assert first["prediction"] == "wrong negation/1" and first["context"] == "right negation/1" and "split" not in first


def test_ids_name_a_capability(tmp_path: Path) -> None:
    assert behaviour.capability("negation/3-1") == "negation"
    cell = Cell("m", "none", "t", 0, "fi")
    write_run(tmp_path, cell, {"17": True})
    with pytest.raises(UserError, match="t/fi: id '17' names no capability"):
        list(behaviour.count(tmp_path, [cell], {}, 0.95))


def test_templates_to_failures(tmp_path: Path) -> None:
    """From a task of templates, over predictions scored by the cell's own code, to the table and the examples."""
    mine = task(tmp_path, TEXTS)
    results = tmp_path / "results"
    for language in TEXTS:
        data = results / "data" / "mine" / f"{language}.parquet"
        meta = sources.prepare(mine, language, data)
        rows = read_rows(data, "test")
        folder = results / "predictions" / "m" / "none" / "mine" / "seed0"
        # The first one right, in Turkish by the second of its answers; the other wrong.
        said = [rows[0]["answers"][-1]["text"], "nobody"]
        found = {"data_sha256": meta.sha256, "ids": [r["id"] for r in rows], "predictions": said, "tokens": 1}
        seal = write_record(folder / f"{language}.json", found)
        index = {**dict.fromkeys(RUN), "languages": {language: {SEAL: seal}}, "learned": True, "checkpoint_sha256": "c"}
        write_record(folder / "predictions.json", {**index, "train_tokens": 0, "train_updates": 0})
        cell = Cell("m", "none", "mine", 0, language)
        output = Path(Layout(str(results)).cell(cell))
        assert evaluate(cell, data, folder / "predictions.json", output, family="x", contaminated=False) == 50.0
    tests = {
        "mine": {"intermediates": ["none"], "languages": list(TEXTS), "review": templates.reviews(mine.definition)}
    }
    table = results / "behaviour" / "failures.csv"
    script.main(["--results", str(results), "--models", "m", "--seeds", "0", "--tests", json.dumps(tests), "--output", str(table)])  # fmt: skip
    lines = [line.split(",") for line in table.read_text().splitlines()]
    assert lines[0] == list(behaviour.COLUMNS)
    wanted = ["m", "none", "mine", "0", "tr", "x", "taller", "1", "2", "50.0"]
    assert lines[2][:10] == wanted and [row[-1] for row in lines[1:]] == ["native", "needed"]
    shown = read_json(table.with_name("examples.json"))
    assert shown[1]["examples"] == [
        {
            "id": "taller/1-2-1",
            "cluster": "taller/0",
            "context": "Ayşe Işık'tan uzun.",
            "question": "Işık?",
            "answers": [{"text": "Ayşe", "start": 0}, {"text": "Işık'tan uzun", "start": 5}],
            "prediction": "nobody",
        }
    ]


@pytest.mark.e2e
def test_an_edited_template_prepares_its_language_again(tmp_path: Path) -> None:
    """Through Snakemake: a language's file decides that language, English those that are compared with it."""
    own = tmp_path / "own"
    task(own, TEXTS, train_on=["qa"])
    settings = {"catalog": ["own"], "models": ["e5-small"], "intermediates": ["none"], "targets": {"mine": "all"}, "minimum_examples": 1}  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    data = ["results/data/mine/en.parquet", "results/data/mine/tr.parquet"]

    done = snakemake(tmp_path, *data, shared=True).text
    assert all((tmp_path / path).is_file() for path in data), done
    assert "Nothing to be done" in snakemake(tmp_path, *data, "-n").text
    edited = own / "target" / "texts" / "tr.yaml"
    edited.write_text(edited.read_text().replace("uzun", "kısa"))
    assert re.search(r"^prepare +1$", snakemake(tmp_path, *data, "-n", "--quiet", "rules").text, re.MULTILINE)
    english = own / "target" / "texts" / "en.yaml"
    english.write_text(english.read_text().replace("Anna", "Annie"))
    assert re.search(r"^prepare +2$", snakemake(tmp_path, *data, "-n", "--quiet", "rules").text, re.MULTILINE)
    edited.write_text(edited.read_text().replace("{one.than} k", "{oen.than} k"))
    text = snakemake(tmp_path, *data, "-n", check=False).text
    assert "target/mine.yaml" in text and "tr.yaml (tr): capabilities.taller[0].context: {oen.than}" in text
    assert "Traceback" not in text
