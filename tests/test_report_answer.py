"""The sentences of the report follow from planted numbers."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report_fixtures import (
    FIELDS,
    NOTE,
    Row,
    comparison,
    contrast,
    description,
    in_group,
    negative,
    not_available,
    positive,
    write_lift,
)
from stiltsweep.errors import UserError
from stiltsweep.files import write_json
from stiltsweep.report import morphology, text
from stiltsweep.report.answer import Answer, answer
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run
from stiltsweep.significance.comparison import Comparison
from stiltsweep.significance.table import read_csv
from stiltsweep.typology import Omnibus


def answered(tmp_path: Path, rows: list[Row], **run: Any) -> Answer:
    write_json(tmp_path / "run.json", description(**run))
    lift = write_lift(tmp_path / "significance/lift.csv", rows)
    return answer(Results.read(read_run(tmp_path / "run.json"), tmp_path, lift))


def details(found: Answer, question: str) -> str:
    (point,) = [point for point in found.points if question in point.question]
    return "\n".join([point.sentences, *(f"{detail.label}: {detail.text}" for detail in point.details)])


def questions(found: Answer) -> str:
    return " ".join(point.question for point in found.points)


def test_gain_is_named_with_its_numbers(tmp_path):
    found = answered(tmp_path, [positive(), comparison(intermediate="typing")])
    assert (
        found.verdict
        == "English intermediate training helped significantly in 1 of 2 comparisons and hurt significantly in none."
    )
    assert "9 transfer languages (3 seeds; Holm-corrected" in found.summary
    assert "1 comparison is not settled" in found.summary
    said = details(found, "over all transfer languages")
    assert "pairs → intent: +3.1 points (95% interval [1.2, 5.1], p = 0.004 after Holm; 9 languages, 3 seeds" in said
    assert "not evidence of no effect" in said
    assert "2.8 points" in said


def test_loss_is_a_loss(tmp_path):
    found = answered(tmp_path, [negative(), negative(intermediate="typing")])
    assert found.verdict == "English intermediate training hurt significantly in all 2 comparisons."
    assert "−2.8 points" in details(found, "over all")
    assert "p < 0.001" in details(found, "over all")


def test_gains_and_losses(tmp_path):
    found = answered(tmp_path, [positive(), negative(intermediate="typing")])
    assert found.verdict.endswith("helped significantly in 1 of 2 comparisons and hurt significantly in 1.")


def test_the_only_comparison(tmp_path):
    assert answered(tmp_path, [positive()]).verdict.endswith("helped significantly in the one comparison made.")


def test_nothing_significant_is_no_proof_of_nothing(tmp_path):
    found = answered(tmp_path, [comparison(), comparison(intermediate="typing", detectable_lift=4.25)])
    assert "No significant effect" in found.verdict
    assert "no proof" in found.verdict
    assert "find with 80% power, before correction: 2.8 to 4.2 points; after it: 3.4." in details(found, "over all")


def test_significance_is_judged_after_correction(tmp_path):
    found = answered(tmp_path, [positive(p=0.03, p_holm=0.06)])
    assert "No significant effect" in found.verdict


def test_every_target_and_arm_has_a_line(tmp_path):
    within = comparison(intermediate="typing", conclusion="no more than the margin")
    found = answered(tmp_path, [positive(contaminated="true"), within])
    assert [(line.arm, line.conclusion) for line in found.lines] == [
        ("pairs †", "helped"),
        ("typing", "no more than 1 either way"),
    ]
    assert "intent 0.90" in details(found, "How sure")


def test_level_is_the_configured_one(tmp_path):
    tests = description()["significance"] | {"confidence": 0.99}
    found = answered(tmp_path, [positive(p_holm=0.02)], significance=tests)
    assert "No significant effect" in found.verdict
    assert "at the 1% level" in found.summary


def test_contaminated_gain_does_not_count(tmp_path):
    found = answered(tmp_path, [positive(contaminated="true"), comparison(intermediate="typing")])
    assert "No significant effect of English intermediate training was found in 1 comparison;" in found.verdict
    assert "Not counted, contaminated: 1 comparison, marked † in the tables." in details(found, "over all")


def test_what_is_corrected_over_is_what_was_tested(tmp_path):
    """Holm's family has the contaminated pairs and the controls, too, which the answer does not count."""
    rows = [positive(), comparison(intermediate="typing", contaminated="true")]
    rows += [comparison(intermediate="pairs+steps_matched"), not_available("no run", intermediate="nli")]
    arms = ("pairs", "typing", "pairs+steps_matched", "nli")
    said = answered(tmp_path, rows, intermediates=arms).summary
    assert "Holm-corrected over 3 tests, those of controls and contaminated pairs among them, at the 5% level" in said
    assert "Holm-corrected over all of them at the 5% level" in answered(tmp_path, rows[:1]).summary


