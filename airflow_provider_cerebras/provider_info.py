"""The provider info for Airflow: modules, connection type and its form.

Airflow reads it at every start, so nothing but plain data is made here.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_cerebras._version import __version__

CONNECTION_TYPE = "cerebras"
_INTEGRATION = "Cerebras"
_PACKAGE = "airflow_provider_cerebras"

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    # A base URL can hold the port, but from their list of connections Airflow 3.3.1 and 3.3.2 test only those with one.
    "hidden_fields": ["schema", "login"],
    "relabeling": {"host": "Base URL", "password": "Management API key"},
    "placeholders": {"host": "https://api.cerebras.ai", "password": "not the inference API key", "port": "443"},
}

CONNECTION_FIELDS: dict[str, Any] = {
    "org_name": {
        "label": "Organization name",
        "description": "Customer management organization name, shown beside the management API keys. Not the org_id.",
        "schema": {"type": ["string", "null"]},
    },
    "inference_api_key": {
        "label": "Inference API key",
        "description": "Needed only to ask an endpoint, as verification does.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "request_timeout": {
        "label": "Request timeout (seconds)",
        "description": "How long a request waits for an answer.",
        "schema": {"type": ["number", "null"], "minimum": 1, "default": 30},
    },
    "max_retries": {
        "label": "Retries of a request",
        "description": "How often a request that may be sent twice is sent again.",
        "schema": {"type": ["integer", "null"], "minimum": 0, "default": 5},
    },
    "verify": {
        "label": "CA bundle",
        "description": "Path of a CA bundle; empty for the usual authorities.",
        "schema": {"type": ["string", "null"]},
    },
    "proxy": {
        "label": "Proxy",
        "description": "URL of a proxy; empty for the environment's.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description; Airflow finds this function by its entry point."""

    def modules(*names: str) -> list[dict[str, Any]]:
        return [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.{name}" for name in names]}]

    uris = [
        {
            "schemes": ["cerebras"],
            "handler": f"{_PACKAGE}.assets.uris.normalize",
            "factory": f"{_PACKAGE}.assets.create_asset",
            "to_openlineage_converter": f"{_PACKAGE}.lineage.to_openlineage",
        }
    ]

    return {
        "package-name": "airflow-provider-cerebras",
        "name": "Cerebras",
        "description": "Take fine-tuned weights from S3 to a served Cerebras dedicated endpoint.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://inference-docs.cerebras.ai/dedicated/management-api",
                "tags": ["ai", "llm", "ai-inference", "service"],
            }
        ],
        "hooks": modules("hooks.cerebras"),
        "operators": modules(
            "operators.model_versions",
            "operators.endpoints",
            "operators.planning",
            "operators.evaluation",
            "operators.weights",
        ),
        "sensors": modules("sensors.model_versions", "sensors.endpoints"),
        "triggers": modules("triggers.model_versions", "triggers.endpoints", "triggers.events"),
        "extra-links": [
            f"{_PACKAGE}.links.weights.CerebrasWeightsLink",
            f"{_PACKAGE}.links.console.CerebrasConsoleLink",
        ],
        "cli": [f"{_PACKAGE}.cli.definition.get_cerebras_cli_commands"],
        "asset-uris": uris,
        "dataset-uris": uris,  # the same, as Airflow 2 calls it
        "config": {
            "cerebras": {
                "description": "Options of the Cerebras provider.",
                "options": {
                    "idempotency_namespace": {
                        "description": (
                            "Enters into the identity of every upload. Give each Airflow deployment a value of its own "
                            "if two of them have DAGs of the same name and upload to the same Cerebras organization."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "production",
                        "default": "",
                    }
                },
            }
        },
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": f"{_PACKAGE}.hooks.cerebras.CerebrasHook",
                "hook-name": "Cerebras",
                # The same thing has keys with hyphens here and with underscores in the hook.
                "ui-field-behaviour": {key.replace("_", "-"): value for key, value in UI_FIELD_BEHAVIOUR.items()},
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
    }
