"""The configuration of a sweep: checked against its schema, then against the catalogue it names."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from . import arms, feats
from . import catalog as catalogs
from .arms import Arm
from .catalog import OURS, Catalog, Task
from .errors import UserError, nearest
from .facts import SIDED
from .interfaces import INTERFACES
from .languages import NUMBERS, SIZES
from .layout import FOLDERS
from .schema import check, check_training, read_yaml


def read(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
      UserError: see `schema.read_yaml`; or it is empty or holds no keys.
    """
    value = read_yaml(path)
    if not isinstance(value, dict):
        what = "is empty" if value is None else f"holds {value!r:.60}"
        raise UserError(f"{path}: {what}. A configuration has keys with values: models, intermediates, targets ...")
    if "__use_yte__" in value:
        raise UserError(f"{path}: __use_yte__: code in a configuration is not run. Write plain values.")
    return value


_CHECKED: set[Path] = set()


def check_file(path: Path) -> None:
    """Read a configuration file to check it, once in a process.

    Raises:
      UserError: see `read`.
    """
    if path.resolve() not in _CHECKED:
        read(path)
        _CHECKED.add(path.resolve())


def check_named(arguments: Sequence[str]) -> None:
    """Check the files that a Snakemake command line names after --configfile; exit with one sentence if one is wrong.

    Snakemake opens them before it reads the Snakefile, and shows a traceback of one that it cannot open.
    """
    naming = False
    for argument in arguments:
        option, _, value = argument.partition("=")
        if argument.startswith("-"):
            naming = option in ("--configfile", "--configfiles")
        else:
            value = argument
        if naming and value:
            try:
                check_file(Path(value))
            except UserError as error:
                sys.exit(f"error: {error}")


ANSWERS = ("plan", "status", "power")
"""Targets that Snakemake answers before it needs a place of its own."""


def check_place(arguments: Sequence[str]) -> None:
    """Check that Snakemake can keep its locks and logs where a command line runs it; exit with one sentence if not.

    It makes folders below .snakemake before it does anything else, and shows a traceback where it cannot.
    """
    if any(argument in (*ANSWERS, "-h", "--help", "-v", "--version") for argument in arguments):
        return
    here = Path()
    for at, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in ("--directory", "-d"):
            here = Path(value if equals else next(iter(arguments[at + 1 :]), ""))
    place = here / ".snakemake"
    place = place if place.exists() else here
    if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
        workflow, settings, rules = (
            shlex.quote(str(Path(__file__).resolve().parents[2] / name))
            for name in ("workflow", "config.yaml", "Snakefile")
        )
        sys.exit(
            f"error: {place.resolve()}: not writable, and Snakemake keeps its locks and logs there. Run it in a folder "
            f"of your own: mkdir my-sweep && cd my-sweep && ln -s {workflow} workflow && cp {settings} . && "
            f"snakemake --cores 1 --snakefile {rules}"
        )
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    if not os.access(next(folder for folder in (home, *home.parents) if folder.exists()), os.W_OK | os.X_OK):
        # Snakemake makes a folder of its own in the user's cache, of which this workflow has no use.
        os.environ["XDG_CACHE_HOME"] = str((here / ".snakemake" / "cache").resolve())


