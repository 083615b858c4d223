"""Writes docs/compatibility-matrix.md from what the matrix of Airflow and Python has found.

``python -m tests.compatibility 3.3.2-3.13 ...`` names the pairs that there are; each has left a file of JUnit's in
``.nox/compatibility``, or was not run.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

RESULTS = Path(".nox/compatibility")
PAGE = Path("docs/compatibility-matrix.md")
HEAD = """\
<!-- Written by `make test-matrix`, and a part of compatibility.md. -->

The integration tests, which run real DAGs against the emulator, on the newest patch of each minor version of Airflow
(skipped is what needs a later one):
"""


def outcome(result: Path) -> str:
    """What came of a pair, in a few words.

    :param result: file of JUnit's.
    """
    if not result.exists():
        return "not run"
    suite = next(ET.parse(result).getroot().iter("testsuite"))
    count, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    words = f"{count - skipped - failed} passed"
    words += f", {skipped} skipped" if skipped else ""
    return f"**{failed} failed**, {words}" if failed else words


def page(outcomes: dict[tuple[str, str], str]) -> str:
    """The page.

    :param outcomes: what came of each pair of Airflow and Python.
    """
    airflows = list(dict.fromkeys(airflow for airflow, _ in outcomes))
    pythons = sorted({python for _, python in outcomes})
    lines = [
        f"| Airflow | {' | '.join(f'Python {python}' for python in pythons)} |",
        "|---|" + "---|" * len(pythons),
    ]
    for airflow in airflows:
        cells = [outcomes.get((airflow, python), "not supported by Airflow") for python in pythons]
        lines.append(f"| {airflow} | {' | '.join(cells)} |")
    return "\n".join([HEAD, *lines, ""])


def main(pairs: list[str]) -> None:
    """Write the page.

    :param pairs: each as ``<Airflow>-<Python>``.
    """
    outcomes = {}
    for pair in pairs:
        airflow, python = pair.split("-")
        outcomes[airflow, python] = outcome(RESULTS / f"{pair}.xml")
    PAGE.write_text(page(outcomes), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
