"""Training state on disk: tensors and a JSON file that vouches for them; the newest whole pair is what a restart takes.

State lies beside the declared output, never in it: Snakemake deletes outputs (and logs) of a job before it runs again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..files import digest_file, read_json, write_json
from ..models.load import read_tensors, save_tensors

log = logging.getLogger(__name__)
_KEEP = 2
"""A damaged newest state falls back to the one before it."""


class StateFolder:
    """The states of one training run."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Open the folder of a run whose result is decided by `identity` (settings, seed, weights, data)."""
        self.folder = folder
        self.identity = dict(identity)

    def save(self, update: int, tensors: dict[str, Tensor], values: Mapping[str, Any]) -> None:
        """Save the state after `update` updates: tensors first, the JSON that makes them count last."""
        path = self.folder / f"{update:08d}.safetensors"
        save_tensors(path, tensors)
        about = {"identity": self.identity, "update": update, "sha256": digest_file(path), "values": dict(values)}
        write_json(path.with_suffix(".json"), about, indent=None)
        for old in sorted(self.folder.glob("*.json"))[:-_KEEP]:
            old.unlink()
            old.with_suffix(".safetensors").unlink(missing_ok=True)

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """Return (update, tensors, values) of the newest whole state, None without one.

        Raises:
          UserError: the state belongs to a run with other settings; the text names what differs.
        """
        for path in sorted(self.folder.glob("*.json"), reverse=True):
            tensors_path = path.with_suffix(".safetensors")
            try:
                about = read_json(path)
                whole = digest_file(tensors_path) == about["sha256"]
            except (UserError, OSError, KeyError, TypeError):
                whole = False
            if not whole:
                log.warning("%s: damaged training state, taking the one before it", path)
                continue
            if about["identity"] != self.identity:
                differing = sorted(
                    key
                    for key in {*about["identity"], *self.identity}
                    if about["identity"].get(key) != self.identity.get(key)
                )
                raise UserError(
                    f"{self.folder}: holds the state of a run that differs in {', '.join(differing)}. "
                    f"Delete the folder to start anew, or restore the old setting to go on."
                )
            return int(about["update"]), read_tensors(tensors_path), dict(about["values"])
        return None

    def clear(self) -> None:
        """Delete all states; the declared output exists by now."""
        for path in sorted(self.folder.glob("*")):
            path.unlink()
        if self.folder.is_dir():
            self.folder.rmdir()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors by name and plain values by name."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value.detach().cpu().contiguous()
            else:
                values[f"optimizer.{index}.{key}"] = value
    return tensors, values


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Put a saved state back into an optimizer with the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **values}.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
