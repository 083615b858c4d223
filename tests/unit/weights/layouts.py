"""Layouts as they are on the hub, made small: the same files, names of tensors and dtypes, with tiny shapes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_cerebras.weights.description import Description, wanted
from airflow_provider_cerebras.weights.objects import Listing, Location, StoredObject
from airflow_provider_cerebras.weights.safetensors import DTYPE_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Files = dict[str, bytes]
Tensors = dict[str, tuple[str, tuple[int, ...]]]
LOCATION = Location("models", "run")
HIDDEN, VOCABULARY = 8, 16
TOKENIZER = {"tokenizer.json": b'{"version": "1.0"}', "tokenizer_config.json": b"{}", "generation_config.json": b"{}"}


def safetensors(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """A file of tensors, whose values all are 1 (or close to it)."""
    header: dict[str, Any] = {"__metadata__": dict(metadata or {"format": "pt"})}
    data = b""
    for name, (dtype, shape) in tensors.items():
        size = DTYPE_BITS[dtype]
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + size // 8]}
        data += b"\x3c" * (size // 8)
    return with_header(json.dumps(header).encode(), data)


def with_header(header: bytes, data: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def sharded(tensors: Tensors, shards: int, name: Callable[[int], str], *, index: bool = True) -> Files:
    """Tensors spread over shards, as equally as can be, and the index of them."""
    names = list(tensors)
    parts = [names[number * len(names) // shards : (number + 1) * len(names) // shards] for number in range(shards)]
    files = {name(number): safetensors({each: tensors[each] for each in part}) for number, part in enumerate(parts)}
    weight_map = {each: name(number) for number, part in enumerate(parts) for each in part}
    content = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()
    return {**files, "model.safetensors.index.json": content} if index else files


def from_one(shards: int) -> Callable[[int], str]:
    """Names as transformers gives them, which count from 1."""
    return lambda number: f"model-{number + 1:05}-of-{shards:05}.safetensors"


def llama_tensors(layers: int, *, qkv_bias: bool = False, qk_norm: bool = False, head: bool = True) -> Tensors:
    tensors: Tensors = {"model.embed_tokens.weight": ("BF16", (VOCABULARY, HIDDEN))}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for each in "qkvo":
            tensors[f"{prefix}.self_attn.{each}_proj.weight"] = ("BF16", (HIDDEN, HIDDEN))
        if qkv_bias:
            tensors |= {f"{prefix}.self_attn.{each}_proj.bias": ("BF16", (HIDDEN,)) for each in "qkv"}
        if qk_norm:
            tensors |= {f"{prefix}.self_attn.{each}_norm.weight": ("BF16", (4,)) for each in "qk"}
        tensors |= {f"{prefix}.mlp.{each}_proj.weight": ("BF16", (HIDDEN, HIDDEN)) for each in ("gate", "up", "down")}
        tensors |= {f"{prefix}.{each}_layernorm.weight": ("BF16", (HIDDEN,)) for each in ("input", "post_attention")}
    tensors["model.norm.weight"] = ("BF16", (HIDDEN,))
    if head:
        tensors["lm_head.weight"] = ("BF16", (VOCABULARY, HIDDEN))
    return tensors


def config(model_type: str, architecture: str, layers: int, **more: Any) -> bytes:
    sizes = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": layers}
    return json.dumps({"model_type": model_type, "architectures": [architecture], **sizes, **more}).encode()


def llama_8b() -> Files:
    """Four shards, and Meta's own copy in `original/`."""
    return {
        **sharded(llama_tensors(4), 4, from_one(4)),
        "config.json": config("llama", "LlamaForCausalLM", 4, tie_word_embeddings=False),
        "original/consolidated.00.pth": b"PK\x03\x04 a checkpoint",
        "original/tokenizer.model": b"original",
        "original/params.json": b"{}",
        **TOKENIZER,
        "README.md": b"# A model",
        ".gitattributes": b"*.safetensors filter=lfs",
    }


def llama_tied() -> Files:
    """One file, and the embedding is the output as well."""
    return {
        "model.safetensors": safetensors(llama_tensors(2, head=False)),
        "config.json": config("llama", "LlamaForCausalLM", 2, tie_word_embeddings=True),
        **TOKENIZER,
    }


