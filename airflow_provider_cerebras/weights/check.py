"""The whole check of weights: what is read, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cerebras.weights.config import examine_config
from airflow_provider_cerebras.weights.digest import digest_of
from airflow_provider_cerebras.weights.files import Model, examine_files
from airflow_provider_cerebras.weights.findings import Finding, Level, bounded, finding
from airflow_provider_cerebras.weights.index import examine_index
from airflow_provider_cerebras.weights.report import Report, parameters_by_dtype

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_provider_cerebras.weights.description import Description

CHECKS = ("files", "index", "config", "values", "bucket")
"""What can be checked. ``values`` needs a sample of the weights, ``bucket`` a role."""


def examine(
    description: Description, model_arch_id: str, checks: Collection[str] = ("files", "index", "config")
) -> tuple[Model, list[Finding]]:
    """Make the checks that need a listing and the first bytes of objects, and nothing else.

    :param description: the listing and the first bytes of the objects.
    :param model_arch_id: the architecture that the weights are meant for.
    :param checks: which of them to make.
    :returns: the files that the model is made of, and the findings.
    """
    model, of_the_files = examine_files(description)
    found = [*of_the_files] if "files" in checks else []
    if "files" in checks and not any(each.level is Level.ERROR for each in of_the_files):
        what = f"Files of weights that have the size that their headers say: {len(model.shards)}."
        found.append(finding("files", what))
    if not description.listing.objects:
        return model, found
    if "index" in checks:
        of_the_index = list(examine_index(description, model))
        found += of_the_index
        if model.weight_map:
            found += _sound(of_the_index, "index", f"{len(model.weight_map)} tensors are where it says.")
    if "config" in checks:
        of_the_config = list(examine_config(description, model, model_arch_id))
        found += of_the_config
        found += _sound(of_the_config, "config", "It and the tensors do not contradict each other.")
    return model, found


def report_of(
    description: Description, model: Model, model_arch_id: str, checks: Iterable[str], findings: Iterable[Finding]
) -> Report:
    """Put a report together.

    :param description: the listing and the first bytes of the objects.
    :param model: the files that the model is made of.
    :param model_arch_id: the architecture that the weights are meant for.
    :param checks: the checks that were made.
    :param findings: what they found.
    """
    objects = description.listing.objects
    parameters: Mapping[str, int] = parameters_by_dtype(model.headers.values())
    return Report(
        weight_uri=description.listing.location.uri,
        model_arch_id=model_arch_id,
        checks=tuple(checks),
        findings=bounded(findings),
        files=len(objects),
        bytes=description.listing.total_bytes,
        tensors=sum(len(header.tensors) for header in model.headers.values()),
        parameters=parameters,
        digest=digest_of(objects) if objects else None,
    )


def _sound(found: Iterable[Finding], code: str, what: str) -> list[Finding]:
    return [] if any(each.level is Level.ERROR for each in found) else [finding(code, what)]