def resolve(config: Mapping[str, Any], where: str = "config") -> tuple[dict[str, Any], Catalog]:
    """Check a configuration, fill its defaults in, and read the catalogue it names.

    Args:
      config: what YAML (and `--config`) gave.
      where: the file, for error texts.

    Raises:
      UserError: the first thing wrong, with key, value, what is allowed and a hint.
    """
    settings = check(dict(config), "config", where)
    if isinstance(settings["shots"], int):
        settings = check({**config, "shots": {"examples": settings["shots"]}}, "config", where)
    elif config.get("shots") and "examples" not in config["shots"]:
        raise UserError(
            f"{where}: shots: {dict(config['shots'])} says how shots are trained on and not how many there are. Say "
            "examples too, for example shots: {examples: 20}, or leave shots out."
        )
    if isinstance(settings["source_language"], str):
        settings["source_language"] = [settings["source_language"]]
    settings["training"] = check_training(settings["training"], f"{where}: training")
    _check_results(settings["results"], f"{where}: results")
    for key in ("catalog", "data_root"):
        for path in [settings.get(key, [])] if isinstance(settings.get(key), str) else settings.get(key, []):
            _check_length(path, f"{where}: {key}")
    catalog = catalogs.read([Path(folder) for folder in settings["catalog"]])
    _names(settings["models"], catalog.models, f"{where}: models")
    settings["recipe"] = _recipes(settings["recipe"], settings["models"], catalog, f"{where}: recipe")
    if settings["arms"]["multi_task"]["training"]:
        own = settings["arms"]["multi_task"]
        own["training"] = check_training(own["training"], f"{where}: arms.multi_task.training")
    if isinstance(settings["targets"], str):
        settings["targets"] = _benchmark(settings["targets"], catalog, f"{where}: targets")
    _leave_out(settings, catalog, f"{where}: without")
    resolve_arms(settings, catalog, where)
    _names(settings["targets"], catalog.targets, f"{where}: targets")
    settings["targets"] = {
        name: _languages(wanted, catalog.targets[name], f"{where}: targets.{name}")
        for name, wanted in settings["targets"].items()
    }
    _sources(settings, catalog, where)
    _probes(settings["probes"], catalog, f"{where}: probes")
    _names(settings["segmentations"], catalog.languages.rows, f"{where}: segmentations")
    _columns(settings, catalog, where)
    _check_apart(settings["results"], _read_from(settings, catalog), f"{where}: results")
    return settings, catalog


_TAKEN = {"all": "`all` is all languages", "mean": "`mean` is the mean of the groups"}
"""Names that groups of languages cannot have."""


def _columns(settings: Mapping[str, Any], catalog: Catalog, where: str) -> None:
    """Refuse columns of languages.csv that are not there, say nothing of the sweep's languages, or are no numbers."""
    table = catalog.languages
    groups = [settings["families"], *settings["significance"]["groupings"]]
    numbers = settings["significance"]["predictors"]
    languages = sorted(
        {code for wanted in settings["targets"].values() for code in wanted} - {settings["source_language"][0]}
    )
    for column in [*groups, *numbers]:
        if column.startswith("-"):
            raise UserError(f"{where}: {column!r}: a column that begins with a dash would be an option. Rename it.")
        if column not in table.columns:
            hint = nearest(column, table.columns)
            raise UserError(f"{where}: {column!r} is not a column of languages.csv: {', '.join(table.columns)}.{hint}")
        if not any(table.groups(column, languages).values()):
            raise UserError(
                f"{where}: {column!r} of languages.csv is empty for every transfer language of the sweep: "
                f"{' '.join(languages)}. Fill it in, or name another column."
            )
    for column in (settings["families"], f"{settings['families']}_alternative"):
        for code in table.rows if column in table.columns else ():
            if (name := table.value(code, column)) in _TAKEN or " - " in name:
                means = _TAKEN.get(name, "two groups with ` - ` between are their contrast")
                raise UserError(
                    f"{where}: families: {column!r} of languages.csv has {name!r} for {code!r}: {means} in every "
                    "table, and two things of one name cannot be told apart. Give the group another name."
                )
    for column in numbers:
        try:
            table.numbers(column)
        except UserError as error:
            raise UserError(
                f"{where}: significance.predictors: {error} Names go with significance.groupings."
            ) from None
    # These every sweep reads, whoever wrote them.
    for column in NUMBERS:
        if column in table.columns:
            try:
                sizes = table.numbers(column)
            except UserError as error:
                raise UserError(f"{where}: {error} Every sweep regresses the lift on this column.") from None
            none = [code for code, value in sizes.items() if value <= 0.0]
            if none and column in SIZES.values():
                raise UserError(
                    f"{where}: {column!r} of languages.csv has {table.value(none[0], column)!r} for {none[0]!r}: of a "
                    "size the logarithm is taken, so that it is above 0; leave the field empty where it is not known."
                )


def _read_from(settings: Mapping[str, Any], catalog: Catalog) -> dict[str, str]:
    """Return the folders that a sweep reads its own files from, by the key that names them."""
    folders = {f"catalog: {folder}": str(folder) for folder in settings["catalog"]}
    if "data_root" in settings:
        folders["data_root"] = settings["data_root"]
    for name in settings["models"]:
        if path := catalog.models[name].definition["source"].get("path"):
            folders[f"models/{name}.yaml: source.path"] = path
    for name in settings["targets"]:
        source = catalog.targets[name].definition["source"]
        if source["type"] == "files" and "root" in source:
            folders[f"target/{name}.yaml: source.root"] = source["root"]
    return folders


