"""The significance engine against scipy, and its error rates under the null; prints, and writes results/bench/.

    python benchmarks/bootstrap.py                    everything, about 15 minutes on 2 cores
    python benchmarks/bootstrap.py speed loading      some of it
    python benchmarks/bootstrap.py --smallest         every part at sizes that say nothing, to see that it runs

speed      a paper-sized block (XNLI: 5,010 parallel examples, 14 transfer languages, 11 arms, 3 seeds, 10,000
           resamples) against scipy.stats.bootstrap, comparison by comparison, and the two results against each other
memory     peak memory at 20,000 examples x 400 cells x 10,000 resamples
loading    reading the statistics of 6,000 cells
null       1,000 sweeps without any lift per condition: how often the tests say otherwise
theory     the same for normal data, by how much of the uncertainty is the examples', the runs' and their interaction's
types      1,000 sweeps without any effect of type per layout of languages: how often types are said to differ
power      what `snakemake power` promises against what sweeps have
skew       coverage of percentile and BCa intervals on a skewed statistic
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The engine draws in one thread and multiplies in another; more of them in the product would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402
from scipy.special import ndtr  # noqa: E402

import synthetic  # noqa: E402
from stiltsweep import typology  # noqa: E402
from stiltsweep.files import write_json, write_text  # noqa: E402
from stiltsweep.languages import Languages  # noqa: E402
from stiltsweep.power.lineages import stand  # noqa: E402
from stiltsweep.power.tests import Design, LiftTest, TypesTest, pooled_variance, smallest  # noqa: E402
from stiltsweep.significance import Settings, Statistics, compare, components, estimands, read, resample  # noqa: E402
from stiltsweep.significance.components import Components  # noqa: E402
from stiltsweep.significance.joint import Joint, common_and_own  # noqa: E402
from stiltsweep.significance.resampled import Resampled  # noqa: E402
from stiltsweep.significance.seeds import component, excess  # noqa: E402
from stiltsweep.typology.models import Problem, Typed, omnibus, slope_terms, type_terms  # noqa: E402
from stiltsweep.typology.observations import Observations  # noqa: E402
from stiltsweep.typology.tables import LANGUAGES as LANGUAGES_ALONE  # noqa: E402
from stiltsweep.typology.tables import LINEAGES  # noqa: E402

WORKERS = 2
"""Processes of the simulations; `--workers`."""

LANGUAGES = ("ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
FAMILIES = {
    "agglutinative": ["sw", "tr"],
    "fusional": ["bg", "de", "el", "es", "fr", "hi", "ru", "ur"],
    "introflexive": ["ar"],
    "isolating": ["th", "vi", "zh"],
}
ARMS = ("none", *(f"task{k:02d}" for k in range(1, 11)))


def block(n: int, languages: Sequence[str] = LANGUAGES, arms: Sequence[str] = ARMS, seeds: int = 3) -> Statistics:
    """Make a block of parallel test data: no files, no lifts."""
    ids = {code: [f"{i:06d}" for i in range(n)] for code in languages}
    expected = {(arm, code): 70.0 for arm in arms for code in languages}
    return synthetic.statistics(synthetic.answers(np.random.default_rng(0), ids, expected, range(seeds)), ids)


def tested(statistics: Statistics, groups: dict[str, list[str]] = FAMILIES, **settings: Any) -> list[dict[str, Any]]:
    """Run the engine: every estimand of every arm."""
    found = estimands(statistics.languages, {"family": groups}, "family")
    return compare(resample(statistics, Settings(**settings)), found)


def speed(examples: int = 5010, resamples: int = 10_000) -> dict[str, Any]:
    """Time the block both ways; scipy's comparisons all cost the same, so some are timed and the rest reckoned."""
    statistics = block(examples)
    timed: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        rows = tested(statistics, resamples=resamples)
        timed.append(time.perf_counter() - start)
    seconds = sorted(timed)[1]
    by_key = {(row["intermediate"], row["scope"], row["group"]): row for row in rows}
    once: list[float] = []
    apart: list[float] = []
    for arm, code in (("task01", "ar"), ("task03", "fr"), ("task05", "th"), ("task07", "zh"), ("task10", "de")):
        one, other = (np.mean([statistics.values[a, s, code][:, 0] for s in range(3)], axis=0) for a in (arm, "none"))
        start = time.perf_counter()
        found = stats.bootstrap(
            (one, other),
            lambda x, y, axis: 100.0 * (x.mean(axis) - y.mean(axis)),
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=100,  # the fastest of 20, 100, 500 and 2000
            method="percentile",
            rng=np.random.default_rng(0),
        )
        once.append(time.perf_counter() - start)
        row = by_key[arm, "language", code]
        error = 2.67 * found.standard_error / np.sqrt(resamples)  # of a 2.5% quantile over the draws
        ends = (
            row["examples_ci_low"] - found.confidence_interval.low,
            row["examples_ci_high"] - found.confidence_interval.high,
        )
        apart += [abs(end) / (error * np.sqrt(2)) for end in ends]
    per_comparison = float(np.mean(once))
    runs, means = 10 * 14 * 3, 10 * 14
    return {
        "seconds, whole block (250 rows: 4 tests each, all intervals)": round(seconds, 2),
        "scipy, seconds a comparison": round(per_comparison, 3),
        f"scipy, seconds for {runs} comparisons (arm x language x seed)": round(runs * per_comparison, 1),
        f"ratio, {runs} comparisons": round(runs * per_comparison / seconds),
        f"ratio, {means} comparisons (seeds averaged first)": round(means * per_comparison / seconds),
        "interval ends apart from scipy's, in Monte-Carlo errors (largest of 10)": round(max(apart), 2),
    }


