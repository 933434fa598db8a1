"""What the published scripts train with, by their own word, beside what our recipes resolve to.

    git clone https://github.com/google-research/xtreme && git -C xtreme checkout 838c13b
    git clone https://github.com/nyu-mll/jiant && git -C jiant checkout daa5a25
    git clone https://github.com/google-research/multilingual-t5 && git -C multilingual-t5 checkout 9dcd60f
    git clone https://github.com/google-research/text-to-text-transfer-transformer t5 && git -C t5 checkout e081111
    python benchmarks/upstream/recipes.py xtreme jiant multilingual-t5 t5 > tests/data/recipes.csv
    python benchmarks/upstream/recipes.py --table >> docs/recipes.md

XTREME's and jiant's shell scripts run as they stand with a program named python that says what it is called with; what
a script leaves out is the default that the called program states. tests/test_recipes.py compares recipes and page with
the table that comes out.
"""

from __future__ import annotations

import argparse
import ast
import csv
import functools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests/data/recipes.csv"
LARGE, BERT = "xlm-roberta-large", "mbert"
_HUB = {LARGE: LARGE, BERT: "bert-base-multilingual-cased"}


class Published(NamedTuple):
    """One setting of one study."""

    recipe: str
    model: str
    task: str
    setting: str
    value: float | str
    where: str


def calls(repository: Path, script: str, *arguments: str, **variables: str) -> list[list[str]]:
    """Run a shell script with a python that only says what it is called with; return the calls."""
    with tempfile.TemporaryDirectory() as temporary:
        said = Path(temporary) / "said"
        fake = Path(temporary) / "bin/python"
        fake.parent.mkdir()
        fake.write_text(f'#!/bin/sh\nfor one in "$@"; do printf "%s\\t" "$one"; done >> {said}\necho >> {said}\n')
        fake.chmod(0o755)
        (fake.parent / "python3").symlink_to(fake)
        given = [argument.replace("TEMPORARY", temporary) for argument in arguments]
        environment = {**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}", "BASE_PATH": temporary, **variables}
        subprocess.run(
            ["bash", str(repository / script), *given],
            cwd=repository,
            env=environment,
            capture_output=True,
            check=False,
        )
        return [line.rstrip("\t").split("\t") for line in said.read_text().splitlines()]


def line_of(path: Path, pattern: str, last: bool = False) -> str:
    """Return file and line of a pattern."""
    numbers = [n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if re.search(pattern, line)]
    if not numbers:
        raise SystemExit(f"{path}: nothing matches {pattern}")
    return f"{path.name}:{numbers[-1 if last else 0]}"


def defaults(path: Path) -> dict[str, tuple[float, str]]:
    """Return the numeric defaults that a program's arguments have, each with its line."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument" and node.args:
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                if keyword.arg == "default" and isinstance(value, int | float) and not isinstance(value, bool):
                    name = str(getattr(node.args[0], "value", "")).lstrip("-")
                    found[name] = float(value), f"{path.name}:{node.lineno}"
    return found


_FLAGS = {
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "max_seq_length": "max_length",
    "warmup_steps": "warmup",
    "weight_decay": "weight_decay",
    "max_grad_norm": "clip_norm",
    "doc_stride": "window_step",
    "max_query_length": "max_question_length",
}
_TRAINER = {"warmup_steps": 0.0, "weight_decay": 0.0, "max_grad_norm": 1.0}
"""Defaults of transformers' TrainingArguments, which run_xcopa.py takes its arguments from."""
_XTREME = {
    "xnli": ("train_xnli.sh", ()),
    "pawsx": ("train_pawsx.sh", ()),
    "panx": ("train_panx.sh", ()),
    "udpos": ("train_udpos.sh", ()),
    "siqa": ("train_xcopa.sh", ()),
    "xcopa": ("train_xcopa.sh", ()),
    "squad_heldout": ("train_qa.sh", ("squad", "xquad")),
    "tydiqa": ("train_qa.sh", ("tydiqa", "tydiqa")),
    "lareqa": ("train_lareqa.sh", ()),
    "mewslix": ("train_mewslix.sh", ()),
}


