"""The registry of kinds of task: what is known of each without a model, a metric or torch.

Records, catalogue and plans read it, and know no kind by name. It holds what decides which data there are. What a stage
does with them (forms, shuffles, texts to measure) is a function beside that stage, in a table by kind: so an
edit of one does not change the code that data are prepared by, and prepares nothing again. Costs in plans decide no
number and stand in `resources`.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import classification, generation, multiple_choice, search, span_qa, text, words
from .base import Facts, Row

KINDS: Mapping[str, Facts] = {
    "classification": classification.FACTS,
    "multiple_choice": multiple_choice.FACTS,
    "tagging": words.TAGGING,
    "span_qa": span_qa.FACTS,
    "retrieval": search.RETRIEVAL,
    "mining": search.MINING,
    "text": text.FACTS,
    "word_features": words.WORD_FEATURES,
    "generation": generation.FACTS,
}
"""Kind -> its facts, in the order in which kinds are named to people."""

SIDED = tuple(name for name, facts in KINDS.items() if facts.sided)
"""Kinds whose rows are queries and candidates."""

__all__ = ["KINDS", "SIDED", "Facts", "Row"]
