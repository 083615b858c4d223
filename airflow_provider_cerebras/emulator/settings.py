"""What of the emulator can be chosen, with the defaults; the command line is made from this."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ARCHITECTURES = ("gpt-oss-120b", "llama3.1-8b")
"""Model architectures that the emulated organization has access to."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Form of the names of organizations, architectures and endpoints."""

ErrorStyle = Literal["fastapi", "inference"]


class Settings(BaseModel):
    """Settings of one emulator; each is described by its field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8900, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    management_key: str = Field(
        "emulator-management-key", min_length=1, description="key that the Management API takes"
    )
    inference_key: str = Field("emulator-inference-key", min_length=1, description="key that the inference API takes")
    org: str = Field(
        "my-org",
        pattern=NAME_PATTERN,
        description=f"name of the organization, which has an endpoint ORG-ARCHITECTURE for each of "
        f"{' and '.join(ARCHITECTURES)}",
    )
    sync_seconds: float = Field(
        3.0, ge=0, allow_inf_nan=False, description="seconds that the sync of uploaded weights takes"
    )
    rollout_seconds: float = Field(
        3.0, ge=0, allow_inf_nan=False, description="seconds that the rollout of a deployment takes"
    )
    s3_endpoint_url: str | None = Field(
        None,
        pattern="^https?://",
        description="S3 service to really read the weights from; credentials and region are taken from the "
        "standard AWS environment variables; without it no weights are read",
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
    deployed_models: Literal["all", "live"] = Field(
        "all",
        description="deployments that an endpoint lists: every one, or only the one that serves and the one "
        "that is rolling out",
    )
