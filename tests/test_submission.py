"""A submission folder of XTREME: its files, and the official evaluate.py run on it, which gives our numbers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import submission as submission_script
from running import snakemake
from test_graph import ROOT

from plain_means import entry
from stiltsweep import catalog
from stiltsweep.aggregates import members
from stiltsweep.errors import UserError
from stiltsweep.evaluation import evaluate
from stiltsweep.files import SEAL, read_json, write_record
from stiltsweep.identity import RUN
from stiltsweep.layout import Cell, Layout
from stiltsweep.records import write_rows
from stiltsweep.submission import rendered

CATALOG = catalog.read()
XTREME = members({name: task.benchmarks for name, task in CATALOG.targets.items()})["xtreme"]
OFFICIAL = os.environ.get("STILTSWEEP_XTREME", "")
"""A checkout of google-research/xtreme."""
N = 12
WORDS = ["light", "kitchen", "on", "灯", "ไฟ", "ضوء", "the", "Büro", "U.S.", "9"]
# Bare tags that seqeval 1.2 reads as 0.0.12 does: no two share all but their first letter, none begins with B, I, E, S, O.
TAGS = {"udpos": ["ADJ", "NOUN", "VERB", "PUNCT"], "panx": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]}


def example(task: str, kind: str, labels: Sequence[str], number: int, rng: random.Random) -> tuple[dict[str, Any], Any]:
    """Return a random row and a random prediction that is often right."""
    row: dict[str, Any] = {"id": f"q{number:03}"}
    if kind == "classification":
        row |= {"text_a": "a", "text_b": "b", "label": rng.choice(labels)}
        return row, rng.choice([row["label"], rng.choice(labels)])
    if kind == "tagging":
        row |= {"tokens": [rng.choice(WORDS) for _ in range(rng.randint(1, 6))]}
        row["tags"] = [rng.choice(TAGS[task]) for _ in row["tokens"]]
        tags = [rng.choice([tag, rng.choice(TAGS[task])]) for tag in row["tags"]]
        return row, tags[: rng.randint(len(tags) - 1, len(tags))] if task == "panx" else tags
    if kind == "span_qa":
        words = [rng.choice(WORDS) for _ in range(8)]
        context, start = " ".join(words), rng.randrange(6)
        text = " ".join(words[start : start + 2])
        row |= {
            "context": context,
            "question": "?",
            "answers": [{"text": text, "start": len(" ".join(words[:start])) + (start > 0)}],
        }
        return row, rng.choice([text, " ".join(words[:2]), "", words[start]])
    raise AssertionError(kind)


def sides(task: str, kind: str, rng: random.Random) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return queries, candidates and predictions of a search."""
    queries = [{"id": f"q{i:03}", "text": f"s {i}", "side": "query", "gold": [f"c{i:03}"]} for i in range(N)]
    if kind == "mining":
        for row in queries[::3]:
            row["gold"] = []
    candidates = [{"id": f"c{i:03}", "text": f"t {i}", "side": "candidate", "gold": []} for i in range(N)]
    found: list[Any] = []
    for i in range(N):
        near = rng.choice([i, rng.randrange(N)])
        if kind == "mining":
            found.append(rng.choice([[f"c{near:03}", 1.0], []]))
        else:
            found.append({"candidates": [f"c{near:03}"], "queries": [[f"q{near:03}", near == i]]})
    return [*queries, *candidates], found


def written(
    folder: Path, tasks: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str, list[dict[str, Any]], float | None]]:
    """Write data, predictions and cells; yield task, language, test rows and the score that enters the benchmark."""
    layout = Layout(str(folder))
    for task, codes in tasks.items():
        definition = CATALOG.targets[task].definition
        kind = definition["kind"]
        labels = TAGS.get(task) or list(definition.get("labels", []))
        for code in codes:
            rng = random.Random(f"{task} {code}")
            if kind in ("retrieval", "mining"):
                rows, predictions = sides(task, kind, rng)
            else:
                pairs = [example(task, kind, labels, number, rng) for number in range(N)]
                rows, predictions = [row for row, _ in pairs], [one for _, one in pairs]
            about = {
                "task": task,
                "language": code,
                "metrics": list(definition["metrics"]),
                "parallel": "none",
                "source": {},
                "text2text": {},
            }
            data = Path(layout.data(task, code))
            meta = write_rows(data, kind, [{"split": "test", **row} for row in rows], about, labels=labels)
            cell = Cell("tiny", "none", task, 0, code)
            asked = [row for row in rows if row.get("side") != "candidate"]
            one = {"data_sha256": meta.sha256, "tokens": 1, "sentinels": None}
            seal = write_record(
                Path(layout.prediction(cell)), {**one, "ids": [row["id"] for row in asked], "predictions": predictions}
            )
            index = Path(layout.predictions("tiny", "none", task, 0))
            facts = {"checkpoint_sha256": "", "learned": True, "train_tokens": 0, "train_updates": 0}
            write_record(index, {**dict.fromkeys(RUN), "languages": {code: {SEAL: seal}}, **facts})
            output = Path(layout.cell(cell))
            evaluate(cell, data, index, output, family="", contaminated=False)
            yield task, code, asked, entry(read_json(output))


