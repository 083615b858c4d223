"""Defaults that the Airflow installation decides."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import conf


def default_deferrable() -> bool:
    """Whether what can wait on the triggerer does so unless told otherwise: ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))
