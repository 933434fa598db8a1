"""One checkpoint's probes of one task in all its languages: read once, probed language by language, one JSON file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import threadpoolctl

from .. import __version__
from ..errors import UserError
from ..files import write_json
from ..models.device import choose as choose_device
from ..models.load import Source, build, randomise, vocabulary
from ..models.task_model import TaskModel
from ..models.tokenizer import Tokenizer
from ..records import data_of, read_rows
from . import linear, representations
from .words import Language, Selection, choose_sentences, choose_words, count_contracted

log = logging.getLogger(__name__)


def probe(
    start: Path,
    data: Mapping[str, Path],
    output: Path,
    settings: Mapping[str, Any],
    *,
    identity: Mapping[str, Any],
    threads: int = 1,
) -> None:
    """Probe a checkpoint and write what was found.

    Args:
      start: model.json or checkpoint.json.
      data: language -> prepared Parquet file of kind `word_features`.
      output: the JSON file.
      settings: `batch_tokens`, `pooling`, and what `Selection.of` reads.
      identity: stage, model, intermediate, training, seed and task, for the record.
      threads: CPU threads; another number rounds differently.

    Raises:
      UserError: the model cannot be built, data are missing, or there is not one feature to probe.
    """
    source = Source.read(start)
    device = choose_device("fp32", source.model_type, threads)
    tokenizer = Tokenizer.from_directory(source.base)
    selection = Selection.of(settings)
    longest = min(representations.LONGEST, source.about.get("max_positions") or representations.LONGEST)
    chosen: dict[str, tuple[Language, list[representations.Encoded]]] = {}
    digests: dict[str, str] = {}
    for language, path in data.items():
        digests[language] = data_of(path, None, language).sha256
        chosen[language] = _chosen(path, tokenizer, selection, longest)
    if not any(words.features for words, _ in chosen.values()):
        reasons = "; ".join(f"{language}: {_reasons(words)}" for language, (words, _) in chosen.items())
        raise UserError(
            f"{output}: nothing to probe; {reasons}. Name other features under probes.features, or ask for less under "
            "probes.minimum."
        )
    reading = representations.Reading()
    examples = [sentence.example for _, encoded in chosen.values() for sentence in encoded]
    # No hidden state depends on rows of the vocabulary that no sentence needs.
    model = build(source, reading, kept=vocabulary(source, [(reading, examples)], prune=True), seed=0, dropout=0.0)
    model.to(device.torch).eval()
    probes: list[dict[str, Any]] = []
    with threadpoolctl.threadpool_limits(threads):
        for language, (words, encoded) in chosen.items():
            probes += [{"language": language, **one} for one in _probe_language(model, words, encoded, settings)]
            log.info("%s: %d features of %d words", language, len(words.features), len(words.words))
        if source.trained is None:
            # What the same architecture holds before it has read anything: of word forms, places and neighbours.
            randomise(model, seed=0)
            model.eval()
            for one, accuracy in zip(probes, _of_random_weights(model, chosen, settings), strict=True):
                one["random_accuracy"] = accuracy
    write_json(
        output,
        {
            **identity,
            "checkpoint_sha256": source.weights_sha256,
            "data": digests,
            "settings": dict(settings),
            "probes": probes,
            "skipped": [
                {"language": language, "feature": feature, "reason": reason}
                for language, (words, _) in chosen.items()
                for feature, reason in words.skipped.items()
            ],
            "versions": {"stiltsweep": __version__},
        },
    )


def _reasons(language: Language) -> str:
    return ", ".join(f"{feature}: {reason}" for feature, reason in language.skipped.items())


def _chosen(
    path: Path, tokenizer: Tokenizer, selection: Selection, longest: int
) -> tuple[Language, list[representations.Encoded]]:
    """Read and encode a language's sentences and choose its words among those the model sees something of."""
    sentences = choose_sentences(read_rows(path), selection.sentences)
    encoded = representations.encode(sentences, tokenizer, longest)
    return choose_words(sentences, selection, [one.seen for one in encoded]), encoded


def _of_random_weights(
    model: TaskModel,
    chosen: Mapping[str, tuple[Language, list[representations.Encoded]]],
    settings: Mapping[str, Any],
) -> Iterator[float]:
    """Yield the accuracy of every probe of `probe`, in its order, with a model of random weights."""
    for language, encoded in chosen.values():
        if language.features:
            vectors = representations.vectors(
                model, encoded, language.words, settings["pooling"], settings["batch_tokens"]
            )
            for feature in language.features:
                for pooling in settings["pooling"]:
                    yield from linear.accuracies(vectors[pooling], feature)


def _probe_language(
    model: TaskModel,
    language: Language,
    encoded: list[representations.Encoded],
    settings: Mapping[str, Any],
) -> list[dict[str, Any]]:
    if not language.features:
        return []
    lexicons = {feature.name: linear.lexicon(feature, language) for feature in language.features}
    asked = {feature.name: [language.words[at] for at in feature.test.words] for feature in language.features}
    shared = {name: sum(encoded[one.sentence].shares(one.place) for one in words) for name, words in asked.items()}
    contracted = {name: count_contracted(words, language.sentences) for name, words in asked.items()}
    vectors = representations.vectors(model, encoded, language.words, settings["pooling"], settings["batch_tokens"])
    return [
        {
            "feature": feature.name,
            "pooling": pooling,
            **asdict(score),
            "majority": linear.majority(feature),
            "lexicon_accuracy": lexicons[feature.name],
            "entropy": linear.entropy(feature),
            "n_train": len(feature.train.words),
            "n_test": len(feature.test.words),
            "n_unseen": len(feature.unseen.words),
            "n_shared": shared[feature.name],
            "n_contracted": contracted[feature.name],
            "classes": len(feature.values),
            "random_accuracy": None,
        }
        for feature in language.features
        for pooling in settings["pooling"]
        for score in linear.score(vectors[pooling], feature, language)
    ]
