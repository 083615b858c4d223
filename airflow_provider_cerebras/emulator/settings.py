"""The settings of the emulator, with their defaults: the source of the command line and the configuration file.

Each base class of :class:`Settings` is one group of the help.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  pydantic evaluates annotations at run time
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_cerebras.emulator.api.error_bodies import ErrorStyle  # noqa: TC001
from airflow_provider_cerebras.emulator.faults.profiles import ProfileName  # noqa: TC001
from airflow_provider_cerebras.emulator.faults.rules import FaultRule  # noqa: TC001
from airflow_provider_cerebras.emulator.service.answers import VersionAnswers  # noqa: TC001
from airflow_provider_cerebras.emulator.service.organizations import (
    ARCHITECTURES,
    NAME_PATTERN,
    OrganizationConfig,
    check_distinct,
)


class Group(BaseModel):
    """A group of settings; the docstring is its heading in the help."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Listening(Group):
    """Address."""

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8900, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    server_names: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.,: -]*$",
        description="names by which clients reach it, separated by commas, besides localhost, the name of this machine "
        "and addresses; requests to any other name are refused",
    )
    tls_cert: Path | None = Field(None, description="file of the certificate to serve HTTPS with, with its chain")
    tls_key: Path | None = Field(None, description="file of the certificate's key")
    tls_self_signed: bool = Field(
        False, description="whether to write a self-signed certificate and its key first, where there are none"
    )


class OneOrganization(Group):
    """The organization, unless the configuration file names others."""

    management_key: str = Field(
        "emulator-management-key", min_length=1, repr=False, description="key that the Management API takes"
    )
    inference_key: str = Field(
        "emulator-inference-key", min_length=1, repr=False, description="key that the inference API takes"
    )
    org: str = Field(
        "my-org",
        pattern=NAME_PATTERN,
        description=f"name of the organization, which has an endpoint ORG-ARCHITECTURE for each of "
        f"{' and '.join(ARCHITECTURES)}",
    )


class World(Group):
    """Time, weights and state."""

    time_scale: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="emulated seconds that pass in a second of real time"
    )
    s3_endpoint_url: str | None = Field(
        None,
        pattern="^https?://",
        description="S3 service to really read the weights from; credentials and region are taken from the "
        "standard AWS environment variables; without it no weights are read",
    )
    state: Path | None = Field(
        None,
        description="file to keep organizations, versions, deployments and the clock in, so that they survive a "
        "restart; it is made if it is missing; without it all is forgotten at the end",
    )


class Faults(Group):
    """Faults."""

    profile: ProfileName | None = Field(None, description="set of fault rules to be in force from the start")


class Behaviour(Group):
    """Behaviour, where the API's documentation is silent; each can be changed at run time."""

    sync_seconds: float = Field(
        3.0, ge=0, allow_inf_nan=False, description="emulated seconds that the sync of uploaded weights takes"
    )
    weights_read: Literal["at-upload", "during-sync", "at-end"] = Field(
        "at-upload",
        description="when the weights are read: at the upload, one object after another during the sync, or at its "
        "end; only where there is an S3 service to read them from",
    )
    weights_checks: Literal["strict", "files"] = Field(
        "strict",
        description="what fails the sync of weights that are read: that they cannot be a model of the architecture, or "
        "only that a file is missing or broken",
    )
    rollout_seconds: float = Field(
        3.0, ge=0, allow_inf_nan=False, description="emulated seconds that the rollout of a deployment takes"
    )
    error_style: ErrorStyle = Field(
        "fastapi", description="form of the Management API's error bodies: as FastAPI's or as the inference API's"
    )
    sync_failure_status: str = Field(
        "failed", min_length=1, description="sync_status of a version whose sync has failed"
    )
    done_on_failure: bool = Field(True, description="whether a version whose sync has failed is done")
    rollout_failure_state: str = Field(
        "failed", min_length=1, description="state of a deployment whose rollout has failed"
    )
    alias_clash_status: Literal[409, 400, 422] = Field(
        409, description="HTTP status of the refusal of an alias that another version holds"
    )
    deploy_during_rollout: Literal["queue", "refuse", "supersede"] = Field(
        "queue", description="what happens to a deployment that is submitted while another one is rolling out"
    )
    deployed_models: Literal["all", "not-failed", "live"] = Field(
        "all",
        description="deployments that an endpoint lists: every one, every one that has not failed, or only the one "
        "that serves and the one that is rolling out",
    )
    delete_in_use: Literal["refuse", "allow"] = Field(
        "refuse",
        description="what happens to a delete of a version that serves or is about to; one that is deleted all the "
        "same goes on serving",
    )


class Settings(Listening, OneOrganization, World, Faults, Behaviour):
    """Settings of one emulator; each is described by its field."""

    organizations: tuple[OrganizationConfig, ...] = Field((), description="organizations, instead of the one of `org`")
    faults: tuple[FaultRule, ...] = Field((), description="fault rules to be in force from the start")
    answers: tuple[VersionAnswers, ...] = Field((), description="what model versions answer")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.organizations and (given := self.model_fields_set & OneOrganization.model_fields.keys()):
            raise ValueError(f"organizations excludes {', '.join(sorted(given))}")
        if not self.organizations and self.inference_key == self.management_key:
            raise ValueError("inference_key is the same as management_key: a key is of one kind")
        if (self.tls_cert is None) != (self.tls_key is None) or (self.tls_self_signed and self.tls_cert is None):
            raise ValueError("tls_cert and tls_key go together, and tls_self_signed needs both")
        check_distinct(self.organizations)
        return self

    @property
    def behaviour(self) -> Behaviour:
        """Return how the service behaves at the start."""
        return Behaviour(**{name: getattr(self, name) for name in Behaviour.model_fields})

    def all_organizations(self) -> tuple[OrganizationConfig, ...]:
        """Return all organizations that exist at the start."""
        return self.organizations or (
            OrganizationConfig(
                name=self.org, management_keys=(self.management_key,), inference_keys=(self.inference_key,)
            ),
        )
