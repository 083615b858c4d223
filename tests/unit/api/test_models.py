"""Answers are read leniently: the API is in Private Preview and may gain fields and words at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from airflow_provider_cerebras.api import models, operations
from tests.openapi import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet
    from pydantic import BaseModel

    from airflow_provider_cerebras.api.operations import Call

_VERSION_PATH = "/management/v1/orgs/{org_name}/models/{model_arch_id}/versions/{version_id}"

# What we send, for each documented operation.
CALLS: dict[tuple[str, str], Call[Any]] = {
    ("get", "/management/v1/orgs/{org_name}/models"): operations.list_model_architectures("my-org"),
    ("post", "/management/v1/orgs/{org_name}/models:upload"): operations.upload_model_version(
        "my-org", "gpt-oss-120b", "s3://my-bucket/model-weights", ["production", "v1-stable"], "my-custom-suffix"
    ),
    ("get", _VERSION_PATH.removesuffix("/{version_id}")): operations.list_model_versions("my-org", "llama-3.3-70b"),
    ("get", _VERSION_PATH): operations.get_model_version("orgs/my-org/models/gpt-oss-120b/versions/1"),
    ("patch", _VERSION_PATH): operations.update_model_version_aliases(
        "orgs/my-org/models/llama-3.3-70b/versions/1", ["production", "v1-stable", "latest"]
    ),
    ("delete", _VERSION_PATH): operations.delete_model_version("orgs/my-org/models/llama-3.3-70b/versions/1"),
    ("get", "/management/v1/orgs/{org_name}/endpoints"): operations.list_endpoints("my-org"),
    ("get", "/management/v1/endpoints/{endpoint_id}"): operations.get_endpoint("my-org-llama-3.3-70b"),
    ("post", "/management/v1/endpoints/{endpoint_id}:deployModel"): operations.deploy_model(
        "my-org-gpt-oss-120b", "orgs/my-org/models/gpt-oss-120b/versions/1"
    ),
}


def documented_operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in REFERENCE["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method, path, operation


def documented_examples(part: str, *, but: str = "") -> list[ParameterSet]:
    """The examples of all requests or of all answers but for one method's, each with the call that it belongs to."""
    found = []
    for method, path, operation in documented_operations():
        if method == but:
            continue
        place = operation.get("requestBody") if part == "request" else operation["responses"]["200"]
        examples = place["content"]["application/json"]["examples"] if place else {}
        found += [
            pytest.param(CALLS[method, path], example["value"], id=f"{method} {path} {name}")
            for name, example in examples.items()
        ]
    return found


def test_all_documented_operations_and_no_others_are_ours() -> None:
    assert {(method, path) for method, path, _ in documented_operations()} == set(CALLS)


# The two documented answers to a deletion contradict each other, so neither is read.
@pytest.mark.parametrize(("call", "example"), documented_examples("answer", but="delete"))
def test_every_documented_answer_is_read_without_loss(call: Call[BaseModel], example: dict[str, Any]) -> None:
    assert call.response_model is not None
    assert call.response_model.model_validate(example).model_dump(exclude_unset=True) == example


@pytest.mark.parametrize(("call", "example"), documented_examples("request"))
def test_every_documented_request_is_what_we_send(call: Call[BaseModel], example: dict[str, Any]) -> None:
    assert call.body is not None
    assert call.body.model_dump(mode="json", exclude_none=True) == example


REQUIRED: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (models.ModelArchitectureList, {"model_architectures": []}),
    (models.ModelVersion, {"name": "n"}),
    (models.ModelVersionList, {"model_versions": []}),
    (models.ModelVersionAliasesInForce, {"name": "n", "version_aliases": []}),
    (models.EndpointList, {"endpoints": []}),
    (models.EndpointSummary, {}),
    (models.Endpoint, {"name": "n"}),
    (models.DeployedModel, {}),
    (models.Deployment, {"name": "n"}),
    (models.DeploymentDetails, {}),
    (models.ModelVersionDetails, {}),
    (models.ChatCompletion, {"choices": []}),
]
each_model = pytest.mark.parametrize(("model", "required"), REQUIRED, ids=[model.__name__ for model, _ in REQUIRED])


@each_model
def test_optional_fields_may_be_absent(model: type[BaseModel], required: dict[str, Any]) -> None:
    assert model.model_validate(required).model_fields_set == set(required)


@each_model
def test_optional_fields_may_be_null(model: type[BaseModel], required: dict[str, Any]) -> None:
    nulls = dict.fromkeys(set(model.model_fields) - set(required))
    absent = model.model_validate(required)
    assert model.model_validate({**nulls, **required}).model_dump() == absent.model_dump()


