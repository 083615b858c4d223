"""The deployments that make endpoints serve their desired versions. Pure.

Nothing is planned over a rollout of another client, over one that cannot be read, or once more after a failure: there a
person decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_version
from airflow_provider_cerebras.durable.rollout_steps import what_serves

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_cerebras.api.models import ModelVersion
    from airflow_provider_cerebras.durable.rollout_steps import Deployed

Action = Literal["deploy", "none", "hold"]


class Line(NamedTuple):
    """The plan for one endpoint.

    :param endpoint_id: id of the endpoint.
    :param model_version: full name of the version that it is to serve; by number, if that is known.
    :param serves: full name of the version that serves; None: nothing does, or it is not known.
    :param action: ``deploy``: the version has to be deployed; ``none``: nothing has to be done; ``hold``: nothing is
        planned until a person or time has changed something.
    :param reason: why.
    """

    endpoint_id: str
    model_version: str
    serves: str | None
    action: Action
    reason: str


def plan_endpoint(endpoint_id: str, model_version: str, deployments: Sequence[Deployed]) -> Line:
    """Say what has to be done so that a version serves on an endpoint.

    :param endpoint_id: id of the endpoint.
    :param model_version: full name of the version, by number.
    :param deployments: all deployments of the endpoint.
    """
    try:
        serving = what_serves(deployments)
    except UnexpectedResponse as error:
        return Line(endpoint_id, model_version, None, "hold", str(error))
    serves = serving.model if serving else None

    def line(action: Action, reason: str) -> Line:
        return Line(endpoint_id, model_version, serves, action, reason)

    # A deployment older than the one that serves is superseded, whatever its state.
    since = [each for each in deployments if serving is None or each.created >= serving.created]
    under_way = [each for each in since if each.progress is Progress.PENDING]
    if others := [each for each in under_way if each.model != model_version]:
        return line("hold", f"another rollout is under way: {others[0]}")
    if under_way:
        return line("none", f"it rolls out: {under_way[0]}")
    if serves == model_version:
        return line("none", "it serves")
    if failed := [each for each in since if each.model == model_version]:
        return line("hold", f"its last rollout has failed: {failed[0]}")
    return line("deploy", "another version serves" if serves else "nothing serves")


def find_fault(version: ModelVersion, model_arch_id: str | None) -> str | None:
    """Say why a version cannot be deployed to an endpoint; None: it can, as far as is known.

    :param version: a response about the version.
    :param model_arch_id: the endpoint's architecture; None: unknown.
    """
    verdict = classify_version(version)
    if verdict.progress is not Progress.SUCCEEDED:
        return f"the version is not synced: {verdict.status_text}"
    arch = ModelVersionName.parse(version.name).model_arch_id
    if model_arch_id is not None and arch != model_arch_id:
        return f"the version is of architecture {arch}, and the endpoint of {model_arch_id}"
    return None


def as_table(rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows as a table for a log.

    :param rows: each a mapping of columns to values; all have the same columns.
    """
    texts = [{name: "-" if value is None else str(value) for name, value in row.items()} for row in rows]
    if not texts:
        return "(nothing)"
    texts = [{name: name for name in texts[0]}, *texts]
    widths = {name: max(len(text[name]) for text in texts) for name in texts[0]}
    return "\n".join("  ".join(text[name].ljust(width) for name, width in widths.items()).rstrip() for text in texts)
