"""The rules that can be seen without changing anything."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.conformance.rules import ASSUMED, rule
from tests.conformance.service import (
    ALIAS,
    FAILURES,
    UNDER_WAY,
    VERSION_NAME,
    Answer,
    NotChecked,
    Service,
    expect,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERVIEW = "management-api"
MODELS = "/management/v1/orgs/{org_name}/models"
VERSION = f"{MODELS}/{{model_arch_id}}/versions/{{version_id}}"
ENDPOINTS = "/management/v1/orgs/{org_name}/endpoints"
ENDPOINT = "/management/v1/endpoints/{endpoint_id}"
NO_VERSION = 2**31 - 1


def some(found: Sequence[dict[str, Any]], what: str) -> Sequence[dict[str, Any]]:
    if not found:
        raise NotChecked(f"there is no {what}")
    return found


def refused(answer: Answer, *statuses: int) -> str:
    """What was seen of a refusal, which must have one of these statuses."""
    expect(answer.status in statuses, answer.seen)
    return str(answer.status)


# Authentication


@rule("A request without a key is refused with 401 or 403", ASSUMED)
def no_key(service: Service) -> str:
    return refused(service.ask("GET", f"{service.org_path}/models", key=None), 401, 403)


@rule("A request with a key that is none is refused with 401 or 403", ASSUMED)
def unknown_key(service: Service) -> str:
    return refused(service.ask("GET", f"{service.org_path}/models", key="no-such-key"), 401, 403)


@rule("The Management API does not take the inference key", OVERVIEW)
def inference_key_for_management(service: Service) -> str:
    return refused(service.ask("GET", f"{service.org_path}/models", key=service.inference_key()), 401, 403)


@rule("The inference API does not take the management key", OVERVIEW)
def management_key_for_inference(service: Service) -> str:
    return refused(service.chat(service.target.key), 401, 403)


@rule("An organization that the key is not of is refused with 403 or 404", ASSUMED)
def foreign_organization(service: Service) -> str:
    return refused(service.ask("GET", f"/orgs/no-such-org-{uuid.uuid4().hex}/models"), 403, 404)


# Form of the answers


@rule("The architectures are as documented", "list-model-architectures")
def architectures(service: Service) -> str:
    answer = service.ask("GET", f"{service.org_path}/models")
    expect(answer.status == 200, answer.seen)
    service.check("get", MODELS, answer)
    return f"{len(answer.body['model_architectures'])} architecture(s)"


@rule("The versions of each architecture are as documented", "list-model-versions")
def versions(service: Service) -> str:
    for arch in service.architectures():
        answer = service.ask("GET", service.versions_path(arch))
        expect(answer.status == 200, answer.seen)
        service.check("get", f"{MODELS}/{{model_arch_id}}/versions", answer)
    return f"{len(service.versions())} version(s)"


@rule("A version by itself is as documented", "retrieve-model-version-status")
def version(service: Service) -> None:
    for listed in some(service.versions(), "version")[:5]:
        answer = service.ask("GET", f"/{listed['name']}")
        expect(answer.status == 200, answer.seen)
        service.check("get", VERSION, answer)
        expect(answer.body["name"] == listed["name"], f"asked for {listed['name']}, got {answer.body['name']}")


@rule("The endpoints are as documented", "list-endpoints")
def endpoints(service: Service) -> str:
    answer = service.ask("GET", f"{service.org_path}/endpoints")
    expect(answer.status == 200, answer.seen)
    service.check("get", ENDPOINTS, answer)
    return f"{len(answer.body['endpoints'])} endpoint(s)"


@rule("An endpoint by itself is as documented", "retrieve-endpoint-status")
def endpoint(service: Service) -> None:
    for listed in some(service.endpoints(), "endpoint"):
        answer = service.ask("GET", f"/endpoints/{quote(listed['endpoint_id'], safe='')}")
        expect(answer.status == 200, answer.seen)
        service.check("get", ENDPOINT, answer)
        pairs = (answer.body["name"], listed["endpoint_id"]), (answer.body["model_arch_id"], listed["model_arch_id"])
        expect(all(one == other for one, other in pairs), f"the list and the endpoint say: {pairs}")


@rule("No answer is a redirect", ASSUMED)
def no_redirects(service: Service) -> None:
    for path in (f"{service.org_path}/models", f"{service.org_path}/models/", f"{service.org_path}/endpoints"):
        answer = service.ask("GET", path)
        expect(not 300 <= answer.status < 400, f"{path}: {answer.seen}")


@rule("Answers carry an id that support can find: x-request-id or cf-ray", ASSUMED)
def request_id(service: Service) -> str:
    headers = service.ask("GET", f"{service.org_path}/models").headers
    found = [name for name in ("x-request-id", "cf-ray") if name in headers]
    expect(found, "neither")
    return ", ".join(found)


@rule("A refusal says why in detail, error.message, error or message", ASSUMED)
def words_of_a_refusal(service: Service) -> str:
    answer = service.ask("GET", f"/endpoints/no-such-endpoint-{uuid.uuid4().hex}")
    expect(answer.message(), answer.seen)
    return ", ".join(answer.body)


# Names and numbers


@rule("A version's name is orgs/<org>/models/<arch>/versions/<number>, of what was asked for", "upload-model-version")
def names(service: Service) -> None:
    for arch in service.architectures():
        for each in service.versions(arch):
            found = VERSION_NAME.fullmatch(each["name"])
            expect(found and (found["org"], found["arch"]) == (service.target.org, arch), each["name"])


@rule("No two versions of an architecture have the same number", "list-model-versions")
def distinct_numbers(service: Service) -> None:
    twice = [name for name, count in Counter(each["name"] for each in service.versions()).items() if count > 1]
    expect(not twice, f"twice: {twice}")


@rule("An alias is 2 to 128 characters: a small letter, letters, digits or -, and a small letter or digit",
      "upload-model-version")  # fmt: skip
def form_of_aliases(service: Service) -> str:
    aliases = [alias for arch in service.architectures() for alias in service.all_aliases(arch)]
    wrong = [alias for alias in aliases if not ALIAS.fullmatch(alias)]
    expect(not wrong, f"{wrong}")
    return f"{len(aliases)} alias(es)"


@rule("No two versions of an architecture have the same alias", "update-model-version-aliases")
def distinct_aliases(service: Service) -> None:
    for arch in service.architectures():
        aliases = Counter(service.all_aliases(arch))
        expect(not aliases or max(aliases.values()) == 1, f"{arch}: {aliases.most_common(1)}")


@rule("An alias may stand where the number of a version may", "retrieve-model-version-status")
def alias_in_place_of_number(service: Service) -> None:
    with_alias = [each for each in service.versions() if (each.get("response") or {}).get("version_aliases")]
    found = some(with_alias, "version with an alias")[0]
    name, alias = found["name"], found["response"]["version_aliases"][0]
    got = service.get(f"/{name.rpartition('/')[0]}/{alias}")["name"]
    expect(got == name, f"{alias} of {name} gives {got}")


@rule("A percent-encoded segment of a path is the same as a plain one", ASSUMED)
def percent_encoding(service: Service) -> None:
    arch = service.architecture()
    encoded = "".join(f"%{ord(letter):02X}" if letter in "-." else letter for letter in arch)
    answer = service.ask("GET", f"{service.org_path}/models/{encoded}/versions")
    expect(answer.status == 200, answer.seen)


# What is not there


@rule("A version that is not there is refused with 404, by number and by alias", ASSUMED)
def no_such_version(service: Service) -> None:
    for version_id in (NO_VERSION, service.new_alias()):
        refused(service.ask("GET", service.versions_path(service.architecture(), version_id)), 404)


@rule("An endpoint that is not there is refused with 404", ASSUMED)
def no_such_endpoint(service: Service) -> str:
    return refused(service.ask("GET", f"/endpoints/no-such-endpoint-{uuid.uuid4().hex}"), 404)


@rule("The versions of an architecture that is not there are refused with 404", ASSUMED)
def no_such_architecture(service: Service) -> str:
    return refused(service.ask("GET", service.versions_path(f"no-such-arch-{uuid.uuid4().hex}")), 404)


# How it stands


@rule("sync_status is a word that we know, and done is false as long as it is queued or in_progress",
      "retrieve-model-version-status")  # fmt: skip
def sync_status(service: Service) -> str:
    words: set[str] = set()
    for each in some(service.versions(), "version"):
        status = (each.get("response") or {}).get("sync_status")
        words.add(str(status))
        expect(status is None or status.lower() in {"done", *UNDER_WAY, *FAILURES}, f"{status} in {each['name']}")
        expect(each["done"] == (status == "done") or str(status).lower() in FAILURES, f"{status}, done {each['done']}")
    return ", ".join(sorted(words))


@rule("The state of a deployment is a word that we know", "retrieve-endpoint-status")
def deployment_state(service: Service) -> str:
    states = {str(each.get("state")) for each in some(service.deployments(), "deployment")}
    unknown = sorted(state for state in states if state.lower() not in {"complete", *UNDER_WAY, *FAILURES})
    expect(not unknown, f"{unknown}")
    return ", ".join(sorted(states))


@rule("A deployment has a UUID of its own, and the version by its number", "retrieve-endpoint-status")
def deployments(service: Service) -> None:
    found = some(service.deployments(), "deployment")
    expect(len({uuid.UUID(each["id"]) for each in found}) == len(found), "two have the same UUID")
    wrong = [each["model"] for each in found if not VERSION_NAME.fullmatch(each["model"])]
    expect(not wrong, f"{wrong}")


@rule("An endpoint is of an architecture of the organization", "list-endpoints")
def architecture_of_endpoints(service: Service) -> None:
    known = service.architectures()
    wrong = [each for each in some(service.endpoints(), "endpoint") if each.get("model_arch_id", known[0]) not in known]
    expect(not wrong, f"{wrong}")


@rule("Times are Unix seconds, and nothing was updated before it was created", "retrieve-endpoint-status")
def times(service: Service) -> None:
    for listed in some(service.endpoints(), "endpoint"):
        body = service.get(f"/endpoints/{quote(listed['endpoint_id'], safe='')}")
        moments = [body["created"], *(each["created"] for each in body["deployed_models"]), body["updated"]]
        expect(all(1_500_000_000 < moment < 4_000_000_000 for moment in moments), f"{moments}")
        expect(body["created"] <= body["updated"] and max(moments) == body["updated"], f"{moments}")


@rule("The endpoint's id is the model of a chat completion, which the inference key opens", OVERVIEW)
def chat_completion(service: Service) -> None:
    some([each for each in service.deployments() if each.get("state") == "complete"], "deployment that is complete")
    answer = service.chat(service.inference_key())
    expect(answer.status == 200 and answer.body["choices"], answer.seen)
    expect(isinstance(answer.body.get("system_fingerprint"), str), f"system_fingerprint of {answer.seen}")
