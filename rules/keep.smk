"""Keep: delete weights that do not stay (`keep:` in the configuration) once everything that starts from them is done.

NEEDS   a checkpoint's record, and all that is made from its weights
MAKES   discarded.json beside the record
"""

DISCARDED = keep.users(SWEEP)


rule discard:
    """Delete the weights of one checkpoint; its record stays."""
    input:
        checkpoint="{checkpoint}/checkpoint.json",
        users=lambda wildcards: DISCARDED[f"{wildcards.checkpoint}/checkpoint.json"],
    output:
        f"{{checkpoint}}/{keep.MARK}",
    log:
        LAYOUT.log("discard"),
    wildcard_constraints:
        checkpoint=f"(?:{one_of(map(LAYOUT.folder, ('intermediate', 'finetune')))})/.+",
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    message:
        "discard the weights of {wildcards.checkpoint}"
    shell:
        """
        python workflow/scripts/discard.py --checkpoint {input.checkpoint:q} --output {output:q} &>{log:q}
        """
