"""The kinds of arguments, and how a value of each is read. Everything here is pure.

A value comes as the DAG's author wrote it, as a template rendered it (a string, or with native rendering an object), or
as another task returned it. Each kind reads all of these as one type, or refuses the value and names the argument. What
was read can be read again and stays the same.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from airflow_provider_cerebras.api.names import (
    ModelVersionName,
    shown,
    validate_alias,
    validate_identifier,
    validate_suffix,
    validate_weight_uri,
)
from airflow_provider_cerebras.evaluation.smoke import read_chats
from airflow_provider_cerebras.hooks.connection import validate_conn_id
from airflow_provider_cerebras.weights.checks import CHECKS as NAMES_OF_CHECKS
from airflow_provider_cerebras.weights.checks import validate_checks
from airflow_provider_cerebras.weights.digest import validate_digest

_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0", ""})
_MAX_SECONDS = 10 * 365 * 86400
_MAX_COUNT = 10**9
_TIMEDELTA = re.compile(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_TEMPLATE = re.compile(r"\{\{|\{%")


class Kind(NamedTuple):
    """The type of one argument.

    :param takes: what it takes, for the documentation.
    :param read: function of a value and the argument's name, which returns the value as its type or raises a
        ``ValueError`` or ``TypeError`` that begins with the name.
    :param templated: whether templates and the results of other tasks are taken. If not, both are refused when the DAG
        is parsed.
    :param text: whether the value is text, so that native rendering must not make a number of it.
    :param optional: whether None is taken.
    """

    takes: str
    read: Callable[[Any, str], Any]
    templated: bool = True
    text: bool = False
    optional: bool = False

    @property
    def or_none(self) -> Kind:
        """The same kind, which takes None as well."""
        return self._replace(optional=True)

    def value(self, given: object, argument: str) -> Any:
        """Read a value.

        :param given: the value.
        :param argument: name of the argument, for the message.
        :raises ValueError: if it is wrong.
        :raises TypeError: if it is of a type that cannot be meant.
        """
        if given is None:
            if self.optional:
                return None
            raise ValueError(f"{argument}: must be {self.takes}, not None.")
        return self.read(given, argument)


def read_boolean(value: object, argument: str) -> bool:
    """Read a boolean: true or false, or the word for it in any case."""
    word = str(value).strip().lower() if isinstance(value, bool | int | float | str) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(f"{argument}: must be true or false, not {shown(value)}.")


def read_number(value: object, argument: str) -> float:
    """Read a finite number, or its text."""
    number = _number(value)
    if number is None:
        raise ValueError(f"{argument}: must be a number, not {shown(value)}.")
    return number


def read_positive(value: object, argument: str) -> float:
    """Read a number that is more than 0, or its text."""
    number = read_number(value, argument)
    if not number > 0:
        raise ValueError(f"{argument}: must be more than 0, not {shown(value)}.")
    return number


def read_share(value: object, argument: str) -> float:
    """Read a number from 0 to 1, or its text."""
    number = read_number(value, argument)
    if not 0 <= number <= 1:
        raise ValueError(f"{argument}: must be a number from 0 to 1, not {shown(value)}.")
    return number


def read_seconds(value: object, argument: str) -> float:
    """Read a time in seconds that is more than 0: a number, its text, or a ``timedelta``."""
    seconds = read_seconds_or_zero(value, argument)
    if not seconds > 0:
        raise ValueError(f"{argument}: must be more than 0 seconds, not {shown(value)}.")
    return seconds


def read_seconds_or_zero(value: object, argument: str) -> float:
    """Read a time in seconds, 0 or more: a number, its text, or a ``timedelta``."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else _duration(value)
    if seconds is None or seconds < 0:
        raise ValueError(f"{argument}: must be more than 0 seconds, as a number or a timedelta, not {shown(value)}.")
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{argument}: must be at most {_MAX_SECONDS} seconds, ten years, not {shown(value)}.")
    return seconds


def read_count(value: object, argument: str) -> int:
    """Read a whole number that is 1 or more, or its text."""
    number = _number(value)
    if number is None or not 1 <= number <= _MAX_COUNT or not number.is_integer():
        raise ValueError(f"{argument}: must be 1 or more, a whole number, not {shown(value)}.")
    return int(number)


def read_identifier(value: object, argument: str) -> str:
    """Read the id or the name of something at the service."""
    return validate_identifier(_text(value, argument), argument)


