"""Losses, dev scores and speed of a training, sent to where they can be watched while it runs; nothing depends on it.

The services are those that accelerate knows. What one of them does wrong ends its own part, not the training.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARIES: dict[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""`tracking` in the configuration -> packages, one of which has to be there."""
FOLDER = "tracking"
"""Beside a checkpoint; what is written to files lies here."""
_SECONDS = 2.0
"""Between two losses that are sent: each is a write or a message."""

log = logging.getLogger(__name__)


def missing(name: str) -> str:
    """Return the package that a service lacks, empty where one of its packages is installed."""
    packages = LIBRARIES[name]
    return "" if any(importlib.util.find_spec(package) for package in packages) else packages[-1]


class Tracker:
    """Sends to one service, or to none."""

    def __init__(self, accelerator: Any, name: str | None, run: str, about: Mapping[str, Any]) -> None:
        """Open it.

        Args:
          accelerator: made with `log_with` the service.
          name: of the service, a key of LIBRARIES; None: nothing is sent.
          run: what to call the run there.
          about: settings and names to show with it.
        """
        self.accelerator, self.on = accelerator, name is not None
        self.sent = -_SECONDS
        self.tokens, self.since = 0, time.monotonic()
        shown = {key: value for key, value in about.items() if isinstance(value, (str, int, float, bool))}
        named = {"wandb": {"name": run}, "trackio": {"name": run}, "mlflow": {"run_name": run}}
        self._try(lambda: accelerator.init_trackers("stiltsweep", shown, {k: v for k, v in named.items() if k == name}))

    def update(self, number: int, entry: Mapping[str, Any], tokens: int) -> None:
        """Send an update's loss, gradient and learning rate, and tokens a second since the last one that was sent."""
        self.tokens += tokens
        now = time.monotonic()
        if not self.on or now - self.sent < _SECONDS:
            return
        values = {f"train/{key}": float(entry[key]) for key in ("loss", "gradient_norm", "learning_rate_factor")}
        values["train/tokens_per_second"] = self.tokens / max(now - self.since, 1e-9)
        self.sent, self.tokens, self.since = now, 0, now
        self._try(lambda: self.accelerator.log(values, step=number))

    def evaluated(self, number: int, metric: str, scores: Mapping[str, float]) -> None:
        """Send dev scores, in points, by task."""
        values = {f"dev/{task}/{metric}": score for task, score in scores.items()}
        self._try(lambda: self.accelerator.log(values, step=number))

    def close(self) -> None:
        """Send what is left."""
        self._try(self.accelerator.end_training)

    def _try(self, send: Any) -> None:
        if not self.on:
            return
        try:
            send()
        except Exception as error:  # whatever a service's library raises
            self.on = False
            log.warning("tracking stops: %s: %s", type(error).__name__, str(error).partition("\n")[0])


def folder(output: Path) -> Path:
    """Return where the files of a checkpoint's tracking lie."""
    return output.parent / FOLDER


__all__ = ["FOLDER", "LIBRARIES", "Tracker", "folder", "missing"]
