"""A report's tables on the terminal hold the figures of its page."""

from __future__ import annotations

import io
from collections import Counter

from rich.console import Console
from rich.table import Table

from sepiola.evaluation.report.tables import terminal_tables, whole
from tests.evaluation.reports import REPORT, bucket


def test_terminal_tables_show_the_same_figures() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    report = REPORT | {
        "baselines": {},
        "rows": [{"name": "[bold]eyes", **bucket(0.8), "unparsed": 77}],
        "prompts_cut": 5,
    }
    for table in terminal_tables(report):
        console.print(table)
    text = console.export_text()
    for part in (
        "[bold]eyes",
        "70.0 to 90.0",
        "Human (published)",
        "88.4",
        "Ours",
        "81.2",
        "77",
        "Unparsed: 3 of 424",
        "model reads: 5",
    ):
        assert part in text


def test_a_narrow_terminal_loses_no_letter() -> None:
    console = Console(width=40, record=True, file=io.StringIO())
    table = Table("95% interval", "accuracy", "instructblip-flan-t5-xl")
    table.add_row("16.4–36.1", "100.0%", "nearest neighbour")
    console.print(whole(table))
    text = console.export_text()
    assert "…" not in text and all(len(line) <= 40 for line in text.splitlines())
    letters = Counter(text.replace("─", "").replace(" ", "").replace("\n", ""))
    assert letters == Counter("95%intervalaccuracyinstructblip-flan-t5-xl16.4–36.1100.0%nearestneighbour")
