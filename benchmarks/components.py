"""Take the variance components of a finished sweep into the catalogue, for `snakemake power` of sweeps to come.

    snakemake --cores 2 --configfile sweeps/commands.yaml
    python benchmarks/components.py                          that sweep's, as packaged

Writes workflow/catalog/components.csv: a row for each kind of task and each lift (of one arm, of the mean of the arms).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow")]

from stiltsweep import catalog  # noqa: E402
from stiltsweep.catalog import BUILT_IN  # noqa: E402
from stiltsweep.files import read_json  # noqa: E402
from stiltsweep.languages import Languages  # noqa: E402
from stiltsweep.power import sources  # noqa: E402


def main() -> None:
    """Read the tests of a sweep, and write their components by kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/commands"))
    parser.add_argument("--name", default="sweeps/commands.yaml", help="what to call the sweep")
    parser.add_argument("--output", type=Path, default=sources.PACKAGED)
    arguments = parser.parse_args()
    documents = [read_json(path) for path in sorted(arguments.results.glob("significance/*/*.json"))]
    documents = [document for document in documents if document.get("components")]
    tasks = catalog.read().targets
    table = Languages.read([BUILT_IN / "languages.csv"])
    types = {code: kind for code, row in table.rows.items() if (kind := row["family"])}
    kinds: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        kinds.setdefault(tasks[document["target"]].kind, []).append(document)
    found = []
    for kind, own in kinds.items():
        of = ", ".join(sorted({f"{one['target']} ({one['metric']}) of {one['model']}" for one in own}))
        languages = max(len(one["joint"]["mean"]["languages"]) for one in own)
        arms = len(own[0]["components"]["arms"])
        source = f"{arguments.name}: {of}, {languages} languages, {arms} arms"
        found.append(sources.of_documents(own, types, kind, source))
    sources.write(found, sources.shared(documents, types), arguments.output)
    print(f"{len(found)} kinds: {arguments.output}")


if __name__ == "__main__":
    main()
