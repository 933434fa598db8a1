"""A paragraph of methods to paste into a paper, written from the settings, and the references that it names."""

from __future__ import annotations

from .. import __version__
from ..arms import BASELINE
from ..significance.controls import is_control
from ..significance.resampled import LEVELS
from .results import ALL, Results
from .text import count, counts, listed, percent


def paragraph(results: Results) -> str:
    """Return how the sweep was tested, for a paper."""
    run = results.run
    settings = run.significance
    arms = [name for name in run.intermediates if not is_control(name)]
    tested = [row for row in results.select(ALL) if row.tested]
    share = percent(float(settings["confidence"]))
    # What was done: with one seed nothing is drawn of runs, whatever was asked for.
    levels = {row.resampling for row in tested} or {str(settings.get("resampling", LEVELS[1]))}
    runs, languages = (any(what in level for level in levels) for what in ("seeds", "languages"))
    clustered = sorted({row.target for row in tested if row.n_clusters < row.n_examples})
    unit = f"test examples (clusters of them for {listed(clustered)})" if clustered else "test examples"
    margin = float(settings.get("margin", 1))
    sentences = [
        f"We compare {count(len(arms), 'intermediate training')} ({listed(arms)}) with none on "
        f"{count(len(run.targets), 'target task')} ({listed(list(run.targets))}) and "
        f"{count(len(results.transfer_languages), 'language')} other than {run.language_name(run.source)}, with "
        f"{listed(list(run.models))} and {counts([len(run.seeds)], 'seed')}.",
        run.setting,
        "The lift of a language is the mean score over seeds less that without intermediate training; over several "
        "languages each counts once.",
        f"Intervals ({share}) and p-values are from {int(settings['resamples']):,} paired bootstrap draws of {unit}, "
        "drawn once for all languages and systems that share them"
        + (
            ", and of training runs, whose variance is rescaled for their small number (Rao and Wu, 1988), cleared of "
            "their interaction with examples (McCullagh, 2000; Owen, 2007) and given Student's t with Welch's (1947) "
            "degrees of freedom"
            if runs
            else ""
        )
        + (", and of the languages of a group" if languages else "")
        + ("; runs that share a seed are pairs." if settings.get("pair_seeds", True) and runs else "."),
        *(
            ["Where fewer than ten draws are as extreme as a lift, p is from a tail fitted to the draws."]
            if any(row.p_fitted for row in tested)
            else []
        ),
        "P-values are corrected by Holm's (1979) method, over models, targets and arms for means over all languages. "
        f"A lift is called no more than {margin:g} {'point' if margin == 1 else 'points'} where two one-sided tests "
        "(Schuirmann, 1987) show it.",
    ]
    if results.omnibus:
        sentences.append(
            "Whether the lift depends on morphology is asked with languages as the units: a random-effects "
            "meta-regression (REML; Viechtbauer, 2010; Knapp and Hartung, 2003) of their lifts on the morphological "
            "type, with the full covariance of their sampling errors, and a test that deals the types out anew over "
            "languages, and over language families, which are kept together."
        )
    if any(row.scope == ALL and row.contaminated for row in results.comparisons):
        sentences.append("Pairs whose intermediate task holds data of the target are left out of the counts.")
    sentences.append(f"The baseline is called {BASELINE}; all tests were made with stiltsweep.")
    return " ".join(sentences)


_REFERENCES = {
    "Holm's (1979)": """@article{holm1979,
  author={Holm, Sture}, title={A Simple Sequentially Rejective Multiple Test Procedure},
  journal={Scandinavian Journal of Statistics}, volume={6}, number={2}, pages={65--70}, year={1979}}""",
    "Rao and Wu, 1988": """@article{raowu1988,
  author={Rao, J. N. K. and Wu, C. F. J.}, title={Resampling Inference with Complex Survey Data},
  journal={Journal of the American Statistical Association}, volume={83}, number={401}, pages={231--241},
  year={1988}}""",
    "McCullagh, 2000": """@article{mccullagh2000,
  author={McCullagh, Peter}, title={Resampling and Exchangeable Arrays},
  journal={Bernoulli}, volume={6}, number={2}, pages={285--301}, year={2000}}""",
    "Owen, 2007": """@article{owen2007,
  author={Owen, Art B.}, title={The Pigeonhole Bootstrap},
  journal={The Annals of Applied Statistics}, volume={1}, number={2}, pages={386--411}, year={2007}}""",
    "Welch's (1947)": """@article{welch1947,
  author={Welch, B. L.}, title={The Generalization of {Student}'s Problem when Several Different Population Variances
  are Involved}, journal={Biometrika}, volume={34}, number={1--2}, pages={28--35}, year={1947}}""",
    "Schuirmann, 1987": """@article{schuirmann1987,
  author={Schuirmann, Donald J.}, title={A Comparison of the Two One-Sided Tests Procedure and the Power Approach for
  Assessing the Equivalence of Average Bioavailability},
  journal={Journal of Pharmacokinetics and Biopharmaceutics}, volume={15}, number={6}, pages={657--680},
  year={1987}}""",
    "Viechtbauer, 2010": """@article{viechtbauer2010,
  author={Viechtbauer, Wolfgang}, title={Conducting Meta-Analyses in {R} with the {metafor} Package},
  journal={Journal of Statistical Software}, volume={36}, number={3}, pages={1--48}, year={2010}}""",
    "Knapp and Hartung, 2003": """@article{knapphartung2003,
  author={Knapp, Guido and Hartung, Joachim}, title={Improved Tests for a Random Effects Meta-Regression with a Single
  Covariate}, journal={Statistics in Medicine}, volume={22}, number={17}, pages={2693--2710}, year={2003}}""",
}
"""How the paragraph names a reference -> its entry; models, tasks and data have theirs in the table of origins."""


def bibtex(text: str) -> str:
    """Return the BibTeX entries of what a paragraph names, stiltsweep's own last."""
    own = f"""@misc{{stiltsweep,
  author={{{{The stiltsweep developers}}}}, title={{stiltsweep: Sweeps of Intermediate-Task Training for Zero-Shot
  Cross-Lingual Transfer}}, note={{Version {__version__}}}}}"""
    return "\n".join([*(entry for name, entry in _REFERENCES.items() if name in text), own])
