"""Runs a command: prints what it found in the chosen form, and ends with an exit code that a script can use."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import yaml
from airflow.cli.simple_table import AirflowConsole
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_cerebras.api.errors import CerebrasError
from airflow_provider_cerebras.cli.commands import COMMANDS, Result
from airflow_provider_cerebras.weights.errors import S3ExtraMissing, WeightsUnreadable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pydantic import JsonValue

WRONG_USE = 2
NOT_READ = 3


def run(name: str, args: argparse.Namespace) -> None:
    """Run a command and leave the process with its exit code.

    :param name: name of the command.
    :param args: its arguments.
    """
    with _errors_as_exit_codes(), _without_logs():
        result = COMMANDS[name](args)
    _print(result, getattr(args, "output", "json"))
    sys.exit(result.exit_code)


@contextmanager
def _errors_as_exit_codes() -> Iterator[None]:
    try:
        yield
    except (CerebrasError, WeightsUnreadable) as error:
        _fail(error, NOT_READ)
    except (ValueError, S3ExtraMissing, AirflowException) as error:
        _fail(error, WRONG_USE)


@contextmanager
def _without_logs() -> Iterator[None]:
    """Keep log lines out of the output, where Airflow 2 would print them among the JSON."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _fail(error: Exception, code: int) -> NoReturn:
    sys.stderr.write(f"{error}\n")
    sys.exit(code)


def _print(result: Result, output: str) -> None:
    if output == "json":
        sys.stdout.write(f"{json.dumps(result.data, indent=2)}\n")
    elif output == "yaml":
        sys.stdout.write(yaml.safe_dump(result.data, sort_keys=False, allow_unicode=True))
    elif result.rows:
        AirflowConsole().print_as([{name: _cell(value) for name, value in row.items()} for row in result.rows], "table")
    else:
        sys.stdout.write(f"{result.nothing}\n")
    if output == "table" and result.summary:
        sys.stdout.write(f"{result.summary}\n")


def _cell(value: JsonValue) -> str:
    # Square brackets are markup to the console.
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return text.replace("[", "\\[")