def gold(task: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Write labels as evaluate.py reads them, by themselves: not through the code that is tested."""
    if task in ("xnli", "pawsx"):
        names = {"different_meaning": "0", "paraphrase": "1"}
        return "tsv", "".join(names.get(row["label"], row["label"]) + "\n" for row in rows)
    if task in ("udpos", "panx"):
        return "tsv", "\n".join("".join(tag + "\n" for tag in row["tags"]) for row in rows)
    if task == "tatoeba":
        return "tsv", "".join(f"{number}\n" for number in range(len(rows)))
    if task == "bucc2018":
        return "tsv", "".join(f"{row['id']}\t{one}\n" for row in rows for one in row["gold"])
    questions = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": row["id"],
                    "question": "?",
                    "answers": [{"text": a["text"], "answer_start": a["start"]} for a in row["answers"]],
                }
            ],
        }
        for row in rows
    ]
    return "json", json.dumps({"data": [{"title": "t", "paragraphs": questions}]})


def submit(folder: Path, tasks: Mapping[str, Sequence[str]]) -> Path:
    languages = json.dumps(dict(tasks))
    output = folder / "submission" / "index.json"
    submission_script.main(
        ["--results", str(folder), "--members", json.dumps({"xtreme": dict(tasks)}), "--languages", languages, "--models", "tiny",
         "--intermediates", "none", "--seeds", "0", "--output", str(output)]
    )  # fmt: skip
    return output.parent / "xtreme" / "tiny" / "none" / "seed0"


def test_the_files_are_written_as_the_benchmarks_own(tmp_path: Path) -> None:
    tasks = {task: XTREME[task][:1] for task in XTREME}
    rows = {task: asked for task, _, asked, _ in written(tmp_path, tasks)}
    folder = submit(tmp_path, tasks)
    for task, (code,) in tasks.items():
        suffix = "json" if task in ("xquad", "mlqa", "tydiqa") else "tsv"
        text = (folder / task / f"test-{code}.{suffix}").read_text(encoding="utf-8")
        if suffix == "json":
            assert list(json.loads(text)) == [row["id"] for row in rows[task]]
        elif task in TAGS:
            sentences = text.strip("\n").split("\n\n")
            assert [len(one.split("\n")) for one in sentences] == [len(row["tokens"]) for row in rows[task]]
        elif task != "bucc2018":
            assert len(text.splitlines()) == N
    assert set((folder / "pawsx" / f"test-{tasks['pawsx'][0]}.tsv").read_text().split()) == {"0", "1"}
    index = read_json(tmp_path / "submission" / "index.json")
    assert len(index["files"]) == len(tasks) and not index["missing"]


def test_what_is_not_there_is_named_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    (made,) = list(written(tmp_path, {"xnli": ["de"]}))
    submit(tmp_path, {"xnli": ["de", "sw"]})
    assert read_json(tmp_path / "submission" / "index.json")["missing"] == ["xtreme/tiny/none/seed0/xnli/test-sw"]
    path = Path(Layout(str(tmp_path)).prediction(Cell("tiny", "none", "xnli", 0, "de")))
    write_record(path, read_json(path) | {"ids": ["other"]})
    with pytest.raises(UserError, match="the ids are not those of"):
        rendered("xnli", Path(Layout(str(tmp_path)).data("xnli", "de")), path)
    assert made[0] == "xnli"


@pytest.mark.skipif(not OFFICIAL, reason="needs a checkout of google-research/xtreme in STILTSWEEP_XTREME")
def test_the_official_script_gives_our_numbers(tmp_path: Path) -> None:
    """All nine tasks of XTREME in all their languages: evaluate.py's own scores are those of our cells."""
    ours: dict[str, dict[str, float | None]] = {}
    labels = tmp_path / "labels"
    for task, code, rows, score in written(tmp_path, XTREME):
        ours.setdefault(task, {})[code] = score
        suffix, text = gold(task, rows)
        (labels / task).mkdir(parents=True, exist_ok=True)
        (labels / task / f"test-{code}.{suffix}").write_text(text, encoding="utf-8")
    folder = submit(tmp_path, XTREME)
    program = (
        "import json, sys, evaluate; overall, detailed = evaluate.evaluate(*sys.argv[1:4]); "
        "print(json.dumps([overall, detailed]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(labels), "xtreme"],
        cwd=OFFICIAL,
        capture_output=True,
        text=True,
        check=True,
    )
    overall, detailed = json.loads(found.stdout.splitlines()[-1])
    assert detailed.keys() == ours.keys() == XTREME.keys()
    compared = 0
    for task, scores in ours.items():
        theirs = detailed[task]
        for code, score in scores.items():
            if "exact_match" in theirs:
                expected = (theirs["exact_match"][code] + theirs["f1"][code]) / 2
            else:
                expected = theirs.get("accuracy", theirs.get("f1"))[code]
            assert score == pytest.approx(expected), (task, code)
            compared += 1
    assert compared == sum(map(len, XTREME.values()))
    means = [fmean(score for score in scores.values() if score is not None) for scores in ours.values()]
    assert overall["all_task"] == pytest.approx(sum(means) / len(means))


def test_the_target_is_there() -> None:
    settings = ('targets={"xnli":["de"]}', "models=[mbert]", "intermediates=[none]")
    found = snakemake(ROOT, "predictions", "-n", "--nolock", "--quiet", "rules", "--config", *settings)
    assert "submission" in found.text
