"""The argument that says which version each endpoint is to serve. Pure, as :mod:`.kinds` is."""

from __future__ import annotations

from airflow_provider_cerebras.arguments.kinds import Kind, read_identifier, read_mapping, read_model_version


def read_desired(value: object, argument: str) -> dict[str, str]:
    """Read the model versions that endpoints are to serve, by endpoint."""
    return {
        read_identifier(endpoint_id, argument): read_model_version(model_version, argument)
        for endpoint_id, model_version in read_mapping(value, argument).items()
    }


DESIRED = Kind(
    "a mapping of endpoint ids to full names of model versions, by number or alias, or its text",
    read_desired,
    text=True,
)