_PLAIN_PATH = re.compile(r"[^\s{}<>*?'\"\\$`;&|]+")
_PROJECT = Path(__file__).resolve().parents[2]
_PARTS = (
    "benchmarks",
    "config",
    "docs",
    "envs",
    "examples",
    "kubernetes",
    "profiles",
    "rules",
    "slurm",
    "sweeps",
    "tests",
    "workflow",
)
"""Folders of the project."""
_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "sbin", "sys", "usr", "System", "Library")
"""Folders of the root that are the system's, with all below them."""
_LONGEST_NAME, _LONGEST_PATH = 255, 2000
"""Bytes of a name and of a path; no file system has longer names, and paths below results are some hundreds longer."""


def _check_results(results: str, where: str) -> None:
    """Check the folder that everything is written to: one of its own, its name nothing to patterns and shells."""
    folder = PurePath(results)
    if ".." in folder.parts or results.startswith("~"):
        raise UserError(f"{where}: {results!r} climbs out of the working directory. Name a folder.")
    if not _PLAIN_PATH.fullmatch(results):
        raise UserError(
            f"{where}: {results!r} holds a space or a character with a meaning to shells. Name a plain folder."
        )
    _check_length(results, where)
    real = Path(results).resolve()
    if why := _why_not(real):
        raise UserError(f"{where}: {results!r} {why}. Name a folder of its own, for example results.")


def _check_length(path: str, where: str) -> None:
    """Refuse a name that no file system holds."""
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in PurePath(path).parts) or len(path) > _LONGEST_PATH:
        raise UserError(f"{where}: {path[:30]!r}... is longer than file systems allow. Name a shorter one.")


def _why_not(real: Path) -> str:
    """Say why a folder cannot hold results, empty if it can."""
    here = Path.cwd().resolve()
    shared = [Path("/", name) for name in ("home", "root", "tmp", "var", "opt", "mnt", "media", "srv", "run", "Users")]
    if real in (*shared, Path(os.path.expanduser("~")).resolve()):  # noqa: PTH111 (Path.home raises without a home)
        return "is a folder that others use too"
    if any(real.is_relative_to(f"/{name}") for name in _SYSTEM) and not real.is_relative_to("/dev/shm"):  # noqa: S108
        return "belongs to the system"
    for project in {here, _PROJECT}:
        if project.is_relative_to(real):
            return "holds other things: the project, or the folder this runs in"
        if real.is_relative_to(project) and (first := real.relative_to(project).parts[0]):
            if first.startswith("."):
                return "is hidden, as what other programs keep for themselves is"
            if first in _PARTS:
                return "holds other things: it is a part of the project"
    if real.exists() and not real.is_dir():
        return "is a file"
    try:
        inside = sorted(path.name for path in real.iterdir() if not path.name.startswith(".")) if real.is_dir() else []
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    # Results of one sweep may lie within those of another: results, and results/one beside or before it.
    inner = {path.name for name in inside if (real / name).is_dir() for path in (real / name).iterdir()}
    if inside and not FOLDERS & {*inside, *inner}:
        return f"holds other things: {', '.join(inside[:3])}"
    return ""


def _check_apart(results: str, others: Mapping[str, str], where: str) -> None:
    """Check that results are not written to where something is read from.

    Args:
      results: the folder of results.
      others: key -> folder that is read from.
      where: file and key, for error texts.
    """
    real, here = Path(results).resolve(), Path.cwd().resolve()
    for key, name in others.items():
        other = Path(name).resolve()
        # A whole working directory may be what is read from; its folder of results is apart all the same.
        if other.is_relative_to(real) or (real.is_relative_to(other) and not here.is_relative_to(other)):
            raise UserError(f"{where}: {results!r} holds or lies in {name}, which is read from ({key}). Name another.")


def _names(wanted: Any, known: Mapping[str, Any], where: str) -> None:
    for name in wanted:
        if name not in known:
            raise UserError(f"{where}: {name!r} is unknown; known: {', '.join(sorted(known))}.{nearest(name, known)}")


