"""The extra that the emulator needs, and the error where it is missing."""

from __future__ import annotations

_EXTRAS = {
    "fastapi": "emulator",
    "starlette": "emulator",
    "uvicorn": "emulator",
    "boto3": "s3",
    "botocore": "s3",
}


def what_to_install(error: ModuleNotFoundError) -> str | None:
    """Return the extra to install, if a module was not found because an extra is missing; else None."""
    if (extra := _EXTRAS.get((error.name or "").partition(".")[0])) is None:
        return None
    purpose = "The emulator" if extra == "emulator" else "The emulator with --s3-endpoint-url"
    return f"{purpose} needs {error.name}: pip install 'airflow-provider-cerebras[{extra}]'"
