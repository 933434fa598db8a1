"""What `make setup` installs, and how it chooses: the locks against pyproject.toml, pip's configuration handed on to uv."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.txt", "torch.txt", "requirements-dev.txt")


def locked(*names: str) -> dict[str, set[str]]:
    """Package -> its lines in these locks (more than one where Pythons differ), hashes left out."""
    found: dict[str, set[str]] = {}
    for name in names:
        for line in (ROOT / "envs" / name).read_text(encoding="utf-8").splitlines():
            if line[:1].isalnum():
                requirement = Requirement(line.removesuffix("\\").strip())
                found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    return found


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", ROOT / "envs" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_locks_hold_what_the_project_asks_for() -> None:
    for wanted, names in (
        (PROJECT["project"]["dependencies"], LOCKS[:2]),
        (PROJECT["dependency-groups"]["checks"], LOCKS),
    ):
        found = locked(*names)
        for text in wanted:
            requirement = Requirement(text)
            assert str(requirement.specifier), f"{text}: no version"
            assert found[canonicalize_name(requirement.name)] == {str(requirement.specifier)}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    packages = re.split(r"\n(?=\w)", (ROOT / "envs" / name).read_text(encoding="utf-8"))[1:]
    assert packages
    for package in packages:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package


def test_the_conda_environment_stands_alone() -> None:
    """Snakemake copies this one file: a reference to another would name nothing there."""
    definition = yaml.safe_load((ROOT / "envs" / "stiltsweep.yaml").read_text(encoding="utf-8"))
    pins = [Requirement(text) for text in definition["dependencies"][-1]["pip"]]
    assert {canonicalize_name(one.name): {str(one.specifier)} for one in pins} == {
        name: versions
        for name, versions in locked(*LOCKS[:2]).items()
        if not name.startswith(("cuda-", "nvidia-", "triton"))
    }


def test_versions_agree() -> None:
    import stiltsweep

    version = PROJECT["project"]["version"]
    assert stiltsweep.__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_pips_configuration_is_handed_on(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = (
        ":env:.find-links='/env/wheels'\n:env:.timeout='180'\n"
        "global.extra-index-url='file:///a/simple file:///b/simple'\nglobal.find-links='/global/wheels'\n"
        "global.index-url='https://mirror.example.org/simple'\nglobal.cert='/certificates.pem'\n"
    )
    monkeypatch.setattr(
        install.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=listing, stderr="")
    )
    monkeypatch.setenv("SSL_CERT_FILE", "/mine.pem")
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_STRATEGY"):
        monkeypatch.delenv(name, raising=False)
    environment, links = install.for_uv(install.pip_options())
    assert links == ["--find-links", "/env/wheels"]  # the environment is stronger than a file
    assert environment == {
        "UV_DEFAULT_INDEX": "https://mirror.example.org/simple",
        "UV_INDEX": "file:///a/simple file:///b/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_the_build_of_torch_is_chosen_and_said(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "LINUX", True)
    monkeypatch.setattr(install, "has_gpu", lambda: False)
    assert install.choose(None)[0] == "cpu"
    assert "TORCH=cuda" in install.choose(None)[1]
    assert install.choose("cuda")[0] == "cuda"
    monkeypatch.setattr(install, "has_gpu", lambda: True)
    assert install.choose(None)[0] == "cuda"
    assert install.choose("cpu")[0] == "cpu"
    monkeypatch.setattr(install, "LINUX", False)
    assert install.choose(None)[0] == "index"
    with pytest.raises(SystemExit, match="TORCH=cuda.*allowed: cpu"):
        install.choose("cuda")


def test_pip_goes_on_where_uv_fails(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A uv that fails costs time, and no more; nothing is called complete before it is."""
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    folder = tmp_path / "environment"
    folder.mkdir()
    (folder / ".complete-cuda").touch()
    builds = []

    def with_pip(where: Path, build: str) -> None:
        assert not list(folder.glob(".complete*"))
        builds.append(build)

    monkeypatch.setattr(install, "with_pip", with_pip)
    install.install(folder, None)
    assert builds == (["cuda"] if install.LINUX else ["index"])  # what was asked for once holds
    assert {path.name for path in folder.glob(".complete*")} == {".complete", ".complete-cuda"}
    assert "pip" in capsys.readouterr().out


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 14, 0)])
def test_other_pythons_are_refused(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(install.sys, "version_info", version)
    monkeypatch.setattr(sys, "argv", ["install.py", "nowhere"])
    with pytest.raises(SystemExit, match=r"needs 3\.11 to 3\.13.*make setup PYTHON="):
        install.main()
