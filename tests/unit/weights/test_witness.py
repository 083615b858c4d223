"""The emulator, which judges weights by code of its own, and the check agree about what can certainly not be served."""

from __future__ import annotations

import json
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.emulator.service.model_checks import check_model
from airflow_provider_cerebras.emulator.service.s3_weights import S3WeightReader
from airflow_provider_cerebras.emulator.service.weights import WeightsError
from airflow_provider_cerebras.weights.examine import examine
from airflow_provider_cerebras.weights.families import FAMILIES
from airflow_provider_cerebras.weights.findings import Level
from tests.s3 import put
from tests.unit.weights.damages import DAMAGES, ODDITIES
from tests.unit.weights.generated import UNUSUAL, layouts
from tests.unit.weights.layouts import LAYOUTS, describe, safetensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from tests.unit.weights.layouts import Files

    Judge = Callable[[Files, str | None], str | None]

ONLY_EMULATOR = {
    "a_dtype_is_not_known": "It cannot tell how many bytes it takes; the check warns, since the service may know it.",
    "there_is_an_adapter_only": "It serves whole models; the check warns, since a contract may allow adapters.",
}
"""Damages that only the emulator refuses, and why."""
ONLY_CHECK: dict[str, str] = {}
"""Damages that only the check refuses, and why the emulator does not."""


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as reads the files of one bucket, in a hundredth of the time that moto takes."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet, for which no acknowledgement is waited

    def __init__(self, files: Files, *args: object) -> None:
        self._files = files
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        key = unquote(url.path).removeprefix("/models").removeprefix("/")
        content = self._files.get(key) if key else self._listing(parse_qs(url.query)["prefix"][0])
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def _listing(self, prefix: str) -> bytes:
        keys = sorted(key for key in self._files if key.startswith(prefix))
        entries = (f"<Contents><Key>{escape(key)}</Key><Size>{len(self._files[key])}</Size></Contents>" for key in keys)
        return f"<ListBucketResult>{''.join(entries)}</ListBucketResult>".encode()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture(autouse=True, scope="module")
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "ACCESS_KEY_ID": "test",
            "SECRET_ACCESS_KEY": "test",
            "DEFAULT_REGION": "us-east-1",
        }.items():
            environment.setenv(f"AWS_{name}", value)
        yield


@pytest.fixture(scope="module")
def refusal(credentials: None) -> Iterator[Judge]:
    """Judges files for an architecture: why the emulator does not serve them; None: it does."""
    bucket: Files = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Bucket, bucket)) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        witness = S3WeightReader(f"http://127.0.0.1:{server.server_port}")

        def judge(files: Files, arch: str | None) -> str | None:
            bucket.clear()
            bucket.update({f"run/{key}": content for key, content in files.items()})
            return reason(witness, "s3://models/run", arch)

        yield judge
        server.shutdown()
        thread.join()


def reason(witness: S3WeightReader, weight_uri: str, arch: str | None) -> str | None:
    """Why the emulator does not serve weights; None: it does."""
    try:
        witness(weight_uri, arch).result(timeout=60)
    except WeightsError as error:
        return str(error)
    return None


def errors(files: Files, arch: str) -> set[str]:
    """Codes of what the check refuses."""
    return {each.code for each in examine(describe(files), arch)[1] if each.level is Level.ERROR}


def test_what_passes_the_check_is_served(s3_url: str, s3: S3Client) -> None:
    witness, refused = S3WeightReader(s3_url), {}
    for name, (arch, make) in LAYOUTS.items():
        uri = put(s3, "models", name, make())
        refused[name] = reason(witness, uri, arch)
    assert refused == dict.fromkeys(LAYOUTS)


@settings(max_examples=20)
@given(layout=layouts())
def test_a_good_layout_is_served(refusal: Judge, layout: tuple[str, Files]) -> None:
    arch, files = layout
    assert (refusal(files, arch), errors(files, arch)) == (None, set())


@pytest.mark.parametrize("name", DAMAGES)
def test_both_refuse_the_same_damages_of_a_layout_of_the_hub(refusal: Judge, name: str) -> None:
    damaged = []
    for seed, (arch, make) in enumerate(LAYOUTS.values()):
        files = make()
        if DAMAGES[name](files, Random(seed)) is not None:
            damaged.append((arch, files))
    for arch, files in (damaged[0], damaged[-1]):
        compare(refusal, name, arch, files)


