"""The names of the checks."""

from __future__ import annotations

from airflow_provider_cerebras.api.names import shown

CHECKS = ("files", "index", "config", "values", "bucket")
"""The names of the checks. ``values`` needs ``sample_values``, ``bucket`` a role."""


def validate_checks(checks: list[object], argument: str = "checks") -> list[str]:
    """Return ``checks`` if each is the name of one.

    :param checks: the names.
    :param argument: the name of the argument that they came in, for the message.
    :raises ValueError: if one is not.
    """
    found = [each for each in checks if isinstance(each, str) and each in CHECKS]
    if wrong := [each for each in checks if each not in found]:
        raise ValueError(f"{argument}: {shown(wrong[0])} is none of {', '.join(CHECKS)}.")
    return found