@each_model
def test_unknown_fields_are_kept(model: type[BaseModel], required: dict[str, Any]) -> None:
    answer = model.model_validate({**required, "progress_percent": 40, "nested": {"a": [1]}})
    assert answer.model_extra == {"progress_percent": 40, "nested": {"a": [1]}}


@pytest.mark.parametrize("value", [None, {}, "x", 7])
@pytest.mark.parametrize(
    ("model", "field"),
    [
        (models.ModelVersionList, "model_versions"),
        (models.ModelVersionRows, "model_versions"),
        (models.EndpointList, "endpoints"),
    ],
)
def test_a_list_that_cannot_be_read_is_not_empty(model: type[BaseModel], field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        model.model_validate({field: value})
    with pytest.raises(ValidationError, match=field):
        model.model_validate({})


@pytest.mark.parametrize("value", [{}, 7, ["x"], [None], True])
@pytest.mark.parametrize(
    ("model", "field"),
    [
        (model, field)
        for model in (
            models.ModelVersionDetails,
            models.EndpointSummary,
            models.DeployedModel,
            models.DeploymentDetails,
        )
        for field in model.model_fields
    ],
)
def test_a_field_of_another_type_is_unknown_and_the_others_count(
    model: type[BaseModel], field: str, value: object
) -> None:
    if (field in {"created", "updated", "version_id"} and value == 7) or (field, value) == ("version_aliases", ["x"]):
        return
    other = next(each for each in model.model_fields if each not in {field, "version_aliases"})
    known: object = 7 if other in {"created", "version_id"} else "known"
    answer: Any = model.model_validate({other: known, field: value})
    assert getattr(answer, field) is None
    assert getattr(answer, other) == known
    assert answer.is_unreadable(field)
    assert not answer.is_unreadable(other)


@pytest.mark.parametrize("field", ["created", "updated"])
@pytest.mark.parametrize("time", [1736700000.5, 1736700000.0, "1736700000", "2025-01-12T16:40:00Z"])
def test_a_time_of_another_form_is_unknown(field: str, time: object) -> None:
    endpoint = models.Endpoint.model_validate({"name": "e", "deployed_models": [], field: time})
    assert getattr(endpoint, field) is None
    assert endpoint.deployed_models == []


def test_details_that_are_no_object_are_all_unreadable() -> None:
    details = models.ModelVersion.model_validate({"name": "n", "response": ["x"]}).details
    assert all(details.is_unreadable(field) for field in type(details).model_fields)
    absent = models.ModelVersion.model_validate({"name": "n"}).details
    assert not any(absent.is_unreadable(field) for field in type(details).model_fields)


def test_entries_that_do_not_say_which_version_they_are_of_are_left_out() -> None:
    rows = [None, 7, {}, {"name": None}, {"name": "a\nb"}, {"name": "n", "done": "yes"}]
    listed = models.ModelVersionList.model_validate({"model_versions": rows})
    assert [version.name for version in listed.model_versions] == ["n"]
    assert listed.model_versions[0].done is False


@pytest.mark.parametrize("word", ["warming_up", "", "QUEUED", "état"])
def test_status_words_that_nobody_has_seen_are_kept_as_they_are(word: str) -> None:
    version = models.ModelVersion.model_validate({"name": "n", "done": False, "response": {"sync_status": word}})
    endpoint = models.Endpoint.model_validate({"name": "n", "deployed_models": [{"id": "d", "state": word}]})
    deployment = models.Deployment.model_validate({"name": "n", "response": {"rollout_status": word}})
    assert version.details.sync_status == word
    assert endpoint.deployed_models
    assert endpoint.deployed_models[0].state == word
    assert deployment.response is not None
    assert deployment.response.rollout_status == word


def test_a_version_that_does_not_say_that_it_is_done_is_not() -> None:
    assert models.ModelVersion.model_validate({"name": "n"}).done is False
    assert models.ModelVersion.model_validate({"name": "n", "done": None}).done is False


@pytest.mark.parametrize("error", [{"message": "access denied"}, "access denied", ["access denied"], 7])
def test_an_error_field_of_any_shape_is_read(error: object) -> None:
    assert models.ModelVersion.model_validate({"name": "n", "error": error}).error == error


@pytest.mark.parametrize("body", [{}, {"name": None}, [], "text", None])
def test_an_answer_without_a_name_is_of_no_use(body: object) -> None:
    for model in (models.ModelVersion, models.Deployment, models.Endpoint):
        with pytest.raises(ValidationError):
            model.model_validate(body)
