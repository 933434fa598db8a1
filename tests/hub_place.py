"""The shipped sweeps in a folder of their own, on a hub of the tests: what tests and benchmarks run of them.

The sweep files themselves are read; what is reduced is their languages, updates, seeds and rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import published
import yaml
from local_hub import Hub
from running import snakemake

ROOT = Path(__file__).parents[1]
SHORT: dict[str, Any] = {
    "max_updates": 2,
    "evaluations": 1,
    "max_length": 64,
    "max_target_length": 8,
    "stride": 16,
    "warmup": 0,
    "text2text": {"batch_tokens": 2048},
}
"""Of trainings; an update of mT5's recipes is 65,536 tokens."""
SWEEPS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "xtreme_r_mt5": (["mt5-base", "xlm-roberta-large"], {"without": ["ccg", "lareqa", "mewslix"]}),
    "phang2020": (["xlm-roberta-large"], {"without": ["ccg", "bucc2018"]}),
    "tokenization": (
        ["mt5-small", "byt5-small", "mt5-base", "byt5-base"],
        {"probes": {"tasks": ["ud_features"], "pooling": ["mean"]}},
    ),
}
"""Sweep -> models that the hub has, keys that are other than in the file."""


class Place:
    """A folder to run a sweep in, with a hub."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self.folder, self.hub = folder, hub

    def snakemake(self, *arguments: str, environment: dict[str, str] | None = None, check: bool = True) -> str:
        keys = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.folder / "hf"), **(environment or {})}
        return snakemake(self.folder, *arguments, check=check, environment=keys).text


def place(folder: Path, hub: Hub, name: str, **more: Any) -> Place:
    """Publish what a sweep reads, and write its configuration in a reduced form."""
    models, changes = SWEEPS[name]
    published.publish(hub, folder / "repositories", models)
    published.reduced(folder / "catalogue", models)
    settings = yaml.safe_load((ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))
    settings |= {"catalog": ["catalogue"], "results": "results", "seeds": [0], "minimum_examples": 1}
    settings |= {"training": SHORT, "significance": {"resamples": 200, "resampling": "examples"}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**settings, **changes, **more}))
    (folder / "workflow").symlink_to(ROOT / "workflow")
    return Place(folder, hub)
