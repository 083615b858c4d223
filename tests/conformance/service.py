"""The service that is asked: over plain HTTP, so that what comes is seen as it is and not as our client reads it."""

from __future__ import annotations

import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from jsonschema import Draft202012Validator

from tests.openapi import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS = 0.05, 10.0
"""Shortest and longest pause between two looks at what is under way."""

FAILURES = {"failed", "failure", "error", "errored", "cancelled", "canceled", "rejected", "expired", "aborted"}
UNDER_WAY = {"queued", "in_progress", "not_started"}
VERSION_NAME = re.compile(r"orgs/(?P<org>[^/]+)/models/(?P<arch>[^/]+)/versions/(?P<number>[1-9][0-9]*)")
ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")


class Differs(Exception):
    """The service does otherwise; the text is what was seen."""


class NotChecked(Exception):
    """It is not known; the text is why."""


@dataclass(frozen=True)
class Target:
    """What is asked, and with what.

    :param key: management key.
    :param inference_key: None: what needs it is not checked.
    :param endpoint_id: the endpoint that may be deployed to; None: nothing is deployed.
    :param weight_uri: weights that may be uploaded.
    :param seconds: how long a sync or a rollout is waited for.
    """

    base_url: str
    key: str = field(repr=False)
    org: str
    inference_key: str | None = field(default=None, repr=False)
    endpoint_id: str | None = None
    weight_uri: str = "s3://my-bucket/weights"
    seconds: float = 60

    def without_keys(self, text: str) -> str:
        """A text in which neither key stands."""
        for secret in filter(None, (self.key, self.inference_key)):
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True)
class Answer:
    """What came: ``body`` is the parsed JSON, or the text where it is none."""

    status: int
    headers: httpx.Headers
    body: Any

    @property
    def seen(self) -> str:
        """The answer in a few words."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return f"{self.status} {text[:120]}".strip()

    def message(self) -> str | None:
        """The words of a refusal, where we look for them."""
        body = self.body if isinstance(self.body, dict) else {}
        error = body.get("error")
        found = [body.get("detail"), error.get("message") if isinstance(error, dict) else error, body.get("message")]
        return next((str(each) for each in found if each), None)


def expect(holds: object, seen: str) -> None:
    """Something must be so; else `seen` is what is told."""
    if not holds:
        raise Differs(seen)


class Service:
    """Requests to the service, by default with the management key. What is made is deleted by :meth:`clean_up`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._http = httpx.Client(base_url=target.base_url, timeout=30, follow_redirects=False)
        self._made: list[str] = []
        self._synced: dict[str, str] = {}
        self._served_before: str | None = None

    @property
    def org_path(self) -> str:
        return f"/orgs/{quote(self.target.org, safe='')}"

    def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = "", inference: bool = False
    ) -> Answer:
        """Send one request.

        :param path: from the prefix of the API on.
        :param key: what to send instead of the management key; None for no key at all.
        :param inference: whether it goes to the inference API.
        """
        key = self.target.key if key == "" else key
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        prefix = "/v1" if inference else "/management/v1"
        response = self._http.request(method, f"{prefix}{path}", json=body, headers=headers)
        try:
            parsed = response.json()
        except ValueError:
            parsed = response.text
        return Answer(response.status_code, response.headers, parsed)

    def get(self, path: str) -> Any:
        """The body of what must be answered with 200."""
        answer = self.ask("GET", path)
        expect(answer.status == 200, f"GET {path}: {answer.seen}")
        return answer.body

    def architectures(self) -> list[str]:
        return list(self.get(f"{self.org_path}/models")["model_architectures"])

    def architecture(self) -> str:
        """The one to upload to: that of the endpoint which may be deployed to, or the first."""
        if self.target.endpoint_id:
            return str(self.get(f"/endpoints/{quote(self.target.endpoint_id, safe='')}")["model_arch_id"])
        return next(iter(self.architectures()), None) or _none("an architecture")

    def versions(self, arch: str | None = None) -> list[dict[str, Any]]:
        """Those of one architecture, or of all."""
        archs = self.architectures() if arch is None else [arch]
        return [each for name in archs for each in self.get(self.versions_path(name))["model_versions"]]

    def endpoints(self) -> list[dict[str, Any]]:
        return list(self.get(f"{self.org_path}/endpoints")["endpoints"])

    def deployments(self) -> list[dict[str, Any]]:
        """Those that all endpoints list."""
        bodies = [self.get(f"/endpoints/{quote(each['endpoint_id'], safe='')}") for each in self.endpoints()]
        return [deployment for body in bodies for deployment in body["deployed_models"]]

    def versions_path(self, arch: str, version_id: object = None) -> str:
        path = f"{self.org_path}/models/{quote(arch, safe='')}/versions"
        return path if version_id is None else f"{path}/{quote(str(version_id), safe='')}"

    def try_upload(self, *aliases: str, **fields: Any) -> Answer:
        """An upload; `fields` replace those of its body, and are left out where they are None."""
        model = {"weight_uri": self.target.weight_uri, "version_aliases": list(aliases), **fields.pop("model", {})}
        body = {"model_arch_id": self.architecture(), "model": model, **fields}
        body["model"] = {name: value for name, value in body["model"].items() if value is not None}
        answer = self.ask("POST", f"{self.org_path}/models:upload", {k: v for k, v in body.items() if v is not None})
        if answer.status == 200 and isinstance(answer.body, dict) and "name" in answer.body:
            self._made.append(answer.body["name"])
        return answer

    def upload(self, *aliases: str, **fields: Any) -> str:
        """A new version's full name."""
        answer = self.try_upload(*aliases, **fields)
        expect(answer.status == 200, f"upload: {answer.seen}")
        return str(answer.body["name"])

    def set_aliases(self, name: str, *aliases: str) -> Answer:
        return self.ask("PATCH", f"/{name}", {"version_aliases": list(aliases)})

    def aliases(self, name: str) -> list[str]:
        return list(self.get(f"/{name}")["response"]["version_aliases"])

    def synced_version(self, which: str = "first") -> str:
        """A version whose weights are there; it is made once for each `which`."""
        if which not in self._synced:
            name = self.upload(self.new_alias())
            self.wait(f"the sync of {name}", lambda: self.get(f"/{name}")["done"])
            self._synced[which] = name
        return self._synced[which]

    def try_deploy(self, model: str) -> Answer:
        self._served_before = self._served_before or self.serving()
        return self.ask("POST", f"/endpoints/{quote(self.endpoint_id(), safe='')}:deployModel", {"model": model})

    def deploy(self, model: str) -> str:
        """The UUID of a new deployment."""
        answer = self.try_deploy(model)
        expect(answer.status == 200, f"deploy: {answer.seen}")
        return str(answer.body["name"])

    def serving(self) -> str | None:
        """What serves on the endpoint that may be deployed to."""
        listed = self.get(f"/endpoints/{quote(self.endpoint_id(), safe='')}")["deployed_models"]
        complete = [each for each in listed if each["state"] == "complete"]
        return max(complete, key=lambda each: each["created"])["model"] if complete else None

    def endpoint_id(self) -> str:
        return self.target.endpoint_id or _none("an endpoint that may be deployed to (ENDPOINT)")

    def deployment(self, deployment_id: str) -> dict[str, Any] | None:
        """What the endpoint lists of it."""
        listed = self.get(f"/endpoints/{quote(self.endpoint_id(), safe='')}")["deployed_models"]
        return next((each for each in listed if each["id"] == deployment_id), None)

    def rolled_out(self, deployment_id: str) -> str:
        """The state that a deployment ends in."""

        def state() -> str | None:
            found = self.deployment(deployment_id)
            return found["state"] if found and found["state"].lower() not in UNDER_WAY else None

        return str(self.wait(f"the rollout {deployment_id}", state))

    def all_aliases(self, arch: str) -> list[str]:
        """Those of all versions of an architecture."""
        return [
            alias for each in self.versions(arch) for alias in (each.get("response") or {}).get("version_aliases", [])
        ]

    def chat(self, key: str | None) -> Answer:
        """A chat completion by the endpoint that may be deployed to, or else the first."""
        endpoint_id = self.target.endpoint_id or next((each["endpoint_id"] for each in self.endpoints()), None)
        body = {
            "model": endpoint_id or _none("an endpoint"),
            "messages": [{"role": "user", "content": "Say OK."}],
            "max_completion_tokens": 1,
        }
        return self.ask("POST", "/chat/completions", body, key=key, inference=True)

    def inference_key(self) -> str:
        return self.target.inference_key or _none("an inference key (INFERENCE_KEY)")

    def wait(self, what: str, look: Callable[[], Any]) -> Any:
        """What a look gives, once it is anything."""
        end, pause = time.monotonic() + self.target.seconds, POLL_SECONDS[0]
        while not (found := look()):
            if time.monotonic() > end:
                raise NotChecked(f"{what} was not over after {self.target.seconds:g} s")
            time.sleep(pause)
            pause = min(pause * 1.2, POLL_SECONDS[1])
        return found

    def check(self, operation: str, path: str, answer: Answer) -> None:
        """An answer must be as the OpenAPI document says."""
        responses = REFERENCE["paths"][path][operation]["responses"]
        schema = responses["200"]["content"]["application/json"]["schema"]
        document = {**schema, "components": REFERENCE["components"]}
        problems = [
            f"{'.'.join(map(str, each.absolute_path)) or 'body'}: {each.message}"
            for each in Draft202012Validator(document).iter_errors(answer.body)
        ]
        expect(not problems, "; ".join(problems[:3]))

    @staticmethod
    def new_alias() -> str:
        """An alias that no version has."""
        return f"conformance-{uuid.uuid4().hex}"

    def clean_up(self) -> list[str]:
        """Deploy what served before, and delete all versions that were made; the names of those that could not be."""
        if self._served_before is not None:
            self.rolled_out(self.deploy(self._served_before))
        left = [name for name in self._made if self.ask("DELETE", f"/{name}").status not in {200, 202, 204, 404}]
        self._made.clear()
        return left

    def close(self) -> None:
        self._http.close()


def _none(what: str) -> Any:
    raise NotChecked(f"it takes {what}")
