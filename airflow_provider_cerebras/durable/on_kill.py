"""The deletion of the version that a killed task waits for, and when it must not happen.

Airflow calls ``on_kill`` for more than a user's kill: on the SIGTERM of an eviction, on ``execution_timeout``, and when
another triggerer has taken over a trigger. So a version is deleted only on evidence, each part of which is asked for
as close to the DELETE as can be:

* Airflow says that a user has failed or cleared the task (:func:`judge`);
* the attempt that is killed is the newest that has claimed the version, and still waits for it (:func:`may_delete`):
  the claim, one more alias, comes off when the wait has ended;
* no endpoint lists the version (:func:`deletion`).

What cannot be asked is not deleted.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.api.evidence import deployed_name, listed_deployments, listed_endpoint_ids
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_version
from airflow_provider_cerebras.durable.alias_lists import AliasEditor
from airflow_provider_cerebras.durable.aliases import find_version
from airflow_provider_cerebras.durable.identity import OWN_ALIAS
from airflow_provider_cerebras.durable.upload_steps import known_aliases
from airflow_provider_cerebras.exceptions import AliasesUnsettled

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import Endpoint, EndpointList, ModelVersion
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.polling.log import Log

NOT_CANCELLED = "An upload cannot be cancelled: model version %s goes on syncing at the service."
NOT_DELETED = "Model version %s is not deleted, although delete_on_kill is set: %s"
DELETED = "Deleted model version %s, since a user ended the task and delete_on_kill is set."

_LATER = frozenset({"scheduled", "queued", "running"})


class Judgement(Enum):
    """The reason of a call of ``on_kill``, by the state of the task."""

    KILLED = "a user has failed or cleared the task"
    NOT_KILLED = "it was neither failed nor cleared"
    NOT_YET_KNOWN = "a clear or the end of its wait has made it run again"


def judge(state: str | None, *, was_deferred: bool, cleared: bool) -> Judgement:
    """Say whether a user has ended a task, by the state in which Airflow has it now.

    :param state: the state; None: it has none.
    :param was_deferred: whether the task was deferred when it was killed; if not, it held a worker.
    :param cleared: whether a later generation of the same task run has made a version; see :func:`was_cleared`.
    """
    # Nothing but a clear makes a running task "restarting", and takes the state from a deferred one.
    of_users: set[str | None] = {"failed", None} if was_deferred else {"failed", "restarting"}
    if cleared or state in of_users:
        return Judgement.KILLED
    return Judgement.NOT_YET_KNOWN if was_deferred and state in _LATER else Judgement.NOT_KILLED


def may_delete(claim: str | None, aliases: Sequence[str]) -> bool:
    """Return whether the attempt that is killed may delete the version.

    :param claim: alias by which it has claimed the version; None: its upload is not durable, so no attempt can have
        adopted the version.
    :param aliases: the aliases that the version holds now.
    """
    if claim is None:
        return True
    mine = OWN_ALIAS.fullmatch(claim)
    if mine is None or claim not in aliases:
        return False
    others = filter(None, map(OWN_ALIAS.fullmatch, aliases))
    attempts = [(int(other[2]), int(other[3])) for other in others if other[3] and other[1] == mine[1]]
    return max(attempts) == (int(mine[2]), int(mine[3]))


def was_cleared(claim: str | None, aliases: Iterable[Sequence[str]]) -> bool:
    """Return whether a task waits for another version by now, since a user has cleared it.

    :param claim: alias by which the attempt has claimed its version; None: its upload is not durable, so it cannot be
        told.
    :param aliases: the aliases of each version of the architecture.
    """
    mine = OWN_ALIAS.fullmatch(claim or "")
    if mine is None:
        return False
    own = filter(None, (OWN_ALIAS.fullmatch(alias) for held in aliases for alias in held))
    return any(other[1] == mine[1] and int(other[2]) > int(mine[2]) for other in own)


def retire(client: CerebrasClient, model_version: str, identity: Identity, *, log: Log) -> None:
    """Keep the next attempt from adopting a version, since a user has cleared the task while it held a worker.

    :param client: how to reach the service.
    :param model_version: full name of the version, by number.
    :param identity: the identity that it carries.
    :param log: logger for its actions.
    """
    version = find_version(client, model_version)
    held = (known_aliases(version) or ()) if version is not None else ()
    if version is not None and identity.alias in held:
        given_up = [alias for alias in held if identity.owns(alias)]
        # Airflow ends the process in a few seconds.
        AliasEditor(client, log=log).change(version.name, add=[identity.retired], remove=given_up, settle=False)


def claims_on(version: ModelVersion, base: str) -> tuple[str, ...]:
    """The claims that attempts of a task run have on a version.

    :param version: the version, as a response shows it.
    :param base: the base of the task run's identity.
    """
    matches = filter(None, map(OWN_ALIAS.fullmatch, known_aliases(version) or ()))
    return tuple(match[0] for match in matches if match[1] == base and int(match[3] or 0))


def release_claims(
    client: CerebrasClient,
    model_version: str,
    base: str,
    *,
    log: Log,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Take the claims of a task run off a version, since its wait is over. A failure of that fails no task.

    :param client: how to reach the service.
    :param model_version: full name of the version.
    :param base: the base of the task run's identity.
    :param log: where a failure goes.
    :param sleep: spends the seconds of a pause.
    """
    try:
        version = find_version(client, model_version)
        claims = claims_on(version, base) if version else ()
        if version and claims:
            # Without a settling time: a claim that another task has put back by an old list is no proof of a kill.
            AliasEditor(client, log=log, sleep=sleep).change(version.name, remove=claims, settle=False)
    except (CerebrasError, AliasesUnsettled) as error:
        log.warning("The claim of this task stays on model version %s: %s", model_version, error)


