"""stiltsweep: sweeps of intermediate-task training for zero-shot cross-lingual transfer.

Results, in the order they are made (DESIGN in docs/design.md):

    <results>/data/{task}/{language}.parquet                                             prepare
    <results>/models/{model}/model.json                                                  fetch
    <results>/intermediate/{model}/{intermediate}/seed{seed}/checkpoint.json             intermediate
    <results>/finetune/{model}/{intermediate}/{training}/seed{seed}/checkpoint.json      finetune
    <results>/predictions/{model}/{intermediate}/{target}/seed{seed}/predictions.json    predict
    <results>/cells/{model}/{intermediate}/{target}/seed{seed}/{language}.json           evaluate
    <results>/probes/{checkpoint}/{task}.json                                            probe
    <results>/significance/lift.csv                                                      significance
    <results>/behaviour/failures.csv                                                     behaviour
    <results>/measures/{model}/{target}.json                                             measure
    <results>/diagnosis/{model}/{target}.csv                                             diagnose
    <results>/report/index.html                                                          report
"""

from snakemake.utils import min_version

min_version("9.27")


include: "rules/common.smk"


# For `snakemake --sdm apptainer`: the image that Dockerfile makes, converted as it says there.
container: str(PROJECT / "envs" / "stiltsweep.sif")


include: "rules/prepare.smk"
include: "rules/fetch.smk"
include: "rules/train.smk"
include: "rules/predict.smk"
include: "rules/probe.smk"
include: "rules/keep.smk"
include: "rules/evaluate.smk"
include: "rules/significance.smk"
include: "rules/behaviour.smk"
include: "rules/measure.smk"
include: "rules/report.smk"


rule all:
    """Everything the configuration asks for."""
    default_target: True
    input:
        LAYOUT.pattern("page"),
        [str(Path(checkpoint).with_name(keep.MARK)) for checkpoint in DISCARDED],


onstart:
    if workflow.is_main_process:
        check_jobs()
    schedule_on_events()
    say_scores()
    # Its jobs would run in the environment of this process, and not in that of conda or of a container.
    if workflow.local_exec and not workflow.deployment_settings.deployment_method:
        warm.start()


onsuccess:
    print_answer()


onerror:
    print_failures()


name_scripts()


# Last: plan and status are answered there, from the rules above.
include: "rules/plan.smk"