def memory(examples: int = 20_000, resamples: int = 10_000) -> dict[str, Any]:
    """Measure the peak of a process of its own, for it never falls."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "import bootstrap as b\n"
        "codes = tuple('abcdefghijklm')\n"
        "s = b.block(int(sys.argv[2]), codes, b.ARMS[:10])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "b.tested(s, {'x': list(codes[:5]), 'y': list(codes[5:])}, resamples=int(sys.argv[3]))\n"
        "print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, str(ROOT / "benchmarks"), str(examples), str(resamples)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    before, peak = (int(kib) / 2**20 for kib in done.stdout.split())
    return {
        f"{examples:,} examples x 390 cells x {resamples:,} resamples, peak GiB": round(peak, 2),
        "of it the statistics, GiB": round(before, 2),
        "seconds": round(time.perf_counter() - start, 1),
    }


def loading(examples: int = 1000, count: int = 50) -> dict[str, Any]:
    """Read 6,000 cells of 1,000 examples: 4 models of 10 arms, 3 seeds and 50 languages (`count`)."""
    languages = ["en", *(f"l{k:02d}" for k in range(count))]
    grid: dict[str, Any] = {"intermediates": ARMS[:10], "seeds": (0, 1, 2), "languages": languages}
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        families = dict.fromkeys(languages, "x")
        synthetic.write_sweep(Path(folder), models=("m",), n=examples, families=families, **grid)
        for _ in range(4):
            start = time.perf_counter()
            statistics = read(Path(folder), "m", "intent", **grid)
            seconds += time.perf_counter() - start
    return {f"seconds for {4 * len(statistics.values)} cells of {examples:,} examples": round(seconds, 2)}


CODES = ("a", "b", "c", "d")
GROUPS = {"x": ["a", "b"], "y": ["c", "d"]}


@dataclass(frozen=True)
class Condition:
    """What null sweeps are like: 4 languages in 2 families, one intermediate without a lift."""

    parallel: str = "full"
    """How ids are shared (see `synthetic.example_ids`)."""
    seeds: int = 3
    sd: float = 1.5
    """Standard deviation of a run, in points; what the seed does to all languages alike."""
    paired: float = 0.7
    """Correlation of the runs of both arms that share a seed."""
    examples: int = 150
    metric: str = "accuracy"
    odd: str = ""
    """One of `ODD`."""
    lift: float = 0.0
    """Points; 0 but for power."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        ids = {"full": "all", "partial": "in part", "none": "none"}[self.parallel]
        parts = [f"{self.seeds} seeds", f"sd {self.sd:g}", f"correlation {self.paired:g}", f"ids shared: {ids}"]
        parts += [f"{self.examples} examples"] + ["F1"] * (self.metric == "f1") + ([ODD[self.odd]] if self.odd else [])
        return ", ".join(parts)


