"""Report: the page a person reads.

NEEDS   <results>/significance/lift.csv and what lies beside it, every cell
MAKES   <results>/report/index.html, and beside it headline.txt, figures/ (SVG) and tables/ (CSV, Parquet, LaTeX)
"""


rule describe:
    """Write down what the sweep is made of: configuration, tasks, models, licences, revision, what was left out."""
    input:
        # The revision is that of the moment; this makes it the one the tests were made with.
        lift=LAYOUT.pattern("lift"),
    output:
        LAYOUT.pattern("description"),
    log:
        LAYOUT.log("describe"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        # Of a function no braces are read as wildcards: a title may have some.
        configuration=lambda wildcards: canonical(SETTINGS),
    message:
        "describe the sweep"
    shell:
        """
        python workflow/scripts/describe.py --configuration {params.configuration:q} \
            --revision "$(git -C workflow/scripts describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || true)" \
            --lift {input.lift:q} --output {output:q} &>{log:q}
        """


rule scores:
    """Score benchmarks as papers print them, with intervals, and put published scores beside ours."""
    input:
        run=LAYOUT.pattern("description"),
        cells=SWEEP.cell_files(),
        published=PUBLISHED,
    output:
        benchmarks=LAYOUT.pattern("benchmarks"),
        published=LAYOUT.pattern("published"),
    log:
        LAYOUT.log("scores"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        results=lambda wildcards: LAYOUT.results,
    message:
        "score benchmarks, and compare with published scores"
    shell:
        """
        python workflow/scripts/scores.py --results {params.results:q} --run {input.run:q} --published {input.published:q} \
            --output {output.benchmarks:q} &>{log:q}
        """


rule report:
    """Write the report."""
    input:
        lift=LAYOUT.pattern("lift"),
        # Read where they lie, beside it.
        others=[
            LAYOUT.pattern("controls"),
            LAYOUT.pattern("runs"),
            LAYOUT.pattern("sensitivity"),
            LAYOUT.pattern("benchmarks"),
            LAYOUT.pattern("published"),
            LAYOUT.pattern("omnibus"),
            LAYOUT.pattern("types"),
            LAYOUT.pattern("predictors"),
        ],
        run=LAYOUT.pattern("description"),
        cells=SWEEP.cell_files(),
        # What the section "why" is made of, as far as the sweep has it; read where it lies.
        why=[
            *SWEEP.measure_files,
            *SWEEP.diagnosis_files,
            *SWEEP.behaviour_files,
            *PROBES,
        ],
    output:
        page=report(
            LAYOUT.pattern("page"),
            category="Report",
            labels={"page": "stiltsweep"},
            caption="captions/page.rst",
        ),
        headline=LAYOUT.pattern("headline"),
        figures=report(
            directory(LAYOUT.pattern("figures")),
            patterns=[
                "{model,[^/]+}/{figure,[^/]+}.svg",
                "{model,[^/]+}/{target,[^/]+}/{figure,[^/]+}.svg",
            ],
            category="Figures",
            subcategory=lambda wildcards: wildcards.get("target", "all targets"),
            labels=lambda wildcards: {
                "model": wildcards.model,
                "figure": wildcards.figure,
            },
            caption="captions/figures.rst",
        ),
        tables=report(
            directory(LAYOUT.pattern("tables")),
            patterns=["{table}.csv"],
            category="Tables",
            labels={"table": "{table}"},
            caption="captions/tables.rst",
        ),
    log:
        LAYOUT.log("report"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        results=lambda wildcards: LAYOUT.results,
    message:
        "write the report"
    shell:
        """
        python workflow/scripts/report.py --results {params.results:q} --lift {input.lift:q} --run {input.run:q} \
            --inputs {input.others:q} {input.why:q} --output {output.page:q} &>{log:q}
        """
