"""What a response proves, and that nothing is concluded from what it leaves open."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cerebras.api.errors import UnexpectedResponse
from airflow_provider_cerebras.api.evidence import (
    held_aliases,
    listed_endpoint_ids,
    numbered_name,
    use_of,
)
from airflow_provider_cerebras.api.models import Endpoint, EndpointList, ModelVersion


def name(number: int | str) -> str:
    return f"orgs/my-org/models/gpt-oss-120b/versions/{number}"


def endpoint(*entries: tuple[str, int, int, str]) -> Endpoint:
    """Deployments as id, version, second and state."""
    deployed = [
        {"id": each, "model": name(number), "created": created, "state": state}
        for each, number, created, state in entries
    ]
    return Endpoint.model_validate({"name": "e1", "deployed_models": deployed})


def in_use(listed: Endpoint) -> dict[str, str]:
    return use_of(listed).in_use


def before(listed: Endpoint) -> dict[str, str]:
    return use_of(listed).served_before


class TestInUse:
    def test_nothing_is_deployed(self) -> None:
        assert in_use(endpoint()) == {}

    def test_the_newest_complete_serves_and_older_ones_do_not(self) -> None:
        assert in_use(endpoint(("b", 2, 20, "complete"), ("a", 1, 10, "complete"))) == {
            name(2): "serves on endpoint e1"
        }

    def test_what_is_under_way_rolls_out_whatever_it_is_called(self) -> None:
        assert in_use(endpoint(("a", 1, 10, "complete"), ("b", 2, 20, "warming_up"))) == {
            name(1): "serves on endpoint e1",
            name(2): "rolls out on endpoint e1",
        }

    def test_what_failed_is_not_in_use(self) -> None:
        assert in_use(endpoint(("a", 1, 10, "failed"))) == {}

    def test_of_two_completed_in_the_same_second_both_may_serve(self) -> None:
        assert set(in_use(endpoint(("a", 1, 10, "complete"), ("b", 2, 10, "complete")))) == {name(1), name(2)}

    def test_an_entry_without_an_id_counts(self) -> None:
        deployed = [{"model": name(1), "created": 10, "state": "in_progress"}]
        assert set(in_use(Endpoint.model_validate({"name": "e1", "deployed_models": deployed}))) == {name(1)}


class TestServedBefore:
    @pytest.mark.parametrize(
        ("entries", "expected"),
        [
            ([], []),
            ([("a", 1, 10, "complete")], []),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete"), ("c", 3, 30, "complete")], [2]),
            ([("c", 3, 30, "complete"), ("b", 2, 20, "failed"), ("a", 1, 10, "complete")], [1]),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete"), ("c", 3, 30, "in_progress")], [1]),
            ([("a", 1, 10, "complete"), ("b", 2, 20, "complete"), ("c", 2, 30, "complete")], [1]),
            ([("a", 1, 10, "complete"), ("b", 2, 10, "complete"), ("c", 3, 30, "complete")], [1, 2]),
            ([("a", 1, 10, "complete"), ("b", 2, 30, "complete"), ("c", 3, 30, "complete")], [1]),
        ],
    )
    def test_what_a_rollback_would_go_back_to(
        self, entries: list[tuple[str, int, int, str]], expected: list[int]
    ) -> None:
        assert before(endpoint(*entries)) == dict.fromkeys(map(name, expected), "served on endpoint e1 before")


SERVING = {"id": "a", "model": name(1), "created": 10, "state": "complete"}


class TestUnknown:
    @pytest.mark.parametrize("field", ["model", "created", "state"])
    @pytest.mark.parametrize("value", ["absent", None, [], {}, "", True, 1.5])
    def test_a_deployment_that_leaves_open_what_it_serves(self, field: str, value: object) -> None:
        entry: dict[str, Any] = {**SERVING, field: value}
        if value == "absent":
            del entry[field]
        listed = Endpoint.model_validate({"name": "e1", "deployed_models": [SERVING, entry]})
        with pytest.raises(UnexpectedResponse, match=rf"deployed_models\[1\]\.{field} of endpoint e1"):
            use_of(listed)

    @pytest.mark.parametrize("model", [name("production"), "gpt-oss-120b", "1", name("01"), f" {name(1)}"])
    def test_a_deployment_of_a_version_that_is_not_named_by_number(self, model: str) -> None:
        listed = Endpoint.model_validate({"name": "e1", "deployed_models": [{**SERVING, "model": model}]})
        with pytest.raises(UnexpectedResponse, match=r"deployed_models\[0\]\.model"):
            use_of(listed)

    @pytest.mark.parametrize("body", [{}, {"deployed_models": None}, {"deployed_models": {}}, {"deployed_models": "a"}])
    def test_an_endpoint_without_a_list_of_deployments(self, body: dict[str, Any]) -> None:
        with pytest.raises(UnexpectedResponse, match="Field deployed_models of endpoint e1"):
            use_of(Endpoint.model_validate({"name": "e1", **body}))

    @pytest.mark.parametrize(
        "more",
        [{"next_page_token": "abc"}, {"nextCursor": "abc"}, {"has_more": True}, {"truncated": True}, {"next": "/2"}],
    )
    def test_a_list_that_says_that_it_goes_on(self, more: dict[str, Any]) -> None:
        """Nothing is known of what is not in it."""
        with pytest.raises(UnexpectedResponse, match="goes on"):
            use_of(Endpoint.model_validate({"name": "e1", "deployed_models": [SERVING], **more}))
        with pytest.raises(UnexpectedResponse, match="goes on"):
            listed_endpoint_ids(EndpointList.model_validate({"endpoints": [{"endpoint_id": "e1"}], **more}), "my-org")

    @pytest.mark.parametrize("more", [{"next_page_token": ""}, {"next": None}, {"has_more": False}, {"total": 1}])
    def test_a_list_that_says_that_it_is_whole(self, more: dict[str, Any]) -> None:
        use_of(Endpoint.model_validate({"name": "e1", "deployed_models": [SERVING], **more}))
        listed = EndpointList.model_validate({"endpoints": [{"endpoint_id": "e1"}], **more})
        assert listed_endpoint_ids(listed, "my-org") == ("e1",)

    @pytest.mark.parametrize("entry", [None, 7, "a", []])
    def test_a_deployment_that_is_no_object(self, entry: object) -> None:
        with pytest.raises(UnexpectedResponse, match=r"deployed_models\[0\]\.model"):
            use_of(Endpoint.model_validate({"name": "e1", "deployed_models": [entry, SERVING]}))

    @pytest.mark.parametrize("row", [None, 7, {}, {"endpoint_id": None}, {"endpoint_id": 7}, {"endpoint_id": ""}])
    def test_a_list_of_endpoints_that_does_not_name_each(self, row: object) -> None:
        listed = EndpointList.model_validate({"endpoints": [{"endpoint_id": "e1"}, row]})
        with pytest.raises(UnexpectedResponse, match=r"endpoints\[1\]\.endpoint_id in the list of endpoints of my-org"):
            listed_endpoint_ids(listed, "my-org")

    @pytest.mark.parametrize(
        "response",
        [
            None,
            {},
            "x",
            {"version_aliases": None},
            {"version_aliases": "prod"},
            {"version_aliases": [1]},
            {"version_aliases": ["prod", None]},
            {"version_aliases": {}},
        ],
    )
    def test_a_version_that_does_not_say_which_aliases_it_has(self, response: object) -> None:
        version = ModelVersion.model_validate({"name": name(1), "done": True, "response": response})
        with pytest.raises(UnexpectedResponse, match=r"response\.version_aliases of model version .*/1 is absent"):
            held_aliases(version)

    def test_a_version_without_aliases_is_known_to_have_none(self) -> None:
        version = ModelVersion.model_validate({"name": name(1), "response": {"version_aliases": []}})
        assert held_aliases(version) == ()

    @pytest.mark.parametrize("text", [name("prod"), "1", "models/gpt-oss-120b/versions/1"])
    def test_a_version_that_is_not_named_by_number(self, text: str) -> None:
        with pytest.raises(UnexpectedResponse, match="Field name"):
            numbered_name(ModelVersion.model_validate({"name": text}))
