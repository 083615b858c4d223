"""What a waiter concludes from each response. The decision is made here only, whoever sends the request.

A :class:`Poller` is given each response, or the error in its place, and says whether the wait has ended. It does no I/O
and reads no clock, so triggers, blocking operators and sensors share it and cannot drift apart.

Two rules shape it. "Cannot poll" is never "failed": a request that fails is repeated until the deadline, unless it can
never succeed. And a deadline that has passed already still allows one poll, so what has ended is never called late.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import PERMANENT, CerebrasError, NotFound, UnexpectedResponse
from airflow_provider_cerebras.api.models import DeploymentRows, ModelVersion, ModelVersionRows
from airflow_provider_cerebras.api.names import ModelVersionName, validate_identifier
from airflow_provider_cerebras.api.status import Progress, Verdict, classify_entry, classify_version
from airflow_provider_cerebras.metrics import DEPLOYMENT, MODEL_VERSION, Subject
from airflow_provider_cerebras.polling.outcome import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Mapping

    from airflow_provider_cerebras.api.operations import Call

AnswerT = TypeVar("AnswerT")

NOT_FOUND_GRACE = 60.0
"""Seconds from the start of a wait in which "not found" may mean "not visible yet"."""
MISSES_UNTIL_LOST = 3
"""Answers in a row without a deployment that was listed before, until it counts as lost."""


class Poller(ABC, Generic[AnswerT]):
    """Follows one thing until it ends.

    :param deadline: when to give up, in Unix seconds; None: never.
    :param started: when the wait began, in Unix seconds.
    :ivar call: what to send for the next look.
    :ivar collection: names what is watched; whoever has the same can be told the same answers.
    :ivar collective: what to send for one poll on behalf of all that follow the collection.
    :ivar key: names what is followed among the rows of what ``collective`` answers.
    :ivar ids: what is followed.
    :ivar metrics: how what is watched is counted, and ``belongs_to``, under which tag.
    :ivar settled: whether hearing the same once more would change nothing, but for the deadline.
    :ivar progress: how far it was at the last look, for people.
    :ivar failures: looks in a row that got no answer.
    :ivar retry_after: seconds that the service asked us to wait before the next look.
    """

    call: Call[AnswerT]
    collection: Hashable
    collective: Call[Any]
    subject: str
    key: str
    ids: Mapping[str, str]
    metrics: Subject
    belongs_to: str

    def __init__(self, *, deadline: float | None, started: float) -> None:
        self.deadline = deadline
        self.started = started
        self.settled = False
        self.progress = "not asked yet"
        self.failures = 0
        self.retry_after = 0.0

    def apply(self, answer: object, now: float) -> Outcome | None:
        """Conclude from one look.

        :param answer: what ``call`` or ``collective`` answered, or the exception that it ended in instead.
        :param now: the time of it, in Unix seconds.
        :return: how the wait ended, or None while it goes on.
        """
        heard = answer if isinstance(answer, Exception) else self._judge(answer)
        if isinstance(heard, Exception):
            # Each look without an answer counts.
            self.settled = False
            self.failures += 1
            self.retry_after = (isinstance(heard, CerebrasError) and heard.retry_after) or 0.0
            self.progress = f"cannot ask: {heard}"
            outcome = self._on_error(heard, now)
        else:
            self.failures, self.retry_after = 0, 0.0
            self.progress = heard.words
            outcome = self._on_verdict(heard)
        if outcome is None and self.deadline is not None and now >= self.deadline:
            return self._outcome(Status.TIMEOUT, self._timeout_message(self.deadline))
        return outcome

    def is_affected(self, changed: Container[object], now: float) -> bool:
        """Whether a look may mean anything to who has heard all others; if not, :meth:`apply` can be left out.

        :param changed: the keys of what is not as it was at the last look that got an answer.
        :param now: see :meth:`apply`.
        """
        return not self.settled or self.key in changed or (self.deadline is not None and now >= self.deadline)

    @abstractmethod
    def _judge(self, answer: Any) -> Verdict | Exception:
        """What ``call`` or ``collective`` answered of what is watched here, or why that cannot be told."""

    @abstractmethod
    def _on_verdict(self, verdict: Verdict) -> Outcome | None:
        """Conclude from it, and tell by ``settled`` whether the same once more would change nothing."""

    def _on_error(self, error: Exception, now: float) -> Outcome | None:
        # A ValueError says that the connection or a name cannot be used; only a person can change that.
        if isinstance(error, (*PERMANENT, ValueError)):
            return self._outcome(
                Status.UNREACHABLE, f"{self.subject} cannot be followed, and asking again will not help. {error}"
            )
        return None

    def _timeout_message(self, deadline: float) -> str:
        moment = datetime.fromtimestamp(deadline, UTC).isoformat(timespec="seconds")
        return (
            f"{self.subject} was not at its end by the deadline, {moment} ({self.progress}). "
            "It goes on at the service, and a retry of the task waits for it again; if it needs longer, raise timeout."
        )

    def _outcome(self, status: Status, message: str) -> Outcome:
        return Outcome(status, message, self.ids)


class _NotListedError(Exception):
    """The list of versions came without the one that is watched."""


class ModelVersionPoller(Poller[ModelVersion]):
    """Follows the sync of a model version.

    :param model_version: full name.
    :param deadline: see :class:`Poller`.
    :param started: see :class:`Poller`.
    """

    metrics = MODEL_VERSION

    def __init__(self, model_version: str, *, deadline: float | None, started: float) -> None:
        super().__init__(deadline=deadline, started=started)
        self._follow(model_version)
        self.belongs_to = self._name.model_arch_id
        self.collection = self.collective = operations.find_model_versions(
            self._name.org_name, self._name.model_arch_id
        )

    def _follow(self, model_version: str) -> None:
        self.call = operations.get_model_version(model_version)
        self.subject = f"Model version {model_version}"
        self.ids = {"model_version": model_version}
        self.key = model_version
        self._name = ModelVersionName.parse(model_version)

    @property
    def _alias(self) -> str | None:
        return self._name.version_id if self._name.number is None else None

    def _judge(self, answer: ModelVersion | ModelVersionRows) -> Verdict | Exception:
        version = self._find_in(answer) if isinstance(answer, ModelVersionRows) else answer
        if isinstance(version, Exception):
            return version
        # The service answers with the number, whatever alias was asked for. From then on the number is followed,
        # so an alias that moves cannot change what is waited for.
        if version.name != self.key:
            with suppress(ValueError):  # a name that cannot be asked for again: go on with the one that works
                self._follow(version.name)
        return classify_version(version)

    def _find_in(self, answer: ModelVersionRows) -> ModelVersion | Exception:
        try:
            return answer.find(self.key, self._alias) or _NotListedError("it is not listed")
        except UnexpectedResponse as error:
            return error

    def _on_verdict(self, verdict: Verdict) -> Outcome | None:
        # Whose row an alias is in can change without a change of that row.
        self.settled = self._alias is None
        if verdict.progress is Progress.SUCCEEDED:
            return self._outcome(Status.SUCCEEDED, f"{self.subject} is synced.")
        if verdict.progress is Progress.FAILED:
            return self._outcome(
                Status.FAILED,
                f"{self.subject} failed to sync ({verdict.words}). Check that the weights are complete and that the "
                "bucket policy lets Cerebras read them, then upload again.",
            )
        return None

    def _on_error(self, error: Exception, now: float) -> Outcome | None:
        if not isinstance(error, (NotFound, _NotListedError)):
            return super()._on_error(error, now)
        if now - self.started < NOT_FOUND_GRACE:
            return None
        return self._outcome(Status.LOST, f"{self.subject} is not known to the service; was it deleted? {error}")


class DeploymentPoller(Poller[DeploymentRows]):
    """Follows the rollout of a deployment.

    The API has no call that reads a deployment, so its entry among the endpoint's deployments is followed. One that
    was never listed may wait in a queue, so it is pending; one that was listed and is gone has been superseded.

    :param endpoint_id: id of the endpoint.
    :param deployment_id: UUID of the deployment.
    :param deadline: see :class:`Poller`.
    :param started: see :class:`Poller`.
    """

    metrics = DEPLOYMENT

    def __init__(self, endpoint_id: str, deployment_id: str, *, deadline: float | None, started: float) -> None:
        super().__init__(deadline=deadline, started=started)
        self.belongs_to = endpoint_id
        self.collection = self.collective = self.call = operations.find_deployments(endpoint_id)
        self.subject = f"Deployment {deployment_id} on endpoint {endpoint_id}"
        self.key = validate_identifier(deployment_id, "deployment_id")
        self.ids = {"endpoint_id": endpoint_id, "deployment_id": deployment_id}
        self._was_listed = False
        self._misses = 0

    def _judge(self, answer: DeploymentRows) -> Verdict | Exception:
        try:
            return classify_entry(answer.find(self.key))
        except UnexpectedResponse as error:
            return error

    def _on_verdict(self, verdict: Verdict) -> Outcome | None:
        # Each look that does not find it counts.
        self.settled = verdict.progress is not Progress.LOST
        if verdict.progress is Progress.LOST:
            self._misses += self._was_listed
            if self._misses < MISSES_UNTIL_LOST:
                return None
            return self._outcome(
                Status.LOST, f"{self.subject} is no longer listed there; another deployment may have superseded it."
            )
        self._was_listed, self._misses = True, 0
        if verdict.progress is Progress.SUCCEEDED:
            return self._outcome(Status.SUCCEEDED, f"{self.subject} is complete.")
        if verdict.progress is Progress.FAILED:
            return self._outcome(Status.FAILED, f"{self.subject} failed to roll out ({verdict.words}).")
        return None

    def _timeout_message(self, deadline: float) -> str:
        message = super()._timeout_message(deadline)
        if self._was_listed:
            return message
        return f"{message} The endpoint never listed it: it may be queued behind another rollout, or have been dropped."
