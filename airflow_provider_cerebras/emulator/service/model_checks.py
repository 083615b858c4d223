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
    from collections.abc import Mapping

    Shape = tuple[int, ...]
    Headers = Mapping[str, Mapping[str, Shape]]

_MODEL_TYPES = (
    ("gpt-oss", ("gpt_oss",)),
    ("llama-4", ("llama4", "llama4_text")),
    ("llama4", ("llama4", "llama4_text")),
    ("llama", ("llama", "mllama", "mllama_text_model")),
    ("qwen-2", ("qwen2*",)),
    ("qwen-3", ("qwen3*",)),
    ("zai-glm", ("glm*",)),
)
"""How the id of an architecture begins, and patterns of the ``model_type`` of its configurations."""
_KNOWN_TYPES = ("gemma*", *(each for _, types in _MODEL_TYPES for each in types))
_CLASSES = (
    ("GptOss", "gpt_oss"),
    ("Llama4", "llama4"),
    ("Llama", "llama"),
    ("Mllama", "mllama"),
    ("Qwen2", "qwen2"),
    ("Qwen3", "qwen3"),
    ("Glm", "glm"),
    ("Gemma", "gemma"),
)
"""How the names of the classes in ``architectures`` begin, and the ``model_type`` that they stand for."""
_TEXT_MODEL = r"(?:model\.|language_model\.|model\.language_model\.|language_model\.model\.)?"
_EMBEDDING = re.compile(_TEXT_MODEL + r"embed_tokens\.weight")
_LAYER = re.compile(rf"({_TEXT_MODEL})layers\.(\d{{1,6}})\.")
_NUMBER = re.compile(r"-(\d+)-of-(\d+)\.safetensors")
_OF_A_SET = re.compile(r".*-\d+-of-\d+\.safetensors")
_DESCRIBED_ELSEWHERE = {"block_configs", "embedding_size", "word_embed_proj_dim", "vocab_size_per_layer_input"}
"""Fields of configurations that describe each layer or each embedding on its own."""


def check_model(
    config: Mapping[str, Any], weight_map: Mapping[str, str] | None, headers: Headers, model_arch_id: str
) -> None:
    """Refuse weights that cannot be a model of an architecture.

    :param config: the configuration.
    :param weight_map: the index: from tensors to files; None: there is none.
    :param headers: shapes of the tensors by their names, for each ``*.safetensors`` in the root of the prefix.
    :param model_arch_id: the architecture.
    """
    if not headers:
        raise WeightsError("there is no *.safetensors in the root of the prefix, only in folders below it")
    _check_architecture(config, model_arch_id)
    if weight_map:
        _check_places(weight_map, headers)
        headers = {name: headers[name] for name in set(weight_map.values()) if name in headers}
    else:
        _check_sets(headers)
    tensors: dict[str, Shape] = {}
    for header in headers.values():
        tensors.update(header)
    _check_content(tensors)
    nested = config.get("text_config")
    text = {**config, **nested} if isinstance(nested, dict) else config
    if not _DESCRIBED_ELSEWHERE & text.keys():
        _check_sizes(text, tensors)
        _check_layers(text, tensors)


def _check_architecture(config: Mapping[str, Any], model_arch_id: str) -> None:
    model_type, arch = _model_type(config), model_arch_id.lower()
    expected = next((types for beginning, types in _MODEL_TYPES if arch.startswith(beginning)), None)
    if expected and _matches(model_type, _KNOWN_TYPES) and not _matches(model_type, expected):
        raise WeightsError(f"config.json is of the model_type {model_type!r}, which is not {model_arch_id}")


def _model_type(config: Mapping[str, Any]) -> object:
    """Return the ``model_type``, or the one that the name of the class says."""
    names = config.get("architectures")
    if config.get("model_type") is not None or not isinstance(names, list):
        return config.get("model_type")
    return next((kind for each in names for start, kind in _CLASSES if str(each).startswith(start)), None)


def _matches(model_type: object, patterns: tuple[str, ...]) -> bool:
    return isinstance(model_type, str) and any(fnmatchcase(model_type, each) for each in patterns)


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
    for name in sorted(headers.keys() - named):
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


def _check_content(tensors: Mapping[str, Shape]) -> None:
    for tensor, shape in tensors.items():
        if tensor.endswith(".weight") and 0 in shape:
            raise WeightsError(f"the tensor {tensor!r} has the shape {list(shape)}, so it holds no weights")
        for one, other in (("_blocks", "_scales"), ("_scales", "_blocks")):
            if tensor.endswith(one) and tensor.removesuffix(one) + other not in tensors:
                raise WeightsError(f"the tensor {tensor!r} has no {other} beside it")


def _check_sizes(config: Mapping[str, Any], tensors: Mapping[str, Shape]) -> None:
    vocabulary, hidden = _count(config, "vocab_size"), _count(config, "hidden_size")
    for tensor, shape in tensors.items():
        if not _EMBEDDING.fullmatch(tensor) or len(shape) != 2 or 0 in shape:
            continue
        if vocabulary and shape[0] < vocabulary:
            raise WeightsError(f"the tensor {tensor!r} has {shape[0]} rows, and vocab_size is {vocabulary}")
        if hidden and shape[1] != hidden:
            raise WeightsError(f"the tensor {tensor!r} has {shape[1]} columns, and hidden_size is {hidden}")


def _check_layers(config: Mapping[str, Any], tensors: Mapping[str, Shape]) -> None:
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
