"""Attributes of the current span, which Airflow or the user's own code has begun.

It begins no span of its own. Where tracing is off there is no span that records, and where nothing in the process has
imported OpenTelemetry there is none at all; then nothing is done, and nothing is imported.
"""

from __future__ import annotations

import sys

ATTRIBUTES = {
    "model_version": "full name of the version; by number, as soon as that is known",
    "deployment_id": "UUID of the deployment",
    "endpoint_id": "id of the endpoint",
    "weights_digest": "digest of the weights",
    "outcome": "how a wait ended (`succeeded`, `failed`, `lost`, `timeout` or `unreachable`); whether a verification "
    "or an evaluation `succeeded` or `failed`; `submitted` where a task does not wait",
}
"""The last part of each attribute's name, which begins with ``cerebras.``, and what it holds."""


def set_attributes(**values: object) -> None:
    """Set attributes of the current span.

    :param values: values by the keys of :data:`ATTRIBUTES`; other keys, and values that are no strings, are left out.
    """
    # A span can only be there if the process has imported this.
    trace = sys.modules.get("opentelemetry.trace")
    current = getattr(trace, "get_current_span", None)
    if current is None or not (span := current()).is_recording():
        return
    for name in ATTRIBUTES.keys() & values.keys():
        value = values[name]
        if isinstance(value, str):
            span.set_attribute(f"cerebras.{name}", str(value))


def set_arguments(task: object) -> None:
    """Set what a task was given, as far as there are attributes for it.

    :param task: the operator or sensor.
    """
    set_attributes(**{name: getattr(task, name, None) for name in ATTRIBUTES if name != "outcome"})