def xtreme(repository: Path) -> Iterator[Published]:
    """Yield XTREME's settings."""
    for model, hub in _HUB.items():
        for task, (script, more) in _XTREME.items():
            folders = ("0", "TEMPORARY/data/", "TEMPORARY/out/")
            made = calls(repository, f"scripts/{script}", hub, *more, *folders)
            trained = [call for call in made if "--do_train" in call]
            call = trained[1 if task == "xcopa" else 0]
            flags = {name[2:]: value for name, value in zip(call, [*call[1:], ""], strict=True) if name[:2] == "--"}
            program = repository / "third_party" / Path(call[0]).name
            stated = defaults(program)
            path = repository / "scripts" / script
            for flag, setting in _FLAGS.items():
                if setting in ("window_step", "max_question_length") and "doc_stride" not in flags:
                    continue
                if setting == "max_length" and "max_answer_length" in flags and "doc_stride" not in flags:
                    flag = "max_answer_length"  # LAReQA: the longer of its two sides
                if flag in flags:
                    yield Published("xtreme", model, task, setting, float(flags[flag]), line_of(path, f"--{flag}"))
                elif flag in stated:
                    yield Published("xtreme", model, task, setting, *stated[flag])
                else:
                    yield Published(
                        "xtreme",
                        model,
                        task,
                        setting,
                        _TRAINER[flag],
                        f"{line_of(program, 'TrainingArguments,')} (default)",
                    )
            batch = int(flags["per_gpu_train_batch_size"]) * int(flags["gradient_accumulation_steps"])
            where = line_of(path, "--per_gpu_train_batch_size")
            yield Published("xtreme", model, task, "batch_size", batch, where)
    for model, hub in _HUB.items():
        for task in ("tatoeba", "bucc2018"):
            script = f"run_{task}.sh"
            call = next(
                one
                for one in calls(repository, f"scripts/{script}", hub, "0", "TEMPORARY/data/", "TEMPORARY/out/")
                if "evaluate_retrieval.py" in one[0]
            )
            flags = {name[2:]: value for name, value in zip(call, [*call[1:], ""], strict=True) if name[:2] == "--"}
            kept = int(
                flags.get("num_layers", defaults(repository / "third_party/evaluate_retrieval.py")["num_layers"][0])
            )
            depth = {LARGE: 24, BERT: 12}[model]
            layer = depth + 1 - kept + int(flags["specific_layer"])
            where = line_of(repository / "scripts" / script, "--specific_layer")
            yield Published("xtreme", model, task, "retrieval.layer", layer, where)
            pooling = {"cls": "first", "mean": "mean"}[flags.get("pool_type", "mean")]
            yield Published("xtreme", model, task, "retrieval.pooling", pooling, where)
            yield Published("xtreme", model, task, "max_length", int(flags["max_seq_length"]), where)


def jiant(repository: Path) -> Iterator[Published]:
    """Yield jiant's settings."""
    folder = "jiant/scripts/benchmarks/xtreme/subscripts"
    names = {"xquad": "squad_heldout"}
    writer = repository / "jiant/scripts/benchmarks/xtreme/xtreme_runconfig_writer.py"
    share = float(
        re.findall(r"warmup_steps_proportion = zconf.attr\(type=float, default=([\d.]+)", writer.read_text())[0]
    )
    layer = int(re.findall(r"retrieval_layer = zconf.attr\(type=int, default=(\d+)", writer.read_text())[0])
    runs = calls(repository, f"{folder}/e_run_models.sh", MODEL_TYPE=LARGE)
    rate = float(runs[0][runs[0].index("--learning_rate") + 1])
    setup = repository / "jiant/shared/model_setup.py"
    decay = float(re.findall(r'"weight_decay": ([\d.]+)', setup.read_text())[0])
    runner = repository / "jiant/proj/main/runscript.py"
    norm = float(re.findall(r"max_grad_norm = zconf.attr\(default=([\d.]+)", runner.read_text())[0])
    core = repository / "jiant/tasks/lib/templates/squad_style/core.py"
    path = repository / folder / "d_write_configs.sh"
    for call in calls(repository, f"{folder}/d_write_configs.sh", MODEL_TYPE=LARGE):
        flags = {name[2:]: value for name, value in zip(call, [*call[1:], ""], strict=True) if name[:2] == "--"}
        task = names.get(flags["xtreme_task"], flags["xtreme_task"])
        where = line_of(path, f"--xtreme_task {flags['xtreme_task']}")
        if task in ("tatoeba", "bucc2018"):
            yield Published("jiant", LARGE, task, "retrieval.layer", layer, line_of(writer, "retrieval_layer ="))
            yield Published("jiant", LARGE, task, "retrieval.pooling", "mean", line_of(writer, "pooler_type"))
            continue
        if task == "mlqa":  # trained as xquad is
            continue
        batch = int(flags["train_batch_size"]) * int(flags["gradient_accumulation_steps"])
        yield Published("jiant", LARGE, task, "epochs", float(flags["epochs"]), where)
        yield Published("jiant", LARGE, task, "batch_size", batch, where)
        yield Published(
            "jiant",
            LARGE,
            task,
            "learning_rate",
            rate,
            line_of(repository / folder / "e_run_models.sh", "--learning_rate"),
        )
        yield Published("jiant", LARGE, task, "warmup", share, line_of(writer, "warmup_steps_proportion ="))
        yield Published("jiant", LARGE, task, "weight_decay", decay, line_of(setup, '"weight_decay": 0.01'))
        yield Published("jiant", LARGE, task, "clip_norm", norm, line_of(runner, "max_grad_norm ="))
        if task in ("squad_heldout", "tydiqa"):
            for setting, name in (("window_step", "doc_stride"), ("max_question_length", "max_query_length")):
                value = float(re.findall(rf"{name}=(\d+)", core.read_text())[0])
                yield Published("jiant", LARGE, task, setting, value, line_of(core, rf"{name}=\d"))
    cache = repository / folder / "c_tokenize_and_cache.sh"
    lengths = [
        call
        for call in calls(repository, f"{folder}/c_tokenize_and_cache.sh", MODEL_TYPE=LARGE)
        if "--max_seq_length" in call
    ]
    for call in lengths:
        configured = Path(call[call.index("--task_config_path") + 1]).name
        found = re.match(r"(xnli|pawsx|udpos|panx|squad_v1|tydiqa|tatoeba|bucc2018)(_en)?_config", configured)
        if found:
            task = {"squad_v1": "squad_heldout"}.get(found[1], found[1])
            value = float(call[call.index("--max_seq_length") + 1])
            yield Published("jiant", LARGE, task, "max_length", value, line_of(cache, rf"--max_seq_length {value:.0f}"))


