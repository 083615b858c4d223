"""A rollback chooses its target once for each task run.

"What served before the newest deployment" is another version as soon as the rollback itself is the newest deployment.
So the version that is chosen gets an alias that only this task run can compute, and a retry goes by that instead of
choosing again. The alias stays there: taken off too early, it would let a retry roll back the rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import BadRequest, Conflict
from airflow_provider_cerebras.api.evidence import held_aliases, listed_deployments, previous_model
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.durable.aliases import find_version

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.polling.log import Log


def choose_target(
    client: CerebrasClient, endpoint_id: str, identity: Identity, *, deployment_id: str | None, log: Log
) -> str | None:
    """Choose what to roll back to, or return what an earlier attempt has chosen.

    :param client: whom to talk to.
    :param endpoint_id: id of the endpoint.
    :param identity: who is asking.
    :param deployment_id: UUID of the deployment to take back; None: the newest one.
    :return: full name of the version, by number; None if no other one served before.
    """
    endpoint = client.send(operations.get_endpoint(endpoint_id))
    deployed = next((entry.model for entry in listed_deployments(endpoint) if entry.model), None)
    if deployed is None:
        return None
    mark = str(ModelVersionName.parse(deployed).with_version_id(identity.alias))
    if chosen := find_version(client, mark):
        log.info("An earlier attempt has chosen model version %s to roll back to.", chosen.name)
        return chosen.name
    previous = previous_model(endpoint, deployment_id)
    if previous is None:
        return None
    target = client.send(operations.get_model_version(previous))
    try:
        client.send(operations.update_model_version_aliases(target.name, (*held_aliases(target), identity.alias)))
    except (BadRequest, Conflict):
        # Another process of the same attempt may have been faster.
        chosen = find_version(client, mark)
        if chosen is None:
            raise
        return chosen.name
    return target.name
