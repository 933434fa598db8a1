"""Evaluate: score one language of one target. This is the cell.

NEEDS   <results>/predictions/{model}/{intermediate}/{target}/seed{seed}/predictions.json,
        <results>/data/{target}/{language}.parquet
MAKES   <results>/cells/{model}/{intermediate}/{target}/seed{seed}/{language}.json, and beside it .parquet with the
        sufficient statistics of every example
"""


rule evaluate:
    """Score one cell, without torch."""
    input:
        data=LAYOUT.data("{target}", "{language}"),
        predictions=LAYOUT.pattern("predictions"),
    output:
        cell=LAYOUT.pattern("cell"),
        statistics=LAYOUT.pattern("statistics"),
    log:
        LAYOUT.log("evaluate"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        family=inspected(lambda wildcards: SWEEP.family(wildcards.language)),
        contaminated=inspected(
            lambda wildcards: (
                "--contaminated"
                if SWEEP.contaminated(wildcards.intermediate, wildcards.target)
                else ""
            )
        ),
    message:
        "evaluate {wildcards.model} <- {wildcards.intermediate} on {wildcards.target} in {wildcards.language} (seed {wildcards.seed})"
    shell:
        """
        python workflow/scripts/evaluate.py --model {wildcards.model:q} --intermediate {wildcards.intermediate:q} \
            --target {wildcards.target:q} --seed {wildcards.seed} --language {wildcards.language:q} \
            --data {input.data:q} --predictions {input.predictions:q} --family={params.family:q} {params.contaminated} \
            --output {output.cell:q} &>{log:q}
        """
