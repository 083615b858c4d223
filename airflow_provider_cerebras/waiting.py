"""What one who waits concludes from each answer. The decision is made here only, whoever does the asking.

A :class:`Watch` is told each answer, or why there is none, and says whether the waiting has come to an end. It does
no I/O and reads no clock, so triggers, blocking operators and sensors share it and cannot drift apart.

Two rules shape it. "Cannot ask" is never "failed": a request that fails is repeated until the deadline, unless it can
never succeed. And a deadline that has passed already still allows one look, so what has ended is never called late.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import PERMANENT, CerebrasError, NotFound, UnexpectedResponse
from airflow_provider_cerebras.api.models import DeploymentRows, ModelVersion, ModelVersionRows
from airflow_provider_cerebras.api.names import ModelVersionName, validate_identifier
from airflow_provider_cerebras.api.status import Progress, Verdict, classify_entry, classify_version
from airflow_provider_cerebras.metrics import DEPLOYMENT, MODEL_VERSION, Subject

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Mapping

    from airflow_provider_cerebras.api.operations import Call

AnswerT = TypeVar("AnswerT")

NOT_FOUND_GRACE = 60.0
"""Seconds from the start of a wait in which "not found" may mean "not visible yet"."""
MISSES_UNTIL_LOST = 3
"""Answers in a row without a deployment that was listed before, until it counts as lost."""


class Status(StrEnum):
    """How a wait ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a wait; it travels from a trigger to its task as an event.

    :param status: how it ended.
    :param message: what happened to what, and what can be done about it.
    :param ids: what was waited for.
    """

    status: Status
    message: str
    ids: Mapping[str, str]

    def to_event(self) -> dict[str, str]:
        """Return it as the payload of a trigger's event: plain JSON without secrets."""
        return {"status": self.status.value, "message": self.message, **self.ids}

    @classmethod
    def from_event(cls, event: object, *ids: str) -> Outcome:
        """Read the payload of an event.

        :param event: what the trigger sent.
        :param ids: names of the ids that it must hold.
        :raises ValueError: if it is not what a trigger of this provider sends.
        """
        fields = event if isinstance(event, dict) else {}
        missing = [name for name in ("status", "message", *ids) if not isinstance(fields.get(name), str)]
        if missing:
            raise ValueError(f"The trigger's event has no {', '.join(missing)}.")
        if fields["status"] not in set(Status):
            raise ValueError(f"The trigger's event has the unknown status {fields['status']!r}.")
        return cls(Status(fields["status"]), fields["message"], {name: fields[name] for name in ids})


class Watch(ABC, Generic[AnswerT]):
    """Follows one thing until it ends.

    :param deadline: when to give up, in Unix seconds; None: never.
    :param started: when the wait began, in Unix seconds.
    :ivar call: what to send for the next look.
    :ivar collection: names what is watched; whoever has the same can be told the same answers.
    :ivar collective: what to send for a look on behalf of all who watch the collection.
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

    def hear(self, answer: object, now: float) -> Outcome | None:
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

    def must_hear(self, changed: Container[object], now: float) -> bool:
        """Whether a look may mean anything to who has heard all others; if not, :meth:`hear` can be left out.

        :param changed: the keys of what is not as it was at the last look that got an answer.
        :param now: see :meth:`hear`.
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


class ModelVersionWatch(Watch[ModelVersion]):
    """Follows the sync of a model version.

    :param model_version: full name.
    :param deadline: see :class:`Watch`.
    :param started: see :class:`Watch`.
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


class DeploymentWatch(Watch[DeploymentRows]):
    """Follows the rollout of a deployment.

    The API has no call that reads a deployment, so its entry among the endpoint's deployments is followed. One that
    was never listed may wait in a queue, so it is pending; one that was listed and is gone has been superseded.

    :param endpoint_id: id of the endpoint.
    :param deployment_id: UUID of the deployment.
    :param deadline: see :class:`Watch`.
    :param started: see :class:`Watch`.
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


class Log(Protocol):
    """As much of a logger as is needed here; Airflow's are of more than one class."""

    def info(self, message: str, /, *args: object) -> object:
        """Log what a person may want to know."""

    def warning(self, message: str, /, *args: object) -> object:
        """Log what a person may have to look into."""


def tell(watch: Watch[Any], answer: object, *, now: float, log: Log) -> Outcome | None:
    """Let a watch hear the result of a look, log what has changed by it, and count its end.

    :param watch: who waits.
    :param answer: see :meth:`Watch.hear`.
    :param now: see :meth:`Watch.hear`.
    :param log: where the progress goes.
    """
    before = watch.progress
    outcome = watch.hear(answer, now)
    if outcome is not None:
        log.info("%s", outcome.message)
        watch.metrics.count(f"waits.{outcome.status}", watch.belongs_to)
        if outcome.status is Status.SUCCEEDED:
            watch.metrics.took(now - watch.started, watch.belongs_to)
    elif watch.failures:
        log.warning("%s: %s; it will be asked again.", watch.subject, watch.progress)
    elif watch.progress != before:
        log.info("%s: %s.", watch.subject, watch.progress)
    return outcome
