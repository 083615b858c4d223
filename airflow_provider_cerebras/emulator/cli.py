"""The command line: ``cerebras-emulator`` and ``python -m airflow_provider_cerebras.emulator``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import ValidationError

from airflow_provider_cerebras._version import __version__
from airflow_provider_cerebras.emulator.config import ConfigError, read_config
from airflow_provider_cerebras.emulator.extra import what_to_install
from airflow_provider_cerebras.emulator.settings import Group, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

_WARNING = (
    "Warning: the emulator listens on {}, beyond this machine. Its control plane takes no key: a client that "
    "reaches the port can read and reset all that it has. Let no client reach it but your own containers."
)


def parse_arguments(arguments: Sequence[str] | None = None) -> Settings:
    """Return the settings of a command line; exit with its usage if it is wrong.

    The command line overrides the configuration file, which overrides the defaults.

    :param arguments: Without the program's name; default: the process's.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    path = given.pop("config", None)
    try:
        return Settings.model_validate({**(read_config(path) if path else {}), **given})
    except ConfigError as error:
        parser.error(str(error))
    except ValidationError as error:
        problem = error.errors()[0]
        rule = problem["msg"].removeprefix("Value error, ")
        parser.error(f"argument --{_option_name(str(problem['loc'][0]))}: {rule}" if problem["loc"] else rule)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cerebras-emulator",
        usage="%(prog)s [option ...]",
        description="The Cerebras Management API and chat completions as a server on this machine.",
        epilog="Each option can stand in the configuration file as well, by its name with underscores; what the "
        "command line says comes first. Its page for people is at /, its control plane below /_emulator/.",
        # An option that is not given must differ from one given with its default value.
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML or JSON file with settings, organizations and fault rules (default: none)",
    )
    for group in Settings.__bases__:
        assert issubclass(group, Group)  # noqa: S101
        options = parser.add_argument_group((group.__doc__ or "").removesuffix("."))
        for name, field in group.model_fields.items():
            options.add_argument(f"--{_option_name(name)}", **_option(field))
    return parser


def _option_name(name: str) -> str:
    return name.replace("_", "-")


def _option(field: FieldInfo) -> dict[str, Any]:
    shown = "none" if field.default is None else field.default
    option: dict[str, Any] = {"help": f"{field.description} (default: {shown})".replace("%", "%%")}
    if isinstance(field.default, bool):
        return {**option, "action": argparse.BooleanOptionalAction}
    if choices := _choices(field.annotation):
        # Of choices that are numbers too, argparse compares what it has made of the text.
        return {**option, "choices": choices, "type": type(choices[0])}
    if field.default is None:
        return {**option, "metavar": "URL" if field.metadata else "FILE"}
    return {**option, "type": type(field.default), "metavar": {int: "N", float: "N"}.get(type(field.default), "TEXT")}


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Return the values that a setting can have, if there are few; a setting that can be None may be left out."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((get_args(each) for each in get_args(annotation) if get_origin(each) is Literal), ())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGTERM or SIGINT, and return the exit code.

    :param arguments: Without the program's name; default: the process's.
    """
    settings = parse_arguments(arguments)
    try:
        return _run(settings)
    except ModuleNotFoundError as error:
        if (advice := what_to_install(error)) is None:
            raise
        return _fail(advice)


def _run(settings: Settings) -> int:
    # Only here, since all but the help needs the extra.
    from airflow_provider_cerebras.emulator import server
    from airflow_provider_cerebras.emulator.app import create_app
    from airflow_provider_cerebras.emulator.hosts import is_beyond_loopback
    from airflow_provider_cerebras.emulator.service.store import StateError

    try:
        listener = server.listen(settings)
    except OSError as error:
        return _fail(f"Cannot listen on {settings.host} port {settings.port}: {error}")
    try:
        server.prepare_tls(settings)
        app = create_app(settings)
    except (StateError, OSError) as error:
        listener.close()
        return _fail(str(error))
    except ModuleNotFoundError:
        listener.close()
        raise
    url = server.base_url(settings, listener)

    def announce() -> None:
        connection = server.airflow_connection(settings, url)
        print(f"Cerebras emulator ready at {url}\n{connection}", flush=True)  # noqa: T201

    if is_beyond_loopback(settings.host):
        print(_WARNING.format(settings.host), file=sys.stderr, flush=True)  # noqa: T201
    emulator = server.Server(app, announce, settings)
    # Uvicorn raises the signal that ended it once more afterwards; caught here, it does not end the process again.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, emulator.handle_exit)
    emulator.run([listener])
    return 0


def _fail(message: str) -> int:
    print(message, file=sys.stderr)  # noqa: T201
    return 1
