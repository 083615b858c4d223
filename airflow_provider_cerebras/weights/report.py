"""The report of a check: its findings, and the contents of the weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.weights.findings import Finding, Level, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_cerebras.weights.safetensors import Header


@dataclass(frozen=True)
class Report:
    """The outcome of a check.

    :param weight_uri: where the weights are.
    :param model_arch_id: the architecture that they are meant for.
    :param checks: names of the checks that were made.
    :param findings: errors first, then warnings, then what is all right.
    :param files: number of objects under the prefix.
    :param bytes: their size in bytes.
    :param tensors: number of tensors of the model.
    :param parameters: number of elements of the tensors by dtype. An element of a dtype that packs several parameters
        into one counts once.
    :param digest: the digest of the weights; None: there are none.
    """

    weight_uri: str
    model_arch_id: str
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    files: int
    bytes: int
    tensors: int
    parameters: Mapping[str, int]
    digest: str | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that fail the check."""
        return tuple(each for each in self.findings if each.level is Level.ERROR)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "weight_uri": self.weight_uri,
            "model_arch_id": self.model_arch_id,
            "checks": list(self.checks),
            "findings": [{**each._asdict(), "level": each.level.value} for each in self.findings],
            "files": self.files,
            "bytes": self.bytes,
            "tensors": self.tensors,
            "parameters": dict(self.parameters),
            "digest": self.digest,
        }

    def table(self) -> str:
        """The report for a person: a row for each finding, and a line for what the weights consist of."""
        rows = [(each.level.value, each.code, place_of(each), each.message) for each in self.findings]
        head = ("level", "code", "object", "message")
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(3)]
        lines = [
            "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]))
            for row in (head, *rows)
        ]
        parameters = ", ".join(f"{count:,} {plain(dtype)}" for dtype, count in self.parameters.items()) or "none"
        return "\n".join(
            (
                f"Weights at {self.weight_uri} for {self.model_arch_id}:",
                *lines,
                f"{self.files:,} files, {self.bytes:,} bytes, {self.tensors:,} tensors; parameters: {parameters}",
                f"digest: {self.digest or 'none'}",
            )
        )

    def summary(self, count: int = 3) -> str:
        """The first errors as text, and the number of further ones.

        :param count: how many to name.
        """
        errors = self.errors
        named = " ".join(f"({number}) {said(each)}" for number, each in enumerate(errors[:count], 1))
        more = f" And {len(errors) - count} more: see the table in the log." if len(errors) > count else ""
        return f"{len(errors)} {'error' if len(errors) == 1 else 'errors'}: {named}{more}"


def place_of(found: Finding) -> str:
    """The object and the tensor that a finding is about.

    :param found: the finding.
    """
    return " ".join(each for each in (found.object or "", found.tensor and f"[{found.tensor}]") if each)


def said(found: Finding) -> str:
    """A finding as text.

    :param found: the finding.
    """
    place = place_of(found)
    return f"{place}: {found.code}: {found.message}" if place else f"{found.code}: {found.message}"


def parameters_by_dtype(headers: Iterable[Header]) -> dict[str, int]:
    """The number of elements of the tensors by dtype.

    :param headers: the headers of the model's files.
    """
    counts: Counter[str] = Counter()
    for header in headers:
        for tensor in header.tensors.values():
            counts[tensor.dtype] += tensor.elements
    return dict(sorted(counts.items()))
