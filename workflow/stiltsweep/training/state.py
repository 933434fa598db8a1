"""Training state on disk: tensors and a JSON file that vouches for them; the newest whole pair is what a restart takes.

State lies beside the declared output, never in it: Snakemake deletes outputs (and logs) of a job before it runs again.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..files import digest, digest_file, read_json, write_json
from ..lock import LOCKS
from ..models.tensors import read_tensors, save_tensors
from .plan import derived_seed
from .processes import Team

log = logging.getLogger(__name__)
_KEEP = 2
"""A damaged newest state falls back to the one before it."""


class StateFolder:
    """The states of one training run."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Open the folder of a run whose result is decided by `identity` (settings, seed, weights, data).

        States of a run with another identity lie in another folder beside it: they are not this run's, and are there
        again when what was changed is changed back.
        """
        self.whole = folder
        self.folder = folder / digest(dict(identity))[:12]
        self.identity = dict(identity)

    def save(self, update: int, tensors: dict[str, Tensor], values: Mapping[str, Any]) -> None:
        """Save the state after `update` updates: tensors first, the JSON that makes them count last.

        Raises:
          UserError: the disk is full or cannot be written to; the states before are still there.
        """
        path = self.folder / f"{update:08d}.safetensors"
        try:
            save_tensors(path, tensors)
            about = {"identity": self.identity, "update": update, "sha256": digest_file(path), "values": dict(values)}
            # The digest vouches for the JSON's own content as for the tensors': a flipped digit still is JSON.
            write_json(path.with_suffix(".json"), {**about, "about_sha256": digest(about)}, indent=None)
        except OSError as error:
            raise UserError(
                f"{path}: the training state cannot be saved ({error.strerror}). Make room, or get the right to write "
                "there, and start again: the run goes on from the state before."
            ) from None
        for old in self._all()[:-_KEEP]:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Return (update, tensors, values) of the newest whole state, None without one."""
        for path in reversed(self._all()):
            try:
                about = read_json(path)
                whole = about.pop("about_sha256") == digest(about)
                whole = whole and about["identity"] == self.identity
                whole = whole and digest_file(path.with_suffix(".safetensors")) == about["sha256"]
            except (UserError, OSError, KeyError, TypeError, AttributeError):
                whole = False
            if not whole:
                log.warning("%s: damaged training state, taking the one before it", path)
                continue
            return int(about["update"]), read_tensors(path.with_suffix(".safetensors")), dict(about["values"])
        return None

    def newest(self) -> Path | None:
        """Return the tensors of the newest state."""
        return self._all()[-1].with_suffix(".safetensors") if self._all() else None

    def forget(self) -> None:
        """Delete this run's own states: nothing goes on from them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self) -> None:
        """Delete all states, other runs' and half-written ones of killed processes too; the declared output exists."""
        if not self.whole.is_dir():
            return
        for path in sorted(self.whole.iterdir()):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif not path.match(LOCKS):
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # whoever holds the folder removes it
            self.whole.rmdir()

    def _all(self) -> list[Path]:
        """Return the JSON files of all states, oldest first."""
        return sorted(self.folder.glob("[0-9]*.json"))


class Tries:
    """Tries of a run that ended at chance level, each with a seed of its own; kept beside the state of the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = ""
        self.scores: list[float] = []
        """Dev scores of the tries so far."""
        if path.is_file():
            content = read_json(path, rebuild=f"deleting {path.parent}")
            self._run, self.scores = content["identity"], content["scores"]

    def seed(self, seed: int) -> int:
        """Return the seed of the next try; that of the first one is the run's own."""
        return derived_seed(seed, "retry", len(self.scores)) if self.scores else seed

    def begin(self, identity: str) -> None:
        """Forget the tries of a run that was made from something else."""
        if self._run != identity:
            self._run, self.scores = identity, []

    def add(self, score: float) -> None:
        """Count a try."""
        self.scores.append(score)
        write_json(self._path, {"identity": self._run, "scores": self.scores})

    def describe(self, seed: int) -> dict[str, Any]:
        """Return what the checkpoint says of them: nothing, as long as the first try was the only one."""
        return {"collapsed_tries": self.scores, "seed_used": seed} if self.scores else {}


def optimizer_tensors(optimizer: torch.optim.Optimizer, team: Team) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors by name and plain values by name."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = team.whole(value.detach()).cpu().contiguous()
            else:
                values[f"optimizer.{index}.{key}"] = value
    return tensors, values


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any], team: Team
) -> None:
    """Put a saved state back into an optimizer with the same parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **values}.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            cut = team.cut(value, parameters[int(index)]) if isinstance(value, Tensor) else value
            state.setdefault(int(index), {})[key] = cut
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
