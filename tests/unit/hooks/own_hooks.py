"""Hooks as users make them: ones that read the connection in a way of their own."""

from __future__ import annotations

import threading
from typing import Any

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook

READ_IN: list[str] = []
"""Names of the threads in which connections were read."""


class FromVault(CerebrasHook):
    """Finds every connection at another place."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        READ_IN.append(threading.current_thread().name)
        return super().get_connection("in_the_vault")


class FromVaultAsync(FromVault):
    """Finds it without a thread when it may."""

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Any:
        READ_IN.append("event loop")
        return CerebrasHook.get_connection("in_the_vault")


class NotAHook:
    """Anything else."""
