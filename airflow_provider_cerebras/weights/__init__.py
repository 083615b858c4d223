"""Weights in S3: what is wrong with them, told before they are uploaded, and a digest that tells when they change.

The checks are pure and work on a listing and on the first bytes of files. Only :mod:`.reader` talks to S3, by the
Amazon provider, which the extra ``s3`` installs. Nothing here imports Airflow before it reads, and a name is imported
when it is first used, since Airflow parses DAGs again and again.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cerebras.weights.check import check_weights
    from airflow_provider_cerebras.weights.checks import CHECKS
    from airflow_provider_cerebras.weights.digest import digest_of
    from airflow_provider_cerebras.weights.errors import S3ExtraMissing, WeightsNotFound, WeightsUnreadable
    from airflow_provider_cerebras.weights.findings import Finding, Level
    from airflow_provider_cerebras.weights.objects import Listing, Location, StoredObject
    from airflow_provider_cerebras.weights.policy import bucket_policy
    from airflow_provider_cerebras.weights.reader import list_weights, weights_digest
    from airflow_provider_cerebras.weights.report import Report

__all__ = [
    "CHECKS",
    "Finding",
    "Level",
    "Listing",
    "Location",
    "Report",
    "S3ExtraMissing",
    "StoredObject",
    "WeightsNotFound",
    "WeightsUnreadable",
    "bucket_policy",
    "check_weights",
    "digest_of",
    "list_weights",
    "weights_digest",
]

_MODULES = {
    "check": ("check_weights",),
    "checks": ("CHECKS",),
    "digest": ("digest_of",),
    "errors": ("S3ExtraMissing", "WeightsNotFound", "WeightsUnreadable"),
    "findings": ("Finding", "Level"),
    "objects": ("Listing", "Location", "StoredObject"),
    "policy": ("bucket_policy",),
    "reader": ("list_weights", "weights_digest"),
    "report": ("Report",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