def read_conn_id(value: object, argument: str) -> str:
    """Read the id of a connection."""
    text = _text(value, argument)
    with _named(argument):
        return validate_conn_id(text)


def read_model_version(value: object, argument: str) -> str:
    """Read the full name of a model version."""
    return str(ModelVersionName.parse(_text(value, argument), argument))


def read_weight_uri(value: object, argument: str) -> str:
    """Read the URI of weights."""
    # Not os.fspath(): for some paths of this kind, it downloads what they stand for.
    return validate_weight_uri(value if isinstance(value, str) else _path_text(value), argument)


def read_suffix(value: object, argument: str) -> str | None:
    """Read a suffix of the system fingerprint."""
    return validate_suffix(_text(value, argument), argument)


def read_text(value: object, argument: str) -> str:
    """Read a string that is not empty."""
    text = _text(value, argument)
    if not isinstance(text, str) or not text:
        raise ValueError(f"{argument}: must be a string that is not empty, not {shown(value)}.")
    return text


def read_alias(value: object, argument: str) -> str:
    """Read one alias of a model version."""
    return validate_alias(_text(value, argument), argument)


def read_aliases(value: object, argument: str) -> list[str]:
    """Read a list of aliases."""
    return [validate_alias(_text(each, argument), argument) for each in read_list(value, argument, "aliases")]


def read_patterns(value: object, argument: str) -> list[str]:
    """Read a list of patterns of a shell."""
    return [read_text(each, argument) for each in read_list(value, argument, "patterns")]


def read_list(value: object, argument: str, what: str) -> list[Any]:
    """Read a list: any sequence, a set, or the text of a list, as a template leaves it.

    :param value: the value.
    :param argument: name of the argument, for the message.
    :param what: the word for the elements, for the message.
    """
    read = _literal(value, "[({")
    if isinstance(read, str | bytes):
        raise TypeError(f"{argument}: must be a list of {what}, not the text {shown(value)}.")
    if isinstance(read, Set):
        return sorted(read, key=str)
    if isinstance(read, Mapping) or not isinstance(read, Iterable):
        raise TypeError(f"{argument}: must be a list of {what}, not {shown(value)}.")
    return list(read)


def read_mapping(value: object, argument: str) -> dict[str, Any]:
    """Read a mapping with texts as keys, or its text."""
    read = _literal(value, "{")
    if not isinstance(read, Mapping) or not all(isinstance(key, str) for key in read):
        raise TypeError(f"{argument}: must be a mapping with texts as keys, not {shown(value)}.")
    return dict(read)


def read_messages(value: object, argument: str) -> list[Any]:
    """Read one chat, or several."""
    with _named(argument):
        chats = read_chats(_plain(_literal(value, "[")))
    return [[_read_message(message) for message in chat] for chat in chats]


def read_expectation(value: object, argument: str) -> object:
    """Read the expectation of an answer: a string, a pattern, or a function."""
    if isinstance(value, re.Pattern) or callable(value):
        return value
    return read_text(value, argument)


def read_dataset(value: object, argument: str) -> object:
    """Read the cases of an evaluation, or the location of a file of them."""
    read = _literal(value, "[")
    if isinstance(read, str):
        return read_text(read, argument)
    return read if _is_path(read) else read_list(_plain(read), argument, "cases")


def read_scorers(value: object, argument: str) -> tuple[Any, ...]:
    """Read names and functions that score answers."""
    return tuple(read_list(value, argument, "names and functions"))


def read_location(value: object, argument: str) -> object:
    """Read the path or the URI of a folder."""
    return value if _is_path(value) else read_text(value, argument)


def read_digest(value: object, argument: str) -> str:
    """Read a digest of weights."""
    return validate_digest(_text(value, argument), argument)


def read_role_arn(value: object, argument: str) -> str:
    """Read the ARN of a role of AWS."""
    from airflow_provider_cerebras.weights.policy import Role  # most DAGs that are parsed name none

    return Role.parse(_text(value, argument), argument).arn


def read_checks(value: object, argument: str) -> list[str]:
    """Read a list of checks of weights."""
    return validate_checks(read_list(value, argument, "checks"), argument)


def read_class(value: object, argument: str) -> type:
    """Read a class."""
    if not isinstance(value, type):
        raise TypeError(f"{argument}: must be a class, not {shown(value)}.")
    return value


def as_it_is(value: object, _argument: str) -> object:
    """Leave a value to Airflow, whose argument it is."""
    return value