ODD = {
    "clusters": "clusters of five",
    "clusters ignored": "clusters of five, ignored",
    "one run": "one usable run of the arm",
    "one baseline run": "one usable run of the baseline",
    "constant": "the baseline is one and the same run",
    "unpaired": "pair_seeds: false",
    "ids ignored": "shared ids ignored",
    "languages": "6 + 6 languages drawn, lifts of sd 3",
}
CLUSTER = 5


def conditions() -> list[Condition]:
    """Return what is simulated."""
    kinds = ("full", "partial", "none")
    grid = itertools.product((3, 5), ((1.5, 0.0), (1.5, 0.7), (4.0, 0.7)), kinds)
    found = [Condition(parallel, seeds, sd, paired) for seeds, (sd, paired), parallel in grid]
    found += [Condition(seeds=seeds, sd=0.0, paired=0.0) for seeds in (3, 5)]
    # Of more examples, fewer draws are exactly as large as the estimate; such ties count against a finding.
    found += [Condition(seeds=seeds, examples=600) for seeds in (3, 5)]
    found += [Condition(parallel, metric="f1") for parallel in kinds] + [Condition(seeds=5, metric="f1")]
    found += [Condition(parallel, odd="clusters") for parallel in kinds] + [Condition(seeds=5, odd="clusters")]
    found += [Condition(seeds=n, odd=odd) for odd in ("one run", "one baseline run") for n in (3, 5)]
    found += [Condition(odd=odd) for odd in ("constant", "unpaired", "clusters ignored", "ids ignored")]
    return found + [Condition(parallel, odd="languages") for parallel in ("full", "none")]


def _null_sweeps(job: tuple[int, int, Condition]) -> dict[str, int]:
    """Count, over some sweeps without a lift, what comes out significant at 0.05."""
    condition = job[-1]
    resampled, groups, pairs = _resampled(*job)
    asked = estimands(resampled.statistics.languages, {"family": groups}, "family")
    hits: dict[str, int] = {}
    for row in compare(resampled, asked, pairs):
        if condition.odd == "languages" and row["scope"] == "language":  # by themselves they have a lift
            continue
        for column in COLUMNS:
            key = f"{row['scope']} {column}"
            hits[key] = hits.get(key, 0) + (row[column] is not None and row[column] < 0.05)
            hits[f"{key} n"] = hits.get(f"{key} n", 0) + 1
    return hits