def test_nothing_tested_says_why(tmp_path):
    found = answered(tmp_path, [not_available("every run is at chance")])
    assert found.headline == "No comparison over all transfer languages could be tested. every run is at chance."


def test_empty_table(tmp_path):
    found = answered(tmp_path, [])
    assert "could be tested" in found.verdict


def test_families(tmp_path):
    rows = [
        in_group(positive(languages="fi hu"), "agglutinative"),
        in_group(comparison(intermediate="typing", languages="fi hu"), "agglutinative"),
        in_group(comparison(languages="de ru"), "fusional"),
        in_group(not_available("no language of this group"), "introflexive"),
    ]
    said = details(answered(tmp_path, [comparison(), *rows]), "grouped by family")
    assert (
        "agglutinative (fi hu): of 2 comparisons, significantly up in 1 (pairs → intent +3.1) and down in none." in said
    )
    assert "fusional (de ru): no significant lift in 1 comparison." in said
    assert "introflexive: n/a. no language of this group." in said


def test_contrasts_significant(tmp_path):
    rows = [contrast(negative()), contrast(comparison(intermediate="typing"))]
    said = details(answered(tmp_path, [comparison(), *rows]), "differ between")
    assert "1 of 2 contrasts is significant after Holm" in said
    assert "pairs → intent: the lift in agglutinative is 2.8 points lower than in fusional" in said
    assert "1 contrast not settled" in said


def test_contrasts_not_significant(tmp_path):
    said = details(answered(tmp_path, [comparison(), contrast(comparison())]), "differ between")
    assert (
        "None of 1 contrast is significant after Holm: no evidence that the lift depends on the group, and no" in said
    )


def test_other_groupings_are_not_the_families(tmp_path):
    script = comparison(scope="group", grouping="script", group="Latn")
    assert "grouped by" not in questions(answered(tmp_path, [comparison(), script]))


def test_models_are_named_where_there_are_several(tmp_path):
    found = answered(tmp_path, [positive(), positive(model="other")], models=("tiny", "other"))
    assert "other, pairs → intent: +3.1" in details(found, "over all")


def test_comparisons_of_other_sweeps_are_not_read(tmp_path):
    found = answered(tmp_path, [comparison(), positive(target="gone"), positive(intermediate="gone")])
    assert "No significant effect" in found.verdict


def test_long_lists_are_cut(tmp_path):
    names = [f"task{i}" for i in range(8)]
    found = answered(tmp_path, [positive(intermediate=name) for name in names], intermediates=names)
    assert "and 3 more, in the table." in details(found, "over all")


def test_examples_alone_would_say_more(tmp_path):
    rows = [positive(), comparison(intermediate="typing", p=0.2, examples_p=0.01)]
    said = details(answered(tmp_path, rows), "How sure")
    assert (
        "in 2 of 2 comparisons over all languages and by group; with examples and seeds resampled it stays below in 1"
        in said
    )
    assert "With 3 seeds" in said


def test_conditional_results_are_called_so(tmp_path):
    tests = description()["significance"] | {"resampling": "examples"}
    rows = [positive(resampling="examples")]
    assert "conditional on the models that were trained" in details(
        answered(tmp_path, rows, significance=tests), "How sure"
    )


def test_with_one_seed_no_seeds_are_said_to_be_drawn(tmp_path):
    """Asked for were examples and seeds; of one run there is nothing to draw, and the rows say so."""
    rows = [positive(n_seeds=1, resampling="examples"), comparison(n_seeds=1, resampling="examples", target="slots")]
    said = details(answered(tmp_path, rows, seeds=(0,), targets=("intent", "slots")), "How sure")
    assert "paired bootstrap over examples (500 resamples)" in said and "seeds resampled" not in said
    assert "Every result is conditional on the models that were trained" in said
    # Where some rows draw seeds, the comparison of the two levels is of these.
    both = details(answered(tmp_path, [positive(), rows[1]], targets=("intent", "slots")), "How sure")
    assert "over examples and seeds (500 resamples)" in both
    assert "in 1 of 1 comparison over all languages and by group; with examples and seeds resampled" in both