def mt5(repository: Path, t5: Path) -> Iterator[Published]:
    """Yield mT5's settings."""
    script = repository / "multilingual_t5/finetune_mt5_tasks.sh"
    readme = repository / "README.md"
    text = script.read_text("utf-8")
    model = "mt5-base"
    names = {"xnli": "xnli", "pawsx": "pawsx", "squad_heldout": "xquad", "tydiqa": "tydiqa", "panx": "ner"}
    for task, name in names.items():
        block = text[text.index(f'*"{name}"*') :]
        where = line_of(script, rf'\*"{name}"\*')
        size = re.findall(r"BATCH_SIZE=(\d+)", block)[0]
        yield Published("mt5", model, task, "batch_tokens", int(size), where)
        if task == "xnli":
            steps = re.findall(r"^FINETUNE_STEPS=(\d+)", readme.read_text("utf-8"), re.MULTILINE)[0]
            yield Published("mt5", model, task, "max_updates", int(steps), line_of(readme, "^FINETUNE_STEPS="))
        elif task == "panx":
            yield Published("mt5", model, task, "max_updates", 20000, "issue 64")
        else:
            steps = re.findall(r"FINTUNE_STEPS=(\d+)", block)[0]
            yield Published("mt5", model, task, "max_updates", int(steps), where)
        gin = repository / f"multilingual_t5/gin/sequence_lengths/{name}.gin"
        inputs, targets = re.findall(r"'inputs': (\d+), 'targets': (\d+)", gin.read_text())[0]
        yield Published("mt5", model, task, "max_length", int(inputs), line_of(gin, "inputs"))
        yield Published("mt5", model, task, "max_target_length", int(targets), line_of(gin, "targets"))
        rate = t5 / "t5/models/gin/learning_rate_schedules/constant_0_001.gin"
        value = float(re.findall(r"learning_rate = ([\d.]+)", rate.read_text())[0])
        yield Published("mt5", model, task, "learning_rate", value, line_of(rate, "learning_rate = "))
        operative = t5 / "t5/models/test_data/operative_config.gin"
        yield Published("mt5", model, task, "optimizer", "adafactor", line_of(operative, "run.optimizer ="))
        yield Published(
            "mt5", model, task, "loss_denominator", "slots", line_of(operative, "decoder.*loss_denominator")
        )


@functools.cache
def catalogue() -> Any:
    """Return our catalogue, read once."""
    sys.path.insert(0, str(ROOT / "workflow"))
    from stiltsweep import catalog

    return catalog.read()


def ours(row: Published) -> float | str:
    """Return what our recipe resolves to, for one row."""
    everything = catalogue()
    from stiltsweep import settings

    model, task, recipe = everything.models[row.model], everything.task(row.task), everything.recipes[row.recipe]
    if row.setting.startswith("retrieval."):
        chosen = {**model.definition["retrieval"], **recipe.retrieval(row.model, row.task)}
        found: float | str = chosen[row.setting.partition(".")[2]]
        return found
    resolved: dict[str, float | str] = settings.resolve("target", model, task, {}, recipe).to_json()
    return resolved[row.setting]


def read() -> list[Published]:
    """Read the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [Published(**row) for row in csv.DictReader(file)]


def table() -> list[str]:
    """Return the table as Markdown, tasks that agree in one row."""
    together: dict[tuple[str, str, str, str, str], list[str]] = {}
    for row in read():
        together.setdefault((row.recipe, row.model, row.setting, str(row.value), str(ours(row))), []).append(
            f"{row.task} ({row.where})"
        )
    lines = [
        "| recipe | model | setting | published | ours | tasks (where it stands) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return [*lines, *(f"| {' | '.join(key)} | {', '.join(tasks)} |" for key, tasks in together.items())]


def main() -> None:
    """Write the published values, or the page's table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repositories", type=Path, nargs="*", help="Folders of xtreme, jiant, multilingual-t5 and t5.")
    parser.add_argument("--table", action="store_true", help="Print the table of docs/recipes.md.")
    arguments = parser.parse_args()
    if arguments.table:
        print("\n".join(table()))
        return
    first, second, third, fourth = (folder.resolve() for folder in arguments.repositories)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(Published._fields)
    for row in (*xtreme(first), *jiant(second), *mt5(third, fourth)):
        value = row.value if isinstance(row.value, str) else f"{row.value:g}" if row.value < 1e5 else f"{row.value:.0f}"
        writer.writerow(row._replace(value=value))


if __name__ == "__main__":
    main()
