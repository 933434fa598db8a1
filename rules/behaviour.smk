"""Behavioural tests: failures by capability, for sweeps with targets that have some.

NEEDS   every cell of those targets, with its statistics, predictions and data
MAKES   <results>/behaviour/failures.csv, and beside it examples.json with failing examples
"""


rule behaviour:
    """Count failures by capability and language, and write some of them out."""
    input:
        cells=lambda wildcards: [
            file
            for target in SWEEP.behavioural
            for file in SWEEP.cell_files(target=target)
        ],
    output:
        failures=report(
            LAYOUT.pattern("failure_rates"),
            category="Tests",
            labels={"tests": "behavioural tests"},
            caption="captions/behaviour.rst",
        ),
        examples=LAYOUT.pattern("failing_examples"),
    log:
        LAYOUT.log("behaviour"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        arguments=lambda wildcards: JOBS.behaviour_arguments(),
        results=lambda wildcards: LAYOUT.results,
    message:
        "count failures of behavioural tests"
    shell:
        """
        python workflow/scripts/behaviour.py --results {params.results:q} {params.arguments} --output {output.failures:q} \
            &>{log:q}
        """
