"""A stored path of the converter of assets; it is defined in :mod:`.assets.openlineage`."""

from airflow_provider_cerebras.assets.openlineage import to_openlineage

__all__ = ["to_openlineage"]
