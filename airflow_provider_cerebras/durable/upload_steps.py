"""The next step of an upload: one pure decision from the state of the service.

:func:`decide` is the whole policy; :class:`~.uploads.Upload` carries it out. :func:`mismatch` says whether a version
that was found is what the task run uploads: only such a version is adopted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_version
from airflow_provider_cerebras.durable.identity import OWN_ALIAS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.durable.identity import Identity


# Named tuples, since a frozen dataclass would cost each parse of a DAG's file half a millisecond.
class UploadRequest(NamedTuple):
    """The upload that a task asks for.

    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    :param weight_uri: where the weights lie.
    :param system_fingerprint_suffix: as given by the user.
    :param version_aliases: the aliases that the user wants on the version.
    :param move_aliases: whether an alias is taken from a version that has nothing to do with this task run.
    :param identity: who is asking; None: nothing is adopted.
    :param claims: whether the version says which attempt waits for it, for the sake of a kill.
    :param begins: whether no version of this identity can be this task run's; see :mod:`.generations`.
    :param weights_alias: alias by which a version of the same weights is found and adopted; None: that is not wanted.
    """

    org_name: str
    model_arch_id: str
    weight_uri: str
    system_fingerprint_suffix: str | None = None
    version_aliases: tuple[str, ...] = ()
    move_aliases: bool = False
    identity: Identity | None = None
    claims: bool = False
    begins: bool = False
    weights_alias: str | None = None

    @property
    def own_aliases(self) -> tuple[str, ...]:
        """The aliases that the version carries for us."""
        if self.identity is None:
            return ()
        return (self.identity.alias, self.identity.claim) if self.claims else (self.identity.alias,)

    def name(self, version_id: str) -> str:
        """Full name of a version of the same organization and architecture."""
        return str(ModelVersionName(self.org_name, self.model_arch_id, version_id))


class Observed(NamedTuple):
    """The state of the service, as far as an upload depends on it.

    :param mine: the version of this identity, if there is one.
    :param holders: the versions that hold the aliases that the user wants.
    :param just_made: whether this very attempt has made ``mine``. If that one fails, it is not replaced: the weights
        are the same, and so would the failure be.
    :param same: the version of the same weights, if there is one and ``mine`` is None; it may be of another task.
    """

    mine: ModelVersion | None
    holders: Mapping[str, ModelVersion]
    just_made: bool = False
    same: ModelVersion | None = None


class Create(NamedTuple):
    """Make a version with these aliases."""

    aliases: tuple[str, ...]


class ChangeAliases(NamedTuple):
    """Add aliases to a version and remove others, for this reason; all others stay."""

    model_version: str
    add: tuple[str, ...]
    remove: tuple[str, ...]
    reason: str


class MoveAlias(NamedTuple):
    """Take an alias from its holder and give it to a version."""

    alias: str
    holder: str
    target: str


class Refuse(NamedTuple):
    """Fail, since another version holds an alias."""

    alias: str
    holder: str
    made: str | None


class Finish(NamedTuple):
    """Nothing is left to do."""

    version: ModelVersion


Step = Create | ChangeAliases | MoveAlias | Refuse | Finish


def decide(request: UploadRequest, observed: Observed) -> Step:
    """Return the next step.

    :param request: the wanted upload.
    :param observed: the observed state; ``mine`` has no :func:`mismatch`.
    """
    mine = observed.mine or observed.same
    if mine is not None and classify_version(mine).progress is Progress.FAILED:
        return _after_failure(request, observed, mine)
    left_out: set[str] = set()
    for alias in request.version_aliases:
        holder = observed.holders.get(alias)
        if holder is None or (mine is not None and holder.name == mine.name):
            continue
        generation = _generation(request, holder)
        if generation is None and not request.move_aliases:
            return Refuse(alias, holder.name, mine.name if mine else None)
        if generation is None and mine is not None:
            return MoveAlias(alias, holder.name, mine.name)
        if request.identity is not None and generation is not None and generation <= request.identity.generation:
            return ChangeAliases(
                holder.name, (), (alias,), f"alias {alias!r} goes to what replaces it in the same task run"
            )
        # Either it is moved once there is something to move it to, or the task was cleared since and a newer attempt
        # has it: that is where it belongs.
        left_out.add(alias)
    # A version of the same weights may be of another task, whose version it stays.
    own_aliases = () if mine is not None and mine is observed.same else request.own_aliases
    wanted = [alias for alias in (*own_aliases, *request.version_aliases) if alias not in left_out]
    if mine is None:
        return Create((*wanted, *filter(None, [request.weights_alias])))
    missing = tuple(alias for alias in wanted if alias not in (known_aliases(mine) or ()))
    if missing:
        return ChangeAliases(mine.name, missing, (), f"it lacked {', '.join(missing)}")
    return Finish(mine)


def _after_failure(request: UploadRequest, observed: Observed, failed: ModelVersion) -> Step:
    """Make room for another version, by taking from the failed one what the other one needs."""
    reason = "it failed to sync and makes room for another"
    if observed.mine is None:
        return ChangeAliases(failed.name, (), tuple(filter(None, [request.weights_alias])), reason)
    if observed.just_made or request.identity is None:
        return Finish(failed)
    needed = {*request.version_aliases, request.weights_alias}
    held = known_aliases(failed) or ()
    given_up = tuple(alias for alias in held if alias in needed or request.identity.owns(alias))
    return ChangeAliases(failed.name, (), given_up, reason)


def known_aliases(version: ModelVersion) -> tuple[str, ...] | None:
    """The aliases that a version holds; None: the response does not say, which is not the same as none.

    :param version: the version, as a response shows it.
    """
    aliases = version.details.version_aliases
    return None if aliases is None else tuple(aliases)


class Mismatch(NamedTuple):
    """Why a version that was found is not adopted.

    :param field: what differs.
    :param wanted: the required value.
    :param found: the value found; None: the response lacks it, so it may be the right one.
    """

    field: str
    wanted: str
    found: str | None


def mismatch(request: UploadRequest, version: ModelVersion, *, by_alias: bool) -> Mismatch | None:
    """Return why a found version is not what the request uploads; None if it is. Any client can set our alias.

    :param request: the wanted upload.
    :param version: what was found.
    :param by_alias: whether it was found by the identity alias, which it must carry then.
    """
    details = version.details
    name = _parsed(version.name)
    if (
        name is None
        or name.number is None
        or (name.org_name, name.model_arch_id) != (request.org_name, request.model_arch_id)
    ):
        return Mismatch("name", request.name("<number>"), version.name)
    aliases = known_aliases(version)
    if by_alias and request.identity is not None and request.identity.alias not in (aliases or ()):
        return Mismatch(
            "version_aliases", request.identity.alias, None if aliases is None else ", ".join(aliases) or "none"
        )
    if (details.customer_s3_uri or "").rstrip("/") != request.weight_uri.rstrip("/"):
        return Mismatch("customer_s3_uri", request.weight_uri, details.customer_s3_uri)
    suffix = details.system_fingerprint_suffix
    if (suffix or "") != (request.system_fingerprint_suffix or ""):
        return Mismatch("system_fingerprint_suffix", request.system_fingerprint_suffix or "none", suffix)
    return None


def is_same(request: UploadRequest, version: ModelVersion) -> bool:
    """Return whether a version that was found by the alias of the weights is proved to be one that may be adopted.

    Where its weights lay does not count: the same bytes may be at several places.

    :param request: the wanted upload.
    :param version: what was found.
    """
    name = _parsed(version.name)
    return (
        name is not None
        and name.number is not None
        and (name.org_name, name.model_arch_id) == (request.org_name, request.model_arch_id)
        and request.weights_alias in (known_aliases(version) or ())
        and (version.details.system_fingerprint_suffix or "") == (request.system_fingerprint_suffix or "")
    )


def is_older(request: UploadRequest, found: ModelVersion) -> bool:
    """Return whether a version with our identity was made before this task run began, in a run of the same id.

    :param request: the wanted upload.
    :param found: what was found by the identity alias.
    """
    identity = request.identity
    if identity is None or not request.begins:
        return False
    # A later attempt that waits for it is of this run, and this one comes late.
    return not any(attempt > identity.attempt for attempt in identity.claimants(known_aliases(found) or ()))


def retirement(identity: Identity, found: ModelVersion, reason: str) -> ChangeAliases:
    """Return the change by which a version stops being what its task run adopts. Its generation can still be observed.

    :param identity: the identity that it was made for.
    :param found: the version.
    :param reason: why.
    """
    given_up = (alias for alias in known_aliases(found) or () if identity.owns(alias) and alias != identity.retired)
    return ChangeAliases(found.name, (identity.retired,), tuple(given_up), reason)


def is_noted_version(request: UploadRequest, version: ModelVersion) -> bool:
    """Return whether a version that only a note names is what this request has made; the note may be stale.

    :param request: the wanted upload.
    :param version: what was found.
    """
    aliases = known_aliases(version)
    return (
        mismatch(request, version, by_alias=False) is None
        and aliases is not None
        and not any(OWN_ALIAS.fullmatch(alias) for alias in aliases if not _owns(request, alias))
        and not (request.identity and request.identity.retired in aliases)
        and classify_version(version).progress is not Progress.FAILED
    )


def _parsed(name: str) -> ModelVersionName | None:
    try:
        return ModelVersionName.parse(name)
    except ValueError:
        return None


def _generation(request: UploadRequest, holder: ModelVersion) -> int | None:
    """The newest generation of this task run that a version belongs to, or None if it is not of this task run."""
    if request.identity is None:
        return None
    return max(request.identity.generations(known_aliases(holder) or ()), default=None)


def _owns(request: UploadRequest, alias: str) -> bool:
    return request.identity is not None and request.identity.owns(alias)
