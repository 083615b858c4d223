"""The record of a release: what happened, who did it and on what grounds, and the sentence that a failure ends in.

Everything here is pure. A record holds neither secrets nor questions and answers, so it may be shown to everybody.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

_MAX_WORDS = 1500
"""Characters of one error that a sentence repeats; the log of the task has all of them."""
_NO_WORDS = "the task ended without telling why, as a task that is killed does; see its log"
_EVALUATION = (
    "skipped",
    "passed",
    "cases",
    "pass_rate",
    "tags",
    "latency_seconds",
    "digest",
    "model_version",
    "results_uri",
)
_COMPARISON = ("pass_rate", "fall", "better", "p_value", "max_regression", "confidence")


class ReleaseOutcome(StrEnum):
    """The outcome of a release."""

    RELEASED = "released"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    NOT_ROLLED_BACK = "not_rolled_back"
    NOT_DEPLOYED = "not_deployed"
    DEPLOYMENT_FAILED = "deployment_failed"
    UNVERIFIED = "unverified"
    NOT_PROMOTED = "not_promoted"
    NOT_STARTED = "not_started"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Step:
    """The outcome of one task of a release.

    :param name: id of the task within the group.
    :param state: its state, in Airflow's word; None: it has none.
    :param seconds: how long it took, with its waits, if Airflow says.
    :param error: what its last attempt failed with, if it is known.
    """

    name: str
    state: str | None
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class ApprovalResponse:
    """The response to a request for approval.

    :param option: the answer, such as ``Approve``.
    :param by: name of the person; None: there was no answer in time, and the default was taken.
    :param at: when, as ISO 8601.
    """

    option: str
    by: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class Record:
    """The record of one release.

    :param outcome: how it ended.
    :param endpoint_id: id of the endpoint.
    :param dag_id: id of the DAG.
    :param run_id: id of the DAG run.
    :param group_id: id of the group.
    :param attempt: 0, and another number after each clear of the task that concludes.
    :param steps: the tasks, in their order.
    :param map_index: map index of a group that is mapped; -1: it is not.
    :param bundle_version: version of the DAG bundle, if it has one.
    :param run_type: how the run came about: ``scheduled``, ``manual``, ``asset_triggered``, ...
    :param triggered_by: name of the person who triggered the run, if Airflow says.
    :param approval: what a person answered.
    :param weight_uri: where the weights are.
    :param weights_digest: digest of the weights.
    :param findings: how many findings of each level the check of the weights has.
    :param served_before: full name of the version that served before, if that is known.
    :param model_version: full name of the version that was released.
    :param deployment_id: UUID of its deployment.
    :param rollback_deployment_id: UUID of the deployment that took it back.
    :param serves_now: full name of the version that serves in the end; None: nothing, or it is not known.
    :param rolls_out: full name of the version that still rolls out in the end; None: none, or it is not known.
    :param serving_unknown: why it is not known what serves in the end; None: it is known.
    :param alias: alias that is moved to the version.
    :param verification: the metrics of the verification.
    :param evaluation: the summary of the evaluation.
    :param started_at: when the run began, as ISO 8601.
    :param concluded_at: when the record was made, as ISO 8601.
    """

    outcome: ReleaseOutcome
    endpoint_id: str
    dag_id: str
    run_id: str
    group_id: str
    attempt: int
    steps: tuple[Step, ...]
    map_index: int = -1
    bundle_version: str | None = None
    run_type: str | None = None
    triggered_by: str | None = None
    approval: ApprovalResponse | None = None
    weight_uri: str | None = None
    weights_digest: str | None = None
    findings: Mapping[str, int] | None = None
    served_before: str | None = None
    model_version: str | None = None
    deployment_id: str | None = None
    rollback_deployment_id: str | None = None
    serves_now: str | None = None
    rolls_out: str | None = None
    serving_unknown: str | None = None
    alias: str | None = None
    verification: Mapping[str, JsonValue] | None = None
    evaluation: Mapping[str, JsonValue] | None = None
    started_at: str | None = None
    concluded_at: str | None = None

    @property
    def failed(self) -> Step | None:
        """The task that failed first, the rollback apart."""
        return next((step for step in self.steps if step.state == "failed" and step.name != "roll_back"), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        plain = asdict(self)
        return {**plain, "outcome": self.outcome.value, "steps": [dict(step) for step in plain["steps"]]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Record:
        """Read what :meth:`to_json` has returned; fields of a later version are passed over.

        :param fields: that.
        """
        approval = fields.get("approval")
        return cls(
            **{
                **_known(cls, fields),
                "outcome": ReleaseOutcome(fields["outcome"]),
                "steps": tuple(Step(**_known(Step, step)) for step in fields["steps"]),
                "approval": approval and ApprovalResponse(**_known(ApprovalResponse, approval)),
            }
        )

    def sentence(self) -> str:
        """Say in one sentence what failed, what was done about it, what serves now and what to do."""
        released = self.model_version or (f"the weights at {self.weight_uri}" if self.weight_uri else "a version")
        release = f"The release of {released} to endpoint {self.endpoint_id}"
        failed = self.failed
        step = failed.name if failed else "a task before it"
        if self.outcome is ReleaseOutcome.RELEASED:
            return f"{release} succeeded; {self.serving()}."
        if self.outcome is ReleaseOutcome.SKIPPED:
            return f"{release} was skipped; {self.serving()}."
        if self.outcome is ReleaseOutcome.REJECTED:
            by = (self.approval and self.approval.by) or "the default, because there was no answer in time"
            begins = f"{release} was rejected by {by}"
        elif self.outcome is ReleaseOutcome.NOT_STARTED:
            begins = f"{release} was not carried out, since a task before it failed"
        else:
            begins = f"{release} failed in {step}: {_clause(failed.error if failed else None)}"
        return "; ".join([begins, self._what_was_done(), self.serving(), self._what_to_do(step)]) + "."

    def serving(self) -> str:
        """Say what serves now and what still rolls out, without a full stop."""
        # After a rollback it may be that of this release.
        is_ours = self.rolls_out == self.model_version or self.outcome is not ReleaseOutcome.RELEASED
        whose = "" if is_ours else ", which is not of this release,"
        rolls_out = f", and {self.rolls_out}{whose} still rolls out" if self.rolls_out else ""
        if self.serving_unknown is not None:
            return f"what serves now is not known ({_clause(self.serving_unknown)}){rolls_out}"
        serves = f"now {self.serves_now} serves there" if self.serves_now else "nothing serves there now"
        return f"{serves}{rolls_out}"

    def _what_was_done(self) -> str:
        rollback = next((step.error for step in self.steps if step.name == "roll_back"), None)
        return {
            ReleaseOutcome.REJECTED: "nothing was deployed",
            ReleaseOutcome.NOT_STARTED: "nothing was deployed",
            ReleaseOutcome.NOT_DEPLOYED: "nothing was deployed",
            ReleaseOutcome.DEPLOYMENT_FAILED: "roll_back had nothing to take back",
            ReleaseOutcome.ROLLED_BACK: "the endpoint was rolled back",
            ReleaseOutcome.NOT_ROLLED_BACK: f"roll_back failed as well: {_clause(rollback)}",
            ReleaseOutcome.UNVERIFIED: "nothing was rolled back, since no check has found the version to be wrong",
            ReleaseOutcome.NOT_PROMOTED: f"the version is verified and stays, but may lack the alias {self.alias}",
        }[self.outcome]

    def _what_to_do(self, step: str) -> str:
        clear = f"fix the cause and clear {step} with the tasks after it"
        return {
            ReleaseOutcome.REJECTED: "clear approve to ask again, or release another version",
            ReleaseOutcome.NOT_STARTED: "fix that task and clear it with the tasks after it",
            ReleaseOutcome.ROLLED_BACK: (
                "find out what is wrong with this version, then clear deploy and the tasks after it, or release another"
            ),
            ReleaseOutcome.NOT_ROLLED_BACK: "look at the endpoint and deploy what must serve",
        }.get(self.outcome, clear)

    def to_markdown(self) -> str:
        """Return it for people."""
        triggered = self.triggered_by or "Airflow itself"
        answer = self.approval
        rows = {
            "Outcome": self.outcome.value,
            "Endpoint": self.endpoint_id,
            "Version": self.model_version,
            "Served before": self.served_before,
            "Serves now": self.serves_now if self.serving_unknown is None else f"not known: {self.serving_unknown}",
            "Still rolls out": self.rolls_out,
            "Weights": self.weight_uri,
            "Digest of the weights": self.weights_digest,
            "Findings": describe_findings(self.findings),
            "Verification": describe_verification(self.verification),
            "Evaluation": describe_evaluation(self.evaluation),
            "Deployment": self.deployment_id,
            "Rolled back by": self.rollback_deployment_id,
            "Alias": self.alias,
            "Triggered by": f"{triggered} ({self.run_type})" if self.run_type else triggered,
            "Approval": f"{answer.option} by {answer.by or 'default'} ({answer.at})" if answer else None,
            "DAG": self.dag_id,
            "Run": self.run_id,
            "Group": self.group_id if self.map_index < 0 else f"{self.group_id} [{self.map_index}]",
            "DAG bundle's version": self.bundle_version,
            "Began": self.started_at,
            "Concluded": self.concluded_at,
        }
        known = [f"| {name} | {_cell(value)} |" for name, value in rows.items() if value is not None]
        steps = [
            f"| {step.name} | {step.state or 'none'} | {'' if step.seconds is None else f'{step.seconds:.1f}'} "
            f"| {_cell(step.error or '')} |"
            for step in self.steps
        ]
        return "\n".join(
            [
                f"# Release to {self.endpoint_id}: {self.outcome.value}",
                "",
                _cell(self.sentence()),
                "",
                *["| | |", "|---|---|", *known, ""],
                *["| task | state | seconds | error |", "|---|---|---|---|", *steps, ""],
            ]
        )

    def is_of_same_release(self, stored: object) -> bool:
        """Whether a record that was stored before is of this release and has the same content.

        What depends on when the record was made may differ.

        :param stored: what :meth:`to_json` has returned.
        """
        if not isinstance(stored, dict):
            return False
        differ = {"concluded_at", "serves_now", "rolls_out", "serving_unknown", "steps"}
        own = self.to_json()
        return all(stored.get(name) == value for name, value in own.items() if name not in differ)


def _known(kind: type[Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in dataclass_fields(kind)}
    return {name: value for name, value in fields.items() if name in names}


def judge(steps: Sequence[Step], *, rejected: bool, deployment_id: str | None) -> ReleaseOutcome:
    """Return how a release ended.

    :param steps: its tasks, in their order.
    :param rejected: whether a person rejected it.
    :param deployment_id: UUID of its deployment, if there is one.
    """
    states = {step.name: step.state for step in steps}
    failed = next((step.name for step in steps if step.state == "failed" and step.name != "roll_back"), None)
    if rejected:
        return ReleaseOutcome.REJECTED
    if states.get("roll_back") in {"failed", "upstream_failed"}:
        return ReleaseOutcome.NOT_ROLLED_BACK
    if states.get("roll_back") == "success":
        return ReleaseOutcome.ROLLED_BACK
    if failed is None:
        others = [state for name, state in states.items() if name != "roll_back"]
        if all(state == "success" for state in others):
            return ReleaseOutcome.RELEASED
        is_upstream = any(state == "upstream_failed" for state in others)
        return ReleaseOutcome.NOT_STARTED if is_upstream else ReleaseOutcome.SKIPPED
    if failed == "promote":
        return ReleaseOutcome.NOT_PROMOTED
    if failed == "deploy":
        return ReleaseOutcome.DEPLOYMENT_FAILED
    return ReleaseOutcome.NOT_DEPLOYED if deployment_id is None else ReleaseOutcome.UNVERIFIED


def count_findings(report: object) -> dict[str, int] | None:
    """Count the findings of a check of weights by level.

    :param report: what the check returned; anything else gives None.
    """
    findings = report.get("findings") if isinstance(report, dict) else None
    if not isinstance(findings, list):
        return None
    counts = {"error": 0, "warning": 0}
    for finding in findings:
        if isinstance(finding, dict) and (level := finding.get("level")) in counts:
            counts[level] += 1
    return counts


def shorten_evaluation(summary: object) -> dict[str, JsonValue] | None:
    """Return what a record keeps of an evaluation, which names no case.

    :param summary: what the evaluation returned; anything else gives None.
    """
    if not isinstance(summary, dict):
        return None
    baseline = summary.get("baseline")
    short = {name: summary[name] for name in _EVALUATION if name in summary}
    if isinstance(baseline, dict):
        short["baseline"] = {name: baseline[name] for name in _COMPARISON if name in baseline}
    return short


def describe_findings(findings: Mapping[str, int] | None) -> str | None:
    """Say how many findings there are, or None if nothing was checked."""
    return None if findings is None else ", ".join(f"{count} {level}s" for level, count in findings.items())


def describe_verification(metrics: Mapping[str, JsonValue] | None) -> str | None:
    """Say what was verified, or None if nothing was."""
    return None if metrics is None else f"{metrics.get('chats')} chats as expected"


def describe_evaluation(summary: Mapping[str, JsonValue] | None) -> str | None:
    """Say how an evaluation ended, or None if there was none."""
    if summary is None:
        return None
    if "skipped" in summary:
        return str(summary["skipped"])
    rate = summary.get("pass_rate")
    shown = f"{rate:.4g}" if isinstance(rate, int | float) else "unknown"
    words = f"pass rate {shown} over {summary.get('cases')} cases"
    return words if summary.get("passed") else f"{words}, which is not good enough"


def _clause(words: str | None) -> str:
    """An error as a part of a sentence."""
    text = " ".join((words or _NO_WORDS).split()).rstrip(".")
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]} ..."


def _cell(text: str) -> str:
    """Text that is shown as it is, within one cell of a table of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
