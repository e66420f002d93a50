"""The figures of a report as tables for the terminal, made from the same dict as the page."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from sepiola.evaluation.figures import Figures
from sepiola.evaluation.report import page


def whole(table: Table) -> Table:
    """The table, so that no letter is lost in a narrow terminal: what does not fit goes on in the next line."""
    table.box, table.padding = SIMPLE_HEAD, (0, 1, 0, 0)
    for column in table.columns:
        column.overflow = "fold"
    return table


def terminal_tables(report: Figures) -> list[Table]:
    """The comparison and the other tables of a report (see `sepiola.evaluation.report.page.write_report`)."""
    tables = []
    rows = report.get("rows") or []
    if rows:
        table = _table("Comparison", ["System", "Accuracy", "95% interval", "Questions", "Unparsed"])
        for row in rows:
            share, interval = row.get("accuracy"), row.get("interval")
            count, unparsed = row.get("count"), row.get("unparsed")
            table.add_row(
                escape(str(row["name"])),
                "–" if share is None else f"{100 * share:.1f}",
                f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "",
                "" if count is None else f"{count:,}",
                "" if unparsed is None else f"{unparsed:,}",
            )
        tables.append(whole(table))
    for data in page.tables(report):
        table = _table(data["title"], ["System", *(column["name"] for column in data["columns"])])
        table.caption = data.get("caption") or None
        for line in data["lines"]:
            # The intervals stay in the report: a terminal is too narrow for them.
            cells = ["–" if cell is None else cell["value"] for cell in line["cells"]]
            name = f"{line['name']} (published)" if line["published"] else line["name"]
            table.add_row(escape(name), *cells, style="bold" if line["own"] else None)
        tables.append(whole(table))
    return tables


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if index == 0 else "right")
    return table
