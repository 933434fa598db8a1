"""Make the environment of a checkout: through uv where it is to be had, else through pip; always the locked versions.

    python3 envs/install.py .venv                     what the workflow needs
    python3 envs/install.py .venv --torch cuda        the same, with the build of torch for NVIDIA GPUs
    python3 envs/install.py .venv --checks            besides, what checks and tests need

`make setup` and `make test` call it. Packages come with the hashes of envs/*.txt. The one exception is torch for a CPU
of a Linux machine, which the package index itself lacks: it is taken from a wheel that pip's configuration offers
(find-links), or from PyTorch's own index by uv. uv does not read pip's configuration, so what it says of indexes is
handed on.

Only the standard library is used: there is no environment yet.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TORCH = re.search(r"^torch==([^ \\]+)", (HERE / "torch.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]
UV = re.search(r"^uv==[^ \\]+", (HERE / "requirements-dev.txt").read_text(encoding="utf-8"), re.MULTILINE)[0]
OLDEST, NEWEST = (3, 11), (3, 13)
LINUX = sys.platform.startswith("linux")
STAMP = ".complete"
"""Files of the environment that say it is whole; with `-cpu` or `-cuda` behind it, that this build was asked for."""


def main() -> None:
    """Parse and install."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the environment, such as .venv")
    parser.add_argument("--torch", choices=("cpu", "cuda"), help="build of torch (default: by what is there)")
    parser.add_argument("--checks", action="store_true", help="add what checks and tests need")
    arguments = parser.parse_args()
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"error: this is Python {sys.version.split()[0]}; stiltsweep needs 3.{OLDEST[1]} to 3.{NEWEST[1]}. "
            f"Hint: make setup PYTHON=python3.{OLDEST[1]}"
        )
    if arguments.folder.is_symlink():
        sys.exit(f"error: {arguments.folder} is a link to another checkout's environment; remove the link first")
    if arguments.checks:
        add_checks(arguments.folder)
    else:
        install(arguments.folder, arguments.torch)


def install(folder: Path, asked: str | None) -> None:
    """Make the environment anew."""
    stamps = [folder / f"{STAMP}-{build}" for build in ("cpu", "cuda")]
    # What was asked for once holds for this environment, until something else is asked for.
    asked = asked or next((stamp.name.rpartition("-")[2] for stamp in stamps if stamp.exists()), None)
    build, why = choose(asked)
    print(f"torch {TORCH}: {why}", flush=True)
    for stamp in (folder / STAMP, folder / ".checks", *stamps):
        stamp.unlink(missing_ok=True)
    began = time.monotonic()
    if not with_uv(folder, build):
        print("uv did not do it; going on with pip, which takes longer", flush=True)
        with_pip(folder, build)
    if asked:
        (folder / f"{STAMP}-{asked}").touch()
    (folder / STAMP).touch()
    print(f"{folder} is complete, after {time.monotonic() - began:.0f} s", flush=True)


