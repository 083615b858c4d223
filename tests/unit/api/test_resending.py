"""What is sent again, how often and when; and what must never be sent twice."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.errors import (
    BadRequest,
    CerebrasAPIError,
    CerebrasTransportError,
    Conflict,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    from airflow_provider_cerebras.api.operations import Call
    from tests.unit.api.conftest import Connect

V1 = "orgs/my-org/models/gpt-oss-120b/versions/1"
HTML_502 = httpx.Response(502, html="<html><head><title>502 Bad Gateway</title></head></html>")

GET = operations.get_model_version(V1)
PATCH = operations.update_model_version_aliases(V1, ["production"])
DELETE = operations.delete_model_version(V1)
CHAT = operations.chat_completion("my-endpoint", [{"role": "user", "content": "Hi"}])
UPLOAD = operations.upload_model_version("my-org", "gpt-oss-120b", "s3://my-bucket/weights")
DEPLOY = operations.deploy_model("my-endpoint", V1)

GOOD = httpx.Response(200, json={"name": V1, "version_aliases": ["production"], "choices": []})
HARMLESS = {"GET": GET, "PATCH": PATCH, "DELETE": DELETE, "chat": CHAT}
CREATING = {"upload": UPLOAD, "deploy": DEPLOY}

harmless = pytest.mark.parametrize("call", HARMLESS.values(), ids=list(HARMLESS))
creating = pytest.mark.parametrize("call", CREATING.values(), ids=list(CREATING))
every = pytest.mark.parametrize("call", [*HARMLESS.values(), *CREATING.values()], ids=[*HARMLESS, *CREATING])


def label(answer: httpx.Response | Exception) -> str:
    return type(answer).__name__ if isinstance(answer, Exception) else str(answer.status_code)


PASSING: list[httpx.Response | Exception] = [
    *(httpx.Response(status, json={"detail": "later"}) for status in (408, 429, 500, 503, 504, 599)),
    HTML_502,
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("no answer"),
    httpx.PoolTimeout("no free connection"),
    httpx.ReadTimeout("no answer"),
    httpx.WriteTimeout("stuck"),
    httpx.ReadError("reset"),
    httpx.WriteError("broken pipe"),
    httpx.RemoteProtocolError("server disconnected"),
]
# The service cannot have acted on these: nothing arrived, or it says that it did nothing.
CERTAINLY_NOT_DONE: list[httpx.Response | Exception] = [
    httpx.Response(429, json={"detail": "later"}),
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("no answer"),
    httpx.PoolTimeout("no free connection"),
]
DOUBTFUL: list[Any] = [
    *(
        pytest.param(answer, id=label(answer))
        for answer in (
            httpx.Response(408, json={"detail": "time-out"}),
            httpx.Response(500, json={"detail": "oops"}),
            HTML_502,
            httpx.Response(503, content=b""),
            httpx.Response(504, content=b""),
            httpx.ReadTimeout("no answer"),
            httpx.WriteTimeout("stuck"),
            httpx.ReadError("reset"),
            httpx.WriteError("broken pipe"),
            httpx.CloseError("reset"),
            httpx.RemoteProtocolError("server disconnected without sending a response"),
            httpx.DecodingError("broken gzip"),
        )
    ),
    pytest.param(httpx.Response(200, content=b'{"name": "orgs/my-or'), id="200, cut off"),
    pytest.param(httpx.Response(200, content=b""), id="200, empty"),
    pytest.param(httpx.Response(200, html="<p>Welcome"), id="200, HTML"),
    pytest.param(httpx.Response(200, json={"id": 1}), id="200, no name"),
]


@harmless
@pytest.mark.parametrize("answer", PASSING, ids=label)
def test_what_may_be_sent_twice_is_sent_again_on_what_may_pass(
    connect: Connect, call: Call[Any], answer: httpx.Response | Exception
) -> None:
    """Issue 67219 of Airflow: a passing 5xx failed the task."""
    conversation = connect(answer, answer, GOOD)
    conversation.send(call)
    assert len(conversation.requests) == 3
    assert len({(request.method, request.url, request.content) for request in conversation.requests}) == 1


@creating
@pytest.mark.parametrize("answer", CERTAINLY_NOT_DONE, ids=label)
def test_what_must_not_be_done_twice_is_sent_again_only_where_it_was_certainly_not_done(
    connect: Connect, call: Call[Any], answer: httpx.Response | Exception
) -> None:
    conversation = connect(answer, answer, GOOD)
    conversation.send(call)
    assert len(conversation.requests) == 3


@creating
@pytest.mark.parametrize("answer", DOUBTFUL)
def test_any_doubtful_end_of_what_must_not_be_done_twice_is_an_unknown_outcome_after_one_request(
    connect: Connect, call: Call[Any], answer: httpx.Response | Exception
) -> None:
    conversation = connect(answer, GOOD)
    with pytest.raises(OutcomeUnknown, match=r"not known whether POST https://\S+ was acted on"):
        conversation.send(call)
    assert len(conversation.requests) == 1
    assert conversation.pauses == []


@creating
def test_an_outcome_becomes_unknown_even_after_attempts_that_certainly_did_nothing(
    connect: Connect, call: Call[Any]
) -> None:
    conversation = connect(httpx.ConnectError("refused"), httpx.Response(429), httpx.ReadTimeout("no answer"), GOOD)
    with pytest.raises(OutcomeUnknown):
        conversation.send(call)
    assert len(conversation.requests) == 3


@every
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, CerebrasAPIError),
        (409, Conflict),
        (410, CerebrasAPIError),
        (422, BadRequest),
    ],
)
def test_what_will_not_pass_is_sent_once_and_has_its_own_class(
    connect: Connect, call: Call[Any], status: int, error: type[CerebrasAPIError]
) -> None:
    conversation = connect(httpx.Response(status, json={"detail": "the server's words"}), GOOD)
    with pytest.raises(error, match="the server's words") as caught:
        conversation.send(call)
    assert type(caught.value) is error
    assert (caught.value.status_code, caught.value.message) == (status, "the server's words")
    assert len(conversation.requests) == 1


@harmless
@pytest.mark.parametrize("max_retries", [0, 1, 5])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(500, content=b""), ServerError),
        (httpx.Response(429, content=b""), RateLimited),
        (httpx.Response(408, content=b""), CerebrasAPIError),
        (httpx.ConnectError("refused"), CerebrasTransportError),
    ],
    ids=["500", "429", "408", "ConnectError"],
)
def test_after_max_retries_the_last_error_is_raised(
    connect: Connect, call: Call[Any], answer: httpx.Response | Exception, error: type[Exception], max_retries: int
) -> None:
    conversation = connect(answer, max_retries=max_retries)
    with pytest.raises(error):
        conversation.send(call)
    assert len(conversation.requests) == max_retries + 1
    assert len(conversation.pauses) == max_retries


@every
def test_to_send_once_is_never_to_send_again(connect: Connect, call: Call[Any]) -> None:
    conversation = connect(httpx.Response(429), GOOD)
    with pytest.raises(RateLimited):
        conversation.send_once(call)
    assert len(conversation.requests) == 1


@pytest.mark.parametrize("call", [GET, PATCH, CHAT], ids=["GET", "PATCH", "chat"])
@pytest.mark.parametrize("content", [b"", b'{"name": "or', b"<p>Welcome", b"{}", b"[]", b"null"])
def test_an_answer_that_cannot_be_read_is_an_error_of_its_own_and_not_asked_for_again(
    connect: Connect, call: Call[Any], content: bytes
) -> None:
    conversation = connect(httpx.Response(200, content=content), GOOD)
    with pytest.raises(UnexpectedResponse, match="not as documented"):
        conversation.send(call)
    assert len(conversation.requests) == 1


@every
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(connect: Connect, call: Call[Any], status: int) -> None:
    conversation = connect(httpx.Response(status, headers={"location": "https://evil.example/"}), GOOD)
    with pytest.raises(UnexpectedResponse, match="redirects are not followed"):
        conversation.send(call)
    assert len(conversation.requests) == 1


class TestPauses:
    def test_pauses_double_up_to_half_a_minute(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(random, "uniform", lambda low, high: high)
        conversation = connect(httpx.Response(503), max_retries=8)
        with pytest.raises(ServerError):
            conversation.send(GET)
        assert conversation.pauses == [1, 2, 4, 8, 16, 30, 30, 30]

    def test_pauses_are_drawn_at_random_so_that_clients_do_not_march_in_step(self, connect: Connect) -> None:
        pauses = []
        for _ in range(2):
            conversation = connect(httpx.Response(503), max_retries=8)
            with pytest.raises(ServerError):
                conversation.send(GET)
            pauses.append(conversation.pauses)
        assert pauses[0] != pauses[1]

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    def test_no_pause_is_shorter_than_the_service_asked_for_in_seconds(self, connect: Connect, status: int) -> None:
        conversation = connect(httpx.Response(status, headers={"retry-after": "45"}), max_retries=3)
        with pytest.raises(CerebrasAPIError):
            conversation.send(GET)
        assert conversation.pauses == [45, 45, 45]

    def test_no_pause_is_shorter_than_the_service_asked_for_as_a_date(self, connect: Connect) -> None:
        moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        conversation = connect(httpx.Response(429, headers={"retry-after": moment}), GOOD)
        conversation.send(GET)
        (pause,) = conversation.pauses
        assert 60 < pause <= 90

    @pytest.mark.parametrize("asked", ["86400", "Fri, 31 Dec 9999 23:59:59 GMT"])
    def test_two_minutes_are_the_most_that_a_service_can_ask_for(self, connect: Connect, asked: str) -> None:
        conversation = connect(httpx.Response(429, headers={"retry-after": asked}), GOOD)
        conversation.send(GET)
        assert conversation.pauses == [120]

    @pytest.mark.parametrize("asked", ["0", "-5", "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
    def test_what_cannot_be_read_or_has_passed_leaves_the_usual_pauses(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch, asked: str
    ) -> None:
        monkeypatch.setattr(random, "uniform", lambda low, high: high)
        conversation = connect(httpx.Response(429, headers={"retry-after": asked}), max_retries=3)
        with pytest.raises(RateLimited):
            conversation.send(GET)
        assert conversation.pauses == [1, 2, 4]

    def test_a_pause_grows_beyond_what_the_service_asked_for(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(random, "uniform", lambda low, high: high)
        conversation = connect(httpx.Response(503, headers={"retry-after": "3"}), max_retries=4)
        with pytest.raises(ServerError):
            conversation.send(GET)
        assert conversation.pauses == [3, 3, 4, 8]
        assert all(one <= other for one, other in pairwise(conversation.pauses))


class TestDeletion:
    @pytest.mark.parametrize(
        "first", [httpx.Response(503), httpx.ReadTimeout("no answer"), httpx.Response(408)], ids=label
    )
    def test_not_found_after_an_attempt_that_may_have_deleted_it_is_success(
        self, connect: Connect, first: httpx.Response | Exception
    ) -> None:
        conversation = connect(first, httpx.Response(404, json={"detail": "no such version"}))
        conversation.send(DELETE)
        assert len(conversation.requests) == 2

    def test_not_found_at_once_is_an_error(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(404, json={"detail": "no such version"}))
        with pytest.raises(NotFound, match="no such version"):
            conversation.send(DELETE)

    def test_not_found_on_a_repeated_look_is_an_error_all_the_same(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(503), httpx.Response(404, json={"detail": "no such version"}))
        with pytest.raises(NotFound):
            conversation.send(GET)
