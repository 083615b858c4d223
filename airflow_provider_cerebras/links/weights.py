"""To the weights, in the console of S3."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_cerebras.api.names import split_weight_uri
from airflow_provider_cerebras.links.base import CerebrasLink

S3_CONSOLE_URL = "https://console.aws.amazon.com/s3/buckets/"


class CerebrasWeightsLink(CerebrasLink):
    """The folder of the weights that a task uploads, in the console of S3."""

    name = "Weights in S3"
    base_url = S3_CONSOLE_URL

    def url(self, task: Any) -> str:
        """Return the URL of ``task.weight_uri``, or an empty string for any other form than ``s3://bucket/prefix``."""
        try:
            bucket, prefix = split_weight_uri(task.weight_uri)
        except ValueError:
            return ""
        return f"{S3_CONSOLE_URL}{quote(bucket, safe='')}?prefix={quote(prefix.strip('/'), safe='')}/"
