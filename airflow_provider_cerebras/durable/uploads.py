"""One model version for each task run: look, decide, do, and look again until nothing is left to do.

:func:`decide` is the whole policy, and pure. :class:`Upload` does what it says. It may be killed at any instant:
whoever runs next looks, and goes on from what is there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import BadRequest, CerebrasError, Conflict, NotFound, OutcomeUnknown
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_version
from airflow_provider_cerebras.durable.aliases import find_version, move_alias, set_aliases, without
from airflow_provider_cerebras.durable.identity import OWN_ALIAS
from airflow_provider_cerebras.exceptions import AliasInUse
from airflow_provider_cerebras.metrics import MODEL_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.durable.task_state import TaskState
    from airflow_provider_cerebras.polling.log import Log

MAX_DOUBTS = 5
"""How often a creation may end in doubt before the task gives up; its retry goes on from there."""
_MAX_STEPS = 50


# Named tuples, since a frozen dataclass would cost each parse of a DAG's file half a millisecond.
class UploadRequest(NamedTuple):
    """What a task wants uploaded.

    :param org_name: name of the organization.
    :param model_arch_id: id of the architecture.
    :param weight_uri: where the weights lie.
    :param system_fingerprint_suffix: as given by the user.
    :param version_aliases: the aliases that the user wants on the version.
    :param move_aliases: whether an alias is taken from a version that has nothing to do with this task run.
    :param identity: who is asking; None: nothing is adopted.
    :param claims: whether the version shall say which attempt waits for it, for the sake of a kill.
    """

    org_name: str
    model_arch_id: str
    weight_uri: str
    system_fingerprint_suffix: str | None = None
    version_aliases: tuple[str, ...] = ()
    move_aliases: bool = False
    identity: Identity | None = None
    claims: bool = False

    @property
    def own_aliases(self) -> tuple[str, ...]:
        """The aliases that the version carries for us."""
        if self.identity is None:
            return ()
        return (self.identity.alias, self.identity.claim) if self.claims else (self.identity.alias,)

    def name(self, version_id: str) -> str:
        """Full name of a version of the same organization and architecture."""
        return str(ModelVersionName(self.org_name, self.model_arch_id, version_id))


class Seen(NamedTuple):
    """What a look at the service showed.

    :param mine: the version of this identity, if there is one.
    :param holders: the versions that hold the aliases that the user wants.
    :param just_made: whether this very attempt has made ``mine``. If that one fails, it is not replaced: the weights
        are the same, and so would the failure be.
    """

    mine: ModelVersion | None
    holders: Mapping[str, ModelVersion]
    just_made: bool = False


class Create(NamedTuple):
    """Make a version with these aliases."""

    aliases: tuple[str, ...]


class SetAliases(NamedTuple):
    """Give a version this list of aliases, for this reason."""

    model_version: str
    aliases: tuple[str, ...]
    reason: str


class MoveAlias(NamedTuple):
    """Take an alias from its holder and give it to a version."""

    alias: str
    holder: ModelVersion
    target: ModelVersion


class Refuse(NamedTuple):
    """Fail, since another version holds an alias."""

    alias: str
    holder: str
    made: str | None


class Finish(NamedTuple):
    """Nothing is left to do."""

    version: ModelVersion


Step = Create | SetAliases | MoveAlias | Refuse | Finish


def decide(request: UploadRequest, seen: Seen) -> Step:
    """Say what is to be done next.

    :param request: what is wanted.
    :param seen: what is there.
    """
    mine = seen.mine
    if mine is not None and classify_version(mine).progress is Progress.FAILED:
        if seen.just_made or request.identity is None:
            return Finish(mine)
        kept = without(mine, *request.version_aliases, *filter(request.identity.owns, mine.details.version_aliases))
        return SetAliases(mine.name, kept, "it failed to sync and makes room for another")
    left_out: set[str] = set()
    for alias in request.version_aliases:
        holder = seen.holders.get(alias)
        if holder is None or (mine is not None and holder.name == mine.name):
            continue
        generation = _generation(request, holder)
        if generation is None and not request.move_aliases:
            return Refuse(alias, holder.name, mine.name if mine else None)
        if generation is None and mine is not None:
            return MoveAlias(alias, holder, mine)
        if generation is not None and generation <= _own_generation(request):
            return SetAliases(
                holder.name, without(holder, alias), f"alias {alias!r} goes to what replaces it in the same task run"
            )
        # Either it is moved once there is something to move it to, or the task was cleared since and a newer attempt
        # has it: that is where it belongs.
        left_out.add(alias)
    wanted = [alias for alias in (*request.own_aliases, *request.version_aliases) if alias not in left_out]
    if mine is None:
        return Create(tuple(wanted))
    missing = [alias for alias in wanted if alias not in mine.details.version_aliases]
    if missing:
        return SetAliases(mine.name, (*mine.details.version_aliases, *missing), f"it lacked {', '.join(missing)}")
    return Finish(mine)


def _generation(request: UploadRequest, holder: ModelVersion) -> int | None:
    """The newest generation of this task run that a version belongs to, or None if it is not of this task run."""
    if request.identity is None:
        return None
    return max(request.identity.generations(holder.details.version_aliases), default=None)


def _own_generation(request: UploadRequest) -> int:
    return request.identity.generation if request.identity else 0


def _may_be_mine(request: UploadRequest, version: ModelVersion) -> bool:
    """Tell whether a version that only a note names can be what this request has made; the note may be stale."""
    details = version.details
    return (
        (details.customer_s3_uri or request.weight_uri) == request.weight_uri
        and (details.system_fingerprint_suffix or "") in {"", request.system_fingerprint_suffix or ""}
        and not any(OWN_ALIAS.fullmatch(alias) for alias in details.version_aliases if not _owns(request, alias))
        and classify_version(version).progress is not Progress.FAILED
    )


def _owns(request: UploadRequest, alias: str) -> bool:
    return request.identity is not None and request.identity.owns(alias)


def _carries_identity(request: UploadRequest, version: ModelVersion) -> bool:
    return request.identity is not None and request.identity.alias in version.details.version_aliases


class Upload:
    """Brings about that the version exists that a task wants, and that there is one of it.

    :param client: whom to talk to.
    :param request: what is wanted.
    :param task_state: notes of earlier attempts.
    :param log: where it says what it found and did.
    :param sleep: how to spend the seconds of a back-off.
    """

    def __init__(
        self,
        client: CerebrasClient,
        request: UploadRequest,
        *,
        task_state: TaskState,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._request = request
        self._task_state = task_state
        self._log = log
        self._sleep = sleep
        self._doubts = 0
        self._in_doubt = False
        self._made: str | None = None

    def run(self) -> ModelVersion:
        """Do it, and return the version.

        :raises AliasInUse: if another version holds an alias that the user wants.
        :raises OutcomeUnknown: if the service left us in doubt too often; a retry of the task goes on from there.
        :raises CerebrasError: if a request failed in another way.
        """
        seen = self._look()
        if seen.mine is not None:
            by_alias = _carries_identity(self._request, seen.mine)
            self._log.info(
                "Model version %s is of this task run: %s (%s). An earlier attempt made it.",
                seen.mine.name,
                f"it carries the alias {self._request.own_aliases[0]}" if by_alias else "the task state store names it",
                classify_version(seen.mine).words,
            )
        for _ in range(_MAX_STEPS):
            step = decide(self._request, seen)
            if isinstance(step, Finish):
                self._finish(step.version)
                return step.version
            seen = self._do(step, seen)
        raise Conflict(
            "the aliases of this upload keep changing hands; does another task want the same ones?",
            status_code=409,
            method="PATCH",
            url=self._request.name(""),
        )

    def _finish(self, version: ModelVersion) -> None:
        self._task_state.update(model_version=version.name)
        if self._made == version.name:
            how = "submitted"
            self._log.info("Uploaded %s as model version %s.", self._request.weight_uri, version.name)
        else:
            how = "reconciled" if self._in_doubt else "adopted"
            self._log.info("Adopted model version %s; nothing was uploaded again.", version.name)
        MODEL_VERSION.count(how, self._request.model_arch_id)

    def _do(self, step: Create | SetAliases | MoveAlias | Refuse, seen: Seen) -> Seen:
        if isinstance(step, Create):
            return self._create(step, seen)
        if isinstance(step, Refuse):
            raise AliasInUse(_in_use(step))
        try:
            if isinstance(step, SetAliases):
                self._log.info(
                    "Model version %s shall have the aliases %s: %s.", step.model_version, step.aliases, step.reason
                )
                set_aliases(self._client, step.model_version, step.aliases)
            else:
                self._log.info("Alias %s moves from %s to %s.", step.alias, step.holder.name, step.target.name)
                move_alias(self._client, step.alias, holder=step.holder, target=step.target)
        except (BadRequest, Conflict, NotFound) as error:
            self._doubt(error)  # somebody else took an alias or deleted a version in between; the next look shows it
        return self._look()

    def _create(self, step: Create, seen: Seen) -> Seen:
        request = self._request
        call = operations.upload_model_version(
            request.org_name,
            request.model_arch_id,
            request.weight_uri,
            step.aliases,
            request.system_fingerprint_suffix,
        )
        try:
            version = self._client.send(call)
        except OutcomeUnknown as error:
            if request.identity is None:
                raise  # nothing tells whether a version that is found then is ours
            self._in_doubt = True
            self._doubt(error)
            return self._look()
        except (BadRequest, Conflict) as refusal:
            # It may be that an alias was taken in between, for which the status is not documented. If nothing has
            # changed, it is about something else.
            now_seen = self._look()
            if decide(request, now_seen) == step:
                self._doubt(refusal, final=isinstance(refusal, BadRequest) or not step.aliases)
            return now_seen
        self._made = version.name
        self._task_state.update(model_version=version.name)
        # The answer need not repeat the aliases, but it is to a request that set them.
        details = version.details.model_copy(update={"version_aliases": list(step.aliases)})
        made = version.model_copy(update={"response": details})
        return Seen(made, {**seen.holders, **dict.fromkeys(step.aliases, made)}, just_made=True)

    def _doubt(self, error: CerebrasError, *, final: bool = False) -> None:
        """Wait longer each time before the next look, and give up in the end."""
        self._doubts += 1
        if final or self._doubts > MAX_DOUBTS:
            raise error
        self._log.warning("%s Looking what has become of it.", error)
        self._sleep(2.0 ** (self._doubts - 1))

    def _look(self) -> Seen:
        request = self._request
        mine = self._get(request.name(request.identity.alias)) if request.identity else None
        looks = {alias: self._get(request.name(alias)) for alias in request.version_aliases}
        holders = {alias: holder for alias, holder in looks.items() if holder is not None}
        if mine is None:
            # Another attempt may have made it between the looks, and what it gave the version must stay there.
            mine = next((holder for holder in holders.values() if _carries_identity(request, holder)), None)
        if mine is None:
            mine = self._look_by_number()
        return Seen(mine, holders, just_made=mine is not None and mine.name == self._made)

    def _look_by_number(self) -> ModelVersion | None:
        """Find the version although somebody has replaced all aliases of it, ours among them."""
        if self._made is not None:
            return self._get(self._made)
        noted = self._task_state.read().get("model_version", "") if self._request.identity else ""
        number = noted.removeprefix(self._request.name(""))
        if not (number.isascii() and number.isdecimal()):
            return None
        version = self._get(noted)
        return version if version is not None and _may_be_mine(self._request, version) else None

    def _get(self, model_version: str) -> ModelVersion | None:
        return find_version(self._client, model_version)


def _in_use(refusal: Refuse) -> str:
    made = f" Model version {refusal.made} was made without it." if refusal.made else " Nothing was uploaded."
    return (
        f"Alias {refusal.alias!r} is held by {refusal.holder}, and an alias belongs to one version only.{made} "
        "To take it over, set move_aliases=True, or upload without it and move it later, for example when the version "
        "serves, with CerebrasPromoteModelVersionOperator."
    )
