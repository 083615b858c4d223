"""The poller of a deployment's rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import UnexpectedResponse, in_one_line
from airflow_provider_cerebras.api.models import DeploymentRows
from airflow_provider_cerebras.api.names import validate_identifier
from airflow_provider_cerebras.api.status import Progress, Verdict, classify_entry
from airflow_provider_cerebras.metrics import DEPLOYMENT
from airflow_provider_cerebras.polling.evidence import Streak
from airflow_provider_cerebras.polling.outcome import Outcome, Status
from airflow_provider_cerebras.polling.pollers import Poller, conclude

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue


class DeploymentPoller(Poller[DeploymentRows]):
    """Follows the rollout of a deployment.

    The API has no call that reads a deployment, so its entry among the endpoint's deployments is followed. One that
    was never listed may wait in a queue, so it is pending, unless one that was submitted later is listed. One that was
    listed and is gone has been superseded.

    :param endpoint_id: id of the endpoint.
    :param deployment_id: UUID of the deployment.
    :param deadline: see :class:`Poller`.
    :param started: see :class:`Poller`.
    :param is_first: see :class:`Poller`.
    :param seen: whether the endpoint has listed it before.
    :param submitted: when it was submitted by the service's own clock, in Unix seconds; None: unknown.
    """

    metrics = DEPLOYMENT

    def __init__(
        self,
        endpoint_id: str,
        deployment_id: str,
        *,
        deadline: float | None,
        started: float,
        is_first: bool = False,
        seen: bool = False,
        submitted: float | None = None,
    ) -> None:
        super().__init__(deadline=deadline, started=started, is_first=is_first)
        self.belongs_to = endpoint_id
        self.collection = self.collective = self.call = operations.find_deployments(endpoint_id)
        self.subject = f"Deployment {deployment_id} on endpoint {endpoint_id}"
        self.key = validate_identifier(deployment_id, "deployment_id")
        self.ids = {"endpoint_id": endpoint_id, "deployment_id": deployment_id}
        self.seen = seen
        self.submitted = submitted
        self._answered = False
        self._newer: str | None = None
        # They need not span a minute, so that a task learns of another deployment while that rolls out.
        self._misses = Streak(span=0.0)

    def remember(self) -> dict[str, JsonValue]:
        """See :class:`Poller`."""
        remembered = super().remember()
        if self.seen:
            remembered["seen"] = True
        if self._misses.count:
            remembered["misses"] = self._misses.to_json()
        return remembered

    def recall(self, remembered: Mapping[str, object]) -> None:
        """See :class:`Poller`."""
        super().recall(remembered)
        self.seen = self.seen or remembered.get("seen") is True
        self._misses.restore(remembered.get("misses"))

    def _judge(self, response: DeploymentRows) -> Verdict | Exception:
        try:
            entry = response.find(self.key)
        except UnexpectedResponse as error:
            return error
        if entry is None:
            self._newer = self._newer_than_ours(response)
        return classify_entry(entry)

    def _newer_than_ours(self, response: DeploymentRows) -> str | None:
        if self.submitted is None:
            return None
        for row in response.rows.values():
            created = row.get("created") if isinstance(row, dict) else None
            if isinstance(created, int | float) and created > self.submitted:
                return f"deployment {in_one_line(str(row.get('id')))} of {in_one_line(str(row.get('model')))}"
        return None

    def _on_verdict(self, verdict: Verdict, now: float) -> Outcome | None:
        self._answered = True
        # Each response without it counts.
        self.settled = verdict.progress is not Progress.LOST
        if verdict.progress is Progress.LOST:
            return self._on_miss(now)
        self.seen = True
        self._misses.reset()
        return conclude(
            self,
            verdict,
            succeeded=f"{self.subject} is complete",
            failed=f"{self.subject} failed to roll out ({verdict.status_text}).",
        )

    def _on_miss(self, now: float) -> Outcome | None:
        if not self.seen and self._newer is None:
            self._misses.reset()
            return None
        if not self._misses.add(now):
            return None
        why = f"{self._newer} is newer" if self._newer else "another deployment may have superseded it"
        listed = "is no longer listed there" if self.seen else "is not listed there"
        return self._outcome(Status.LOST, f"{self.subject} {listed}; {why}.")

    def _outcome(self, status: Status, message: str) -> Outcome:
        return Outcome(status, message, self.ids, seen=self.seen)

    def _timeout_message(self, deadline: float) -> str:
        message = super()._timeout_message(deadline)
        if self.seen or not self._answered:
            return message
        return f"{message} The endpoint never listed it: it may be queued behind another rollout, or have been dropped."
