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

KEY = "languages:"


def block(task: Task, data_root: str | None = None) -> str:
    """Read a task in every language it offers and return the `languages:` block."""
    lines = [KEY]
    for language in task.languages:
        # Nothing is expected here: this is where expectations come from.
        bare = Task(task.name, task.role, {**task.definition, "languages": {code: {} for code in task.languages}})
        with tempfile.TemporaryDirectory() as folder:
            meta = sources.prepare(bare, language, Path(folder) / "rows.parquet", data_root)
        counts = "".join(f"{split}: {meta.counts[split]}, " for split in records.SPLITS if split in meta.counts)
        lines.append(f"  {_key(language)}: {{{counts}sha256: {meta.sha256}}}")
    return "\n".join(lines) + "\n"


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
    for name in arguments.tasks:
        path, role = _path_of(name, arguments.catalog)
        document = schema.read_yaml(path)
        if arguments.languages:
            document["languages"] = {language: {} for language in arguments.languages}
        task = Task(name, role, schema.check(document, "task", str(path)))
        new = block(task, arguments.data_root)
        if arguments.write:
            files.write_text(path, replaced(path.read_text(encoding="utf-8"), new))
            print(f"{path}: {len(task.languages)} languages")
        else:
            print(f"# {name}\n{new}", end="")


if __name__ == "__main__":
    run_script(main)
