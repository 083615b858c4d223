"""The command line: ``cerebras-emulator`` and ``python -m airflow_provider_cerebras.emulator``."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import ValidationError

from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

_EXTRA = {"boto3", "botocore", "fastapi", "starlette", "uvicorn"}


def parse_arguments(arguments: Sequence[str] | None = None) -> Settings:
    """The settings that a command line asks for; ends the process if it is not understood.

    :param arguments: Without the program's name; default: the process's.
    """
    parser = argparse.ArgumentParser(
        prog="cerebras-emulator",
        description="The Cerebras Management API and chat completions as a server on this machine.",
    )
    for name, field in Settings.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **_option(field))
    try:
        return Settings.model_validate(vars(parser.parse_args(arguments)))
    except ValidationError as error:
        problem = error.errors()[0]
        parser.error(f"argument --{str(problem['loc'][0]).replace('_', '-')}: {problem['msg']}")


def _option(field: FieldInfo) -> dict[str, Any]:
    shown = "none" if field.default is None else "%(default)s"
    option: dict[str, Any] = {"default": field.default, "help": f"{field.description} (default: {shown})"}
    if isinstance(field.default, bool):
        return {**option, "action": argparse.BooleanOptionalAction}
    if get_origin(field.annotation) is Literal:
        option["choices"] = get_args(field.annotation)
    return {**option, "type": str if field.default is None else type(field.default)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGTERM or SIGINT, and give the exit code.

    :param arguments: Without the program's name; default: the process's.
    """
    settings = parse_arguments(arguments)
    try:
        from airflow_provider_cerebras.emulator import server
        from airflow_provider_cerebras.emulator.app import create_app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(  # noqa: T201
            f"The emulator needs {error.name}: pip install 'airflow-provider-cerebras[emulator]'", file=sys.stderr
        )
        return 1
    try:
        listener = server.listen(settings)
    except OSError as error:
        print(f"Cannot listen on {settings.host} port {settings.port}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    url = server.base_url(settings, listener)

    def announce() -> None:
        connection = server.airflow_connection(settings, url)
        print(f"Cerebras emulator ready at {url}\n{connection}", flush=True)  # noqa: T201

    emulator = server.Server(create_app(settings), announce)
    # Uvicorn raises the signal that ended it once more afterwards; caught here, it does not end the process again.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, emulator.handle_exit)
    emulator.run([listener])
    return 0
