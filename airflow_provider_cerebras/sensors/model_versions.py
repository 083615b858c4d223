"""Sensor that waits for the weights of a model version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.arguments.kinds import CONN_ID, DIGEST, MODEL_VERSION, takes
from airflow_provider_cerebras.assets.provenance import trace_version
from airflow_provider_cerebras.durable.seals import check_version, need_connection
from airflow_provider_cerebras.exceptions import MODEL_VERSION_ERRORS
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from airflow_provider_cerebras.sensors._base import WaitSensor

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.arguments.given import Flag, Text
    from airflow_provider_cerebras.assets.provenance import Provenance
    from airflow_provider_cerebras.polling.pollers import Poller
    from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger


class CerebrasModelVersionSensor(WaitSensor):
    """Wait until a model version is synced and can be deployed.

    Returns the full name of the version with its number, whatever alias was given.

    :param model_version: full name, by number or alias, as the upload operator returns it. (templated)
    :param weights_digest: digest of the weights from before the upload; when the sync has ended, they are listed again
        and must still have it; needs ``aws_conn_id``; default None, and they are not listed. (templated)
    :param aws_conn_id: id of the AWS connection by which they are listed, which needs ``s3:ListBucket``; default None.
        (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
        (templated)
    :raises ModelVersionFailed: if the service could not take the weights over.
    :raises ModelVersionLost: if the service does not know the version.
    :raises WeightsChanged: if the weights have another digest than ``weights_digest``, so that the version may hold a
        mixture.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    :raises RequestRefused: if asking can never succeed, because of the key, the organization or the name.
    :raises AirflowSensorTimeout: after ``timeout`` seconds.
    """

    arguments = takes(model_version=MODEL_VERSION, weights_digest=DIGEST.or_none, aws_conn_id=CONN_ID.or_none)
    event_ids = ("model_version",)
    errors = MODEL_VERSION_ERRORS

    def __init__(
        self,
        *,
        model_version: Text,
        weights_digest: Text | None = None,
        aws_conn_id: Text | None = None,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        deferrable: Flag | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, deferrable=deferrable, **kwargs)
        self.model_version: str = model_version  # type: ignore[assignment]  # read before execute
        self.weights_digest: str | None = weights_digest  # type: ignore[assignment]  # read before execute
        self.aws_conn_id: str | None = aws_conn_id  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> Any:
        """Poll once, then wait in the chosen mode."""
        need_connection(self.aws_conn_id, weights_digest=self.weights_digest)
        return super().execute(context)

    def _approve(self, result: str) -> None:
        if self.weights_digest is not None and self.aws_conn_id is not None:
            check_version(self.hook.get_conn(), result, self.weights_digest, self.aws_conn_id, log=self.log)

    def _new_poller(self, *, deadline: float | None, started: float, is_first: bool) -> ModelVersionPoller:
        return ModelVersionPoller(self.model_version, deadline=deadline, started=started, is_first=is_first)

    def _trigger(self, poller: Poller[Any]) -> CerebrasModelVersionTrigger:
        # Imported here: its imports from Airflow take 5 ms, which not every parse of a DAG should pay.
        from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger

        return CerebrasModelVersionTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            model_version=poller.ids["model_version"],
            poll_interval=self.poke_interval,
            deadline=poller.deadline,
            hook_class=self._hook_path(),
        )

    def _made(self, result: str) -> Provenance:
        return trace_version(self.hook.get_conn(), result, log=self.log)
