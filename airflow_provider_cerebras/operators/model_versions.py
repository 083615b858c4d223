"""Operators on model versions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.exceptions import MODEL_VERSION_ERRORS, permanent_errors_fail
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import WaitingOperator
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from airflow_provider_cerebras.waiting import ModelVersionWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.waiting import Outcome, Watch


class CerebrasUploadModelVersionOperator(WaitingOperator):
    """Register fine-tuned weights in S3 as a new version of a model; the service then copies them.

    Returns the full name of the version, which goes straight into the sensor's and the deploy operator's
    ``model_version``.

    Calls ``POST /orgs/{org_name}/models:upload``, and while it waits
    ``GET /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param model_arch_id: id of the architecture that the weights belong to. (templated)
    :param weight_uri: ``s3://bucket/prefix`` of the weights. (templated)
    :param version_aliases: aliases that the new version shall have, each 2 to 128 characters. (templated)
    :param system_fingerprint_suffix: text that inference answers shall carry in ``system_fingerprint``. (templated)
    :param org_name: customer management organization name; default: the connection's. (templated)
    :param wait_for_completion: wait until the weights are synced; default False, and a sensor waits.
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
    :param poll_interval: the longest interval between two looks, in seconds; default 30.
    :param timeout: how long to wait, in seconds from the submission; default 86400, a day.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises OutcomeUnknown: if it cannot be told whether a version was made.
    :raises ModelVersionFailed: if the service could not take the weights over.
    :raises ModelVersionLost: if the version is gone.
    :raises WaitTimeout: if the sync had not ended after ``timeout``.
    """

    template_fields: Sequence[str] = (
        "model_arch_id",
        "weight_uri",
        "version_aliases",
        "system_fingerprint_suffix",
        "org_name",
        "cerebras_conn_id",
    )
    event_ids = ("model_version",)
    errors = MODEL_VERSION_ERRORS

    def __init__(
        self,
        *,
        model_arch_id: str,
        weight_uri: str,
        version_aliases: Sequence[str] | None = None,
        system_fingerprint_suffix: str | None = None,
        org_name: str | None = None,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float = 30,
        timeout: float = 86400,
        cerebras_conn_id: str = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            cerebras_conn_id=cerebras_conn_id,
            org_name=org_name,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            **kwargs,
        )
        self.model_arch_id = model_arch_id
        self.weight_uri = weight_uri
        self.version_aliases = version_aliases
        self.system_fingerprint_suffix = system_fingerprint_suffix

    def execute(self, context: Context) -> str:
        """Upload, and wait if asked to."""
        self._check_waiting()
        with permanent_errors_fail():
            version = self.hook.upload_model_version(
                self.model_arch_id, self.weight_uri, self.version_aliases, self.system_fingerprint_suffix
            )
        self.log.info("Uploaded %s as model version %s.", self.weight_uri, version.name)
        if not self.wait_for_completion:
            return version.name
        now = time.time()
        return self._wait(ModelVersionWatch(version.name, deadline=now + self.timeout, started=now))

    def _trigger(self, watch: Watch[Any]) -> CerebrasModelVersionTrigger:
        return CerebrasModelVersionTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            model_version=watch.ids["model_version"],
            poll_interval=self.poll_interval,
            deadline=watch.deadline,
        )

    def _result(self, outcome: Outcome) -> str:
        return outcome.ids["model_version"]
