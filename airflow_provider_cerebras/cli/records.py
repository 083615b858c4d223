"""The release of each deployment, from the records that ``cerebras_release(record_uri=...)`` has stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.assets.record import Record
from airflow_provider_cerebras.operators._locations import open_location

if TYPE_CHECKING:
    from pydantic import JsonValue


class RecordsUnreadable(Exception):
    """The folder of the records could not be read."""


class Released(NamedTuple):
    """The release of a deployment, by its record.

    :param deployment_id: UUID of the deployment.
    :param model_version: full name of the version, if the record says it.
    :param by: the DAG run.
    :param outcome: how the release ended; for its rollback, that it was one.
    :param concluded_at: when the record was made, as ISO 8601.
    """

    deployment_id: str
    model_version: str | None
    by: str
    outcome: str
    concluded_at: str

    def columns(self) -> dict[str, JsonValue]:
        """The columns of a table."""
        return {"released_by": self.by, "outcome": self.outcome}


def read_records(folder: str, endpoint_id: str) -> tuple[dict[str, Released], int]:
    """Read what releases have deployed to an endpoint.

    :param folder: the folder of all records: a path or a URI.
    :param endpoint_id: id of the endpoint.
    :return: the deployments by UUID, and how many records there are of all endpoints. A file that is no record is
        passed over.
    :raises RecordsUnreadable: if the folder cannot be read.
    """
    records = []
    try:
        location = open_location(folder, "--records")
        # An object store knows no folders, so one without records is not missing there.
        if isinstance(location, Path) and not location.is_dir():
            raise FileNotFoundError("there is no such folder")
        for file in location.rglob("*.json"):
            try:
                records.append(Record.from_json(json.loads(file.read_text(encoding="utf-8"))))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
    except OSError as error:
        raise RecordsUnreadable(
            f"--records: {folder} cannot be read: {error}. Give the folder that cerebras_release has as record_uri."
        ) from error
    found: dict[str, Released] = {}
    for record in sorted(records, key=lambda record: record.concluded_at or ""):
        if record.endpoint_id != endpoint_id:
            continue
        by, at = f"{record.dag_id}, run {record.run_id}", record.concluded_at or ""
        if record.deployment_id is not None:
            found[record.deployment_id] = Released(
                record.deployment_id, record.model_version, by, record.outcome.value, at
            )
        if (rollback := record.rollback_deployment_id) is not None:
            found[rollback] = Released(rollback, record.served_before, by, "rollback of this release", at)
    return found, len(records)
