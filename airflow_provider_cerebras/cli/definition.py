"""The commands as data: names, arguments and help, said once for Airflow's command line and for our own.

Airflow imports this module at every call of ``airflow``, so it imports nothing that a command needs.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DESCRIPTION = "Read-only: nothing is uploaded, deployed, changed or deleted."
_EPILOG = (
    "Exit codes: 0 all is well; 1 check-weights or doctor found an error; 2 an argument or the connection is wrong; "
    "3 the service or S3 could not be read, or the output not written."
)


class Argument(NamedTuple):
    """One argument of a command.

    :param flags: its name, or its options.
    :param options: further keyword arguments of ``add_argument``.
    """

    flags: tuple[str, ...]
    options: dict[str, Any]


class Command(NamedTuple):
    """One command.

    :param name: its name; the function in :mod:`.commands` has the same, with underscores.
    :param help: its description in the help.
    :param arguments: its arguments.
    """

    name: str
    help: str
    arguments: tuple[Argument, ...]


_OUTPUT = Argument(
    ("-o", "--output"),
    {
        "choices": ("table", "json", "yaml"),
        "default": "table",
        "help": "Output format (default: table)",
        "metavar": "(table, json, yaml)",
    },
)
_CONNECTION = (
    Argument(
        ("--conn-id",),
        {"default": "cerebras_default", "help": "Id of the Airflow connection (default: cerebras_default)"},
    ),
    Argument(("--org-name",), {"help": "Organization name (default: the one of the connection)"}),
)

COMMANDS = (
    Command("status", "Show what serves and what rolls out on each endpoint", (*_CONNECTION, _OUTPUT)),
    Command(
        "versions",
        "List the model versions of an architecture",
        (Argument(("model_arch_id",), {"help": "Id of the architecture"}), *_CONNECTION, _OUTPUT),
    ),
    Command(
        "history",
        "List the deployments of an endpoint, newest first",
        (
            Argument(("endpoint_id",), {"help": "Id of the endpoint"}),
            Argument(
                ("--records",),
                {"help": "Folder of the records of releases; says which DAG run released what", "metavar": "FOLDER"},
            ),
            *_CONNECTION,
            _OUTPUT,
        ),
    ),
    Command(
        "check-weights",
        "Check weights in S3",
        (
            Argument(("weight_uri",), {"help": "s3://bucket/prefix of the weights"}),
            Argument(("--arch",), {"required": True, "help": "Id of the architecture that they are for"}),
            Argument(("--role",), {"help": "ARN of the role that Cerebras reads with; checks the bucket policy too"}),
            Argument(("--sample-values",), {"action": "store_true", "help": "Read a sample of the values, too"}),
            Argument(
                ("--aws-conn-id",),
                {"default": "aws_default", "help": "Id of the AWS connection (default: aws_default)"},
            ),
            _OUTPUT,
        ),
    ),
    Command(
        "bucket-policy",
        "Print the policy that lets Cerebras read a bucket, as JSON",
        (
            Argument(("bucket",), {"help": "Name of the bucket"}),
            Argument(("--role",), {"required": True, "help": "ARN of the role that Cerebras reads with"}),
        ),
    ),
    Command("doctor", "Check the set-up, and say what is wrong and what to do about it", (*_CONNECTION, _OUTPUT)),
)


def get_cerebras_cli_commands() -> list[Any]:
    """Return the commands in the form that Airflow takes (3.2 and later)."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    subcommands = [
        ActionCommand(
            name=command.name,
            help=command.help,
            description=f"{command.help}. {_DESCRIPTION}",
            epilog=_EPILOG,
            func=_function(command.name),
            args=[Arg(argument.flags, **argument.options) for argument in command.arguments],
        )
        for command in COMMANDS
    ]
    return [
        GroupCommand(
            name="cerebras",
            help="Look at Cerebras model versions and dedicated endpoints",
            description=_DESCRIPTION,
            subcommands=subcommands,
        )
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; for ``python -m airflow_provider_cerebras``.

    :param argv: the arguments; default: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_cerebras", description=_DESCRIPTION, epilog=_EPILOG
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = subparsers.add_parser(command.name, help=command.help, description=command.help, epilog=_EPILOG)
        for argument in command.arguments:
            sub.add_argument(*argument.flags, **argument.options)
        sub.set_defaults(func=_function(command.name))
    args = parser.parse_args(argv)
    args.func(args)


def _function(name: str) -> Callable[[argparse.Namespace], None]:
    return partial(_run, name)


def _run(name: str, args: argparse.Namespace) -> None:
    # Airflow logs to standard output, from its import on; a script expects nothing there but the result.
    with redirect_stdout(sys.stderr):
        from airflow_provider_cerebras.cli.run import run

        write = run(name, args)
    write()
