"""The graph: every shipped configuration plans, the rules' paths are the library's, nothing heavy is imported."""

from __future__ import annotations

import argparse
import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import snakemake

ROOT = Path(__file__).parents[1]
CONFIGURATIONS = ["config.yaml", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "sweeps").glob("*.yaml"))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder from which scripts and sweeps are reached as from the project's."""
    for name in ("workflow", "sweeps"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_shipped_configuration_plans(name: str, folder: Path) -> None:
    """In an empty folder, where neither data nor weights are there yet; with one seed, since all are alike."""
    arguments = ("--configfile", str(ROOT / name), "--config", "seeds=[0]")
    found = snakemake(folder, "-n", "--quiet", "rules", *arguments)
    assert re.search(r"^evaluate +\d+$", found.text, re.MULTILINE)


@functools.cache
def helped(script: str) -> tuple[str, set[str]]:
    """Return what `--help` of a script prints, and the modules that it has imported by then."""
    path = ROOT / "workflow" / "scripts" / f"{script}.py"
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(path)!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(path)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    environment = {"PATH": "", "PYTHONPATH": str(path.parent)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return found.stdout, set(found.stderr.split())


def test_every_command_names_a_script_that_takes_its_options(folder: Path) -> None:
    """A dry run does not notice a script or an option that is not there; this does."""
    commands: dict[str, set[str]] = {}
    text = ""
    for name in ("config.yaml", "sweeps/behaviour.yaml"):
        found = snakemake(folder, "-n", "--printshellcmds", "--configfile", str(ROOT / name))
        text += found.text.replace("\\\n", " ")
    for line in text.splitlines():
        match = re.search(r"python (workflow/scripts/\w+\.py)(.*)&>", line)
        if match:
            options = {word.partition("=")[0] for word in shlex.split(match[2]) if word.startswith("--")}
            commands.setdefault(match[1], set()).update(options)
    names = {Path(script).stem for script in commands}
    assert {
        "prepare",
        "fetch",
        "train",
        "predict",
        "evaluate",
        "significance",
        "lift",
        "typology",
        "measure",
        "diagnose",
        "behaviour",
        "describe",
        "scores",
        "report",
    } <= names
    for script, options in commands.items():
        path = (folder / script).resolve()
        assert path.is_file(), script
        offered = set(re.findall(r"--[a-z][a-z-]*", helped(path.stem)[0]))
        assert options <= offered, f"{script}: {sorted(options - offered)}"


@pytest.mark.parametrize("limit", [[], ["--resources", "gpu=1"]])
def test_a_printed_line_is_the_job(limit: list[str], folder: Path) -> None:
    """What a training does is all in its command, so that a pasted line does the same; Snakemake's limit of GPUs too."""
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings |= {"models": ["e5-small", "mt5-nano"], "intermediates": ["none", "name-typing"], "seeds": [0]}
    settings |= {"targets": {"intent": ["en", "fi"]}, "resources": {"gpus": 2, "gradient_checkpointing": True}}
    settings["training"] = {"save_minutes": 3, "intermediate": {"save_minutes": 4.5}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    found = snakemake(folder, "-n", "--printshellcmds", *limit)
    lines = re.findall(r"python (workflow/scripts/(?:pre)?train\.py .*)&>", found.text)
    gpus = "1" if limit else "2"
    told = {"intermediate": f"--gpus {gpus} --save-minutes 4.5", "target": f"--gpus {gpus} --save-minutes 3"}
    assert len(lines) == 2 * 3 + 1
    for line in lines:
        words = shlex.split(line)
        stage = words[words.index("--stage") + 1] if "--stage" in words else ""
        assert f"{told.get(stage, '--save-minutes 3')} --gradient-checkpointing" in " ".join(words), line


def test_trainings_that_share_a_card_take_the_option(folder: Path) -> None:
    """That of a model made from nothing once ended with: unrecognized arguments."""
    settings = {"models": ["mt5-nano"], "intermediates": ["none"], "seeds": [0], "targets": {"intent": ["en", "fi"]}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**settings, "resources": {"share": 2}}))
    text = snakemake(folder, "-n", "--printshellcmds").text
    lines = re.findall(r"python workflow/scripts/(\w+)\.py (.*--share 2.*)&>", text)
    assert {script for script, _ in lines} == {"pretrain", "train", "predict"}
    for script, words in lines:
        asked = {word for word in shlex.split(words) if word.startswith("--")}
        assert asked <= set(re.findall(r"--[a-z][a-z-]*", helped(script)[0])), script


def test_no_parameter_of_a_job_is_in_the_environment() -> None:
    """What the library reads of it belongs to the machine, to libraries, or to the warm process and its like."""
    library = ROOT / "workflow"
    text = "\n".join(path.read_text() for path in [*library.rglob("*.py"), *ROOT.glob("rules/*.smk")])
    assert set(re.findall(r"STILTSWEEP_\w+", text)) == {"STILTSWEEP_WARM", "STILTSWEEP_DEVICE", "STILTSWEEP_MEMBER"}


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.path.insert(0, 'workflow')\n"
        "import yaml\n"
        "from stiltsweep import config\n"
        "from stiltsweep.jobs import Jobs\n"
        "from stiltsweep.sweep import Sweep\n"
        "from stiltsweep.code import digest\n"
        "sweep = Sweep(*config.resolve(yaml.safe_load(open('config.yaml'))))\n"
        "assert list(sweep.cells())\n"
        "[Jobs(sweep).target_arguments(m, 'none', t) for m in sweep.models for t in sweep.trainings]\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'scipy', 'pandas', 'matplotlib', 'statsmodels', 'datasets', 'hassil', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "script",
    [
        "prepare",
        "evaluate",
        "significance",
        "lift",
        "typology",
        "probes",
        "measure",
        "diagnose",
        "behaviour",
        "report",
        "describe",
    ],
)
def test_cheap_stages_start_without_torch(script: str) -> None:
    assert not {"torch", "transformers"} & helped(script)[1]


