"""Models of the Hugging Face hub: one pinned revision, only the files that are read, then as any directory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import downloads
from ..errors import UserError
from ..files import digest_file
from . import directory as directories
from . import given

PATTERNS = [
    "*.safetensors",
    f"{given.SAFETENSORS}.index.json",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "spiece.model",
    "sentencepiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
]
PICKLES = [given.PICKLE, "pytorch_model-*.bin", f"{given.PICKLE}.index.json"]
"""Read only of revisions without safetensors."""
_NOT_READ = ["*/*", "consolidated*"]
"""Of the same names in folders, and a second copy of the weights that some repositories bring: gigabytes."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def write(source: Mapping[str, Any], directory: Path, interface: str) -> dict[str, Any]:
    """Download `source.repo` at `source.revision` into the hub's own cache, compare digests, and convert it.

    Where the revision is a branch, the commit it meant is recorded: the name of the snapshot's folder.

    Raises:
      UserError: the revision cannot be had, or is not what the catalogue or the hub says; or see `directory.convert`.
    """
    repo, revision = str(source["repo"]), str(source["revision"])
    folder = _snapshot(repo, revision, PATTERNS)
    patterns = PATTERNS
    if not given.weights(folder, given.SAFETENSORS):
        folder, patterns = _snapshot(repo, revision, [*PATTERNS, *PICKLES]), [*PATTERNS, *PICKLES]
    commit = revision if _COMMIT.fullmatch(revision) else folder.name
    _check_commit(source, commit)
    names = sorted({path.name for pattern in patterns for path in folder.glob(pattern)})
    digests = downloads.compare(repo, "model", commit, folder, names)
    for name, wanted in source.get("sha256", {}).items():
        if name in names and (actual := digests.get(name) or digest_file(folder / name)) != wanted:
            raise UserError(
                f"{repo} at {commit}: {name} has the digest {actual}, and the catalogue's source.sha256 states "
                f"{wanted}: not the weights that were meant. Correct the one that is wrong."
            )
    facts = directories.convert(folder, directory, interface)
    weights = {name: digest for name, digest in digests.items() if name.endswith((".safetensors", ".bin"))}
    return {**facts, "source": {"type": "hub", "repo": repo, "revision": commit, "sha256": weights}}


def _check_commit(source: Mapping[str, Any], commit: str) -> None:
    """Compare what a name that can move means today with the commit that the catalogue has seen."""
    seen = str(source.get("commit", ""))
    if not commit.startswith(seen):
        raise UserError(
            f"{source['repo']}: {source['revision']} is commit {commit} today, where the catalogue has seen "
            f"{seen}...: it was moved. Look at what changed, and name a commit of your choice as source.revision in a "
            "model file of your own."
        )


def _snapshot(repo: str, revision: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    downloads.patient()
    downloads.forget_refusals()
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns, ignore_patterns=_NOT_READ))
    except Exception as error:
        if not (downloads.out_of_reach(error) or isinstance(error, HFValidationError)):
            raise
        raise downloads.failure(
            f"{repo} at revision {revision}",
            repo,
            repo,
            error,
            "Where there is a network, run this sweep there with '--until fetch prepare' and bring its results folder "
            f"here, or download it there (hf download {repo} --revision {revision} --local-dir FOLDER) and set source: "
            "{type: files, path: FOLDER} in a model file of your own catalogue.",
        ) from None
