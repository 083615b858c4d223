"""Links on the page of a task: from Airflow to where a person would look next."""

from airflow_provider_cerebras.links.console import CerebrasConsoleLink
from airflow_provider_cerebras.links.weights import CerebrasWeightsLink

__all__ = ["CerebrasConsoleLink", "CerebrasWeightsLink"]
