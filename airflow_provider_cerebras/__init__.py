"""Apache Airflow provider for Cerebras: from fine-tuned weights in S3 to a served dedicated endpoint."""

from __future__ import annotations

from airflow_provider_cerebras._version import __version__

__all__ = ["__version__"]
