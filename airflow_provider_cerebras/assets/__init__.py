"""Assets (on Airflow 2: datasets): the names by which DAGs of different teams speak of the same model or endpoint.

A task that has one of them as outlet says with the event what it has made; see :mod:`.events`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset

from airflow_provider_cerebras.assets.uris import endpoint_uri, model_uri

if TYPE_CHECKING:
    from airflow.sdk import Asset as AssetType

__all__ = ["create_asset", "endpoint_asset", "model_asset"]


def model_asset(org_name: str, model_arch_id: str, **kwargs: Any) -> AssetType:
    """The versions of a model architecture, which change when one is added, synced or promoted.

    :param org_name: customer management organization name.
    :param model_arch_id: id of the architecture.
    :param kwargs: more of ``Asset``, such as ``group`` or ``watchers`` (Airflow 3).
    :raises ValueError: if an id cannot be one.
    """
    return create_asset(uri=model_uri(org_name, model_arch_id), **kwargs)


def endpoint_asset(endpoint_id: str, **kwargs: Any) -> AssetType:
    """A dedicated endpoint, which changes when another version is rolled out onto it.

    :param endpoint_id: id of the endpoint.
    :param kwargs: more of ``Asset``, such as ``group`` (Airflow 3).
    :raises ValueError: if the id cannot be one.
    """
    return create_asset(uri=endpoint_uri(endpoint_id), **kwargs)


def create_asset(*, uri: str, **kwargs: Any) -> AssetType:
    """Make an asset of this provider's scheme; Airflow calls it for lineage that hooks collect.

    It has no name but its URI, so that a URI written by hand means the same asset.

    :param uri: see :mod:`.uris`.
    :param kwargs: more of ``Asset``.
    """
    asset: AssetType = Asset(uri=uri, **kwargs)
    return asset
