"""The version of the installed Airflow, and the defaults that it sets."""

from __future__ import annotations

from airflow import __version__
from airflow.providers.common.compat.sdk import conf

# Airflow asks providers to have constants of their own: those of other providers are no promise.
_RELEASE = tuple(int(part) for part in __version__.split(".")[:2])

AIRFLOW_V_3_0_PLUS = _RELEASE >= (3, 0)
AIRFLOW_V_3_1_PLUS = _RELEASE >= (3, 1)
AIRFLOW_V_3_2_PLUS = _RELEASE >= (3, 2)
AIRFLOW_V_3_3_PLUS = _RELEASE >= (3, 3)


def default_deferrable() -> bool:
    """Whether tasks defer by default: ``[operators] default_deferrable``."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def default_sensor_timeout() -> float:
    """The default timeout of sensors, in seconds: ``[sensors] default_timeout``."""
    return float(conf.getfloat("sensors", "default_timeout"))
