"""Fault rules: which requests they hit, what they do to them, and the count of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_cerebras.emulator.operations import OperationName

if TYPE_CHECKING:
    from collections.abc import Mapping


class FaultRule(BaseModel):
    """What goes wrong, and with which requests.

    A rule's effects come in this order: ``delay``, ``hold``, then ``drop`` or the answer of ``status``, ``body`` and
    ``text``, then ``headers`` and ``truncate`` on whatever answer there is. A rule without an answer of its own
    leaves the service's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation: OperationName | Literal["*"] = Field(description="The call; * is every request.")
    path_contains: str | None = Field(None, description="Hit only paths (decoded) with this text in them.")
    times: Annotated[int, Field(ge=1)] | None = Field(1, description="How often it fires; null is always.")
    skip: int = Field(0, ge=0, description="Matching requests to let pass first.")
    when: Literal["before", "after"] = Field(
        "before", description="Whether it comes before or after the service did the work."
    )
    delay: float = Field(0, ge=0, description="Seconds of real time to wait.")
    hold: bool = Field(False, description="Do not go on until the rule is deleted.")
    drop: bool = Field(False, description="Close the connection without an answer.")
    status: int | None = Field(None, ge=200, le=599, description="Status of the answer; 200 if only a body is given.")
    body: Any = Field(None, description="JSON body of the answer.")
    text: str | None = Field(None, description="Body of the answer as it is.")
    content_type: str = Field("text/html; charset=utf-8", description="Media type of `text`.")
    headers: dict[str, str] = Field({}, description="Headers to set in the answer.")
    truncate: bool = Field(False, description="Announce the whole answer, send half of it and close.")
    fail_sync: str | None = Field(
        None, min_length=1, description="Reason for which the sync of the uploaded version will fail."
    )
    fail_rollout: str | None = Field(
        None, min_length=1, description="Reason for which the rollout of the deployment will fail."
    )

    @property
    def answers(self) -> bool:
        """Whether the rule has an answer of its own."""
        return not {"status", "body", "text"}.isdisjoint(self.model_fields_set)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "body" in self.model_fields_set and self.text is not None:
            raise ValueError("body and text exclude each other")
        if self.drop and (self.answers or self.truncate or self.headers):
            raise ValueError("a dropped connection has no answer")
        planned = {OperationName.UPLOAD_MODEL_VERSION: self.fail_sync, OperationName.DEPLOY_MODEL: self.fail_rollout}
        for operation, reason in planned.items():
            if reason is not None and self.operation not in {operation, "*"}:
                raise ValueError(f"{self.operation} has neither a sync nor a rollout that could fail so")
        effects = (self.delay, self.hold, self.drop, self.answers, self.headers, self.truncate, *planned.values())
        if not any(effects):
            raise ValueError("the rule has no effect")
        return self


class ArmedFault:
    """A rule in force, with its counts."""

    def __init__(self, fault_id: int, rule: FaultRule) -> None:
        self.fault_id = fault_id
        self.rule = rule
        self.skipped = 0
        self.fired = 0
        self.abandoned = False
        self._deleted = asyncio.Event()

    def take(self) -> bool:
        """Count one matching request, and say whether the rule hits it."""
        if self.skipped < self.rule.skip:
            self.skipped += 1
            return False
        if self.rule.times is not None and self.fired >= self.rule.times:
            return False
        self.fired += 1
        return True

    async def wait(self) -> None:
        """Wait as the rule says, but not beyond its deletion."""
        if self.rule.delay:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deleted.wait(), self.rule.delay)
        if self.rule.hold:
            await self._deleted.wait()

    def delete(self, *, abandon: bool = False) -> None:
        """Let everyone go who waits.

        :param abandon: Whether their requests are to be dropped instead of going on.
        """
        self.abandoned = abandon
        self._deleted.set()


class FaultBook:
    """The rules in force, oldest first.

    All methods run on the event loop's thread and none of them awaits, which is why the counts are exact.
    """

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._faults: dict[int, ArmedFault] = {}

    def all(self) -> list[ArmedFault]:
        """The rules in force."""
        return list(self._faults.values())

    def add(self, rule: FaultRule) -> ArmedFault:
        """Put a rule in force."""
        fault = ArmedFault(next(self._ids), rule)
        self._faults[fault.fault_id] = fault
        return fault

    def delete(self, fault_id: int) -> bool:
        """End a rule, and say whether there was one."""
        fault = self._faults.pop(fault_id, None)
        if fault is None:
            return False
        fault.delete()
        return True

    def clear(self, *, abandon: bool = False) -> int:
        """End all rules, and say how many there were.

        :param abandon: Whether the requests that wait are to be dropped instead of going on.
        """
        faults = self.all()
        self._faults.clear()
        for fault in faults:
            fault.delete(abandon=abandon)
        return len(faults)

    def take(self, operation: OperationName | None, path: str) -> ArmedFault | None:
        """The rule that hits a request: the oldest one that matches and is neither skipping nor used up.

        :param operation: None for a request that is none of the calls.
        :param path: Decoded path.
        """
        for fault in self._faults.values():
            rule = fault.rule
            if rule.operation in {operation, "*"} and (rule.path_contains or "") in path and fault.take():
                return fault
        return None


SCOPE_KEY = "cerebras_emulator.fault"
"""Where the rule that hit a request is noted in its ASGI scope."""


def rule_of(scope: Mapping[str, Any]) -> FaultRule | None:
    """The rule that hit the request of an ASGI scope, if any did."""
    rule: FaultRule | None = scope.get(SCOPE_KEY)
    return rule
