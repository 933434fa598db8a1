"""Prepare data: one task in one language.

NEEDS   the task's source: an installed package, files, templates, or a hub data set (so it runs on the submitting host)
MAKES   <results>/data/{task}/{language}.parquet, and beside it .json with counts, labels, digest and origin
"""


rule prepare:
    """Read one task in one language from its source and check every row."""
    input:
        # Templates are edited in place, so their content counts; nobody edits packages and published files.
        lambda wildcards: SWEEP.templates(wildcards.task, wildcards.language),
    output:
        data="<results>/data/{task}/{language}.parquet",
        meta="<results>/data/{task}/{language}.json",
    log:
        "<logs>/prepare/{task}/{language}.log",
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        definition=lambda wildcards: SWEEP.definition(
            wildcards.task, wildcards.language
        ),
    message:
        "prepare {wildcards.task} in {wildcards.language}"
    shell:
        """
        python workflow/scripts/prepare.py --task {wildcards.task:q} --language {wildcards.language:q} \
            --definition {params.definition:q} --output {output.data:q} &>{log:q}
        """
