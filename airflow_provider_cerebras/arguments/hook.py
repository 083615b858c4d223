"""The hook of operators and sensors: made for the connection that was rendered, and named to the trigger by a path."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow_provider_cerebras.hooks.cerebras import CerebrasHook
from airflow_provider_cerebras.hooks.subclasses import hook_path


class HasHook:
    """Mixed into operators and sensors, before what reads their arguments."""

    cerebras_conn_id: str
    deferrable: bool = False
    hook_class: type[CerebrasHook] = CerebrasHook
    """The hook that is used. A subclass of an operator replaces it, or the argument of the same name."""
    _hook_arguments: dict[str, Any] | None = None

    def read_arguments(self) -> None:
        """Read the arguments, and forget a hook that was made before they were rendered."""
        super().read_arguments()  # type: ignore[misc]
        self._hook_path()
        if self._hook_arguments not in (None, self._arguments_of_hook()):
            vars(self).pop("hook", None)

    @cached_property
    def hook(self) -> CerebrasHook:
        """The hook for the connection."""
        self._hook_arguments = self._arguments_of_hook()
        return self.hook_class(**self._hook_arguments)

    def _arguments_of_hook(self) -> dict[str, Any]:
        return {"cerebras_conn_id": self.cerebras_conn_id}

    def _hook_path(self) -> str | None:
        """By what the trigger finds the hook; None: it takes the hook itself."""
        return hook_path(self.hook_class) if self.deferrable else None
