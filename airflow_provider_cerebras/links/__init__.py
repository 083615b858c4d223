"""Links on the page of a task: from Airflow to the page that a person needs next."""

from airflow_provider_cerebras.links.console import CerebrasConsoleLink
from airflow_provider_cerebras.links.weights import CerebrasWeightsLink

__all__ = ["CerebrasConsoleLink", "CerebrasWeightsLink"]
