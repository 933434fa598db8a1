"""Train: a model in an intermediate arm, and that (or the model itself) on what a target is trained on.

NEEDS   <results>/models/{model}/model.json, <results>/data/{task}/{language}.parquet
MAKES   <results>/intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json           (written last)
        <results>/finetune/{model}/{intermediate}/{training}/seed{seed}/checkpoint.json    (written last)

A training is named by the tasks trained on one after the other, such as siqa+xcopa; targets trained alike share it.

Training state lies beside the declared output, where Snakemake does not delete it, so a killed job goes on.
"""


rule intermediate:
    """Train one model on the tasks of one intermediate arm."""
    input:
        start=LAYOUT.pattern("model"),
        data=lambda wildcards: SWEEP.intermediate_data(wildcards.intermediate),
    output:
        LAYOUT.pattern("intermediate"),
    log:
        LAYOUT.log("intermediate"),
    benchmark:
        LAYOUT.benchmark("intermediate")
    wildcard_constraints:
        intermediate=one_of(SWEEP.stages),
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        gpu=NEEDS.training_gpus,
        mem_mb=lambda wildcards, attempt: NEEDS.memory_mb(
            "intermediate", wildcards, attempt
        ),
        runtime=lambda wildcards, attempt: NEEDS.minutes(
            "intermediate", wildcards, attempt
        ),
    params:
        arguments=lambda wildcards: JOBS.intermediate_arguments(
            wildcards.model, wildcards.intermediate
        ),
        # Derived from resources, so that nothing runs again for it.
        computing=lambda wildcards, resources: JOBS.computing(
            JOBS.intermediate_training(wildcards.model, wildcards.intermediate),
            resources.gpu,
        ),
    message:
        "train {wildcards.model} on {wildcards.intermediate} (seed {wildcards.seed})"
    shell:
        """
        python workflow/scripts/train.py --stage intermediate --start {input.start:q} --data {input.data:q} \
            --seed {wildcards.seed} --threads {threads} {params.arguments} {params.computing} \
            --output {output:q} &>{log:q}
        """


rule finetune:
    """Train one model, with or without an intermediate stage behind it, on the last task of one training."""
    input:
        start=lambda wildcards: SWEEP.training_start(
            wildcards.model,
            wildcards.intermediate,
            wildcards.training,
            wildcards.seed,
        ),
        data=lambda wildcards: SWEEP.training_data(wildcards.training),
        # The controls of matched steps read how many updates another arm made.
        matched=lambda wildcards: SWEEP.matched(
            wildcards.model,
            wildcards.intermediate,
            wildcards.training,
            wildcards.seed,
        ),
    output:
        LAYOUT.pattern("finetune"),
    log:
        LAYOUT.log("finetune"),
    benchmark:
        LAYOUT.benchmark("finetune")
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        gpu=NEEDS.training_gpus,
        mem_mb=lambda wildcards, attempt: NEEDS.memory_mb(
            "finetune", wildcards, attempt
        ),
        runtime=lambda wildcards, attempt: NEEDS.minutes("finetune", wildcards, attempt),
    params:
        arguments=lambda wildcards: JOBS.target_arguments(
            wildcards.model, wildcards.intermediate, wildcards.training
        ),
        more=lambda wildcards, input: (
            f"--more-updates {shlex.quote(input.matched[0])}" if input.matched else ""
        ),
        computing=lambda wildcards, resources: JOBS.computing(
            JOBS.target_training(wildcards.model, wildcards.training), resources.gpu
        ),
    message:
        "train {wildcards.model} <- {wildcards.intermediate} on {wildcards.training} (seed {wildcards.seed})"
    shell:
        """
        python workflow/scripts/train.py --stage target --start {input.start:q} --data {input.data:q} \
            --seed {wildcards.seed} --threads {threads} {params.arguments} {params.more} {params.computing} \
            --output {output:q} &>{log:q}
        """
