"""Fault rules: the requests that they hit, their effects, and their counts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_cerebras.emulator.api.error_bodies import ErrorStyle  # noqa: TC001  pydantic evaluates annotations
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.emulator.faults.matching import RequestDetails, contains


class FaultRule(BaseModel):
    """A fault, and the requests that it hits.

    For a request to match, all of ``operation``, ``path_contains``, ``organization``, ``request_headers`` and
    ``request_body`` must match. The first ``skip`` of those that match pass; then each is hit with ``probability``, at
    most ``times`` of them.

    A rule's effects come in this order: ``delay``, ``hold``, then ``drop`` or the answer of ``status``, ``message``,
    ``body`` and ``text``, then ``headers``, ``retry_after``, ``malformed``, ``slow_body`` and ``truncate`` on whatever
    answer there is. A rule without an answer of its own leaves the service's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    operation: OperationName | Literal["*"] = Field("*", description="The call; * is every request.")
    path_contains: str | None = Field(None, description="Hit only paths (decoded) with this text in them.")
    organization: str | None = Field(None, description="Hit only requests that carry a key of this organization.")
    request_headers: dict[str, str] = Field(
        {}, description="Hit only requests with these headers; names in any case, values as they are."
    )
    request_body: Any = Field(
        None,
        description="Hit only requests with this in their JSON body: of an object each field that is named here, of a "
        "list each item that is named here, of anything else the same value.",
    )
    skip: int = Field(0, ge=0, description="Matching requests to let pass first.")
    probability: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Share of the matching requests that is hit; null is all."
    )
    seed: int = Field(0, description="Which of them that is: the same seed hits the same ones.")
    times: Annotated[int, Field(ge=1)] | None = Field(
        1, description="How often it fires; null is always, and the default where there is a probability."
    )
    when: Literal["before", "after"] = Field(
        "before", description="Whether it comes before or after the service did the work."
    )
    delay: float = Field(0, ge=0, allow_inf_nan=False, description="Seconds of real time to wait.")
    hold: bool = Field(False, description="Do not go on until the rule is deleted.")
    drop: bool = Field(False, description="Close the connection without an answer.")
    status: int | None = Field(None, ge=200, le=599, description="Status of the answer; 200 if only a body is given.")
    message: str | None = Field(None, description="Text of an error answer, whose body has the form of `error_style`.")
    error_style: ErrorStyle | None = Field(
        None, description="Form of the body with `message`; null is that of the API which was called."
    )
    body: Any = Field(None, description="JSON body of the answer.")
    text: str | None = Field(None, description="Body of the answer as it is.")
    content_type: str = Field("text/html; charset=utf-8", description="Media type of `text`.")
    headers: dict[str, str] = Field({}, description="Headers to set in the answer.")
    retry_after: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Seconds in the answer's Retry-After; as a date it can be one of `headers`."
    )
    malformed: bool = Field(False, description="Leave out the second half of the body, so that its JSON is none.")
    slow_body: float = Field(
        0, ge=0, allow_inf_nan=False, description="Seconds of real time over which the answer's body is sent."
    )
    truncate: bool = Field(False, description="Announce the whole answer, send half of it and close.")
    fail_sync: str | None = Field(
        None, min_length=1, description="Reason for which the sync of the uploaded version will fail."
    )
    fail_rollout: str | None = Field(
        None, min_length=1, description="Reason for which the rollout of the deployment will fail."
    )

    @property
    def answers(self) -> bool:
        """Whether the rule has a response of its own."""
        return not {"status", "message", "body", "text"}.isdisjoint(self.model_fields_set)

    def matches(self, request: RequestDetails) -> bool:
        """Return whether the rule matches a request."""
        return (
            self.operation in {request.operation, "*"}
            and (self.path_contains or "") in request.path
            and self.organization in {None, request.organization}
            and all(request.headers.get(name.lower()) == value for name, value in self.request_headers.items())
            and ("request_body" not in self.model_fields_set or contains(request.body, self.request_body))
        )

    @field_validator("request_headers")
    @classmethod
    def _no_keys(cls, headers: dict[str, str]) -> dict[str, str]:
        if any(name.lower() == "authorization" for name in headers):
            raise ValueError("a rule shows its headers to everybody, so it has no key: use organization")
        return headers

    @model_validator(mode="before")
    @classmethod
    def _always_where_it_is_by_chance(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("probability") is not None:
            return {"times": None, **data}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = self.model_fields_set
        if len(given & {"body", "message", "text"}) > 1:
            raise ValueError("body, message and text exclude each other")
        if self.message is not None and (self.status is None or self.status < 400):
            raise ValueError("a message is that of an error: it needs a status of 400 or more")
        if self.message is None and self.error_style is not None:
            raise ValueError("error_style is the form of a message, and there is none")
        if self.probability is None and "seed" in given:
            raise ValueError("a seed is of use with a probability only")
        shape = (self.headers, self.retry_after is not None, self.malformed, self.slow_body, self.truncate)
        if self.drop and (self.answers or any(shape)):
            raise ValueError("a dropped connection has no answer")
        planned = {OperationName.UPLOAD_MODEL_VERSION: self.fail_sync, OperationName.DEPLOY_MODEL: self.fail_rollout}
        for operation, reason in planned.items():
            if reason is not None and self.operation not in {operation, "*"}:
                raise ValueError(f"{self.operation} has neither a sync nor a rollout that could fail so")
        if not any((self.delay, self.hold, self.drop, self.answers, *shape, *planned.values())):
            raise ValueError("the rule has no effect")
        return self


class ArmedFault:
    """A rule in force, with its counts.

    :param profile: Name of the profile that it belongs to, if any.
    """

    def __init__(self, fault_id: int, rule: FaultRule, profile: str | None = None) -> None:
        self.fault_id = fault_id
        self.rule = rule
        self.profile = profile
        self.skipped = 0
        self.fired = 0
        self.abandoned = False
        self._deleted = asyncio.Event()
        self._chance = random.Random(rule.seed)  # noqa: S311  it is to be repeatable

    def take(self) -> bool:
        """Count a matching request, and return whether the rule hits it."""
        if self.skipped < self.rule.skip:
            self.skipped += 1
            return False
        if self.rule.times is not None and self.fired >= self.rule.times:
            return False
        # Drawn for each, so that which ones are hit depends on nothing but the seed.
        if self.rule.probability is not None and self._chance.random() >= self.rule.probability:
            return False
        self.fired += 1
        return True

    async def pause(self, seconds: float) -> None:
        """Sleep in real time, at most until the rule is removed."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deleted.wait(), seconds)

    async def wait(self) -> None:
        """Wait as the rule says, at most until it is removed."""
        await self.pause(self.rule.delay)
        if self.rule.hold:
            await self._deleted.wait()

    def delete(self, *, abandon: bool = False) -> None:
        """Wake all waiters.

        :param abandon: Whether their requests are dropped instead of continuing.
        """
        self.abandoned = abandon
        self._deleted.set()


class FaultBook:
    """The rules in force, oldest first.

    All methods run on the event loop's thread and none of them awaits, so the counts are exact.
    """

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._faults: dict[int, ArmedFault] = {}

    def all(self) -> list[ArmedFault]:
        """The rules in force."""
        return list(self._faults.values())

    def add(self, rule: FaultRule, profile: str | None = None) -> ArmedFault:
        """Add a rule.

        :param profile: Name of the profile that it belongs to, if any.
        """
        fault = ArmedFault(next(self._ids), rule, profile)
        self._faults[fault.fault_id] = fault
        return fault

    def delete(self, fault_id: int) -> bool:
        """Remove a rule, and return whether there was one."""
        fault = self._faults.pop(fault_id, None)
        if fault is None:
            return False
        fault.delete()
        return True

    def end_profile(self, profile: str) -> int:
        """Remove the rules of a profile, and return their number."""
        return sum(self.delete(fault.fault_id) for fault in self.all() if fault.profile == profile)

    def clear(self, *, abandon: bool = False) -> int:
        """Remove all rules, and return their number.

        :param abandon: Whether the requests that wait are dropped instead of continuing.
        """
        faults = self.all()
        self._faults.clear()
        for fault in faults:
            fault.delete(abandon=abandon)
        return len(faults)

    def take(self, request: RequestDetails) -> ArmedFault | None:
        """Return the rule that hits a request: the oldest one that matches, does not skip it and is not exhausted."""
        return next((fault for fault in self._faults.values() if fault.rule.matches(request) and fault.take()), None)