def llama_fp8() -> Files:
    """Quantized by FBGEMM or compressed-tensors: weights of a byte, a scale for each row, shards without an index."""
    tensors = llama_tensors(3)
    for name in list(tensors):
        if name.endswith("_proj.weight"):
            tensors[name] = ("F8_E4M3", tensors[name][1])
            tensors[f"{name}_scale"] = ("F32", (HIDDEN, 1))
    quantization = {"quant_method": "compressed-tensors", "format": "float-quantized"}
    return {
        **sharded(tensors, 3, from_one(3), index=False),
        "config.json": config("llama", "LlamaForCausalLM", 3, quantization_config=quantization),
        **TOKENIZER,
    }


def gpt_oss_20b() -> Files:
    """Shards that count from 0 to 2 "of 2", experts in four-bit blocks with scales, and a copy in `original/`."""
    tensors: Tensors = {}
    experts = 2
    for layer in range(3):
        prefix = f"model.layers.{layer}"
        for each in ("q", "k", "v", "o"):
            tensors[f"{prefix}.self_attn.{each}_proj.weight"] = ("BF16", (HIDDEN, HIDDEN))
            tensors[f"{prefix}.self_attn.{each}_proj.bias"] = ("BF16", (HIDDEN,))
        tensors[f"{prefix}.self_attn.sinks"] = ("BF16", (4,))
        for each in ("gate_up", "down"):
            tensors[f"{prefix}.mlp.experts.{each}_proj_blocks"] = ("U8", (experts, HIDDEN, 1, 16))
            tensors[f"{prefix}.mlp.experts.{each}_proj_scales"] = ("U8", (experts, HIDDEN, 1))
            tensors[f"{prefix}.mlp.experts.{each}_proj_bias"] = ("BF16", (experts, HIDDEN))
        tensors[f"{prefix}.mlp.router.weight"] = ("BF16", (experts, HIDDEN))
        tensors[f"{prefix}.mlp.router.bias"] = ("BF16", (experts,))
        for each in ("input", "post_attention"):
            tensors[f"{prefix}.{each}_layernorm.weight"] = ("BF16", (HIDDEN,))
    tensors["model.embed_tokens.weight"] = ("BF16", (VOCABULARY, HIDDEN))
    tensors["model.norm.weight"] = ("BF16", (HIDDEN,))
    tensors["lm_head.weight"] = ("BF16", (VOCABULARY, HIDDEN))
    quantization = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    more = {"tie_word_embeddings": False, "quantization_config": quantization, "num_local_experts": experts}
    original = {"block.0.mlp.mlp1_weight.blocks": ("U8", (experts, 16)), "embedding.weight": ("BF16", (VOCABULARY, 8))}
    return {
        **sharded(tensors, 3, lambda number: f"model-{number:05}-of-00002.safetensors"),
        "config.json": config("gpt_oss", "GptOssForCausalLM", 3, **more),
        "chat_template.jinja": b"{{ messages }}",
        "original/model.safetensors": safetensors(original),  # type: ignore[arg-type]
        "original/config.json": b'{"num_hidden_layers": 3}',
        "original/dtypes.json": b"{}",
        "metal/model.bin": b"of Apple",
        **TOKENIZER,
    }


def gpt_oss_fine_tuned() -> Files:
    """Merged into BF16 and saved by transformers: no blocks, and no quantization any more."""
    files = gpt_oss_20b()
    tensors: Tensors = {
        "model.embed_tokens.weight": ("BF16", (VOCABULARY, HIDDEN)),
        "model.norm.weight": ("BF16", (HIDDEN,)),
        "lm_head.weight": ("BF16", (VOCABULARY, HIDDEN)),
    }
    for layer in range(3):
        tensors[f"model.layers.{layer}.self_attn.q_proj.weight"] = ("BF16", (HIDDEN, HIDDEN))
        tensors[f"model.layers.{layer}.mlp.experts.gate_up_proj"] = ("BF16", (2, HIDDEN, HIDDEN))
    return {
        **sharded(tensors, 9, from_one(9)),
        "config.json": config("gpt_oss", "GptOssForCausalLM", 3, tie_word_embeddings=False, dtype="bfloat16"),
        "tokenizer.json": files["tokenizer.json"],
        "training_args.bin": b"PK\x03\x04 small",
    }


def qwen3_32b() -> Files:
    return {
        **sharded(llama_tensors(4, qk_norm=True), 17, from_one(17)),
        "config.json": config("qwen3", "Qwen3ForCausalLM", 4, tie_word_embeddings=False),
        "merges.txt": b"a b",
        "vocab.json": b"{}",
        **TOKENIZER,
    }


