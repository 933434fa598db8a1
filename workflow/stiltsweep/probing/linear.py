"""A linear probe of one feature at every layer, its control, and intervals over sentences.

The probe is a ridge classifier: least squares from standardised vectors to one indicator a value, the largest output
wins. It has a closed form, so its answer depends on no starting point or stopping rule, and one factorisation serves
the feature and its control task. docs/probes.md compares it with logistic regression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..resampling.draws import Counts
from ..resampling.intervals import percentile
from .words import Examples, Feature, Language, form

Vectors = NDArray[np.float32]

PENALTY = 0.3
"""Ridge penalty per word trained on; docs/probes.md says how it was chosen."""
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Score:
    """How one layer did; points, 0 to 100."""

    layer: int
    """0: the embeddings' output."""
    accuracy: float
    """Share of words of held-out sentences that are right."""
    ci_low: float
    ci_high: float
    """Interval of the accuracy over sentences."""
    form_accuracy: float | None
    """The same of words whose form is held out too; None where there are none."""
    control_accuracy: float
    """Accuracy of a probe trained on the control task, on the words of `accuracy`."""
    selectivity: float
    """Accuracy less control accuracy."""
    selectivity_low: float
    selectivity_high: float


def score(vectors: Vectors, feature: Feature, language: Language) -> list[Score]:
    """Train and score a probe at every layer.

    Args:
      vectors: (layers, words of the language, width).
      feature: what is probed.
      language: whose it is.
    """
    right = [_answers(layer, feature) for layer in vectors]
    hits = np.stack([answers for answers, _, _ in right]).astype(np.float64)
    control = np.stack([answers for _, answers, _ in right]).astype(np.float64)
    sentences = np.array([language.words[at].sentence for at in feature.test.words], dtype=np.intp)
    identities = [row["id"] for row in language.sentences]
    of_accuracy, of_selectivity = intervals(hits, control, sentences, identities)
    found = []
    for layer, (_, _, unseen) in enumerate(right):
        accuracy, remembered = 100 * float(hits[layer].mean()), 100 * float(control[layer].mean())
        found.append(
            Score(
                layer=layer,
                accuracy=accuracy,
                ci_low=float(of_accuracy[layer, 0]),
                ci_high=float(of_accuracy[layer, 1]),
                form_accuracy=100 * float(unseen.mean()) if len(unseen) else None,
                control_accuracy=remembered,
                selectivity=accuracy - remembered,
                selectivity_low=float(of_selectivity[layer, 0]),
                selectivity_high=float(of_selectivity[layer, 1]),
            )
        )
    return found


def accuracies(vectors: Vectors, feature: Feature) -> list[float]:
    """Return `Score.accuracy` of every layer, and nothing else of it."""
    return [100 * float(_answers(layer, feature)[0].mean()) for layer in vectors]


def majority(feature: Feature) -> float:
    """Return the accuracy, in points, of always answering the value most often trained on."""
    commonest = np.bincount(feature.train.labels, minlength=len(feature.values)).argmax()
    return 100 * float((feature.test.labels == commonest).mean())


def lexicon(feature: Feature, language: Language) -> float:
    """Return the accuracy, in points, of a list of forms: the value a form most often had in training.

    Of words of `Score.accuracy`; a form that was not trained on, or has two commonest values, gets the one that is
    commonest of all words. What a probe finds below that, a dictionary would have said without a model.
    """

    def forms(examples: Examples) -> list[str]:
        words = (language.words[at] for at in examples.words)
        return [form(language.sentences[word.sentence]["tokens"][word.place]) for word in words]

    values = len(feature.values)
    everywhere = np.bincount(feature.train.labels, minlength=values)
    known: dict[str, NDArray[np.intp]] = {}
    for name, label in zip(forms(feature.train), feature.train.labels, strict=True):
        known.setdefault(name, np.zeros(values, dtype=np.intp))[label] += 1
    unknown = np.zeros(values, dtype=np.intp)
    right = 0
    for name, label in zip(forms(feature.test), feature.test.labels, strict=True):
        counts = known.get(name, unknown)
        best = np.flatnonzero(counts == counts.max())
        right += int(best[everywhere[best].argmax()] == label)
    return 100 * right / len(feature.test.labels)


