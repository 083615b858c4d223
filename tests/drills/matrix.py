"""The cells of the crash matrix: which instant, what happens then, to what, waiting how."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Operation(StrEnum):
    """What the task does."""

    UPLOAD = "upload"
    DEPLOY = "deploy"


class Mode(StrEnum):
    """How the task waits."""

    BLOCKING = "blocking"
    DEFERRABLE = "deferrable"


class Instant(StrEnum):
    """How far the task is."""

    BEFORE = "before"
    SENT = "sent"
    PROCESSED = "processed"
    ANSWERED = "answered"
    RECORDED = "recorded"
    DEFERRED = "deferred"
    RESUMED = "resumed"


class Event(StrEnum):
    """What happens."""

    SIGKILL = "SIGKILL"
    DROPPED = "dropped"
    TIMEOUT = "timeout"
    STATUS_500 = "500"
    STATUS_503 = "503"
    STATUS_502 = "502-html"


POSTS = {Operation.UPLOAD: "upload_model_version", Operation.DEPLOY: "deploy_model"}
"""The request that must take effect once."""
LOOKS = {Operation.UPLOAD: "get_model_version", Operation.DEPLOY: "get_endpoint"}
"""The request that precedes it, and by which the wait goes on."""

FAULTS: dict[Event, dict[str, Any]] = {
    Event.DROPPED: {"drop": True},
    Event.TIMEOUT: {"hold": True, "drop": True},
    Event.STATUS_500: {"status": 500, "body": {"detail": "Internal Server Error"}},
    Event.STATUS_503: {"status": 503, "body": {"detail": "Service Unavailable"}},
    Event.STATUS_502: {"status": 502, "text": "<html><body><h1>502 Bad Gateway</h1></body></html>"},
}


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    operation: Operation
    mode: Mode
    instant: Instant
    event: Event

    def __str__(self) -> str:
        return "-".join((self.operation, self.mode, self.instant, self.event))

    @property
    def dag_id(self) -> str:
        return f"{self.operation}_{self.mode}"

    @property
    def rule(self) -> dict[str, Any] | None:
        """The emulator's fault rule that brings the event about; None if the task stops by itself."""
        if self.event is Event.SIGKILL:
            # The request is held for as long as the kill takes, and what was not processed until then never is.
            effect = {"hold": True, "drop": self.instant is not Instant.PROCESSED}
        else:
            effect = FAULTS[self.event]
        match self.instant:
            case Instant.BEFORE:
                return {"operation": LOOKS[self.operation], **effect}
            case Instant.SENT:
                return {"operation": POSTS[self.operation], **effect}
            case Instant.PROCESSED:
                return {"operation": POSTS[self.operation], "when": "after", **effect}
            case Instant.RECORDED | Instant.DEFERRED if self.event is not Event.SIGKILL:
                # Past the look before the submission: the first two polls.
                return {"operation": LOOKS[self.operation], "skip": 1, "times": 2, **effect}
        return None

    @property
    def kills_triggerer(self) -> bool:
        """Whether no worker runs the task at the instant."""
        return self.event is Event.SIGKILL and self.instant is Instant.DEFERRED

    @property
    def tries(self) -> int:
        """How many attempts it takes: one more if the process that runs the task is killed."""
        return 2 if self.event is Event.SIGKILL and not self.kills_triggerer else 1

    @property
    def lasts(self) -> bool:
        """Whether the deploy operator has to wait for its settling time."""
        return self.operation is Operation.DEPLOY and self.instant is Instant.SENT and self.tries == 1


def exists(mode: Mode, instant: Instant, event: Event) -> bool:
    """Whether there is such a cell.

    Who blocks is never deferred nor resumed. A request can only fail where there is one: none is under way when an
    answer was received, nor when the task resumes, and the first one after the note is the worker's or the trigger's.
    """
    if event is Event.SIGKILL:
        return mode is Mode.DEFERRABLE or instant not in {Instant.DEFERRED, Instant.RESUMED}
    polls = Instant.RECORDED if mode is Mode.BLOCKING else Instant.DEFERRED
    return instant in {Instant.BEFORE, Instant.SENT, Instant.PROCESSED, polls}


CELLS = [
    Cell(operation, mode, instant, event)
    for operation in Operation
    for mode in Mode
    for instant in Instant
    for event in Event
    if exists(mode, instant, event)
]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What has come of a drill.

    :param error: what was not as it must be; None if all was.
    :param tries: how many attempts the task made.
    :param posts: how many times the request was sent that must take effect once.
    :param results: how many versions or deployments there are in the end.
    :param seconds: how long it took.
    """

    error: str | None
    tries: int = 0
    posts: int = 0
    results: int = 0
    seconds: float = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)
