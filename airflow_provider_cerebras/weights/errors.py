"""Why weights could not be examined, which says nothing about the weights themselves."""

from __future__ import annotations


class WeightsUnreadable(RuntimeError):
    """S3 did not give what is needed to examine the weights; the message says what it answered and what to do."""


class WeightsNotFound(WeightsUnreadable):
    """The bucket does not exist, or there is no object under the prefix."""


class S3ExtraMissing(ImportError):
    """The Amazon provider, which reads from S3, is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "Reading weights from S3 needs the Amazon provider for Airflow: "
            "install it with pip install 'airflow-provider-cerebras[s3]'."
        )
