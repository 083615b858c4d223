"""The import path of the client in users' tests; :mod:`.control.client` defines it."""

from airflow_provider_cerebras.emulator.control.client import EmulatorClient

__all__ = ["EmulatorClient"]
