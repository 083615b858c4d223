"""The configuration: whether it is one, and whether the tensors are those of the model that it describes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.weights.description import CONFIG, MAX_CONFIG_BYTES, TOKENIZER
from airflow_provider_cerebras.weights.families import families_of_type, family_of, model_type_of
from airflow_provider_cerebras.weights.files import unread
from airflow_provider_cerebras.weights.findings import Finding, demoted, finding, plain, some
from airflow_provider_cerebras.weights.json_text import BadJson, json_object
from airflow_provider_cerebras.weights.safetensors import looks_like

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_cerebras.weights.description import Description
    from airflow_provider_cerebras.weights.files import Model
    from airflow_provider_cerebras.weights.safetensors import Tensor

_EMBEDDING = re.compile(r"((.*\.)?(model|language_model|transformer)\.)?(embed_tokens|wte|tok_embeddings)\.weight")
_HEAD = re.compile(r"(.*\.)?(lm_head|output|embed_out)\.\w+")
_LAYER = re.compile(r"((?:(?:.*\.)?(?:model|language_model|transformer|decoder)\.)?(?:layers|h))\.(\d{1,6})\.")
_NORM = re.compile(r"(.*\.)?(model|language_model)\.(layers\.\d+\.(input|post_attention)_layernorm|norm)\.weight")
_FLOATS = {"F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2"}
_NOT_TEXT = re.compile(r"vision|visual|audio|image|encoder|tower|projector|mtp|draft")
# Their configurations describe each layer or each embedding on its own.
_OWN_RULES = {"block_configs", "embedding_size", "word_embed_proj_dim", "vocab_size_per_layer_input", "n_codebooks"}


def examine_config(description: Description, model: Model, model_arch_id: str) -> Iterator[Finding]:
    """Check the configuration against the architecture, and the tensors against the configuration.

    :param description: the listing and the first bytes of the objects.
    :param model: the files that the model is made of.
    :param model_arch_id: the architecture that the weights are meant for.
    """
    yield from _tokenizer(description)
    tensors = {name: (key, tensor) for key, header in model.headers.items() for name, tensor in header.tensors.items()}
    yield from _empty_tensors(tensors)
    yield from _pairs(tensors, model)
    if model.is_adapter:
        return
    config, problem = _read(description)
    if config is None:
        yield problem or finding("no-config", "It is not there.", key=CONFIG)
        return
    yield from _architecture(config, model_arch_id)
    nested = config.get("text_config")
    text = {**config, **nested} if isinstance(nested, dict) else config
    yield from _quantization(config, tensors)
    if not _OWN_RULES & text.keys():
        yield from _sizes(text, tensors)
        if model.is_whole:
            yield from _layers(text, tensors, model)
            yield from _head(text, tensors)


def _tokenizer(description: Description) -> Iterator[Finding]:
    found = [each for each in description.listing.objects if each.in_root and TOKENIZER.fullmatch(each.key)]
    if not found:
        yield finding("tokenizer-missing", "Neither tokenizer.json nor tokenizer.model nor vocab.json is there.")
    for each in found:
        code = looks_like(description.beginnings.get(each.key, b""))
        if code or not each.size:
            problem = finding(code or "empty-object", "It is to be the tokenizer.", key=each.key)
            yield demoted(problem, "Whether it is needed is not documented.")


def _read(description: Description) -> tuple[dict[str, Any] | None, Finding | None]:
    stored = description.objects.get(CONFIG)
    if stored is None:
        hidden = CONFIG in description.listing.deleted
        return None, finding("no-config", "A delete marker hides it.", key=CONFIG) if hidden else None
    if problem := unread(description, CONFIG):
        return None, problem
    content = description.beginnings.get(CONFIG, b"")
    if not stored.size:
        return None, finding("empty-object", "It has no bytes.", key=CONFIG)
    if len(content) < stored.size:
        what = f"It has {stored.size} bytes; a configuration of up to {MAX_CONFIG_BYTES} is read."
        return None, finding("header-not-read", what, key=CONFIG)
    if code := looks_like(content):
        return None, finding(code, "It is in place of the configuration.", key=CONFIG)
    try:
        return json_object(content, unique_keys=False), None
    except BadJson as error:
        return None, finding("bad-config", f"It {error}.", key=CONFIG)


def _architecture(config: dict[str, Any], model_arch_id: str) -> Iterator[Finding]:
    family, model_type = family_of(model_arch_id), model_type_of(config)
    if model_type is None:
        what = "It has neither a model_type nor architectures that are known."
        yield finding("unknown-architecture", what, key=CONFIG)
        return
    known = families_of_type(model_type)
    of_the_type = f"Its model_type is {plain(model_type)!r}"
    if family is None or not known:
        what = f"{of_the_type}, and whether it is that of {plain(model_arch_id)!r} is not known."
        yield finding("unknown-architecture", what, key=CONFIG)
    elif family.name not in known:
        what = f"{of_the_type} ({some(known)}), and {plain(model_arch_id)!r} is of the family {family.name}."
        yield finding("other-architecture", what, key=CONFIG)


def _sizes(config: dict[str, Any], tensors: Mapping[str, tuple[str, Tensor]]) -> Iterator[Finding]:
    vocab_size = _size(config, "vocab_size")
    hidden_size = _size(config, "hidden_size", "n_embd")
    for name, (key, tensor) in tensors.items():
        if tensor.dtype not in _FLOATS or _NOT_TEXT.search(name) or 0 in tensor.shape:
            continue
        has_rows_of_words = _EMBEDDING.fullmatch(name) or name.endswith("lm_head.weight")
        if has_rows_of_words and len(tensor.shape) == 2:
            rows, columns = tensor.shape
            if vocab_size and rows != vocab_size:
                code = "vocabulary-too-small" if rows < vocab_size else "vocabulary-larger"
                what = f"It has {rows} rows, and vocab_size in {CONFIG} is {vocab_size}."
                yield finding(code, what, key=key, tensor=name)
        elif _NORM.fullmatch(name) and len(tensor.shape) == 1:
            columns = tensor.shape[0]
        else:
            continue
        if hidden_size and columns != hidden_size:
            what = f"It has {columns} columns, and hidden_size in {CONFIG} is {hidden_size}."
            yield finding("hidden-size", what, key=key, tensor=name)


def _layers(config: dict[str, Any], tensors: Mapping[str, tuple[str, Tensor]], model: Model) -> Iterator[Finding]:
    count = _size(config, "num_hidden_layers", "n_layer")
    found: dict[str, set[int]] = defaultdict(set)
    for name in tensors:
        match = _LAYER.match(name)
        if match and not _NOT_TEXT.search(match[1]):
            found[match[1]].add(int(match[2]))
    if not count or len(found) != 1:
        return
    (stack, numbers), extra = found.popitem(), _size(config, "num_nextn_predict_layers", "num_mtp_layers") or 0
    # The count is not checked, and only the first that are missing are of interest.
    missing = [number for number in range(min(count, max(numbers) + 1000)) if number not in numbers]
    if missing:
        where = model.index_key or model.shards[0]
        shown = some(f"{stack}.{number}" for number in missing[:3])
        what = f"num_hidden_layers in {CONFIG} is {count}, and there are no tensors of {shown}"
        yield finding("layer-missing", f"{what}{' and others' if len(missing) > 3 else ''}.", key=where)
    if max(numbers) >= count + extra:
        what = f"There is {stack}.{max(numbers)}, and num_hidden_layers in {CONFIG} is {count}."
        yield finding("more-layers", what, key=CONFIG)


def _head(config: dict[str, Any], tensors: Mapping[str, tuple[str, Tensor]]) -> Iterator[Finding]:
    embeds = any(_EMBEDDING.fullmatch(name) for name in tensors)
    if config.get("tie_word_embeddings") is False and embeds and not any(_HEAD.fullmatch(name) for name in tensors):
        yield finding("no-output-head", "tie_word_embeddings is false, and there is no lm_head.", key=CONFIG)


def _empty_tensors(tensors: Mapping[str, tuple[str, Tensor]]) -> Iterator[Finding]:
    for name, (key, tensor) in tensors.items():
        if 0 in tensor.shape:
            code = "empty-weight" if name.endswith(".weight") else "empty-tensor"
            yield finding(code, f"Its shape is {list(tensor.shape[:8])}.", key=key, tensor=name)


def _pairs(tensors: Mapping[str, tuple[str, Tensor]], model: Model) -> Iterator[Finding]:
    """Blocks of four-bit numbers, each of which has a scale in a tensor of its own."""
    if not model.is_whole:
        return
    has_blocks = any(name.endswith("_blocks") for name in tensors)
    for name, (key, _) in tensors.items():
        for one, other in (("_blocks", "_scales"), ("_scales", "_blocks")):
            if name.endswith(one) and name.removesuffix(one) + other not in tensors:
                found = finding("scales-missing", f"There is no {other} beside it.", key=key, tensor=name)
                yield found if has_blocks else demoted(found, "Without any blocks, it may be something else.")


def _quantization(config: dict[str, Any], tensors: Mapping[str, tuple[str, Tensor]]) -> Iterator[Finding]:
    settings = config.get("quantization_config")
    dtypes = Counter(tensor.dtype for _, tensor in tensors.values())
    packed = any(name.endswith(("_blocks", ".qweight", ".weight_packed")) for name in tensors)
    is_quantized = packed or any(dtype.startswith(("F8_E4M3", "F8_E5M2", "F4", "I8")) for dtype in dtypes)
    if settings is None and is_quantized:
        what = f"It has no quantization_config, and there are tensors of {some(dtypes)}, which are quantized."
        yield finding("quantization", what, key=CONFIG)
    elif isinstance(settings, dict) and tensors and dtypes.keys() <= {"F16", "BF16", "F32", "F64"}:
        method = settings.get("quant_method")
        what = f"Its quantization_config is of {plain(str(method))!r}, and all tensors are of {some(dtypes)}."
        yield finding("quantization", what, key=CONFIG)


def _size(config: dict[str, Any], *names: str) -> int | None:
    """A number of the configuration that counts something, or None if it has none."""
    value = next((config[name] for name in names if name in config), None)
    return value if type(value) is int and value > 0 else None
