"""The client itself: its settings, its limits, its secrets, its connections."""

from __future__ import annotations

import asyncio
import copy
import pickle
import ssl
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import httpx
import pytest

from airflow_provider_cerebras.api import operations
from airflow_provider_cerebras.api.client import (
    DEFAULT_BASE_URL,
    AsyncCerebrasClient,
    CerebrasClient,
    ClientSettings,
)
from airflow_provider_cerebras.api.errors import (
    BadRequest,
    CerebrasError,
    CerebrasTransportError,
    NotFound,
    OutcomeUnknown,
    UnexpectedResponse,
)
from tests.unit.hostile_server import HostileServer, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from airflow_provider_cerebras.api.operations import Call
    from airflow_provider_cerebras.emulator.control.client import EmulatorClient
    from tests.unit.api.conftest import Connect

MEBIBYTE = 1024**2
ARCHITECTURES = operations.list_model_architectures("my-org")
UPLOAD = operations.upload_model_version("my-org", "gpt-oss-120b", "s3://my-bucket/weights")
KEYS = ("mgmt-key-5b1e", "inference-key-a94c")
PROXY_PASSWORD = "proxy-password-77d0"


def settings(**changes: Any) -> ClientSettings:
    return ClientSettings(**{"management_key": "key", **changes})


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the proxies of the machine out of the environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that comes in piece by piece; it counts how much of it was read."""

    def __init__(self, chunk: bytes, times: int) -> None:
        self._chunk = chunk
        self._times = times
        self.read = 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._times):
            self.read += len(self._chunk)
            yield self._chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class TestSize:
    def test_a_large_answer_is_read(self, connect: Connect) -> None:
        names = ["x" * 1024] * 15 * 1024
        conversation = connect(httpx.Response(200, json={"model_architectures": names}))
        assert conversation.send(ARCHITECTURES).model_architectures == names

    def test_an_answer_of_more_than_16_mib_is_refused_and_not_read_to_its_end(self, connect: Connect) -> None:
        body = Chunks(b" " * MEBIBYTE, times=1000)
        conversation = connect(httpx.Response(200, stream=body))
        with pytest.raises(UnexpectedResponse, match="larger than 16 MiB"):
            conversation.send(ARCHITECTURES)
        assert body.read == 17 * MEBIBYTE
        assert len(conversation.requests) == 1

    @pytest.mark.parametrize("call", [ARCHITECTURES, UPLOAD], ids=["GET", "POST"])
    def test_an_error_is_one_however_large_it_is_and_not_read_to_its_end(
        self, connect: Connect, call: Call[Any]
    ) -> None:
        body = Chunks(b" " * MEBIBYTE, times=1000)
        conversation = connect(httpx.Response(400, stream=body))
        with pytest.raises(BadRequest):
            conversation.send(call)
        assert body.read == MEBIBYTE

    def test_of_what_must_not_be_done_twice_it_leaves_the_outcome_unknown(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(200, stream=Chunks(b" " * MEBIBYTE, times=1000)))
        with pytest.raises(OutcomeUnknown, match="larger than 16 MiB"):
            conversation.send(UPLOAD)


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("given", "used"),
        [
            ("https://api.cerebras.ai", "https://api.cerebras.ai"),
            ("https://api.cerebras.ai/", "https://api.cerebras.ai"),
            ("api.cerebras.ai", "https://api.cerebras.ai"),
            ("gateway.example:8443", "https://gateway.example:8443"),
            ("https://gateway.example/cerebras/", "https://gateway.example/cerebras"),
            ("http://127.0.0.1:8900", "http://127.0.0.1:8900"),
            ("http://127.8.8.8", "http://127.8.8.8"),
            ("http://[::1]:8900", "http://[::1]:8900"),
            ("http://localhost:8900", "http://localhost:8900"),
            ("http://LOCALHOST:8900", "http://localhost:8900"),
        ],
    )
    def test_https_goes_anywhere_and_http_to_this_machine(self, given: str, used: str) -> None:
        assert settings(base_url=given).base_url == used

    @pytest.mark.parametrize(
        "url",
        [
            "http://api.cerebras.ai",
            "http://10.0.0.1",
            "http://0.0.0.0:8900",
            "http://128.0.0.1",
            "http://[2001:db8::1]",
            "http://localhost.example",
            "http://example.localhost.example",
            "http://127.0.0.1.nip.io",
            "http://127.0.0.1@evil.example",
            "http://evil.example#@localhost",
        ],
    )
    def test_http_to_anywhere_else_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"^host: "):
            settings(base_url=url)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "https://",
            "ftp://api.cerebras.ai",
            "://x",
            "https://x:port",
            "https://x:1:2",
            "https://x\n",
            "https://x?a=b",
            "https://x#a",
        ],
    )
    def test_what_is_no_url_of_a_service_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"^host: "):
            settings(base_url=url)

    @pytest.mark.parametrize(
        "url",
        [
            "https://user:s3cret@api.cerebras.ai",
            "https://s3cret@api.cerebras.ai",
            "https://:s3cret@api.cerebras.ai",
            "https://user:s3cret/x@api.cerebras.ai",
            "http://user:s3cret@127.0.0.1",
        ],
    )
    def test_credentials_in_it_are_refused_and_not_repeated(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"^host: ") as caught:
            settings(base_url=url)
        assert "s3cret" not in str(caught.value)

    def test_the_default_is_the_public_service(self) -> None:
        assert settings().base_url == DEFAULT_BASE_URL == "https://api.cerebras.ai"


class TestSettings:
    @pytest.mark.parametrize("key", ["s3 cret", "s3cret\n", "\ts3cret", "s3crét", "s3cret\x00"])
    @pytest.mark.parametrize(
        ("name", "field"), [("management_key", "password"), ("inference_key", "inference_api_key")]
    )
    def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(
        self, name: str, field: str, key: str
    ) -> None:
        with pytest.raises(ValueError, match=rf"^{field}: ") as caught:
            settings(**{name: key})
        assert "s3" not in str(caught.value)

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 86401])
    def test_a_time_out_that_is_none_is_refused(self, timeout: float) -> None:
        with pytest.raises(ValueError, match=r"^request_timeout: "):
            settings(timeout=timeout)

    def test_a_negative_number_of_retries_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^max_retries: "):
            settings(max_retries=-1)

    def test_the_checking_of_certificates_cannot_be_switched_off(self) -> None:
        with pytest.raises(ValueError, match=r"^verify: certificates are always checked"):
            settings(verify=False)

    def test_certificates_are_checked_with_https(self) -> None:
        context = settings().ssl_context()
        assert isinstance(context, ssl.SSLContext)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)

    def test_a_ca_bundle_is_trusted_alone(self, tmp_path: Path) -> None:
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        usual = Path(certifi.where()).read_text(encoding="utf-8")
        bundle = tmp_path / "ca.pem"
        bundle.write_text(usual[usual.index(begin) : usual.index(end)] + end, encoding="ascii")
        context = settings(verify=str(bundle)).ssl_context()
        assert isinstance(context, ssl.SSLContext)
        assert len(context.get_ca_certs()) == 1
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)

    @pytest.mark.parametrize("content", [None, "", "no certificate"])
    def test_a_ca_bundle_that_cannot_be_read_is_refused(self, tmp_path: Path, content: str | None) -> None:
        bundle = tmp_path / "ca.pem"
        if content is not None:
            bundle.write_text(content, encoding="ascii")
        with pytest.raises(ValueError, match=r"^verify: .*ca\.pem"):
            CerebrasClient(settings(verify=str(bundle)))

    def test_a_socks_proxy_needs_a_package_and_its_error_names_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "socksio", None)
        with pytest.raises(ValueError, match=r"^proxy: socks5 needs the package socksio"):
            settings(proxy="socks5://proxy.example:1080")

    @pytest.mark.parametrize(
        "proxy", ["nonsense", "user:s3cret@proxy:3128", "ftp://user:s3cret@proxy", "http://", "http://s3cret\n"]
    )
    def test_a_proxy_that_is_no_url_is_refused_and_not_repeated(self, proxy: str) -> None:
        with pytest.raises(ValueError, match=r"^proxy: ") as caught:
            settings(proxy=proxy)
        assert "s3cret" not in str(caught.value)


class TestSecrets:
    def test_no_secret_is_in_what_a_client_or_its_settings_print(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(200), proxy=f"http://user:{PROXY_PASSWORD}@proxy.example:3128")
        for shown in (conversation.client, conversation.client.settings):
            for text in (repr(shown), str(shown)):
                assert not [secret for secret in (*KEYS, PROXY_PASSWORD) if secret in text]

    @pytest.mark.parametrize("call", [ARCHITECTURES, UPLOAD], ids=["GET", "POST"])
    @pytest.mark.parametrize("status", [400, 401, 403, 409, 429, 500])
    def test_the_server_s_words_are_repeated_without_keys(self, connect: Connect, call: Call[Any], status: int) -> None:
        words = f"The keys are {' and '.join(KEYS)}."
        conversation = connect(httpx.Response(status, json={"detail": words}), max_retries=0)
        with pytest.raises(CerebrasError, match=r"The keys are \*\*\* and \*\*\*\.") as caught:
            conversation.send(call)
        for text in (str(caught.value), repr(caught.value), repr(caught.value.__dict__)):
            assert not [key for key in KEYS if key in text]

    @pytest.mark.parametrize("call", [ARCHITECTURES, UPLOAD], ids=["GET", "POST"])
    def test_what_the_network_says_is_repeated_without_keys(self, connect: Connect, call: Call[Any]) -> None:
        conversation = connect(httpx.ReadError(f"broken: {' '.join(KEYS)}"), max_retries=0)
        with pytest.raises(CerebrasError, match=r"broken: \*\*\* \*\*\*") as caught:
            conversation.send(call)
        assert not [key for key in KEYS if key in str(caught.value)]

    def test_what_a_proxy_says_is_repeated_without_its_password(self) -> None:
        with HostileServer(answer(b"", status=f"407 Who is user:{PROXY_PASSWORD}?")) as server:
            proxy = server.url.replace("//", f"//user:{PROXY_PASSWORD}@")
            own = settings(base_url="https://cerebras.invalid", proxy=proxy, max_retries=0)
            with CerebrasClient(own) as client, pytest.raises(CerebrasError, match=r"Who is user:\*\*\*\?") as caught:
                client.send(ARCHITECTURES)
        assert PROXY_PASSWORD not in repr(caught.value)

    def test_an_answer_that_cannot_be_read_is_not_repeated(self, connect: Connect) -> None:
        conversation = connect(httpx.Response(200, json={"model_architectures": KEYS[0]}))
        with pytest.raises(UnexpectedResponse) as caught:
            conversation.send(ARCHITECTURES)
        assert KEYS[0] not in str(caught.value)

    @pytest.mark.parametrize("proxy", [None, f"http://user:{PROXY_PASSWORD}@proxy.example:3128"])
    def test_settings_survive_a_copy(self, proxy: str | None) -> None:
        original = settings(proxy=proxy)
        assert copy.deepcopy(original) == original
        assert pickle.loads(pickle.dumps(original)) == original


@pytest.mark.usefixtures("no_proxies")
class TestConnections:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    @pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
    def test_a_proxy_of_the_environment_is_not_asked_for_this_machine_s_own_addresses(
        self, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
    ) -> None:
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
        own = settings(
            management_key=emulator.settings.management_key,
            base_url=emulator.base_url.replace("127.0.0.1", host),
            max_retries=0,
        )

        async def ask() -> list[str]:
            async with await AsyncCerebrasClient.create(own) as client:
                return (await client.send(ARCHITECTURES)).model_architectures

        with CerebrasClient(own) as client:
            assert emulator.arch in client.send(ARCHITECTURES).model_architectures
        assert emulator.arch in asyncio.run(ask())

    def test_a_proxy_of_the_environment_is_not_asked_for_this_machine_over_https_either(
        self, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", emulator.base_url)
        with (
            CerebrasClient(settings(base_url="https://127.0.0.1:1", max_retries=0)) as client,
            pytest.raises(CerebrasTransportError, match="ConnectError"),
        ):
            client.send(ARCHITECTURES)
        assert emulator.requests() == []

    def test_a_proxy_of_the_environment_is_asked_for_other_addresses(
        self, emulator: EmulatorClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", emulator.base_url)
        with (
            CerebrasClient(settings(max_retries=0)) as client,
            pytest.raises(CerebrasTransportError, match="ProxyError"),
        ):
            client.send(ARCHITECTURES)

    def test_a_refused_connection_is_a_transport_error(self) -> None:
        own = settings(base_url="http://127.0.0.1:1", max_retries=0)
        with CerebrasClient(own) as client, pytest.raises(CerebrasTransportError, match="ConnectError"):
            client.send(ARCHITECTURES)

    def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_survived(self, emulator: EmulatorClient) -> None:
        emulator.add_fault("list_model_architectures", truncate=True)
        own = settings(management_key=emulator.settings.management_key, base_url=emulator.base_url)
        with CerebrasClient(own, sleep=lambda seconds: None) as client:
            assert emulator.arch in client.send(ARCHITECTURES).model_architectures
        assert len(emulator.requests()) == 2

    def test_a_client_that_was_left_sends_nothing_more(self) -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"model_architectures": []}))
        with CerebrasClient(settings(), transport=transport) as client:
            client.send(ARCHITECTURES)
        with pytest.raises(RuntimeError, match="closed"):
            client.send(ARCHITECTURES)

        async def leave() -> None:
            async with AsyncCerebrasClient(settings(), verify=False, transport=transport) as client:
                await client.send(ARCHITECTURES)
            with pytest.raises(RuntimeError, match="closed"):
                await client.send(ARCHITECTURES)

        asyncio.run(leave())


class TestLogs:
    def test_what_httpcore_logs_of_an_answer_holds_no_key(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", logger="httpcore")
        keys = {"management_key": "mgmt-key-5b1e", "inference_key": "inference-key-a94c"}
        with (
            HostileServer(answer(b"{}", f"X-Echo: {' '.join(KEYS)}", status="404 No")) as server,
            CerebrasClient(settings(base_url=server.url, **keys)) as client,
            pytest.raises(NotFound),
        ):
            client.send_once(ARCHITECTURES)
        assert "(b'X-Echo', b'*** ***')" in caplog.text
        assert not [key for key in KEYS if key in caplog.text]

    @pytest.mark.parametrize("call", [ARCHITECTURES, UPLOAD], ids=["GET", "POST"])
    def test_a_cause_that_repeats_a_key_is_not_in_the_traceback(self, connect: Connect, call: Call[Any]) -> None:
        with pytest.raises(CerebrasError, match=r"broken: \*\*\*") as caught:
            connect(httpx.ReadError(f"broken: {KEYS[0]}"), max_retries=0).send(call)
        assert KEYS[0] not in "".join(traceback.format_exception(caught.value))
