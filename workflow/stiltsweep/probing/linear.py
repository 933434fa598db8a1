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
from scipy.special import logsumexp
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..resampling.draws import Counts
from ..resampling.intervals import percentile
from .words import Examples, Feature, Language, form, share

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
    information: float
    """Bits a word of `accuracy` that the probe says of its value, beyond how common the values are."""


def score(vectors: Vectors, feature: Feature, language: Language) -> list[Score]:
    """Train and score a probe at every layer.

    Args:
      vectors: (layers, words of the language, width).
      feature: what is probed.
      language: whose it is.
    """
    right = [_answers(layer, feature) for layer in vectors]
    hits = np.stack([answers.test for answers in right]).astype(np.float64)
    control = np.stack([answers.control for answers in right]).astype(np.float64)
    sentences = np.array([language.words[at].sentence for at in feature.test.words], dtype=np.intp)
    identities = [row["id"] for row in language.sentences]
    of_accuracy, of_selectivity = intervals(hits, control, sentences, identities)
    half = np.array([share("calibrated", identities[number]) < 0.5 for number in sentences])
    shares = _shares(feature)
    scores = []
    for layer, answers in enumerate(right):
        unseen = answers.unseen
        accuracy, remembered = 100 * float(hits[layer].mean()), 100 * float(control[layer].mean())
        scores.append(
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
                information=information(answers.outputs, feature.test.labels, shares, half),
            )
        )
    return scores


def accuracies(vectors: Vectors, feature: Feature) -> list[float]:
    """Return `Score.accuracy` of every layer, and nothing else of it."""
    return [100 * float(_answers(layer, feature).test.mean()) for layer in vectors]


def majority(feature: Feature) -> float:
    """Return the accuracy, in points, of always answering the value most often trained on."""
    commonest = _shares(feature).argmax()
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


def entropy(feature: Feature) -> float:
    """Return the bits a word of `Score.accuracy` that its value costs who knows the values' shares in training."""
    return round(float(-np.log2(_shares(feature)[feature.test.labels]).mean()), _PLACES)


def _shares(feature: Feature) -> NDArray[np.float64]:
    """Return (values,) how common each is in training."""
    return np.bincount(feature.train.labels, minlength=len(feature.values)) / len(feature.train.labels)


_PLACES = 4
"""Decimals of bits; those after them depend on the machine's order of sums."""
_STEPS = 50


def information(
    outputs: NDArray[np.float64], labels: NDArray[np.intp], shares: NDArray[np.float64], half: NDArray[np.bool_]
) -> float:
    """Return the V-information (bits a word) that a probe's outputs hold of the labels: Xu et al. 2020.

    Of the probabilities softmax(t log shares + s outputs), with two numbers for all words: 1 and 0 say nothing but the
    shares, and the second is what makes scores of least squares probabilities. They are fitted on one half of the
    sentences and used on the other, and the other way round, so that no word has a part in its own probability.

    Args:
      outputs: (words, values) of a probe for indicators of 1 and -1.
      labels: (words,) the true values.
      shares: (values,) of the values in training; none is zero.
      half: (words,) which half a word belongs to.
    """
    known = np.log(shares)
    gained = np.zeros(len(labels))
    for chosen in (half, ~half):
        of_shares, of_outputs = _weights(outputs[~chosen], labels[~chosen], shares)
        mine = labels[chosen]
        tilted = of_shares * known + of_outputs * outputs[chosen]
        own = np.take_along_axis(tilted, mine[:, None], axis=1)[:, 0]
        gained[chosen] = own - logsumexp(tilted, axis=1) - known[mine]
    return round(float(gained.mean()) / math.log(2.0), _PLACES)


def _weights(
    outputs: NDArray[np.float64], labels: NDArray[np.intp], shares: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the two numbers of `information` of the highest likelihood, by Newton's steps.

    As if one word more had been seen whose value is anybody's guess: else they would be endless where all are right.
    """
    n, known = len(labels), np.log(shares)
    guess = 1.0 / (n + 1)
    weights, reached = np.array([1.0, 0.0]), -math.inf
    seen = np.bincount(labels, minlength=len(shares))
    # Of the labels, with the word more among them, all that the likelihood needs.
    wanted = (1.0 - guess) * np.array([seen @ known, outputs[np.arange(n), labels].sum()])
    wanted += guess * np.array([n * (shares @ known), (outputs @ shares).sum()])
    step = np.zeros(2)
    for _ in range(_STEPS):
        tilted = (weights[0] + step[0]) * known + (weights[1] + step[1]) * outputs
        top = tilted.max(axis=1, keepdims=True, initial=-math.inf)
        chances = np.exp(tilted - top)
        sums = chances.sum(axis=1)
        new = float(wanted @ (weights + step) - np.log(sums).sum() - top.sum())
        small = np.abs(step).max() < _SMALL * (1.0 + np.abs(weights).max())
        if new < reached and not small:
            step = step / 2.0
            continue
        weights, reached = weights + step, new
        if small and step.any():
            break
        chances /= sums[:, None]
        weighted = chances * outputs
        means = np.stack([chances @ known, weighted.sum(axis=1)])
        cross = float((weighted @ known).sum())
        squares = np.array([[float((chances @ known**2).sum()), cross], [cross, float((weighted * outputs).sum())]])
        # Of values as common as each other the first number changes nothing, and the matrix alone has no inverse.
        curve = squares - means @ means.T + 1e-9 * (n + 1) * np.eye(2)
        step = np.linalg.solve(curve, wanted - means.sum(axis=1))
    return float(weights[0]), float(weights[1])


_SMALL = 1e-5
"""Of a step that changes no decimal that is kept."""


Right = NDArray[np.bool_]


@dataclass(frozen=True)
class _Answers:
    test: Right
    """Which words of held-out sentences are right."""
    control: Right
    """The same of the control."""
    unseen: Right
    """Of held-out forms."""
    outputs: NDArray[np.float64]
    """(words of held-out sentences, values)."""


def _answers(vectors: Vectors, feature: Feature) -> _Answers:
    """Train a probe and its control, and ask both."""
    train, values = feature.train, len(feature.values)
    probe = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY * len(train.words), solver="cholesky"))
    probe.fit(vectors[train.words], np.hstack([_indicators(train.labels, values), _indicators(train.control, values)]))

    outputs = probe.predict(vectors[feature.test.words])
    real, control = outputs[:, :values], outputs[:, values:]
    unseen = np.zeros(0, dtype=np.bool_)
    if len(feature.unseen.words):
        others = probe.predict(vectors[feature.unseen.words])[:, :values]
        unseen = others.argmax(1) == feature.unseen.labels
    return _Answers(
        real.argmax(1) == feature.test.labels,
        control.argmax(1) == feature.test.control,
        unseen,
        real.astype(np.float64),
    )


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
    ends = []
    for values in (hits, hits - control):
        estimate = 100 * values.mean(1)
        resampled = 100 * (values @ member) @ draws.T / words
        ends.append(percentile(estimate, resampled - estimate[:, None], CONFIDENCE))
    of_hits, of_difference = ends
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
