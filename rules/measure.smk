"""Measure how a model's tokenizer treats a target's texts, and test lifts within buckets of examples that are alike.

NEEDS   the model's tokenizer, <results>/data/{target}/{language}.parquet; for buckets also the target's cells
MAKES   <results>/measures/{model}/{target}.json, and beside it .parquet with the attributes of every test example;
        <results>/diagnosis/{model}/{target}.csv, and beside it {target}.contrasts.csv with differences of families
"""


rule measure:
    """Measure a tokenizer on the test texts of one target, without torch."""
    input:
        model=LAYOUT.pattern("model"),
        data=lambda wildcards: [
            LAYOUT.data(wildcards.target, language)
            for language in SWEEP.measured(wildcards.target)
        ],
        segmentations=lambda wildcards: list(
            SWEEP.segmentations(wildcards.target).values()
        ),
    output:
        measures=LAYOUT.pattern("measures"),
        attributes=LAYOUT.pattern("attributes"),
    log:
        LAYOUT.log("measure"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        arguments=lambda wildcards: JOBS.measure_arguments(wildcards.target),
        data=lambda wildcards: LAYOUT.data_folder(wildcards.target),
    message:
        "measure the tokenizer of {wildcards.model} on {wildcards.target}"
    shell:
        """
        python workflow/scripts/measure.py --model {input.model:q} --target {wildcards.target:q} --data {params.data:q} \
            {params.arguments} --output {output.measures:q} &>{log:q}
        """


rule diagnose:
    """Test the lifts of one model and target within buckets of test examples."""
    input:
        cells=lambda wildcards: SWEEP.cell_files(wildcards.model, wildcards.target),
        measures=LAYOUT.pattern("measures"),
        tables=TABLES,
    output:
        buckets=LAYOUT.pattern("buckets"),
        contrasts=LAYOUT.pattern("bucket_contrasts"),
    log:
        LAYOUT.log("diagnose"),
    benchmark:
        LAYOUT.benchmark("diagnose")
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        arguments=lambda wildcards: JOBS.diagnosis_arguments(wildcards.target),
        results=lambda wildcards: LAYOUT.results,
    message:
        "diagnose {wildcards.model} on {wildcards.target}"
    shell:
        """
        python workflow/scripts/diagnose.py --results {params.results:q} --model {wildcards.model:q} \
            --target {wildcards.target:q} --tables {input.tables:q} {params.arguments} --measures {input.measures:q} \
            --output {output.buckets:q} &>{log:q}
        """
