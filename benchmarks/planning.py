"""Measure planning: a dry run of a large sweep against one of a bare Snakefile of the same graph.

The bare workflow has the same rules, files, wildcards, messages, shell lines and jobs, written the short way: names are
literals, inputs are f-strings over dictionaries, resources are numbers, and there is no configuration and no
function for a parameter. The two take turns. Seconds of CPU stand beside wall time, for machines that others use too.

Example:
  python benchmarks/planning.py                       40,000 cells
  python benchmarks/planning.py --cells 4000 --turns 5
  python benchmarks/planning.py --cells --parts 500000 30 5       five of 30 parts, and the last step
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from measuring import ROOT, watched

from stiltsweep.config import resolve
from stiltsweep.files import write_json, write_text
from stiltsweep.layout import Layout
from stiltsweep.sweep import Sweep

PAIRS = 203
"""Targets times languages of XTREME-R."""
MODELS = [
    *(
        "mt5-base",
        "xlm-roberta-large",
        "mt5-large",
        "byt5-base",
        "xlm-roberta-base",
        "mbert",
        "mt5-small",
        "byt5-small",
    ),
    *("mdeberta-v3-base", "umt5-base", "umt5-small", "byt5-large", "xlm-roberta-xl", "mt5-xl", "umt5-xl"),
]
TASKS = ("anli_plus", "mnli", "qqp", "squad_v2", "squad_v1", "hellaswag", "ccg", "cosmosqa", "csqa")


def configuration(cells: int) -> dict[str, Any]:
    """Return a sweep of about this many cells: XTREME-R, first more arms, then more models, then more seeds."""
    arms = min(1 + len(TASKS), max(1, round(cells / (3 * PAIRS))))
    models = min(len(MODELS), max(1, round(cells / (3 * PAIRS * arms))))
    seeds = max(3, round(cells / (PAIRS * arms * models)))
    return {
        "title": "Planning",
        "results": "results",
        "data_root": "data",
        "models": MODELS[:models],
        "intermediates": ["none", *TASKS[: arms - 1]],
        "targets": "xtreme-r",
        "seeds": list(range(seeds)),
    }


HEAD = """
ARMS = ["none", *DATA]


def start(w):
    if w.intermediate == "none":
        return f"results/models/{w.model}/model.json"
    return f"results/intermediate/{w.model}/{w.intermediate}/seed{w.seed}/checkpoint.json"


def finetuned(w, training):
    if not training:
        return start(w)
    return f"results/finetune/{w.model}/{w.intermediate}/{training}/seed{w.seed}/checkpoint.json"


def data(task):
    return [f"results/data/{task}/{language}.parquet" for language in LANGUAGES[task]]


def cells(models, targets):
    return [
        f"results/cells/{model}/{arm}/{target}/seed{seed}/{language}.json"
        for model in models
        for arm in ARMS
        for target in targets
        for seed in SEEDS
        for language in LANGUAGES[target]
    ]


wildcard_constraints:
    model="[^/]+",
    intermediate="[^/]+",
    target="[^/]+",
    task="[^/]+",
    training="[^/]+",
    seed="[0-9]+",
    language="[^/.]+",


rule all:
    input:
        "results/report/index.html",
        [f"results/measures/{model}/{target}.json" for model in MODELS for target in LANGUAGES],
        [f"results/diagnosis/{model}/{target}.csv" for model in MODELS for target in LANGUAGES],


rule pretrain:
    output:
        "results/models/{model}/model.json",
    wildcard_constraints:
        model="none-is-pretrained",


rule discard:
    input:
        "{checkpoint}/checkpoint.json",
    output:
        "{checkpoint}/discarded.json",
    wildcard_constraints:
        checkpoint="results/(?:intermediate|finetune)/.+",
