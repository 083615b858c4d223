"""Operators on model versions."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import CerebrasClient
from airflow_provider_cerebras.api.errors import CerebrasError, Conflict
from airflow_provider_cerebras.api.evidence import numbered_name
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_version
from airflow_provider_cerebras.arguments.kinds import (
    ALIAS,
    ALIASES,
    BOOLEAN,
    CONN_ID,
    COUNT,
    DIGEST,
    IDENTIFIER,
    MODEL_VERSION,
    PATTERNS,
    SUFFIX,
    WEIGHT_URI,
    takes,
)
from airflow_provider_cerebras.assets.provenance import trace_version
from airflow_provider_cerebras.assets.reporting import leave_result, report
from airflow_provider_cerebras.durable.aliases import AliasChange, change_aliases, find_version, promote
from airflow_provider_cerebras.durable.deletions import check_absence, delete_version, find_uses
from airflow_provider_cerebras.durable.generations import Ledger, highest_generation
from airflow_provider_cerebras.durable.identity import identify, refuse_reserved, weights_alias
from airflow_provider_cerebras.durable.on_kill import DELETED, NOT_CANCELLED, NOT_DELETED, release_claims, retire
from airflow_provider_cerebras.durable.seals import Seal, check_seal, disown, need_connection, take_seal
from airflow_provider_cerebras.durable.task_state import TaskState
from airflow_provider_cerebras.durable.upload_steps import UploadRequest
from airflow_provider_cerebras.durable.uploads import Upload
from airflow_provider_cerebras.exceptions import (
    MODEL_VERSION_ERRORS,
    AliasesUnsettled,
    InvalidArgument,
    VersionInUse,
    WeightsChanged,
    permanent_errors_fail,
)
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.links import CerebrasConsoleLink, CerebrasWeightsLink
from airflow_provider_cerebras.operators._base import CerebrasOperator, WaitingOperator
from airflow_provider_cerebras.operators._on_kill import delete, find_out
from airflow_provider_cerebras.operators._pruning import Selection, select
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.polling.versions import ModelVersionPoller
from airflow_provider_cerebras.traces import set_attributes
from airflow_provider_cerebras.version_compat import AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cerebras.arguments.given import Flag, Number, Seconds, Text, Texts
    from airflow_provider_cerebras.assets.provenance import Provenance
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.polling.outcome import Outcome
    from airflow_provider_cerebras.polling.pollers import Poller
    from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger


class CerebrasUploadModelVersionOperator(WaitingOperator):
    """Register fine-tuned weights in S3 as a new version of a model; the service then copies them.

    Returns the full name of the version, which goes straight into the sensor's and the deploy operator's
    ``model_version``.

    A task run makes one version, whatever dies on the way: a retry finds what an earlier attempt has made by an alias
    that the upload carried, and adopts it. Clearing the task uploads anew, since the weights may have changed.

    With ``aws_conn_id`` it lists the weights before the upload and, if it waits, when the sync has ended; if they are
    not the same then, it fails. No attempt adopts a version that was made of other ones.

    Calls ``POST /orgs/{org_name}/models:upload``, ``GET`` and ``PATCH
    /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param model_arch_id: id of the architecture that the weights belong to. (templated)
    :param weight_uri: ``s3://bucket/prefix`` of the weights. (templated)
    :param version_aliases: aliases that the new version is to have, each 2 to 128 characters. (templated)
    :param system_fingerprint_suffix: string that inference responses must carry in ``system_fingerprint``. (templated)
    :param org_name: customer management organization name; default: the connection's. (templated)
    :param wait_for_completion: wait until the weights are synced; default False, and a sensor waits. (templated)
    :param deferrable: wait on the triggerer and hold no worker slot; default: ``[operators] default_deferrable``.
        (templated)
    :param poll_interval: the longest interval between two polls, in seconds; default 30. (templated)
    :param timeout: how long to wait, in seconds from the submission; default 86400, a day. (templated)
    :param durable: whether a retry adopts what an earlier attempt has made; default True. If False, the upload carries
        no alias of ours, and each attempt makes a version. (templated)
    :param move_aliases: whether an alias in ``version_aliases`` is taken from another version that holds it; default
        False, and the task fails before anything is uploaded. (templated)
    :param delete_on_kill: whether the version is deleted when a user fails or clears the task while it waits; default
        False. It is deleted only if Airflow confirms that, and no endpoint lists the version. While the task is
        deferred, that needs Airflow 3.3. (templated)
    :param aws_conn_id: id of the AWS connection by which the weights are listed, which needs ``s3:ListBucket``; default
        None, and they are not listed. (templated)
    :param weights_digest: digest that the weights must have, which ``airflow_provider_cerebras.weights.weights_digest``
        gives to the training task; needs ``aws_conn_id``; default None, any. (templated)
    :param skip_unchanged: whether a version of weights with the same digest and suffix is adopted, no matter which task
        uploaded it, instead of uploading them again; one that still syncs is waited for, whatever
        ``wait_for_completion`` says; needs ``aws_conn_id``, and excludes ``delete_on_kill``; default False.
        (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises AliasInUse: if another version holds one of ``version_aliases``.
    :raises IdentityInUse: if a version that is not what this task uploads carries the alias of this task run.
    :raises AliasesUnsettled: if another task takes the same aliases all the time; a retry goes on from there.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises OutcomeUnknown: if it is unknown whether a version was made; a retry finds out.
    :raises ModelVersionFailed: if the service could not take the weights over.
    :raises ModelVersionLost: if the version is gone.
    :raises WaitTimeout: if the sync had not ended after ``timeout``.
    :raises WeightsChanged: if the weights have another digest than ``weights_digest``, and nothing was sent then; or if
        they are others after the sync than before the upload, so that the version may hold a mixture.
    :raises WeightsUnreadable: if S3 does not respond, or refuses.
    """

    arguments = takes(
        model_arch_id=IDENTIFIER,
        weight_uri=WEIGHT_URI,
        version_aliases=ALIASES.or_none,
        system_fingerprint_suffix=SUFFIX.or_none,
        durable=BOOLEAN,
        move_aliases=BOOLEAN,
        delete_on_kill=BOOLEAN,
        aws_conn_id=CONN_ID.or_none,
        weights_digest=DIGEST.or_none,
        skip_unchanged=BOOLEAN,
    )
    operator_extra_links = (CerebrasWeightsLink(), CerebrasConsoleLink())
    event_ids = ("model_version",)
    errors = MODEL_VERSION_ERRORS

    def __init__(
        self,
        *,
        model_arch_id: Text,
        weight_uri: Text,
        version_aliases: Texts | None = None,
        system_fingerprint_suffix: Text | None = None,
        org_name: Text | None = None,
        wait_for_completion: Flag = False,
        deferrable: Flag | None = None,
        poll_interval: Seconds = 30,
        timeout: Seconds = 86400,
        durable: Flag = True,
        move_aliases: Flag = False,
        delete_on_kill: Flag = False,
        aws_conn_id: Text | None = None,
        weights_digest: Text | None = None,
        skip_unchanged: Flag = False,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            cerebras_conn_id=cerebras_conn_id,
            org_name=org_name,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            **kwargs,
        )
        self.model_arch_id: str = model_arch_id  # type: ignore[assignment]  # read before execute
        self.weight_uri: str = weight_uri  # type: ignore[assignment]  # read before execute
        self.version_aliases: Sequence[str] | None = version_aliases  # type: ignore[assignment]  # read before execute
        self.system_fingerprint_suffix: str | None = system_fingerprint_suffix  # type: ignore[assignment]  # read before execute
        self.durable: bool = durable  # type: ignore[assignment]  # read before execute
        self.move_aliases: bool = move_aliases  # type: ignore[assignment]  # read before execute
        self.delete_on_kill: bool = delete_on_kill  # type: ignore[assignment]  # read before execute
        self.aws_conn_id: str | None = aws_conn_id  # type: ignore[assignment]  # read before execute
        self.weights_digest: str | None = weights_digest  # type: ignore[assignment]  # read before execute
        self.skip_unchanged: bool = skip_unchanged  # type: ignore[assignment]  # read before execute
        self._seal: Seal | None = None
        self._request: UploadRequest | None = None
        self._model_version: str | None = None
        self._ti: object = None

    def execute(self, context: Context) -> str:
        """Upload, or adopt what an earlier attempt has uploaded, and wait if asked to."""
        self._warn_of_options_without_effect(delete_on_kill=self.delete_on_kill)
        with permanent_errors_fail():
            self._check_request()
            if self.aws_conn_id is not None:
                self._seal = take_seal(self.weight_uri, self.aws_conn_id, self.weights_digest)
                set_attributes(weights_digest=self._seal.digest)
            ledger = Ledger(context, self._identity(context), self.retries) if self.durable else None
            request = self._request = self._new_request(ledger)
            upload = Upload(
                self.hook.get_conn(),
                request,
                task_state=TaskState(
                    context, key="cerebras_upload", fingerprint=request.own_aliases[0] if self.durable else ""
                ),
                log=self.log,
                begin=ledger.begin if ledger else lambda: None,
            )
            version = upload.run()
        # What another task uploads is adopted when it is synced.
        is_unsynced = upload.is_others and classify_version(version).progress is Progress.PENDING
        if not self.wait_for_completion and not is_unsynced:
            return self._succeed(version.name, context)
        self._ti, self._model_version = context["ti"], version.name
        now = time.time()
        return self._wait(ModelVersionPoller(version.name, deadline=now + self.timeout, started=now), context)

    def execute_complete(self, context: Context, event: object = None) -> str:
        """Go on when the trigger has sent its event, which also holds the digest from before the upload."""
        digest = event.get("weights_digest") if isinstance(event, dict) else None
        if isinstance(digest, str):
            self._seal = Seal(self.weight_uri, digest)
            set_attributes(weights_digest=digest)
        return super().execute_complete(context, event)

    def on_kill(self) -> None:
        """Airflow calls this when a user ends the task while it holds a worker, and also when a pod is evicted."""
        if self._model_version is None:
            return
        kill = find_out(self._ti)
        reason = kill.reason
        try:
            # A client of its own: the other one may be in the middle of a request.
            with CerebrasClient(self.hook.get_conn().settings) as client:
                if self.delete_on_kill and reason is None:
                    reason = delete(client, self._model_version, self._claim)
                if kill.is_clear and self._request and self._request.identity:
                    retire(client, self._model_version, self._request.identity, log=self.log)
        except (CerebrasError, AliasesUnsettled) as error:
            reason = str(error)
        if not self.delete_on_kill:
            self.log.info(NOT_CANCELLED, self._model_version)
        elif reason is None:
            self.log.info(DELETED, self._model_version)
        else:
            self.log.warning(NOT_DELETED, self._model_version, reason)

    def _succeed(self, result: str, context: Context) -> str:
        if self.durable and context.get("task_state_store") is not None:
            Ledger(context, self._identity(context), self.retries).end()
        return super()._succeed(result, context)

    def _conclude(self, outcome: Outcome, context: Context) -> str:
        # The wait is over: what kills the task from here on, or a trigger that comes back late, deletes nothing.
        self._model_version = None
        if self.delete_on_kill and self.durable:
            release_claims(
                self.hook.get_conn(), outcome.ids["model_version"], self._identity(context).base, log=self.log
            )
        if outcome.status is Status.SUCCEEDED:
            self._check_seal(outcome.ids["model_version"], context)
        return super()._conclude(outcome, context)

    def _check_seal(self, model_version: str, context: Context) -> None:
        """Make sure that the service has read what was there before the upload."""
        if self._seal is None:
            if self.aws_conn_id is not None:  # the DAG was edited, or this package upgraded, while the task waited
                self.log.warning("The weights are not compared, for they were not listed before the upload.")
            return
        if self.aws_conn_id is None:
            self.log.warning("The weights are not compared, for aws_conn_id was taken away while the task waited.")
            return
        try:
            check_seal(self._seal, self.aws_conn_id, model_version)
        except WeightsChanged:
            if alias := self._weights_alias:
                disown(self.hook.get_conn(), model_version, alias, log=self.log)
            leave_result(self, context, None)
            raise
        self.log.info("The weights at %s are as they were before the upload.", self.weight_uri)

    def _check_request(self) -> None:
        need_connection(self.aws_conn_id, weights_digest=self.weights_digest, skip_unchanged=self.skip_unchanged)
        if self.skip_unchanged and self.delete_on_kill:
            raise InvalidArgument(
                "skip_unchanged: other tasks may have adopted the version, so it cannot go with delete_on_kill=True."
            )
        # Makes the call once without sending it, so that every argument is checked before the first request.
        operations.upload_model_version(
            self.hook.org_name,
            self.model_arch_id,
            self.weight_uri,
            self.version_aliases,
            self.system_fingerprint_suffix,
        )
        refuse_reserved(self.version_aliases or (), "version_aliases")

    def _new_request(self, ledger: Ledger | None) -> UploadRequest:
        org_name, identity, begins = self.hook.org_name, None, False
        if ledger is not None:
            identity, begins = ledger.identify(
                lambda: highest_generation(self.hook.get_conn(), org_name, self.model_arch_id, ledger.identity)
            )
        return UploadRequest(
            org_name=org_name,
            model_arch_id=self.model_arch_id,
            weight_uri=self.weight_uri,
            system_fingerprint_suffix=self.system_fingerprint_suffix,
            version_aliases=tuple(dict.fromkeys(self.version_aliases or ())),
            move_aliases=self.move_aliases,
            identity=identity,
            claims=self.delete_on_kill,
            begins=begins,
            weights_alias=self._weights_alias,
        )

    @property
    def _weights_alias(self) -> str | None:
        if self._seal is None or not self.skip_unchanged:
            return None
        return weights_alias(self._seal.digest, self.system_fingerprint_suffix)

    def _identity(self, context: Context) -> Identity:
        return identify(
            context,
            org_name=self.hook.org_name,
            model_arch_id=self.model_arch_id,
            weight_uri=self.weight_uri,
            system_fingerprint_suffix=self.system_fingerprint_suffix,
            weights_digest=self._seal.digest if self._seal else None,
        )

    @property
    def _claim(self) -> str | None:
        return self._request.identity.claim if self._request and self._request.identity else None

    def _trigger(self, poller: Poller[Any]) -> CerebrasModelVersionTrigger:
        if self.delete_on_kill and not AIRFLOW_V_3_3_PLUS:
            self.log.warning(
                "delete_on_kill deletes nothing from here on: below Airflow 3.3, a triggerer is not told when a user "
                "fails or clears a deferred task."
            )
        # Imported here: its imports from Airflow take 5 ms, which not every parse of a DAG should pay.
        from airflow_provider_cerebras.triggers.model_versions import CerebrasModelVersionTrigger

        return CerebrasModelVersionTrigger(
            cerebras_conn_id=self.cerebras_conn_id,
            model_version=poller.ids["model_version"],
            poll_interval=self.poll_interval,
            deadline=poller.deadline,
            hook_class=self._hook_path(),
            delete_on_kill=self.delete_on_kill,
            claim=self._claim if self.delete_on_kill else None,
            weights_digest=self._seal.digest if self._seal else None,
        )

    def _made(self, result: str) -> Provenance:
        return trace_version(self.hook.get_conn(), result, log=self.log)


class CerebrasUpdateModelVersionAliasesOperator(CerebrasOperator):
    """Add aliases to a model version, take some away, or replace them, and make sure that the service now holds that.

    Returns the aliases of the version, without those that this provider keeps there for itself; these stay whatever is
    asked for. Killed at any instant, it can simply be run again.

    Calls ``GET`` and ``PATCH /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param model_version: full name of the version, by number or alias. (templated)
    :param add: aliases to add to its own. (templated)
    :param remove: aliases to take from it. (templated)
    :param replace: all aliases that it is to have, instead of the other two; empty takes all away. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises AliasInUse: if another version holds an alias that this one is to have.
    :raises RequestRefused: if the service refuses the request, and would again.
    :raises UnexpectedResponse: if a response leaves open which version it is about or which aliases it has; nothing was
        changed then.
    :raises AliasesUnsettled: if the change did not show, or did not stay in place; a retry goes on from there.
    """

    arguments = takes(
        model_version=MODEL_VERSION,
        add=ALIASES.or_none,
        remove=ALIASES.or_none,
        replace=ALIASES.or_none,
    )

    def __init__(
        self,
        *,
        model_version: Text,
        add: Texts | None = None,
        remove: Texts | None = None,
        replace: Texts | None = None,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, **kwargs)
        self.model_version: str = model_version  # type: ignore[assignment]  # read before execute
        self.add: Sequence[str] | None = add  # type: ignore[assignment]  # read before execute
        self.remove: Sequence[str] | None = remove  # type: ignore[assignment]  # read before execute
        self.replace: Sequence[str] | None = replace  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> list[str]:
        """Read, change, write, and check the result."""
        change = AliasChange.checked(add=self.add, remove=self.remove, replace=self.replace)
        client = self.hook.get_conn()
        with permanent_errors_fail():
            name, aliases = change_aliases(client, self.model_version, change, log=self.log)
        report(self, context, partial(trace_version, client, name, log=self.log))
        return aliases


class CerebrasPromoteModelVersionOperator(CerebrasOperator):
    """Move an alias to a model version, from whichever version holds it.

    Returns the full name of the version, with its number. If the version has the alias already, nothing is sent.

    The service does not move aliases, so it is taken from its holder first. If it cannot be set then, it is put back.
    For the time between the two requests, which is logged, no version holds it. Killed in between, a retry sets it.

    Calls ``GET`` and ``PATCH /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param model_version: full name of the version, by number or alias. (templated)
    :param alias: the alias that it is to have. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses the request, and would again.
    """

    arguments = takes(model_version=MODEL_VERSION, alias=ALIAS)

    def __init__(
        self,
        *,
        model_version: Text,
        alias: Text,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, **kwargs)
        self.model_version: str = model_version  # type: ignore[assignment]  # read before execute
        self.alias: str = alias  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> str:
        """Move the alias."""
        refuse_reserved([self.alias], "alias")
        client = self.hook.get_conn()
        with permanent_errors_fail():
            name = promote(client, self.model_version, self.alias, log=self.log)
        report(self, context, partial(trace_version, client, name, log=self.log))
        return name


class CerebrasDeleteModelVersionOperator(CerebrasOperator):
    """Delete a model version, unless it is in use. Succeeds if it does not exist.

    Returns the full name of the version, with its number where it still existed. Killed at any instant, it can simply
    be run again.

    Calls ``GET`` and ``DELETE /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``, ``GET
    /orgs/{org_name}/endpoints``, ``GET /endpoints/{endpoint_id}`` and, after a 404, ``GET
    /orgs/{org_name}/models/{model_arch_id}/versions``.

    :param model_version: full name of the version, by number or alias. (templated)
    :param force: whether to delete it although it serves or rolls out; default False. The service may refuse that.
        (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises UnexpectedResponse: if a response leaves open which version it is or what serves, and nothing was deleted
        then; or if the service answers 404 although it lists the version. A retry may help.
    :raises VersionInUse: if it serves or rolls out on an endpoint of the organization.
    :raises RequestRefused: if the service refuses the request, and would again.
    """

    arguments = takes(model_version=MODEL_VERSION, force=BOOLEAN)

    def __init__(
        self,
        *,
        model_version: Text,
        force: Flag = False,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, **kwargs)
        self.model_version: str = model_version  # type: ignore[assignment]  # read before execute
        self.force: bool = force  # type: ignore[assignment]  # read before execute

    def execute(self, context: Context) -> str:
        """Check that it is not in use, and delete it."""
        org_name = ModelVersionName.parse(self.model_version).org_name
        client = self.hook.get_conn()
        with permanent_errors_fail():
            version = find_version(client, self.model_version)
            if version is None:
                check_absence(client, self.model_version)
                self.log.info("Model version %s does not exist.", self.model_version)
                return self.model_version
            name = str(numbered_name(version))
            in_use = delete_version(
                client,
                name,
                reason_to_keep=lambda: (
                    None if self.force else find_uses(client, org_name, once=True).in_use.get(name.casefold())
                ),
            )
        if in_use:
            raise VersionInUse(
                f"Model version {name} {in_use}, so it was not deleted. Deploy another version there first, or set "
                "force=True."
            )
        self.log.info("Deleted model version %s.", name)
        return name


class CerebrasPruneModelVersionsOperator(CerebrasOperator):
    """Delete old model versions of an architecture, and say of every version why it was kept.

    Kept are those that serve or roll out on any endpoint of the organization, that served there before, that hold a
    protected alias, that still sync, that are among the newest ``keep_last`` of those that are synced, or that are
    newer than those. All of that is checked again right before each deletion; if a response leaves it open, the task
    fails and deletes nothing more. Killed at any instant, it can simply be run again.

    Returns ``{"deleted": [names], "kept": {name: reason}}``, names by number.

    Calls ``GET /orgs/{org_name}/models/{model_arch_id}/versions``, ``GET /orgs/{org_name}/endpoints``,
    ``GET /endpoints/{endpoint_id}`` and ``DELETE /orgs/{org_name}/models/{model_arch_id}/versions/{version_id}``.

    :param model_arch_id: id of the architecture. (templated)
    :param keep_last: how many synced versions stay at least; 1 or more. (templated)
    :param keep_aliases: patterns of protected aliases, as of a shell (``*``, ``?``, ``[...]``). (templated)
    :param dry_run: whether to say what would be deleted, and delete nothing; default False. (templated)
    :param org_name: customer management organization name; default: the connection's. (templated)
    :param cerebras_conn_id: id of the connection; default ``cerebras_default``. (templated)
    :raises InvalidArgument: if an argument is against a rule; nothing was sent then.
    :raises RequestRefused: if the service refuses the request, and would again.
    """

    arguments = takes(
        model_arch_id=IDENTIFIER,
        keep_last=COUNT,
        keep_aliases=PATTERNS.or_none,
        dry_run=BOOLEAN,
    )
    _must_have_value = frozenset({"keep_aliases"})

    def __init__(
        self,
        *,
        model_arch_id: Text,
        keep_last: Number,
        keep_aliases: Texts | None = None,
        dry_run: Flag = False,
        org_name: Text | None = None,
        cerebras_conn_id: Text = CerebrasHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(cerebras_conn_id=cerebras_conn_id, org_name=org_name, **kwargs)
        self.model_arch_id: str = model_arch_id  # type: ignore[assignment]  # read before execute
        self.keep_last: int = keep_last  # type: ignore[assignment]  # read before execute
        self.keep_aliases: Sequence[str] | None = keep_aliases  # type: ignore[assignment]  # read before execute
        self._given = [] if keep_aliases is None else ["keep_aliases"]
        # It hides a method of BaseOperator, which only ``airflow tasks test --dry-run`` of Airflow 2 calls: Airflow
        # renders the attribute of the argument's own name.
        self.dry_run = dry_run  # type: ignore[method-assign,assignment]

    def execute(self, context: Context) -> dict[str, list[str] | dict[str, str]]:
        """List the versions, decide, and delete."""
        self._refuse_lost(self._given, context)
        dry_run: bool = vars(self)["dry_run"]
        client = self.hook.get_conn()
        with permanent_errors_fail():
            selection = self._select(client)
            kept = dict(selection.keep)
            for name in selection.delete if not dry_run else ():
                try:
                    reason = delete_version(client, name, reason_to_keep=partial(self._reason, client, name))
                except Conflict as error:  # it has come into use since
                    reason = f"the service refused: {error.message}"
                if reason:
                    kept[name] = reason
                else:
                    self.log.info("Deleted model version %s.", name)
        deleted = [name for name in selection.delete if name not in kept]
        for name, reason in kept.items():
            self.log.info("Kept model version %s: it %s.", name, reason)
        self.log.info("%s: %s.", "Would delete" if dry_run else "Deleted", ", ".join(deleted) or "nothing")
        return {"deleted": deleted, "kept": kept}

    def _reason(self, client: CerebrasClient, name: str) -> str | None:
        """Check again, and return the reason to keep a version."""
        selection = self._select(client, once=True)
        if name in selection.delete or find_version(client, name) is None:
            return None
        return selection.keep.get(name, "is no longer listed, but still exists")

    def _select(self, client: CerebrasClient, *, once: bool = False) -> Selection:
        send = client.send_once if once else client.send
        versions = send(operations.list_model_versions(self.hook.org_name, self.model_arch_id)).model_versions
        return select(
            versions,
            uses=find_uses(client, self.hook.org_name, once=once),
            keep_last=self.keep_last,
            keep_aliases=self.keep_aliases or (),
        )
