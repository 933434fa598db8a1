"""Why jobs failed, from a real run of Snakemake over jobs that fail in every way."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import snakemake

LIBRARY = Path(__file__).parents[1] / "workflow"
WORKFLOW = f"""
import sys
sys.path.insert(0, {str(LIBRARY)!r})
from snakemake.logging import logger
from stiltsweep.planning.reasons import Reasons
REASONS = Reasons()
logger.addHandler(REASONS)

rule all:
    input: "missing.txt", "killed", "inner", "status", "memory", "cl.ock"
rule missing:
    output: "missing.txt"
    shell: "true"
rule killed:
    output: "killed"
    shell: "kill -9 $$"
rule inner:
    output: "inner"
    shell: "python -c 'import os; os.kill(os.getpid(), 9)'"
rule status:
    output: "status"
    shell: "touch {{output}}; exit 3"
rule memory:
    output: "memory"
    shell: "python -c 'import os; os.kill(os.getpid(), 15)'"
rule source:
    output: "source"
    shell: "touch {{output}}"
rule clock:
    input: "source"
    output: "cl.ock"
    # Snakemake gives outputs the time of now, so it is the input whose clock is ahead.
    shell: "touch {{output}}; touch -d '+1 day' {{input}}"
onerror:
    for job in workflow.scheduler.failed:
        outputs = [str(file) for file in job.output]
        found = REASONS.of(workflow.dag.jobid(job), outputs)
        print(f"SEEN {{outputs[0]}} {{found.certain}} {{found.text}}")
"""


@pytest.mark.e2e
def test_every_way_to_fail_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    options = ["--keep-going", "--latency-wait", "1", "-q", "all"]
    found = snakemake(tmp_path, *options, cores=1, snakefile=None, check=False)
    seen = {line.split()[1]: line.split(maxsplit=2)[2] for line in found.stdout.splitlines() if line.startswith("SEEN")}
    assert seen == {
        "missing.txt": "True it ended without an error, but missing.txt was not there 1 s later: deleted, or not yet "
        "shown by a slow file system (--latency-wait)",
        "killed": "False it was killed (SIGKILL): by somebody, or because memory ran out",
        "inner": "False it was killed (SIGKILL): by somebody, or because memory ran out",
        "status": "False it ended with status 3 and no error of its own",
        "memory": "False it was ended by a signal (SIGTERM)",
        "cl.ock": "True it ended without an error, but cl.ock bears an earlier time than source, which it was made from: "
        "the clocks of two machines differ",
    }
