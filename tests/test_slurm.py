"""The tiny sweep on a real SLURM cluster of this machine (tests/slurm/start), with the profile as it is shipped.

The GPUs are made up, the rest is not: jobs are submitted by sbatch, killed by scancel, lose their node, run out of time.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from running import command, snakemake
from test_e2e import make

ROOT = Path(__file__).parents[1]
SLURM = ROOT / "tests" / "slurm"
pytestmark = pytest.mark.e2e

GPU = "gres:gpu:1"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start the cluster, or leave the tests out and say so; stop it if it was not there before."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    reason = "not root" if os.getuid() else f"no {', '.join(missing)}" if missing else ""
    before = Path("/run/slurm/conf").exists()
    if not reason:
        started = subprocess.run([SLURM / "start"], capture_output=True, text=True, check=False)
        reason = started.stderr.strip() if started.returncode else ""
    if reason:
        reason = f"SLURM IS NOT TESTED: {reason} (tests/slurm/start, as root, installs and starts it)"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    yield
    if not before:
        subprocess.run([SLURM / "stop"], check=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny sweep, linked to the project as a checkout of it would be."""
    folder = make(tmp_path_factory.mktemp("original"))
    for name in ("profiles", "slurm"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def sweep(original: Path, folder: Path, **training: Any) -> Path:
    """Copy the tiny sweep, with an intermediate training that is long enough for something to happen to it."""
    shutil.copytree(original, folder, symlinks=True)
    configuration = yaml.safe_load((folder / "config.yaml").read_text())
    configuration["targets"] = {"commands": ["en", "de", "fi"]}
    configuration["seeds"] = [0]
    long = {"epochs": 10000, "max_updates": 400, "patience": 1000, "evaluations": 20}
    configuration["training"] = {"intermediate": {**long, **training}}
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    return folder


class Run:
    """`snakemake --profile slurm`, in the background; it and its jobs are ended at the end of the block."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.log = folder / "snakemake.log"
        command = [sys.executable, str(SLURM / "polling.py"), "--snakefile", str(ROOT / "Snakefile")]
        # What belongs to this cluster (no accounting database) and to a test (waiting briefly).
        own = "--slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 --latency-wait 10"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--profile", "slurm", *own.split(), *arguments],
                cwd=folder,
                stdout=log,
                stderr=log,
                # The GPUs are none.
                env={**os.environ, "STILTSWEEP_DEVICE": "cpu"},
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            subprocess.run(["scancel", *(str(job.id) for job in jobs(self.folder))], check=True)

    def text(self) -> str:
        return self.log.read_text()

    def until(self, condition: Callable[[], Any], *, seconds: float = 300) -> Any:
        """Wait for something to happen while it runs, and return that."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None and time.monotonic() < deadline, self.text()
            time.sleep(0.1)
        return found

    def wait(self, *, seconds: float = 600) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not done in {seconds} s:\n{self.text()}") from None


class Job(NamedTuple):
    """What SLURM knows of a job."""

    id: int
    state: str
    gpu: str
    comment: str
    node: str
    restarts: str

    @property
    def rule(self) -> str:
        """The rule, out of rule_NAME_wildcards_VALUES."""
        return self.comment.removeprefix("rule_").partition("_")[0]


def jobs(folder: Path) -> list[Job]:
    """Return the jobs of a folder in the order of their submission, done ones too."""
    names = ("JobID", "State", "tres-per-job", "Comment", "NodeList", "RestartCnt", "WorkDir")
    found = subprocess.run(
        ["squeue", "--noheader", "--states=all", "--Format=" + ",".join(f"{name}:|" for name in names)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [line.split("|") for line in found.splitlines()]
    return sorted(Job(int(number), *rest) for number, *rest, place, _ in lines if Path(place) == folder)


def training_log(folder: Path) -> str:
    path = folder / "results" / "logs" / "intermediate" / "tiny" / "half" / "seed0.log"
    return path.read_text() if path.exists() else ""


def in_training(folder: Path, said: str = r"update \d+ of") -> Job | None:
    """Return the job that trains the intermediate, once its log says something."""
    if not re.search(said, training_log(folder)):
        return None
    return next((job for job in jobs(folder) if job.state == "RUNNING" and job.rule == "intermediate"), None)


def processes(*words: str, folder: Path | None = None) -> list[int]:
    """Return the processes whose command lines hold all words, of those that were started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if set(words) <= set(line) and folder in (None, (process / "cwd").resolve()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_jobs_shell_waits_for_the_state_to_be_saved(tmp_path: Path) -> None:
    """A cluster signals all processes of a job, and kills what is left when the first of them has ended."""
    make(tmp_path)
    (tmp_path / "Snakefile").write_text(
        f'include: "{ROOT}/rules/common.smk"\n\nrule save:\n    output: "done"\n    shell: "python save.py"\n'
    )
    (tmp_path / "save.py").write_text(
        "import signal, sys, time\nfrom pathlib import Path\n"
        "def save(*_):\n    time.sleep(2)\n    Path('saved').touch()\n    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, save)\nPath('started').touch()\ntime.sleep(60)\n"
    )
    with (tmp_path / "out").open("w") as out:
        job = subprocess.Popen(
            command(cores=1, snakefile=None),
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    while not (tmp_path / "started").exists():
        assert job.poll() is None, (tmp_path / "out").read_text()
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGTERM)
    job.wait(60)
    saved = (tmp_path / "saved").exists()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    assert saved


def test_a_cancelled_job_goes_on_and_a_failing_cell_fails_alone(cluster: None, original: Path, tmp_path: Path) -> None:
    folder = sweep(original, tmp_path / "sweep")
    # Nothing can be written where a folder is: this job fails, however often it is tried.
    there = folder / "results/predictions/tiny/none/commands/seed0"
    planted = [there / f"{language}.json" for language in ("en", "de", "fi")]
    for path in planted:
        path.mkdir(parents=True)
    with Run(folder) as run:
        cancelled = run.until(lambda: in_training(folder))
        # The process that jobs of a local run are forked from is of no use on another machine.
        assert processes("stiltsweep.warm", folder=folder) == []
        subprocess.run(["scancel", str(cancelled.id)], check=True)
        assert run.wait() == 1, run.text()

    found = jobs(folder)
    states = {rule: sorted(job.state for job in found if job.rule == rule) for rule in {job.rule for job in found}}
    # Nothing else is submitted: data, models and scores need the internet, or next to nothing.
    assert states == {
        "intermediate": ["CANCELLED", "COMPLETED"],
        "finetune": ["COMPLETED"] * 2,
        "predict": ["COMPLETED"] + ["FAILED"] * 3,  # the profile tries three times
    }, run.text()
    assert {job.gpu for job in found} == {GPU}
    assert "resumed after update" in training_log(folder)
    cells = folder / "results" / "cells" / "tiny"
    assert sorted(path.relative_to(cells).as_posix() for path in cells.rglob("*.json")) == [
        f"half/commands/seed0/{language}.json" for language in ("de", "en", "fi")
    ]

    for path in planted:
        path.rmdir()
    with Run(folder) as run:
        assert run.wait() == 0, run.text()
    assert sorted(job.rule for job in jobs(folder)[len(found) :]) == ["diagnose", "predict", "significance"], run.text()
    assert len(list(cells.rglob("*.json"))) == 6
    assert (folder / "results" / "report" / "index.html").is_file()


CHECKPOINT = "results/intermediate/tiny/half/seed0/checkpoint.json"


@pytest.fixture(scope="module")
def undisturbed(cluster: None, original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the training as it is when nothing happens to it."""
    folder = sweep(original, tmp_path_factory.mktemp("undisturbed") / "sweep")
    with Run(folder, CHECKPOINT) as run:
        assert run.wait() == 0, run.text()
    return trained(folder)


def trained(folder: Path) -> dict[str, bytes]:
    """Return the weights, and the loss and gradient of every update."""
    path = folder / CHECKPOINT
    return {
        name: path.with_name(name).read_bytes() for name in ("model.safetensors", "head.safetensors", "history.jsonl")
    }


@pytest.fixture
def nodes() -> Iterator[None]:
    """Bring the nodes up again."""
    yield
    subprocess.run([SLURM / "start"], check=True)


def set_down(job: Job) -> None:
    """Tell the controller that a job's node is down, whether it is or not."""
    subprocess.run(["scontrol", "update", f"nodename={job.node}", "state=down", "reason=test"], check=True)


def lose_node(job: Job, *, all_of_it: bool) -> None:
    """End what SLURM runs on a job's node, or all its processes, and let the controller notice."""
    steps = [process for step in ("batch", "0") for process in processes(f"slurmstepd: [{job.id}.{step}]")]
    sessions = {os.getsid(process) for process in steps}
    for process in processes("slurmd", "-N", job.node) + steps:
        os.kill(process, signal.SIGKILL)
    for process in map(int, (path.name for path in Path("/proc").glob("[0-9]*"))) if all_of_it else ():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(process) in sessions:
                os.kill(process, signal.SIGKILL)
    set_down(job)


def run_on_another_node(run: Run, job: Job) -> None:
    """Wait until a job that SLURM put back is running again; it makes it wait for two minutes."""
    run.until(
        lambda: [
            now for now in jobs(run.folder) if now.id == job.id and now.state == "RUNNING" and now.node != job.node
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", ["requeue", "node set down"])
def test_a_job_put_back_goes_on(
    how: str, undisturbed: dict[str, bytes], original: Path, nodes: None, tmp_path: Path
) -> None:
    """Also the dialect of a cluster that knows --gres only."""
    folder = sweep(original, tmp_path / "sweep")
    dialect = ["--set-resources", "intermediate:gpu=0", "intermediate:gres=gpu:1"]
    with Run(folder, CHECKPOINT, *dialect) as run:
        job = run.until(lambda: in_training(folder))
        if how == "requeue":
            subprocess.run(["scontrol", "requeue", str(job.id)], check=True)
        else:
            set_down(job)
        assert run.wait() == 0, run.text()
    (after,) = jobs(folder)
    assert (after.id, after.state, after.restarts) == (job.id, "COMPLETED", "1")
    assert "resumed after update" in training_log(folder)
    assert trained(folder) == undisturbed


@pytest.mark.slow
def test_a_job_out_of_time_goes_on_in_another(undisturbed: dict[str, bytes], original: Path, tmp_path: Path) -> None:
    folder = sweep(original, tmp_path / "sweep")
    limit = ["--set-resources", "intermediate:runtime=2 if attempt == 1 else 30"]
    with Run(folder, CHECKPOINT, *limit) as run:
        run.until(lambda: in_training(folder))
        # It hangs until SLURM wakes it, to tell it that its time is over.
        for process in processes("workflow/scripts/train.py", folder=folder):
            os.kill(process, signal.SIGSTOP)
        assert run.wait() == 0, run.text()
    assert [job.state for job in jobs(folder)] == ["TIMEOUT", "COMPLETED"]
    assert "resumed after update" in training_log(folder)
    assert trained(folder) == undisturbed


@pytest.mark.slow
def test_a_job_whose_node_is_lost_goes_on_from_the_last_saved_state(
    undisturbed: dict[str, bytes], original: Path, nodes: None, tmp_path: Path
) -> None:
    folder = sweep(original, tmp_path / "sweep", save_minutes=0.01)
    with Run(folder, CHECKPOINT) as run:
        job = run.until(lambda: in_training(folder, "training state saved"))
        lose_node(job, all_of_it=True)
        run_on_another_node(run, job)
        assert run.wait() == 0, run.text()
    assert "resumed after update" in training_log(folder)
    assert trained(folder) == undisturbed


@pytest.mark.slow
def test_a_job_whose_node_only_seems_lost_is_not_done_twice(
    undisturbed: dict[str, bytes], original: Path, nodes: None, tmp_path: Path
) -> None:
    """The first copy goes on where nobody sees it; the second waits for it."""
    folder = sweep(original, tmp_path / "sweep")
    with Run(folder, CHECKPOINT) as run:
        job = run.until(lambda: in_training(folder))
        (first,) = processes("workflow/scripts/train.py", folder=folder)
        lose_node(job, all_of_it=False)
        # (Not before: a stopped process that loses its parent's session is ended by the kernel.)
        os.kill(first, signal.SIGSTOP)
        run_on_another_node(run, job)
        run.until(lambda: "is at it; waiting for it" in training_log(folder))
        os.kill(first, signal.SIGCONT)
        assert run.wait() == 0, run.text()
    assert "already there, made with the same settings" in training_log(folder)
    assert trained(folder) == undisturbed


@pytest.mark.slow
def test_a_controller_killed_its_job_is_not_done_twice(
    undisturbed: dict[str, bytes], original: Path, tmp_path: Path
) -> None:
    """In the three commands of docs/cluster.md, while the job goes on."""
    folder = sweep(original, tmp_path / "sweep")
    with Run(folder, CHECKPOINT) as run:
        run.until(lambda: in_training(folder))
        (first,) = processes("workflow/scripts/train.py", folder=folder)
        os.kill(first, signal.SIGSTOP)
        run.process.kill()
        run.process.wait()
    snakemake(folder, "--unlock", cores=None)
    with Run(folder, CHECKPOINT) as run:
        run.until(lambda: "is at it; waiting for it" in training_log(folder))
        os.kill(first, signal.SIGCONT)
        assert run.wait() == 0, run.text()
    assert [job.state for job in jobs(folder)] == ["COMPLETED"] * 2
    assert "already there, made with the same settings" in training_log(folder)
    assert trained(folder) == undisturbed
