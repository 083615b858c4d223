"""Storing results in parts, and reading them after the task was killed.

A part is written once and never changed, as object stores want it. Each attempt names its parts by its own number, so
that two attempts that run at once overwrite nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Protocol

from airflow_provider_cerebras.evaluation.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from pydantic import JsonValue

_PART = re.compile(r"results-\d+-\d+\.jsonl")


class Folder(Protocol):
    """The methods of ``pathlib.Path`` and of Airflow's ``ObjectStoragePath`` that are used."""

    @property
    def name(self) -> str:
        """The last part of the path."""

    def __truediv__(self, name: str, /) -> Self:
        """Return the path of something in it."""

    def exists(self) -> bool:
        """Return whether it is there."""

    def iterdir(self) -> Iterable[Self]:
        """Return the paths of its files."""

    def read_text(self, encoding: str, /) -> str:
        """Return the content of a file."""

    def write_text(self, data: str, /, encoding: str) -> object:
        """Write a file."""


def highest_number(root: Folder, name: str) -> int:
    """Return the highest number of the folders ``<name>-<number>``.

    :param root: where they lie.
    :param name: what their names begin with.
    :return: -1 if there is none.
    """
    if not root.exists():
        return -1
    numbers = (re.fullmatch(rf"{re.escape(name)}-(\d+)", path.name) for path in root.iterdir())
    return max((int(number[1]) for number in numbers if number), default=-1)


class ResultStore:
    """The results of one evaluation.

    :param folder: belongs to this evaluation of this task run alone.
    :param attempt: number of the attempt.
    :ivar folder: the folder.
    """

    def __init__(self, folder: Folder, attempt: int) -> None:
        self.folder = folder
        self._attempt = attempt
        self._part = 0

    def begin(self, description: Mapping[str, JsonValue]) -> None:
        """Write what is evaluated, which also shows before the first question that the folder can be written.

        :param description: for people.
        """
        self._write("evaluation.json", json.dumps(description, indent=2) + "\n")

    def read(self) -> Iterator[Result]:
        """Return the results that earlier attempts have stored; what cannot be read is left out."""
        if not self.folder.exists():
            return
        for path in sorted(self.folder.iterdir(), key=lambda each: each.name):
            if _PART.fullmatch(path.name):
                for line in path.read_text("utf-8").split("\n"):
                    if (result := Result.from_line(line)) is not None:
                        yield result

    def write_part(self, results: Sequence[Result]) -> None:
        """Store results.

        :param results: at least one.
        """
        name = f"results-{self._attempt:03}-{self._part + 1:06}.jsonl"
        self._write(name, "".join(f"{result.to_line()}\n" for result in results))
        self._part += 1

    def write_report(self, summary: Mapping[str, JsonValue], markdown: str) -> None:
        """Store the summary and the report.

        :param summary: see :func:`~airflow_provider_cerebras.evaluation.report.summarize`.
        :param markdown: see :func:`~airflow_provider_cerebras.evaluation.report.to_markdown`.
        """
        self._write("summary.json", json.dumps(summary, indent=2) + "\n")
        self._write("report.md", markdown)

    def _write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content, encoding="utf-8")
