"""Test what was found: paired bootstrap per model and target, then all comparisons of the sweep together.

NEEDS   every cell of the model and target, with its statistics
MAKES   <results>/significance/{model}/{target}.json, then <results>/significance/lift.csv and beside it lift.parquet,
        controls.csv (arms against their controls), runs.csv (every run by itself), sensitivity.csv (other labels);
        <results>/typology/omnibus.csv (do the types differ?), types.csv and predictors.csv
"""


rule significance:
    """Test every lift of one model and target, per language, per family and over all."""
    input:
        cells=lambda wildcards: SWEEP.cell_files(wildcards.model, wildcards.target),
        tables=TABLES,
    output:
        LAYOUT.pattern("tests"),
    log:
        LAYOUT.log("significance"),
    benchmark:
        LAYOUT.benchmark("significance")
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        arguments=lambda wildcards: JOBS.significance_arguments(wildcards.target),
        results=lambda wildcards: LAYOUT.results,
    message:
        "test {wildcards.model} on {wildcards.target}"
    shell:
        """
        python workflow/scripts/significance.py --results {params.results:q} --model {wildcards.model:q} \
            --target {wildcards.target:q} --tables {input.tables:q} {params.arguments} --output {output:q} &>{log:q}
        """


rule lift:
    """Put all comparisons of the sweep into one table and correct for their number."""
    input:
        tests=SWEEP.test_files,
    output:
        lift=report(
            LAYOUT.pattern("lift"),
            category="Tests",
            labels={"tests": "lift"},
            caption="captions/tests.rst",
        ),
        parquet=LAYOUT.pattern("lift_parquet"),
        controls=report(
            LAYOUT.pattern("controls"),
            category="Tests",
            labels={"tests": "arms against their controls"},
            caption="captions/tests.rst",
        ),
        runs=LAYOUT.pattern("runs"),
        sensitivity=report(
            LAYOUT.pattern("sensitivity"),
            category="Tests",
            labels={"tests": "other labels of languages"},
            caption="captions/tests.rst",
        ),
    log:
        LAYOUT.log("lift"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    message:
        "put all comparisons together"
    shell:
        """
        python workflow/scripts/lift.py --inputs {input.tests:q} --output {output.lift:q} &>{log:q}
        """


rule typology:
    """Ask whether the lift depends on morphology, with languages as the units."""
    input:
        tests=SWEEP.test_files,
        tables=TABLES,
        measures=SWEEP.measure_files,
        probes=PROBES,
    output:
        omnibus=report(
            LAYOUT.pattern("omnibus"),
            category="Tests",
            labels={"tests": "do the types differ?"},
            caption="captions/tests.rst",
        ),
        types=report(
            LAYOUT.pattern("types"),
            category="Tests",
            labels={"tests": "types of languages"},
            caption="captions/tests.rst",
        ),
        predictors=report(
            LAYOUT.pattern("predictors"),
            category="Tests",
            labels={"tests": "predictors of lift"},
            caption="captions/tests.rst",
        ),
    log:
        LAYOUT.log("typology"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        corpora=lambda wildcards: SWEEP.corpora,
        # Of a function no braces are read as wildcards.
        predictors=lambda wildcards: SETTINGS["significance"]["predictors"],
    message:
        "compare types of languages"
    shell:
        """
        python workflow/scripts/typology.py --inputs {input.tests:q} --tables {input.tables:q} \
            --measures {input.measures:q} --probes {input.probes:q} --corpora {params.corpora:q} \
            --predictors {params.predictors:q} --output {output.omnibus:q} &>{log:q}
        """
