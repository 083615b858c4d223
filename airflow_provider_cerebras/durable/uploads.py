"""One model version for each task run: read the state, decide, act, and repeat until nothing is left to do.

:mod:`.upload_steps` is the whole policy, and pure. :class:`Upload` carries it out. It may be killed at any instant:
the next attempt reads the state and goes on from it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import MAX_RETRY_AFTER
from airflow_provider_cerebras.api.errors import (
    BadRequest,
    CerebrasError,
    Conflict,
    NotFound,
    OutcomeUnknown,
    UnexpectedResponse,
)
from airflow_provider_cerebras.api.evidence import held_aliases, numbered_name
from airflow_provider_cerebras.api.status import classify_version
from airflow_provider_cerebras.durable.alias_lists import AliasEditor
from airflow_provider_cerebras.durable.aliases import find_version, move_alias
from airflow_provider_cerebras.durable.upload_steps import (
    ChangeAliases,
    Create,
    Finish,
    MoveAlias,
    Observed,
    Refuse,
    decide,
    is_noted_version,
    is_older,
    is_same,
    known_aliases,
    mismatch,
    retirement,
)
from airflow_provider_cerebras.exceptions import AliasesUnsettled, AliasInUse, IdentityInUse
from airflow_provider_cerebras.metrics import MODEL_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.durable.task_state import TaskState
    from airflow_provider_cerebras.durable.upload_steps import Step, UploadRequest
    from airflow_provider_cerebras.polling.log import Log

MAX_DOUBTS = 5
"""Creations of unknown outcome after which the task gives up; its retry goes on from there."""
MAX_SAID_ERRORS = 1
"""The same if the response says an error, though its status is that of a success."""
MAX_REFUSALS = 6
"""Repetitions of an upload whose alias is reported as taken; the pauses outlast a read lag of 30 s."""
MAX_REPETITIONS = 10
"""Repetitions of a change of aliases that does not show, or that another task undid."""
_MAX_STEPS = 50
_LONGEST_PAUSE = 16.0


class Upload:
    """Makes sure that the version exists that a task wants, and that there is one of it.

    :param client: how to reach the service.
    :param request: the wanted upload.
    :param task_state: notes of earlier attempts.
    :param log: logger for its findings and actions.
    :param sleep: how to spend the seconds of a back-off.
    :param begin: called once, before anything is made: from then on, what carries the identity alias is of this run.
    """

    def __init__(
        self,
        client: CerebrasClient,
        request: UploadRequest,
        *,
        task_state: TaskState,
        log: Log,
        sleep: Callable[[float], None] = time.sleep,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._request = request
        self._task_state = task_state
        self._log = log
        self._sleep = sleep
        self._editor = AliasEditor(client, log=log, sleep=sleep)
        self._begin = begin
        self._older: str | None = None
        self._doubts = 0
        self._refusals = 0
        self._repetitions: dict[Step, int] = {}
        self._in_doubt = False
        self._made: str | None = None
        self._found_by = ""
        self.is_others = False
        """Whether the version was adopted for its weights alone, so that it may be of another task."""

    def run(self) -> ModelVersion:
        """Do it, and return the version.

        :raises AliasInUse: if another version holds an alias that the user wants.
        :raises IdentityInUse: if a version carries the alias of this task run, and is not what it uploads.
        :raises AliasesUnsettled: if aliases did not stay as they were set; a retry of the task goes on from there.
        :raises OutcomeUnknown: if it stayed unknown whether a version was made; a retry of the task goes on from there.
        :raises CerebrasError: if a request failed in another way.
        """
        observed = self._observe()
        if observed.mine is not None and observed.mine.name != self._made and is_older(self._request, observed.mine):
            observed = self._retire(observed.mine)
        self._begin()
        if observed.mine is not None:
            self._log.info(
                "Model version %s belongs to this task run: %s (%s). An earlier attempt made it.",
                observed.mine.name,
                self._found_by,
                classify_version(observed.mine).status_text,
            )
        for _ in range(_MAX_STEPS):
            step = decide(self._request, observed)
            if isinstance(step, Finish):
                if observed.mine is None:
                    self.is_others = True
                    self._log.info(
                        "The weights are unchanged: model version %s carries the alias %s of their digest (%s).",
                        step.version.name,
                        self._request.weights_alias,
                        classify_version(step.version).status_text,
                    )
                self._finish(step.version)
                return step.version
            observed = self._do(step, observed)
        raise AliasesUnsettled(
            f"The aliases of {self._request.name('')} keep changing, so the upload cannot end. Does another task want "
            "the same ones? A retry of this task goes on from there."
        )

    def _retire(self, older: ModelVersion) -> Observed:
        """Leave a version alone that carries our alias, though nothing of this task run was made before."""
        if self._request.identity is not None:
            self._older = older.name
            reason = "a DAG run of the same id made it, which was deleted since"
            self._change_aliases(retirement(self._request.identity, older, reason))
        return self._observe()

    def _finish(self, version: ModelVersion) -> None:
        self._task_state.update(model_version=version.name)
        if self._made == version.name:
            how = "submitted"
            self._log.info("Uploaded %s as model version %s.", self._request.weight_uri, version.name)
        else:
            how = "reconciled" if self._in_doubt else "adopted"
            self._log.info("Adopted model version %s; nothing was uploaded again.", version.name)
        MODEL_VERSION.count(how, self._request.model_arch_id)

    def _do(self, step: ChangeAliases | MoveAlias | Create | Refuse, observed: Observed) -> Observed:
        if isinstance(step, Create):
            return self._create(step, observed)
        if isinstance(step, Refuse):
            raise AliasInUse(_in_use(step))
        self._pause_if_repeated(step)
        try:
            if isinstance(step, ChangeAliases):
                self._change_aliases(step)
            else:
                self._move_alias(step)
        except (BadRequest, Conflict, NotFound) as error:
            self._doubt(error)  # another client took an alias or deleted a version in between; the next read shows it
        return self._observe()

    def _change_aliases(self, step: ChangeAliases) -> None:
        if self._get(step.model_version) is None:
            return
        self._log.info("Changing the aliases of model version %s: %s.", step.model_version, step.reason)
        self._editor.change(step.model_version, add=step.add, remove=step.remove)

    def _move_alias(self, step: MoveAlias) -> None:
        holder, target = self._get(step.holder), self._get(step.target)
        if holder is None or target is None or step.alias not in held_aliases(holder):
            return
        held_aliases(target)
        self._log.info("Moving alias %s from %s to %s.", step.alias, holder.name, target.name)
        move_alias(self._editor, step.alias, holder=holder.name, target=target.name)

    def _pause_if_repeated(self, step: ChangeAliases | MoveAlias) -> None:
        """Give a change time to show, or another task time to end, before the same change is made once more."""
        done = self._repetitions[step] = self._repetitions.get(step, -1) + 1
        if done > MAX_REPETITIONS:
            raise AliasesUnsettled(
                f"{_described(step)}, {done} times, and the service still shows something else. Does another task want "
                "the same aliases? A retry of this task goes on from there."
            )
        if done:
            self._sleep(_pause(done))

    def _create(self, step: Create, observed: Observed) -> Observed:
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
            if request.identity is None and request.weights_alias is None:
                raise  # a version that is found then cannot be known to be ours
            self._in_doubt = True
            self._doubt(error)
            return self._observe()
        except (BadRequest, Conflict) as refusal:
            # It may be that an alias was taken in between, for which the status is not documented. If nothing has
            # changed, it is about something else, or the service does not show yet what an earlier request has made.
            now_observed = self._observe()
            if decide(self._request, now_observed) != step:
                return now_observed
            try:
                self._wait_for_lag(refusal, step)
            except (BadRequest, Conflict):
                if request.weights_alias not in step.aliases:
                    raise
                self._forget_weights_alias(f"perhaps the service refuses it ({refusal})")
            return self._observe()
        self._made = version.name
        self._task_state.update(model_version=version.name)
        # The response need not repeat the aliases, but it is to a request that set them.
        details = version.details.model_copy(update={"version_aliases": list(step.aliases)})
        made = version.model_copy(update={"response": details})
        return Observed(made, {**observed.holders, **dict.fromkeys(step.aliases, made)}, just_made=True)

    def _forget_weights_alias(self, reason: str) -> None:
        """Upload as if no version of the same weights had been asked for."""
        self._log.warning(
            "The alias %s, by which unchanged weights are found, is left out: %s. Uploading without it.",
            self._request.weights_alias,
            reason,
        )
        self._request = self._request._replace(weights_alias=None)
        self._refusals = 0

    def _wait_for_lag(self, refusal: BadRequest | Conflict, step: Create) -> None:
        """Wait longer each time if the refusal can be about an alias, else give up at once."""
        named = any(alias in refusal.message for alias in step.aliases)
        earlier = self._request.identity is not None and (self._in_doubt or self._request.identity.attempt > 1)
        about_aliases = bool(step.aliases) and (isinstance(refusal, Conflict) or named or earlier)
        if not about_aliases or self._refusals >= MAX_REFUSALS:
            raise refusal
        self._refusals += 1
        self._log.warning(
            "%s Perhaps the service does not show yet what an earlier request made.", refusal.without_hint()
        )
        self._sleep(_pause(self._refusals))

    def _doubt(self, error: CerebrasError) -> None:
        """Wait longer each time before the next read, at least as long as the service asks for; give up in the end."""
        self._doubts += 1
        said_error = isinstance(error, OutcomeUnknown) and error.is_error_in_success
        if self._doubts > (MAX_SAID_ERRORS if said_error else MAX_DOUBTS):
            raise error
        self._log.warning("%s Checking the service.", error.without_hint())
        self._sleep(max(_pause(self._doubts), min(error.retry_after or 0.0, MAX_RETRY_AFTER)))

    def _observe(self) -> Observed:
        request = self._request
        mine = self._get(request.name(request.identity.alias)) if request.identity else None
        looks = {alias: self._get(request.name(alias)) for alias in request.version_aliases}
        holders = {alias: holder for alias, holder in looks.items() if holder is not None}
        for holder in holders.values():
            numbered_name(holder)  # its list may be written
        if mine is None and request.identity is not None:
            # Another attempt may have made it between the reads, and the aliases that it gave the version must stay.
            alias = request.identity.alias
            mine = next((holder for holder in holders.values() if alias in (known_aliases(holder) or ())), None)
        if mine is not None and mine.name == self._older:
            mine = None  # a read that lags behind
        if mine is not None and request.identity is not None:
            if mine.name != self._made:
                self._check(mine, request.identity.alias)
            self._found_by = f"it carries the alias {request.identity.alias}"
        if mine is None:
            mine = self._look_by_number()
        same = self._find_same() if mine is None else None
        return Observed(mine, holders, just_made=mine is not None and mine.name == self._made, same=same)

    def _find_same(self) -> ModelVersion | None:
        """Find the version of the same weights, no matter which task made it."""
        if self._request.weights_alias is None:
            return None
        found = self._get(self._request.name(self._request.weights_alias))
        if found is not None and not is_same(self._request, found):
            self._forget_weights_alias(f"the response about {found.name} does not show that it is of the same weights")
            return None
        return found

    def _check(self, found: ModelVersion, alias: str) -> None:
        """Make sure that what carries our alias is what this task run uploads: any client can compute the alias."""
        problem = mismatch(self._request, found, by_alias=True)
        if problem is None:
            return
        if problem.found is None or problem.field == "version_aliases":
            raise UnexpectedResponse(
                f"Model version {found.name} was found by the alias {alias} of this task run, but the response does "
                f"not show {problem.wanted} as its {problem.field}, so it is not known whether it is what this task "
                f"uploads ({self._request.weight_uri}). Nothing was adopted or uploaded."
            )
        raise IdentityInUse(
            f"Model version {found.name} carries the alias {alias} of this task run, but its {problem.field} is "
            f"{problem.found}, not {problem.wanted} (this task uploads {self._request.weight_uri}). Nothing was "
            "adopted or uploaded. To upload anew, clear this task; find out who made that version."
        )

    def _look_by_number(self) -> ModelVersion | None:
        """Find the version although another client has replaced all aliases of it, ours among them."""
        if self._made is not None:
            return self._get(self._made)
        noted = self._task_state.read().get("model_version", "") if self._request.identity else ""
        number = noted.removeprefix(self._request.name(""))
        if not (number.isascii() and number.isdecimal()):
            return None
        version = self._get(noted)
        if version is None or version.name != noted or not is_noted_version(self._request, version):
            return None
        self._found_by = "the task state store names it"
        return version

    def _get(self, model_version: str) -> ModelVersion | None:
        return find_version(self._client, model_version)


def _pause(number: int) -> float:
    return min(2.0 ** (number - 1), _LONGEST_PAUSE)


def _described(step: ChangeAliases | MoveAlias) -> str:
    if isinstance(step, MoveAlias):
        return f"Alias {step.alias!r} was moved from {step.holder} to {step.target}"
    changes = [f"{', '.join(aliases)} {done}" for aliases, done in ((step.add, "added"), (step.remove, "removed"))]
    return f"Aliases of model version {step.model_version} were changed ({'; '.join(changes)})"


def _in_use(refusal: Refuse) -> str:
    made = f" Model version {refusal.made} was made without it." if refusal.made else " Nothing was uploaded."
    return (
        f"Alias {refusal.alias!r} is held by {refusal.holder}, and an alias belongs to one version only.{made} "
        "To take it over, set move_aliases=True, or upload without it and move it later, for example when the version "
        "serves, with CerebrasPromoteModelVersionOperator."
    )
