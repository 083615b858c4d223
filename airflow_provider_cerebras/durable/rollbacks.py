"""A rollback takes back one deployment, and nothing that another client has deployed since.

What is taken back and what is gone back to are chosen once for each task run: "what served before the newest
deployment" is another version as soon as the rollback itself is the newest one. The choice is noted as task state, and
below Airflow 3.3, where there is none, as an alias on the target that only this task run can compute. The alias is best
effort, since a rollback must not depend on it, and comes off in the end. Where both are missing, a retry goes by what
was there when the DAG run began.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.api.evidence import held_aliases
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.durable.alias_lists import AliasEditor
from airflow_provider_cerebras.durable.aliases import find_version
from airflow_provider_cerebras.durable.deployments import say_what_serves
from airflow_provider_cerebras.durable.rollout_steps import (
    Baseline,
    Submission,
    Target,
    adopt,
    baseline_of_rollback,
    decide,
    find_target,
)
from airflow_provider_cerebras.exceptions import AliasesUnsettled, NothingToRollBackTo, RollbackRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_cerebras.api.client import CerebrasClient
    from airflow_provider_cerebras.durable.deployments import Rollout
    from airflow_provider_cerebras.durable.identity import Identity
    from airflow_provider_cerebras.durable.rollout_steps import Deployed
    from airflow_provider_cerebras.durable.task_state import TaskState
    from airflow_provider_cerebras.polling.log import Log

_NAME_IT = "Name the version to go back to: CerebrasRollbackEndpointOperator(to=...)."
# What is taken back if nothing is listed from before the DAG run: only a mark tells then what an earlier attempt did.
_UNKNOWN = Submission("")


class RolledBack(NamedTuple):
    """The result of a rollback.

    :param submission: the deployment that serves, or will.
    :param model_version: full name of its version, by number.
    :param has_served: whether that version has served all the time, so that nothing was submitted.
    """

    submission: Submission
    model_version: str
    has_served: bool = False


class Rollback:
    """Deploy again what served before a deployment, unless another client has deployed since.

    :param rollout: how to submit to the endpoint.
    :param taken_back: the deployment to take back; None: the newest one.
    :param to: full name of the version to go back to, by number; None: the one that served before.
    :param task_state: notes of earlier attempts.
    :param identity: names the alias that marks the target where no notes are kept; None: no alias.
    :param run_started: for a retry: when the DAG run began, in Unix seconds. None: this is the first attempt.
    """

    def __init__(
        self,
        rollout: Rollout,
        *,
        taken_back: Submission | None,
        to: str | None = None,
        task_state: TaskState,
        identity: Identity | None = None,
        run_started: float | None = None,
    ) -> None:
        self._rollout = rollout
        self._taken_back = taken_back
        self._to = to
        self._task_state = task_state
        self._identity = None if task_state.is_kept else identity
        self._run_started = run_started

    def run(self) -> RolledBack:
        """Do it, or change nothing.

        :raises RollbackRefused: if another client has deployed since, or it is not known whether.
        :raises NothingToRollBackTo: if no other version served before.
        :raises UnexpectedResponse: if it is not known what served before.
        :raises CerebrasError: if a request failed.
        """
        deployments = self._rollout.fetch()
        taken_back, baseline = self._find_taken_back(deployments)
        earlier = self._recall(deployments)
        target = earlier or self._choose(deployments, taken_back, baseline)
        adopted = self._decide(deployments, target, taken_back, baseline)
        if target.standing is not None:
            standing = adopt(target.standing.id, target.model_version, deployments, None)
            return RolledBack(standing, target.model_version, has_served=True)
        if adopted is None:
            self._task_state.update(taken_back=taken_back.to_json(), target=target.model_version)
            if earlier is None and self._identity is not None:
                _mark(self._rollout.client, target.model_version, self._identity, log=self._rollout.log)
                deployments = self._rollout.fetch()  # that may have taken a while
                adopted = self._decide(deployments, target, taken_back, baseline)
        if adopted is not None:
            self._rollout.log.info("Deployment %s of model version %s is there already.", adopted, target.model_version)
            noted = Submission.from_json(self._task_state.read().get("submission"))
            return RolledBack(adopt(adopted, target.model_version, deployments, noted), target.model_version)
        made = self._rollout.submit(target.model_version, listed=deployments)
        self._task_state.update(submission=made.to_json(), deployment_id=made.deployment_id)
        return RolledBack(made, target.model_version)

    def _find_taken_back(self, deployments: Sequence[Deployed]) -> tuple[Submission, Baseline]:
        noted = Submission.from_json(self._task_state.read().get("taken_back"))
        taken_back = self._taken_back or noted
        if taken_back is not None:
            baseline = baseline_of_rollback(deployments, taken_back)
            if baseline is None:
                raise self._refusal(
                    f"deployment {taken_back.deployment_id} is not listed there, so it is not known whether another "
                    "client has deployed since",
                    deployments,
                )
            return taken_back, baseline
        baseline = Baseline.of(deployments) if self._run_started is None else Baseline.before(self._run_started)
        there = [each for each in deployments if baseline.covers(each)]
        newest = [each for each in there if each.created == there[0].created]
        if len({each.model for each in newest}) > 1:
            raise self._refusal(
                f"it is not known which deployment is the newest, for {' and '.join(map(str, newest))} are of the same "
                "second",
                deployments,
            )
        if not newest:
            return _UNKNOWN, baseline
        return Submission(newest[0].id, newest[0].model, newest[0].created, baseline), baseline

    def _recall(self, deployments: Sequence[Deployed]) -> Target | None:
        """Return the target that an earlier attempt has chosen."""
        noted = self._to or self._task_state.read().get("target")
        if noted:
            return Target(noted)
        if self._identity is None or self._run_started is None or not deployments:
            return None
        mark = ModelVersionName.parse(deployments[0].model).with_version_id(self._identity.alias)
        with suppress(CerebrasError):
            if marked := find_version(self._rollout.client, str(mark)):
                self._rollout.log.info("An earlier attempt has chosen model version %s to roll back to.", marked.name)
                return Target(marked.name)
        return None

    def _choose(self, deployments: Sequence[Deployed], taken_back: Submission, baseline: Baseline) -> Target:
        target = find_target(deployments, taken_back, baseline)
        if target is None:
            # The deployment of another client is the better reason.
            self._decide(deployments, Target(""), taken_back, baseline)
            raise self._nothing()
        return target

    def _decide(
        self, deployments: Sequence[Deployed], target: Target, taken_back: Submission, baseline: Baseline
    ) -> str | None:
        decision = decide(
            deployments,
            target.model_version,
            baseline=baseline,
            submitted=Submission.from_json(self._task_state.read().get("submission")),
            adopt_older=False,
        )
        if decision.superseded_by is not None:
            if taken_back == _UNKNOWN:
                raise self._refusal(
                    "it is not known which deployment is to be taken back, because none is listed there from before "
                    f"the DAG run began; the newest is {decision.superseded_by}",
                    deployments,
                )
            raise self._refusal(
                f"deployment {taken_back.deployment_id} is no longer the newest, because another client has deployed "
                f"since: {decision.superseded_by}",
                deployments,
            )
        return decision.adopted

    def _nothing(self) -> NothingToRollBackTo:
        return NothingToRollBackTo(
            f"Endpoint {self._rollout.endpoint_id} cannot be rolled back: no other model version served there before. "
            f"{_NAME_IT} Or deploy one."
        )

    def _refusal(self, reason: str, deployments: Sequence[Deployed]) -> RollbackRefused:
        return RollbackRefused(
            f"Endpoint {self._rollout.endpoint_id} was not rolled back: {reason}. {say_what_serves(deployments)} "
            f"This attempt has deployed nothing. {_NAME_IT}"
        )


def remove_mark(rollout: Rollout, identity: Identity) -> None:
    """Take the alias off the version that a rollback has marked, if it is there. Never fails.

    :param rollout: the endpoint.
    :param identity: who has marked it.
    """
    client = rollout.client
    try:
        for model in {each.model for each in rollout.fetch()[:1]}:
            marked = find_version(client, str(ModelVersionName.parse(model).with_version_id(identity.alias)))
            if marked is not None:
                editor = AliasEditor(client, log=rollout.log)
                editor.change(marked.name, remove=[identity.alias], settle=False)
    except (CerebrasError, AliasesUnsettled) as error:
        rollout.log.warning("The alias %s may stay on the target of the rollback: %s", identity.alias, error)


def _mark(client: CerebrasClient, model_version: str, identity: Identity, *, log: Log) -> None:
    try:
        version = client.send_once(operations.get_model_version(model_version))
        aliases = (*held_aliases(version), identity.alias)
        client.send_once(operations.update_model_version_aliases(version.name, aliases))
    except CerebrasError as error:
        log.warning("Model version %s is not marked as the target of this rollback: %s", model_version, error)
