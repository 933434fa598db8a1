"""Prepare data: one task in one language.

NEEDS   the task's source: an installed package, files, templates, or a hub data set (so it runs on the submitting host)
MAKES   <results>/data/{task}/{language}.parquet, and beside it .json with counts, labels, digest and origin
"""


rule prepare:
    """Read one task in one language from its source and check every row."""
    input:
        # Templates are edited in place, so their content counts; nobody edits packages and published files.
        lambda wildcards: JOBS.templates(wildcards.task, wildcards.language),
    output:
        data=LAYOUT.pattern("data"),
        meta=LAYOUT.pattern("data_record"),
    log:
        LAYOUT.log("prepare"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        definition=lambda wildcards: JOBS.definition(wildcards.task, wildcards.language),
        # Derived from resources, so that nothing runs again for it.
        copies=lambda wildcards, resources: JOBS.copies(wildcards.task),
    message:
        "prepare {wildcards.task} in {wildcards.language}"
    shell:
        """
        python workflow/scripts/prepare.py --task {wildcards.task:q} --language {wildcards.language:q} \
            --definition {params.definition:q} {params.copies} --output {output.data:q} &>{log:q}
        """
