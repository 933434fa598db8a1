"""The paragraph of methods follows from the settings, and its references are BibTeX that a parser of our own reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from report_fixtures import Row, comparison, description, positive, write_lift
from stiltsweep.files import write_json
from stiltsweep.report import methods
from stiltsweep.report.results import Results
from stiltsweep.report.run import read_run

NEEDED = {"article": {"author", "title", "journal", "volume", "pages", "year"}, "misc": {"author", "title", "note"}}


def parsed(text: str) -> dict[str, dict[str, str]]:
    """Read BibTeX: key -> fields and `type`; what is no entry, or an unbalanced brace, fails."""
    found: dict[str, dict[str, str]] = {}
    at = 0
    while at < len(text):
        opening = re.match(r"\s*@(\w+)\{(\w+)", text[at:])
        assert opening, text[at : at + 60]
        at += opening.end()
        fields = {"type": opening[1]}
        assert opening[2] not in found
        while field := re.match(r"\s*,\s*(\w+)\s*=\s*\{", text[at:]):
            at += field.end()
            start, depth = at, 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            assert field[1] not in fields
            fields[field[1]] = text[start : at - 1]
        closing = re.match(r"\s*\}\s*", text[at:])
        assert closing, text[at : at + 60]
        at += closing.end()
        found[opening[2]] = fields
    return found


def written(tmp_path: Path, rows: list[Row], **settings: object) -> str:
    run = description()
    run["significance"] |= settings
    write_json(tmp_path / "run.json", run)
    lift = write_lift(tmp_path / "significance/lift.csv", rows)
    return methods.paragraph(Results.read(read_run(tmp_path / "run.json"), tmp_path, lift))


def test_every_reference_parses_and_is_named():
    text = "; ".join(methods._REFERENCES)
    found = parsed(methods.bibtex(text))
    assert len(found) == len(methods._REFERENCES) + 1
    for key, fields in found.items():
        assert NEEDED[fields["type"]] <= fields.keys(), key
        if fields["type"] == "article":
            assert key.endswith(fields["year"])
            assert key.startswith(fields["author"].split(",")[0].lower().replace(" ", ""))
            first, last = map(int, fields["pages"].split("--"))
            assert first < last
            named = [name for name in methods._REFERENCES if fields["author"].split(",")[0] in name]
            assert [fields["year"] in name for name in named] == [True]


def test_entries_are_those_of_the_paragraph(tmp_path):
    found = parsed(methods.bibtex(written(tmp_path, [positive(resampling="examples")], resampling="examples")))
    assert set(found) == {"holm1979", "schuirmann1987", "stiltsweep"}
    found = parsed(methods.bibtex(written(tmp_path, [positive()])))
    assert {"raowu1988", "owen2007", "mccullagh2000", "welch1947"} < set(found)
    assert "viechtbauer2010" not in found  # nothing was asked of types


@pytest.mark.parametrize(
    ("settings", "row", "said", "unsaid"),
    [
        ({"confidence": 0.9}, {}, "Intervals (90%)", "95%"),
        ({"resamples": 2500}, {}, "2,500 paired bootstrap draws", "500 paired bootstrap draws of t "),
        ({"margin": 0.5}, {}, "no more than 0.5 points", "no more than 1"),
        ({}, {}, "no more than 1 point where", "points where"),
        ({"pair_seeds": False}, {}, "degrees of freedom.", "are pairs"),
        ({}, {}, "runs that share a seed are pairs", "of the languages of a group"),
        # One seed: the row says what was drawn, the setting what was asked for.
        ({}, {"resampling": "examples"}, "share them.", "training runs"),
        ({}, {"resampling": "examples+seeds+languages"}, "and of the languages of a group", "tail"),
        ({}, {"p_fitted": "true"}, "a tail fitted to the draws", "clusters of them"),
        ({}, {"n_clusters": 40}, "(clusters of them for intent)", "tail"),
    ],
)
def test_paragraph_follows_the_settings(tmp_path, settings, row, said, unsaid):
    text = written(tmp_path, [comparison(**row)], **settings)
    assert said in text
    assert unsaid not in text
