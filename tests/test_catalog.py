"""The catalogue and the sweeps shipped: facts that agree with the published ones, counts worked out by hand, sources that fit."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import entries
import pytest

from stiltsweep import catalog, config, settings, sources
from stiltsweep.catalog import Catalog, Task
from stiltsweep.errors import UserError
from stiltsweep.languages import ENGLISH
from stiltsweep.records import read_rows, write_rows
from stiltsweep.schema import check_training, read_yaml
from stiltsweep.sources import parts
from stiltsweep.sources.columns import passes
from stiltsweep.sweep import Sweep

ROOT = Path(__file__).parents[1]
COMMIT = re.compile(r"[0-9a-f]{40}")
UNPINNED = {
    "csebuetnlp/xlsum": "refs/convert/parquet",
    "commul/universal_dependencies": "2.17",
    "CohereLabs/Global-MMLU": "main",
    "juletxara/xstory_cloze": "main",
    "nala-cub/americas_nli": "main",
}
"""Data sets whose commit was not found; docs/catalog.md names them."""
UNPINNED_MODELS = {"google/umt5-small", "google/umt5-xl", "google/byt5-xl"} | {
    "Alibaba-NLP/gte-multilingual-base",
    "cis-lmu/glot500-base",
}

# Languages of each target in each benchmark, as Hu et al. (2020) and Ruder et al. (2021) list them.
XTREME = {
    "xnli": 15, "pawsx": 7, "udpos": 33, "panx": 40, "xquad": 11, "mlqa": 7, "tydiqa": 9, "bucc2018": 4, "tatoeba": 36,
}  # fmt: skip
XTREME_R = {
    "xnli": 15, "xcopa": 11, "udpos": 33 + 5, "panx": 40 + 8, "xquad": 11 + 1, "mlqa": 7, "tydiqa": 9,
    "tatoeba": 36 + 5, "lareqa": 11, "mewslix": 11,
}  # fmt: skip


@pytest.fixture(scope="module")
def everything() -> Catalog:
    return catalog.read()


def tasks(everything: Catalog) -> list[Task]:
    return [*everything.intermediates.values(), *everything.targets.values(), *everything.probes.values()]


def shipped(name: str) -> Sweep:
    return Sweep(*config.resolve(config.read(ROOT / "sweeps" / f"{name}.yaml")))


# Sweeps


def test_benchmarks_have_the_published_numbers_of_languages(everything: Catalog) -> None:
    for benchmark, expected, total in (("xtreme", XTREME, 162), ("xtreme-r", XTREME_R, 203)):
        found = {t.name: len(t.benchmarks[benchmark]) for t in everything.targets.values() if benchmark in t.benchmarks}
        assert found == expected and sum(expected.values()) == total


def test_languages_of_the_benchmarks_are_those_of_the_table(everything: Catalog) -> None:
    for benchmark, column, number in (("xtreme", "in_xtreme", 40), ("xtreme-r", "in_xtreme_r", 50)):
        codes = {code for task in everything.targets.values() for code in task.benchmarks.get(benchmark, [])}
        rows = everything.languages.rows
        assert codes == {code for code, row in rows.items() if row[column] == "1"} and len(codes) == number


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        # models x arms (none, nine tasks, multi_task) x pairs of target and language x seeds; none is left out: the
        # smallest test sets, Marathi's 47 and Tagalog's 55 sentences of UD, lie above minimum_examples (30).
        ("phang2020", 1 * (1 + 9 + 1) * 162 * 3),
        ("xtreme_r_mt5", 2 * (1 + 9 + 1) * 203 * 3),
        # xnli, panx, xquad, tydiqa, tatoeba in the languages of XTREME-R
        ("tokenization", 4 * 4 * (15 + 48 + 12 + 9 + 41) * 3),
    ],
)
def test_sweeps_have_the_cells_worked_out_by_hand(name: str, cells: int) -> None:
    sweep = shipped(name)
    assert len(list(sweep.cells())) == cells and sweep.omitted == []
    said = re.search(r"= ([\d,]+) cells", (ROOT / "sweeps" / f"{name}.yaml").read_text())
    assert said and int(said[1].replace(",", "")) == cells


def test_every_checkpoint_of_sub_words_against_bytes_is_probed() -> None:
    sweep = shipped("tokenization")
    # A model as it is, three intermediates, four trainings (Tatoeba has none) in four arms; three seeds.
    assert len(sweep.probe_files()) == 4 * (1 + 3 * 3 + 4 * 4 * 3) == 232
    assert "= 232 jobs" in (ROOT / "sweeps" / "tokenization.yaml").read_text()
    assert len(sweep.probe_tasks["ud_features"]) == 29


def test_trainings_are_shared_where_targets_train_alike() -> None:
    sweep = shipped("phang2020")
    start = "results/phang2020/finetune/xlm-roberta-large/mnli/squad_heldout/seed0/checkpoint.json"
    assert {sweep.checkpoint("xlm-roberta-large", "mnli", target, 0) for target in ("xquad", "mlqa")} == {start}
    sweep = shipped("xtreme_r_mt5")
    assert sweep.checkpoint("mt5-base", "none", "xcopa", 1).endswith("/none/siqa+xcopa/seed1/checkpoint.json")
    assert sweep.checkpoint("mt5-base", "none", "tatoeba", 1).endswith("/models/mt5-base/model.json")


def test_a_language_to_train_on_alone_is_no_cell() -> None:
    base = {"models": ["mbert"], "intermediates": ["none"]}
    sweep = Sweep(*config.resolve({**base, "targets": {"xcopa": "all"}}))
    assert sweep.languages["xcopa"] == ["et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"]
    with pytest.raises(UserError, match=r"targets\.xcopa: language 'en' is not on offer"):
        config.resolve({**base, "targets": {"xcopa": ["en"]}})


def test_arms_of_the_catalogue_can_be_asked_for_without_a_network() -> None:
    names = [
        "none",
        "mnli+translated",
        "mnli+shuffled_labels",
        "mnli+mlm",
        "mnli+steps_matched",
        "wikipedia",
        "multi_task",
    ]
    arms = {
        "multi_task": {"tasks": ["mnli", "qqp", "squad_v1", "hellaswag"]},
        "mlm": {"text": "interface-messages"},
        "translated": {"languages": ["de", "ru", "sw"]},
    }
    sweep = Sweep(
        *config.resolve({"models": ["mt5-small"], "intermediates": names, "arms": arms, "targets": "xtreme-r"})
    )
    assert set(names) <= set(sweep.arms)
    assert sweep.contaminated("mnli+mlm", "xnli") and not sweep.contaminated("mnli+steps_matched", "xnli")
    assert [part.languages for part in sweep.arms["mnli+translated"].parts] == [("de", "ru", "sw")]


def test_everything_is_loaded_and_checked_quickly() -> None:
    """In proportion to what parsing the same files takes in the same run: 4 times as long, when this was written."""
    start = time.process_time()
    for _ in range(4):
        for path in catalog.BUILT_IN.rglob("*.yaml"):
            read_yaml(path)
    parsed = time.process_time() - start
    start = time.process_time()
    for task in tasks(catalog.read()):
        _parts(task)
    for name in ("phang2020", "xtreme_r_mt5", "tokenization"):
        list(shipped(name).cells())
    assert time.process_time() - start < 15 * parsed


# Facts


def _parts(task: Task) -> list[parts.Part]:
    kind = task.definition["source"]["type"]
    if kind == "package":
        return []
    found: list[parts.Part] = importlib.import_module(f"stiltsweep.sources.{sources.READERS[kind]}").check(
        task.definition
    )
    return found


def test_every_source_reads_what_every_language_counts(everything: Catalog) -> None:
    for task in tasks(everything):
        if task.definition["source"]["type"] in ("package", "templates"):
            continue
        found = _parts(task)
        for language, counts in task.languages.items():
            read = {part.split for part in parts.for_language(found, task.definition, language)}
            assert read == {split for split in ("train", "dev", "test") if split in counts}, (task.name, language)


def test_revisions_are_pinned_or_named_as_not(everything: Catalog) -> None:
    found: dict[str, Any] = {}
    for task in tasks(everything):
        if task.definition["source"]["type"] == "hub":
            found |= {part.settings["dataset"]: str(part.settings["revision"]) for part in _parts(task)}
    assert {name: revision for name, revision in found.items() if not COMMIT.fullmatch(revision)} == UNPINNED
    models = {name: model.definition["source"] for name, model in everything.models.items()}
    hub = {source["repo"]: source["revision"] for source in models.values() if source["type"] == "hub"}
    assert {repo for repo, revision in hub.items() if not COMMIT.fullmatch(revision)} == UNPINNED_MODELS
    page = (ROOT / "docs" / "catalog.md").read_text()
    assert all(f"`{name}`" in page for name in [*UNPINNED, *UNPINNED_MODELS])


def test_every_published_fact_says_where_it_comes_from(everything: Catalog) -> None:
    code = re.compile(r"(^|[;,] |\band )(S|D|M|ours)\b|^to be pinned")
    for task in tasks(everything):
        if task.definition["source"]["type"] == "package":
            continue
        about = task.definition.get("provenance", {})
        assert "languages" in about, task.name
        assert ("training" in about) or not task.definition["training"] or task.kind == "text", task.name
        for key, text in about.items():
            assert code.search(text), (task.name, key, text)
    for name, model in everything.models.items():
        if model.definition["source"]["type"] == "hub":
            about = model.definition["provenance"]
            assert {"parameters", "revision", "retrieval"} <= about.keys() and all(map(code.search, about.values())), (
                name
            )


def test_what_contaminates_what(everything: Catalog) -> None:
    found = {t.name: set(t.definition["contaminates"]) for t in everything.intermediates.values()}
    squad, nli = {"xquad", "mlqa", "lareqa"}, {"xnli", "afrixnli", "americasnli"}
    assert {name: targets for name, targets in found.items() if targets} == {
        "mnli": nli,
        "anli_plus": nli,
        "race": {"belebele", "global-mmlu"},
        "squad_v1": squad,
        "squad_v2": squad,
        "squad_heldout": squad,
        "siqa": {"xcopa"},
    }


def test_sizes_add_up(everything: Catalog) -> None:
    def english(name: str) -> Any:
        return everything.task(name).languages[ENGLISH]

    assert english("anli_plus")["train"] == 549367 + 392702 + 16946 + 45460 + 100459
    assert english("anli_plus")["dev"] == 9842 + 9815 + 1000 + 1000 + 1200
    assert english("mnli")["dev"] == 9815 + 9832
    # Held-out questions and those trained on are SQuAD's and TyDi QA's training sets.
    for name, total in (("squad_v1", 87599), ("squad_heldout", 87599), ("squad_v2", 130319), ("tydiqa", 3696)):
        counts, splits = english(name), everything.task(name).definition["source"]["splits"]
        assert counts["train"] + counts["dev"] == total
        assert splits["train"]["take"] == splits["dev"]["skip"] == counts["train"]
        assert splits["train"]["split"] == splits["dev"]["split"] == "train"
    tydiqa = everything.task("tydiqa").languages
    assert sum(counts["test"] for counts in tydiqa.values()) == 5077
    assert [code for code, counts in tydiqa.items() if "train" in counts] == ["en"]


def test_test_data_never_select(everything: Catalog) -> None:
    """No target's dev is read from a split that one of its test sets is read from (BUCC's sample set is its own)."""
    for task in everything.targets.values():
        if task.definition["source"]["type"] != "hub":
            continue
        found = _parts(task)
        read: dict[str, set[Any]] = {"train": set(), "dev": set(), "test": set()}
        for part in parts.for_language(found, task.definition, next(iter(task.languages))):
            upstream = (part.settings["dataset"], part.fill(part.settings.get("config", "")), part.settings["split"])
            read[part.split].add(upstream)
        assert not read["test"] & (read["dev"] | read["train"]), task.name
    assert everything.task("xquad").train_on == everything.task("mlqa").train_on == ["squad_heldout"]
    assert everything.task("xcopa").train_on == ["siqa", "xcopa"]


# Rows as upstream has them -> records


ANSWER = {"text": ["Rome"], "answer_start": [5]}
QUESTION = {"id": "q1", "title": "t", "context": "From Rome on.", "question": "Whence?", "answers": ANSWER}
NLI = {"premise": "p", "hypothesis": "h", "label": 1}
COPA = {"premise": "p", "choice1": "a", "choice2": "b", "question": "effect", "idx": 3, "label": 1}
# The columns of each hub data set, as its dataset_infos.json or README states them.
UPSTREAM: dict[str, dict[str, Any]] = {
    "facebook/xnli": NLI,
    "nyu-mll/glue": {**NLI, "idx": 3, "question1": "a", "question2": "b"},
    "nyu-mll/multi_nli": {**NLI, "genre": "g", "pairID": "1", "promptID": 1},
    "facebook/anli": {**NLI, "uid": "u", "reason": ""},
    "stanfordnlp/snli": NLI,
    "rajpurkar/squad": QUESTION,
    "rajpurkar/squad_v2": QUESTION,
    "google/xquad": QUESTION,
    "google-research-datasets/tydiqa": {**QUESTION, "id": "english-1"},
    "Rowan/hellaswag": {"ind": 4, "ctx_a": "A.", "ctx_b": "then", "ctx": "A. then", "endings": list("abcd"), "label": "2"},
    "allenai/cosmos_qa": {
        "id": "1", "context": "c", "question": "q", "answer0": "a", "answer1": "b", "answer2": "c", "answer3": "d", "label": 3,
    },
    "tau/commonsense_qa": {
        "id": "1", "question": "q", "question_concept": "k", "choices": {"label": list("ABCDE"), "text": list("vwxyz")},
        "answerKey": "C",
    },
    "lighteval/siqa": {"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "c", "label": "3"},
    "aps/super_glue": COPA,
    "cambridgeltl/xcopa": {**COPA, "changed": False},
    "google-research-datasets/paws-x": {"id": 7, "sentence1": "a", "sentence2": "b", "label": 0},
    "unimelb-nlp/wikiann": {"tokens": ["In", "Rome"], "ner_tags": [0, 5], "langs": ["en", "en"], "spans": ["LOC: Rome"]},
    "google/xtreme": {**QUESTION, "tokens": ["we", "run"], "pos_tags": [10, 15]},
    "commul/universal_dependencies": {
        "sent_id": "s", "tokens": ["we", "run"], "upos": [11, 16], "feats": ["Case=Nom|Person=1", None],
        "misc": ["SpaceAfter=No|Gloss=x", None],
    },
    "mteb/tatoeba-bitext-mining": {"sentence1": "Hallo", "sentence2": "Hello"},
    "csebuetnlp/xlsum": {"id": "x", "url": "u", "title": "t", "summary": "Rome sums up.", "text": "Rome is a city."},
    "wikimedia/wikipedia": {"id": "12", "url": "u", "title": "t", "text": "Rome is a city."},
}  # fmt: skip
EXPECTED: dict[str, dict[str, Any]] = {
    "mnli": {"text_a": "p", "text_b": "h", "label": "neutral"},
    "anli_plus": {"text_a": "p", "text_b": "h", "label": "neutral"},
    "xnli": {"text_a": "p", "text_b": "h", "label": "neutral"},
    "qqp": {"text_a": "a", "text_b": "b", "label": "duplicate"},
    "pawsx": {"text_a": "a", "text_b": "b", "label": "different_meaning"},
    "hellaswag": {"context": "A.", "choices": ["then a", "then b", "then c", "then d"], "label": 2},
    "cosmosqa": {"context": "c", "question": "q", "choices": ["a", "b", "c", "d"], "label": 3},
    "csqa": {"context": "q", "choices": list("vwxyz"), "label": 2},
    "siqa": {"context": "c", "question": "q", "choices": ["a", "b", "c"], "label": 2},
    "xcopa": {"context": "p", "question": "What was the effect?", "choices": ["a", "b"], "label": 1},
    "udpos": {"tokens": ["we", "run"], "tags": ["PRON", "VERB"]},
    "ud_features": {
        "tokens": ["we", "run"],
        "features": ["Case=Nom|Person=1", "_"],
        "space_after": [False, True],
    },
    "panx": {"tokens": ["In", "Rome"], "tags": ["O", "B-LOC"]},
    "wikipedia": {"text": "Rome is a city."},
    "xlsum": {"text": "Rome is a city.", "references": ["Rome sums up."]},
}
QA = {"context": "From Rome on.", "question": "Whence?", "answers": [{"text": "Rome", "start": 5}]}


def _records(task: Task, language: str) -> Iterator[dict[str, Any]]:
    for number, part in enumerate(parts.for_language(_parts(task), task.definition, language)):
        row = dict(UPSTREAM[part.settings["dataset"]])
        assert passes(row, parts._filled(part.settings["keep"], part.fill)) or task.name == "tydiqa"
        row |= {"$row": number, "$file": "f", "$language": language, "$name": part.placeholders["name"]}
        if "idx" in row:
            row["idx"] = number
        for record in part.columns.records(row):
            own = record["id"] if task.kind == "retrieval" else f"{number} {record['id']}"
            yield {**record, "id": own, "split": part.split}


def test_rows_of_every_hub_data_set_become_records(everything: Catalog, tmp_path: Path) -> None:
    seen = set()
    for task in tasks(everything):
        if task.definition["source"]["type"] != "hub" or task.name == "race" or "today" in task.benchmarks:
            continue  # those of today are read in test_today.py
        for language in (ENGLISH, "de", "pl", "sw"):
            if language not in task.languages:
                continue
            rows = list(_records(task, language))
            about = {"task": task.name, "language": language, "metrics": [], "parallel": "none"}
            write_rows(tmp_path / "x.parquet", task.kind, rows, about, labels=list(task.definition.get("labels", [])))
            for row in rows:
                expected = EXPECTED.get(task.name, QA)
                if task.name != "tatoeba":
                    assert {key: row[key] for key in expected} == expected, (task.name, language)
            seen.add(task.name)
    assert seen >= {"tatoeba", "mlqa", "squad_heldout", *EXPECTED}


def test_ids_stay_distinct_where_a_task_reads_several_data_sets(everything: Catalog) -> None:
    for name in ("anli_plus", "mnli"):
        task = everything.task(name)
        ids = []
        for part in parts.for_language(_parts(task), task.definition, ENGLISH):
            row = {**UPSTREAM[part.settings["dataset"]], "$row": 0, "$file": "f", "$language": "en", "$name": "en"}
            ids += [(part.split, record["id"]) for record in part.columns.records(row)]
        assert len(set(ids)) == len(ids)


# Text


def test_packaged_text_holds_none_of_what_retrieval_asks_for(everything: Catalog, tmp_path: Path) -> None:
    text, target = everything.task("interface-messages"), everything.task("retrieval")
    for language in ("de", "th", "zh"):
        sources.prepare(text, language, tmp_path / f"{language}.parquet")  # counts and digest are checked
        sources.prepare(target, language, tmp_path / "target.parquet")
        asked = read_rows(tmp_path / "target.parquet")
        rows = read_rows(tmp_path / f"{language}.parquet")
        assert not {row["id"] for row in rows} & {row["id"] for row in asked}
        assert not {row["text"].casefold() for row in rows} & {row["text"].casefold() for row in asked}
        assert len({row["text"] for row in rows}) == len(rows)
        assert {row["split"] for row in rows} == {"train", "dev"}


def _counted(task: Task, root: Path, **counts: int) -> Task:
    definition = dict(task.definition)
    definition["source"] = {**definition["source"], "root": str(root)}
    return replace(task, definition={**definition, "languages": {"en": counts}})


def test_text_of_ones_own_is_read_line_by_line(everything: Catalog, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "en.txt").write_text("".join(f"Line {n}.\n" for n in range(130)))
    task = _counted(everything.task("own-text"), tmp_path, train=30, dev=100)
    sources.prepare(task, "en", tmp_path / "en.parquet")
    rows = read_rows(tmp_path / "en.parquet")
    assert [row["text"] for row in rows if row["split"] == "train"] == [f"Line {n}." for n in range(100, 130)]


def test_labels_that_cannot_be_published_come_from_a_file(everything: Catalog, tmp_path: Path) -> None:
    (tmp_path / "ccg").mkdir()
    for split in ("train", "dev"):
        (tmp_path / "ccg" / f"{split}.txt").write_text("dogs N\nrun S[dcl]\\NP\n\nrun\tS[dcl]\\NP\n")
    task = _counted(everything.task("ccg"), tmp_path, train=2, dev=2)
    with pytest.raises(UserError, match=r"ccg: labels_file: .*labels\.txt is not readable"):
        sources.prepare(task, "en", tmp_path / "en.parquet")
    (tmp_path / "ccg" / "labels.txt").write_text("N\n")
    with pytest.raises(UserError, match="fewer than two labels"):
        sources.prepare(task, "en", tmp_path / "en.parquet")
    (tmp_path / "ccg" / "labels.txt").write_text("S[dcl]\\NP\nN\n")
    assert sources.prepare(task, "en", tmp_path / "en.parquet").labels == ["S[dcl]\\NP", "N"]


# Settings


def _settings(everything: Catalog, model: str, task: str, **overrides: Any) -> settings.TrainingSettings:
    return settings.resolve("target", everything.model(model), everything.task(task), overrides)


def test_tasks_do_not_take_a_models_optimizer_its_learning_rate(everything: Catalog) -> None:
    encoder = _settings(everything, "xlm-roberta-large", "xnli")
    assert (encoder.optimizer, encoder.learning_rate, encoder.warmup, encoder.schedule) == ("adamw", 2e-5, 0, "linear")
    assert (encoder.batch_size, encoder.epochs, encoder.max_length, encoder.max_updates) == (32, 5, 128, None)
    written = _settings(everything, "mt5-base", "xnli")
    assert (written.optimizer, written.learning_rate, written.schedule) == ("adafactor", 1e-3, "constant")
    # 2^20 tokens of inputs 1,024 long are 1,024 sequences; 53 passes over 392,702 hold 20,000 updates of them.
    assert (written.batch_size, written.max_updates, written.max_length) == (1024, 20000, 1024)
    assert 53 * 392702 / 1024 > 20000 > 52 * 392702 / 1024
    heads = _settings(everything, "mt5-base-encoder", "xnli")
    assert (heads.learning_rate, heads.batch_size, heads.max_length) == (1e-3, 32, 128)
    assert _settings(everything, "byt5-base", "xnli").max_length == 2048
    assert _settings(everything, "mt5-base", "xnli", learning_rate=0.5).learning_rate == 0.5
    text = {"text2text": {"epochs": 7, "target": {"epochs": 8}}, "encoder": {"epochs": 9}}
    assert _settings(everything, "mt5-base", "xnli", **text).epochs == 8
    assert _settings(everything, "mbert", "xnli", **text).epochs == 9


def test_the_updates_asked_for_fit_into_the_epochs(everything: Catalog) -> None:
    for task in tasks(everything):
        if task.definition["source"]["type"] == "package" or "train" not in task.languages.get(ENGLISH, {}):
            continue
        found = _settings(everything, "mt5-base", task.name)
        updates = task.languages[ENGLISH]["train"] * found.epochs / found.batch_size
        assert found.max_updates is None or found.max_updates <= updates < 1.1 * found.max_updates, task.name


def test_groups_of_settings_stand_where_they_mean_something() -> None:
    check_training({"over_tasks": {"encoder": {"target": {"epochs": 1}}}}, "m", outermost=0)
    check_training({"encoder": {"intermediate": {"epochs": 1}}}, "t")
    with pytest.raises(UserError, match="t: 'over_tasks' cannot stand here"):
        check_training({"over_tasks": {"epochs": 1}}, "t")
    with pytest.raises(UserError, match="t.target: 'encoder' cannot stand here"):
        check_training({"target": {"encoder": {"epochs": 1}}}, "t")
    with pytest.raises(UserError, match=r"t\.encoder: epochs: 'x' is not of type number"):
        check_training({"encoder": {"epochs": "x"}}, "t")


# The page


def test_the_page_names_every_task_and_model(everything: Catalog) -> None:
    page = (ROOT / "docs" / "catalog.md").read_text()
    rows = {line.split("|")[1].strip().strip("`"): line for line in page.splitlines() if line.startswith("| `")}
    for task in tasks(everything):
        assert task.name in rows, task.name
        assert task.definition["licence"].split(" (")[0].split(",")[0] in rows[task.name], task.name
    for name, model in everything.models.items():
        assert name in rows and f"{model.definition['parameters']:,}" in rows[name], name


# Width, of a head, heads, of the feed-forward layer, layers of encoder and decoder, pieces.
T5_LIKE = {
    "mt5-small": (512, 64, 6, 1024, 8, 8, 250112),
    "mt5-base": (768, 64, 12, 2048, 12, 12, 250112),
    "mt5-large": (1024, 64, 16, 2816, 24, 24, 250112),
    "mt5-xl": (2048, 64, 32, 5120, 24, 24, 250112),
    "mt5-xxl": (4096, 64, 64, 10240, 24, 24, 250112),
    "byt5-small": (1472, 64, 6, 3584, 12, 4, 384),
    "byt5-base": (1536, 64, 12, 3968, 18, 6, 384),
    "byt5-large": (1536, 64, 16, 3840, 36, 12, 384),
    "byt5-xl": (2560, 64, 32, 6720, 36, 12, 384),
    "umt5-small": (512, 64, 6, 1024, 8, 8, 256384),
    "umt5-base": (768, 64, 12, 2048, 12, 12, 256384),
    "umt5-xl": (2048, 64, 32, 5120, 24, 24, 256384),
    "umt5-xxl": (4096, 64, 64, 10240, 24, 24, 256384),
}


@pytest.mark.parametrize("name", T5_LIKE)
def test_parameters_of_t5_like_models_and_their_encoders(name: str, everything: Catalog) -> None:
    """By arithmetic: attention, gated feed-forward, norms, 32 relative positions a head (umT5: in every layer), embeddings."""
    width, head, heads, inner, encoder, decoder, pieces = T5_LIKE[name]
    attention, forward, positions = 4 * width * head * heads, 3 * width * inner, 32 * heads
    every_layer = name.startswith("umt5")

    def stack(layers: int, attentions: int) -> int:
        layer = attentions * attention + forward + (attentions + 1) * width
        return layers * layer + positions * (layers if every_layer else 1) + width

    alone = pieces * width + stack(encoder, 1)
    about = {entry: everything.models[entry].definition for entry in (name, f"{name}-encoder")}
    assert about[f"{name}-encoder"]["parameters"] == alone
    assert about[name]["parameters"] == alone + stack(decoder, 2) + pieces * width
    assert about[name]["source"] == about[f"{name}-encoder"]["source"]
    assert {(one["hidden_size"], one["layers"]) for one in about.values()} == {(width, encoder)}


@pytest.mark.e2e
def test_every_entry_is_in_a_dry_run(everything: Catalog, tmp_path: Path) -> None:
    """Of the sweeps that benchmarks/catalogue.py takes the time of."""
    catalogue = entries.benchmark("catalogue")
    sweeps = catalogue.configurations(everything)
    text = {name: catalogue.dry_run(name, about, tmp_path / name) for name, about in sweeps.items()}

    def found(pattern: str, name: str) -> set[str]:
        return set(re.findall(rf"\b{pattern}", text[name]))

    assert found(r"(?:fetch|pretrain) ([\w.-]+)", "models") == set(everything.models)
    assert found(r"predict \w+ with ([\w.-]+) <- none ", "models") == set(everything.models)
    trained = found(r"train e5-small on ([\w.+-]+) \(", "intermediates")
    assert trained == {*everything.intermediates, *catalogue.VARIANTS} - {"mnli+steps_matched"}
    assert "predict xnli with e5-small <- mnli+steps_matched " in text["intermediates"]
    assert found(r"prepare ([\w.-]+) in ", "intermediates") == {*everything.intermediates, "xnli"}
    read = found(r"evaluate e5-small <- none on ([\w.-]+) in ", "targets")
    written = found(r"evaluate mt5-small <- none on ([\w.-]+) in ", "written")
    assert read | written == set(everything.targets) and written == {"xlsum"}
    assert found(r"probe \S+ for ([\w.-]+)", "targets") == set(everything.probes)
