"""The rules that are seen only by uploading, changing aliases, deploying and deleting. What is made is deleted."""

from __future__ import annotations

import uuid

from tests.conformance.reading import ENDPOINT, MODELS, NO_VERSION, OVERVIEW, VERSION, refused
from tests.conformance.rules import ASSUMED, rule
from tests.conformance.service import UNDER_WAY, VERSION_NAME, NotChecked, Service, expect

UPLOAD = "upload-model-version"
UPDATE = "update-model-version-aliases"
DELETE = "delete-model-version"
DEPLOY = "deploy-model-to-endpoint"
WRONG_ALIASES = ("a", "1a", "Ab", "a_b", "a-", "aB", "a" * 129, "", "a b")


def number(name: str) -> int:
    found = VERSION_NAME.fullmatch(name)
    expect(found, f"the name {name}")
    return int(name.rpartition("/")[2])


# Uploading


@rule("An upload is answered at once, not done, with a name, the URI and the aliases", UPLOAD, writes=True)
def upload(service: Service) -> str:
    alias = service.new_alias()
    answer = service.try_upload(alias, model={"system_fingerprint_suffix": "conformance"})
    expect(answer.status == 200, answer.seen)
    service.check("post", f"{MODELS}:upload", answer)
    number(answer.body["name"])
    said = answer.body["response"]
    expect((said["customer_s3_uri"], said["version_aliases"]) == (service.target.weight_uri, [alias]), answer.seen)
    expect(answer.body["done"] is False and said["sync_status"] in UNDER_WAY, answer.seen)
    got = service.get(f"/{answer.body['name']}")["response"]
    expect(got.get("system_fingerprint_suffix") == "conformance", f"system_fingerprint_suffix is {got}")
    return str(said["sync_status"])


@rule("An alias that is sent with the upload leads to the version from then on", UPLOAD, writes=True)
def alias_of_an_upload(service: Service) -> None:
    alias = service.new_alias()
    name = service.upload(alias)
    got = service.get(f"/{name.rpartition('/')[0]}/{alias}")["name"]
    expect(got == name, f"{alias} gives {got}, not {name}")


@rule("Each upload gets a higher number than all before it, although the weights are the same", UPLOAD, writes=True)
def numbers_grow(service: Service) -> None:
    first, second = (number(service.upload()) for _ in range(2))
    expect(first < second, f"{first}, then {second}")
    listed = [number(each["name"]) for each in service.versions(service.architecture())]
    expect({first, second} <= set(listed), f"{first} and {second} are not listed")


@rule("Aliases and the suffix of the fingerprint need not be sent", UPLOAD, writes=True)
def optional_fields(service: Service) -> None:
    name = service.upload(model={"version_aliases": None})
    expect(service.aliases(name) == [], f"{service.aliases(name)}")


@rule("An upload without an architecture, a model or a weight_uri is refused with 400 or 422", UPLOAD, writes=True)
def required_fields(service: Service) -> None:
    for fields in ({"model_arch_id": None}, {"model": {"weight_uri": None}}):
        refused(service.try_upload(**fields), 400, 422)


@rule("An upload to an architecture that is not there is refused with 400, 403, 404 or 422", ASSUMED, writes=True)
def upload_to_no_architecture(service: Service) -> str:
    return refused(service.try_upload(model_arch_id=f"no-such-arch-{uuid.uuid4().hex}"), 400, 403, 404, 422)


@rule("The sync ends, and then done is true and sync_status is done", "retrieve-model-version-status", writes=True)
def sync_ends(service: Service) -> None:
    name = service.synced_version()
    got = service.get(f"/{name}")
    expect((got["done"], got["response"]["sync_status"]) == (True, "done"), f"{got}")


# Aliases


@rule("An alias of another form is refused with 400 or 422, and nothing is made", UPLOAD, writes=True)
def wrong_aliases(service: Service) -> None:
    before = len(service.versions(service.architecture()))
    for alias in WRONG_ALIASES:
        answer = service.try_upload(alias)
        expect(answer.status in {400, 422}, f"{alias[:8]!r} ({len(alias)} characters): {answer.seen}")
    expect(len(service.versions(service.architecture())) == before, "a version was made")


@rule("An alias may have 2 characters, and 128", UPLOAD, writes=True)
def extreme_aliases(service: Service) -> None:
    long = service.new_alias().ljust(127, "X") + "0"
    taken = service.all_aliases(service.architecture())
    short = next(f"{letter}{digit}" for letter in "qxz" for digit in "0123456789" if f"{letter}{digit}" not in taken)
    name = service.upload(long, short)
    expect(sorted(service.aliases(name)) == sorted([long, short]), f"{service.aliases(name)}")


