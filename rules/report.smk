"""Report: the page a person reads.

NEEDS   <results>/significance/lift.csv, every cell
MAKES   <results>/report/index.html, and beside it figures/ (SVG) and tables/ (CSV)
"""


rule describe:
    """Write down what the sweep is made of: configuration, tasks, models, licences, what was left out."""
    output:
        "<results>/report/run.json",
    log:
        "<logs>/describe.log",
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        configuration=canonical(SETTINGS),
    message:
        "describe the sweep"
    shell:
        """
        python workflow/scripts/describe.py --configuration {params.configuration:q} --output {output:q} &>{log:q}
        """


rule report:
    """Write the report."""
    input:
        lift="<results>/significance/lift.csv",
        run="<results>/report/run.json",
        cells=SWEEP.cell_files(),
    output:
        report(
            "<results>/report/index.html",
            category="Report",
            labels={"page": "stiltsweep"},
        ),
    log:
        "<logs>/report.log",
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        results=lambda wildcards: SWEEP.results,
        code=code_digest("report"),
    message:
        "write the report"
    shell:
        """
        python workflow/scripts/report.py --results {params.results:q} --lift {input.lift:q} --run {input.run:q} \
            --output {output:q} &>{log:q}
        """
