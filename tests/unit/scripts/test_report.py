from __future__ import annotations

from report import table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table([("deploy", "success", "0.5"), ("wait_for_sync", "failed", "9.1")]).splitlines() == [
        "  deploy         success  0.5",
        "  wait_for_sync  failed   9.1",
    ]


def test_a_header_counts_for_the_width_and_has_a_line_below_it() -> None:
    assert table([("a", "b")], header=("task", "state")).splitlines() == [
        "  task  state",
        "  ----  -----",
        "  a     b",
    ]
