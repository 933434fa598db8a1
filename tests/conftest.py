"""Models that several test modules read, and what holds for all tests: their order, byte code, threads.

Models import torch, so only where a test asks for one.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stiltsweep.models.load import Source

# A suite starts Python hundreds of times. Where nothing keeps byte code, each of them compiles Snakemake, torch and
# transformers anew, which takes three times as long as reading them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Two workers on two cores: models this small are slower with two threads each, which wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


_LONG = (
    *("test_e2e", "test_hub_sweeps", "test_transfer", "test_identity", "test_robustness", "test_benchmarks"),
    *("test_prediction_failures", "test_graph", "test_bad_input", "test_docs", "test_hub", "test_causal"),
)
"""Modules that take long, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long modules: each is one worker's (`--dist loadfile`), and the last one decides when it ends."""
    place = {name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(_LONG)))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Source:
    import tiny
    from stiltsweep.models.load import Source

    return Source.read(tiny.encoder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Source:
    import tiny
    from stiltsweep.models.load import Source

    return Source.read(tiny.text2text(tmp_path_factory.mktemp("text2text")))
