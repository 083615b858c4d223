"""Runs a command: prints what it found in the chosen form, and ends with an exit code that a script can use."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import yaml
from airflow.cli.simple_table import AirflowConsole
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_cerebras._airflow_internals import look_into_database
from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.cli.commands import COMMANDS, Result
from airflow_provider_cerebras.cli.records import RecordsUnreadable
from airflow_provider_cerebras.weights.errors import S3ExtraMissing, WeightsUnreadable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from pydantic import JsonValue

WRONG_USE = 2
NOT_READ = 3


def run(name: str, args: argparse.Namespace) -> Callable[[], NoReturn]:
    """Run a command.

    :param name: name of the command.
    :param args: its arguments.
    :return: prints what was found and leaves the process with the exit code.
    """
    look_into_database()
    with _errors_as_exit_codes():
        result = COMMANDS[name](args)
    return partial(_finish, result, getattr(args, "output", "json"))


def _finish(result: Result, output: str) -> NoReturn:
    if sys.stdout is None:
        _fail(OSError("The standard output is closed."), NOT_READ)
    try:
        sys.stdout.write(_text(result, output))
        sys.stdout.flush()
    except OSError as error:
        # Python would write the rest when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader such as `head` has enough.
        if not isinstance(error, BrokenPipeError):
            _fail(error, NOT_READ)
    sys.exit(result.exit_code)


@contextmanager
def _errors_as_exit_codes() -> Iterator[None]:
    try:
        yield
    except (CerebrasError, WeightsUnreadable, RecordsUnreadable) as error:
        _fail(error, NOT_READ)
    except (ValueError, S3ExtraMissing, AirflowException) as error:
        _fail(error, WRONG_USE)


def _fail(error: Exception, code: int) -> NoReturn:
    with suppress(OSError):
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
    sys.exit(code)


def _text(result: Result, output: str) -> str:
    if output == "json":
        return f"{json.dumps(result.data, indent=2)}\n"
    if output == "yaml":
        return yaml.safe_dump(result.data, sort_keys=False, allow_unicode=True)
    return _table(result) + (f"{result.summary}\n" if result.summary else "")


def _table(result: Result) -> str:
    if not result.rows:
        return f"{result.nothing}\n"
    console = AirflowConsole()
    # Where the pipe is closed, it would end the process with an exit code of its own.
    with console.capture() as captured:
        console.print_as([{name: _cell(value) for name, value in row.items()} for row in result.rows], "table")
    return captured.get()


def _cell(value: JsonValue) -> str:
    # Square brackets are markup to the console.
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return text.replace("[", "\\[")
