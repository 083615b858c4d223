"""Pure checks of the configuration, the index and the headers: whether weights are a model of an architecture.

A model is refused only if no server could serve it. Unknown forms pass.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.emulator.service.weights import WeightsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_cerebras.emulator.service.weights import Tensor

    Headers = Mapping[str, Mapping[str, Tensor]]

_LLAMA, _LLAMA_4 = "llama mllama mllama_text_model", "llama4 llama4_text"
_QWEN_2 = "qwen2 qwen2_moe qwen2_vl qwen2_5_vl"
_QWEN_3 = "qwen3 qwen3_moe qwen3_next qwen3_vl qwen3_vl_moe qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text"
_MODEL_TYPES = {
    "deepseek-r1-distill-llama*": _LLAMA,
    "deepseek-r1-distill-qwen*": _QWEN_2,
    "gpt-oss*": "gpt_oss",
    "gptoss*": "gpt_oss",
    **dict.fromkeys(("llama-4*", "llama4*", "meta-llama-4*", "meta-llama4*"), _LLAMA_4),
    **dict.fromkeys(("llama-[23]*", "llama[23]*", "meta-llama-[23]*", "meta-llama[23]*"), _LLAMA),
    **dict.fromkeys(("qwen-2*", "qwen2*", "qwq*"), _QWEN_2),
    **dict.fromkeys(("qwen-3*", "qwen3*"), _QWEN_3),
    "zai-glm*": "glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe glm_moe_dsa",
    "gemma*": "gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text",
}
"""Patterns of the ids of architectures, and the ``model_type`` that their configurations have."""
_OTHER_TYPES = "deepseek_v2 deepseek_v3 deepseek_v32 mistral mistral3 mixtral ministral ministral3"
_KNOWN_TYPES = " ".join([*_MODEL_TYPES.values(), _OTHER_TYPES]).split()
_PREFIX = r"(?:model\.|language_model\.|model\.language_model\.|language_model\.model\.)"
_EMBEDDING = re.compile(rf"{_PREFIX}?(?:embed_tokens|lm_head)\.weight")
_NORM = re.compile(rf"{_PREFIX}(?:layers\.\d+\.(?:input|post_attention)_layernorm|norm)\.weight")
_LAYER = re.compile(rf"({_PREFIX}?)layers\.(\d{{1,6}})\.")
_NUMBERS = {"F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2"}
"""Dtypes of which each element is one number of the model; others may hold several."""
_NUMBER = re.compile(r"-(\d+)-of-(\d+)\.safetensors")
_OF_A_SET = re.compile(r".*-\d+-of-\d+\.safetensors")
_DESCRIBED_ELSEWHERE = {
    "block_configs",
    "embedding_size",
    "word_embed_proj_dim",
    "vocab_size_per_layer_input",
    "n_codebooks",
}
"""Fields of configurations that describe each layer or each embedding on its own."""


def check_model(
    config: Mapping[str, Any], weight_map: Mapping[str, str] | None, headers: Headers, model_arch_id: str
) -> None:
    """Refuse weights that cannot be a model of an architecture.

    :param config: the configuration.
    :param weight_map: the index: from tensors to files; None: there is none.
    :param headers: the tensors by their names, for each ``*.safetensors`` that is sound.
    :param model_arch_id: the architecture.
    """
    ours = files_of_model(headers, weight_map)
    if all("/" in name for name in headers) and not weight_map:
        raise WeightsError("there is no *.safetensors in the root of the prefix, only in folders below it")
    _check_architecture(config, model_arch_id)
    if weight_map:
        _check_places(weight_map, headers)
    else:
        _check_sets({name: headers[name] for name in ours})
    tensors = {tensor: each for name in ours if name in headers for tensor, each in headers[name].items()}
    _check_content(tensors)
    nested = config.get("text_config")
    text = {**config, **nested} if isinstance(nested, dict) else config
    if not _DESCRIBED_ELSEWHERE & text.keys():
        _check_sizes(text, tensors)
        _check_layers(text, tensors)


def files_of_model(names: Collection[str], weight_map: Mapping[str, str] | None) -> set[str]:
    """Return the files that make up the model; other files are not judged.

    :param names: all ``*.safetensors`` below the prefix.
    :param weight_map: the index: from tensors to files; None: there is none.
    """
    if weight_map:
        return set(weight_map.values())
    found = {name for name in names if "/" not in name} or set(names)
    for beginning in ("adapter_model", "consolidated"):
        found = {name for name in found if not name.startswith(beginning)} or found
    return found


def _check_architecture(config: Mapping[str, Any], model_arch_id: str) -> None:
    model_type, arch = _model_type(config), model_arch_id.lower()
    expected = next((types for pattern, types in _MODEL_TYPES.items() if fnmatchcase(arch, pattern)), None)
    if expected and model_type in _KNOWN_TYPES and model_type not in expected.split():
        raise WeightsError(f"config.json is of the model_type {model_type!r}, which is not {model_arch_id}")


def _model_type(config: Mapping[str, Any]) -> object:
    """The type, which may be in the name of the class only: ``Qwen3MoeForCausalLM`` is a ``qwen3_moe``."""
    match config:
        case {"model_type": str(model_type)} if model_type:
            return model_type
        case {"architectures": [str(first), *_]}:
            name, suffix, of_what = first.lower().replace("_", "").rpartition("for")
            known = suffix and of_what in {"causallm", "conditionalgeneration"}
            return next((each for each in _KNOWN_TYPES if known and each.replace("_", "") == name), None)
    return None


def _check_places(weight_map: Mapping[str, str], headers: Headers) -> None:
    for tensor, name in weight_map.items():
        if name in headers and tensor not in headers[name]:
            raise WeightsError(f"the index says that {name} holds the tensor {tensor!r}, which it does not")
    named = set(weight_map.values())
    holders: dict[str, str] = {}
    for name in sorted(named & headers.keys()):
        for tensor in headers[name]:
            if tensor in holders:
                raise WeightsError(f"the tensor {tensor!r} is in {holders[tensor]} and in {name}")
            holders[tensor] = name
    sets = {_set_of(name) for name in named} - {None}
    for name in sorted(name for name in headers.keys() - named if "/" not in name):
        if _set_of(name) in sets and headers[name].keys() - holders.keys():
            raise WeightsError(f"the index does not name {name}, which holds tensors that no other shard has")


def _set_of(name: str) -> str | None:
    """Return the part of a shard's name that all shards of one save share."""
    return re.sub(r"-\d+-of-", "-of-", name) if _OF_A_SET.fullmatch(name) else None


