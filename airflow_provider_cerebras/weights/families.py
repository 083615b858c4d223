"""The ``model_type`` of the configurations of each architecture of the service.

The service does not publish the table, so it holds what the names of well-known architectures say. What it does not
know is a warning, never an error.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Family(NamedTuple):
    """Architectures that belong together.

    :param name: what they are called.
    :param ids: how an architecture id of the family begins; None: no beginning says it for certain.
    :param model_types: what ``model_type`` is in their configurations.
    """

    name: str
    ids: re.Pattern[str] | None
    model_types: frozenset[str]


def _family(name: str, ids: str | None, *model_types: str) -> Family:
    return Family(name, re.compile(ids) if ids else None, frozenset(model_types))


FAMILIES = (
    # The first that matches counts: distilled models are called after their teacher, and are built like their base.
    _family("Llama", r"deepseek-r1-distill-llama", "llama"),
    _family("Qwen 2", r"deepseek-r1-distill-qwen", "qwen2"),
    _family("gpt-oss", r"gpt-?oss", "gpt_oss"),
    _family("Llama 4", r"(meta-)?llama-?4", "llama4", "llama4_text"),
    _family("Llama", r"(meta-)?llama-?[23]", "llama", "mllama", "mllama_text_model"),
    _family(
        "Qwen 3",
        r"qwen-?3",
        *("qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl", "qwen3_vl_moe"),
        *("qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"),
    ),
    _family("Qwen 2", r"(qwen-?2|qwq)", "qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl"),
    _family("GLM", r"zai-glm", "glm4", "glm4_moe", "glm4_moe_lite", "glm4v", "glm4v_moe", "glm_moe_dsa"),
    _family("Gemma", r"gemma", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text"),
    # Under these names there are models that are built like Llama, like Qwen and like each other.
    _family("DeepSeek", None, "deepseek_v2", "deepseek_v3", "deepseek_v32"),
    _family("Mistral", None, "mistral", "mistral3", "mixtral", "ministral", "ministral3"),
)

_CLASS = re.compile(r"(\w+)For(CausalLM|ConditionalGeneration)")
_BY_CLASS = {each.replace("_", ""): each for family in FAMILIES for each in family.model_types}
"""Model types by the names of their classes, in lower case: ``Qwen3MoeForCausalLM`` is of ``qwen3_moe``."""


def family_of(model_arch_id: str) -> Family | None:
    """The family of an architecture of the service; None: it is not known.

    :param model_arch_id: the architecture.
    """
    return next((each for each in FAMILIES if each.ids and each.ids.match(model_arch_id.lower())), None)


def families_of_type(model_type: str) -> set[str]:
    """The names of the families that a ``model_type`` belongs to; none: it is not known.

    :param model_type: as a configuration says it.
    """
    return {each.name for each in FAMILIES if model_type in each.model_types}


def model_type_of(config: dict[str, object]) -> str | None:
    """The ``model_type`` of a configuration, said by itself or by ``architectures``; None: neither says it.

    :param config: the configuration.
    """
    model_type, classes = config.get("model_type"), config.get("architectures")
    if isinstance(model_type, str) and model_type:
        return model_type
    if isinstance(classes, list) and classes and isinstance(classes[0], str):
        match = _CLASS.fullmatch(classes[0])
        return _BY_CLASS.get(match[1].lower().replace("_", "")) if match else None
    return None
