"""Weights in S3: what is wrong with them, told before they are uploaded, and a digest that tells when they change.

The checks are pure and work on a listing and on the first bytes of files. Only :mod:`.reader` talks to S3, by the
Amazon provider, which the extra ``s3`` installs. Nothing here imports Airflow before it reads.
"""

from __future__ import annotations

from airflow_provider_cerebras.weights.digest import digest_of
from airflow_provider_cerebras.weights.errors import S3ExtraMissing, WeightsNotFound, WeightsUnreadable
from airflow_provider_cerebras.weights.objects import Listing, Location, StoredObject
from airflow_provider_cerebras.weights.reader import list_weights, weights_digest

__all__ = [
    "Listing",
    "Location",
    "S3ExtraMissing",
    "StoredObject",
    "WeightsNotFound",
    "WeightsUnreadable",
    "digest_of",
    "list_weights",
    "weights_digest",
]
