"""Models that several test modules read, and the order of tests that share a sweep.

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long groups of tests (those that share a sweep or a cluster run in one process)."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


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
