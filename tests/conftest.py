"""Models that several test modules read. They import torch, so only where a test asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stiltsweep.models.load import Source


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