@pytest.mark.parametrize("name", DAMAGES)
@settings(max_examples=4)
@given(layout=layouts(), random=st.randoms(use_true_random=False))
def test_both_refuse_the_same_damages(refusal: Judge, name: str, layout: tuple[str, Files], random: Random) -> None:
    arch, files = layout
    if DAMAGES[name](files, random) is not None:
        compare(refusal, name, arch, files)


def compare(refusal: Judge, name: str, arch: str, files: Files) -> None:
    """Both refuse files that were damaged, or neither does, but for the differences that are listed."""
    why, codes = refusal(files, arch), errors(files, arch)
    by_emulator = why is not None and name not in ONLY_EMULATOR
    by_check = bool(codes) and name not in ONLY_CHECK
    assert by_emulator == by_check, (why, codes)
    # What is listed as a difference is one.
    assert name not in ONLY_EMULATOR or (why is not None and not codes)
    assert name not in ONLY_CHECK or (why is None and codes)


@pytest.mark.parametrize("name", ODDITIES)
@settings(max_examples=4)
@given(layout=layouts(), random=st.randoms(use_true_random=False))
def test_what_is_odd_and_works_is_served(refusal: Judge, name: str, layout: tuple[str, Files], random: Random) -> None:
    arch, files = layout
    ODDITIES[name](files, random)
    assert (refusal(files, arch), errors(files, arch)) == (None, set())


def test_what_is_unusual_and_works_is_served(refusal: Judge) -> None:
    refused = {each.__name__ for each in UNUSUAL if refusal(each(), "llama3.1-8b") is not None}
    # An adapter, and a dtype that is not known: see ONLY_EMULATOR.
    assert refused == {"adapter", "of_another_time"}


ARCHITECTURES = [
    *(
        "gpt-oss-120b",
        "gptoss-20b",
        "llama3.1-8b",
        "Llama-3.3-70B",
        "meta-llama-3-8b",
        "llama-4-scout-17b-16e-instruct",
    ),
    *("qwen-2.5-7b", "qwq-32b", "qwen-3-32b", "qwen3-coder", "zai-glm-4.7", "gemma-3-27b", "mistral-small", "my-own"),
    *("deepseek-r1-distill-llama-70b", "deepseek-r1-distill-qwen-32b", "deepseek-v3", "meta-llama4", "llama", "glm-4"),
]
CLASSES = [
    *("GptOssForCausalLM", "LlamaForCausalLM", "Llama4ForConditionalGeneration", "Llama4ForCausalLM"),
    *(
        "MllamaForConditionalGeneration",
        "Qwen2ForCausalLM",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen3MoeForCausalLM",
    ),
    *("Glm4MoeForCausalLM", "Gemma3ForCausalLM", "DeepseekV3ForCausalLM", "MixtralForCausalLM", "Llama9ForCausalLM"),
    *("LlamaForSequenceClassification", "Llama", "", "Gemma4ForCausalLM"),
]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_both_refuse_the_same_model_types(arch: str) -> None:
    types = {each for family in FAMILIES for each in family.model_types} | {"of-tomorrow", "gemma4", "qwen3_8", ""}
    configs: list[dict[str, Any]] = [{"model_type": each} for each in sorted(types)]
    configs += [{"architectures": [each]} for each in CLASSES]
    configs += [{"model_type": "gpt_oss", "architectures": ["LlamaForCausalLM"]}, {"architectures": "gpt_oss"}, {}]
    configs += [{"model_type": 1}, {"architectures": []}, {"model_type": None, "architectures": [1]}]
    for config in configs:
        try:
            check_model(config, None, {"model.safetensors": {}}, arch)
            refused = False
        except WeightsError:
            refused = True
        files = {"model.safetensors": safetensors({}), "config.json": json.dumps(config).encode()}
        assert (errors(files, arch) == {"other-architecture"}) == refused, config


def test_only_the_files_count_if_no_architecture_is_asked_for(
    refusal: Judge,
) -> None:
    files = LAYOUTS["llama, tied"][1]()
    files["config.json"] = b'{"model_type": "gemma3_text"}'
    assert refusal(files, None) is None
    assert "which is not " in (refusal(files, "llama3.1-8b") or "")