def qwen2_tied() -> Files:
    return {
        "model.safetensors": safetensors(llama_tensors(2, qkv_bias=True, head=False)),
        "config.json": config("qwen2", "Qwen2ForCausalLM", 2, tie_word_embeddings=True),
        **TOKENIZER,
    }


def qwen3_moe() -> Files:
    """Each expert is on its own, and the first layer has none."""
    tensors = llama_tensors(3, qk_norm=True)
    for layer in (1, 2):
        for each in ("gate", "up", "down"):
            del tensors[f"model.layers.{layer}.mlp.{each}_proj.weight"]
            for expert in range(4):
                tensors[f"model.layers.{layer}.mlp.experts.{expert}.{each}_proj.weight"] = ("BF16", (HIDDEN, 4))
        tensors[f"model.layers.{layer}.mlp.gate.weight"] = ("BF16", (4, HIDDEN))
    return {
        **sharded(tensors, 5, from_one(5)),
        "config.json": config("qwen3_moe", "Qwen3MoeForCausalLM", 3, num_experts=4, tie_word_embeddings=False),
        **TOKENIZER,
    }


def glm_with_next_token_layer() -> Files:
    """One layer more than `num_hidden_layers`, which predicts tokens ahead and has an embedding of its own."""
    tensors = llama_tensors(3)
    for each in ("embed_tokens", "shared_head.head"):
        tensors[f"model.layers.3.{each}.weight"] = ("BF16", (VOCABULARY, HIDDEN))
    tensors["model.layers.3.eh_proj.weight"] = ("BF16", (HIDDEN, 2 * HIDDEN))
    more = {"num_nextn_predict_layers": 1, "tie_word_embeddings": False}
    return {
        **sharded(tensors, 4, from_one(4)),
        "config.json": config("glm4_moe", "Glm4MoeForCausalLM", 3, **more),
        **TOKENIZER,
    }


def mistral_with_consolidated() -> Files:
    """Mistral's own format beside that of transformers; its configuration of text is nested."""
    text = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": 3, "model_type": "mistral"}
    tensors = {f"language_model.{name}": each for name, each in llama_tensors(3).items()}
    tensors |= {f"vision_tower.transformer.layers.{n}.attention.k_proj.weight": ("BF16", (4, 4)) for n in range(5)}
    own: Tensors = {"tok_embeddings.weight": ("BF16", (VOCABULARY, HIDDEN)), "layers.0.wq.weight": ("BF16", (8, 8))}
    outer = {"model_type": "mistral3", "text_config": text, "architectures": ["Mistral3ForConditionalGeneration"]}
    return {
        **sharded(tensors, 10, from_one(10)),
        "consolidated.safetensors": safetensors(own),
        "config.json": json.dumps(outer).encode(),
        "params.json": b"{}",
        "tekken.json": b"{}",
    }


LAYOUTS: dict[str, tuple[str, Callable[[], Files]]] = {
    "gpt-oss-20b": ("gpt-oss-120b", gpt_oss_20b),
    "gpt-oss, fine-tuned": ("gpt-oss-120b", gpt_oss_fine_tuned),
    "llama-3.1-8b": ("llama3.1-8b", llama_8b),
    "llama, tied": ("llama3.1-8b", llama_tied),
    "llama, FP8, no index": ("llama-3.3-70b", llama_fp8),
    "qwen-3-32b": ("qwen-3-32b", qwen3_32b),
    "qwen-2, tied": ("qwen-2.5-7b", qwen2_tied),
    "qwen-3, MoE": ("qwen-3-235b-a22b-instruct-2507", qwen3_moe),
    "glm-4.6": ("zai-glm-4.6", glm_with_next_token_layer),
    "mistral, consolidated": ("mistral-small", mistral_with_consolidated),
}
"""By name: the architecture that it is meant for, and what makes it."""


def listing_of(files: Files) -> Listing:
    stored = (StoredObject(key, len(files[key]), hashlib.md5(files[key]).hexdigest()) for key in sorted(files))
    return Listing(LOCATION, tuple(stored))


def describe(files: Files) -> Description:
    """What a reader would know of files, without one."""
    description = Description(listing_of(files))
    while needs := wanted(description):
        read = {key: files[key][:count] for key, count in needs.items()}
        description = replace(description, beginnings={**description.beginnings, **read})
    return description
