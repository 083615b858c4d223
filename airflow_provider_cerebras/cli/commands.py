"""The commands: what each reads and prints. All requests are GET."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_cerebras import weights
from airflow_provider_cerebras.api.errors import NotFound
from airflow_provider_cerebras.api.names import ModelVersionName
from airflow_provider_cerebras.api.status import Progress, classify_entry, classify_version, serving_model
from airflow_provider_cerebras.cli.records import read_records
from airflow_provider_cerebras.durable.identity import is_own
from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.weights.policy import Role

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import JsonValue

    from airflow_provider_cerebras.api.models import Endpoint
    from airflow_provider_cerebras.cli.records import Released

Row = dict[str, "JsonValue"]


@dataclass(frozen=True)
class Result:
    """The output of a command.

    :param data: all of it, for ``json`` and ``yaml``.
    :param rows: the rows of the table.
    :param nothing: what to print if there are no rows.
    :param summary: a line below the table.
    :param exit_code: 0: no error; 1: a check found an error.
    """

    data: JsonValue
    rows: Sequence[Row] = ()
    nothing: str = "Nothing was found."
    summary: str = ""
    exit_code: int = 0

    @classmethod
    def of_rows(cls, rows: Iterable[Row], *, nothing: str) -> Result:
        """Make one of rows that are all there is to say."""
        listed = list(rows)
        return cls(data=list(listed), rows=listed, nothing=nothing)


def status(args: argparse.Namespace) -> Result:
    """Show what serves and what rolls out on each endpoint of the organization."""
    hook = _hook(args)
    ids = [summary.endpoint_id for summary in hook.list_endpoints()]
    rows = [_endpoint_row(hook, hook.get_endpoint(endpoint_id)) for endpoint_id in ids if endpoint_id]
    return Result.of_rows(rows, nothing=f"Organization {hook.org_name!r} has no endpoints.")


def versions(args: argparse.Namespace) -> Result:
    """The versions of an architecture, newest first."""
    hook = _hook(args)
    rows: list[Row] = []
    for version in hook.list_model_versions(args.model_arch_id):
        verdict = classify_version(version)
        rows.append(
            {
                "version": _number(version.name),
                "state": verdict.progress.value,
                "aliases": _aliases(version.details.version_aliases),
                "weight_uri": version.details.customer_s3_uri,
                "detail": verdict.status_text,
                "name": version.name,
            }
        )
    rows.sort(key=lambda row: row["version"] if isinstance(row["version"], int) else 0, reverse=True)
    return Result.of_rows(rows, nothing=f"There are no versions of {args.model_arch_id!r}.")


def history(args: argparse.Namespace) -> Result:
    """Show the deployments of an endpoint, newest first: those that it lists, then those that only records know."""
    endpoint = _hook(args).get_endpoint(args.endpoint_id)
    released, read = ({}, 0) if args.records is None else read_records(args.records, args.endpoint_id)
    serving = serving_model(endpoint)
    rows: list[Row] = [
        {
            "submitted": _time(entry.created),
            "version": _number(entry.model),
            "state": classify_entry(entry).progress.value,
            "serves": entry is serving,
            "deployment_id": entry.id,
            "detail": classify_entry(entry).status_text,
            "model_version": entry.model,
            **_released(args, released.pop(entry.id or "", None)),
        }
        for entry in sorted(endpoint.deployed_models or (), key=lambda entry: entry.created or 0, reverse=True)
    ]
    rows += [
        {
            "submitted": None,
            "version": _number(each.model_version),
            "state": None,
            "serves": False,
            "deployment_id": each.deployment_id,
            "detail": f"not listed any more; its release was concluded {each.concluded_at}",
            "model_version": each.model_version,
            **_released(args, each),
        }
        for each in sorted(released.values(), key=lambda each: each.concluded_at, reverse=True)
    ]
    result = Result.of_rows(rows, nothing=f"Endpoint {args.endpoint_id!r} lists no deployments.")
    return result if args.records is None else replace(result, summary=f"records read: {read}")


def check_weights(args: argparse.Namespace) -> Result:
    """Check weights in S3; an error among the findings makes the exit code 1."""
    if args.role is not None:
        Role.parse(args.role, "--role")
    report = weights.check_weights(
        args.weight_uri,
        args.arch,
        reader_role_arn=args.role,
        sample_values=args.sample_values,
        aws_conn_id=args.aws_conn_id,
    )
    rows: list[Row] = [
        {"level": each.level.value, "code": each.code, "object": each.object, "found": each.message}
        for each in report.findings
    ]
    return Result(
        data=report.to_json(),
        rows=rows,
        summary=f"digest: {report.digest or 'none'}",
        exit_code=1 if report.errors else 0,
    )


def bucket_policy(args: argparse.Namespace) -> Result:
    """The policy that lets Cerebras read a bucket."""
    return Result(data=weights.bucket_policy(args.bucket, Role.parse(args.role, "--role").arn))


def doctor(args: argparse.Namespace) -> Result:
    """Check the set-up, and say what is wrong and what to do about it."""
    from airflow_provider_cerebras.cli.doctor import Level, examine

    rows: list[Row] = [
        {"check": line.check, "level": line.level.value, "found": line.found, "remedy": line.remedy}
        for line in examine(args.conn_id, args.org_name)
    ]
    failed = any(row["level"] == Level.ERROR for row in rows)
    return Result(data=list(rows), rows=rows, exit_code=1 if failed else 0)


def _hook(args: argparse.Namespace) -> CerebrasHook:
    return CerebrasHook(cerebras_conn_id=args.conn_id, org_name=args.org_name)


def _released(args: argparse.Namespace, released: Released | None) -> Row:
    if args.records is None:
        return {}
    return {"released_by": None, "outcome": None} if released is None else released.columns()


def _endpoint_row(hook: CerebrasHook, endpoint: Endpoint) -> Row:
    serving = serving_model(endpoint)
    under_way = [
        entry for entry in endpoint.deployed_models or () if classify_entry(entry).progress is Progress.PENDING
    ]
    return {
        "endpoint": endpoint.name,
        "architecture": endpoint.model_arch_id,
        "serves": _number(serving.model) if serving else None,
        "aliases": _aliases_of(hook, serving.model) if serving else None,
        "since": _time(serving.created) if serving else None,
        "rolls_out": [_number(entry.model) for entry in under_way],
        "model_version": serving.model if serving else None,
    }


def _aliases_of(hook: CerebrasHook, model_version: str | None) -> JsonValue:
    if model_version is None:
        return None
    try:
        return _aliases(hook.get_model_version(model_version).details.version_aliases)
    except NotFound:
        return None


def _aliases(aliases: Iterable[str] | None) -> JsonValue:
    return None if aliases is None else [alias for alias in aliases if not is_own(alias)]


def _number(model_version: str | None) -> JsonValue:
    if model_version is None:
        return None
    try:
        return ModelVersionName.parse(model_version).number
    except ValueError:
        return model_version


def _time(created: float | None) -> JsonValue:
    return None if created is None else datetime.fromtimestamp(created, UTC).isoformat(timespec="seconds")


COMMANDS: Mapping[str, Callable[[argparse.Namespace], Result]] = {
    "status": status,
    "versions": versions,
    "history": history,
    "check-weights": check_weights,
    "bucket-policy": bucket_policy,
    "doctor": doctor,
}