def test_one_seed_is_a_warning(tmp_path):
    assert "rest on one seed" in details(answered(tmp_path, [positive(n_seeds=1)], seeds=(0,)), "How sure")


def test_what_to_keep_in_mind(tmp_path):
    said = details(answered(tmp_path, [comparison(missing="tiny/none/intent/seed0/fi")]), "keep in mind")
    assert f"Every target: {NOTE}" in said
    assert "90 of 90 cells are missing" in said
    assert "left out of these comparisons (the table says which): pairs → intent." in said
    assert "1 part of the grid is not built" in said
    assert "never counts as a transfer language" in said


def test_controls_are_no_findings_and_are_compared_with(tmp_path):
    """An arm and its control both gain; the answer counts the arm only, and says that nothing is left of it."""
    columns = list(FIELDS)
    columns.insert(columns.index("intermediate") + 1, "against")
    write_lift(tmp_path / "significance/controls.csv", [comparison() | {"against": "pairs+steps_matched"}], columns)
    control = "pairs+steps_matched"
    found = answered(
        tmp_path, [positive(), positive(intermediate=control)], intermediates=("pairs", "pairs+steps_matched")
    )
    assert found.verdict.endswith("helped significantly in the one comparison made.")
    said = details(found, "or more training")
    assert "pairs against pairs+steps_matched: no significant difference in 1 comparison." in said
    assert "or more training" not in questions(answered(tmp_path / "other", [positive()]))


def test_flipped_conclusions(tmp_path):
    fields = [
        "variant",
        "relabelled",
        *(name for name in FIELDS if name != "p_bh"),
        "main_lift",
        "main_p_holm",
        "flips",
    ]
    row = in_group(comparison(), "agglutinative") | {"variant": "all-relabelled", "relabelled": "et fa"}
    flipped = row | {"main_lift": 3.3, "main_p_holm": 0.01, "flips": "true"}
    same = row | {"main_lift": 0.4, "main_p_holm": 0.9, "flips": "false", "intermediate": "typing"}
    # A group with the same languages under both labellings has one test, and it is not made again.
    untouched = in_group(comparison(languages="ar he"), "introflexive")
    kept = untouched | {"variant": "all-relabelled", "relabelled": "et fa", "main_lift": 0.5, "main_p_holm": 1.0}
    write_lift(tmp_path / "significance/sensitivity.csv", [flipped, same, kept | {"flips": "false"}], fields)
    said = details(answered(tmp_path, [comparison(), untouched]), "disputed labels")
    assert "Of 2 tests made again with disputed labels left out or changed (et fa), 1 changes its conclusion" in said
    assert "pairs → intent, agglutinative: +0.5 points (p = 1.000 after Holm) instead of +3.3 (p = 0.010)" in said


@pytest.mark.parametrize(
    ("value", "written"), [(1.25, "+1.2"), (-0.04, "0.0"), (0.04, "0.0"), (-3.26, "−3.3"), (None, "n/a")]
)
def test_lift_is_written_with_its_sign(value, written):
    assert text.lift(value) == written


@pytest.mark.parametrize(("value", "written"), [(0.0001, "<0.001"), (0.0456, "0.046"), (1.0, "1.000"), (None, "n/a")])
def test_p_is_never_zero(value, written):
    assert text.probability(value) == written


def test_lists_and_counts():
    assert text.listed([]) == ""
    assert text.listed(["a"]) == "a"
    assert text.listed(["a", "b", "c"]) == "a, b and c"
    assert text.count(1, "seed") == "1 seed"
    assert text.counts([3, 3], "seed") == "3 seeds"
    assert text.counts([9, 12], "language") == "9 to 12 languages"
    assert text.span([1.24, 1.21]) == "1.2"


def test_missing_column_is_named(tmp_path):
    path = write_lift(tmp_path / "lift.csv", [comparison()], [name for name in FIELDS if name != "p_holm"])
    with pytest.raises(UserError, match="p_holm"):
        read_csv(path, Comparison)