def choose(asked: str | None) -> tuple[str, str]:
    """Return which build of torch to install, and the sentence that says why."""
    if not LINUX:
        if asked == "cuda":
            sys.exit("error: TORCH=cuda: there is no build of torch for NVIDIA GPUs on this system; allowed: cpu")
        return "index", "one build for this system"
    if asked:
        return asked, f"the build for {'NVIDIA GPUs' if asked == 'cuda' else 'the CPU'}, as asked for"
    if has_gpu():
        return "cuda", "the build for NVIDIA GPUs, since there is one here (the smaller one for the CPU: TORCH=cpu)"
    return "cpu", "the build for the CPU, since no NVIDIA GPU is here (the other one, say for a cluster: TORCH=cuda)"


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU with a driver."""
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def with_uv(folder: Path, build: str) -> bool:
    """Install through uv, which is brought by pip if it is not there; return whether all went well."""
    uv = shutil.which("uv")
    if uv:
        if not run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder):
            return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        if not (
            run(sys.executable, "-m", "venv", "--without-pip", folder)
            and run(sys.executable, "-m", "pip", "--python", python(folder), "install", "--quiet", UV)
        ):
            return False
        uv = folder / "bin" / "uv"
    # Byte code, as pip writes it: where Python writes none itself (PYTHONDONTWRITEBYTECODE, an environment of somebody
    # else's) every process would compile what it imports.
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python(folder), "--no-deps"]
    environment, links = for_uv(pip_options())
    locked = [*install, *links, "--require-hashes", "--requirement"]
    wheel = (*install, *links, "--no-index", f"torch=={TORCH}+cpu")
    index = (*install, "--torch-backend", "cpu", f"torch=={TORCH}")
    if build == "cpu" and not (
        (links and run(*wheel, quietly=True)) or run(*index, environment=environment, quietly=True)
    ):
        print(
            "no build of torch for the CPU can be had here: the larger one, which computes on a CPU as well", flush=True
        )
        build = "cuda"
    files = [HERE / "requirements.txt", *([HERE / "torch.txt"] if build != "cpu" else [])]
    return all(run(*locked, file, environment=environment) for file in files) and (
        # So that `pip install` in the activated environment means this one.
        run(*install, *links, "pip", environment=environment, quietly=True) or True
    )


def with_pip(folder: Path, build: str) -> None:
    """Install through pip; end with its own error if that fails."""
    shutil.rmtree(folder, ignore_errors=True)
    install = [python(folder), "-m", "pip", "install", "--quiet", "--no-deps"]
    if not run(sys.executable, "-m", "venv", folder):
        sys.exit(1)
    if build == "cpu" and not run(*install, "--no-index", f"torch=={TORCH}+cpu", quietly=True):
        print(
            "pip is offered no build of torch for the CPU: the larger one, which computes on a CPU as well", flush=True
        )
        build = "cuda"
    for file in ["requirements.txt", *(["torch.txt"] if build != "cpu" else [])]:
        if not run(*install, "--require-hashes", "--requirement", HERE / file):
            sys.exit(1)


def add_checks(folder: Path) -> None:
    """Install what checks and tests need into an environment that is complete."""
    file = HERE / "requirements-dev.txt"
    arguments = ("--quiet", "--no-deps", "--require-hashes", "--requirement", file)
    uv = shutil.which("uv") or shutil.which("uv", path=str(folder / "bin"))
    environment, links = for_uv(pip_options())
    if not (
        uv and run(uv, "pip", "install", "--python", python(folder), *links, *arguments, environment=environment)
    ) and (not run(python(folder), "-m", "pip", "install", *arguments)):
        sys.exit(1)
    (folder / ".checks").touch()


def python(folder: Path) -> Path:
    """Return the environment's interpreter."""
    return folder / "bin" / "python"


def run(*command: object, environment: dict[str, str] | None = None, quietly: bool = False) -> bool:
    """Run a command and return whether it went well."""
    try:
        return not subprocess.run(
            list(map(str, command)),
            env={**os.environ, **(environment or {})},
            stderr=subprocess.DEVNULL if quietly else None,
            check=False,
        ).returncode
    except OSError as error:
        print(error, file=sys.stderr)
        return False


def pip_options() -> dict[str, list[str]]:
    """Return what pip's configuration says of where packages are: option -> its values, the strongest source's."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    options: dict[str, list[str]] = {}
    # global.x, install.x and :env:.x, the weaker before the stronger.
    lines = sorted(found.splitlines(), key=lambda line: (line.startswith(":env:"), not line.startswith("global.")))
    for line in lines:
        match = re.fullmatch(r"(?:global|install|:env:)\.([a-z-]+)='(.*)'", line)
        if match:
            options[match[1]] = match[2].replace("\\n", " ").split()
    return options


def for_uv(options: dict[str, list[str]]) -> tuple[dict[str, str], list[str]]:
    """Return pip's configuration as uv's environment variables and arguments; what is set for uv itself stays."""
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "trusted-host": "UV_INSECURE_HOST"}
    names |= {"cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY"}
    environment = {name: " ".join(options[option]) for option, name in names.items() if options.get(option)}
    if "UV_INDEX" in environment:
        # As pip does: the version that is locked, wherever it is. Its hash is, too.
        environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    environment = {name: value for name, value in environment.items() if name not in os.environ}
    return environment, [word for link in options.get("find-links", []) for word in ("--find-links", link)]


if __name__ == "__main__":
    main()
