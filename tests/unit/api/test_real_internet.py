"""What networks, proxies, environments and other threads do to a client."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import os
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.api import _deadline, operations
from airflow_provider_cerebras.api._redaction import Redactor, Secret
from airflow_provider_cerebras.api.client import AsyncCerebrasClient, CerebrasClient, ClientSettings
from airflow_provider_cerebras.api.errors import (
    CerebrasAPIError,
    CerebrasError,
    CerebrasTransportError,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    Unauthorized,
)
from airflow_provider_cerebras.api.settings import EnvironmentUnusable, is_excepted
from airflow_provider_cerebras.emulator.server import EmulatorServer
from airflow_provider_cerebras.emulator.settings import Settings
from tests.unit.hostile_server import HEAD, HostileServer, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.api.operations import Call
    from tests.unit.api.conftest import Connect
    from tests.unit.hostile_server import Connection

KEY = "mgmt-key-5b1e/+=9f"
ARCHITECTURES = operations.list_model_architectures("my-org")
UPLOAD = operations.upload_model_version("my-org", "gpt-oss-120b", "s3://my-bucket/weights")
CHAT = operations.chat_completion("my-endpoint", [{"role": "user", "content": "Hi"}])
GOOD = b'{"model_architectures": ["gpt-oss-120b"], "name": "orgs/my-org/models/gpt-oss-120b/versions/1"}'
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class TestResending:
    @pytest.mark.parametrize("call", [ARCHITECTURES, UPLOAD], ids=["GET", "POST"])
    def test_too_early_is_sent_again_for_it_was_not_processed(self, connect: Connect, call: Call[Any]) -> None:
        conversation = connect(httpx.Response(425, json={"detail": "later"}), httpx.Response(200, content=GOOD))
        conversation.send(call)
        assert len(conversation.requests) == 2

    def test_half_seconds_count(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(429, headers={"retry-after": "40.5"}), httpx.Response(200, content=GOOD))
        conversation.send(ARCHITECTURES)
        assert conversation.pauses == [40.5]

    def test_a_date_is_read_by_the_clock_of_the_service(self, connect: Connect) -> None:
        headers = {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:29:10 GMT"}
        conversation = connect(httpx.Response(503, headers=headers), httpx.Response(200, content=GOOD))
        conversation.send(ARCHITECTURES)
        assert conversation.pauses == [70]

    def test_an_unknown_outcome_says_how_long_the_service_wants_to_be_left_alone(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(503, headers={"retry-after": "60"}))
        with pytest.raises(OutcomeUnknown) as caught:
            conversation.send(UPLOAD)
        assert caught.value.retry_after == 60

    def test_each_repetition_is_logged(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        conversation = connect(httpx.Response(503, json={"detail": "be back"}), httpx.Response(200, content=GOOD))
        conversation.send(ARCHITECTURES)
        (line,) = [record.getMessage() for record in caplog.records if "sent again" in record.getMessage()]
        assert "be back" in line
        assert "(retry 1 of 5)" in line
        assert "Try again" not in line


class TestWithin:
    def test_no_pause_leads_beyond_the_bound(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(429, headers={"retry-after": "3"}))
        client: Any = conversation.client
        send = client.send if isinstance(client, CerebrasClient) else lambda *a, **k: asyncio.run(client.send(*a, **k))
        with pytest.raises(RateLimited):
            send(ARCHITECTURES, within=5)
        assert conversation.pauses == [3]

    def test_an_attempt_ends_at_the_bound(self) -> None:
        async def silent(connection: Connection) -> None:
            await connection.drip(b"", times=100)

        with HostileServer(silent) as server, CerebrasClient(settings_for(server)) as client:
            began = time.monotonic()
            with pytest.raises(CerebrasTransportError, match=r"not complete after 0\.\d+ s"):
                client.send(ARCHITECTURES, within=0.2)
            assert time.monotonic() - began < 2

    def test_what_is_timed_is_the_attempt_that_was_answered(self) -> None:
        clock = [0.0]
        responses = [
            httpx.Response(429, headers={"retry-after": "3"}),
            httpx.Response(200, json={"choices": [{"message": {"content": "Hello"}}]}),
        ]

        def respond(request: httpx.Request) -> httpx.Response:
            return responses.pop(0)

        own = ClientSettings(management_key=KEY, inference_key="inference-key-a94c", base_url="http://127.0.0.1")
        network = httpx.MockTransport(respond)
        with CerebrasClient(own, transport=network, sleep=lambda seconds: clock.append(seconds)) as client:
            began = time.monotonic()
            seconds = client.send_timed(CHAT).seconds
        assert clock[-1] >= 3
        assert 0 < seconds <= time.monotonic() - began


def settings_for(server: HostileServer, **changes: Any) -> ClientSettings:
    return ClientSettings(
        **{"management_key": KEY, "base_url": server.url, "timeout": 5.0, "max_retries": 0, **changes}
    )


class TestThreadsAndProcesses:
    def test_a_request_that_is_late_ends_alone(self) -> None:
        async def late_or_slow(connection: Connection) -> None:
            await connection.send(HEAD, f"Content-Length: {len(GOOD) + 9}\r\n\r\n".encode())
            # Both come in drops: one for longer than its deadline, the other within it.
            await connection.drip(b" ", times=400 if b"late" in connection.request else 9, seconds=0.1)
            await connection.send(GOOD)

        with HostileServer(late_or_slow) as server, CerebrasClient(settings_for(server, timeout=1.0)) as client:
            late = operations.list_model_architectures("late")
            with ThreadPoolExecutor(9) as threads:
                ends = [threads.submit(client.send, late, within=0.3)]
                ends += [threads.submit(client.send, ARCHITECTURES) for _ in range(8)]
                with pytest.raises(CerebrasTransportError, match="not complete"):
                    ends[0].result()
                assert all(each.result().model_architectures for each in ends[1:])

    def test_requests_start_no_threads(self) -> None:
        with HostileServer(answer(GOOD)) as server, CerebrasClient(settings_for(server)) as client:
            client.send(ARCHITECTURES)
            started: list[threading.Thread] = []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(threading.Thread, "start", started.append)
                client.send(ARCHITECTURES)
        assert started == []

    def test_a_process_that_was_forked_has_connections_of_its_own(self) -> None:
        async def echo(connection: Connection) -> None:
            while True:
                name = connection.request.split(b"/orgs/")[1].split(b"/")[0].decode()
                body = json.dumps({"model_architectures": [name]}).encode()
                await connection.send(HEAD, f"Content-Length: {len(body)}\r\n\r\n".encode(), body)
                return

        with HostileServer(echo) as server, CerebrasClient(settings_for(server)) as client:
            client.send(ARCHITECTURES)
            parent = client._pool()
            if (child := os.fork()) == 0:
                code = 1
                try:
                    told = client.send(operations.list_model_architectures("child")).model_architectures
                    code = 0 if told == ["child"] and client._pool() is not parent else 2
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert client.send(operations.list_model_architectures("parent")).model_architectures == ["parent"]
            assert client._pool() is parent

    def test_a_look_up_that_hangs_ends_at_the_connect_time_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        end = threading.Event()

        def hang(*args: object, **kwargs: object) -> None:
            end.wait(30)
            raise socket.gaierror

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        own = ClientSettings(management_key=KEY, base_url="https://cerebras.invalid", timeout=0.2, max_retries=0)
        began = time.monotonic()
        with (
            CerebrasClient(own) as client,
            pytest.raises(CerebrasTransportError, match=r"cerebras\.invalid was not res"),
        ):
            client.send(UPLOAD)
        end.set()
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize("transport", [SimpleNamespace(), SimpleNamespace(_pool=SimpleNamespace())])
    def test_without_the_private_names_of_httpx_the_loss_is_logged_once(
        self, transport: SimpleNamespace, caplog: pytest.LogCaptureFixture
    ) -> None:
        _deadline._log_unbounded.cache_clear()
        for _ in range(2):
            _deadline.bound(transport, _deadline.Deadline())
        assert len(caplog.records) == 1
        assert "can outlast the deadline" in caplog.text

    def test_this_httpx_has_the_private_names(self, caplog: pytest.LogCaptureFixture) -> None:
        """If this fails on a new httpx, see ``api/_deadline.py``: a look-up that hangs is not bounded until then."""
        _deadline._log_unbounded.cache_clear()
        with CerebrasClient(ClientSettings(management_key=KEY)) as client:
            assert isinstance(client._pool()._pool._network_backend, _deadline.BoundedBackend)  # type: ignore[attr-defined]
        assert caplog.records == []

    def test_a_name_without_an_address_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        own = ClientSettings(management_key=KEY, base_url="https://cerebras.invalid", max_retries=0, connection="mine")
        with (
            CerebrasClient(own) as client,
            pytest.raises(CerebrasTransportError, match=r"cerebras\.invalid.*cannot be resolved.*field host.*'mine'"),
        ):
            client.send(ARCHITECTURES)

    def test_a_proxy_that_refuses_is_not_one_that_cannot_be_reached(self) -> None:
        with HostileServer(answer(b"", status="403 Blocked by policy")) as server:
            own = ClientSettings(management_key=KEY, max_retries=0, proxy=Secret(server.url), connection="mine")
            with CerebrasClient(own) as client, pytest.raises(CerebrasTransportError) as caught:
                client.send(ARCHITECTURES)
        said = str(caught.value)
        assert f"the proxy {server.url[7:]} does not connect to api.cerebras.ai port 443" in said
        assert "field extra.proxy of connection 'mine'" in said
        assert "403 Blocked by policy" in said
        assert "cannot connect" not in said

    def test_https_where_http_is_served_is_named(self) -> None:
        with EmulatorServer(Settings(port=0)) as server:
            url = server.base_url.replace("http:", "https:")
            own = ClientSettings(management_key=KEY, max_retries=0, base_url=url, connection="mine")
            with CerebrasClient(own) as client, pytest.raises(CerebrasTransportError, match=r"does not serve https"):
                client.send(ARCHITECTURES)


class TestEnvironment:
    @pytest.mark.parametrize(
        "no_proxy", ["localhost,::1/128", "fd00::/8", "[::1]:80", "::1/999", "10.0.0.0/8", "*.x/..", "a:b:c", "%%%"]
    )
    def test_no_proxy_may_hold_anything(self, monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
        monkeypatch.setenv("NO_PROXY", no_proxy)
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        with (
            CerebrasClient(ClientSettings(management_key=KEY, max_retries=0)) as client,
            pytest.raises(CerebrasTransportError, match=r"cannot connect to the proxy 127\.0\.0\.1:1"),
        ):
            client.send(ARCHITECTURES)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("HTTPS_PROXY", "ftp://user:s3cret@proxy"),
            ("https_proxy", "http://user:p#s3cret@proxy:3128"),
            ("HTTPS_PROXY", "http://user:12#s3cret@proxy:3128"),
            ("ALL_PROXY", "http://user:pa/s3cret@proxy"),
            ("all_proxy", "socks4://s3cret"),
            ("SSL_CERT_FILE", "/no/such/file"),
            ("SSL_CERT_DIR", "/no/such/folder"),
            ("SSLKEYLOGFILE", "/no/such/folder/file"),
        ],
    )
    def test_what_cannot_be_used_is_named_at_once(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        own = ClientSettings(management_key=KEY)

        async def make() -> None:
            await AsyncCerebrasClient.create(own)

        for attempt in (lambda: CerebrasClient(own), lambda: asyncio.run(make())):
            with pytest.raises(EnvironmentUnusable, match=f"^environment variable {name}: ") as caught:
                attempt()
            assert "s3cret" not in str(caught.value)
            assert "pa/" not in str(caught.value)

    def test_a_certificate_error_says_which_variables_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/corporate.pem")

        def refuse(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in certificate chain")

        own = ClientSettings(management_key=KEY, max_retries=0)
        with (
            CerebrasClient(own, transport=httpx.MockTransport(refuse)) as client,
            pytest.raises(CerebrasTransportError, match=r"SSL_CERT_FILE.*REQUESTS_CA_BUNDLE is not used here"),
        ):
            client.send(ARCHITECTURES)

    def test_with_plain_http_no_proxy_gets_the_key(self) -> None:
        with pytest.raises(ValueError, match=r"^proxy: the key would go to the proxy unencrypted"):
            ClientSettings(management_key=KEY, base_url="http://127.0.0.1:8900", proxy="http://proxy:3128")


@pytest.mark.parametrize(
    ("no_proxy", "is_out"),
    [
        ("", False),
        ("*", True),
        ("cerebras.ai", True),
        (".cerebras.ai", True),
        ("*.cerebras.ai", True),
        ("ai", True),
        ("api.cerebras.ai:443", True),
        ("api.cerebras.ai:8443", False),
        ("https://api.cerebras.ai", True),
        ("http://api.cerebras.ai", False),
        ("xapi.cerebras.ai", False),
        ("a, cerebras.ai", True),
        ("erebras.ai", False),
        ("CEREBRAS.AI", True),
    ],
)
def test_no_proxy_takes_out_names_and_what_is_below_them(no_proxy: str, is_out: bool) -> None:
    assert is_excepted("https://api.cerebras.ai", no_proxy) is is_out


@pytest.mark.parametrize(
    ("host", "no_proxy", "is_out"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("[fd00::1]", "fd00::/8", True),
        ("[fd00::1]", "[fd00::1]:443", True),
        ("[fd00::1]", "fd00::1", True),
        ("[fd00::1]", "::1/128", False),
    ],
)
def test_no_proxy_takes_out_addresses_and_networks(host: str, no_proxy: str, is_out: bool) -> None:
    assert is_excepted(f"https://{host}", no_proxy) is is_out


class TestBaseUrls:
    @pytest.mark.parametrize("path", ["/v1", "/v1/", "/management/v1", "/management", "/V1", "/v1/chat/completions"])
    @pytest.mark.parametrize("prefix", ["", "/cerebras"])
    def test_a_path_of_the_api_at_its_end_is_refused_with_the_right_url(self, prefix: str, path: str) -> None:
        """Litellm 3346: a base URL ending in /v1 made every call a 404."""
        with pytest.raises(ValueError, match=rf"^host: .*Use 'https://api\.cerebras\.ai{prefix}'\.$"):
            ClientSettings(management_key=KEY, base_url=f"https://api.cerebras.ai{prefix}{path}")

    @pytest.mark.parametrize("path", ["/v1beta", "/api/v10", "/my-v1", "/v1/cerebras", "/api-management"])
    def test_other_paths_are_a_gateway_s(self, path: str) -> None:
        assert ClientSettings(management_key=KEY, base_url=f"https://x{path}").base_url == f"https://x{path}"

    def test_http_to_a_container_says_what_to_do(self) -> None:
        with pytest.raises(ValueError, match="--tls-self-signed, or with --tls-cert and --tls-key"):
            ClientSettings(management_key=KEY, base_url="http://emulator:8900")

    @given(st.text(max_size=30))
    @settings(deadline=None, max_examples=100)
    def test_anything_is_a_url_of_a_service_or_refused(self, host: str) -> None:
        refusal = ""
        try:
            base_url = ClientSettings(management_key=KEY, base_url=host).base_url
        except ValueError as error:
            refusal = str(error)
        assert refusal.startswith("host: ") or httpx.URL(base_url).host


FORMS: dict[str, Callable[[str], str]] = {
    "percent-encoded": lambda key: quote(key, safe=""),
    "percent-encoded in lower case": lambda key: quote(key, safe="").lower(),
    "each character percent-encoded": lambda key: "".join(f"%{ord(char):02X}" for char in key),
    "percent-encoded twice": lambda key: "".join(f"%25{ord(char):02x}" for char in key),
    "percent-encoded in part": lambda key: f"{key[:5]}%{ord(key[5]):02x}{key[6:]}",
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(f"u:{key}??".encode()).decode(),
    "escaped for JSON": lambda key: "".join(f"\\u{ord(char):04X}" for char in key),
    "escaped for JSON twice": lambda key: "".join(f"\\\\u{ord(char):04x}" for char in key),
    "escaped for Python": lambda key: "".join(f"\\x{ord(char):02x}" for char in key),
    "escaped for HTML": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "escaped for HTML by named entities": html.escape,
}


class TestSecrets:
    @pytest.mark.parametrize("key", [KEY, "csk-abcdefghijklmnop", "<a&b>'c\"d\\e"])
    @pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
    def test_a_key_is_taken_out_in_whatever_form_it_stands(self, form: Callable[[str], str], key: str) -> None:
        assert Redactor([key]).text(f"You sent {form(key)} to us.") == "You sent *** to us."

    @pytest.mark.parametrize("length", range(4, len(KEY)))
    @pytest.mark.parametrize("form", [str, FORMS["each character percent-encoded"], FORMS["escaped for JSON"]])
    def test_a_key_that_was_cut_is_taken_out_to_the_end(self, form: Callable[[str], str], length: int) -> None:
        assert Redactor([KEY]).text(f"You sent {form(KEY[:length])}", cut_off=True) == "You sent "

    @pytest.mark.parametrize("cut", range(1, len(KEY) + 1))
    def test_a_key_at_the_place_where_an_error_is_cut_is_not_shown(self, connect: Connect, cut: int) -> None:
        body = b"Wrong key" + b" " * (64 * 1024 - 9 - cut) + KEY.encode() + b" and more"
        with pytest.raises(Unauthorized, match="Wrong key") as caught:
            connect(httpx.Response(401, content=body), management_key=KEY).send(ARCHITECTURES)
        assert KEY[:4] not in str(caught.value)

    def test_nothing_of_a_password_is_in_what_the_proxy_s_error_says(self) -> None:
        own = ClientSettings(management_key=KEY, proxy="http://user:p%40ss-word@127.0.0.1:1", max_retries=0)
        with (
            CerebrasClient(own) as client,
            pytest.raises(CerebrasTransportError, match=r"the proxy 127\.0\.0\.1:1 ") as e,
        ):
            client.send(ARCHITECTURES)
        assert "ss-word" not in str(e.value)

    def test_a_secret_shows_itself_nowhere_and_is_what_it_is(self) -> None:
        secret = Secret(Secret(KEY))
        for shown in (str(secret), repr(secret), f"{secret}", f"{secret!r}", repr([secret])):
            assert KEY not in shown
        assert (secret.reveal(), secret == KEY, type(secret.reveal())) == (KEY, True, str)

    @pytest.mark.parametrize(
        "end",
        [
            httpx.ReadError("broken " + KEY),
            httpx.ConnectError("refused " + KEY),
            httpx.Response(401, json={"detail": "Who is " + KEY}),
            httpx.Response(200, content=b'{"x": "' + KEY.encode() + b'"}'),
        ],
        ids=["broken", "refused", "401", "unreadable"],
    )
    def test_a_traceback_with_the_values_of_variables_shows_no_key(
        self, connect: Connect, end: httpx.Response | Exception
    ) -> None:
        conversation = connect(end, management_key=Secret(KEY), max_retries=0)
        with pytest.raises(CerebrasError) as caught:
            conversation.send(ARCHITECTURES)
        del end  # the test's own
        error = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        frames = [frame for frame in error.stack if "airflow_provider_cerebras" in frame.filename]
        assert len(frames) >= 3
        assert KEY not in "".join(error.format())


@pytest.mark.parametrize(
    ("call", "field"),
    [(ARCHITECTURES, "password"), (CHAT, r"extra\.inference_api_key")],
    ids=["management", "inference"],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_connection_and_field(
    connect: Connect, call: Call[Any], field: str, status: int
) -> None:
    conversation = connect(httpx.Response(status, json={"detail": "no"}), connection="mine")
    with pytest.raises(CerebrasAPIError, match=f"in field {field} of connection 'mine'"):
        conversation.send(call)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gateway_s_refusal_blames_no_key(connect: Connect, status: int) -> None:
    conversation = connect(httpx.Response(status, html="<h1>Error 1020</h1>"), connection="mine")
    with pytest.raises(CerebrasAPIError, match="says nothing about the key") as caught:
        conversation.send(ARCHITECTURES)
    assert "org_id" not in str(caught.value)


def test_a_server_error_is_one_whatever_its_body(connect: Connect) -> None:
    conversation = connect(httpx.Response(503, headers={"content-encoding": "br"}, content=b""), max_retries=0)
    with pytest.raises(ServerError):
        conversation.send(ARCHITECTURES)


async def test_a_large_response_is_read_off_the_loop() -> None:
    rows = [
        {"name": f"orgs/o/models/m/versions/{n}", "done": True, "response": {"sync_status": "done"}}
        for n in range(9000)
    ]
    body = json.dumps({"model_versions": rows, "x": "\\u0061\n" * 60_000}).encode()
    network = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    async with AsyncCerebrasClient(ClientSettings(management_key=KEY), verify=False, transport=network) as client:
        threads: list[str] = []
        read = client.read

        def reading(call: Any, body: bytes) -> Any:
            threads.append(threading.current_thread().name)
            return read(call, body)

        client.read = reading  # type: ignore[method-assign]
        await client.send_once(operations.find_model_versions("o", "m"))
    assert len(threads) == 1
    assert threads != [threading.main_thread().name]
