from __future__ import annotations

import csv
import io
import math

import pytest

from tcae.experiments.tables import Table, TableRow, as_csv, latex, markdown, write_table

TABLE = Table(
    "F1 of 5 % & more",
    ("1", "ave"),
    (
        TableRow("raw pixels", "descriptor", (0.25, 0.5), "ours", 0.4, 0.6),
        TableRow("SIFT", "descriptor", (math.nan, 0.123456789), "paper"),
        TableRow("no_cycles", "ours alone", (1.0, 0.0)),
    ),
)


def test_csv_has_plain_numbers():
    rows = list(csv.DictReader(io.StringIO(as_csv(TABLE))))
    assert [r["row"] for r in rows] == ["raw pixels", "SIFT", "no_cycles"]
    assert rows[0] == {
        "group": "descriptor",
        "row": "raw pixels",
        "source": "ours",
        "1": "0.25",
        "ave": "0.5",
        "low": "0.4",
        "high": "0.6",
    }
    assert rows[1]["1"] == "" and rows[1]["ave"] == "0.123457" and rows[1]["source"] == "paper"


def test_markdown_is_times_100_and_names_a_group_once():
    lines = markdown(TABLE).splitlines()
    assert lines[0] == TABLE.caption
    assert lines[2:] == [
        "|  |  | 1 | ave | 95 % |",
        "|---|---|---:|---:|---:|",
        "| descriptor | raw pixels | 25.0 | 50.0 | 40.0..60.0 |",
        "|  | *SIFT (paper)* | - | 12.3 |  |",
        "| ours alone | no_cycles | 100.0 | 0.0 |  |",
    ]


def test_latex_escapes_and_separates_groups():
    text = latex(TABLE)
    assert r"\caption{F1 of 5 \% \& more}" in text
    assert r"no\_cycles & 100.0 & 0.0 &  \\" in text
    assert r"\textit{SIFT (paper)} & - & 12.3" in text
    assert text.count(r"\midrule") == 2  # under the head, and between the groups
    assert text.count("&") - text.count(r"\&") == 4 * 4  # five columns in each of four rows


def test_other_numbers_are_as_they_are(tmp_path):
    table = Table("a", ("steps", "ratio"), (TableRow("x", "", (1500.0, 0.0123456)),), percent=False)
    # No line has an interval, so there is no column for it.
    assert markdown(table).splitlines()[2:] == [
        "|  |  | steps | ratio |",
        "|---|---|---:|---:|",
        "|  | x | 1500 | 0.01235 |",
    ]
    assert latex(table).count("&") == 2 * 3 and r"\begin{tabular}{llrr}" in latex(table)
    write_table(tmp_path / "tables", "some", table)
    names = sorted(path.name for path in (tmp_path / "tables").iterdir())
    assert names == ["some.csv", "some.md", "some.tex"]


@pytest.mark.parametrize("render", [as_csv, markdown, latex])
def test_empty_tables_are_tables(render):
    assert render(Table("nothing", ("1",), ())).strip()