@rule("An alias that another version holds is refused with 409, 400 or 422, and nothing is made", UPLOAD, writes=True)
def alias_that_is_taken(service: Service) -> str:
    alias = service.new_alias()
    holder = service.upload(alias)
    before = len(service.versions(service.architecture()))
    answer = service.try_upload(alias)
    refused(answer, 409, 400, 422)
    expect(len(service.versions(service.architecture())) == before, "a version was made")
    expect(service.aliases(holder) == [alias], f"the holder has {service.aliases(holder)}")
    return str(answer.status)


@rule("Updating replaces the whole list of aliases", UPDATE, writes=True)
def whole_list(service: Service) -> None:
    one, two, three = (service.new_alias() for _ in range(3))
    name = service.upload(one, two)
    answer = service.set_aliases(name, two, three)
    expect(answer.status == 200, answer.seen)
    service.check("patch", VERSION, answer)
    expect(sorted(answer.body["version_aliases"]) == sorted([two, three]) == sorted(service.aliases(name)), answer.seen)
    expect(service.set_aliases(name).status == 200 and service.aliases(name) == [], f"{service.aliases(name)}")


@rule("An alias that another version holds must be removed there first", UPDATE, writes=True)
def removed_first(service: Service) -> str:
    alias = service.new_alias()
    one, two = service.upload(alias), service.upload()
    answer = service.set_aliases(two, alias)
    refused(answer, 409, 400, 422)
    expect(service.aliases(one) == [alias], f"the holder has {service.aliases(one)}")
    expect(service.set_aliases(one).status == 200, "it could not be removed")
    again = service.set_aliases(two, alias)
    expect(again.status == 200 and service.aliases(two) == [alias], again.seen)
    return str(answer.status)


@rule("A version may be updated by its alias, and keep it", UPDATE, writes=True)
def update_by_alias(service: Service) -> None:
    alias, more = service.new_alias(), service.new_alias()
    name = service.upload(alias)
    answer = service.set_aliases(f"{name.rpartition('/')[0]}/{alias}", alias, more)
    expect(answer.status == 200 and answer.body["name"] == name, answer.seen)
    expect(sorted(service.aliases(name)) == sorted([alias, more]), f"{service.aliases(name)}")


@rule("Two architectures may use the same alias", UPLOAD, writes=True)
def alias_in_two_architectures(service: Service) -> None:
    others = [arch for arch in service.architectures() if arch != service.architecture()]
    if not others:
        raise NotChecked("there is one architecture only")
    alias = service.new_alias()
    one, other = service.upload(alias), service.upload(alias, model_arch_id=others[0])
    expect(service.aliases(one) == service.aliases(other) == [alias], "one of them does not have it")


# Deleting


@rule("A version is deleted, with a 2xx and a body of either form, and then 404 to all", DELETE, writes=True)
def delete(service: Service) -> str:
    alias = service.new_alias()
    name = service.upload(alias)
    answer = service.ask("DELETE", f"/{name}")
    expect(200 <= answer.status < 300, answer.seen)
    if answer.body:
        service.check("delete", VERSION, answer)
    for method, path in (("GET", name), ("GET", f"{name.rpartition('/')[0]}/{alias}"), ("DELETE", name)):
        refused(service.ask(method, f"/{path}"), 404)
    expect(name not in {each["name"] for each in service.versions(service.architecture())}, "it is still listed")
    return ", ".join(answer.body) if isinstance(answer.body, dict) else "no body"


@rule("The number of a deleted version is not given again, and its alias is free", DELETE, writes=True)
def deleted_number(service: Service) -> None:
    alias = service.new_alias()
    name = service.upload(alias)
    service.ask("DELETE", f"/{name}")
    again = service.upload(alias)
    expect(number(again) > number(name), f"{number(name)} was deleted, then came {number(again)}")


@rule("A version may be deleted by its alias", DELETE, writes=True)
def delete_by_alias(service: Service) -> None:
    alias = service.new_alias()
    name = service.upload(alias)
    answer = service.ask("DELETE", f"/{name.rpartition('/')[0]}/{alias}")
    expect(200 <= answer.status < 300, answer.seen)
    refused(service.ask("GET", f"/{name}"), 404)


# Deploying


@rule("A deploy is answered at once with a UUID, the ids, and not_started", DEPLOY, writes=True)
def deploy(service: Service) -> str:
    endpoint_id, name = service.endpoint_id(), service.synced_version()
    answer = service.try_deploy(name)
    expect(answer.status == 200, answer.seen)
    service.check("post", f"{ENDPOINT}:deployModel", answer)
    said = answer.body["response"]
    expect(str(uuid.UUID(answer.body["name"])) == said["deployment_id"], answer.seen)
    expect((said["endpoint_id"], said["version_id"]) == (endpoint_id, number(name)), answer.seen)
    expect(not answer.body.get("done"), answer.seen)
    service.rolled_out(answer.body["name"])
    return str(said["rollout_status"])


