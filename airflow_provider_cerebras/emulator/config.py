"""The configuration file: any setting by its name, and the organizations. YAML or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file, the place and the rule, and no key."""


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings of a file, and check each of them and all together.

    :param path: A file whose name ends in ``.json``, ``.yaml`` or ``.yml``.
    :raises ConfigError: It cannot be read, is malformed, or has a value that is not allowed.
    """
    read = {".json": _json, ".yaml": _yaml, ".yml": _yaml}.get(path.suffix.lower())
    if read is None:
        raise ConfigError(f"{path}: its name ends neither in .json nor in .yaml or .yml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: it cannot be read: {error}") from error
    content = read(path, text)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: it is not a mapping of settings")
    try:
        Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {explain(each)}" for each in error.errors())) from error
    return content


def explain(error: ErrorDetails) -> str:
    """Describe the error in a setting and its place, without the value, which may be a key."""
    rule = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        rule = "there is no such setting"
    return f"{place}: {rule}" if (place := _place(error["loc"])) else rule


def _place(location: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _json(path: Path, text: str) -> Any:
    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        for name, _ in pairs:
            if sum(name == other for other, _ in pairs) > 1:
                raise ConfigError(f"{path}: {name} is there twice in one mapping")
        return content

    try:
        return json.loads(text, object_pairs_hook=distinct)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from error


def _yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path}: to read YAML takes PyYAML: pip install 'airflow-provider-cerebras[emulator]', or write it as JSON"
        ) from error

    class Loader(yaml.SafeLoader):
        """Refuses a duplicate key in a mapping, which YAML forbids and PyYAML accepts."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            names = [self.construct_object(name, deep=True) for name, _ in node.value]
            for index, name in enumerate(names):
                if name in names[:index]:
                    line = node.value[index][0].start_mark.line + 1
                    raise ConfigError(f"{path}: line {line}: {name} is there twice in one mapping")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # noqa: S506  it is a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{path}: {place}{error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error
