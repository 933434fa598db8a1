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

# The project is where this file is, also for a workflow elsewhere that uses this one as a module. Read from afar, as a URL,
# it has only its rules: library and scripts are then those that pip installed.
PROJECT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if (PROJECT / "workflow" / "stiltsweep").is_dir():
    sys.path.insert(0, str(PROJECT / "workflow"))
# Whether Snakemake was called with this Snakefile, and not with one that uses it as a module.
ALONE = workflow.modifier.is_main_snakefile()

from stiltsweep import config as configuration
from stiltsweep import controllers, keep, preflight, warm
from stiltsweep.errors import UserError
from stiltsweep.files import canonical, read_json
from stiltsweep.invocation import invocation
from stiltsweep.jobs import Jobs
from stiltsweep.place import from_here
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


# What to type to ask for this sweep again, from here.
AGAIN = invocation(workflow, sys.argv)


def checked(function, *arguments):
    """Call; end Snakemake with one sentence where it refuses (an exception would get the place in this file added)."""
    try:
        return function(*arguments)
    except UserError as error:
        sys.exit(f"error: {AGAIN.completed(str(error))}")


# A module is handed its configuration by the workflow that uses it, or takes the default sweep's.
CONFIGURATIONS = [
    os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else str(file)
    for file in workflow.config_settings.configfiles
    if ALONE
]
DEFAULT = "config.yaml" if ALONE else str(PROJECT / "config.yaml")

# Read here first: Snakemake says less of a file that is not YAML, and nothing of a key that stands twice.
for file in CONFIGURATIONS or ([DEFAULT] if ALONE else []):
    checked(configuration.check_file, Path(file))

# A configuration given with --configfile stands alone; merging it into the default one would mix two sweeps.
if not CONFIGURATIONS:

    configfile: DEFAULT


SETTINGS, CATALOG = checked(
    configuration.resolve,
    config,
    " ".join(CONFIGURATIONS) or (DEFAULT if ALONE else "config of the module"),
)

# The grid, where everything lies, and what jobs are told.
SWEEP = Sweep(SETTINGS, CATALOG)
LAYOUT = SWEEP.layout
JOBS = Jobs(SWEEP)
REASONS = Reasons()
NEEDS = Needs(JOBS)

if workflow.is_main_process:
    controllers.guard(PersistenceBase, AGAIN)
    logger.addHandler(REASONS)
    checked(preflight.check, SWEEP)
    JOBS.look()
TABLES = [
    f"{from_here('catalog')}/languages.csv",
    *[
        table
        for folder in SETTINGS["catalog"]
        if Path(table := f"{folder}/languages.csv").is_file()
    ],
]
PUBLISHED = [
    table
    for folder in [from_here("catalog"), *SETTINGS["catalog"]]
    if Path(table := f"{folder}/published.csv").is_file()
]


def name_scripts():
    """Have rules find their scripts where they are: in rules they are named by the path from the project's folder.

    So a shell line can be pasted there, and a moved checkout is the same workflow.
    """
    scripts = shlex.quote(from_here("scripts"))
    if scripts == "workflow/scripts":
        return
    path = scripts.replace("{", "{{").replace("}", "}}")

    def named(value):
        return (
            value.replace("workflow/scripts", path) if isinstance(value, str) else value
        )

    for one in workflow.rules:
        if one.shellcmd and Path(str(one.snakefile)).parent == PROJECT / "rules":
            # What is printed, and what is run: Snakemake has made a function of the line.
            one.shellcmd = named(one.shellcmd)
            code = one.run_func.__code__
            one.run_func.__code__ = code.replace(
                co_consts=tuple(map(named, code.co_consts))
            )


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
    sources_only = {job.rule.name for job in jobs} <= {"fetch", "prepare"}
    checked(
        functools.partial(preflight.check_jobs, sources_only=sources_only),
        JOBS,
        models,
        data,
    )


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
        from stiltsweep.report.ending import largest

        effects = "".join(f"\n  {line}" for line in largest(LAYOUT))
        print(
            f"\n{headline.read_text(encoding='utf-8').strip()}"
            f"{f'{chr(10)}{chr(10)}Largest lifts:{effects}' if effects else ''}"
            f"\n\nReport: {LAYOUT.path('page')}"
        )


def say_scores():
    """Say every cell's score as it comes, where Snakemake's own text is shown and not the bar of cells."""
    if "cells" in workflow.output_settings.log_handler_settings:
        return
    from stiltsweep.report.ending import Scores

    logger.addHandler(Scores(LAYOUT, lambda line: print(line, file=sys.stderr)))


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
