"""Write docs/arguments.md, which says what each argument of each operator and sensor takes: `make arguments`.

It comes from the tables of the classes, by which the arguments are read.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras import get_provider_info
from airflow_provider_cerebras.arguments.declared import DeclaresArguments
from airflow_provider_cerebras.arguments.kinds import AIRFLOWS_OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).resolve().parent.parent / "docs" / "arguments.md"
HEADER = """\
# What arguments take

<!-- Made by `make arguments` from the tables in the code. -->

Every argument on this page with "yes" can be a template, in a part of a string or as a whole, and the result of another
task (`other.output`, or what a `@task` function returns), which makes that task an upstream. It can also come from
`default_args`, `.partial()` and `.expand()`. Native rendering (`render_template_as_native_obj`) changes none of it:
what is text stays text. An argument with "no" refuses a template when the DAG is parsed.

A value is read as its type before anything is sent, and also before a task goes on after a deferral. A wrong one fails
the task with [`InvalidArgument`](troubleshooting.md#invalidargument), whose message begins with the argument's name.
Such a task is not retried. Seconds are finite and at most ten years. The text `None`, which a template makes of a
missing value, is refused where text is taken.

`weight_uri` may also be `s3a://` or `s3n://`, hold an Airflow connection (`s3://aws_default@bucket/prefix`), or be a
path such as `ObjectStoragePath`: it is read as `s3://bucket/prefix`. Cerebras reads with rights of its own.

`default_args` have one limit, which is Airflow's: the result of a task there does not make that task an upstream of a
mapped operator. Put it into `.partial()`.

A mapped operator has another limit: Airflow makes the operator itself only when a mapped task runs. So the arguments of
`.partial()` are not checked when the DAG is parsed, but when the task runs, and still before anything is sent.
"""


def render() -> str:
    """The content of the page."""
    return HEADER + "".join(_section(operator) for operator in _operators())


def _operators() -> Iterator[Any]:
    info = get_provider_info()
    modules = [
        module for kind in ("operators", "sensors") for entry in info[kind] for module in entry["python-modules"]
    ]
    for module in modules:
        for name, value in vars(importlib.import_module(module)).items():
            is_operator = isinstance(value, type) and issubclass(value, DeclaresArguments)
            # A base that several of them share has a name that is not ours.
            if is_operator and value.__module__ == module and name.startswith("Cerebras"):
                yield value


def _section(operator: Any) -> str:
    rows = [
        f"| `{name}` | {kind.takes}{'; or None' if kind.optional else ''} | {'yes' if kind.templated else 'no'} |\n"
        for name, kind in operator.arguments.items()
        if kind.read is not AIRFLOWS_OWN.read
    ]
    own = ", ".join(f"`{name}`" for name, kind in operator.arguments.items() if kind.read is AIRFLOWS_OWN.read)
    airflows = f"\n{own}: what Airflow's sensors take, and no template.\n" if own else ""
    return f"\n## `{operator.__name__}`\n\n| argument | takes | template |\n|---|---|---|\n{''.join(rows)}{airflows}"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
