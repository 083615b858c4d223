"""The keys, architectures and endpoints of an organization, as the configuration file has them."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

ARCHITECTURES = ("gpt-oss-120b", "llama3.1-8b")
"""Model architectures that an organization has access to if nothing else is said."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Form of the names of organizations, architectures and endpoints."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ApiKey = Annotated[str, StringConstraints(min_length=1)]


class EndpointConfig(BaseModel):
    """A dedicated endpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    endpoint_id: Name
    model_arch_id: Name


class OrganizationConfig(BaseModel):
    """An organization; by default, all other fields are derived from its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    name: Name
    management_keys: tuple[ApiKey, ...] = Field((), repr=False, description="Default: NAME-management-key.")
    inference_keys: tuple[ApiKey, ...] = Field((), repr=False, description="Default: NAME-inference-key.")
    model_architectures: tuple[Name, ...] = Field(ARCHITECTURES, min_length=1)
    endpoints: tuple[EndpointConfig, ...] = Field((), description="Default: NAME-ARCHITECTURE for each architecture.")

    @model_validator(mode="before")
    @classmethod
    def _follow_from_the_name(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not (names := _names([data.get("name")])):
            return data
        [name] = names
        architectures = _names(data.get("model_architectures", ARCHITECTURES))
        endpoints = [{"endpoint_id": f"{name}-{each}", "model_arch_id": each} for each in architectures]
        following = {
            "management_keys": (f"{name}-management-key",),
            "inference_keys": (f"{name}-inference-key",),
            "endpoints": endpoints,
        }
        return {**following, **data}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for index, endpoint in enumerate(self.endpoints):
            if endpoint.model_arch_id not in self.model_architectures:
                raise ValueError(
                    f"endpoints[{index}].model_arch_id is none of the organization's model_architectures "
                    f"({', '.join(self.model_architectures)})"
                )
        return self

    def connection(self, base_url: str) -> dict[str, Any]:
        """Return the fields of an Airflow connection to this organization, with its first key of each kind.

        :param base_url: URL of the emulator.
        """
        extra = {"org_name": self.name, "inference_api_key": next(iter(self.inference_keys), None)}
        url = urlsplit(base_url)
        return {
            "conn_type": "cerebras",
            # In fields of their own: the Test button of Airflow 3.3.1 and 3.3.2 refuses a connection without a port.
            "host": url._replace(netloc=url.netloc.removesuffix(f":{url.port}")).geturl(),
            **({} if url.port is None else {"port": url.port}),
            "password": next(iter(self.management_keys), None),
            "extra": {name: value for name, value in extra.items() if value is not None},
        }


def check_distinct(organizations: tuple[OrganizationConfig, ...]) -> None:
    """Refuse organizations that share a name, a key or an endpoint, and lists with a duplicate.

    :raises ValueError: The message names the places, and no key.
    """
    seen: dict[tuple[str, str], str] = {}
    for number, organization in enumerate(organizations):
        for kind, field, value in itertools.chain(_named(organization), _keys(organization)):
            place = f"organizations[{number}].{field}"
            if (kind, value) in seen:
                raise ValueError(f"{place} is the same as {seen[kind, value]}: each {kind} is there once")
            seen[kind, value] = place


def _named(organization: OrganizationConfig) -> list[tuple[str, str, str]]:
    endpoints = enumerate(organization.endpoints)
    return [
        ("name", "name", organization.name),
        *(("endpoint_id", f"endpoints[{index}].endpoint_id", each.endpoint_id) for index, each in endpoints),
    ]


def _keys(organization: OrganizationConfig) -> list[tuple[str, str, str]]:
    # A key is of one kind, so the two lists are one here.
    return [
        ("key", f"{field}[{index}]", key)
        for field in ("management_keys", "inference_keys")
        for index, key in enumerate(getattr(organization, field))
    ]


def _names(value: Any) -> list[str]:
    """Return the names in a list; report an item that is no name, and nothing that follows from it."""
    each_one = value if isinstance(value, list | tuple) else ()
    return [each for each in each_one if isinstance(each, str) and re.match(NAME_PATTERN, each)]
