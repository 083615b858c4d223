"""Operators on model versions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import CerebrasClient
from airflow_provider_cerebras.durability.identity import identify
from airflow_provider_cerebras.durability.kills import CLAIMED_SINCE, DELETED, NOT_CANCELLED, may_delete
from airflow_provider_cerebras.durability.memory import Memory
from airflow_provider_cerebras.durability.uploads import Upload, UploadRequest
from airflow_provider_cerebras.exceptions import MODEL_VERSION_ERRORS, permanent_errors_fail
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.operators._base import WaitingOperator
from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger
from airflow_provider_cerebras.waiting import ModelVersionWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_cerebras.waiting import Outcome, Watch


class CerebrasUploadModelVersionOperator(WaitingOperator):
    """Register fine-tuned weights in S3 as a new version of a model; the service then copies them.

    Returns the full name of the version, which goes straight into the sensor's and the deploy operator's
    ``model_version``.

    A task run makes one version, whatever dies on the way: a retry finds what an earlier attempt has made by an alias
    that the upload carried, and adopts it. Clearing the task uploads anew, since the weights may have changed.

    Calls ``POST /orgs/{org_name}/models:upload``, ``GET`` and ``PATCH
    /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param model_arch_id: id of the architecture that the weights belong to. (templated)
    :param weight_uri: ``s3://bucket/prefix`` of the weights. (templated)
    :param version_aliases: aliases that the new version shall have, each 2 to 128 characters. (templated)
    :param system_fingerprint_suffix: text that inference answers shall carry in ``system_fingerprint``. (templated)
    :param org_name: customer management organization name; default: the connection's. (templated)
    :param wait_for_completion: wait until the weights are synced; default False, and a sensor waits.
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
    :param poll_interval: the longest interval between two looks, in seconds; default 30.
    :param timeout: how long to wait, in seconds from the submission; default 86400, a day.
    :param durable: whether a retry adopts what an earlier attempt has made; default True. If False, the upload carries
        no alias of ours, and each attempt makes a version.
    :param move_aliases: whether an alias in ``version_aliases`` is taken from another version that holds it; default
        False, and the task fails before anything is uploaded.
    :param delete_on_kill: whether the version is deleted when a user ends or clears the task while it waits; default
        False. While it is deferred, that needs Airflow 3.3.
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises ValueError: if an argument is against a rule; nothing was sent then.
    :raises AliasInUse: if another version holds one of ``version_aliases``.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises OutcomeUnknown: if the service left it in doubt whether a version was made; a retry finds out.
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
        model_arch_id: str | XComArg,
        weight_uri: str | XComArg,
        version_aliases: Sequence[str] | None = None,
        system_fingerprint_suffix: str | XComArg | None = None,
        org_name: str | None = None,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        poll_interval: float = 30,
        timeout: float = 86400,
        durable: bool = True,
        move_aliases: bool = False,
        delete_on_kill: bool = False,
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
        self.model_arch_id: str = model_arch_id  # type: ignore[assignment]  # rendered before execute
        self.weight_uri: str = weight_uri  # type: ignore[assignment]  # rendered before execute
        self.version_aliases = version_aliases
        self.system_fingerprint_suffix: str | None = system_fingerprint_suffix  # type: ignore[assignment]  # rendered before execute
        self.durable = durable
        self.move_aliases = move_aliases
        self.delete_on_kill = delete_on_kill
        self._request: UploadRequest | None = None
        self._model_version: str | None = None

    def execute(self, context: Context) -> str:
        """Upload, or adopt what an earlier attempt has uploaded, and wait if asked to."""
        self._check_waiting()
        request = self._request = self._new_request(context)
        memory = Memory(context, key="cerebras_upload", fingerprint=request.own_aliases[0] if self.durable else "")
        with permanent_errors_fail():
            version = Upload(self.hook.get_conn(), request, memory=memory, log=self.log).run()
        if not self.wait_for_completion:
            return version.name
        self._model_version = version.name
        now = time.time()
        return self._wait(ModelVersionWatch(version.name, deadline=now + self.timeout, started=now), context)

    def on_kill(self) -> None:
        """Airflow calls this when the task is ended from outside while it holds a worker."""
        if self._model_version is None:
            return
        if not self.delete_on_kill:
            self.log.info(NOT_CANCELLED, self._model_version)
            return
        # A client of its own: the other one may be in the middle of a request.
        with CerebrasClient(self.hook.get_conn().settings) as client:
            version = client.send(operations.get_model_version(self._model_version))
            if not may_delete(self._claim, version.details.version_aliases):
                self.log.info(CLAIMED_SINCE, version.name)
                return
            client.send(operations.delete_model_version(version.name))
        self.log.info(DELETED, version.name)

    def _new_request(self, context: Context) -> UploadRequest:
        # Makes the call once without sending it, so that every argument is checked before the first request.
        org_name = self.hook.org_name
        operations.upload_model_version(
            org_name, self.model_arch_id, self.weight_uri, self.version_aliases, self.system_fingerprint_suffix
        )
        identity = identify(
            context,
            org_name=org_name,
            model_arch_id=self.model_arch_id,
            weight_uri=self.weight_uri,
            system_fingerprint_suffix=self.system_fingerprint_suffix,
        )
        return UploadRequest(
            org_name=org_name,
            model_arch_id=self.model_arch_id,
            weight_uri=self.weight_uri,
            system_fingerprint_suffix=self.system_fingerprint_suffix,
            version_aliases=tuple(dict.fromkeys(self.version_aliases or ())),
            move_aliases=self.move_aliases,
            identity=identity if self.durable else None,
            claims=self.delete_on_kill,
        )

    @property
    def _claim(self) -> str | None:
        return self._request.identity.claim if self._request and self._request.identity else None

    def _trigger(self, watch: Watch[Any]) -> CerebrasModelVersionTrigger:
        return CerebrasModelVersionTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            model_version=watch.ids["model_version"],
            poll_interval=self.poll_interval,
            deadline=watch.deadline,
            delete_on_kill=self.delete_on_kill,
            claim=self._claim if self.delete_on_kill else None,
        )

    def _result(self, outcome: Outcome) -> str:
        return outcome.ids["model_version"]
