"""Predict a target with one checkpoint, in all its languages.

NEEDS   the checkpoint (for targets without training data: the intermediate's, or the model itself),
        <results>/data/{target}/{language}.parquet for every language that could be prepared,
        <results>/data/{task}/en.parquet where English dev data choose the layer that retrieval compares
MAKES   <results>/predictions/{model}/{intermediate}/{target}/seed{seed}/predictions.json   (written last), and beside it
        one {language}.json each, undeclared: a rerun, or one language more, does only what is missing. A language that
        cannot be predicted is named there; its cell fails, the others do not.
"""


rule predict:
    """Load one checkpoint once and predict every language of one target."""
    input:
        start=lambda wildcards: SWEEP.checkpoint(
            wildcards.model, wildcards.intermediate, wildcards.target, wildcards.seed
        ),
        data=lambda wildcards: JOBS.prediction_data(wildcards.target),
        layer=lambda wildcards: JOBS.layer_data(wildcards.model, wildcards.target),
    output:
        LAYOUT.pattern("predictions"),
    log:
        LAYOUT.log("predict"),
    benchmark:
        LAYOUT.benchmark("predict")
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        gpu=NEEDS.gpus,
        mem_mb=lambda wildcards, attempt: NEEDS.memory_mb("predict", wildcards, attempt),
        runtime=lambda wildcards, attempt: NEEDS.minutes("predict", wildcards, attempt),
    params:
        data=lambda wildcards: LAYOUT.data_folder(wildcards.target),
        languages=lambda wildcards: SWEEP.languages[wildcards.target],
        settings=lambda wildcards: JOBS.prediction(wildcards.model, wildcards.target),
        layer=lambda wildcards: JOBS.layer_option(wildcards.model, wildcards.target),
        shots=lambda wildcards: JOBS.shots_option(wildcards.seed),
        # Derived from resources, so that nothing runs again for it.
        sharing=lambda wildcards, resources: JOBS.sharing(),
    message:
        "predict {wildcards.target} with {wildcards.model} <- {wildcards.intermediate} (seed {wildcards.seed})"
    shell:
        """
        python workflow/scripts/predict.py --start {input.start:q} --data {params.data:q} --languages {params.languages} \
            --settings {params.settings:q} {params.layer} {params.shots} {params.sharing} --threads {threads} --output {output:q} &>{log:q}
        """


rule submission:
    """Write predictions as benchmarks' own scripts read them, one file a task and language."""
    input:
        JOBS.submission_predictions(),
    output:
        LAYOUT.pattern("submission"),
    log:
        LAYOUT.log("submission"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        arguments=lambda wildcards: JOBS.submission_arguments(),
        results=lambda wildcards: LAYOUT.results,
    message:
        "write submission folders of benchmarks"
    shell:
        """
        python workflow/scripts/submission.py --results {params.results:q} {params.arguments} --output {output:q} &>{log:q}
        """


rule predictions:
    """Everything a benchmark's own script needs to score this sweep: snakemake predictions."""
    input:
        LAYOUT.pattern("submission"),
    localrule: True
