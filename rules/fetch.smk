"""Fetch models, or make them from nothing.

NEEDS   the model's source: an installed package, a directory, or a hub repository (so it runs on the submitting host)
MAKES   <results>/models/{model}/model.json, last, beside config.json, model.safetensors and tokenizer.json
"""


rule fetch:
    """Bring one model into the canonical directory form."""
    output:
        LAYOUT.pattern("model"),
    log:
        LAYOUT.log("fetch"),
    wildcard_constraints:
        model=one_of(SWEEP.models_from("package", "files", "hub")),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        definition=lambda wildcards: JOBS.model_definition(wildcards.model),
    message:
        "fetch {wildcards.model}"
    shell:
        """
        python workflow/scripts/fetch.py --model {wildcards.model:q} --definition {params.definition:q} \
            --output {output:q} &>{log:q}
        """


rule pretrain:
    """Train a vocabulary and make some updates of span corruption on a packaged corpus."""
    output:
        LAYOUT.pattern("model"),
    log:
        LAYOUT.log("pretrain"),
    benchmark:
        LAYOUT.benchmark("pretrain")
    wildcard_constraints:
        model=one_of(SWEEP.models_from("pretrain")),
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        gpu=NEEDS.gpus,
        mem_mb=lambda wildcards, attempt: NEEDS.memory_mb(
            "pretrain", wildcards, attempt
        ),
        runtime=lambda wildcards, attempt: NEEDS.minutes("pretrain", wildcards, attempt),
    params:
        definition=lambda wildcards: JOBS.model_definition(wildcards.model),
        settings=lambda wildcards: JOBS.pretraining_settings(wildcards.model),
        # Derived from resources, so that nothing runs again for it.
        computing=lambda wildcards, resources: JOBS.computing(
            JOBS.pretraining(wildcards.model)
        ),
    message:
        "pretrain {wildcards.model}"
    shell:
        """
        python workflow/scripts/pretrain.py --model {wildcards.model:q} --definition {params.definition:q} \
            --settings {params.settings:q} --threads {threads} {params.computing} --output {output:q} &>{log:q}
        """
