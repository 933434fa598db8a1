"""Write the locks: envs/requirements.txt, torch.txt, requirements-dev.txt and stiltsweep.yaml, all from pyproject.toml.

    python envs/lock.py                keeps every version that still fits
    python envs/lock.py --upgrade      takes the newest of what pyproject.toml leaves open

`make lock` calls it; look at the difference before you commit it. One lock holds for Linux and macOS and for every
Python that pyproject.toml allows: where they need different packages, a line says so in its marker.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OLDEST = "3.11"
_ONLY_TORCH = re.compile(r"(torch|triton|cuda-[a-z0-9-]+|nvidia-[a-z0-9-]+)==")
"""What is installed by the build of torch: the index's own build for Linux needs CUDA's libraries, others do not."""
_NOWHERE = re.compile(r"sys_platform == '(win32|emscripten|ios|cygwin)'$")
"""Markers of systems that stiltsweep does not run on."""


def main() -> None:
    """Resolve and write."""
    uv = shutil.which("uv") or sys.exit("error: uv is not installed. Hint: make lock, or pip install uv")
    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder) / "everything.txt"
        checks = Path(folder) / "checks.txt"
        # What stands there is preferred.
        everything.write_text("".join(read("requirements.txt", "torch.txt")), encoding="utf-8")
        checks.write_text("".join(read("requirements-dev.txt")), encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST, "--generate-hashes"]
        command += ["--no-annotate", "--no-header", *sys.argv[1:]]
        project = HERE.parent / "pyproject.toml"
        subprocess.run([*command, project, "--output-file", everything], check=True)
        subprocess.run(
            [*command, "--group", f"{project}:checks", "--constraint", everything, "--output-file", checks], check=True
        )
        packages = blocks(everything)
        more = [block for block in blocks(checks) if block not in packages]
    torch = [block for block in packages if _ONLY_TORCH.match(block)]
    rest = [block for block in packages if block not in torch]
    write("requirements.txt", "Everything the workflow needs but torch, exactly.", rest)
    write(
        "torch.txt", "The package index's own build of torch (on Linux that for NVIDIA GPUs) and what it needs.", torch
    )
    write("requirements-dev.txt", "Checks and tests only.", more)
    write_conda(
        [block.partition(" \\")[0] for block in packages if not block.startswith(("cuda-", "nvidia-", "triton"))]
    )


def blocks(lock: Path) -> list[str]:
    """Return a lock's packages, each with its hashes, less those of systems that stiltsweep does not run on."""
    found = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8").strip())
    return [block for block in found if not _NOWHERE.search(block.partition(" \\")[0])]


def read(*names: str) -> list[str]:
    """Return the texts of locks that are there."""
    return [path.read_text(encoding="utf-8") for name in names if (path := HERE / name).is_file()]


def write(name: str, about: str, packages: list[str]) -> None:
    """Write one lock."""
    head = f"# {about} Made from pyproject.toml by: make lock\n"
    (HERE / name).write_text(head + "\n".join(packages) + "\n", encoding="utf-8")


def write_conda(pins: list[str]) -> None:
    """Write the environment of `--sdm conda`. Snakemake copies this one file, so every pin stands in it."""
    head = """\
# For `snakemake --sdm conda`; without it the rules use the environment Snakemake runs in (`make setup`).
# Snakemake copies this file alone, so every version stands in it. Made from pyproject.toml by: make lock
name: stiltsweep
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""
    lines = "".join(f'      - "{pin}"\n' for pin in pins)
    (HERE / "stiltsweep.yaml").write_text(head + lines, encoding="utf-8")


main()
