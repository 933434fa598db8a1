"""Take the variance components of finished sweeps into the catalogue, for `snakemake power` of sweeps to come.

    snakemake --cores 2
    snakemake --cores 2 --configfile sweeps/commands.yaml
    python benchmarks/components.py                          those two, as packaged

Writes workflow/catalog/components.csv: a row for each kind of task and each lift (of one arm, of the mean of the arms).
A kind is that of the first sweep that has it; how much of what languages differ in is common to targets is that of the
sweep with the most targets.
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
    default = ["config.yaml=results", "sweeps/commands.yaml=results/commands"]
    parser.add_argument(
        "sweeps", nargs="*", default=default, metavar="NAME=RESULTS", help="what to call them, and where"
    )
    parser.add_argument("--output", type=Path, default=sources.PACKAGED)
    arguments = parser.parse_args()
    tasks = catalog.read().targets
    table = Languages.read([BUILT_IN / "languages.csv"])
    types = {code: kind for code, row in table.rows.items() if (kind := row["family"])}
    found: dict[str, sources.Variances] = {}
    shares: dict[int, tuple[float, str]] = {}
    for sweep in arguments.sweeps:
        name, _, results = sweep.partition("=")
        documents = [read_json(path) for path in sorted(Path(results).glob("significance/*/*.json"))]
        documents = [document for document in documents if document.get("components")]
        kinds: dict[str, list[dict[str, Any]]] = {}
        for document in documents:
            kinds.setdefault(tasks[document["target"]].kind, []).append(document)
        for kind, own in kinds.items():
            of = ", ".join(sorted({f"{one['target']} ({one['metric']}) of {one['model']}" for one in own}))
            languages = max(len(one["joint"]["mean"]["languages"]) for one in own)
            arms = len(own[0]["components"]["arms"])
            source = f"{name}: {of}, {languages} languages, {arms} arms"
            found.setdefault(kind, sources.of_documents(own, types, kind, source))
        shares.setdefault(len(documents), (sources.shared(documents, types), name))
    sources.write(list(found.values()), *shares[max(shares)], arguments.output)
    print(f"{len(found)} kinds: {arguments.output}")


if __name__ == "__main__":
    main()
