"""Measure how a model's tokenizer treats a target's texts, and test lifts within buckets of examples that are alike.

NEEDS   the model's tokenizer, <results>/data/{target}/{language}.parquet; for buckets also the target's cells
MAKES   <results>/measures/{model}/{target}.json, and beside it .parquet with the attributes of every test example;
        <results>/diagnosis/{model}/{target}.csv, and beside it {target}.contrasts.csv with differences of families
"""


rule measure:
    """Measure a tokenizer on the test texts of one target, without torch."""
    input:
        model="<results>/models/{model}/model.json",
        data=lambda wildcards: [
            SWEEP.data(wildcards.target, language)
            for language in SWEEP.measured(wildcards.target)
        ],
        segmentations=lambda wildcards: list(
            SWEEP.segmentations(wildcards.target).values()
        ),
    output:
        measures="<results>/measures/{model}/{target}.json",
        attributes="<results>/measures/{model}/{target}.parquet",
    log:
        "<logs>/measure/{model}/{target}.log",
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        arguments=lambda wildcards: SWEEP.measure_arguments(wildcards.target),
        data=lambda wildcards: SWEEP.data_folder(wildcards.target),
        code=code_digest("measure"),
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
        measures="<results>/measures/{model}/{target}.json",
        tables=TABLES,
    output:
        buckets="<results>/diagnosis/{model}/{target}.csv",
        contrasts="<results>/diagnosis/{model}/{target}.contrasts.csv",
    log:
        "<logs>/diagnose/{model}/{target}.log",
    benchmark:
        "<benchmarks>/diagnose/{model}/{target}.jsonl"
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        arguments=lambda wildcards: SWEEP.diagnosis_arguments(wildcards.target),
        code=code_digest("significance"),
        results=lambda wildcards: SWEEP.results,
    message:
        "diagnose {wildcards.model} on {wildcards.target}"
    shell:
        """
        python workflow/scripts/diagnose.py --results {params.results:q} --model {wildcards.model:q} \
            --target {wildcards.target:q} --tables {input.tables:q} {params.arguments} --measures {input.measures:q} \
            --output {output.buckets:q} &>{log:q}
        """
