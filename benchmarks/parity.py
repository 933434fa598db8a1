"""Compare every metric with the official code, where it is there, and write the tables of docs/agreement.md.

The code lies below one folder, each part in a folder of its own (xtreme, multilingual-t5, t5, seqio, seqeval-0.0.12,
re2, networkx; data in xquad, ner and udpos); what is not there is said with the command that gets it, and left out.

Example:
  python benchmarks/parity.py
  python benchmarks/parity.py official
  python benchmarks/parity.py official --write
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from measuring import ROOT, byte_tokenizer, prepared
from upstream import agreement, official, oracles, treebanks
from upstream.agreement import Agreement

from stiltsweep.files import write_text
from stiltsweep.kinds import Limits
from stiltsweep.models.tokenizer import Tokenizer

PAGE = ROOT / "docs/agreement.md"
CHECKS = {
    **agreement.CHECKS,
    "treebanks": (treebanks.treebanks, ("xtreme", "networkx", "udpos")),
    "written": (oracles.generated, ("multilingual-t5", "t5", "re2", "xquad")),
}
MODEL = "models/e5-small/model.json"


def table(lines: Sequence[Agreement]) -> list[str]:
    """Return the table of agreement."""
    head = ["| what | oracle | cases | differences | why |", "|---|---|---:|---:|---|"]
    return [
        *head,
        *(f"| {one.metric} | {one.oracle} | {one.cases:,} | {one.differences:,} | {one.reason} |" for one in lines),
    ]


def marked(text: str, name: str, lines: Sequence[str]) -> str:
    """Return a page with what stands between its markers of a name replaced."""
    begin, end = f"<!-- {name}: made by benchmarks/parity.py -->", f"<!-- {name} ends -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{PAGE}: lacks the lines {begin} and {end}")
    return "\n".join([f"{before}{begin}", *lines, f"{end}{after}"])


def readers(folder: Path, model: Path | None) -> list[oracles.Reader]:
    """Return multilingual-e5's pieces and bytes, with the lengths that question answering has with them."""
    directory = model or (prepared(Path("results"), [MODEL]) / MODEL).parent
    return [
        oracles.Reader("sub-words", Tokenizer.from_directory(directory), Limits(384, 128, 384)),
        oracles.Reader("bytes", byte_tokenizer(folder), Limits(1024, 256, 1024)),
    ]


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("official", type=Path, nargs="?", default=Path("results/bench/official"), help="the folder")
    parser.add_argument("--only", choices=[*CHECKS, "xquad", "ner"], nargs="+", help="parts to compare; all without")
    parser.add_argument("--model", type=Path, help="a model's directory, whose pieces the oracle reads")
    parser.add_argument("--every", type=int, default=1, help="the oracle reads every N-th question or sentence")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/agreement.md")
    arguments = parser.parse_args(argv)
    folder: Path = arguments.official.resolve()
    parts = arguments.only or [*CHECKS, "xquad", "ner"]
    data = {"xquad": ("xquad", "t5", "multilingual-t5", "re2"), "ner": ("ner",)}
    needed = {part: CHECKS[part][1] if part in CHECKS else data[part] for part in parts}
    gaps = official.missing(folder, sorted({name for names in needed.values() for name in names}))
    print("\n".join(gaps))
    if gaps and arguments.write:
        print("Nothing is written to the page while something is missing.")
        return 1
    there = [part for part in parts if not official.missing(folder, needed[part])]
    found: dict[str, list[str]] = {}
    lines = []
    for part in there:
        for one in CHECKS[part][0](folder, random.Random(part)) if part in CHECKS else ():
            print(one, flush=True)
            lines.append(one)
    if lines:
        found["agreement"] = table(lines)
    with tempfile.TemporaryDirectory() as temporary:
        for part, make in (("xquad", oracles.answered), ("ner", oracles.named)):
            if part in there:
                found[f"oracle {part}"] = make(folder, readers(Path(temporary), arguments.model), arguments.every)
    page = PAGE.read_text(encoding="utf-8")
    for name, made in found.items():
        print(f"\n{name}\n\n" + "\n".join(made))
        page = marked(page, name, made) if arguments.write else page
    if arguments.write:
        write_text(PAGE, page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