def _recipes(wanted: str | Mapping[str, str], models: Sequence[str], catalog: Catalog, where: str) -> dict[str, str]:
    """Return interface -> name of its recipe; one name alone stands for all models there are."""
    interfaces = sorted({catalog.models[model].interface for model in models})
    named = dict.fromkeys(interfaces, wanted) if isinstance(wanted, str) else dict(wanted)
    known = [OURS, *sorted(catalog.recipes)]
    for interface, name in named.items():
        if name not in known:
            raise UserError(f"{where}: {name!r} is unknown; known: {', '.join(known)}.{nearest(name, known)}")
        if name != OURS and catalog.recipes[name].interface != interface:
            meant = catalog.recipes[name].interface
            asked = [one for one in INTERFACES if one in (*interfaces, meant)]
            rest = {one: OURS if one == interface else named.get(one, OURS) for one in asked} | {meant: name}
            raise UserError(
                f"{where}: {name!r} is for models of interface {meant}, not {interface}. Name "
                f"one for each, for example: {{{', '.join(f'{one}: {of}' for one, of in rest.items())}}}."
            )
    return named


def resolve_arms(settings: Mapping[str, Any], catalog: Catalog, where: str = "config") -> dict[str, Arm]:
    """Return the arms a checked configuration names; see `arms.parse`."""
    return arms.parse(settings["intermediates"], settings["arms"], catalog, f"{where}: intermediates")


def _leave_out(settings: dict[str, Any], catalog: Catalog, where: str) -> None:
    """Take the tasks named by `without` out of targets, intermediates and their mixture."""
    unwanted = set(settings["without"])
    _names(settings["without"], {**catalog.intermediates, **catalog.targets}, where)
    settings["targets"] = {name: wanted for name, wanted in settings["targets"].items() if name not in unwanted}
    if not settings["targets"]:
        raise UserError(f"{where}: leaves no target. Name fewer.")
    # A variant of a task (`mnli+mlm`) goes with it.
    settings["intermediates"] = [name for name in settings["intermediates"] if name.split("+")[0] not in unwanted]
    mixed = settings["arms"]["multi_task"]
    if "tasks" in mixed:
        mixed["tasks"] = [name for name in mixed["tasks"] if name not in unwanted]


def _benchmark(name: str, catalog: Catalog, where: str) -> dict[str, Any]:
    """Return all targets of a benchmark, each in its languages there."""
    known = sorted({benchmark for task in catalog.targets.values() for benchmark in task.benchmarks})
    if name not in known:
        raise UserError(
            f"{where}: {name!r} is not a benchmark; known: {', '.join(known)}. Name one, or map targets to languages."
            f"{nearest(name, known)}"
        )
    return {task.name: name for task in catalog.targets.values() if name in task.benchmarks}


def _sources(settings: Mapping[str, Any], catalog: Catalog, where: str) -> None:
    """Check that every target can be trained in the source languages, and has examples for shots in the others."""
    sources: list[str] = settings["source_language"]
    key = f"{where}: source_language"
    known = catalog.languages.rows
    meant = {row.get("name", "").casefold(): code for code, row in known.items()} | {code: code for code in known}
    for code in sources:
        if code not in known and code.casefold() in meant:
            raise UserError(
                f"{key}: {code!r} is unknown; languages go by their codes. Did you mean {meant[code.casefold()]!r}?"
            )
    _names(sources, known, key)
    targets = [catalog.targets[name] for name in settings["targets"]]
    # Cells with fewer test examples are not built.
    minimum = settings["minimum_examples"]
    built = {
        target.name: [
            code for code in settings["targets"][target.name] if target.languages[code].get("test", minimum) >= minimum
        ]
        for target in targets
    }
    for name, codes in built.items():
        if codes == sources[:1]:
            raise UserError(
                f"{where}: targets.{name}: {sources[0]} alone, which is source_language and so no transfer language: "
                f"there would be no lift. Name other languages too, or leave the target out with without: [{name}]."
            )
    untrained = {
        target.name: (task, code)
        for target in targets
        for task in map(catalog.task, target.train_on)
        for code in sources
        if "train" not in task.languages.get(code, {})
    }
    if untrained:
        name, (task, code) = next(iter(untrained.items()))
        offered = [code for code, counts in task.languages.items() if "train" in counts]
        raise UserError(
            f"{key}: {name} is trained on {task.name}, which counts no training data in {code!r}; it does in: "
            f"{', '.join(offered)}. Count `train` and `dev` under languages.{code} in {task.role}/{task.name}.yaml of "
            f"a catalogue of yours, or leave out the targets without such data with without: "
            f"[{', '.join(untrained)}]{_common(targets, catalog)}.{nearest(code, offered)}"
        )
    for task in (catalog.task(name) for target in targets for name in target.train_on):
        task.check_dev(sources[0])
    if settings["shots"]["examples"]:
        _shots(settings["shots"]["examples"], targets, built, sources, where)


