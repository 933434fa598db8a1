"""Look-ups that the rules share: the checked configuration as a grid of cells. No rules."""

import functools
import gc
import inspect
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.persistence import PersistenceBase

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from stiltsweep import config as configuration
from stiltsweep import controllers, keep, preflight, warm
from stiltsweep.errors import UserError
from stiltsweep.files import canonical, read_json
from stiltsweep.invocation import invocation
from stiltsweep.jobs import Jobs
from stiltsweep.languages import SOURCE_LANGUAGE
from stiltsweep.planning.reasons import Reasons
from stiltsweep.resources import Needs
from stiltsweep.sweep import Sweep

# Rules call `python`: the one that runs Snakemake, unless an environment manager puts another in front. Tokenizing is
# spread over jobs, not threads.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.getenv("PATH", "")]),
    TOKENIZERS_PARALLELISM="false",
)

# Jobs are many small objects that stay: looking for rubbish among them every 700 new ones takes a tenth of the planning.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

# A job that is told to stop (SIGTERM: cancelled, out of time, preempted) saves its training state. Its shell must not end
# before it does: a cluster kills what is left once the shell is gone, which it was after a second.
shell.prefix("set -euo pipefail; trap : TERM; ")

# Rules name scripts by their path from here, so that a shell line can be pasted and a moved checkout is the same workflow.
if not Path("workflow/scripts").is_dir():
    raise WorkflowError(
        f"There is no workflow/scripts in {Path.cwd()}. Run snakemake in the project's folder, or link it: "
        f"ln -s {Path(workflow.basedir) / 'workflow'} workflow"
    )


def checked(function, *arguments):
    """Call; end Snakemake with one sentence where it refuses (an exception would get the place in this file added)."""
    try:
        return function(*arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


CONFIGURATIONS = [
    os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else str(file)
    for file in workflow.config_settings.configfiles
] or ["config.yaml"]

# Read here first: Snakemake says less of a file that is not YAML, and nothing of a key that stands twice.
for file in CONFIGURATIONS:
    checked(configuration.check_file, Path(file))

# A configuration given with --configfile stands alone; merging it into the default one would mix two sweeps.
if not workflow.config_settings.configfiles:

    configfile: "config.yaml"


SETTINGS, CATALOG = checked(configuration.resolve, config, " ".join(CONFIGURATIONS))

# The grid, where everything lies, and what jobs are told.
SWEEP = Sweep(SETTINGS, CATALOG)
LAYOUT = SWEEP.layout
JOBS = Jobs(SWEEP)
AGAIN = invocation(workflow, sys.argv)
REASONS = Reasons()
NEEDS = Needs(JOBS)

if workflow.is_main_process:
    controllers.guard(PersistenceBase, AGAIN)
    logger.addHandler(REASONS)
    checked(preflight.check, SWEEP)
    JOBS.look()
TABLES = [
    "workflow/catalog/languages.csv",
    *[
        table
        for folder in SETTINGS["catalog"]
        if Path(table := f"{folder}/languages.csv").is_file()
    ],
]
PUBLISHED = [
    table
    for folder in ["workflow/catalog", *SETTINGS["catalog"]]
    if Path(table := f"{folder}/published.csv").is_file()
]


def inspected(function):
    """Return a function that carries its signature, which Snakemake otherwise derives anew several times for every job."""
    function.__signature__ = inspect.signature(function)
    return function


def check_jobs():
    """Check what the jobs that are about to run need."""
    jobs = list(workflow.dag.needrun_jobs())
    models = [job.wildcards.model for job in jobs if job.rule.name == "fetch"]
    data = [
        (job.wildcards.task, job.wildcards.language)
        for job in jobs
        if job.rule.name == "prepare"
    ]
    checked(preflight.check_jobs, JOBS, models, data)


def schedule_on_events():
    """Let the scheduler look for jobs to start when one has ended, and not by the clock as well.

    While Snakemake limits jobs per time span, which it does unless told otherwise (100/1s), each look at the queue asks for
    another a second later, and each job that ends begins one more such chain: hundreds of looks a second in a long run, at
    the cost of a core. A limit that somebody asked for stays.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def print_answer():
    """Say what came out: the scores of cells that were asked for, or the report's own first sentences."""
    cells = [
        str(file)
        for file in workflow.dag.targetfiles
        if (found := LAYOUT.place(str(file))) and found.place == "cell"
    ]
    for cell in cells:
        found = read_json(cell)
        print(f"{cell}: {found['metric']} {found['score']:.1f}, {found['n']} examples")
    page = LAYOUT.path("page")
    if any(str(file) == page for job in workflow.dag.jobs for file in job.output):
        print_headline()


def print_headline():
    """Say where the report is, in its own first sentences."""
    headline = Path(LAYOUT.path("headline"))
    if headline.is_file() and Path(LAYOUT.path("page")).is_file():
        print(
            f"\n{headline.read_text(encoding='utf-8').strip()}\n\nReport: {LAYOUT.path('page')}"
        )


def one_of(names):
    """Return the wildcard constraint that allows these names only, so that a wrong one is "no rule to produce"."""
    return "|".join(sorted(re.escape(name) for name in names)) or "none-is-configured"


wildcard_constraints:
    model=one_of(SWEEP.models),
    intermediate=one_of(SWEEP.intermediates),
    target=one_of(SWEEP.languages),
    task=one_of([*SWEEP.tasks, *SWEEP.probe_tasks]),
    training=one_of(SWEEP.trainings),
    seed=one_of(map(str, SWEEP.seeds)),
    language=one_of(CATALOG.languages.rows),
