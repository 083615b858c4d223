"""Decisions from an endpoint's list of deployments: which one is ours, which came since, and what served before.

Everything here is pure. The list is in no order that can be relied on, so deployments are ordered by when they were
submitted; of two of the same second it is not known which is newer. An entry that does not say which deployment it is,
of which version, or from when, could be any client's: no decision is made then.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.evidence import known_deployments
from airflow_provider_cerebras.api.status import Progress, classify_deployment, find_by_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_cerebras.api.models import Endpoint


SUBMISSION_KEY = "cerebras_submission"
"""XCom of a task that deploys: its deployment, for a task that rolls it back."""
VERDICT_KEY = "cerebras_verdict"
"""XCom of a task that has found that a rollout failed, or that what serves is not as it must be.

A task that takes a deployment back goes by this: that a task has failed says nothing about the deployment.
"""


class Deployed(NamedTuple):
    """An entry of the list with all that a decision needs.

    :param id: the deployment's UUID.
    :param model: full name of the version, by number.
    :param created: when it was submitted, Unix seconds of the service's clock.
    :param progress: how far it is.
    :param state: the service's own status text, for messages.
    """

    id: str
    model: str
    created: int
    progress: Progress
    state: str

    def __str__(self) -> str:
        return f"deployment {self.id} of model version {self.model} ({self.state})"


def read_deployments(endpoint: Endpoint) -> list[Deployed]:
    """Read the whole list, newest first.

    :param endpoint: the service's response.
    :raises UnexpectedResponse: if the list is absent, or an entry lacks what a decision needs.
    """
    deployments = []
    for entry in known_deployments(endpoint):
        if entry.id is None:
            raise UnexpectedResponse(
                f"Field deployed_models[].id of a deployment of {entry.model_version} on endpoint {endpoint.name} is "
                "absent or cannot be read, so it is not known whose it is. Nothing is changed."
            )
        state = classify_deployment(endpoint, entry.id).status_text
        deployments.append(Deployed(entry.id, entry.model_version, entry.created, entry.progress, state))
    return deployments


class Baseline(NamedTuple):
    """The deployments from before a task run's first submission; it may replace only those.

    :param created: everything that was submitted before this moment was there, Unix seconds.
    :param ids: UUIDs of what else was there: what was submitted in that same second.
    """

    created: int
    ids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, deployments: Sequence[Deployed]) -> Baseline:
        """Everything that is listed now."""
        newest = max((each.created for each in deployments), default=0)
        return cls(newest, frozenset(each.id for each in deployments if each.created == newest))

    @classmethod
    def before(cls, moment: float) -> Baseline:
        """Everything that was submitted before a moment, in Unix seconds."""
        return cls(math.floor(moment))

    def covers(self, deployment: Deployed) -> bool:
        """Return whether a deployment was there."""
        return deployment.created < self.created or deployment.id in self.ids


class Submission(NamedTuple):
    """The deployment that a task run has submitted. It is kept as task state and as XCom.

    :param deployment_id: UUID of the deployment.
    :param model_version: full name of its version, by number.
    :param created: when it was submitted, Unix seconds of the service's clock.
    :param baseline: what was there before.
    :param served_before: full name of the version that served before.
    :param seen: whether the endpoint has listed it.
    """

    deployment_id: str
    model_version: str | None = None
    created: int | None = None
    baseline: Baseline | None = None
    served_before: str | None = None
    seen: bool = False

    def to_json(self) -> str:
        """Return it as a string."""
        baseline = self.baseline and {"created": self.baseline.created, "ids": sorted(self.baseline.ids)}
        return json.dumps({**self._asdict(), "baseline": baseline})

    @classmethod
    def from_json(cls, text: object) -> Submission | None:
        """Read what :meth:`to_json` has returned; None if it is something else."""
        try:
            fields: Any = json.loads(text) if isinstance(text, str) else None
            baseline = fields["baseline"] and Baseline(
                int(fields["baseline"]["created"]), frozenset(map(str, fields["baseline"]["ids"]))
            )
            return cls(**{**fields, "baseline": baseline})
        except (TypeError, KeyError, ValueError):
            return None


class Decision(NamedTuple):
    """The decision about a version to deploy. Neither adopted nor superseded: submit it.

    :param adopted: UUID of the deployment that makes a submission needless.
    :param superseded_by: a later deployment of another client; nothing may be submitted.
    """

    adopted: str | None = None
    superseded_by: Deployed | None = None


def decide(
    deployments: Sequence[Deployed],
    model_version: str,
    *,
    baseline: Baseline,
    submitted: Submission | None = None,
    adopt_older: bool = True,
) -> Decision:
    """Decide whether to submit a version, to adopt a deployment, or to leave the endpoint to another client.

    :param deployments: all that are listed.
    :param model_version: full name, by number, of the version that is to serve.
    :param baseline: what was there before the task run submitted anything.
    :param submitted: the deployment that an earlier attempt has submitted, if it is known. It may be queued where it
        is not listed.
    :param adopt_older: whether a deployment of the version that was there before will do.
    """
    listed = {each.id for each in deployments}
    queued = submitted if submitted is not None and submitted.deployment_id not in listed else None
    # A deployment of ours came since, whatever the service's clock says.
    own = submitted.deployment_id if submitted is not None else None
    since = [each for each in deployments if not baseline.covers(each) or each.id == own]
    newest = _newest(since or deployments)
    others = [each for each in newest if each.model != model_version]
    if since:
        if not others:
            # One that failed is what came of ours: a retry does not try it again.
            return Decision(adopted=_best(newest).id)
        if queued is not None and queued.created is not None and all(each.created < queued.created for each in since):
            return Decision(adopted=queued.deployment_id)
        return Decision(superseded_by=others[0])
    if queued is not None:
        return Decision(adopted=queued.deployment_id)
    if adopt_older and newest and not others and _best(newest).progress is not Progress.FAILED:
        return Decision(adopted=_best(newest).id)
    return Decision()


def adopt(
    deployment_id: str, model_version: str, deployments: Sequence[Deployed], submitted: Submission | None
) -> Submission:
    """Return the known facts of a deployment that makes a submission needless.

    :param deployment_id: UUID of the deployment, as :func:`decide` has found it.
    :param model_version: full name of its version, by number.
    :param deployments: all that are listed.
    :param submitted: the deployment that an earlier attempt has submitted, if it is known.
    """
    entry = find_by_id(deployments, deployment_id)
    if entry is not None:
        return Submission(deployment_id, model_version, entry.created, seen=True)
    return submitted or Submission(deployment_id, model_version)


class Target(NamedTuple):
    """The target of a rollback.

    :param model_version: full name of the version, by number.
    :param standing: a deployment of it that has served all the time, so that nothing has to be submitted.
    """

    model_version: str
    standing: Deployed | None = None


def baseline_of_rollback(deployments: Sequence[Deployed], taken_back: Submission) -> Baseline | None:
    """The deployments that a rollback may replace: the one that is taken back, and older ones.

    :param deployments: all that are listed.
    :param taken_back: the deployment that is taken back.
    :return: None if that one is not listed, and it is not known either when it was submitted.
    """
    entry = find_by_id(deployments, taken_back.deployment_id)
    created = entry.created if entry else taken_back.created
    there = taken_back.baseline
    if created is None:
        return there
    # Only a deployment of the same second is unclear, whatever our clock says.
    older = {each.id for each in deployments if each.created == created and there is not None and there.covers(each)}
    return Baseline(created, frozenset({*older, taken_back.deployment_id}))


def find_target(deployments: Sequence[Deployed], taken_back: Submission, baseline: Baseline) -> Target | None:
    """Find the version that served before a deployment.

    A deployment that is complete served itself, so another version is meant. One that failed has not come to serve: if
    the same version served before, it has done so all the time.

    :param deployments: all that are listed, newest first.
    :param taken_back: the deployment that is taken back.
    :param baseline: see :func:`baseline_of_rollback`.
    :return: None if nothing served before.
    :raises UnexpectedResponse: if it is not known what served before, for another rollout was under way, or several
        deployments are of the same second.
    """
    reference = find_by_id(deployments, taken_back.deployment_id)
    model_version = reference.model if reference else taken_back.model_version
    has_served = reference is not None and reference.progress is not Progress.FAILED
    older = [each for each in deployments if baseline.covers(each) and each is not reference]
    for each in older:
        is_same = each.model == model_version
        if each.progress is Progress.FAILED or (is_same and (has_served or _is_own(each, taken_back))):
            continue
        if each.progress is not Progress.SUCCEEDED:
            if is_same:
                continue
            raise UnexpectedResponse(f"It is not known what served before, for {each} came before and has not ended.")
        tied = [other for other in older if other.created == each.created and not _is_own(other, taken_back)]
        serving = what_serves(tied)  # fails if there are several
        return Target(each.model, serving if is_same else None)
    before = taken_back.served_before
    return Target(before) if before is not None and before != model_version else None


def _is_own(deployment: Deployed, taken_back: Submission) -> bool:
    """Whether the task run that submitted a deployment may have submitted this one too."""
    return (
        deployment.model == taken_back.model_version
        and taken_back.baseline is not None
        and not taken_back.baseline.covers(deployment)
    )


def what_serves(deployments: Iterable[Deployed]) -> Deployed | None:
    """The newest deployment that is complete.

    :param deployments: all that are listed.
    :raises UnexpectedResponse: if deployments of several versions were completed in the same second.
    """
    complete = _newest([each for each in deployments if each.progress is Progress.SUCCEEDED])
    if len({each.model for each in complete}) > 1:
        raise UnexpectedResponse(
            f"It is not known which version serves: {' and '.join(map(str, complete))} are of the same second."
        )
    return complete[0] if complete else None


def what_rolls_out(deployments: Sequence[Deployed]) -> Deployed | None:
    """The newest deployment that has not ended, if nothing that came after it serves.

    :param deployments: all that are listed.
    """
    complete = max((each.created for each in deployments if each.progress is Progress.SUCCEEDED), default=0)
    pending = _newest([each for each in deployments if each.progress is Progress.PENDING and each.created >= complete])
    return pending[0] if pending else None


def served_before(deployments: Iterable[Deployed], baseline: Baseline) -> str | None:
    """Full name of the version that served before a task run submitted anything, if that is known.

    :param deployments: all that are listed.
    :param baseline: what was there before.
    """
    there = [each for each in deployments if baseline.covers(each)]
    complete = _newest([each for each in there if each.progress is Progress.SUCCEEDED])
    models = {each.model for each in complete}
    # What was about to replace it may have served since.
    if len(models) != 1 or any(
        each.progress is Progress.PENDING and each.created >= complete[0].created for each in there
    ):
        return None
    return models.pop()


def _newest(deployments: Sequence[Deployed]) -> list[Deployed]:
    newest = max((each.created for each in deployments), default=0)
    return [each for each in deployments if each.created == newest]


def _best(deployments: Sequence[Deployed]) -> Deployed:
    order = [Progress.SUCCEEDED, Progress.PENDING, Progress.FAILED]
    return min(deployments, key=lambda each: order.index(each.progress))