def _check_sets(headers: Headers) -> None:
    """Refuse shards without an index that are not one whole save."""
    sets: dict[str, list[str]] = defaultdict(list)
    for name in sorted(headers):
        if (one := _set_of(name)) is not None:
            sets[one].append(name)
    holders: dict[str, str] = {}
    for tensor, name in ((tensor, each) for names in sets.values() for each in names for tensor in headers[each]):
        if holders.setdefault(tensor, name) != name:
            raise WeightsError(f"without an index, the tensor {tensor!r} is in {holders[tensor]} and in {name}")
    if len(sets) == 1 and sum(map(len, sets.values())) == len(headers):
        (names,) = sets.values()
        numbers = {int(match[1]) for match in map(_NUMBER.search, names) if match}
        total = max(int(match[2]) for match in map(_NUMBER.search, names) if match)
        # Some savers count from 0, and some of them name the last number as the total.
        if not any(numbers >= set(wanted) for wanted in (range(1, total + 1), range(total))):
            raise WeightsError(f"without an index, shards of {names[0]} are missing")


def _check_content(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if name.endswith(".weight") and 0 in tensor.shape:
            raise WeightsError(f"the tensor {name!r} has the shape {list(tensor.shape)}, so it holds no weights")
    blocks = {name.removesuffix("_blocks") for name in tensors if name.endswith("_blocks")}
    scales = {name.removesuffix("_scales") for name in tensors if name.endswith("_scales")}
    # Without any blocks, _scales may be something else.
    if blocks and (alone := sorted(blocks ^ scales)):
        raise WeightsError(f"of {alone[0]!r} there are _blocks without _scales, or _scales without _blocks")


def _check_sizes(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    vocabulary, hidden = _count(config, "vocab_size"), _count(config, "hidden_size")
    for name, (dtype, shape) in tensors.items():
        if dtype not in _NUMBERS or 0 in shape:
            continue
        is_embedding = bool(_EMBEDDING.fullmatch(name)) and len(shape) == 2
        if is_embedding and vocabulary and shape[0] < vocabulary:
            raise WeightsError(f"the tensor {name!r} has {shape[0]} rows, and vocab_size is {vocabulary}")
        has_columns = is_embedding or (bool(_NORM.fullmatch(name)) and len(shape) == 1)
        if has_columns and hidden and shape[-1] != hidden:
            raise WeightsError(f"the tensor {name!r} has {shape[-1]} columns, and hidden_size is {hidden}")


def _check_layers(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    count = _count(config, "num_hidden_layers")
    found = {(match[1], int(match[2])) for match in map(_LAYER.match, tensors) if match}
    if not count or len({stack for stack, _ in found}) != 1:
        return
    present = {number for _, number in found}
    missing = next(number for number in itertools.count() if number not in present)
    if missing < count:
        raise WeightsError(f"num_hidden_layers is {count}, and there are no tensors of layer {missing}")


def _count(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if type(value) is int and value > 0 else None