"""
INPUTS = {
    "prepare": "",
    "fetch": "",
    "intermediate": """
        start="results/models/{model}/model.json",
        data=lambda w: [f"results/data/{task}/{language}.parquet" for task, language in DATA[w.intermediate]],
    """,
    "finetune": """
        start=lambda w: finetuned(w, w.training.rpartition("+")[0]),
        data=lambda w: f"results/data/{w.training.rpartition('+')[2]}/en.parquet",
    """,
    "predict": """
        start=lambda w: finetuned(w, TRAINING[w.target]),
        data=lambda w: data(w.target),
    """,
    "evaluate": """
        data="results/data/{target}/{language}.parquet",
        predictions="results/predictions/{model}/{intermediate}/{target}/seed{seed}/predictions.json",
    """,
    "significance": """
        cells=lambda w: cells([w.model], [w.target]),
        tables="workflow/catalog/languages.csv",
    """,
    "measure": """
        model="results/models/{model}/model.json",
        data=lambda w: data(w.target),
    """,
    "diagnose": """
        cells=lambda w: cells([w.model], [w.target]),
        measures="results/measures/{model}/{target}.json",
        tables="workflow/catalog/languages.csv",
    """,
    "lift": """
        tests=[f"results/significance/{model}/{target}.json" for model in MODELS for target in LANGUAGES],
        tables="workflow/catalog/languages.csv",
    """,
    "typology": """
        tests=[f"results/significance/{model}/{target}.json" for model in MODELS for target in LANGUAGES],
        tables="workflow/catalog/languages.csv",
        measures=[f"results/measures/{model}/{target}.json" for model in MODELS for target in LANGUAGES],
        probes=[],
    """,
    "describe": """
        lift="results/significance/lift.csv",
    """,
    "scores": """
        run="results/report/run.json",
        cells=cells(MODELS, LANGUAGES),
        published="workflow/catalog/published.csv",
    """,
    "report": """
        lift="results/significance/lift.csv",
        others=[
            *(f"results/significance/{name}.csv" for name in ("controls", "runs", "sensitivity")),
            *(f"results/significance/{name}.csv" for name in ("benchmarks", "published")),
            *(f"results/typology/{name}.csv" for name in ("omnibus", "types", "predictors")),
        ],
        run="results/report/run.json",
        cells=cells(MODELS, LANGUAGES),
        why=[
            *(f"results/measures/{model}/{target}.json" for model in MODELS for target in LANGUAGES),
            *(f"results/diagnosis/{model}/{target}.csv" for model in MODELS for target in LANGUAGES),
        ],
    """,
}
"""What a rule with jobs reads, by hand."""
KEPT = ("output", "log", "benchmark", "localrule", "conda", "threads", "message", "shell")
"""Directives that say no more than their own text."""


def bare(sweep: Sweep) -> str:
    """Return a Snakefile of the same graph: the project's rules, their inputs and numbers written by hand."""
    names = {
        "MODELS": sweep.models,
        "SEEDS": sweep.seeds,
        "LANGUAGES": sweep.languages,
        "TRAINING": {target: (sweep.catalog.targets[target].trainings or [""])[-1] for target in sweep.languages},
        "DATA": {
            name: [(part.task, code) for part in arm.parts for code in part.languages]
            for name, arm in sweep.arms.items()
            if arm.stage
        },
    }
    rules = [_bare(name, text) for file in sorted(ROOT.glob("rules/*.smk")) for name, text in _rules(file)]
    return "\n".join([*(f"{name} = {value!r}" for name, value in names.items()), HEAD, *filter(None, rules)])


def _rules(file: Path) -> list[tuple[str, str]]:
    text = file.read_text(encoding="utf-8")
    return re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", text, flags=re.MULTILINE)


def _bare(name: str, text: str) -> str:
    if name not in INPUTS:
        return ""
    directives = re.findall(r"^    (\w+):(.*\n(?:(?:        .*)?\n)*)", text, flags=re.MULTILINE)
    kept = [f"    input:{INPUTS[name]}\n" if INPUTS[name] else ""]
    if any(key == "resources" for key, _ in directives):
        kept.append("    resources: gpu=1, mem_mb=16000, runtime=60\n")
    kept += [f"    {key}:{value}" for key, value in directives if key in KEPT]
    whole = f"rule {name}:\n" + "".join(kept)
    layout = Layout("results")
    whole = re.sub(
        r'LAYOUT\.(pattern|log|benchmark)\("(\w+)"\)', lambda found: repr(getattr(layout, found[1])(found[2])), whole
    )
    whole = whole.replace("../envs", "envs").replace("captions/", "rules/captions/")
    return re.sub(r"\{params\.\w+(:q)?\}", "0", whole)


def planned(folder: Path, *arguments: str) -> tuple[dict[str, int], dict[str, float]]:
    """Dry-run; return jobs per rule, and what it took: seconds of wall and of CPU, peak megabytes."""
    command = ["snakemake", "--dry-run", "--quiet", "rules", "--scheduler", "greedy", *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    output, used = watched(command, folder, environment)
    table = output.rpartition("Job stats:")[2]
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE)}
    return jobs, used


def folder_of(folder: Path, cells: int, *, ours: bool) -> Sweep:
    """Make a folder to plan a sweep in, with the project's rules or the bare ones, and return the sweep."""
    folder.mkdir()
    for shared in ("envs", "rules", "workflow", *(("Snakefile", "profiles") if ours else ())):
        (folder / shared).symlink_to(ROOT / shared)
    # A results folder must hold nothing of somebody else's, and where this is started it holds what benchmarks wrote.
    with contextlib.chdir(folder):
        sweep = Sweep(*resolve(configuration(cells)))
    if ours:
        write_text(folder / "config.yaml", yaml.safe_dump(configuration(cells), sort_keys=False))
    else:
        write_text(folder / "Snakefile", bare(sweep))
    return sweep


