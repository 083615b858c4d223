"""What the emulator needs beyond the provider itself, and what to say where it is missing."""

from __future__ import annotations

_PACKAGES = {"boto3", "botocore", "fastapi", "starlette", "uvicorn"}


def what_to_install(error: ModuleNotFoundError) -> str | None:
    """Which extra to install, if it is for the lack of one that a module was not found; else None."""
    if (error.name or "").partition(".")[0] not in _PACKAGES:
        return None
    return f"The emulator needs {error.name}: pip install 'airflow-provider-cerebras[emulator]'"
