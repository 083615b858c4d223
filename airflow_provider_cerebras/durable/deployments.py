"""One rollout for each task run. A deployment carries nothing of ours, so the state that is wanted decides.

If the newest deployment of the endpoint is of our version and serves or rolls out, there is nothing to submit. After a
submission in doubt, an entry of our version that was not there before is ours.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import OutcomeUnknown
from airflow_provider_cerebras.api.evidence import listed_deployments
from airflow_provider_cerebras.api.status import Progress, classify_deployment, serving_model
from airflow_provider_cerebras.metrics import DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import Endpoint
    from airflow_provider_cerebras.durable.task_state import TaskState
    from airflow_provider_cerebras.polling.log import Log

SETTLING_TIME = 30.0
"""Seconds in which a deployment whose submission is in doubt may come to be listed."""
MAX_SUBMISSIONS = 3
"""How often one attempt submits, if each time in doubt nothing came to be listed."""
_SETTLING_INTERVAL = 2.0


def find_deployment(endpoint: Endpoint, model_version: str) -> str | None:
    """Find the deployment that makes a submission needless.

    :param endpoint: what a look at the endpoint answered.
    :param model_version: full name, by number, of the version that shall serve.
    :return: UUID of the newest deployment, if it is of this version and has not failed. Of several that were made
        in the same second nobody knows which is the newest, so they must all be of this version.
    """
    entries = listed_deployments(endpoint)
    newest = max((entry.created or 0 for entry in entries), default=0)
    candidates = [entry for entry in entries if (entry.created or 0) == newest]
    if any(entry.model != model_version for entry in candidates):
        return None
    going = {entry.id: classify_deployment(endpoint, entry.id).progress for entry in candidates if entry.id is not None}
    for progress in (Progress.SUCCEEDED, Progress.PENDING):
        for deployment_id, its_progress in going.items():
            if its_progress is progress:
                return deployment_id
    return None


def find_new_deployment(endpoint: Endpoint, model_version: str, *, before: Collection[str]) -> str | None:
    """Find the deployment that a submission in doubt has made.

    :param endpoint: what a look at the endpoint answered.
    :param model_version: full name, by number, of the version that was submitted.
    :param before: UUIDs that were listed before.
    """
    new = (entry for entry in listed_deployments(endpoint) if entry.id is not None and entry.id not in before)
    return next((entry.id for entry in new if entry.model == model_version), None)


def served_before(endpoint: Endpoint, model_version: str) -> str | None:
    """Full name of the version that serves, if it is another one.

    :param endpoint: what a look at the endpoint answered.
    :param model_version: the version that shall serve.
    """
    others = [entry for entry in listed_deployments(endpoint) if entry.model != model_version]
    serving = serving_model(endpoint.model_copy(update={"deployed_models": others}))
    return serving.model if serving else None


class Deploy:
    """Brings about that a version rolls out onto an endpoint, and that there is one rollout of it.

    :param client: whom to talk to.
    :param endpoint_id: id of the endpoint.
    :param model_version: full name of the version, by number.
    :param durable: whether to look before submitting; False submits once, whatever is there.
    :param task_state: notes of earlier attempts.
    :param log: where it says what it found and did.
    :param sleep: how to spend the seconds of the settling time.
    :param clock: a clock that only goes forward, in seconds.
    """

    def __init__(
        self,
        client: CerebrasClient,
        endpoint_id: str,
        model_version: str,
        *,
        durable: bool,
        task_state: TaskState,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._endpoint_id = endpoint_id
        self._model_version = model_version
        self._durable = durable
        self._task_state = task_state
        self._log = log
        self._sleep = sleep
        self._clock = clock

    def run(self) -> str:
        """Do it, and return the UUID of the deployment.

        :raises OutcomeUnknown: if the service left us in doubt too often.
        :raises CerebrasError: if a request failed in another way.
        """
        endpoint = self._look()
        if self._durable and (found := self._find(endpoint)):
            self._log.info(
                "Deployment %s of model version %s onto endpoint %s is there already (%s); nothing is submitted.",
                found,
                self._model_version,
                self._endpoint_id,
                classify_deployment(endpoint, found).words,
            )
            self._task_state.update(model_version=self._model_version, deployment_id=found)
            DEPLOYMENT.count("adopted", self._endpoint_id)
            return found
        # Noted before anything changes, and not again by a retry, when what serves may be what is rolled out here.
        before = served_before(endpoint, self._model_version)
        if before is not None and "served_before" not in self._task_state.read():
            self._task_state.update(served_before=before)
        deployment_id = self._submit(endpoint)
        self._task_state.update(model_version=self._model_version, deployment_id=deployment_id)
        return deployment_id

    def _find(self, endpoint: Endpoint) -> str | None:
        notes = self._task_state.read()
        noted = notes.get("deployment_id") if notes.get("model_version") == self._model_version else None
        if noted and noted not in {entry.id for entry in listed_deployments(endpoint)}:
            return noted  # an earlier attempt was given this UUID; it may be queued where nobody sees it
        return find_deployment(endpoint, self._model_version)

    def _submit(self, endpoint: Endpoint) -> str:
        before = {entry.id for entry in listed_deployments(endpoint) if entry.id is not None}
        doubts = 0
        while True:
            try:
                deployment_id = self._client.send(operations.deploy_model(self._endpoint_id, self._model_version)).name
            except OutcomeUnknown as error:
                doubts += 1
                if not self._durable:
                    raise
                self._log.warning("%s Looking for it among the endpoint's deployments.", error)
                if found := self._settle(before):
                    self._log.info("Deployment %s has come of it.", found)
                    DEPLOYMENT.count("reconciled", self._endpoint_id)
                    return found
                if doubts == MAX_SUBMISSIONS:
                    raise
            else:
                self._log.info(
                    "Deployment %s rolls out model version %s onto endpoint %s.",
                    deployment_id,
                    self._model_version,
                    self._endpoint_id,
                )
                DEPLOYMENT.count("submitted", self._endpoint_id)
                return deployment_id

    def _settle(self, before: Collection[str]) -> str | None:
        end = self._clock() + SETTLING_TIME
        while True:
            if found := find_new_deployment(self._look(), self._model_version, before=before):
                return found
            if self._clock() >= end:
                return None
            self._sleep(_SETTLING_INTERVAL)

    def _look(self) -> Endpoint:
        return self._client.send(operations.get_endpoint(self._endpoint_id))