def test_a_wrong_name_is_no_rule_to_produce(folder: Path) -> None:
    wanted = "results/cells/e5-small/none/intent/seed9/zh.json"
    found = snakemake(folder, "-n", wanted, "--configfile", str(ROOT / "config.yaml"), check=False)
    assert found.returncode != 0
    assert "MissingRuleException" in found.text


def test_a_wrong_configuration_is_one_sentence(folder: Path) -> None:
    (folder / "c.yaml").write_text("models: [e5-smal]\nintermediates: [none]\ntargets: {intent: all}\n")
    found = snakemake(folder, "-n", "--configfile", "c.yaml", check=False)
    assert found.returncode != 0
    assert "c.yaml: models: 'e5-smal' is unknown" in found.text
    assert "Did you mean 'e5-small'" in found.text
    assert "Traceback" not in found.text


def test_a_configuration_stands_alone(folder: Path) -> None:
    """Snakemake merges --configfile into the workflow's own; two sweeps must not mix."""
    (folder / "c.yaml").write_text(
        "models: [e5-small]\nintermediates: [none]\ntargets: {intent: [en, zh]}\nseeds: [0]\n"
    )
    (folder / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    found = snakemake(folder, "-n", "--quiet", "rules", "--configfile", "c.yaml")
    assert re.search(r"^evaluate +2$", found.text, re.MULTILINE)


def test_imports_run_downward() -> None:
    """The library's rooms in order; a module imports from its own room and those before it only."""
    import ast

    order = [
        {"errors", "place"}, {"files", "counting", "writing"}, {"code"}, {"identity"}, {"downloads", "schema", "scriptlog", "layout", "lock", "invocation"}, {"controllers"}, {"metrics", "feats", "cuts"}, {"facts"}, {"records", "languages"}, {"catalog"},
        {"arms"}, {"config", "settings"}, {"sources"}, {"sweep", "aggregates"}, {"jobs"}, {"evaluation", "models", "resources"}, {"kinds", "tokenization"}, {"layers", "prediction"}, {"training"}, {"warm"},
        {"resampling"}, {"probing"}, {"significance"}, {"typology"}, {"behaviour", "combining", "comparing", "keep", "planning", "power", "preflight", "report", "submission"}, {"results", "export", "pushing"},
    ]  # fmt: skip
    floor = {name: level for level, names in enumerate(order) for name in names}
    library = ROOT / "workflow" / "stiltsweep"
    rising = []
    for path in library.rglob("*.py"):
        room = path.relative_to(library).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        package = ("stiltsweep", *path.relative_to(library).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = package[: len(package) - node.level]
            names = (node.module or "").split(".") if node.module else [alias.name for alias in node.names]
            for full in [(*base, *names)] if node.module else [(*base, name) for name in names]:
                if len(full) > 1 and full[1] in floor and floor[full[1]] > floor[room]:
                    rising.append(f"{path.relative_to(library)} imports {'.'.join(full)}")
    assert not rising


def test_an_own_column_that_is_empty_for_english_reaches_the_script(folder: Path) -> None:
    """README's `dialect`: every English cell once failed with 'expected one argument'."""
    (folder / "own").mkdir()
    (folder / "own" / "languages.csv").write_text("language,dialect\nde,yes\n", encoding="utf-8")
    sweep = {"catalog": ["own"], "families": "dialect", "models": ["e5-small"], "intermediates": ["none"], "seeds": [0]}
    (folder / "config.yaml").write_text(yaml.safe_dump({**sweep, "targets": {"intent": ["en", "de"]}}))
    lines = snakemake(folder, "-n", "--printshellcmds").text.replace("\\\n", " ").splitlines()
    said = {}
    for line in lines:
        if match := re.search(r"python workflow/scripts/evaluate\.py (.*)&>", line):
            parser = argparse.ArgumentParser()
            parser.add_argument("--family", default="not said")
            parser.add_argument("--output", nargs="+")
            options = parser.parse_known_args(shlex.split(match[1]))[0]
            said[Path(options.output[0]).stem] = options.family
    assert said == {"en": "", "de": "yes"}
