"""Which architecture a model type is known to be of another family than, and what is not known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cerebras.weights.examine import examine
from tests.unit.weights.layouts import LAYOUTS, describe


def codes(arch: str, config: dict[str, Any]) -> set[str]:
    files = {**LAYOUTS["llama, tied"][1](), "config.json": json.dumps(config).encode()}
    return {each.code for each in examine(describe(files), arch, ["config"])[1]} & {
        "other-architecture",
        "unknown-architecture",
    }


@pytest.mark.parametrize(
    ("arch", "model_type"),
    [
        ("gpt-oss-120b", "gpt_oss"),
        ("llama3.1-8b", "llama"),
        ("Llama-3.3-70B", "llama"),
        ("llama-4-scout-17b-16e-instruct", "llama4"),
        ("qwen-3-235b-a22b-instruct-2507", "qwen3_moe"),
        ("qwen-3-32b", "qwen3"),
        ("qwen-3-coder-480b", "qwen3_moe"),
        ("deepseek-r1-distill-llama-70b", "llama"),
        ("zai-glm-4.7", "glm4_moe"),
    ],
)
def test_a_known_architecture_has_a_known_model_type(arch: str, model_type: str) -> None:
    assert codes(arch, {"model_type": model_type}) == set()
    assert codes(arch, {"model_type": "deepseek_v3"}) == {"other-architecture"}
    assert codes(arch, {"model_type": "of-tomorrow"}) == {"unknown-architecture"}


@pytest.mark.parametrize(
    ("arch", "model_type"),
    [
        # Each is built like a model of another name.
        ("deepseek-coder-33b", "llama"),
        ("deepseek-r1-0528-qwen3-8b", "qwen3"),
        ("kimi-dev-72b", "qwen2"),
        ("kimi-k2", "deepseek_v3"),
        ("mistral-large-3", "deepseek_v3"),
        ("my-own", "llama"),
        ("qwen-3.8-27b", "qwen3_8"),
        ("gemma-4-31b", "gemma4"),
    ],
)
def test_what_is_not_known_for_certain_is_no_error(arch: str, model_type: str) -> None:
    assert codes(arch, {"model_type": model_type}) == {"unknown-architecture"}


def test_the_class_stands_in_for_the_type() -> None:
    assert codes("gpt-oss-120b", {"architectures": ["GptOssForCausalLM"]}) == set()
    assert codes("gpt-oss-120b", {"architectures": ["LlamaForCausalLM"]}) == {"other-architecture"}
    configs: list[dict[str, Any]] = [
        {},
        {"architectures": []},
        {"architectures": [1]},
        {"model_type": 1},
        {"architectures": "x"},
    ]
    for config in configs:
        assert codes("gpt-oss-120b", config) == {"unknown-architecture"}
