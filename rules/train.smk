"""Train: a model on an intermediate task, and that (or the model itself) on a target, in English.

NEEDS   <results>/models/{model}/model.json, <results>/data/{task}/en.parquet
MAKES   <results>/intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json           (written last)
        <results>/finetune/{model}/{intermediate}/{target}/seed{seed}/checkpoint.json      (written last)

Training state lies beside the declared output, where Snakemake does not delete it, so a killed job goes on.
"""


rule intermediate:
    """Train one model on one English intermediate task."""
    input:
        start="<results>/models/{model}/model.json",
        data=f"<results>/data/{{intermediate}}/{SOURCE_LANGUAGE}.parquet",
    output:
        "<results>/intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json",
    log:
        "<logs>/intermediate/{model}/{intermediate}/seed{seed}.log",
    benchmark:
        "<benchmarks>/intermediate/{model}/{intermediate}/seed{seed}.jsonl"
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    params:
        arguments=lambda wildcards: SWEEP.training_arguments(
            "intermediate",
            wildcards.model,
            wildcards.intermediate,
            wildcards.intermediate,
        ),
    message:
        "train {wildcards.model} on {wildcards.intermediate} (seed {wildcards.seed})"
    shell:
        """
        python workflow/scripts/train.py --stage intermediate --start {input.start:q} --data {input.data:q} \
            --seed {wildcards.seed} --threads {threads} {params.arguments} \
            --output {output:q} &>{log:q}
        """


rule finetune:
    """Train one model, with or without an intermediate task behind it, on one English target."""
    input:
        start=lambda wildcards: SWEEP.start(
            wildcards.model, wildcards.intermediate, wildcards.seed
        ),
        data=f"<results>/data/{{target}}/{SOURCE_LANGUAGE}.parquet",
    output:
        "<results>/finetune/{model}/{intermediate}/{target}/seed{seed}/checkpoint.json",
    log:
        "<logs>/finetune/{model}/{intermediate}/{target}/seed{seed}.log",
    benchmark:
        "<benchmarks>/finetune/{model}/{intermediate}/{target}/seed{seed}.jsonl"
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    params:
        arguments=lambda wildcards: SWEEP.training_arguments(
            "target", wildcards.model, wildcards.target, wildcards.intermediate
        ),
    message:
        "train {wildcards.model} <- {wildcards.intermediate} on {wildcards.target} (seed {wildcards.seed})"
    shell:
        """
        python workflow/scripts/train.py --stage target --start {input.start:q} --data {input.data:q} \
            --seed {wildcards.seed} --threads {threads} {params.arguments} \
            --output {output:q} &>{log:q}
        """
