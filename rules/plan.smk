"""Plan, status and power: answer while the rules are read, before Snakemake builds its graph or looks at its lock.

snakemake plan      what the sweep is, what is done, what is left and what it will cost; also in <results>/plan/
snakemake status    the same, of a run in another terminal; writes nothing
snakemake power     what lift, and what difference of types, the sweep can see, and what smaller ones need; also in <results>/power/
"""

from stiltsweep.files import write_json, write_text
from stiltsweep.planning import deciding, graph
from stiltsweep.planning import plan as planning
from stiltsweep.planning import text as plan_text


def make_plan(failed={}):
    """Return the plan of this sweep; `failed` are outputs of jobs that are known to have failed, and why."""
    machine = planning.Machine.of(workflow, NEEDS)
    return planning.make(
        graph.jobs(workflow), SWEEP, NEEDS, machine, AGAIN.command, failed
    )


def keep_answer(page, text, data, value):
    """Write an answer beside the results; say so where that cannot be done, as in another person's folder."""
    try:
        write_text(LAYOUT.path(page), text)
        write_json(LAYOUT.path(data), value)
    except OSError as error:
        print(
            f"It was not written to {LAYOUT.path(page)} ({error.strerror}).",
            file=sys.stderr,
        )


def answer_power():
    """Print what the sweep can see and end."""
    # Numpy and scipy: a run has no use for them.
    import threadpoolctl

    from stiltsweep.power import planning as power
    from stiltsweep.power import text as power_text

    # Its matrices are small: threads that wait for each other take several times the CPU time.
    with threadpoolctl.threadpool_limits(1):
        found = checked(power.make, SWEEP)
    page = power_text.page(found)
    print(page)
    keep_answer("power_page", page, "power", found.to_json())
    sys.stdout.flush()
    sys.exit(0)


def answer(question):
    """Print plan or status and end."""
    made = make_plan()
    page = AGAIN.completed(plan_text.page(made, question.capitalize()))
    print(page)
    if question == "plan":
        keep_answer("plan_page", page, "plan", made.to_json())
    sys.stdout.flush()
    sys.exit(0)


def print_failures():
    """Say what failed, why, and how to go on."""
    failed = {}
    for job in workflow.scheduler.failed:
        outputs = [str(file) for file in job.output]
        failed |= dict.fromkeys(outputs, REASONS.of(workflow.dag.jobid(job), outputs))
    if found := plan_text.failures(make_plan(failed)):
        print(f"\n{AGAIN.completed(found)}")
    print("\nRun the same command again to go on.")


if workflow.is_main_process:
    deciding.install(workflow, JOBS, alone=ALONE)
    for question in ("plan", "status"):
        if question in sys.argv[1:]:
            answer(question)
    if "power" in sys.argv[1:]:
        answer_power()