def _resampled(
    first: int, last: int, condition: Condition
) -> tuple[Resampled, dict[str, list[str]], list[tuple[str, str]]]:
    """Make some sweeps and draw; return also the groups of languages, and every sweep's pair of arms.

    The sweeps are told the engine as one, each with arms of its own, so that they share its draws and nothing else.
    """
    odd = condition.odd
    groups = {"x": list("abcdef"), "y": list("ghijkl")} if odd == "languages" else GROUPS
    codes = [code for group in groups.values() for code in group]
    ids = {code: sorted(synthetic.example_ids(code, condition.examples, condition.parallel, first)) for code in codes}
    right: dict[tuple[str, int, str], np.ndarray] = {}
    for k in range(first, last):
        right |= {(f"{arm}{k}", s, code): values for (arm, s, code), values in _answers(k, condition, ids).items()}
    held = {c: [f"{c}{name}" for name in names] for c, names in ids.items()} if odd == "ids ignored" else ids
    statistics = replace(synthetic.statistics(right, held), planned=condition.seeds)
    if condition.metric == "f1":
        statistics = replace(statistics, values=_f1(statistics, ids, np.random.default_rng([first, 7])))
    if odd == "clusters":
        # Ids are numbers in the order in which `synthetic.answers` has them.
        pool = {name: place for place, name in enumerate(sorted({i for names in ids.values() for i in names}))}
        named = {code: tuple(str(pool[name] // CLUSTER) for name in names) for code, names in ids.items()}
        statistics = replace(statistics, clusters=named)
    level = "examples+seeds+languages" if odd == "languages" else "examples+seeds"
    settings = Settings(resamples=999, seed=first, resampling=level, pair_seeds=odd != "unpaired")
    pairs = [(f"task{k}", f"none{k}") for k in range(first, last)]
    return resample(statistics, settings, pairs), groups, pairs


def _answers(k: int, condition: Condition, ids: dict[str, list[str]]) -> dict[tuple[str, int, str], np.ndarray]:
    """Draw who answers what rightly in one sweep."""
    odd = condition.odd
    rng = np.random.default_rng([k, condition.seeds])
    expected = {(arm, code): 60.0 + condition.lift * (arm == "task") for arm in ("none", "task") for code in ids}
    if odd == "languages":
        expected |= {("task", code): 60.0 + 3.0 * rng.standard_normal() for code in ids}
    right = synthetic.answers(
        rng,
        ids,
        expected,
        range(condition.seeds),
        seed_sd=condition.sd,
        paired=condition.paired,
        correlation=0.4,
        shared=0.2,
        steady=0.2,
        constant=("none",) if odd == "constant" else (),
        cluster=CLUSTER if odd.startswith("clusters") else 1,
    )
    single = {"one run": "task", "one baseline run": "none"}.get(odd)
    return {(arm, s, code): values for (arm, s, code), values in right.items() if arm != single or s == 0}


def _f1(statistics: Statistics, ids: dict[str, list[str]], rng: np.random.Generator) -> dict[Any, Any]:
    """Return answers as one to three spans: all found, or all missed, with as many wrong ones half of the time."""
    spans = {code: rng.integers(1, 4, len(names)) for code, names in ids.items()}
    found = {}
    for (arm, seed, code), values in statistics.values.items():
        right = values[:, 0]
        wrong = spans[code] * (rng.random(len(right)) < 0.5) * (1.0 - right)
        true = spans[code] * right
        found[arm, seed, code] = np.stack([2.0 * true, true + wrong + spans[code]], axis=1)
    return found


def null(sweeps: int = 1000) -> dict[str, Any]:
    """Simulate null sweeps: 4 languages of 2 families, 150 or 600 examples, one intermediate.

    `p` is at examples+seeds (what the table's p is), `examples_p` conditional on the trained models. The standard
    deviation over seeds is 0, 1.5 or 4 points; that of a lift over 150 examples about 2 (all) to 4 (one language).
    """
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(max_workers=WORKERS) as pool:
        for condition in conditions():
            jobs = [(k, min(k + 50, sweeps), condition) for k in range(0, sweeps, 50)]
            total: dict[str, int] = {}
            for part in pool.map(_null_sweeps, jobs):
                for key, value in part.items():
                    total[key] = total.get(key, 0) + value
            found[condition.name] = {
                key: round(value / total[f"{key} n"], 4) for key, value in total.items() if not key.endswith(" n")
            }
            rates = "  ".join(f"{scope} {_rates(found[condition.name], scope)}" for scope in SCOPES)
            print(f"  {condition.name:62s} {rates}", flush=True)
    return found


COLUMNS = ("p", "examples_p")
SCOPES = ("all", "group", "contrast", "language")


def _rates(rates: dict[str, float], scope: str) -> str:
    """Return the shares (%) of a scope's tests; n/a where it has none."""
    if f"{scope} p" not in rates:
        return "n/a"
    return " / ".join(f"{100 * rates[f'{scope} {column}']:.1f}" for column in COLUMNS)


LAYOUTS = {
    "MLQA, 6": "ar de es hi vi zh",
    "TyDi, 8": "ar bn fi id ko ru sw te",
    "default, 12": "zh vi th fi hu tr ko de ru es ar he",
    "XNLI, 14": " ".join(LANGUAGES),
    "balanced, 20": "zh vi th ht yo fi hu tr ko eu ka ja de ru es el pl hi ar he",
    "PAN-X, 39": "ar he vi id jv ms tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my "
    "zh kk tr et fi hu",
}
"""Transfer languages of published targets, and of a design with as many languages a type as there are."""


@dataclass(frozen=True)
class Spread:
    """How lifts without an effect of type differ."""

    sd: float
    """Between languages, in points."""
    lineages: bool = False
    """Whether half of the variance is between lineages."""
    targets: int = 1
    """Where several: pooled, and lifts differ by another point (sd) by target and language."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        half = ", half of it between lineages" if self.lineages else ""
        return f"sd {self.sd:g}{half}" + (f", {self.targets} targets pooled" if self.targets > 1 else "")


SPREADS = (*(Spread(sd) for sd in (0.0, 1.0, 2.0)), Spread(1.0, True), Spread(2.0, True), Spread(2.0, targets=3))


def types(sweeps: int = 1000) -> dict[str, Any]:
    """Simulate sweeps whose lift does not depend on type, and ask with languages as units.

    Languages differ by a standard deviation of 0, 1 or 2 points, all of their own or half of the variance their
    lineage's. Share (%) that is significant at 0.05: types dealt out over languages, over lineages, the F test, the
    least and the most often found of the types' differences from the mean, and a number that says nothing of the
    languages (by t, and dealt out). `n/a`: nothing is tested.
    """
    found: dict[str, Any] = {}
    jobs = [(layout, spread, sweeps) for layout in LAYOUTS for spread in SPREADS]
    with ProcessPoolExecutor(max_workers=WORKERS) as pool:
        for (layout, spread, _), rates in zip(jobs, pool.map(_typed_sweeps, jobs), strict=True):
            found[f"{layout} languages, {spread.name}"] = rates
            print(f"  {layout} languages, {spread.name:50s} {rates}", flush=True)
    return found


def _typed_sweeps(job: tuple[str, Spread, int]) -> dict[str, float | str]:
    layout, spread, sweeps = job
    table = Languages.read([ROOT / "workflow" / "catalog" / "languages.csv"])
    codes = sorted(LAYOUTS[layout].split())
    k = len(codes)
    families, lineages = ({code: table.value(code, column) for code in codes} for column in ("family", "genealogy"))
    lineage = np.unique([lineages[code] for code in codes], return_inverse=True)[1]
    rng = np.random.default_rng([k, round(10 * spread.sd), spread.lineages, spread.targets])
    hits: dict[str, list[bool]] = {}
    for sweep in range(sweeps):
        # Deals of their own for every sweep, as for every sweep that people make.
        settings = typology.Settings(permutations=999, seed=sweep)
        own = rng.normal(0.0, spread.sd * (0.5 if spread.lineages else 1.0) ** 0.5, k)
        own += rng.normal(0.0, spread.sd * 0.5**0.5 * spread.lineages, lineage.max() + 1)[lineage]
        blocks = [_lifts(rng, codes, own, 1.0 * (spread.targets > 1)) for _ in range(spread.targets)]
        observed = Observations.of(blocks, families)
        alone, kept = (Typed(Problem(observed, random, lineages), families) for random in (LANGUAGES_ALONE, LINEAGES))
        test = omnibus(alone, settings)
        said = {"languages": test["p"], "lineages": omnibus(kept, settings)["p"], "F": test["p_f"]}
        said |= {f"type {row['term']}": row["p"] for row in type_terms(alone, None, settings) if row["term"] != "mean"}
        number = dict(zip(codes, rng.normal(size=k), strict=True))
        slope = slope_terms(alone.problem, "number", number, None, settings)
        said |= {"a number, t": slope["p"], "a number, dealt out": slope["p_permutation"]}
        for name, p in said.items():
            if p is not None:
                hits.setdefault(name, []).append(p < 0.05)
    rates = {name: round(100.0 * float(np.mean(found)), 1) for name, found in hits.items()}
    single = [rates.pop(name) for name in [*rates] if name.startswith("type ")]
    asked = ("languages", "lineages", "F", "a number, t", "a number, dealt out")
    return {
        **{name: rates.get(name, "n/a") for name in asked},
        "types, least": min(single, default="n/a"),
        "types, most": max(single, default="n/a"),
    }


def _lifts(rng: np.random.Generator, codes: Sequence[str], own: np.ndarray, of_target: float) -> Joint:
    """Draw the lifts of one target: examples that all languages share, and three runs of two arms."""
    k = len(codes)
    examples = 0.25 * (0.5 * np.eye(k) + 0.5)  # half of the variance is shared
    lifts = own + rng.normal(0.0, of_target, k) + np.linalg.cholesky(examples) @ rng.normal(size=k)
    beyond = np.zeros((k, k))
    for _ in range(2):  # a run is worth a point in all languages alike, half a point in each, as much by chance
        runs = rng.normal(size=(3, 1)) + rng.normal(0.0, 0.5, (3, k)) + rng.normal(0.0, 0.5, (3, k))
        lifts = lifts + runs.mean(axis=0)
        beyond += (np.cov(runs, rowvar=False) - 0.25 * np.eye(k)) / 3
    return Joint(tuple(codes), lifts, examples + 2 * 0.25 * np.eye(k) / 3 + common_and_own(beyond))


def power(sweeps: int = 400, known: int = 1000) -> dict[str, Any]:
    """Compare the power that `snakemake power` promises with the power that sweeps have.

    Components are taken from (`known`) sweeps of 150 examples and 3 seeds, and the power of other designs is promised
    from them: the lift that 80% are to find, at 5% and as one of eight tests. So of types, with one type so far above
    the others.
    """
    found: dict[str, Any] = {}
    for parallel in ("full", "none"):
        for sd in (0.5, 1.5):
            base = Condition(parallel, sd=sd)
            parts = _components(base, known)
            for examples, seeds in ((150, 3), (400, 3), (150, 5)):
                for tests in (1, 8):
                    test = LiftTest(parts, Design(examples, seeds, len(CODES)), 0.05 / tests)
                    lift = smallest(test.power, 0.8)
                    if lift is None or lift > 25.0:
                        continue
                    condition = replace(base, examples=examples, seeds=seeds, lift=lift)
                    p = [row["p"] for row in _of_all(condition, sweeps)]
                    had = 100.0 * float(np.mean(np.array(p) < 0.05 / tests))
                    name = f"lift of {lift:.1f}: {base.name.replace('150 examples', f'{examples} examples')}"
                    found[f"{name.replace('3 seeds', f'{seeds} seeds')}, {tests} tests"] = (
                        f"promised 80.0, had {had:.1f}"
                    )
                    print(f"  {[*found.items()][-1]}", flush=True)
    for layout in ("default, 12", "XNLI, 14", "balanced, 20"):
        for sd in (1.0, 2.0):
            for tests in (1, 8):
                promised, had, apart = _types_power(layout, sd, 0.05 / tests, sweeps)
                found[f"types {apart:.1f} apart: {layout} languages, sd {sd:g}, {tests} tests"] = (
                    f"promised {promised:.1f}, had {had:.1f}"
                )
                print(f"  {[*found.items()][-1]}", flush=True)
    for layouts in POOLED:
        for sd in (1.0, 2.0):
            promised, had, stands, both, apart = _pooled_power(layouts, sd, sweeps)
            found[f"types {apart:.1f} apart: pooled over {' + '.join(layouts)} languages, sd {sd:g}"] = (
                f"promised {promised:.1f}, had {had:.1f}; with lineages kept together as well {stands:.1f}, {both:.1f}"
            )
            print(f"  {[*found.items()][-1]}", flush=True)
    return found


POOLED = (
    ("default, 12",) * 3,
    ("XNLI, 14", "MLQA, 6", "TyDi, 8"),
    ("PAN-X, 39", "XNLI, 14", "MLQA, 6"),
)
"""Targets whose types are asked about together: the same languages in all, or some that single targets have."""
SHARED = 0.5
"""Share of the variance between languages that a language has in all of them."""


def _of_all(condition: Condition, sweeps: int) -> list[dict[str, Any]]:
    """Return the rows of all languages together, one a sweep."""
    rows = []
    for first in range(0, sweeps, 50):
        resampled, groups, pairs = _resampled(first, min(first + 50, sweeps), condition)
        asked = estimands(resampled.statistics.languages, {"family": groups}, "family")[:1]
        rows += compare(resampled, asked, pairs)
    return rows


def _components(condition: Condition, sweeps: int) -> Components:
    """Return the mean of the components that some sweeps say."""
    parts = []
    for first in range(0, sweeps, 50):
        resampled, _, pairs = _resampled(first, min(first + 50, sweeps), condition)
        had = [components.components(resampled, [arm], baseline) for arm, baseline in pairs]
        parts += [one[0] for one in had if one is not None]
    return components.mean(parts)


def _types_power(layout: str, sd: float, alpha: float, sweeps: int) -> tuple[float, float, float]:
    """Return the power (%) promised for types apart by what 80% are to find, the power had, and the points apart."""
    table = Languages.read([ROOT / "workflow" / "catalog" / "languages.csv"])
    codes = sorted(LAYOUTS[layout].split())
    families, lineages = ({code: table.value(code, column) for code in codes} for column in ("family", "genealogy"))
    names = sorted(set(families.values()))
    sizes = tuple(list(families.values()).count(name) for name in names)
    # `_lifts`: examples' own 0.125; two arms of three runs, own and by chance 0.25 each.
    test = TypesTest(sizes, sd**2 + 0.125 + 2 * (0.25 + 0.25) / 3, alpha)
    apart = smallest(test.power, 0.8) or 100.0
    rng = np.random.default_rng([len(codes), round(10 * sd)])
    hits = []
    for sweep in range(sweeps):
        chosen = names[test.findable[sweep % len(test.findable)]]
        own = rng.normal(0.0, sd, len(codes)) + apart * np.array([families[code] == chosen for code in codes])
        observed = Observations.of([_lifts(rng, codes, own, 0.0)], families)
        typed = Typed(Problem(observed, LANGUAGES_ALONE, lineages), families)
        p = omnibus(typed, typology.Settings(seed=sweep))["p"]
        hits.append(p is not None and p < alpha)
    return 100.0 * test.power(apart), 100.0 * float(np.mean(hits)), apart


def _pooled_power(layouts: Sequence[str], sd: float, sweeps: int) -> list[float]:
    """Return promised and had power (%) of the one test over all targets; both again for this and lineages; points."""
    table = Languages.read([ROOT / "workflow" / "catalog" / "languages.csv"])
    held = {f"target{place}": sorted(LAYOUTS[layout].split()) for place, layout in enumerate(layouts)}
    codes = sorted({code for own in held.values() for code in own})
    families, lineages = ({code: table.value(code, column) for code in codes} for column in ("family", "genealogy"))
    names = sorted(set(families.values()))
    sizes = tuple(list(families.values()).count(name) for name in names)
    errors = 0.125 + 2 * (0.25 + 0.25) / 3  # as in `_types_power`
    parts = dict.fromkeys(held, (SHARED * sd**2, (1.0 - SHARED) * sd**2 + errors))
    targets = {code: [name for name in held if code in held[name]] for code in codes}
    variance = pooled_variance(parts, targets, families)
    test = TypesTest(sizes, variance, 0.05)
    apart = smallest(test.power, 0.8) or 100.0
    findable = [names[place] for place in test.findable]
    error = pooled_variance(dict.fromkeys(held, (0.0, errors)), targets, families)
    stands = stand(families, lineages, findable, (variance - error, error), apart, 0.05)
    rng = np.random.default_rng([len(codes), len(layouts), round(10 * sd)])
    single, both = [], []
    for sweep in range(sweeps):
        chosen = findable[sweep % len(findable)]
        everywhere = {code: rng.normal(0.0, sd * SHARED**0.5) + apart * (families[code] == chosen) for code in codes}
        blocks = [
            _lifts(rng, own, np.array([everywhere[code] for code in own]), sd * (1.0 - SHARED) ** 0.5)
            for own in held.values()
        ]
        observed = Observations.of(blocks, families)
        settings = typology.Settings(permutations=999, seed=sweep)
        p, kept = (
            omnibus(Typed(Problem(observed, random, lineages), families), settings)["p"]
            for random in (LANGUAGES_ALONE, LINEAGES)
        )
        single.append(p is not None and p < 0.05)
        both.append(single[-1] and kept is not None and kept < 0.05)
    had = [100.0 * float(np.mean(found)) for found in (single, both)]
    return [100.0 * test.power(apart), had[0], 100.0 * (stands or 0.0), had[1], apart]


def theory(repeats: int = 10_000, draws: int = 200) -> dict[str, Any]:
    """Share (%) of normal null data that is significant at 0.05, over a grid of the parts of the uncertainty.

    In units of the interaction's variance in the mean of one arm's runs: `examples` of the lift, `runs` of each arm.
    """
    found: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for seeds in (3, 5):
        for arms in (2, 1):
            for examples in (0, 2, 8):
                rates = []
                for runs in (0, 0.3, 1, 3, 10, 100):
                    known = examples + arms  # what resampling examples finds: their variance, and the interaction's
                    lift = rng.standard_normal(repeats) * np.sqrt(known + arms * runs)
                    values = rng.standard_normal((arms, seeds, repeats)) * np.sqrt(seeds * (1 + runs))
                    more = excess([component(one, np.full(repeats, float(seeds))) for one in values])
                    degrees = np.minimum(more.degrees, 1e6)
                    p = np.zeros(repeats)
                    for _ in range(draws):
                        t = rng.standard_normal(repeats) * np.sqrt(degrees / 2 / rng.standard_gamma(degrees / 2))
                        ends = np.abs(lift) + np.sqrt(more.variance) * np.stack([t, -t])
                        p += ndtr(-ends / np.sqrt(known)).sum(axis=0) / draws
                    rates.append(f"{100 * np.mean(p < 0.05):.1f}")
                varying = "both arms vary" if arms == 2 else "one arm varies"
                found[f"{seeds} seeds, {varying}, examples {examples}; runs 0, 0.3, 1, 3, 10, 100"] = " ".join(rates)
    return found


def skew(repeats: int = 2000) -> dict[str, Any]:
    """Measure coverage of 95% intervals of the mean of 40 skewed numbers (log-normal); the baseline scores 0."""
    truth = 100.0 * np.exp(0.5)
    ids = {"a": [f"{i:02d}" for i in range(40)]}
    counts = dict.fromkeys(("ci below", "ci above", "bca below", "bca above"), 0)
    for k in range(repeats):
        drawn = np.random.default_rng([k, 11]).lognormal(size=40)
        statistics = synthetic.statistics({("none", 0, "a"): np.zeros(40), ("task", 0, "a"): drawn}, ids)
        rows = tested(statistics, {"x": ["a"]}, resamples=2000, seed=k, resampling="examples")
        for kind in ("ci", "bca"):
            counts[f"{kind} below"] += rows[0][f"{kind}_high"] < truth
            counts[f"{kind} above"] += rows[0][f"{kind}_low"] > truth
    misses = {key: value / repeats for key, value in counts.items()}
    return {
        "percentile, coverage": round(1 - misses["ci below"] - misses["ci above"], 4),
        "BCa, coverage": round(1 - misses["bca below"] - misses["bca above"], 4),
        **{f"{key} the truth": round(value, 4) for key, value in misses.items()},
    }


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "speed": speed,
    "memory": memory,
    "loading": loading,
    "skew": skew,
    "theory": theory,
    "null": null,
    "types": types,
    "power": power,
}
SMALLEST = {
    "speed": {"examples": 100, "resamples": 1000},
    "memory": {"examples": 100, "resamples": 100},
    "loading": {"examples": 10, "count": 2},
    "skew": {"repeats": 5},
    "theory": {"repeats": 200, "draws": 5},
    "null": {"sweeps": 1},
    "types": {"sweeps": 1},
    "power": {"sweeps": 1, "known": 4},
}


def markdown(found: dict[str, Any]) -> str:
    """Return the results as Markdown: rates of the null sweeps as one table, each other part as a table of its own."""
    lines = ["# The significance engine, measured", ""]
    for name, values in found.items():
        lines += [f"## {name}", ""]
        if name == "null":
            lines += [f"Share (%) significant at 0.05, {' / '.join(COLUMNS)}.", ""]
            lines += [f"| condition | {' | '.join(SCOPES)} |", "|---|" + "---|" * len(SCOPES)]
            for condition, rates in values.items():
                lines.append(f"| {condition} | {' | '.join(_rates(rates, scope) for scope in SCOPES)} |")
        else:
            lines += ["| what | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run the parts named, print their tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--output", type=Path, default=Path("results/bench/bootstrap.json"))
    parser.add_argument("--smallest", action="store_true", help="at sizes that say nothing, to see that it runs")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes of the simulations")
    arguments = parser.parse_args()
    globals()["WORKERS"] = arguments.workers
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {sorted(unknown)[0]!r}; known: {', '.join(PARTS)}")
    try:
        found = json.loads(arguments.output.read_text())
    except FileNotFoundError:
        found = {}
    for name in arguments.parts or PARTS:
        print(name, flush=True)
        found[name] = PARTS[name](**(SMALLEST[name] if arguments.smallest else {}))
        if name != "null":
            for key, value in found[name].items():
                print(f"  {key:75s} {value}", flush=True)
        write_json(arguments.output, found)
        write_text(arguments.output.with_suffix(".md"), markdown(found))
    print(f"written: {arguments.output}; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
