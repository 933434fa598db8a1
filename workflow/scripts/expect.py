"""Print what tasks hold, counts per split and digest, as the `languages:` block of their YAML; or write it there.

The catalogue pins these values, and `prepare` refuses data that differ. Run it with --write after a deliberate change
of a task or of a pinned version, and look at the difference before you commit it.

Example:
  python workflow/scripts/expect.py intent retrieval
  python workflow/scripts/expect.py --write --languages en zh fi -- intent
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import _path  # noqa: F401
from stiltsweep import catalog, files, records, schema, sources
from stiltsweep.catalog import Task
from stiltsweep.errors import UserError, run_script
from stiltsweep.sources import files as source_files
from stiltsweep.sources.parts import rooted

KEY = "languages:"


def block(task: Task, data_root: str | None = None) -> tuple[str, list[str]]:
    """Read a task in every language it offers.

    Returns:
      The `languages:` block, and what of it differs from what the task's YAML counts, a sentence each.

    Raises:
      UserError: a language cannot be read.
    """
    lines, differences = [KEY], []
    # Nothing is expected here: this is where expectations come from. Which splits to read is said by the counts.
    splits = {
        language: {split: 0 for split in records.SPLITS if split in counted} or _on_offer(task, language, data_root)
        for language, counted in task.languages.items()
    }
    bare = Task(task.name, task.role, {**task.definition, "languages": splits})
    for language, counted in task.languages.items():
        with tempfile.TemporaryDirectory() as folder:
            meta = sources.prepare(bare, language, Path(folder) / "rows.parquet", data_root, expected={})
        counts = {split: meta.counts[split] for split in records.SPLITS if split in meta.counts}
        lines.append(
            f"  {_key(language)}: {{{''.join(f'{k}: {v}, ' for k, v in counts.items())}sha256: {meta.sha256}}}"
        )
        differences += [
            f"{task.name}/{language}: {key}: counted {value}, found {counts.get(key, 0)}"
            for key, value in counted.items()
            if key in records.SPLITS and value != counts.get(key, 0)
        ]
        if counted.get("sha256", meta.sha256) != meta.sha256:
            differences.append(f"{task.name}/{language}: sha256: stated {counted['sha256']}, found {meta.sha256}")
    return "\n".join(lines) + "\n", differences


def _on_offer(task: Task, language: str, data_root: str | None) -> dict[str, int]:
    """Return the splits that a task's source has for a language of which nothing is counted."""
    source = task.definition["source"]
    if "splits" not in source:
        return {}
    splits = {}
    for split in records.SPLITS:
        if split not in source["splits"]:
            continue
        definition = {**task.definition, "languages": {language: {split: 0}}}
        try:
            there = source["type"] != "files" or bool(source_files.paths(rooted(definition, data_root), language))
        except UserError:
            there = False
        if there:
            splits[split] = 0
    return splits


def _key(language: str) -> str:
    """Quote the code that YAML 1.1 reads as false."""
    return f'"{language}"' if language == "no" else language


def replaced(text: str, new: str) -> str:
    """Return a task's YAML text with its `languages:` block replaced; all else, comments too, stays as it is."""
    lines = text.splitlines(keepends=True)
    start = next(index for index, line in enumerate(lines) if line.startswith(KEY))
    end = start + 1
    while end < len(lines) and lines[end].startswith((" ", "\n")):
        end += 1
    return "".join([*lines[:start], new, *lines[end:]])


def _path_of(name: str, folders: Sequence[Path]) -> tuple[Path, str]:
    for folder in reversed([catalog.BUILT_IN, *folders]):
        for role in ("intermediate", "target"):
            path = folder / role / f"{name}.yaml"
            if path.is_file():
                return path, role
    raise UserError(f"task {name!r} has no file in {', '.join(map(str, [catalog.BUILT_IN, *folders]))}.")


def main() -> None:
    """Parse, read, print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", help="names of tasks")
    parser.add_argument("--write", action="store_true", help="replace the block in the YAML files")
    parser.add_argument("--languages", nargs="+", help="offer these languages instead of those in the file")
    parser.add_argument("--data-root", help="folder of their files, or of copies of hub data sets, if they name none")
    parser.add_argument("--catalog", type=Path, nargs="*", default=[], help="your own catalogue folders")
    arguments = parser.parse_args()
    wrong: list[str] = []
    for name in arguments.tasks:
        path, role = _path_of(name, arguments.catalog)
        document = schema.read_yaml(path)
        if arguments.languages:
            document["languages"] = {language: {} for language in arguments.languages}
        task = Task(name, role, schema.check(document, "task", str(path)))
        new, differences = block(task, arguments.data_root)
        if arguments.write:
            files.write_text(path, replaced(path.read_text(encoding="utf-8"), new))
            print(f"{path}: {len(task.languages)} languages")
        else:
            print(f"# {name}\n{new}", end="")
            wrong += differences
    if wrong:
        raise UserError(f"{len(wrong)} counts differ. " + "; ".join(wrong) + ". Write what is found with --write.")


if __name__ == "__main__":
    run_script(main)