@rule("The endpoint lists a deployment by its UUID, and it ends as complete", "retrieve-endpoint-status", writes=True)
def rollout(service: Service) -> None:
    service.endpoint_id()
    name = service.synced_version("second")
    deployment_id = service.deploy(name)
    state = service.rolled_out(deployment_id)
    found = service.deployment(deployment_id) or {}
    expect((state, found.get("model")) == ("complete", name), f"{found}")


@rule("Deploying by an alias deploys the version that has it then, and names it by its number", DEPLOY, writes=True)
def deploy_by_alias(service: Service) -> None:
    service.endpoint_id()
    name = service.synced_version()
    alias = service.aliases(name)[0]
    deployment_id = service.deploy(f"{name.rpartition('/')[0]}/{alias}")
    service.rolled_out(deployment_id)
    found = service.deployment(deployment_id) or {}
    expect(found.get("model") == name, f"{found}")


@rule("Each deploy is a deployment of its own, of the version that serves too", DEPLOY, writes=True)
def deploy_again(service: Service) -> None:
    service.endpoint_id()
    name = service.synced_version()
    ids = []
    for _ in range(2):
        ids.append(service.deploy(name))
        service.rolled_out(ids[-1])
    expect(ids[0] != ids[1], f"{ids}")


@rule("What serves is the newest complete deployment: its fingerprint ends in the suffix", UPLOAD, writes=True)
def what_serves(service: Service) -> str:
    service.endpoint_id()
    suffix = f"c{uuid.uuid4().hex[:8]}"
    name = service.upload(model={"system_fingerprint_suffix": suffix})
    service.wait(f"the sync of {name}", lambda: service.get(f"/{name}")["done"])
    service.rolled_out(service.deploy(name))
    fingerprint = str(service.chat(service.inference_key()).body.get("system_fingerprint"))
    expect(fingerprint.endswith(suffix), f"{fingerprint}, the suffix is {suffix}")
    return fingerprint.replace(suffix, "<suffix>").partition("_")[0] + "_…-<suffix>"


@rule("A version that is not there is not deployed: 400, 404 or 422", ASSUMED, writes=True)
def deploy_no_version(service: Service) -> str:
    service.endpoint_id()
    name = f"orgs/{service.target.org}/models/{service.architecture()}/versions/{NO_VERSION}"
    return refused(service.try_deploy(name), 400, 404, 422)


@rule("A version of another architecture is not deployed: 400, 409 or 422", DEPLOY, writes=True)
def deploy_other_architecture(service: Service) -> str:
    service.endpoint_id()
    others = [arch for arch in service.architectures() if arch != service.architecture()]
    if not others:
        raise NotChecked("there is one architecture only")
    name = service.upload(model_arch_id=others[0])
    service.wait(f"the sync of {name}", lambda: service.get(f"/{name}")["done"])
    return refused(service.try_deploy(name), 400, 409, 422)


@rule("A deploy during a rollout is queued, refused or takes its place", ASSUMED, writes=True)
def deploy_during_a_rollout(service: Service) -> str:
    service.endpoint_id()
    one, two = service.synced_version(), service.synced_version("second")
    first = service.deploy(one)
    answer = service.try_deploy(two)
    if answer.status != 200:
        refused(answer, 400, 409, 422)
        return f"refused with {answer.status}"
    second = answer.body["name"]
    ends = service.rolled_out(second), (service.deployment(first) or {}).get("state")
    expect(ends[0] == "complete", f"the second ended as {ends[0]}")
    return "queued" if ends[1] == "complete" else f"the first is {ends[1] or 'no longer listed'}"


@rule("A version that serves is not deleted: 400, 409 or 422", ASSUMED, writes=True)
def delete_what_serves(service: Service) -> str:
    service.endpoint_id()
    name = service.synced_version()
    service.rolled_out(service.deploy(name))
    return refused(service.ask("DELETE", f"/{name}"), 400, 409, 422)


@rule("The colon of :upload and :deployModel stands in the path as it is", OVERVIEW, writes=True)
def literal_colon(service: Service) -> None:
    # A body of no use, so that whatever is listening there refuses it, and nothing is made.
    answer = service.ask("POST", f"{service.org_path}/models:upload", {})
    expect(answer.status in {400, 422}, answer.seen)
