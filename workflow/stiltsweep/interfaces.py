"""Interfaces: the ways a model is used. What else differs between them stands in the modules of `models` and `kinds`.

`encoder` puts a head on what an encoder makes of a text. `text2text` and `causal` write answers with the model's own
output layer: an encoder and a decoder, or a decoder alone. This module is torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Interface:
    """What plans and records need to know of an interface."""

    writes: bool
    """Whether answers are texts, by the model's own output layer: kinds then have their text form, and the vocabulary
    is kept whole."""
    lengths_of: str | None = None
    """Another interface, whose lengths hold where a task or a configuration states none for this one."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Training settings below those of the model's own file."""


INTERFACES: Mapping[str, Interface] = {
    "encoder": Interface(writes=False),
    "text2text": Interface(writes=True),
    "causal": Interface(
        writes=True,
        lengths_of="text2text",
        # Tasks state learning rates for all weights; adapters take ten times as much (Hu et al. 2021,
        # arXiv:2106.09685; Biderman et al. 2024, LoRA Learns Less and Forgets Less, arXiv:2405.09673, section 5).
        training={"lora": {"rank": 16}, "over_tasks": {"learning_rate": 2e-4}},
    ),
}


def writes(interface: str | None) -> bool:
    """Return whether models of an interface write their answers; None is that of results which name none."""
    return interface is not None and INTERFACES[interface].writes


__all__ = ["INTERFACES", "Interface", "writes"]