def _common(targets: Sequence[Task], catalog: Catalog) -> str:
    """Name a language that all targets can be trained in, if there is one."""
    trained = [catalog.task(name).languages for target in targets for name in target.train_on]
    common = [code for code in trained[0] if all({"train", "dev"} <= one.get(code, {}).keys() for one in trained)]
    return f", or say source_language: {common[0]}" if common else ""


def _shots(
    examples: int, targets: Sequence[Task], built: Mapping[str, Sequence[str]], sources: Sequence[str], where: str
) -> None:
    """Check that every target can be trained on so many examples of its languages."""
    if not {code for codes in built.values() for code in codes} - set(sources):
        raise UserError(
            f"{where}: shots: {examples}, and targets are tested in none but the source languages "
            f"({', '.join(sources)}), which get none. Name other languages, or leave shots out."
        )
    reasons: dict[str, tuple[str, str]] = {}
    drop = "or leave shots out"
    for target in targets:
        lacking = [
            code
            for code in built[target.name]
            if code not in sources
            and target.languages[code].get("train", target.languages[code].get("dev", 0)) < examples
        ]
        if not target.train_on:
            reasons[target.name] = ("is not trained on, so there is nothing that shots could go on with", drop)
        elif target.kind in SIDED:
            reasons[target.name] = (
                f"is {target.kind}, which learns from whole sets of candidates and not from single examples",
                drop,
            )
        elif lacking:
            reasons[target.name] = (
                f"counts fewer than {examples} examples of train (or dev, without train) in {', '.join(lacking)}",
                f"name other languages for them, or count theirs in target/{target.name}.yaml of a catalogue of yours",
            )
    if reasons:
        name, (reason, otherwise) = next(iter(reasons.items()))
        raise UserError(
            f"{where}: shots: {name} {reason}. Leave out the targets that cannot have shots with without: "
            f"[{', '.join(reasons)}], {otherwise}."
        )


def _probes(probes: Mapping[str, Any], catalog: Catalog, where: str) -> None:
    """Check tasks, languages and features; a feature that is almost a universal one is taken for a slip."""
    _names(probes["tasks"], catalog.probes, f"{where}.tasks")
    offered = {code for name in probes["tasks"] for code in catalog.probes[name].languages}
    for code in probes.get("languages", []):
        if probes["tasks"] and code not in offered:
            known = ", ".join(sorted(offered))
            raise UserError(f"{where}.languages: {code!r} is not on offer; on offer: {known}.{nearest(code, offered)}")
    for name in probes["features"]:
        bare = name.partition("[")[0]
        if bare not in feats.UNIVERSAL and (meant := feats.almost(bare)):
            raise UserError(
                f"{where}.features: {name!r} is no feature of Universal Dependencies; those of all languages are: "
                f"{', '.join(feats.UNIVERSAL)}. Did you mean {meant!r}?"
            )


def _languages(wanted: Any, task: Task, where: str) -> list[str]:
    # A language may have training data alone, as English COPA has.
    offered = [code for code, counts in task.languages.items() if "test" in counts or not counts]
    if wanted == "all":
        return list(offered)
    if isinstance(wanted, str):
        if wanted not in task.benchmarks:
            known = ["all", *task.benchmarks]
            raise UserError(
                f"{where}: {wanted!r} is neither a list of languages nor one of: {', '.join(known)}."
                f"{nearest(wanted, known)}"
            )
        return list(task.benchmarks[wanted])
    for language in wanted:
        if language not in offered:
            hint = nearest(language, offered)
            raise UserError(f"{where}: language {language!r} is not on offer; on offer: {', '.join(offered)}.{hint}")
    return list(wanted)
