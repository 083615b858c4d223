"""Whether an endpoint answers as expected, and how fast. Everything here is pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from pydantic import JsonValue

from airflow_provider_cerebras.evaluation.completions import text_of

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.models import ChatCompletion

Chat = Sequence[Mapping[str, JsonValue]]
Expectation = str | re.Pattern[str] | Callable[[str], bool]
_MAX_NUMBER = 1e12


def read_chats(messages: object) -> list[Chat]:
    """Read one chat or several as several.

    :param messages: a list of messages, or a list of such lists.
    :raises ValueError: if it is neither, or holds nothing.
    """
    chats = (
        [messages] if isinstance(messages, list | tuple) and messages and isinstance(messages[0], dict) else messages
    )
    if not isinstance(chats, list | tuple) or not chats or not all(map(_is_chat, chats)):
        raise ValueError("messages: must be a list of messages with role and content, or a list of such lists.")
    return list(chats)


def _is_chat(chat: object) -> bool:
    return isinstance(chat, list | tuple) and bool(chat) and all(isinstance(message, dict) for message in chat)


class Measurement(NamedTuple):
    """One answer, and how long it took.

    :param answer: the text of the response.
    :param system_fingerprint: which weights answered.
    :param latency: seconds from the request to the whole answer.
    :param completion_tokens: length of the answer in tokens, if the service counted them.
    :param tokens_per_second: speed of the answer, if it is known.
    """

    answer: str
    system_fingerprint: str | None
    latency: float
    completion_tokens: int | None
    tokens_per_second: float | None


def measure(completion: ChatCompletion, latency: float) -> Measurement:
    """Read the measurements of a response.

    :param completion: the answer.
    :param latency: seconds that it took, by our clock.
    """
    tokens = _number((completion.usage or {}).get("completion_tokens"))
    seconds = _number((completion.time_info or {}).get("completion_time")) or latency
    return Measurement(
        answer=text_of(completion),
        system_fingerprint=completion.system_fingerprint,
        latency=latency,
        completion_tokens=None if tokens is None else int(tokens),
        tokens_per_second=tokens / seconds if tokens is not None and seconds > 0 else None,
    )


def find_fault(
    measurement: Measurement,
    *,
    expect: Expectation | None,
    system_fingerprint_suffix: str | None,
    max_latency: float | None,
    min_tokens_per_second: float | None,
) -> str | None:
    """Say what is wrong with an answer, without repeating it; None if it is as expected.

    :param measurement: the answer.
    :param expect: a string that it must contain, a pattern that must be found in it, or a function that must approve.
    :param system_fingerprint_suffix: what the fingerprint must end with.
    :param max_latency: seconds that it may have taken.
    :param min_tokens_per_second: how fast it must have been.
    """
    if expect is not None and not _is_met(expect, measurement.answer):
        return f"the answer does not meet the expectation {_name(expect)}"
    fingerprint = measurement.system_fingerprint
    if system_fingerprint_suffix and not (fingerprint or "").endswith(system_fingerprint_suffix):
        return f"the system_fingerprint {fingerprint!r} does not end with {system_fingerprint_suffix!r}"
    if max_latency is not None and measurement.latency > max_latency:
        return f"the answer took {measurement.latency:.3f} s, more than max_latency={max_latency} s"
    speed = measurement.tokens_per_second
    if min_tokens_per_second is not None and (speed is None or speed < min_tokens_per_second):
        told = "is not known" if speed is None else f"is {speed:.1f}"
        return f"the speed in tokens per second {told}, less than min_tokens_per_second={min_tokens_per_second}"
    return None


def summarize(measurements: Sequence[Measurement]) -> dict[str, JsonValue]:
    """Put the measurements of several answers together: the slowest counts.

    :param measurements: at least one.
    """
    speeds = [each.tokens_per_second for each in measurements if each.tokens_per_second is not None]
    tokens = [each.completion_tokens for each in measurements if each.completion_tokens is not None]
    return {
        "chats": len(measurements),
        "system_fingerprint": measurements[-1].system_fingerprint,
        "max_latency_seconds": max(each.latency for each in measurements),
        "min_tokens_per_second": min(speeds, default=None),
        "completion_tokens": sum(tokens) if tokens else None,
    }


def _is_met(expect: Expectation, answer: str) -> bool:
    if isinstance(expect, str):
        return expect in answer
    if isinstance(expect, re.Pattern):
        return expect.search(answer) is not None
    return bool(expect(answer))


def _name(expect: Expectation) -> str:
    return getattr(expect, "__name__", None) or repr(expect)


def _number(value: JsonValue) -> float | None:
    # Beyond any count of tokens or seconds, or not a number at all.
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER
    return float(cast("float", value)) if usable else None
