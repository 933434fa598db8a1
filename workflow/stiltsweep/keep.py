"""Which weights go when everything that starts from them is done (`keep:` in the configuration).

Only weights go. The checkpoint's record stays, so that nothing finished runs again for want of it, and a setting that
changes is still noticed; what then needs the weights says how to make them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .sweep import Sweep

WEIGHT_FILES = ("model.safetensors", "head.safetensors")
MARK = "discarded.json"
"""Beside the checkpoint's record."""


def users(sweep: Sweep) -> dict[str, list[str]]:
    """Return the checkpoints whose weights do not stay, each with the outputs that are made from its weights."""
    outputs: dict[str, list[str]] = {}
    for checkpoint, user in _uses(sweep):
        outputs.setdefault(checkpoint, []).extend([user] if user else [])
    stages = {"all": (), "intermediate": ("finetune",), "none": ("intermediate", "finetune")}[sweep.config["keep"]]
    roots = tuple(f"{sweep.layout.folder(stage)}/" for stage in stages)
    return {
        checkpoint: list(dict.fromkeys(paths)) for checkpoint, paths in outputs.items() if checkpoint.startswith(roots)
    }


def _uses(sweep: Sweep) -> Iterator[tuple[str, str]]:
    """Yield (checkpoint, what is made from its weights); (checkpoint, "") where only its record is read."""
    for model in sweep.models:
        for seed in sweep.seeds:
            for target in sweep.languages:
                for arm in sweep.arms_of(target):
                    last = sweep.start(model, arm, seed)
                    for training in sweep.catalog.targets[target].trainings:
                        trained = sweep.layout.finetuned(model, arm, training, seed)
                        yield last, trained
                        for matched in sweep.matched(model, arm, training, seed):
                            yield matched, ""
                        last = trained
                    yield last, sweep.layout.predictions(model, arm, target, seed)
    for folder, probed in sweep.probed.items():
        for task in sweep.probe_tasks:
            yield probed.record, sweep.layout.probe(folder, task)


def discard(checkpoint: Path) -> int:
    """Delete a checkpoint's weights and return how many bytes that freed."""
    freed = 0
    for name in WEIGHT_FILES:
        path = checkpoint.with_name(name)
        if path.exists():
            freed += path.stat().st_size
            path.unlink()
    return freed