def test_bad_number_is_placed(tmp_path):
    path = write_lift(tmp_path / "lift.csv", [comparison(), comparison(lift="much")])
    with pytest.raises(UserError, match="line 3"):
        read_csv(path, Comparison)


def test_unknown_key_of_the_run_description_is_named(tmp_path):
    write_json(tmp_path / "run.json", description(colour="blue"))
    with pytest.raises(UserError, match="colour"):
        read_run(tmp_path / "run.json")


def test_what_is_within_the_margin_is_not_called_open(tmp_path):
    """In the summary and its details, by family and of contrasts; with findings beside it and without."""

    def both(**more: str) -> list[Row]:
        small = comparison(intermediate="pairs", conclusion="no more than the margin", **more)
        return [small, comparison(intermediate="typing", conclusion="not settled", **more)]

    groups = [in_group(row, "fusional") for row in both(languages="de ru")]
    contrasts = [contrast(row) for row in both()]
    found = answered(tmp_path / "none", [*both(), *groups, *contrasts])
    told = "1 comparison is shown to be no more than 1 point either way."
    assert found.summary.endswith(f"{told} 1 comparison is not settled.")
    said = details(found, "over all transfer languages")
    assert "1 comparison no more than 1 either way: pairs → intent" in said and "1 comparison not settled: " in said
    assert f"no significant lift in 2 comparisons. {told}" in details(found, "grouped by family")
    said = details(found, "differ between")
    assert "1 contrast is shown to be no more than 1 point either way" in said

    beside = contrast(negative(model="other"))
    found = answered(tmp_path / "one", [comparison(), *contrasts, beside], models=("tiny", "other"))
    said = details(found, "differ between")
    assert "1 contrast no more than 1 either way: " in said and "1 contrast not settled: " in said


def test_a_large_sweep_ranks_arms_and_names_the_largest(tmp_path):
    """More than two dozen comparisons: arms by their mean over targets, model by model; what holds first."""
    models, arms, targets = ("m-1", "m-2"), ("a", "b", "c"), tuple(f"t-{i}" for i in range(5))
    rows = [
        comparison(model=m, intermediate=a, target=t, lift=0.1 * i)
        for m in models
        for i, a in enumerate(arms)
        for t in targets
    ]
    rows[3] = positive(model="m-1", intermediate="a", target="t-3", lift=2.0)
    rows[4] = comparison(model="m-1", intermediate="a", target="t-4", lift=-5.0)
    means = [
        comparison(model=m, intermediate=a, target="all", scope="targets", lift=lift, reason=reason)
        for m in models
        for a, lift, reason in (("a", 0.2, "5 targets"), ("b", 1.2, "5 targets"), ("c", 0.7, "4 targets; t-1 left out"))
    ]
    found = answered(tmp_path, rows + means, models=models, intermediates=arms, targets=targets)
    assert [(one.model, one.targets) for one in found.rankings] == [("m-1", "5 targets"), ("m-2", "5 targets")]
    for ranking in found.rankings:
        assert [(line.arm, line.lift, line.remark) for line in ranking.lines] == [
            ("b", "+1.2", ""),
            ("c", "+0.7", "4 targets; t-1 left out"),
            ("a", "+0.2", ""),
        ]
    assert [(line.target, line.lift) for line in found.largest[:2]] == [("t-3", "+2.0"), ("t-4", "−5.0")]
    assert len(found.largest) == 3
    assert len(found.lines) == 30


def test_tests_of_types_that_could_not_be_made_are_not_made_again() -> None:
    row = Omnibus(**{field.name: "" for field in fields(Omnibus)})  # type: ignore[arg-type]
    row = replace(row, labelling="as labelled", random="languages", p=0.2, flips=False)
    first, second = row, replace(row, target="slots")
    row = replace(row, labelling="all-relabelled", relabelled=("fi",))
    # A target whose languages all keep their labels, and one whose test could not be made with the first labels.
    same, new = replace(row, target="slots", relabelled=()), replace(row, target="qa")
    made = [first, second, row, replace(row, flips=True), replace(row, p=None), same, new]
    results: Any = SimpleNamespace(omnibus=made, types=[])
    assert morphology.details(results) == [
        ("Disputed labels", "2 tests made again (all relabelled); 1 conclusion changed.")
    ]
    results.omnibus = [first, second, replace(row, p=None), same]
    assert morphology.details(results) == []
