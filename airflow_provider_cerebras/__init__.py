"""Apache Airflow provider for Cerebras: from fine-tuned weights in S3 to a served dedicated endpoint."""

from __future__ import annotations

from airflow_provider_cerebras._version import __version__
from airflow_provider_cerebras.provider_info import get_provider_info

__all__ = ["__version__", "get_provider_info"]
