"""Kinds of task: how examples become model inputs, and model outputs predictions. One module per kind.

A kind comes in two forms. The *encoder form* puts a linear head on an encoder's hidden states. The *text form* writes
an example as text and reads a prediction back from text; `text2text` runs it on a sequence-to-sequence model, `causal`
on a decoder alone. Nothing outside this package asks what kind a task is.
"""

from __future__ import annotations

from ..errors import UserError
from ..facts import SIDED
from ..models.tokenizer import Tokenizer
from ..records import Meta
from ..settings import Limits, Representation
from .base import Form
from .causal import CausalLanguage, CausalText
from .classification import ClassificationForm, ClassificationText
from .generation import GenerationText
from .masked_language import MaskedLanguage
from .mining import MiningForm
from .multiple_choice import MultipleChoiceForm, MultipleChoiceText
from .retrieval import RetrievalForm
from .shuffling import shuffle_labels
from .span_corruption import SpanCorruption
from .span_qa import SpanForm, SpanText
from .tagging import TaggingForm, TaggingText
from .text2text import TextForm, TextToText

_ENCODER: dict[str, type[Form]] = {
    "classification": ClassificationForm,
    "multiple_choice": MultipleChoiceForm,
    "tagging": TaggingForm,
    "span_qa": SpanForm,
    "retrieval": RetrievalForm,
    "mining": MiningForm,
    "text": MaskedLanguage,
}
_TEXT: dict[str, type[TextForm]] = {
    "classification": ClassificationText,
    "multiple_choice": MultipleChoiceText,
    "tagging": TaggingText,
    "span_qa": SpanText,
    "generation": GenerationText,
}


def form(meta: Meta, tokenizer: Tokenizer, *, interface: str, limits: Limits, representation: Representation) -> Form:
    """Return the form of a task's kind for a model's interface.

    Raises:
      UserError: the kind has no form for it; plans refuse that before.
    """
    if interface == "encoder" and meta.kind not in _ENCODER:
        raise UserError(f"{meta.task}: kind {meta.kind!r} has no encoder form; use a model that writes text.")
    if interface == "encoder" or meta.kind in SIDED:
        # Retrieval compares representations, so it reads the encoder whatever the interface.
        return _ENCODER[meta.kind](meta, tokenizer, limits, representation)
    if meta.kind == "text":
        language: type[Form] = CausalLanguage if interface == "causal" else SpanCorruption
        return language(meta, tokenizer, limits, representation)
    if meta.kind not in _TEXT:
        raise UserError(f"{meta.task}: kind {meta.kind!r} has no text-to-text form; use a model of interface encoder.")
    written = CausalText if interface == "causal" else TextToText
    return written(meta, tokenizer, limits, representation, text=_TEXT[meta.kind](meta))


__all__ = ["Form", "Limits", "Representation", "form", "shuffle_labels"]
