"""All checks over a description of the weights: findings, and the report. Nothing is read here."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_cerebras.weights.config import examine_config
from airflow_provider_cerebras.weights.digest import digest_of
from airflow_provider_cerebras.weights.files import Model, examine_files
from airflow_provider_cerebras.weights.findings import Finding, Level, bounded, finding
from airflow_provider_cerebras.weights.index import examine_index
from airflow_provider_cerebras.weights.report import Report, parameters_by_dtype

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from airflow_provider_cerebras.weights.description import Description


MOST_FINDINGS = 10_000
"""Findings that are collected of each check; more are of no use, and who writes an index may want them to be many."""


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
    found: list[Finding] = []
    if "files" in checks:
        what = f"Files of weights that have the size that their headers say: {len(model.shards)}."
        found += or_sound(of_the_files, "files", what)
    if not description.listing.objects:
        return model, found
    if "index" in checks:
        of_the_index = list(islice(examine_index(description, model), MOST_FINDINGS))
        what = f"Tensors that are where it says: {len(model.weight_map)}."
        found += or_sound(of_the_index, "index", what) if model.weight_map else of_the_index
    if "config" in checks:
        of_the_config = islice(examine_config(description, model, model_arch_id), MOST_FINDINGS)
        found += or_sound(of_the_config, "config", "It and the tensors do not contradict each other.")
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
    return Report(
        weight_uri=description.listing.location.uri,
        model_arch_id=model_arch_id,
        checks=tuple(checks),
        findings=bounded(findings),
        files=len(objects),
        bytes=description.listing.total_bytes,
        tensors=sum(len(header.tensors) for header in model.headers.values()),
        parameters=parameters_by_dtype(model.headers.values()),
        digest=digest_of(objects) if objects else None,
    )


def or_sound(found: Iterable[Finding], code: str, what: str) -> list[Finding]:
    """The findings of a check, and one that it went well if there is no error among them.

    :param found: the findings.
    :param code: the check.
    :param what: the passed check, as a sentence.
    """
    found = list(found)
    return found if any(each.level is Level.ERROR for each in found) else [*found, finding(code, what)]