def compare(cells: int, turns: int) -> dict[str, Any]:
    """Measure both workflows at one size, in turns."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("ours", "bare")}
        for name, folder in folders.items():
            folder_of(folder, cells, ours=name == "ours")
        jobs: dict[str, dict[str, int]] = {}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in folders}
        for _ in range(turns):
            for name, folder in folders.items():
                jobs[name], one = planned(folder)
                taken[name].append(one)
    if jobs["ours"] != jobs["bare"]:
        sys.exit(f"The graphs differ: ours {jobs['ours']}, bare {jobs['bare']}. Write new rules into INPUTS.")
    middle = {
        name: {key: statistics.median(one[key] for one in turn) for key in turn[0]} for name, turn in taken.items()
    }
    return {
        "cells": jobs["ours"]["evaluate"],
        "jobs": jobs["ours"]["total"],
        "turns": taken,
        **middle,
        "ratio": {key: middle["ours"][key] / middle["bare"][key] for key in middle["ours"]},
    }


def parts(cells: int, number: int, sample: int) -> dict[str, Any]:
    """Measure some of the parts that a sweep can be planned and run in, and the last step, which needs no cell's jobs.

    The files that the last step reads are made, empty.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "ours"
        sweep = folder_of(folder, cells, ours=True)
        pairs = [f"{model}/{target}" for model in sweep.models for target in sweep.languages]
        found: list[dict[str, Any]] = []
        for part in sorted({round(i * (number - 1) / max(1, sample - 1)) for i in range(sample)}):
            mine = pairs[part * len(pairs) // number : (part + 1) * len(pairs) // number]
            files = [file for pair in mine for file in (f"significance/{pair}.json", f"diagnosis/{pair}.csv")]
            jobs, one = planned(folder, *(f"results/{file}" for file in files))
            found.append({"part": part + 1, "cells": jobs["evaluate"], **one})
            print(found[-1], file=sys.stderr, flush=True)
        done = [f"results/models/{model}/model.json" for model in sweep.models]
        done += [sweep.layout.data(target, code) for target in sweep.languages for code in sweep.measured(target)]
        done += sweep.cell_files()
        for folders, suffixes in (
            ("significance", [".json"]),
            ("measures", [".json", ".parquet"]),
            ("diagnosis", [".csv", ".contrasts.csv"]),
        ):
            done += [f"results/{folders}/{pair}{suffix}" for pair in pairs for suffix in suffixes]
        for path in (folder / name for name in done):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        jobs, last = planned(folder, "--allowed-rules", "all", "lift", "typology", "scores", "describe", "report")
    return {"cells": len(list(sweep.cells())), "parts": number, "measured": found, "last": {"jobs": jobs, **last}}


def main() -> None:
    """Make workflows, measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[40_000], help="sizes to compare at")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--parts", type=int, nargs=3, metavar=("CELLS", "PARTS", "SAMPLE"), help="a sweep by parts")
    parser.add_argument("--output", type=Path, default=Path("results/bench/planning.json"))
    arguments = parser.parse_args()
    found: dict[str, Any] = {"sizes": [], "parts": None}
    if arguments.parts:
        found["parts"] = parts(*arguments.parts)
    for cells in arguments.cells:
        found["sizes"].append(compare(cells, arguments.turns))
    write_json(arguments.output, found)
    write_text(arguments.output.with_suffix(".md"), markdown(found))
    print(markdown(found))


def markdown(found: dict[str, Any]) -> str:
    """Return the tables."""
    lines = [
        "| cells | jobs | ours, CPU s (wall s) | bare, CPU s (wall s) | ratio, CPU (wall) | ours, MB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for one in found["sizes"]:
        sides = [f"{one[name]['cpu']:.1f} ({one[name]['wall']:.1f})" for name in ("ours", "bare")]
        ratio = f"{one['ratio']['cpu']:.2f} ({one['ratio']['wall']:.2f})"
        memory = f"{one['ours']['megabytes']:.0f}"
        lines.append(f"| {one['cells']:,} | {one['jobs']:,} | {' | '.join(sides)} | {ratio} | {memory} |")
    if about := found["parts"]:
        lines += ["", f"{about['cells']:,} cells in {about['parts']} parts.", ""]
        lines += ["| part | cells | CPU s (wall s) | MB |", "|---:|---:|---:|---:|"]
        steps = [*((one["part"], one["cells"], one) for one in about["measured"]), ("last step", 0, about["last"])]
        lines += [
            f"| {name} | {cells:,} | {one['cpu']:.1f} ({one['wall']:.1f}) | {one['megabytes']:.0f} |"
            for name, cells, one in steps
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
