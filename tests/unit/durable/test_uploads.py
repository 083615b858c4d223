"""An upload ends with one version, whatever becomes of its requests and whatever others do meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api.errors import (
    BadRequest,
    CerebrasAPIError,
    Conflict,
    Forbidden,
    OutcomeUnknown,
    ServerError,
    UnexpectedResponse,
)
from airflow_provider_cerebras.durable.alias_lists import READ_LAG
from airflow_provider_cerebras.durable.uploads import MAX_DOUBTS, MAX_REFUSALS
from airflow_provider_cerebras.emulator.api.operations import OperationName
from airflow_provider_cerebras.exceptions import AliasesUnsettled, AliasInUse, IdentityInUse
from tests.unit.durable.world import (
    CLEARED,
    FIRST,
    RETRY,
    STRANGER,
    URI,
    Attempt,
    Mishap,
    Service,
    Store,
    broken,
    name,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

UPLOAD = OperationName.UPLOAD_MODEL_VERSION
LOOK = OperationName.GET_MODEL_VERSION
SET_ALIASES = OperationName.UPDATE_MODEL_VERSION_ALIASES

IN_DOUBT = ["dropped", "reset", "timeout", "500", "502", "503", "408", "garbage", "other"]
CLASH_STATUSES = [409, 400, 422]


def test_without_trouble_it_takes_one_look_and_one_upload(service: Service) -> None:
    attempt = Attempt(service)
    assert attempt.upload(request(FIRST, "latest", system_fingerprint_suffix="run-1")) == name(1)
    assert attempt.network.sent == [
        ("get_model_version", FIRST.alias, None),
        ("get_model_version", "latest", None),
        (
            "upload_model_version",
            "models:upload",
            {
                "model_arch_id": "gpt-oss-120b",
                "model": {
                    "weight_uri": URI,
                    "version_aliases": [FIRST.alias, "latest"],
                    "system_fingerprint_suffix": "run-1",
                },
            },
        ),
    ]
    assert f"Uploaded {URI} as model version {name(1)}" in attempt.journal.text


def test_a_retry_adopts_and_says_what_it_found_and_why(service: Service) -> None:
    Attempt(service).upload(request(FIRST, "latest"))
    retry = Attempt(service)
    assert retry.upload(request(RETRY, "latest")) == name(1)
    assert retry.network.count("upload_model_version") == retry.network.count("update_model_version_aliases") == 0
    for words in (name(1), FIRST.alias, "queued", "An earlier attempt made it", "nothing was uploaded again"):
        assert words in retry.journal.text


def test_not_durable_uploads_once_more_each_time_and_carries_no_identity(service: Service) -> None:
    attempt = Attempt(service)
    assert [attempt.upload(request(None)), attempt.upload(request(None))] == [name(1), name(2)]
    assert service.aliases() == {1: [], 2: []}
    assert {operation for operation, _, _ in attempt.network.sent} == {"upload_model_version"}


@pytest.mark.parametrize("worked", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", IN_DOUBT)
def test_an_upload_in_doubt_makes_one_version(kind: str, worked: bool, service: Service) -> None:
    attempt = Attempt(service, [Mishap(UPLOAD, broken(kind), worked=worked)])
    assert attempt.upload(request(FIRST, "latest")) == name(1)
    assert service.aliases() == {1: [FIRST.alias, "latest"]}
    assert attempt.network.count("upload_model_version") == (1 if worked else 2)
    assert attempt.pauses == [1]


def test_an_upload_that_is_acted_on_after_all_is_not_a_second_one(service: Service) -> None:
    """The first request is given up as timed out, and reaches the service between the look and the second one."""
    late = lambda: service.upload(URI, FIRST.alias)  # noqa: E731
    mishaps = [Mishap(UPLOAD, broken("timeout"), worked=False), Mishap(UPLOAD, meanwhile=late)]
    attempt = Attempt(service, mishaps)
    assert attempt.upload(request(FIRST)) == name(1)
    assert attempt.network.count("upload_model_version") == 2
    assert list(service.aliases()) == [1]


def test_doubt_is_bounded_and_a_retry_goes_on_from_there(service: Service) -> None:
    attempt = Attempt(service, [Mishap(UPLOAD, broken("503"), worked=False, times=99)])
    with pytest.raises(OutcomeUnknown):
        attempt.upload(request(FIRST))
    assert attempt.network.count("upload_model_version") == MAX_DOUBTS + 1
    assert attempt.pauses == [1, 2, 4, 8, 16]
    assert service.aliases() == {}
    assert Attempt(service).upload(request(RETRY)) == name(1)


def test_a_pause_that_the_service_asks_for_is_made_before_the_next_upload(service: Service) -> None:
    later = httpx.Response(503, headers={"retry-after": "60"})
    attempt = Attempt(service, [Mishap(UPLOAD, later, worked=False)])
    assert attempt.upload(request(FIRST)) == name(1)
    assert attempt.pauses == [60]


def test_an_error_with_the_status_of_a_success_is_looked_for_and_sent_again_once(service: Service) -> None:
    said = httpx.Response(200, json={"error": {"message": "Quota is exceeded."}})
    attempt = Attempt(service, [Mishap(UPLOAD, said, worked=False, times=99)])
    with pytest.raises(OutcomeUnknown, match="Quota is exceeded"):
        attempt.upload(request(FIRST))
    assert attempt.network.count("upload_model_version") == 2
    assert attempt.network.count("get_model_version") == 2


def test_not_durable_never_adopts_what_it_does_not_know_to_be_its_own(service: Service) -> None:
    attempt = Attempt(service, [Mishap(UPLOAD, broken("dropped"))])
    with pytest.raises(OutcomeUnknown):
        attempt.upload(request(None))
    assert attempt.network.count("upload_model_version") == 1
    assert Attempt(service).upload(request(None)) == name(2)


def test_an_attempt_that_cannot_look_makes_nothing(service: Service) -> None:
    attempt = Attempt(service, [Mishap(LOOK, broken("503"), worked=False, times=99)])
    with pytest.raises(ServerError):
        attempt.upload(request(FIRST))
    assert attempt.network.count("upload_model_version") == 0


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (422, BadRequest), (403, Forbidden), (404, CerebrasAPIError)]
)
def test_a_refusal_that_has_nothing_to_do_with_aliases_is_raised_at_once(
    status: int, kind: type[CerebrasAPIError], service: Service
) -> None:
    refusal = httpx.Response(status, json={"detail": "no such bucket"})
    attempt = Attempt(service, [Mishap(UPLOAD, refusal, worked=False, times=99)])
    with pytest.raises(kind, match="no such bucket"):
        attempt.upload(request(FIRST, "latest"))
    assert attempt.network.count("upload_model_version") == 1
    assert attempt.pauses == []


@pytest.mark.parametrize("identity", [FIRST, None], ids=["durable", "not durable"])
def test_a_conflict_that_no_look_explains_is_raised_in_the_end(identity: Any, service: Service) -> None:
    refusal = httpx.Response(409, json={"detail": "come back later"})
    attempt = Attempt(service, [Mishap(UPLOAD, refusal, worked=False, times=99)])
    with pytest.raises(Conflict, match="come back later"):
        attempt.upload(request(identity, "latest"))
    assert attempt.network.count("upload_model_version") == MAX_REFUSALS + 1


def test_a_conflict_cannot_be_about_an_alias_where_there_is_none(service: Service) -> None:
    attempt = Attempt(service, [Mishap(UPLOAD, httpx.Response(409), worked=False, times=99)])
    with pytest.raises(Conflict):
        attempt.upload(request(None))
    assert attempt.network.count("upload_model_version") == 1


# The service lags: what was made is not shown for a while, and to make it again is refused.


@pytest.mark.parametrize("status", CLASH_STATUSES)
@pytest.mark.parametrize("lag", [1, 29, 30])
def test_a_read_lag_after_an_unknown_outcome_ends_in_adoption(
    lag: float, status: int, new_service: Callable[..., Service]
) -> None:
    service = new_service(alias_clash_status=status)
    service.read_lag = lag
    attempt = Attempt(service, [Mishap(UPLOAD, broken("dropped"))])
    assert attempt.upload(request(FIRST, "latest")) == name(1)
    assert service.aliases() == {1: [FIRST.alias, "latest"]}


@pytest.mark.parametrize("status", CLASH_STATUSES)
@pytest.mark.parametrize("lag", [1, 29, 30])
def test_a_read_lag_after_a_crash_ends_in_adoption(
    lag: float, status: int, new_service: Callable[..., Service]
) -> None:
    service = new_service(alias_clash_status=status)
    service.read_lag = lag
    with pytest.raises(KeyboardInterrupt):
        Attempt(service, [Mishap(UPLOAD, KeyboardInterrupt())]).upload(request(FIRST, "latest"))
    assert Attempt(service).upload(request(RETRY, "latest")) == name(1)
    assert service.aliases() == {1: [FIRST.alias, "latest"]}


# What carries our alias is adopted only if it is what this task uploads.


def plant(service: Service, **changes: Any) -> None:
    """Give another version the identity alias, as any client can that knows the ids."""
    model = {"weight_uri": URI, "version_aliases": [FIRST.alias], **changes}
    service.api("POST", "/orgs/my-org/models:upload", {"model_arch_id": "gpt-oss-120b", "model": model})


@pytest.mark.parametrize("failed", [False, True], ids=["alive", "failed"])
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"weight_uri": "s3://elsewhere/other"}, "s3://elsewhere/other"),
        ({"system_fingerprint_suffix": "other"}, "other"),
        ({"system_fingerprint_suffix": ""}, "run-1"),
    ],
    ids=["weights", "suffix", "no suffix"],
)
def test_a_planted_version_is_neither_adopted_nor_touched(
    changes: dict[str, Any], found: str, failed: bool, service: Service
) -> None:
    if failed:
        service.api_control("/faults", {"operation": "upload_model_version", "fail_sync": "broken"})
    plant(service, **{"system_fingerprint_suffix": "run-1", **changes})
    service.now += 1000
    attempt = Attempt(service)
    with pytest.raises((IdentityInUse, UnexpectedResponse)) as caught:
        attempt.upload(request(FIRST, "latest", system_fingerprint_suffix="run-1"))
    for words in (name(1), FIRST.alias, found, URI):
        assert words in str(caught.value)
    assert {operation for operation, _, _ in attempt.network.sent} == {"get_model_version"}


def test_a_clear_uploads_although_the_alias_of_the_run_before_it_was_planted(service: Service) -> None:
    plant(service, weight_uri="s3://elsewhere/other")
    with pytest.raises(IdentityInUse):
        Attempt(service).upload(request(FIRST))
    assert Attempt(service).upload(request(CLEARED)) == name(2)
    assert service.aliases()[1] == [FIRST.alias]


def test_a_final_slash_makes_no_other_weights(service: Service) -> None:
    plant(service, weight_uri=f"{URI}/")
    assert Attempt(service).upload(request(FIRST)) == name(1)


FIELDS = ["customer_s3_uri", "version_aliases", "system_fingerprint_suffix"]


def altered(service: Service, field: str, value: Any) -> httpx.Response:
    """What the service answers about version 1, with another value in one field; ``...``: without it."""
    answer = service.api("GET", f"/{name(1)}")
    if value is ...:
        del answer["response"][field]
    else:
        answer["response"][field] = value
    return httpx.Response(200, json=answer)


@pytest.mark.parametrize("value", [..., None], ids=["absent", "null"])
@pytest.mark.parametrize("field", FIELDS)
def test_what_the_service_leaves_out_is_unknown_and_nothing_is_sent(field: str, value: Any, service: Service) -> None:
    Attempt(service).upload(request(FIRST, "latest", system_fingerprint_suffix="run-1"))
    service.set_aliases(name(1), FIRST.alias, "golden")
    answer = altered(service, field, value)
    retry = Attempt(service, [Mishap(LOOK, answer, times=99)])
    with pytest.raises(UnexpectedResponse, match=field):
        retry.upload(request(RETRY, "latest", system_fingerprint_suffix="run-1"))
    assert {operation for operation, _, _ in retry.network.sent} == {"get_model_version"}


@pytest.mark.parametrize(
    "answered", [name(7), name(1).replace("my-org", "other-org"), name(1).replace("gpt-oss-120b", "llama3.1-8b")]
)
def test_an_answer_about_another_version_is_not_adopted(answered: str, service: Service) -> None:
    Attempt(service).upload(request(FIRST))
    answer = service.api("GET", f"/{name(1)}")
    answer |= {"name": answered}
    answer["response"] |= {"version_aliases": [STRANGER.alias]}
    retry = Attempt(service, [Mishap(LOOK, httpx.Response(200, json=answer), times=99)])
    with pytest.raises((IdentityInUse, UnexpectedResponse), match=answered):
        retry.upload(request(RETRY))
    assert {operation for operation, _, _ in retry.network.sent} == {"get_model_version"}


def test_an_unknown_list_of_aliases_is_not_written_back(service: Service) -> None:
    """The holder of an alias that is to move may hold more than the service says."""
    service.upload("s3://weights/other", "latest", "golden")
    Attempt(service).upload(request(FIRST))
    holder = service.api("GET", f"/{name(1)}")
    del holder["response"]["version_aliases"]
    attempt = Attempt(service, [Mishap(LOOK, httpx.Response(200, json=holder), skip=1, times=2)])
    with pytest.raises(UnexpectedResponse, match=r"version_aliases of model version .*/versions/1 is absent"):
        attempt.upload(request(RETRY, "latest", move_aliases=True))
    assert attempt.network.count("update_model_version_aliases") == 0
    assert service.aliases() == {1: ["latest", "golden"], 2: [FIRST.alias]}


def test_a_change_of_aliases_that_does_not_show_is_repeated_with_pauses_and_ends(service: Service) -> None:
    Attempt(service).upload(request(FIRST))
    done = httpx.Response(200, json={"name": name(1), "version_aliases": [FIRST.alias, "latest"]})
    attempt = Attempt(service, [Mishap(SET_ALIASES, done, worked=False, times=99)])
    with pytest.raises(AliasesUnsettled, match="add latest"):
        attempt.upload(request(RETRY, "latest"))
    assert attempt.network.count("update_model_version_aliases") <= 3
    assert sum(attempt.pauses) > READ_LAG
    assert service.aliases() == {1: [FIRST.alias]}


# A run that was deleted and made again has the identities of the one before.


@pytest.mark.parametrize("lag", [None, *range(3, 9)])
def test_what_a_deleted_run_has_made_is_left_and_hands_its_aliases_over(lag: int | None, service: Service) -> None:
    service.upload(URI, FIRST.alias, FIRST.claim, "latest", "golden")
    before = service.api("GET", f"/{name(1)}")
    # Any read that follows the change may still show what was there before.
    stale = [] if lag is None else [Mishap(LOOK, httpx.Response(200, json=before), skip=lag)]
    attempt = Attempt(service, stale)
    assert attempt.upload(request(FIRST, "latest", claims=True, begins=True)) == name(2)
    assert service.aliases() == {1: ["golden", FIRST.retired], 2: [FIRST.alias, FIRST.claim, "latest"]}
    assert "a DAG run of the same id made it" in attempt.journal.text
    assert Attempt(service).upload(request(RETRY, "latest", claims=True)) == name(2)


def test_a_first_attempt_that_comes_late_adopts_what_a_retry_has_claimed(service: Service) -> None:
    Attempt(service).upload(request(RETRY, "latest", claims=True))
    assert Attempt(service).upload(request(FIRST, "latest", begins=True)) == name(1)


def test_a_version_that_a_clear_has_retired_is_not_adopted_by_a_note(service: Service) -> None:
    store = Store()
    Attempt(service, store=store).upload(request(FIRST, "latest"))
    service.set_aliases(name(1), FIRST.retired, "latest")
    assert Attempt(service, store=store).upload(request(RETRY, "latest")) == name(2)
    assert service.aliases() == {1: [FIRST.retired], 2: [FIRST.alias, "latest"]}


# Another client was faster.


@pytest.mark.parametrize("status", CLASH_STATUSES)
def test_if_another_attempt_was_faster_its_version_is_adopted(status: int, new_service: Callable[..., Service]) -> None:
    service = new_service(alias_clash_status=status)
    faster = lambda: Attempt(service).upload(request(FIRST, "latest"))  # noqa: E731
    attempt = Attempt(service, [Mishap(UPLOAD, meanwhile=faster)])
    assert attempt.upload(request(RETRY, "latest")) == name(1)
    assert service.aliases() == {1: [FIRST.alias, "latest"]}
    assert f"Adopted model version {name(1)}" in attempt.journal.text


@pytest.mark.parametrize("status", CLASH_STATUSES)
def test_an_alias_lost_before_the_upload_ends_as_if_it_had_been_held_from_the_start(
    status: int, new_service: Callable[..., Service]
) -> None:
    service = new_service(alias_clash_status=status)
    attempt = Attempt(service, [Mishap(UPLOAD, meanwhile=lambda: service.upload("s3://weights/other", "latest"))])
    with pytest.raises(AliasInUse, match=r"'latest' is held by .*/versions/1,.* Nothing was uploaded"):
        attempt.upload(request(FIRST, "latest"))
    assert service.aliases() == {1: ["latest"]}


@pytest.mark.parametrize("status", CLASH_STATUSES)
def test_an_alias_lost_before_the_upload_is_moved_if_that_is_wanted(
    status: int, new_service: Callable[..., Service]
) -> None:
    service = new_service(alias_clash_status=status)
    attempt = Attempt(service, [Mishap(UPLOAD, meanwhile=lambda: service.upload("s3://weights/other", "latest"))])
    assert attempt.upload(request(FIRST, "latest", move_aliases=True)) == name(2)
    assert service.aliases() == {1: [], 2: [FIRST.alias, "latest"]}


@pytest.mark.parametrize("status", CLASH_STATUSES)
def test_an_alias_lost_after_the_upload_was_adopted_is_refused_with_the_version_named(
    status: int, new_service: Callable[..., Service]
) -> None:
    service = new_service(alias_clash_status=status)
    Attempt(service).upload(request(FIRST))
    attempt = Attempt(service, [Mishap(SET_ALIASES, meanwhile=lambda: service.upload("s3://weights/other", "latest"))])
    with pytest.raises(AliasInUse, match=r"'latest' is held by .*/versions/2,.*/versions/1 was made without it"):
        attempt.upload(request(RETRY, "latest"))
    assert service.aliases() == {1: [FIRST.alias], 2: ["latest"]}


@pytest.mark.parametrize("status", CLASH_STATUSES)
def test_aliases_that_never_stay_are_given_up(status: int, new_service: Callable[..., Service]) -> None:
    service = new_service(alias_clash_status=status)
    refusal = httpx.Response(status, json={"detail": "Alias latest is in use"})
    Attempt(service).upload(request(FIRST))
    attempt = Attempt(service, [Mishap(SET_ALIASES, refusal, worked=False, times=99)])
    with pytest.raises((Conflict, BadRequest), match="Alias latest is in use"):
        attempt.upload(request(RETRY, "latest"))
    assert attempt.network.count("update_model_version_aliases") == MAX_DOUBTS + 1


def test_two_tasks_that_take_an_alias_from_each_other_without_end_are_told_so(service: Service) -> None:
    """Each time that it is moved here, another client has moved it back by the next look."""
    other = service.upload("s3://weights/other", "latest")

    def take_back() -> None:
        holder = next((number for number, aliases in service.aliases().items() if "latest" in aliases), None)
        if holder is not None and name(holder) != other:
            service.set_aliases(name(holder), FIRST.alias)
            service.set_aliases(other, "latest")

    attempt = Attempt(service, [Mishap(LOOK, meanwhile=take_back, skip=2, times=10**6)])
    with pytest.raises(Conflict, match="Alias latest is in use by model version"):
        attempt.upload(request(FIRST, "latest", move_aliases=True))
    assert list(service.aliases()) == [1, 2]
    assert attempt.network.count("update_model_version_aliases") < 30
    assert min(attempt.pauses) > 0


# The aliases that the user wants.


def test_a_weekly_upload_moves_its_alias_every_week(service: Service) -> None:
    """Each week is another DAG run, and so a task run of its own."""
    for week in range(1, 4):
        identity = STRANGER if week == 1 else type(FIRST)(base=f"{week}" * 40, generation=0, attempt=1)
        wanted = request(identity, "latest", weight_uri=f"s3://weights/week-{week}", move_aliases=True)
        assert Attempt(service).upload(wanted) == name(week)
        assert [number for number, aliases in service.aliases().items() if "latest" in aliases] == [week]


def test_without_moving_the_second_week_is_told_what_to_do(service: Service) -> None:
    Attempt(service).upload(request(STRANGER, "latest"))
    attempt = Attempt(service)
    with pytest.raises(AliasInUse) as caught:
        attempt.upload(request(FIRST, "latest"))
    message = str(caught.value)
    for words in (
        "'latest'",
        name(1),
        "Nothing was uploaded",
        "move_aliases=True",
        "CerebrasPromoteModelVersionOperator",
    ):
        assert words in message
    assert attempt.network.count("upload_model_version") == 0


def test_a_cleared_task_uploads_anew_and_takes_its_aliases_over(service: Service) -> None:
    Attempt(service).upload(request(FIRST, "latest"))
    service.set_aliases(name(1), FIRST.alias, "latest", "golden")
    assert Attempt(service).upload(request(CLEARED, "latest")) == name(2)
    assert service.aliases() == {1: [FIRST.alias, "golden"], 2: [CLEARED.alias, "latest"]}


def test_a_late_attempt_of_before_the_clear_leaves_the_aliases_to_the_newer_one(service: Service) -> None:
    Attempt(service).upload(request(CLEARED, "latest"))
    assert Attempt(service).upload(request(FIRST, "latest", move_aliases=True)) == name(2)
    assert service.aliases() == {1: [CLEARED.alias, "latest"], 2: [FIRST.alias]}


def test_a_retry_gives_the_version_the_aliases_that_it_lacks(service: Service) -> None:
    Attempt(service).upload(request(FIRST))
    service.set_aliases(name(1), FIRST.alias, "golden")
    assert Attempt(service).upload(request(RETRY, "latest", claims=True)) == name(1)
    assert service.aliases() == {1: [FIRST.alias, "golden", RETRY.claim, "latest"]}


@pytest.mark.parametrize("step", [0, 1], ids=["before it is taken", "between taking and giving"])
def test_a_crash_while_an_alias_moves_is_mended_by_the_retry(step: int, service: Service) -> None:
    service.upload("s3://weights/other", "latest")
    crashed = Attempt(service, [Mishap(SET_ALIASES, KeyboardInterrupt(), worked=False, skip=step)])
    wanted = {"move_aliases": True}
    with pytest.raises(KeyboardInterrupt):
        crashed.upload(request(FIRST, "latest", **wanted))
    assert service.aliases() == {1: [] if step else ["latest"], 2: [FIRST.alias]}
    assert Attempt(service).upload(request(RETRY, "latest", **wanted)) == name(2)
    assert service.aliases() == {1: [], 2: [FIRST.alias, "latest"]}


def test_a_moved_alias_is_put_back_if_it_cannot_be_given(service: Service) -> None:
    service.upload("s3://weights/other", "golden", "latest")
    refusal = httpx.Response(403, json={"detail": "not today"})
    attempt = Attempt(service, [Mishap(SET_ALIASES, refusal, worked=False, skip=1)])
    with pytest.raises(Forbidden, match="not today"):
        attempt.upload(request(FIRST, "latest", move_aliases=True))
    assert service.aliases() == {1: ["golden", "latest"], 2: [FIRST.alias]}


def test_an_alias_that_cannot_be_put_back_either_is_said(service: Service) -> None:
    service.upload("s3://weights/other", "latest")
    refusal = httpx.Response(403, json={"detail": "not today"})
    attempt = Attempt(service, [Mishap(SET_ALIASES, refusal, worked=False, skip=1, times=2)])
    with pytest.raises(Forbidden, match="not today") as caught:
        attempt.upload(request(FIRST, "latest", move_aliases=True))
    (note,) = caught.value.__notes__
    assert note.startswith(f"Alias 'latest' could not be put back to {name(1)} either: ")
    assert "not today" in note


def test_another_client_who_takes_an_alias_while_it_moves_loses_it_in_the_next_round(service: Service) -> None:
    service.upload("s3://weights/other", "latest")
    thief = Mishap(SET_ALIASES, meanwhile=lambda: service.upload("s3://weights/thief", "latest"), skip=1)
    attempt = Attempt(service, [thief])
    assert attempt.upload(request(FIRST, "latest", move_aliases=True)) == name(2)
    assert service.aliases() == {1: [], 2: [FIRST.alias, "latest"], 3: []}


def test_a_holder_that_is_deleted_meanwhile_has_given_its_alias_up(service: Service) -> None:
    service.upload("s3://weights/other", "latest")
    attempt = Attempt(service, [Mishap(SET_ALIASES, meanwhile=lambda: service.delete(name(1)))])
    assert attempt.upload(request(FIRST, "latest", move_aliases=True)) == name(2)
    assert service.aliases() == {2: [FIRST.alias, "latest"]}


# Failed and deleted versions.


def test_a_failed_version_gives_its_aliases_up_and_is_replaced(service: Service) -> None:
    service.upload(URI, FIRST.alias, FIRST.claim, "latest", "golden", fail=True)
    attempt = Attempt(service)
    assert attempt.upload(request(RETRY, "latest", claims=True)) == name(2)
    assert service.aliases() == {1: ["golden"], 2: [FIRST.alias, RETRY.claim, "latest"]}
    assert "failed to sync and makes room" in attempt.journal.text


def test_a_deleted_version_is_replaced(service: Service) -> None:
    store = Store()
    Attempt(service, store=store).upload(request(FIRST, "latest"))
    service.delete(name(1))
    assert Attempt(service, store=store).upload(request(RETRY, "latest")) == name(2)
    assert store.content["cerebras_upload"]["model_version"] == name(2)


def test_a_version_that_is_deleted_between_look_and_adoption_is_replaced(service: Service) -> None:
    Attempt(service).upload(request(FIRST))
    attempt = Attempt(service, [Mishap(SET_ALIASES, meanwhile=lambda: service.delete(name(1)))])
    assert attempt.upload(request(RETRY, "latest")) == name(2)
    assert service.aliases() == {2: [FIRST.alias, "latest"]}


def test_what_fails_at_once_is_not_uploaded_again_and_again(new_service: Callable[..., Service]) -> None:
    """The sync has failed by the time that an alias moves to the version; the same weights would fail again."""
    service = new_service(sync_seconds=0)
    service.upload("s3://weights/other", "latest")
    service.api_control("/faults", {"operation": "upload_model_version", "fail_sync": "broken", "times": None})
    attempt = Attempt(service)
    assert attempt.upload(request(FIRST, "latest", move_aliases=True)) == name(2)
    assert attempt.network.count("upload_model_version") == 1


# The task state store.


def test_the_store_holds_the_name_and_the_request(service: Service) -> None:
    store = Store()
    Attempt(service, store=store).upload(request(FIRST))
    assert store.content == {"cerebras_upload": {"model_version": name(1), "request": FIRST.alias}}


def test_without_the_store_the_retry_adopts_all_the_same(service: Service) -> None:
    Attempt(service, store=Store()).upload(request(FIRST))
    assert Attempt(service, store=Store()).upload(request(RETRY)) == name(1)


def test_the_store_finds_a_version_that_has_lost_all_its_aliases(service: Service) -> None:
    store = Store()
    Attempt(service, store=store).upload(request(FIRST))
    service.set_aliases(name(1), "golden")
    assert Attempt(service, store=store).upload(request(RETRY)) == name(1)
    assert service.aliases() == {1: ["golden", FIRST.alias]}


def test_a_version_that_was_known_and_has_failed_is_replaced(service: Service) -> None:
    store = Store()
    made = service.upload(URI, "golden", fail=True)
    store.set("cerebras_upload", {"model_version": made, "request": FIRST.alias})
    assert Attempt(service, store=store).upload(request(RETRY)) == name(2)
    assert service.aliases() == {1: ["golden"], 2: [FIRST.alias]}


@pytest.mark.parametrize(
    ("uri", "suffix", "aliases"),
    [
        ("s3://weights/other", None, ["golden"]),
        (URI, "other", ["golden"]),
        (URI, None, [STRANGER.alias]),
        (URI, None, [CLEARED.alias]),
    ],
    ids=["other weights", "another suffix", "another task run's", "another generation's"],
)
def test_a_stale_note_never_leads_to_a_wrong_adoption(
    uri: str, suffix: str | None, aliases: list[str], service: Service
) -> None:
    """The number in the note stands for another version now."""
    model = {"weight_uri": uri, "version_aliases": aliases, "system_fingerprint_suffix": suffix or ""}
    service.api("POST", "/orgs/my-org/models:upload", {"model_arch_id": "gpt-oss-120b", "model": model})
    store = Store()
    store.set("cerebras_upload", {"model_version": name(1), "request": FIRST.alias})
    assert Attempt(service, store=store).upload(request(RETRY)) == name(2)
    assert service.aliases() == {1: aliases, 2: [FIRST.alias]}
    assert store.content["cerebras_upload"]["model_version"] == name(2)


@pytest.mark.parametrize(
    "note",
    [
        {"model_version": name(1), "request": STRANGER.alias},
        {"model_version": name(1), "request": CLEARED.alias},
        {"model_version": name(1)},
        {"model_version": name(7), "request": FIRST.alias},
        {"model_version": "nonsense", "request": FIRST.alias},
        {"model_version": "orgs/my-org/models/llama3.1-8b/versions/1", "request": FIRST.alias},
        {"model_version": name("golden"), "request": FIRST.alias},
        {"model_version": 1, "request": FIRST.alias},
        {"request": FIRST.alias},
        "nonsense",
        ["nonsense"],
        None,
    ],
    ids=str,
)
def test_a_note_of_something_else_is_passed_over(note: Any, service: Service) -> None:
    service.upload(URI, "golden")
    store = Store()
    store.set("cerebras_upload", note)
    assert Attempt(service, store=store).upload(request(RETRY)) == name(2)


# Looks are not one instant.


def test_a_version_that_is_made_between_two_looks_keeps_its_aliases(service: Service) -> None:
    """By identity nothing was there, but who holds the alias is our own version: it is adopted and left as it is."""
    faster = lambda: Attempt(service).upload(request(FIRST, "latest"))  # noqa: E731
    attempt = Attempt(service, [Mishap(LOOK, meanwhile=faster, skip=1)])
    assert attempt.upload(request(RETRY, "latest")) == name(1)
    assert {operation for operation, _, _ in attempt.network.sent} == {"get_model_version"}


def test_a_holder_that_is_named_by_an_alias_is_not_changed(service: Service) -> None:
    """The alias may stand for another version when the list is written."""
    made = service.upload(URI, "latest")
    response = httpx.Response(200, json={"name": name("latest"), "response": {"version_aliases": ["latest"]}})
    attempt = Attempt(service, [Mishap(OperationName.GET_MODEL_VERSION, response, skip=1, times=99)])
    with pytest.raises(UnexpectedResponse, match="by number"):
        attempt.upload(request(FIRST, "latest", move_aliases=True))
    assert service.aliases() == {int(made.rpartition("/")[2]): ["latest"]}
