"""A running emulator as tests see it: its control plane as methods, and what it knows as typed objects."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import httpx
from pydantic import AliasPath, BaseModel, ConfigDict, Field

from airflow_provider_cerebras.emulator.control import Fault, Faults, Requests
from airflow_provider_cerebras.emulator.faults import FaultRule
from airflow_provider_cerebras.emulator.operations import MANAGEMENT_PREFIX
from airflow_provider_cerebras.emulator.organizations import ARCHITECTURES
from airflow_provider_cerebras.emulator.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from airflow_provider_cerebras.emulator.request_log import LoggedRequest

ANSWER_SECONDS = 60
"""Seconds to wait for an answer, beyond those for which the emulator was asked to wait."""

HELD_SECONDS = 60
"""Seconds of real time that :meth:`EmulatorClient.meanwhile` waits for the request in the middle of which it acts."""


class Emulated(BaseModel):
    """What the control plane shows; it may show more one day."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class EmulatedVersion(Emulated):
    """A model version.

    :ivar name: full name, ``orgs/<org>/models/<arch>/versions/<number>``.
    :ivar done: whether its sync is over.
    :ivar sync_status: as the service spells it.
    :ivar failure: why the sync has failed; None if it has not.
    :ivar weights_digest: SHA-256 of the weights, hexadecimal; None as long as, or because, it is not known.
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
    weights_digest: str | None = None


class EmulatedDeployment(Emulated):
    """A deployment.

    :ivar deployment_id: its UUID.
    :ivar model_version: full name of the version.
    :ivar created: when it was submitted, in Unix seconds.
    :ivar state: as the service spells it.
    """

    deployment_id: str = Field(validation_alias="id")
    model_version: str = Field(validation_alias="model")
    created: int
    state: str


class EmulatedEndpoint(Emulated):
    """An endpoint.

    :ivar serving: full name of the version that answers inference requests; None if none does.
    :ivar deployments: all of them, listed by the API or not, oldest first.
    """

    endpoint_id: str = Field(validation_alias=AliasPath("endpoint", "name"))
    model_arch_id: str = Field(validation_alias=AliasPath("endpoint", "model_arch_id"))
    serving: str | None = None
    deployments: list[EmulatedDeployment] = Field(validation_alias=AliasPath("endpoint", "deployed_models"))


class EmulatedState(Emulated):
    """Everything that the emulated service knows.

    :ivar now: its time in Unix seconds.
    """

    now: float
    versions: list[EmulatedVersion]
    endpoints: list[EmulatedEndpoint]


class EmulatorClient:
    """An emulator behind a socket. What goes wrong raises an ``httpx.HTTPError``.

    What takes an ``endpoint_id`` means the first endpoint where it is not given.

    :param base_url: URL of the emulator.
    :param settings: What it was started with; the keys and the organization are taken from it. Default: the defaults.
    :ivar org: its organization.
    :ivar arch: the first of the organization's architectures.
    :ivar endpoint_id: the organization's endpoint for that architecture.
    """

    def __init__(self, base_url: str, settings: Settings | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.settings = settings or Settings()
        self.org = self.settings.org
        self.arch = ARCHITECTURES[0]
        self.endpoint_id = f"{self.org}-{self.arch}"
        # The environment's proxies are for other hosts.
        self._http = httpx.Client(base_url=self.base_url, trust_env=False, timeout=ANSWER_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the emulator goes on."""
        self._http.close()

    def connection(self, **changes: Any) -> str:
        """The emulator as an Airflow connection, in the JSON that ``AIRFLOW_CONN_<ID>`` takes.

        :param changes: Fields of the connection (``host``, ``password``, ...); those of ``extra`` are merged into it.
        """
        extra = {"org_name": self.org, "inference_api_key": self.settings.inference_key}
        connection = {
            "conn_type": "cerebras",
            "host": self.base_url,
            "password": self.settings.management_key,
            **changes,
            "extra": {**extra, **changes.get("extra", {})},
        }
        return json.dumps(connection)

    def reset(self) -> None:
        """Go back to the start: no versions, no deployments, no fault rules, an empty log."""
        self._control("POST", "/reset")

    # What goes wrong

    def add_fault(self, operation: str, **rule: Any) -> Fault:
        """Put a fault rule in force. It fires once unless told.

        :param operation: The call, such as ``get_endpoint``; ``*`` is every request.
        :param rule: Fields of :class:`~airflow_provider_cerebras.emulator.faults.FaultRule`; what does not make one
            raises a ``ValueError`` that says why.
        """
        checked = FaultRule.model_validate({"operation": operation, **rule})
        body = checked.model_dump(mode="json", exclude_unset=True)
        return Fault.model_validate_json(self._control("POST", "/faults", body))

    def fail_next_sync(self, reason: str) -> Fault:
        """Let the sync of the next version that is uploaded fail.

        :param reason: What the service says of it.
        """
        return self.add_fault("upload_model_version", fail_sync=reason)

    def fail_next_rollout(self, reason: str) -> Fault:
        """Let the rollout of the next version that is deployed fail.

        :param reason: Why it fails. The API has no field in which it would say so.
        """
        return self.add_fault("deploy_model", fail_rollout=reason)

    def faults(self) -> list[Fault]:
        """The rules in force, oldest first, with the counts ``skipped`` and ``fired``; those that are used up too."""
        return Faults.model_validate_json(self._control("GET", "/faults")).faults

    def end_fault(self, fault: Fault) -> None:
        """End a rule; requests that it holds go on."""
        self._control("DELETE", f"/faults/{fault.id}")

    def end_faults(self) -> None:
        """End all rules; requests that they hold go on."""
        self._control("DELETE", "/faults")

    @contextmanager
    def meanwhile(self, operation: str, act: Callable[[], object], **rule: Any) -> Iterator[None]:
        """Do something in the moment in which the service has a request in hand, and only then let it go on.

        :param operation: The call that is held.
        :param act: What happens meanwhile, in a thread of its own; what it raises is raised at the end of the block.
        :param rule: More of the fault rule: hold it before or after the work (``when``), let some pass first
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

    # What there is

    def requests(
        self, operation: str | None = None, *, stage: str | None = None, wait: float = 0
    ) -> list[LoggedRequest]:
        """The requests that came in, oldest first, without those to the control plane.

        :param operation: Only this call's.
        :param stage: Only those that got just so far: received, worked, held, answered or dropped.
        :param wait: Seconds to wait for there to be any.
        """
        params = {"operation": operation, "stage": stage, "wait": wait}
        given = {name: value for name, value in params.items() if value is not None}
        content = self._control("GET", "/requests", params=given, timeout=ANSWER_SECONDS + wait)
        return Requests.model_validate_json(content).requests

    def state(self) -> EmulatedState:
        """Everything that the emulated service knows."""
        return EmulatedState.model_validate_json(self._control("GET", "/state"))

    def versions(self) -> dict[str, EmulatedVersion]:
        """All versions by their full names, oldest first."""
        return {version.name: version for version in self.state().versions}

    def endpoints(self) -> dict[str, EmulatedEndpoint]:
        """All endpoints by their ids."""
        return {endpoint.endpoint_id: endpoint for endpoint in self.state().endpoints}

    def serving(self, endpoint_id: str | None = None) -> str | None:
        """Full name of the version that serves on an endpoint; None if none does."""
        return self.endpoints()[endpoint_id or self.endpoint_id].serving

    def deployments(self, endpoint_id: str | None = None) -> list[EmulatedDeployment]:
        """The deployments on an endpoint, listed by the API or not, oldest first."""
        return self.endpoints()[endpoint_id or self.endpoint_id].deployments

    def version_name(self, version_id: int | str) -> str:
        """Full name of a version of the first architecture, whether there is one or not."""
        return f"orgs/{self.org}/models/{self.arch}/versions/{version_id}"

    # What others do

    def add_endpoint(self, endpoint_id: str) -> None:
        """Give the organization one more endpoint for the first architecture."""
        self._control("POST", "/endpoints", {"endpoint_id": endpoint_id, "model_arch_id": self.arch})

    def upload(self, weight_uri: str, *aliases: str) -> str:
        """Upload to the first architecture as another client of the service would; the new version's full name."""
        model = {"weight_uri": weight_uri, "version_aliases": list(aliases)}
        answer = self.api("POST", f"/orgs/{self.org}/models:upload", {"model_arch_id": self.arch, "model": model})
        return str(answer["name"])

    def set_aliases(self, model_version: str, *aliases: str) -> None:
        """Give a version these aliases and no others, as another client of the service would."""
        self.api("PATCH", f"/{model_version}", {"version_aliases": list(aliases)})

    def deploy(self, model_version: str, endpoint_id: str | None = None) -> str:
        """Deploy as another client of the service would; the UUID of the deployment."""
        path = f"/endpoints/{endpoint_id or self.endpoint_id}:deployModel"
        return str(self.api("POST", path, {"model": model_version})["name"])

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to the Management API, by the management key; it is logged as any other.

        :param path: From ``/orgs`` or ``/endpoints`` on.
        :param body: What becomes the JSON body; None for no body.
        """
        headers = {"Authorization": f"Bearer {self.settings.management_key}"}
        content = self._send(method, f"{MANAGEMENT_PREFIX}{path}", body, headers=headers)
        return json.loads(content) if content else None

    def _control(self, method: str, path: str, body: object = None, **request: Any) -> bytes:
        return self._send(method, f"/_emulator{path}", body, **request)

    def _send(self, method: str, path: str, body: object, **request: Any) -> bytes:
        response = self._http.request(method, path, json=body, **request)
        response.raise_for_status()
        return response.content