Right = NDArray[np.bool_]


def _answers(vectors: Vectors, feature: Feature) -> tuple[Right, Right, Right]:
    """Return which answers are right: held-out sentences, the control there, held-out forms."""
    train, values = feature.train, len(feature.values)
    probe = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY * len(train.words), solver="cholesky"))
    probe.fit(vectors[train.words], np.hstack([_indicators(train.labels, values), _indicators(train.control, values)]))

    def answers(examples: Examples) -> tuple[Right, Right]:
        if not len(examples.words):
            return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.bool_)
        outputs = probe.predict(vectors[examples.words])
        real, control = outputs[:, :values], outputs[:, values:]
        return real.argmax(1) == examples.labels, control.argmax(1) == examples.control

    return *answers(feature.test), answers(feature.unseen)[0]


def _indicators(labels: NDArray[np.intp], values: int) -> Vectors:
    """Return (n, values) of 1 where a label is and -1 elsewhere."""
    return np.where(np.arange(values) == labels[:, None], np.float32(1), np.float32(-1))


def intervals(
    hits: NDArray[np.float64],
    control: NDArray[np.float64],
    sentences: NDArray[np.intp],
    identities: Sequence[str],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (layers, 2) percentile intervals, in points, of accuracy and of selectivity.

    Whole sentences are resampled, since words of a sentence are not independent; the probes stay as trained. The draws
    depend on the sentences alone: all layers, checkpoints and poolings meet the same. Where all answers are alike, all
    right for example, every draw is, and would say that nothing is uncertain: there the intervals are Wilson's (1927),
    and for a difference Newcombe's (1998) of two of them, with the sentences as what was counted.

    Args:
      hits: (layers, words) 1 where the probe is right.
      control: (layers, words) 1 where the control's is.
      sentences: (words,) number of each word's sentence.
      identities: id of each sentence.
    """
    numbers, owner = np.unique(sentences, return_inverse=True)
    member = np.zeros((len(owner), len(numbers)))
    member[np.arange(len(owner)), owner] = 1
    digest = sha256("\n".join(identities[number] for number in numbers).encode("utf-8")).hexdigest()
    draws = Counts(0, digest, len(numbers)).take(RESAMPLES).astype(np.float64)
    words = draws @ member.sum(0)
    found = []
    for values in (hits, hits - control):
        estimate = 100 * values.mean(1)
        resampled = 100 * (values @ member) @ draws.T / words
        found.append(percentile(estimate, resampled - estimate[:, None], CONFIDENCE))
    of_hits, of_difference = found
    shares, remembered = hits.mean(1), control.mean(1)
    for layer in range(len(hits)):
        own = wilson(float(shares[layer]), len(numbers))
        if of_hits[layer, 1] - of_hits[layer, 0] < _NOTHING:
            of_hits[layer] = 100 * own[0], 100 * own[1]
        if of_difference[layer, 1] - of_difference[layer, 0] < _NOTHING:
            other = wilson(float(remembered[layer]), len(numbers))
            apart = float(shares[layer] - remembered[layer])
            below = math.hypot(shares[layer] - own[0], other[1] - remembered[layer])
            above = math.hypot(own[1] - shares[layer], remembered[layer] - other[0])
            of_difference[layer] = 100 * max(-1.0, apart - below), 100 * min(1.0, apart + above)
    return of_hits, of_difference


_NOTHING = 1e-9
"""Points: an interval narrower than this has no width but for rounding."""


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return Wilson's (1927, JASA 22:209) interval of a share of n."""
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)
