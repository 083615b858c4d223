"""Tables of plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> str:
    """Align the cells of the rows in columns; with a header, there is a line below it."""
    widths = [max(len(cell) for cell in column) for column in zip(*([header] if header else []), *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    rule = ["-" * width for width in widths]
    return "\n".join(line(row) for row in [*([header, rule] if header else []), *rows])
