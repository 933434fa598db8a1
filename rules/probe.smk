"""Probe: what of words' morphology can be read off a checkpoint's hidden states, layer by layer (`probes:` in the configuration).

NEEDS   a model or a checkpoint, <results>/data/{task}/{language}.parquet of a probing task in every language
MAKES   <results>/probes/{checkpoint}/{task}.json, {checkpoint} being the checkpoint's own folder below the results;
        then <results>/probes/probes.csv with all of them
"""

PROBES = [LAYOUT.pattern("probes")] if SWEEP.probed else []


rule probe:
    """Read one checkpoint once and probe it in every language of one task."""
    input:
        start=lambda wildcards: SWEEP.probed[wildcards.checkpoint].record,
        data=lambda wildcards: [
            LAYOUT.data(wildcards.task, language)
            for language in SWEEP.probe_tasks[wildcards.task]
        ],
    output:
        LAYOUT.pattern("probe"),
    log:
        LAYOUT.log("probe"),
    benchmark:
        LAYOUT.benchmark("probe")
    wildcard_constraints:
        checkpoint=one_of(SWEEP.probed),
        task=one_of(SWEEP.probe_tasks),
    conda:
        "../envs/stiltsweep.yaml"
    threads: 1
    resources:
        gpu=NEEDS.gpus,
        mem_mb=lambda wildcards, attempt: NEEDS.memory_mb("probe", wildcards, attempt),
        runtime=lambda wildcards, attempt: NEEDS.minutes("probe", wildcards, attempt),
    params:
        languages=lambda wildcards: SWEEP.probe_tasks[wildcards.task],
        settings=lambda wildcards: JOBS.probe_settings(),
        identity=lambda wildcards: JOBS.probe_identity(
            wildcards.checkpoint, wildcards.task
        ),
    message:
        "probe {wildcards.checkpoint} for {wildcards.task}"
    shell:
        """
        python workflow/scripts/probe.py --start {input.start:q} --data {input.data:q} --languages {params.languages} \
            --settings {params.settings:q} --identity {params.identity:q} --threads {threads} --output {output:q} &>{log:q}
        """


rule probes:
    """Put all probes of the sweep into one table."""
    input:
        SWEEP.probe_files(),
    output:
        LAYOUT.pattern("probes"),
    log:
        LAYOUT.log("probes"),
    localrule: True
    conda:
        "../envs/stiltsweep.yaml"
    params:
        families=lambda wildcards: JOBS.probe_families(),
    message:
        "put all probes together"
    shell:
        """
        python workflow/scripts/probes.py --inputs {input:q} --families {params.families:q} --output {output:q} &>{log:q}
        """
