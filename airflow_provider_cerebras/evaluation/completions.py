"""Reading a chat completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.models import ChatCompletion


def text_of(completion: ChatCompletion) -> str:
    """Return the answer of a chat completion; empty if there is none.

    :param completion: the response.
    """
    return (completion.choices[0].message.content or "") if completion.choices else ""