def is_cleared_since(model_version: str, claim: str | None) -> Generator[Any, Any, bool]:
    """Ask the service whether a later generation has made a version; yields calls and is sent their responses.

    :param model_version: full name, by number.
    :param claim: see :func:`was_cleared`.
    """
    if claim is None:
        return False
    name = ModelVersionName.parse(model_version)
    listed = yield operations.list_model_versions(name.org_name, name.model_arch_id)
    return was_cleared(claim, [known_aliases(version) or () for version in listed.model_versions])


def deletion(model_version: str, claim: str | None) -> Generator[Any, Any, str | None]:
    """Delete a version unless it is in use or claimed since; yields calls and is sent their responses.

    :param model_version: full name, by number.
    :param claim: see :func:`may_delete`.
    :return: why it was not deleted; None: it was.
    :raises UnexpectedResponse: if a response leaves open what an endpoint lists.
    """
    name = ModelVersionName.parse(model_version)
    if name.number is None:
        return "it is known by an alias only, which may have moved."
    endpoints: EndpointList = yield operations.list_endpoints(name.org_name)
    endpoint_ids = listed_endpoint_ids(endpoints, name.org_name)
    for endpoint_id, summary in zip(endpoint_ids, endpoints.endpoints, strict=True):
        if summary.model_arch_id not in {None, name.model_arch_id}:
            continue  # a version serves on endpoints of its own architecture only
        endpoint = yield operations.get_endpoint(endpoint_id)
        if reason := _use(endpoint, model_version):
            return reason
    version: ModelVersion = yield operations.get_model_version(model_version)
    aliases = known_aliases(version)
    if version.name != model_version or aliases is None:
        return "the response about it does not say which aliases it holds."
    if claim is None and classify_version(version).progress is not Progress.PENDING:
        return "its sync has ended, so its wait may be over, and without durable=True nothing else says so."
    if not may_delete(claim, aliases):
        return "its wait is over, or another attempt waits for it since."
    yield operations.delete_model_version(model_version)
    return None


def _use(endpoint: Endpoint, model_version: str) -> str | None:
    """Why a version may be in use on an endpoint, or None if it is not."""
    for entry in listed_deployments(endpoint):
        listed = deployed_name(entry)
        if listed is None:
            return f"endpoint {endpoint.name} lists a deployment of which it is not known which version it is."
        # It is not documented whether the service distinguishes case.
        if str(listed).casefold() == model_version.casefold():
            return f"endpoint {endpoint.name} lists it (state {entry.state})."
    return None
