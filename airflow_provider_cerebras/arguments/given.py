"""Types of arguments as DAG authors give them: a value, a template that renders to one, or another task's result.

They are for annotations only; ``kinds`` declares what a task reads from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import XComArg

Text: TypeAlias = "str | XComArg"
Flag: TypeAlias = "bool | str | XComArg"
Number: TypeAlias = "float | str | XComArg"
Seconds: TypeAlias = "float | timedelta | str | XComArg"
Texts: TypeAlias = "Sequence[str] | str | XComArg"
Numbers: TypeAlias = "Mapping[str, float] | str | XComArg"
