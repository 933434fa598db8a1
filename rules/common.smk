"""Look-ups that the rules share: the checked configuration as a grid of cells. No rules."""

import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from stiltsweep import config as configuration
from stiltsweep import warm
from stiltsweep.code import digest as code_digest
from stiltsweep.errors import UserError
from stiltsweep.files import canonical
from stiltsweep.sweep import BASELINE, SOURCE_LANGUAGE, Sweep

# Rules call `python`: the one that runs Snakemake, unless an environment manager puts another in front. Tokenizing is
# spread over jobs, not threads.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]),
    TOKENIZERS_PARALLELISM="false",
)

# Rules name scripts by their path from here, so that a shell line can be pasted and a moved checkout is the same workflow.
if not Path("workflow/scripts").is_dir():
    raise WorkflowError(
        f"There is no workflow/scripts in {Path.cwd()}. Run snakemake in the project's folder, or link it: "
        f"ln -s {Path(workflow.basedir) / 'workflow'} workflow"
    )

try:
    SETTINGS, CATALOG = configuration.resolve(
        config,
        " ".join(str(f) for f in workflow.config_settings.configfiles) or "config.yaml",
    )
except UserError as error:
    raise WorkflowError(str(error)) from None

SWEEP = Sweep(SETTINGS, CATALOG)
TABLES = [
    "workflow/catalog/languages.csv",
    *[
        table
        for folder in SETTINGS["catalog"]
        if Path(table := f"{folder}/languages.csv").is_file()
    ],
]


def print_headline():
    """Say where the report is, in its own first sentences."""
    page = Path(SWEEP.results) / "report" / "index.html"
    headline = page.with_name("headline.txt")
    if headline.is_file():
        print(f"\n{headline.read_text(encoding='utf-8').strip()}\n\nReport: {page}")


def print_failures():
    """Say how to go on."""
    print(
        f"\nSome jobs failed; their logs are below {SWEEP.results}/logs. Run the same command again to go on."
    )


pathvars:
    results=SWEEP.results,
    logs=f"{SWEEP.results}/logs",
    benchmarks=f"{SWEEP.results}/benchmarks",


def one_of(names):
    """Return the wildcard constraint that allows these names only, so that a wrong one is "no rule to produce"."""
    return "|".join(sorted(re.escape(name) for name in names)) or "none-is-configured"


wildcard_constraints:
    model=one_of(SWEEP.models),
    intermediate=one_of(SWEEP.intermediates),
    target=one_of(SWEEP.languages),
    task=one_of([*SWEEP.intermediates, *SWEEP.languages]),
    seed=one_of(map(str, SWEEP.seeds)),
    language=one_of(CATALOG.languages.rows),
