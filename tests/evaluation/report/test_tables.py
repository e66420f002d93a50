"""A report's tables on the terminal hold the figures of its page."""

from __future__ import annotations

import io

from rich.console import Console

from sepiola.evaluation.report.tables import terminal_tables
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
