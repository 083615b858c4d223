"""A client of a running emulator for tests: its control plane as methods, and its state as typed objects."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx
from pydantic import AliasPath, BaseModel, ConfigDict, Field, model_validator

from airflow_provider_cerebras.emulator.api.operations import MANAGEMENT_PREFIX
from airflow_provider_cerebras.emulator.control.schemas import (
    Answers,
    ClockState,
    Fault,
    Faults,
    Keys,
    OrganizationState,
    Profile,
    Profiles,
    Requests,
)
from airflow_provider_cerebras.emulator.faults.rules import FaultRule
from airflow_provider_cerebras.emulator.service.answers import VersionAnswers
from airflow_provider_cerebras.emulator.service.organizations import OrganizationConfig
from airflow_provider_cerebras.emulator.settings import Behaviour, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from airflow_provider_cerebras.emulator.faults.profiles import ProfileName
    from airflow_provider_cerebras.emulator.faults.request_log import LoggedRequest

ANSWER_SECONDS = 60
"""Seconds to wait for an answer, beyond those for which the emulator was asked to wait."""

HELD_SECONDS = 60
"""Seconds of real time that :meth:`EmulatorClient.meanwhile` waits for the request in the middle of which it acts."""


class Emulated(BaseModel):
    """A response of the control plane; a later emulator may add fields."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class EmulatedVersion(Emulated):
    """A model version.

    :ivar name: full name, ``orgs/<org>/models/<arch>/versions/<number>``.
    :ivar done: whether its sync is over.
    :ivar sync_status: in the service's spelling.
    :ivar failure: why the sync has failed; None if it has not.
    :ivar created: when it was uploaded, in Unix seconds.
    :ivar sync_begins: when the weights begin to be read, in Unix seconds.
    :ivar sync_ends: when that is over at the earliest, in Unix seconds.
    :ivar weights_digest: SHA-256 of the weights, hexadecimal; None while it is not known.
    """

    name: str = Field(validation_alias=AliasPath("version", "name"))
    done: bool = Field(validation_alias=AliasPath("version", "done"))
    weight_uri: str = Field(validation_alias=AliasPath("version", "response", "customer_s3_uri"))
    aliases: list[str] = Field(validation_alias=AliasPath("version", "response", "version_aliases"))
    sync_status: str = Field(validation_alias=AliasPath("version", "response", "sync_status"))
    system_fingerprint_suffix: str | None = Field(
        validation_alias=AliasPath("version", "response", "system_fingerprint_suffix")
    )
    failure: str | None = Field(None, validation_alias=AliasPath("version", "error", "message"))
    created: float
    sync_begins: float
    sync_ends: float
    weights_digest: str | None = None


class EmulatedDeployment(Emulated):
    """A deployment.

    :ivar deployment_id: its UUID.
    :ivar model_version: full name of the version.
    :ivar created: when it was submitted, in Unix seconds.
    :ivar state: in the service's spelling.
    :ivar begins: when the rollout begins, in Unix seconds.
    :ivar ends: when it is over, in Unix seconds.
    :ivar failure: why it has failed; None if it has not.
    """

    deployment_id: str
    model_version: str = Field(validation_alias="model")
    created: int
    state: str
    begins: float
    ends: float
    failure: str | None = None


class EmulatedEndpoint(Emulated):
    """An endpoint.

    :ivar serving: full name of the version that serves; None if none does.
    :ivar deployments: all deployments, whether the API lists them or not, oldest first.
    """

    endpoint_id: str = Field(validation_alias=AliasPath("endpoint", "name"))
    model_arch_id: str = Field(validation_alias=AliasPath("endpoint", "model_arch_id"))
    serving: str | None = None
    deployments: list[EmulatedDeployment]

    @model_validator(mode="before")
    @classmethod
    def _join(cls, shown: dict[str, Any]) -> dict[str, Any]:
        """Join the two lists of deployments, of the API and of the control plane, which have the same order."""
        told = zip(shown["endpoint"]["deployed_models"], shown["rollouts"], strict=True)
        return {**shown, "deployments": [{**listed, **rollout} for listed, rollout in told]}


class EmulatedState(Emulated):
    """The whole state of the emulated service.

    :ivar now: its time in Unix seconds.
    """

    now: float
    organizations: list[OrganizationState]
    versions: list[EmulatedVersion]
    endpoints: list[EmulatedEndpoint]


def _verify(base_url: str, settings: Settings) -> ssl.SSLContext | bool:
    if not base_url.startswith("https://"):
        return False
    return ssl.create_default_context(cafile=settings.tls_cert if settings.tls_self_signed else None)


