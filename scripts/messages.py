"""Write docs/messages.md, the list of all errors and warnings: `make messages`.

The texts are read from the code, causes from the docstrings of the errors, remedies from docs/troubleshooting.md. What
a line of the log means is in docs/log_lines.toml, by its text.
"""

from __future__ import annotations

import inspect
import itertools
import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from message_texts import Texts, has_words, read_code

from airflow_provider_cerebras import exceptions
from airflow_provider_cerebras.api import errors
from airflow_provider_cerebras.assets.record import ApprovalResponse, Record, ReleaseOutcome, Step
from airflow_provider_cerebras.polling.outcome import Status
from airflow_provider_cerebras.weights import errors as weights_errors
from airflow_provider_cerebras.weights.findings import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "messages.md"
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
LOG_LINES = ROOT / "docs" / "log_lines.toml"
HEADER = """\
# Messages

<!-- Made by `make messages` from the code, troubleshooting.md and log_lines.toml. -->

All errors, and all lines of a log at WARNING and above, with the texts of the code. What a text is filled in with is
shown as `code`. Each error says what failed, of which resource, the words of the service if it has said any, and what
to do. [When things go wrong](troubleshooting.md) says more, by symptom. The emulator has messages of its own.
"""
GROUPS = {
    "Errors of tasks": exceptions,
    "Errors of requests": errors,
    "Errors of reading weights": weights_errors,
}
OTHER_ERRORS = {"NotAnswered": "of an approval", "RecordsUnreadable": "of `airflow cerebras history`"}
STATUSES = (400, 401, 403, 404, 409, 429, 503)
BODIES = (b'{"detail": "WORDS"}', b"<html>WORDS</html>")
"""Of the API, and of something in front of it."""


def public_errors(module: object) -> dict[str, type[Exception]]:
    """The errors that a module defines, in its order."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    home = vars(module)["__name__"]
    return {name: each for name, each in found.items() if issubclass(each, Exception) and each.__module__ == home}


def shown(text: str) -> str:
    """A text in Markdown: what is filled in, options and names of the code as code, and everything else as it is."""
    whole = text.replace("\1\0", "}{")

    def mark(match: re.Match[str]) -> str:
        filled_in, code, special = match.groups()
        return f"`{{{filled_in}}}`" if filled_in else f"`{code.strip('`')}`" if code else f"\\{special}"

    return re.sub(r"\x00(.*?)\x01|(`[^`]+`|--[a-z-]+|\w*_\w+(?:=\w+)?)|([\\*_\[\]<>|#$])", mark, whole)


def texts_of_errors(code: Iterable[Texts]) -> dict[str, set[str]]:
    """The texts of each error, by its name.

    :param code: what :func:`~message_texts.read_code` has returned.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for name, texts in (item for each in code for item in each.errors.items()):
        found[name] |= set(filter(has_words, texts))
    for status, body in itertools.product(STATUSES, BODIES):
        name, text = _answered(status, body)
        found[name].add(text)
    found["ReleaseFailed"].add("A sentence: see below how a release ends.")
    return found


def render() -> str:
    """The content of the page."""
    code = read_code()
    logs = {line for each in code for line in each.logs if has_words(line)}
    # One that the code passes on has no words of its own.
    checks = [tuple(map(shown, line)) for each in code for line in each.checks if has_words(line[0])]
    findings = [(f"`{code}`", kind.level, kind.meaning, kind.remedy) for code, kind in KINDS.items()]
    return "".join(
        [
            HEADER,
            *_errors(texts_of_errors(code)),
            _table("Lines of the log", ("line", "cause", "remedy"), log_lines(logs)),
            _table("What the check of weights finds", ("code", "level", "what is wrong", "what to do"), findings),
            _table("What `doctor` finds", ("check", "level", "what it says", "what to do"), dict.fromkeys(checks)),
            _table("How a wait ends", ("status of the event", "of a version", "of a deployment"), map(_ends, Status)),
            "\nA sensor ends its own time-out with Airflow's `AirflowSensorTimeout`, which is not retried.\n",
            _table("How a release ends", ("outcome", "sentence"), map(_sentence, ReleaseOutcome)),
        ]
    )


def _table(heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return f"\n## {heading}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _errors(found: dict[str, set[str]]) -> Iterator[str]:
    page = TROUBLESHOOTING.read_text(encoding="utf-8")
    for heading, module in GROUPS.items():
        yield f"\n## {heading}\n"
        for name, error in public_errors(module).items():
            section = page.partition(f"\n### `{name}`\n")[2].partition("\n##")[0]
            remedy = section.partition("**Remedy.** ")[2].strip().replace("](#", "](troubleshooting.md#")
            if remedy:  # else it is a base of others
                cause = " ".join(inspect.cleandoc(error.__doc__ or "").partition("\n\n")[0].split())
                yield f"\n### `{name}`\n\n**Cause.** {cause.replace('``', '`')}\n\n**Remedy.** {remedy}\n\n"
                yield from (f"* {shown(text)}\n" for text in sorted(found[name]))
                hint = getattr(error, "hint", None)
                yield f"\nThey end with: {hint}\n" if hint else ""
    yield "\n## Other errors\n\n"
    for name, subject in OTHER_ERRORS.items():
        yield from (f"* `{name}`, {subject}: {shown(text)}\n" for text in sorted(found[name]))


def _answered(status: int, body: bytes) -> tuple[str, str]:
    """The error of a status and its text, with marks in place of what the service fills in."""
    kind = "application/json" if body.startswith(b"{") else "text/html"
    error = errors.error_from_response(
        method="\0method\1",
        url="\0url\1",
        status_code=status,
        headers={"content-type": kind, "x-request-id": "ID"},
        body=body,
        key_field="\0field\1",
        connection="CONNECTION",
    )
    text = str(error).replace("'CONNECTION'", "\0connection\1").replace("WORDS", "\0words of the service\1")
    return type(error).__name__, text.replace("request ID", "request \0id\1")


def log_lines(logs: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    meanings = {each["text"]: each for each in tomllib.loads(LOG_LINES.read_text(encoding="utf-8"))["line"]}
    lines = {re.sub("[\0\1]", "`", line): line for line in sorted(logs)}
    if one_sided := sorted(set(meanings) ^ set(lines)):
        raise ValueError(f"{LOG_LINES.name}: only there, or only in the code: {one_sided}")
    for text, line in lines.items():
        yield shown(line), meanings[text]["cause"], meanings[text]["remedy"]


def _ends(status: Status) -> list[str]:
    by_status = (exceptions.MODEL_VERSION_ERRORS, exceptions.DEPLOYMENT_ERRORS)
    return [f"`{status}`", *(f"`{each[status].__name__}`" if status in each else "no error" for each in by_status)]


def _sentence(outcome: ReleaseOutcome) -> tuple[str, str]:
    steps = (Step("\0task\1", "failed", error="\0error\1"), Step("roll_back", None, error="\0error of roll_back\1"))
    record = Record(
        *(outcome, "\0endpoint_id\1", "dag", "run", "group", 0, steps),
        approval=ApprovalResponse("Reject", by="\0name\1"),
        model_version="\0model_version\1",
        serves_now="\0what serves\1",
        alias="\0alias\1",
    )
    return f"`{outcome}`", shown(record.sentence())


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
