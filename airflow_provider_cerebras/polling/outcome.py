"""The outcome of a wait, and its form as the payload of a trigger's event."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(StrEnum):
    """The outcome of a wait."""

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
    :param seen: whether the service has listed what was waited for, which a later wait for the same has to know.
    """

    status: Status
    message: str
    ids: Mapping[str, str]
    seen: bool = False

    def to_event(self) -> dict[str, str | bool]:
        """Return it as the payload of a trigger's event: plain JSON without secrets."""
        seen = {"seen": True} if self.seen else {}
        return {"status": self.status.value, "message": self.message, **self.ids, **seen}

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
        return cls(
            Status(fields["status"]),
            fields["message"],
            {name: fields[name] for name in ids},
            fields.get("seen") is True,
        )
