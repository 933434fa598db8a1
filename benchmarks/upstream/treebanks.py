"""Treebanks as XTREME prepares them, by its own conversion and preparation, beside our reader's."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from stiltsweep.sources.files import conllu
from upstream import official
from upstream.agreement import Agreement

_CONVERT = """
import collections, collections.abc, fractions, math, runpy
fractions.gcd = math.gcd  # networkx 1.11 is of the time before Python 3.9
for name in ("Mapping", "MutableMapping", "Iterable", "Iterator", "Sized", "Callable", "Set", "MutableSet"):
    setattr(collections, name, getattr(collections.abc, name))
answer = []
for one in job:
    sys.argv = one
    try:
        runpy.run_path(one[0], run_name="__main__")
        answer.append("")
    except ValueError as error:
        answer.append(str(error))
"""


def treebanks(folder: Path, rng: random.Random) -> Iterator[Agreement]:
    """Compare every token and tag of the treebanks that are there; those on which XTREME's script stops are named."""
    tools = folder / "xtreme/third_party/ud-conversion-tools"
    words = differences = 0
    stopped: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        files = sorted((folder / "udpos").glob("*.conllu"))
        calls = []
        for path in files:
            code = path.name.partition("_")[0]
            converted = place / path.stem / code / "x-dev.conll"  # of a test set it would write no tags
            converted.parent.mkdir(parents=True)
            flags = ["--lang", code, "--replace_subtokens_with_fused_forms", "--print_fused_forms"]
            calls.append([str(tools / "conllu_to_conll.py"), str(path), str(converted), *flags])
        outcomes = official.asked(_CONVERT, calls, tools, folder / "networkx")
        for path, outcome in zip(files, outcomes, strict=True):
            if outcome:
                stopped.append(f"{path.stem} ({outcome})")
                continue
            code = path.name.partition("_")[0]
            prepare = official.functions(
                folder / "xtreme/utils_preprocess.py", ["udpos_preprocess"], os=os, UDPOS_LANGUAGES=[code]
            ).udpos_preprocess
            output = place / path.stem / "out"
            with official.silent():
                prepare(SimpleNamespace(data_dir=str(place / path.stem), output_dir=str(output)))
            lines = (output / f"dev-{code}.tsv").read_text("utf-8").strip("\n").split("\n")
            settings = {"words": "fused", "hidden": "drop", "blanks": "drop", "language": code}
            ours: list[str] = []
            for _, row in conllu.rows(path, settings):
                ours += [*(f"{a}\t{b}" for a, b in zip(row["tokens"], row["upos"], strict=True)), ""]
            words += len(ours)
            differences += sum(a != b for a, b in zip(ours[:-1], lines, strict=True))
    reason = f"not compared, since its script stops there: {', '.join(stopped)}" if stopped else ""
    yield Agreement(
        "tokens and tags of treebanks, fused",
        "XTREME's conllu_to_conll and udpos_preprocess",
        words,
        differences,
        reason,
    )