BOOLEAN = Kind("true or false, or a string: true, yes, on, 1; false, no, off, 0, or the empty string", read_boolean)
CONN_ID = Kind("the id of a connection", read_conn_id, text=True)
POSITIVE = Kind("a number, more than 0, or its text", read_positive)
SHARE = Kind("a number from 0 to 1, or its text", read_share)
NUMBER = Kind("a number or its text", read_number)
SECONDS = Kind("seconds, more than 0: a number, its text, or a `timedelta`", read_seconds)
SECONDS_OR_ZERO = Kind("seconds, 0 or more: a number, its text, or a `timedelta`", read_seconds_or_zero)
COUNT = Kind("a whole number, 1 or more, or its text", read_count)
IDENTIFIER = Kind("an id or a name", read_identifier, text=True)
MODEL_VERSION = Kind("the full name of a model version, by number or alias", read_model_version, text=True)
WEIGHT_URI = Kind("`s3://bucket/prefix`: a string, or a path whose text is that", read_weight_uri, text=True)
SUFFIX = Kind("a string; the empty string means none", read_suffix, text=True)
TEXT = Kind("a string", read_text, text=True)
ALIAS = Kind("an alias", read_alias, text=True)
ALIASES = Kind("a list, a tuple or a set of aliases, or the text of a list", read_aliases, text=True)
PATTERNS = Kind("a list, a tuple or a set of patterns, or the text of a list", read_patterns, text=True)
MAPPING = Kind("a mapping with texts as keys, or its text", read_mapping)
MESSAGES = Kind("a list of messages, or a list of such lists; or the text of one", read_messages, text=True)
EXPECTATION = Kind("a string, a `re.Pattern` or a function", read_expectation, text=True)
DATASET = Kind("a list of cases, its text, or the path or URI of a JSONL file", read_dataset, text=True)
# Not templated: Airflow calls what it finds in a list that it renders.
SCORERS = Kind("a list of names and functions", read_scorers, templated=False)
LOCATION = Kind("the path or URI of a folder", read_location, text=True)
DIGEST = Kind("a digest of weights, 64 hexadecimal digits", read_digest, text=True)
ROLE_ARN = Kind("the ARN of a role", read_role_arn, text=True)
CHECKS = Kind("a list of names out of " + ", ".join(f"`{each}`" for each in NAMES_OF_CHECKS), read_checks)
CLASS = Kind("a class", read_class, templated=False)
AIRFLOWS_OWN = Kind("what Airflow's sensors take", as_it_is, templated=False)


@contextmanager
def _named(argument: str) -> Iterator[None]:
    """Put the argument's name in front of what is wrong, in place of the name that it has elsewhere."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{argument}: {str(error).partition(': ')[2]}") from None


def _duration(value: object) -> float | None:
    """Seconds from a number, its text, or the text of a ``timedelta``, which is what a template makes of one."""
    if isinstance(value, str) and (match := _TIMEDELTA.fullmatch(value)):
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return _number(value)


def _number(value: object) -> float | None:
    """A finite number, or None for what is none. Booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if isinstance(value, str) and "_" in value:
        return None
    return number if abs(number) < float("inf") else None


def _text(value: object, argument: str) -> object:
    """Text for what native rendering has made a number of; other values stay, and are refused by who reads them."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        if _TEMPLATE.search(value):
            raise ValueError(f"{argument}: {shown(value)} holds a template that was not rendered.")
        if value == "None":
            raise ValueError(f"{argument}: is the text 'None', which a template makes of a value that is missing.")
    return value


def _path_text(value: object) -> object:
    return str(value) if _is_path(value) else value


def _is_path(value: object) -> bool:
    return hasattr(value, "parts")


def _literal(value: object, opens: str) -> object:
    """Parse a string that begins like a list or a mapping: rendered templates give these as strings."""
    if not isinstance(value, str) or not value.strip().startswith(tuple(opens)):
        return value
    try:
        return json.loads(value)
    except ValueError:
        pass
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _plain(value: object) -> object:
    """Lists and dicts for other sequences and mappings, such as the lazy ones that Airflow gives."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Set):
        return [_plain(each) for each in value]
    return value


def _read_message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, bool | int | float):
        return {**message, "content": str(content)}
    return dict(message)


Arguments = Mapping[str, Kind]
"""The arguments of a class by name."""


def takes(**kinds: Kind) -> Arguments:
    """Make the table of a class.

    :param kinds: the kind of each argument, by its name.
    """
    return MappingProxyType(kinds)