class EmulatorClient:
    """An emulator behind a socket. A refused request raises an ``httpx.HTTPStatusError`` with the emulator's message.

    An organization, architecture or endpoint that is not named is the first one.

    :param base_url: URL of the emulator.
    :param settings: Its settings, from which the keys and the organization are taken; default: the default settings.
    :ivar org: its first organization.
    :ivar arch: the first of the organization's architectures.
    :ivar endpoint_id: the first of the organization's endpoints for that architecture.
    """

    def __init__(self, base_url: str, settings: Settings | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.settings = settings or Settings()
        self._organization = self.settings.all_organizations()[0]
        self.org = self._organization.name
        self.arch = self._organization.model_architectures[0]
        endpoints = (each.endpoint_id for each in self._organization.endpoints if each.model_arch_id == self.arch)
        self.endpoint_id = next(endpoints, f"{self.org}-{self.arch}")
        # The environment's proxies are for other hosts.
        self._http = httpx.Client(
            base_url=self.base_url,
            trust_env=False,
            timeout=ANSWER_SECONDS,
            verify=_verify(self.base_url, self.settings),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the emulator keeps running."""
        self._http.close()

    def connection(self, **changes: Any) -> str:
        """Return the emulator as an Airflow connection, in the JSON form of ``AIRFLOW_CONN_<ID>``.

        :param changes: Fields of the connection (``host``, ``password``, ...); those of ``extra`` are merged into it.
        """
        connection = self._organization.connection(self.base_url)
        if self.settings.tls_self_signed:
            connection["extra"]["verify"] = str(self.settings.tls_cert)
        if "host" in changes:
            connection.pop("port", None)
        return json.dumps({**connection, **changes, "extra": {**connection["extra"], **changes.get("extra", {})}})

    def reset(self) -> None:
        """Return to the initial state of the settings, with an empty log and the machine's time."""
        self._control("POST", "/reset")

    # What time it is

    def clock(self) -> ClockState:
        """Return the emulator's time."""
        return ClockState.model_validate_json(self._control("GET", "/clock"))

    def advance_clock(self, seconds: float) -> ClockState:
        """Advance the emulator's time: syncs and rollouts progress by as much, and nothing waits."""
        return self._move_clock(advance=seconds)

    def set_clock(self, now: float) -> ClockState:
        """Set the emulator's time to a later moment.

        :param now: Unix seconds.
        """
        return self._move_clock(set=now)

    def freeze_clock(self) -> ClockState:
        """Stop the clock; it can still be advanced."""
        return self._move_clock(frozen=True)

    def resume_clock(self) -> ClockState:
        """Start the clock again."""
        return self._move_clock(frozen=False)

    # How it behaves

    def behaviour(self) -> Behaviour:
        """Return how the service behaves where the API's documentation is silent."""
        return Behaviour.model_validate_json(self._control("GET", "/settings"))

    def change_behaviour(self, **changes: Any) -> Behaviour:
        """Change how the service behaves, until the next reset.

        :param changes: Fields of :class:`~airflow_provider_cerebras.emulator.settings.Behaviour`, such as
            ``rollout_seconds=0``; what is none raises a ``ValueError`` that says why.
        """
        Behaviour.model_validate(changes)
        return Behaviour.model_validate_json(self._control("PATCH", "/settings", changes))

    # What goes wrong

    def add_fault(self, operation: str, **rule: Any) -> Fault:
        """Add a fault rule. By default it fires once.

        :param operation: The call, such as ``get_endpoint``; ``*`` is every request.
        :param rule: Fields of :class:`~airflow_provider_cerebras.emulator.faults.rules.FaultRule`; a rule
            that is not valid raises a ``ValueError`` that says why.
        """
        checked = FaultRule.model_validate({"operation": operation, **rule})
        body = checked.model_dump(mode="json", exclude_unset=True)
        return Fault.model_validate_json(self._control("POST", "/faults", body))

    def fail_next_sync(self, reason: str) -> Fault:
        """Make the sync of the next uploaded version fail.

        :param reason: The reason that the service reports.
        """
        return self.add_fault("upload_model_version", fail_sync=reason)

    def fail_next_rollout(self, reason: str) -> Fault:
        """Make the rollout of the next deployed version fail.

        :param reason: The reason, which the API has no field to report.
        """
        return self.add_fault("deploy_model", fail_rollout=reason)

    def profiles(self) -> list[Profile]:
        """Return the named sets of fault rules, each with a description."""
        return Profiles.model_validate_json(self._control("GET", "/profiles")).profiles

    def use_profile(self, name: ProfileName) -> list[Fault]:
        """Add a named set of fault rules, such as ``flaky``, and return the rules."""
        return Faults.model_validate_json(self._control("POST", f"/profiles/{name}")).faults

    def end_profile(self, name: ProfileName) -> None:
        """Remove the rules of a profile; other rules stay."""
        self._control("DELETE", f"/profiles/{name}")

    def faults(self) -> list[Fault]:
        """Return the rules, exhausted ones included, oldest first, with the counts ``skipped`` and ``fired``."""
        return Faults.model_validate_json(self._control("GET", "/faults")).faults

    def end_fault(self, fault: Fault) -> None:
        """Remove a rule; requests that it holds continue."""
        self._control("DELETE", f"/faults/{fault.id}")

    def end_faults(self) -> None:
        """Remove all rules; requests that they hold continue."""
        self._control("DELETE", "/faults")

    @contextmanager
    def meanwhile(self, operation: str, act: Callable[[], object], **rule: Any) -> Iterator[None]:
        """Run a function while the service holds a request, and then let the request continue.

        :param operation: The call that is held.
        :param act: The function, which runs in a thread; what it raises is raised at the end of the block.
        :param rule: More fields of the fault rule: hold it before or after the work (``when``), let some pass first
            (``skip``).
        """
        fault = self.add_fault(operation, hold=True, **rule)
        problems: list[Exception] = []

        def wait_and_act() -> None:
            try:
                if not self.requests(operation, stage="held", wait=HELD_SECONDS):
                    raise TimeoutError(f"{operation} did not come within {HELD_SECONDS} s")  # noqa: TRY301
                act()
            except Exception as error:  # noqa: BLE001  it is raised where the test sees it
                problems.append(error)
            finally:
                self.end_fault(fault)

        thread = threading.Thread(target=wait_and_act, name=f"meanwhile {operation}")
        thread.start()
        try:
            yield
        finally:
            thread.join()
        for problem in problems:
            raise problem

    # What versions answer

    def set_answers(
        self, model_version: str, answers: Mapping[str, str] | None = None, *, default: str | None = None
    ) -> None:
        """Set the answers of a version, in place of those set before.

        :param model_version: Full name, by number or alias; it need not exist yet.
        :param answers: The answers by question, which is the text of the last message.
        :param default: The answer to any other question; None: the name of the version and the question.
        """
        told = VersionAnswers(model_version=model_version, answers=dict(answers or {}), default=default)
        self._control("PUT", "/answers", told.model_dump(mode="json"))

    def answers(self) -> dict[str, VersionAnswers]:
        """Return the answers that were set, by the names of the versions as they were given."""
        told = Answers.model_validate_json(self._control("GET", "/answers")).answers
        return {each.model_version: each for each in told}

    def clear_answers(self) -> None:
        """Remove all answers that were set."""
        self._control("DELETE", "/answers")

    # What there is

    def requests(
        self, operation: str | None = None, *, stage: str | None = None, wait: float = 0, newest: int | None = None
    ) -> list[LoggedRequest]:
        """Return the requests that were received, oldest first, without those to the control plane.

        :param operation: Return only requests of this call.
        :param stage: Return only requests at this stage: received, worked, held, answered or dropped.
        :param wait: Seconds to wait for the first one.
        :param newest: Return at most this number, the newest ones.
        """
        params = {"operation": operation, "stage": stage, "wait": wait, "newest": newest}
        given = {name: value for name, value in params.items() if value is not None}
        content = self._control("GET", "/requests", params=given, timeout=ANSWER_SECONDS + wait)
        return Requests.model_validate_json(content).requests

    def state(self) -> EmulatedState:
        """Return the whole state of the emulated service."""
        return EmulatedState.model_validate_json(self._control("GET", "/state"))

    def versions(self) -> dict[str, EmulatedVersion]:
        """Return all versions by their full names, oldest first."""
        return {version.name: version for version in self.state().versions}

    def endpoints(self) -> dict[str, EmulatedEndpoint]:
        """Return all endpoints by their ids."""
        return {endpoint.endpoint_id: endpoint for endpoint in self.state().endpoints}

    def serving(self, endpoint_id: str | None = None) -> str | None:
        """Return the full name of the version that serves on an endpoint; None if none does."""
        return self.endpoints()[endpoint_id or self.endpoint_id].serving

    def deployments(self, endpoint_id: str | None = None) -> list[EmulatedDeployment]:
        """Return all deployments on an endpoint, whether the API lists them or not, oldest first."""
        return self.endpoints()[endpoint_id or self.endpoint_id].deployments

    def organizations(self) -> dict[str, OrganizationState]:
        """Return all organizations by their names."""
        return {organization.name: organization for organization in self.state().organizations}

    def version_name(self, version_id: int | str) -> str:
        """Return the full name of a version of the first architecture; the version need not exist."""
        return f"orgs/{self.org}/models/{self.arch}/versions/{version_id}"

    # What is there from the start

    def add_organization(self, name: str, **fields: Any) -> OrganizationState:
        """Add an organization, until the next reset.

        :param fields: Of :class:`~airflow_provider_cerebras.emulator.service.organizations.OrganizationConfig`: keys,
            architectures and endpoints; default: as the first one's follow from its name.
        """
        organization = OrganizationConfig.model_validate({"name": name, **fields})
        return OrganizationState.model_validate_json(
            self._control("POST", "/organizations", organization.model_dump(mode="json"))
        )

    def set_keys(
        self, org_name: str, *, management: Sequence[str] | None = None, inference: Sequence[str] | None = None
    ) -> None:
        """Replace the keys of an organization; the old ones are invalid at once, those of the connection too.

        :param management: The management keys; None keeps the present ones.
        :param inference: The inference keys; None keeps the present ones.
        """
        keys = Keys.model_validate({"management_keys": management, "inference_keys": inference})
        self._control("PUT", f"/organizations/{org_name}/keys", keys.model_dump(mode="json"))

    def add_architecture(self, model_arch_id: str, org_name: str | None = None) -> None:
        """Give an organization access to another architecture, until the next reset."""
        self._control("POST", "/architectures", {"model_arch_id": model_arch_id, "org_name": org_name})

    def add_endpoint(self, endpoint_id: str, model_arch_id: str | None = None, org_name: str | None = None) -> None:
        """Add an endpoint to an organization, until the next reset."""
        body = {"endpoint_id": endpoint_id, "model_arch_id": model_arch_id or self.arch, "org_name": org_name}
        self._control("POST", "/endpoints", body)

    # What others do

    def upload(self, weight_uri: str, *aliases: str) -> str:
        """Upload to the first architecture as another client would, and return the full name of the version."""
        model = {"weight_uri": weight_uri, "version_aliases": list(aliases)}
        answer = self.api("POST", f"/orgs/{self.org}/models:upload", {"model_arch_id": self.arch, "model": model})
        return str(answer["name"])

    def set_aliases(self, model_version: str, *aliases: str) -> None:
        """Replace the aliases of a version as another client would."""
        self.api("PATCH", f"/{model_version}", {"version_aliases": list(aliases)})

    def deploy(self, model_version: str, endpoint_id: str | None = None) -> str:
        """Deploy as another client would, and return the UUID of the deployment."""
        path = f"/endpoints/{endpoint_id or self.endpoint_id}:deployModel"
        return str(self.api("POST", path, {"model": model_version})["name"])

    def serve(self, weight_uri: str, *aliases: str, endpoint_id: str | None = None) -> str:
        """Upload, deploy, advance the clock past both, as after an earlier release, and return the version's name.

        If the weights are read from S3, the deployment may come too early; the service's refusal is raised then.
        """
        behaviour = self.behaviour()
        model_version = self.upload(weight_uri, *aliases)
        self.advance_clock(behaviour.sync_seconds)
        self.deploy(model_version, endpoint_id)
        self.advance_clock(behaviour.rollout_seconds)
        return model_version

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to the Management API with the management key; it is logged like any other.

        :param path: The path from ``/orgs`` or ``/endpoints`` on.
        :param body: The JSON body; None for no body.
        """
        headers = {"Authorization": f"Bearer {self._organization.management_keys[0]}"}
        content = self._send(method, f"{MANAGEMENT_PREFIX}{path}", body, headers=headers)
        return json.loads(content) if content else None

    def _move_clock(self, **move: float | bool) -> ClockState:
        return ClockState.model_validate_json(self._control("POST", "/clock", move))

    def _control(self, method: str, path: str, body: object = None, **request: Any) -> bytes:
        return self._send(method, f"/_emulator{path}", body, **request)

    def _send(self, method: str, path: str, body: object, **request: Any) -> bytes:
        response = self._http.request(method, path, json=body, **request)
        if response.is_error:
            said = f"{method} {response.url} was answered {response.status_code}: {response.text}"
            raise httpx.HTTPStatusError(said, request=response.request, response=response)
        return response.content
