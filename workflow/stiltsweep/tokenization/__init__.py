"""How a model's tokenizer treats a target's texts: measures per language, and attributes of every test example.

    words           words of a text, where its script or the data show them
    texts           the texts of an example, by kind: its own, the pair it consists of, its gold spans
    attributes      one row per test example: length, tokens per word, overlap ...
    measures        sums over a language: fertility, parity, coverage ...
    questions       what a question asks for: who, when, how many ... in 22 languages (question_words.yaml)
    segmentations   agreement with morphemes that a user supplies
    run             one model and target: reads prepared data, writes both

docs/diagnosis.md says what each number counts.
"""

from .run import measure

__all__ = ["measure"]
