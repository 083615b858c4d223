"""Lineage: which weights a version was made of, and which version an endpoint serves.

Names are those that other tools would give the same thing: S3 as OpenLineage names it, and of the service the
namespace ``cerebras`` with the API's own name, such as ``orgs/my-org/models/gpt-oss-120b/versions/7``. OpenLineage is
imported only where it is installed and switched on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api.names import split_weight_uri
from airflow_provider_cerebras.assets.uris import SCHEME, endpoint_uri, version_uri

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_cerebras.assets.provenance import Provenance


def openlineage_listens() -> bool:
    """Whether OpenLineage is installed and switched on."""
    try:
        from airflow.providers.openlineage.conf import is_disabled

        return not is_disabled()
    except Exception:  # noqa: BLE001  whatever is wrong with it, a task that has succeeded must not fail for it
        return False


def collect(hook: object, *, source: str, made: str) -> None:
    """Report to Airflow's hook lineage collector that one asset was made from another.

    :param hook: the hook that did it.
    :param source: URI of the asset that it was made from.
    :param made: URI of what was made.
    """
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    collector = get_hook_lineage_collector()
    collector.add_input_asset(context=hook, uri=source)
    collector.add_output_asset(context=hook, uri=made)


def openlineage_facets(provenance: Provenance | None) -> OperatorLineage[Any, Any]:
    """Return what a task has made, as OpenLineage takes it.

    :param provenance: the thing that it has made; None: nothing.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage

    if provenance is None or provenance.model_version is None:
        return OperatorLineage()
    version = _own_dataset(version_uri(provenance.model_version))
    if provenance.endpoint_id is not None:
        return OperatorLineage(inputs=[version], outputs=[_own_dataset(endpoint_uri(provenance.endpoint_id))])
    weights = [] if provenance.weight_uri is None else _weights(provenance.weight_uri)
    return OperatorLineage(inputs=weights, outputs=[version])


def to_openlineage(asset: Any, lineage_context: object) -> Dataset:  # noqa: ARG001  Airflow gives it by name
    """Return an asset of the scheme as a dataset of OpenLineage; Airflow calls it for what hooks have collected.

    :param asset: the asset.
    :param lineage_context: the hook that it comes from.
    """
    return _own_dataset(asset.uri)


def _own_dataset(uri: str) -> Dataset:
    from airflow.providers.common.compat.openlineage.facet import Dataset

    return Dataset(namespace=SCHEME, name=uri.removeprefix(f"{SCHEME}://"))


def _weights(weight_uri: str) -> list[Dataset]:
    from airflow.providers.common.compat.openlineage.facet import Dataset

    try:
        bucket, prefix = split_weight_uri(weight_uri)
    except ValueError:
        return []  # the service's word, which need not be one
    return [Dataset(namespace=f"s3://{bucket}", name=prefix.strip("/") or "/")]
