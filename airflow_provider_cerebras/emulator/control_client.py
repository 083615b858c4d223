"""The path by which tests of users import the client; it is defined in :mod:`.control.client`."""

from airflow_provider_cerebras.emulator.control.client import EmulatorClient

__all__ = ["EmulatorClient"]
