"""One rollout for each task run. A deployment carries nothing of ours, so the state that is wanted decides.

If the newest deployment of the endpoint is of our version and serves or rolls out, there is nothing to submit. After a
submission of unknown outcome, a new entry of our version is ours. A retry replaces only what was there
before the first attempt: whatever came since belongs to another client, and stays.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import MAX_RETRY_AFTER
from airflow_provider_cerebras.api.errors import OutcomeUnknown, UnexpectedResponse
from airflow_provider_cerebras.api.status import find_by_id
from airflow_provider_cerebras.durable.rollout_steps import (
    Baseline,
    Deployed,
    Submission,
    adopt,
    decide,
    read_deployments,
    served_before,
    what_rolls_out,
    what_serves,
)
from airflow_provider_cerebras.exceptions import DeploymentLost
from airflow_provider_cerebras.metrics import DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.durable.task_state import TaskState
    from airflow_provider_cerebras.polling.log import Log

SETTLING_TIME = 30.0
"""Seconds in which a deployment whose submission has an unknown outcome may appear in the list."""
MAX_SUBMISSIONS = 3
"""Submissions of one attempt if the outcome of each stays unknown."""
_SETTLING_INTERVAL = 2.0
"""Seconds between two polls within the settling time."""


class Rollout:
    """Submit to one endpoint, and find the outcome.

    :param client: the client.
    :param endpoint_id: id of the endpoint.
    :param log: logger for its findings and actions.
    :param sleep: how to spend the seconds of the settling time.
    :param clock: a clock that only goes forward, in seconds.
    """

    def __init__(
        self,
        client: CerebrasClient,
        endpoint_id: str,
        *,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.endpoint_id = endpoint_id
        self.log = log
        self._sleep = sleep
        self._clock = clock

    def fetch(self, *, within: float | None = None) -> list[Deployed]:
        """Fetch the endpoint's deployments, newest first.

        :param within: see :meth:`~airflow_provider_cerebras.api.client.CerebrasClient.send`.
        :raises UnexpectedResponse: see :func:`~airflow_provider_cerebras.durable.rollout_steps.read_deployments`.
        """
        return read_deployments(self.client.send(operations.get_endpoint(self.endpoint_id), within=within))

    def submit(self, model_version: str, *, listed: Sequence[Deployed] | None) -> Submission:
        """Submit a version once, or find the outcome of an earlier submission.

        :param model_version: full name of the version, by number.
        :param listed: what was listed just before; None: do not check after a submission of unknown outcome.
        :raises OutcomeUnknown: if the outcome was unknown too often.
        :raises DeploymentLost: if the outcome is unknown and another client has deployed meanwhile.
        """
        unknown = 0
        while True:
            try:
                answer = self.client.send(operations.deploy_model(self.endpoint_id, model_version))
            except OutcomeUnknown as error:
                unknown += 1
                if listed is None:
                    raise
                self.log.warning("%s Looking for it among the endpoint's deployments.", error.without_hint())
                if found := self._settle(model_version, listed, error):
                    self.log.info("That submission has made deployment %s.", found.id)
                    DEPLOYMENT.count("reconciled", self.endpoint_id)
                    return Submission(found.id, model_version, found.created, seen=True)
                if unknown == MAX_SUBMISSIONS or error.is_error_in_success:
                    raise
                # The check has taken the settling time already.
                if (left := min(error.retry_after or 0.0, MAX_RETRY_AFTER) - SETTLING_TIME) > 0:
                    self._sleep(left)
            else:
                self.log.info(
                    "Deployment %s rolls out model version %s onto endpoint %s.",
                    answer.name,
                    model_version,
                    self.endpoint_id,
                )
                DEPLOYMENT.count("submitted", self.endpoint_id)
                return Submission(answer.name, model_version, answer.response.created if answer.response else None)

    def superseded(self, subject: str, by: Deployed, deployments: Sequence[Deployed]) -> DeploymentLost:
        """Return the error that leaves the endpoint to another client.

        :param subject: what was superseded.
        :param by: a later deployment of another client.
        :param deployments: all that are listed.
        """
        return DeploymentLost(
            f"{subject} is not submitted, because another client has deployed to endpoint {self.endpoint_id} since "
            f"this task run began: {by}. {say_what_serves(deployments)} To deploy it all the same, clear the task."
        )

    def _settle(self, model_version: str, listed: Sequence[Deployed], error: OutcomeUnknown) -> Deployed | None:
        before = {each.id for each in listed}
        end = self._clock() + SETTLING_TIME
        while True:
            deployments = self.fetch()
            new = [each for each in deployments if each.id not in before]
            if found := next((each for each in new if each.model == model_version), None):
                return found
            if self._clock() >= end:
                break
            self._sleep(_SETTLING_INTERVAL)
        if new:
            raise self.superseded(f"Model version {model_version}", new[0], deployments) from error
        return None


class Deploy:
    """Bring about that a version rolls out onto an endpoint, and that there is one rollout of it.

    :param rollout: how to submit to the endpoint.
    :param model_version: full name of the version, by number.
    :param durable: whether to check before submitting; False submits once without a check.
    :param task_state: notes of earlier attempts.
    :param run_started: for a retry: when the DAG run began, in Unix seconds. Where there are no notes, what was
        submitted before that was there before the first attempt. None: this is the first attempt.
    """

    def __init__(
        self,
        rollout: Rollout,
        model_version: str,
        *,
        durable: bool,
        task_state: TaskState,
        run_started: float | None = None,
    ) -> None:
        self._rollout = rollout
        self._model_version = model_version
        self._durable = durable
        self._task_state = task_state
        self._run_started = run_started

    def run(self) -> Submission:
        """Do it, and return the deployment.

        :raises OutcomeUnknown: if the outcome was unknown too often.
        :raises DeploymentLost: if another client has deployed since the first attempt.
        :raises CerebrasError: if a request failed in another way, or the list of deployments cannot be read.
        """
        if not self._durable:
            return self._rollout.submit(self._model_version, listed=None)
        deployments = self._rollout.fetch()
        notes = self._task_state.read()
        noted = Submission.from_json(notes.get("submission"))
        if noted is not None and noted.model_version != self._model_version:
            noted = None
        baseline = self._baseline(notes, deployments)
        before = notes.get("served_before") or served_before(deployments, baseline)
        decision = decide(deployments, self._model_version, baseline=baseline, submitted=noted)
        if decision.superseded_by:
            raise self._rollout.superseded(f"Model version {self._model_version}", decision.superseded_by, deployments)
        if decision.adopted:
            entry = find_by_id(deployments, decision.adopted)
            made = adopt(decision.adopted, self._model_version, deployments, noted)
            self._rollout.log.info(
                "Deployment %s of model version %s onto endpoint %s is there already (%s); nothing is submitted.",
                made.deployment_id,
                self._model_version,
                self._rollout.endpoint_id,
                entry.state if entry else "not listed",
            )
            DEPLOYMENT.count("adopted", self._rollout.endpoint_id)
        else:
            # Noted before anything changes, for a retry sees what this attempt has changed.
            self._task_state.update(
                baseline=json.dumps([baseline.created, sorted(baseline.ids)]),
                **({"served_before": before} if before else {}),
            )
            made = self._rollout.submit(self._model_version, listed=deployments)
        made = made._replace(baseline=baseline, served_before=before)
        self._task_state.update(
            model_version=self._model_version, deployment_id=made.deployment_id, submission=made.to_json()
        )
        return made

    def _baseline(self, notes: Mapping[str, str], deployments: Sequence[Deployed]) -> Baseline:
        try:
            created, ids = json.loads(notes["baseline"])
            return Baseline(int(created), frozenset(map(str, ids)))
        except (KeyError, TypeError, ValueError):
            return Baseline.of(deployments) if self._run_started is None else Baseline.before(self._run_started)


def say_what_serves(deployments: Sequence[Deployed]) -> str:
    """Say what serves on an endpoint, for the end of a message.

    :param deployments: all that are listed.
    """
    try:
        serving = what_serves(deployments)
    except UnexpectedResponse as error:
        return error.without_hint()
    return f"Now {serving.model} serves there." if serving else "Nothing serves there now."


def say_what_rolls_out(deployments: Sequence[Deployed]) -> str:
    """Say what still rolls out on an endpoint, for the end of a message; nothing if nothing does.

    :param deployments: all that are listed.
    """
    pending = what_rolls_out(deployments)
    return f"Model version {pending.model} still rolls out (deployment {pending.id})." if pending else ""
