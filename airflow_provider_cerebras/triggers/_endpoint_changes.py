"""Changes on an endpoint since an earlier poll: another version serves, or a rollout has begun or failed.

Pure. What was seen before is plain JSON, so it can be kept anywhere; comparing the same response with it finds no
change. The endpoint is polled now and then, so the changes are differences between states.

A field that cannot be read is unknown, and no change follows from it: not from an entry that lacks what an event says,
and not from a list in which such an entry may be what serves. What serves may go back to an older deployment for a
moment where a replica lags behind, so that has to be said several times in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.names import InvalidValue, ModelVersionName, shown, validate_identifier
from airflow_provider_cerebras.api.status import Progress, classify_entry
from airflow_provider_cerebras.polling.evidence import MIN_RESPONSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import JsonValue

    from airflow_provider_cerebras.api.models import DeploymentRows

EndpointEvent = Literal["serving_changed", "rollout_failed", "rollout_started"]
EVENTS: tuple[EndpointEvent, ...] = get_args(EndpointEvent)
MAX_UNLISTED = 100
"""Deployments that are remembered though the endpoint does not list them any more."""


@dataclass(frozen=True)
class EndpointChange:
    """Something that was not so before.

    :param event: what it is.
    :param deployment_id: UUID of the deployment that serves now, has begun or has failed.
    :param model_version: full name of its version, by number.
    :param previous: full name of the version that served before; None: none did, or it is not known.
    """

    event: EndpointEvent
    deployment_id: str
    model_version: str
    previous: str | None


class Entry(NamedTuple):
    """A deployment as far as it can be read; None: unknown.

    :param id: the deployment's UUID.
    :param model: full name of the version, by number.
    :param created: when it was submitted, Unix seconds.
    :param progress: how far it is.
    """

    id: str | None
    model: str | None
    created: int | None
    progress: Progress | None


class _Serving(NamedTuple):
    id: str
    model: str
    created: int


class _Rollout(NamedTuple):
    """A deployment that has been seen.

    :param failed: whether its failure has been dealt with; None: how far it was at the first poll is not known.
    """

    created: int | None
    failed: bool | None


class _Seen(NamedTuple):
    """The state that is kept from poll to poll.

    :param rollouts: the deployments that have been seen, by UUID.
    :param before: what was submitted before this moment is nothing new, Unix seconds.
    :param serving: what serves; None: nothing.
    :param is_known: whether it is known what serves.
    :param misses: responses in a row that say that an older deployment serves.
    """

    rollouts: dict[str, _Rollout]
    before: int
    serving: _Serving | None
    is_known: bool
    misses: int

    def to_json(self) -> JsonValue:
        kept: dict[str, JsonValue] = {"rollouts": {key: list(each) for key, each in sorted(self.rollouts.items())}}
        if self.before:
            kept["before"] = self.before
        if self.is_known:
            kept["serving"] = list(self.serving) if self.serving else None
        if self.misses:
            kept["misses"] = self.misses
        return kept

    @classmethod
    def from_json(cls, kept: JsonValue) -> _Seen | None:
        match kept:
            case dict() if isinstance(rollouts := kept.get("rollouts"), dict):
                before, misses = kept.get("before"), kept.get("misses")
                return cls(
                    {key: rollout for key, each in rollouts.items() if (rollout := _rollout(each)) is not None},
                    before if isinstance(before, int) else 0,
                    _serving(kept.get("serving")),
                    "serving" in kept,
                    misses if isinstance(misses, int) else 0,
                )
        return None


@dataclass(frozen=True)
class EndpointChanges:
    """Finds what has changed on an endpoint.

    Kept are the deployments that have been seen, and what serves. Of those that are not listed any more, the newest
    :data:`MAX_UNLISTED` are kept; an older one is not new.

    :param endpoint_id: id of the endpoint.
    :param events: what to find.
    """

    endpoint_id: str
    events: tuple[EndpointEvent, ...] = EVENTS

    def __post_init__(self) -> None:
        validate_identifier(self.endpoint_id, "endpoint_id")
        if not self.events or not set(self.events) <= set(EVENTS):
            raise InvalidValue(f"events: must be one or more of {', '.join(EVENTS)}, not {shown(self.events)}.")

    def compare(self, seen: JsonValue, rows: DeploymentRows, now: float) -> tuple[Sequence[EndpointChange], JsonValue]:
        """See :class:`~airflow_provider_cerebras.triggers._changes.ChangeDetector`."""
        entries = read_entries(rows)
        known = _Seen.from_json(seen)
        if known is None:
            return [], _first(seen, entries)
        changes, rollouts = _compare_rollouts(known, entries)
        change, known = _compare_serving(known, entries)
        changes = [*changes, *([change] if change else [])]
        rollouts, before = _forget(rollouts, {entry.id for entry in entries}, known.before)
        kept = known._replace(rollouts=rollouts, before=before).to_json()
        return [each for each in changes if each.event in self.events], kept

    def merge(self, stored: JsonValue, seen: JsonValue) -> JsonValue:
        """See :class:`~airflow_provider_cerebras.triggers._changes.ChangeDetector`."""
        theirs, ours = _Seen.from_json(stored), _Seen.from_json(seen)
        if theirs is None or ours is None:
            return seen if theirs is None else stored
        rollouts = {**theirs.rollouts, **ours.rollouts}
        for key in theirs.rollouts.keys() & ours.rollouts.keys():
            failed = theirs.rollouts[key].failed or ours.rollouts[key].failed
            rollouts[key] = ours.rollouts[key]._replace(failed=failed)
        # What serves by the newer deployment was seen later.
        newer = max(ours, theirs, key=lambda each: (each.is_known, each.serving.created if each.serving else 0))
        before = max(theirs.before, ours.before)
        return newer._replace(rollouts=rollouts, before=before, misses=ours.misses).to_json()


def read_entries(rows: DeploymentRows) -> list[Entry]:
    """Read all deployments of an endpoint, as far as each can be read.

    :param rows: a response about the endpoint.
    """
    return [_read_entry(rows, key) for key in rows.rows]


def find_serving(entries: Iterable[Entry]) -> Entry | None:
    """Return the deployment that serves: the newest that is complete, whatever the unknown fields are.

    :param entries: all deployments of the endpoint.
    :raises UnexpectedResponse: if that is not known.
    """
    candidates = [entry for entry in entries if entry.progress in {Progress.SUCCEEDED, None}]
    newest = max((entry.created for entry in candidates if entry.created is not None), default=None)
    top = [entry for entry in candidates if entry.created in {newest, None}]
    if any(None in entry for entry in top) or len({entry.model for entry in top}) > 1:
        raise UnexpectedResponse("It is not known which deployment serves.")
    # Of several of one version, each time the same one.
    return min(top, key=lambda entry: entry.id or "", default=None)


def _read_entry(rows: DeploymentRows, key: str | None) -> Entry:
    try:
        found = None if key is None else rows.find(key)
    except UnexpectedResponse:
        found = None
    if found is None:
        return Entry(None, None, None, None)
    return Entry(
        found.id, _numbered(found.model), found.created, classify_entry(found).progress if found.state else None
    )


def _numbered(model: str | None) -> str | None:
    try:
        name = ModelVersionName.parse(model)
    except ValueError:
        return None
    return None if name.number is None else str(name)


def _first(seen: JsonValue, entries: Sequence[Entry]) -> JsonValue:
    """Return the state at the first poll, which is no change. If it is not known, the next poll is the first."""
    if any(entry.id is None for entry in entries):
        return seen
    if not entries:
        counted = seen.get("empty") if isinstance(seen, dict) else None
        empty = (counted if isinstance(counted, int) else 0) + 1
        if empty < MIN_RESPONSES:
            return {"empty": empty}
    rollouts = {
        entry.id: _Rollout(entry.created, None if entry.progress is None else entry.progress is Progress.FAILED)
        for entry in entries
        if entry.id is not None
    }
    try:
        serving = _as_serving(find_serving(entries))
    except UnexpectedResponse:
        return _Seen(rollouts, 0, None, False, 0).to_json()
    return _Seen(rollouts, 0, serving, True, 0).to_json()


def _compare_rollouts(known: _Seen, entries: Sequence[Entry]) -> tuple[list[EndpointChange], dict[str, _Rollout]]:
    rollouts = dict(known.rollouts)
    serving = known.serving.model if known.serving else None
    changes: list[EndpointChange] = []
    for entry in sorted(entries, key=lambda entry: (entry.created or 0, entry.id or "")):
        if entry.id is None or entry.model is None or entry.created is None:
            continue  # it may be readable next time
        before = rollouts.get(entry.id)
        if before is None:
            is_new = entry.created >= known.before
            before = _Rollout(entry.created, False if is_new else None)
            if is_new:
                changes.append(EndpointChange("rollout_started", entry.id, entry.model, serving))
        if entry.progress is Progress.FAILED:
            if before.failed is False:
                changes.append(EndpointChange("rollout_failed", entry.id, entry.model, serving))
            before = before._replace(failed=True)
        elif entry.progress is not None and before.failed is None:
            before = before._replace(failed=False)
        rollouts[entry.id] = before._replace(created=entry.created)
    return changes, rollouts


def _compare_serving(known: _Seen, entries: Sequence[Entry]) -> tuple[EndpointChange | None, _Seen]:
    try:
        serving = _as_serving(find_serving(entries))
    except UnexpectedResponse:
        return None, known
    before = known.serving
    if serving is None:
        # That nothing is listed as complete does not say that nothing serves.
        return None, known
    if not known.is_known:
        return None, known._replace(serving=serving, is_known=True, misses=0)
    if before is not None and serving.created < before.created:
        has_failed = any(entry.id == before.id and entry.progress is Progress.FAILED for entry in entries)
        misses = known.misses + 1
        if not has_failed and misses < MIN_RESPONSES:
            return None, known._replace(misses=misses)
    now_known = known._replace(serving=serving, misses=0)
    if before is not None and serving.model == before.model:
        return None, now_known
    previous = before.model if before else None
    return EndpointChange("serving_changed", serving.id, serving.model, previous), now_known


def _forget(rollouts: dict[str, _Rollout], listed: set[str | None], before: int) -> tuple[dict[str, _Rollout], int]:
    unlisted = sorted(rollouts.keys() - listed, key=lambda each: (rollouts[each].created or 0, each))
    forgotten = unlisted[: max(0, len(unlisted) - MAX_UNLISTED)]
    created = [moment for each in forgotten if (moment := rollouts[each].created) is not None]
    kept = {key: rollout for key, rollout in rollouts.items() if key not in forgotten}
    return kept, max([before, *(moment + 1 for moment in created)])


def _as_serving(entry: Entry | None) -> _Serving | None:
    return (
        None if entry is None else _Serving(cast("str", entry.id), cast("str", entry.model), cast("int", entry.created))
    )


def _serving(kept: JsonValue) -> _Serving | None:
    match kept:
        case [str(key), str(model), int(created)]:
            return _Serving(key, model, created)
    return None


def _rollout(kept: JsonValue) -> _Rollout | None:
    match kept:
        case [int() | None as created, bool() | None as failed]:
            return _Rollout(created, failed)
    return None
